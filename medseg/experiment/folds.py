"""The folds of a cross-validation, trained one by one or several at a time in processes of their own."""

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medseg.errors import MedsegError
from medseg.files import read_json
from medseg.inference.model import WEIGHTS
from medseg.progress import within
from medseg.training.loop import LAST, Interrupted
from medseg.training.train import train

__all__ = ["Fold", "said_of", "train_in_processes", "train_one_by_one"]

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.1
STOP_SECONDS = 120.0  # for a fold that is asked to stop to write its checkpoint


@dataclass(slots=True)
class Fold:
    """Where the training of a fold stands.

    Parameters
    ----------
    state : {"waiting", "running", "finished", "failed"}
    error : str
        Why it failed.
    """

    number: int
    run: Path
    state: str = "waiting"
    error: str = ""

    @property
    def is_finished(self) -> bool:
        """Whether its run holds a finished model."""
        return (self.run / WEIGHTS).is_file()

    @property
    def has_begun(self) -> bool:
        """Whether its run holds a checkpoint to go on with."""
        return (self.run / LAST).is_file()


def said_of(error: BaseException) -> str:
    """What went wrong, in one line."""
    if isinstance(error, MedsegError):
        return str(error)
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}"


def train_one_by_one(folds: Sequence[Fold], changed: Callable[[], None], **options: Any) -> None:
    """Train the folds in this process, past one that fails.

    Parameters
    ----------
    changed : callable
        Called when the state of a fold has changed.
    options
        ``pipeline``, ``data`` and ``device`` as of `train`.

    Raises
    ------
    Interrupted
        When a training was asked to stop.
    """
    for fold in folds:
        _begin(fold, changed, len(folds))
        try:
            with within(f"fold {fold.number}"):
                train(**options, run=fold.run, fold=fold.number, resume=fold.has_begun)
            _end(fold, "", changed)
        except Interrupted as stopped:
            raise Interrupted(f"fold {fold.number}: {stopped}") from stopped
        except Exception as error:  # whatever it is: the other folds do not depend on it
            logger.debug("fold %d", fold.number, exc_info=True)
            _end(fold, said_of(error), changed)


def _begin(fold: Fold, changed: Callable[[], None], n: int) -> None:
    fold.state, fold.error = "running", ""
    changed()
    logger.info("fold %d (%d to train): %s", fold.number, n, "goes on" if fold.has_begun else "begins")


def _end(fold: Fold, error: str, changed: Callable[[], None]) -> None:
    fold.state, fold.error = "failed" if error else "finished", error
    changed()
    if error:
        logger.error("fold %d failed: %s", fold.number, error)
    else:
        logger.info("fold %d is finished", fold.number)


def train_in_processes(
    folds: Sequence[Fold], changed: Callable[[], None], *, jobs: int, pipeline: Path, data: Path, device: str
) -> None:
    """Train up to `jobs` folds at a time, past one that fails; with ``device="auto"`` over the GPUs in turn.

    Asked to stop (Ctrl-C, SIGTERM), each fold writes its checkpoint first.

    Parameters
    ----------
    pipeline : Path
        The complete pipeline.
    """
    waiting, running = deque(folds), list[_FoldProcess]()
    with tempfile.TemporaryDirectory(prefix="medseg-folds-") as folder:
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    fold = waiting.popleft()
                    _begin(fold, changed, len(folds))
                    chosen = _free_device(device, [process.device for process in running])
                    running.append(_FoldProcess(fold, Path(folder), pipeline, data, chosen, jobs))
                for process in [process for process in running if process.has_ended]:
                    running.remove(process)
                    _end(process.fold, process.error(), changed)
                time.sleep(POLL_SECONDS)
        finally:
            for process in running:
                process.ask_to_stop()
            for process in running:
                process.wait_or_kill()


def _free_device(device: str, taken: list[str]) -> str:
    """The GPU with the fewest folds, where there are several and the user names none."""
    if device != "auto" or torch.cuda.device_count() < 2:
        return device
    names = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return min(names, key=taken.count)


class _FoldProcess:
    """A process that trains one fold; what it says is passed on, each line named by the fold."""

    def __init__(self, fold: Fold, folder: Path, pipeline: Path, data: Path, device: str, jobs: int) -> None:
        self.fold, self.device = fold, device
        self._outcome = folder / f"{fold.number}.json"
        loggers = logging.root.manager.loggerDict.items()
        call = {
            "pipeline": str(pipeline), "data": str(data), "run": str(fold.run), "fold": fold.number, "device": device,
            "resume": fold.has_begun, "parent": os.getpid(), "outcome": str(self._outcome),
            "level": logging.getLogger("medseg").getEffectiveLevel(),
            "silent": [name for name, one in loggers if getattr(one, "disabled", False)],
        }  # fmt: skip
        threads = {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // jobs))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from medseg.experiment.fold_process import serve; serve()", json.dumps(call)],
            env=threads | os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0,
        )  # fmt: skip
        self._voice = threading.Thread(target=self._pass_on, daemon=True)
        self._voice.start()

    def _pass_on(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            sys.stderr.write(f"fold {self.fold.number}: {line.rstrip()}\n")
        self._process.stderr.close()

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def error(self) -> str:
        """Why the ended process has failed; empty where it has not."""
        self._voice.join(timeout=5)
        if self._outcome.is_file():
            return str(read_json(self._outcome, needs=("error",))["error"])
        code = self._process.returncode
        return f"its process was killed by signal {-code}" if code < 0 else f"its process ended with exit code {code}"

    def ask_to_stop(self) -> None:
        if not self.has_ended:
            self._process.terminate()

    def wait_or_kill(self) -> None:
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
