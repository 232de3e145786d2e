"""Starting the ranks of a job on this host, and ending all of them well when one dies or hangs."""

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from medseg.errors import MedsegError
from medseg.parallel.errors import RankError
from medseg.parallel.rank_process import CALL, Call, Outcome, load, outcome_path
from medseg.parallel.ranks import LAUNCHED, is_one_of_several
from medseg.parallel.signs import open_signs, read_signs
from medseg.parallel.watch import HANG_SECONDS, Sign, Trouble, Watch
from medseg.processes import handling

__all__ = ["run_ranks"]

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1
LOOK_SECONDS = 0.5  # between two looks at the signs of life
GRACE_SECONDS = 5.0  # for the other ranks to end by themselves after one has failed, and again after SIGTERM
LOOPBACK = "127.0.0.1"


def run_ranks(
    function: str, arguments: Mapping[str, Any] | None = None, *, n: int, hang_seconds: float = HANG_SECONDS
) -> Any:
    """Run a function in `n` new processes on this host that are the ranks of one job.

    The function enters `medseg.parallel.ranks.process_group`, first of all. Where this process is a rank already
    (``torchrun``, a batch system), nothing is started: the function is called here. SIGINT and SIGTERM are passed on
    to the ranks once; a second SIGINT ends them. They end with this process, even killed.

    Parameters
    ----------
    function : str
        ``package.module:name``.
    arguments : mapping, optional
        Its keyword arguments, which can be pickled.
    n : int
        Number of ranks.
    hang_seconds : float
        A rank that gives no sign of life (`medseg.parallel.signs.beat`) for this long ends the job; 5 or more.

    Returns
    -------
    object
        What the function returned on rank 0; where nothing is started, what it returned here.

    Raises
    ------
    MedsegError
        The one that a rank has raised. Its message names the rank, the host and the step, unless all ranks say the
        same.
    RankError
        When a rank was killed, hangs or failed unexpectedly.
    KeyboardInterrupt
        After a second SIGINT, or one for which no rank was prepared.
    """
    if is_one_of_several():
        return load(function)(**(arguments or {}))
    logger.info("starting %d processes", n)
    with tempfile.TemporaryDirectory(prefix="medseg-ranks-") as folder, _stop_signals() as received:
        (Path(folder) / CALL).write_bytes(pickle.dumps(_call(function, arguments or {})))
        job = _Job(Path(folder), n, hang_seconds, received)
        try:
            job.start()
            job.wait()
        finally:
            job.end()
    return job.result()


def _call(function: str, arguments: Mapping[str, Any]) -> Call:
    loggers = logging.root.manager.loggerDict
    silent = tuple(name for name, logger in loggers.items() if getattr(logger, "disabled", False))
    level = logging.getLogger("medseg").getEffectiveLevel()
    return Call(function, dict(arguments), os.getpid(), level, silent, tuple(warnings.filters))


class _Job:
    """The processes of one job.

    Parameters
    ----------
    folder : Path
        Where the ranks leave what they return.
    n : int
        How many there are.
    hang_seconds : float
        See `run_ranks`.
    received : list of int
        The stop signals that this process has got; grows.
    """

    def __init__(self, folder: Path, n: int, hang_seconds: float, received: list[int]) -> None:
        self._folder, self._n, self._hang_seconds = folder, n, hang_seconds
        self._received, self._passed_on = received, 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._outcomes: dict[int, Outcome] = {}  # in the order in which they were noticed
        self._store, self._port = _loopback_store()
        signs = [Sign(host=socket.gethostname())] * n
        open_signs(self._store, signs)
        self._looked = time.monotonic()
        self._stopped_at: dict[int, float] = {}
        self._watch = Watch(signs, hang_seconds=hang_seconds, now=self._looked)

    def start(self) -> None:
        """Start the ranks, each in a process group of its own: a terminal's Ctrl-C comes to this process alone."""
        command = [sys.executable, "-c", "from medseg.parallel.rank_process import serve; serve()", str(self._folder)]
        for rank in range(self._n):
            environment = _environment(rank, self._n, self._port)
            self._processes.append(
                subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, process_group=0)
            )

    def wait(self) -> None:
        """Wait until all have ended, or until the time is over that is left to the others when one has failed."""
        until: float | None = None
        while len(self._outcomes) < self._n and (until is None or time.monotonic() < until):
            self._pass_on_signals()
            self._collect()
            if until is None and any(outcome.error is not None for outcome in self._outcomes.values()):
                # asked to stop, the others may be writing a checkpoint; then only the signs of life end them
                until = time.monotonic() + (self._hang_seconds if self._received else GRACE_SECONDS)
            if len(self._outcomes) < self._n and self._hangs():
                return
            time.sleep(POLL_SECONDS)

    def end(self) -> None:
        """End what still runs: kindly at first."""
        if len(self._outcomes) == self._n:  # each has told its result and ends by itself
            self._wait_for_ends()
        for kill in (subprocess.Popen.terminate, subprocess.Popen.kill):
            for process in self._running():
                kill(process)
            self._wait_for_ends()

    def _running(self) -> list["subprocess.Popen[bytes]"]:
        return [process for process in self._processes if process.poll() is None]

    def _wait_for_ends(self) -> None:
        until = time.monotonic() + GRACE_SECONDS
        while self._running() and time.monotonic() < until:
            time.sleep(POLL_SECONDS)

    def result(self) -> Any:
        """What rank 0 returned.

        Raises
        ------
        BaseException
            The first error that is the fault of a rank itself.
        """
        failures = [(rank, outcome.error) for rank, outcome in self._outcomes.items() if outcome.error is not None]
        if not failures:
            return self._outcomes[0].value
        own = [(rank, error) for rank, error in failures if not self._outcomes[rank].lost]
        rank, error = (own or failures)[0]
        all_say_so = len(failures) == self._n and len({(type(other), str(other)) for _, other in failures}) == 1
        if isinstance(error, RankError) or (isinstance(error, MedsegError) and not all_say_so):
            error.args = (f"{self._watch.name(rank)}: {error}", *error.args[1:])
        raise error

    def _pass_on_signals(self) -> None:
        if self._received.count(signal.SIGINT) > 1:
            raise KeyboardInterrupt
        if self._received and not self._passed_on:
            self._passed_on = self._received[0]
            for process in self._processes:
                process.send_signal(self._passed_on)

    def _collect(self) -> None:
        for rank, process in enumerate(self._processes):
            if rank in self._outcomes:
                continue
            code = process.poll()  # before the look for the file, which is written before the end
            path = outcome_path(self._folder, rank)
            if path.exists():
                self._outcomes[rank] = pickle.loads(path.read_bytes())
            elif code is not None:
                self._outcomes[rank] = Outcome(error=self._death(code))
            if rank in self._outcomes:
                self._look()  # its last step

    def _death(self, code: int) -> BaseException:
        if code >= 0:
            return RankError(f"ended with exit code {code}; its output above may say why")
        if -code == self._passed_on == signal.SIGINT:
            return KeyboardInterrupt()
        hint = "; was the memory used up?" if -code == signal.SIGKILL else ""
        return RankError(f"killed by signal {-code} ({signal.Signals(-code).name}){hint}")

    def _look(self) -> None:
        self._looked = time.monotonic()
        self._watch.note(read_signs(self._store, self._n), self._looked)

    def _hangs(self) -> bool:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return False
        self._look()
        trouble = self._watch.hanging() or self._stopped()
        if trouble is not None:
            self._outcomes[trouble.rank] = Outcome(error=RankError(trouble.reason))
        return trouble is not None

    def _stopped(self) -> Trouble | None:
        """Find a process that was stopped before it could give a sign, for which a start may take long."""
        for rank, process in enumerate(self._processes):
            if rank in self._outcomes or not _is_stopped(process.pid):
                self._stopped_at.pop(rank, None)
                continue
            silence = self._looked - self._stopped_at.setdefault(rank, self._looked)
            if silence >= self._hang_seconds:
                return Trouble(rank, f"no sign of life for {silence:.0f} s; its process was stopped")
        return None


def _is_stopped(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it has ended
        return False


def _environment(rank: int, n: int, port: int) -> dict[str, str]:
    """The environment of a rank; what the user has set stays."""
    interfaces = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    defaults = {
        "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // n)),
        "MALLOC_ARENA_MAX": "1",  # glibc's arenas, one a thread, never give their memory back
    }
    if interfaces:
        defaults["GLOO_SOCKET_IFNAME"] = interfaces[0]  # images do not leave this host, whatever its name resolves to
    return (
        defaults
        | os.environ
        | {
            "RANK": str(rank),
            "WORLD_SIZE": str(n),
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": str(n),
            "MASTER_ADDR": LOOPBACK,
            "MASTER_PORT": str(port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",  # torch's word for: the store is there, rank 0 need not serve it
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            LAUNCHED: "1",
        }
    )


def _loopback_store() -> tuple[distributed.TCPStore, int]:
    """Serve the job's store at a free port that only this host can reach; it outlives any rank."""
    listener = socket.create_server((LOOPBACK, 0), backlog=1024)
    port = listener.getsockname()[1]
    store = distributed.TCPStore(
        LOOPBACK, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
    )
    return store, port


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in the list that is yielded."""
    received: list[int] = []
    with handling(lambda number, frame: received.append(number), signal.SIGINT, signal.SIGTERM):
        yield received
