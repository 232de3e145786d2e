"""Ranks for tests: four processes with gloo that are started once and run small functions of modules under tests/.

>>> get_pool().run(2, "rank_pool:own_number")
[0, 1]
"""

import atexit
import datetime
import importlib
import multiprocessing
import pickle
import tempfile
import time
import traceback
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

RANKS = 4
MESH = (2, 2)
STUCK_SECONDS = 60.0  # a collective operation that takes longer has no partner
GRACE_SECONDS = 10.0  # for the others once one rank has failed
STARTING_SECONDS = 120.0


@dataclass(frozen=True)
class Seat:
    """What a rank of a run knows: its number, how many there are, their process group and a mesh of 2 x 2."""

    rank: int
    size: int
    group: Any
    mesh: Any


class RankPool:
    """Four processes that wait for work; started anew when one of them is lost."""

    def __init__(self) -> None:
        self._processes: list[Any] = []
        self._pipes: list[Connection] = []

    def run(self, size: int, target: str, *args: Any, timeout: float = 300.0) -> list[Any]:
        """Call ``target(seat, *args)``, named 'module:function', on the first `size` ranks.

        Returns
        -------
        list
            What each rank returned.

        Raises
        ------
        Exception
            That of the first rank that failed, with the traceback as a note.
        TimeoutError
            When a rank does not answer; the processes are ended.
        """
        if not self._processes:
            self._start()
        for pipe in self._pipes[:size]:
            pipe.send((size, target, args))
        answers = self._answers(size, time.monotonic() + timeout)
        failures = [answer[1:] for answer in answers if answer is not None and answer[0] == "failed"]
        if None in answers:
            self.close()
            silent = [rank for rank, answer in enumerate(answers) if answer is None]
            if not failures:
                raise TimeoutError(f"{target}: ranks {silent} of {size} did not answer")
        if failures:
            error, trace = failures[0]
            error.add_note(trace)
            raise error
        return [answer[1] for answer in answers]

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.kill()
            process.join(10)
        self._processes, self._pipes = [], []

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch", "torch.distributed.device_mesh", "medseg.parallel"])
        self._folder = tempfile.TemporaryDirectory()
        meeting = Path(self._folder.name, "store")
        for rank in range(RANKS):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(rank, str(meeting), theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        if None in self._answers(RANKS, time.monotonic() + STARTING_SECONDS):
            self.close()
            raise TimeoutError("the ranks do not start")

    def _answers(self, size: int, end: float) -> list[Any]:
        """One answer a rank; None from those that are silent at the end, or long after another has failed."""
        answers: list[Any] = [None] * size
        waiting = dict(zip(self._pipes, range(size)))
        while waiting and (left := end - time.monotonic()) > 0:
            for pipe in multiprocessing.connection.wait(list(waiting), left):
                rank = waiting.pop(pipe)
                try:
                    answers[rank] = pipe.recv()
                except EOFError:
                    answers[rank] = ("failed", RuntimeError(f"rank {rank} died"), "")
                if answers[rank][0] == "failed":
                    end = min(end, time.monotonic() + GRACE_SECONDS)
        return answers


@lru_cache(maxsize=1)
def get_pool() -> RankPool:
    """The pool of this session; ended at exit."""
    pool = RankPool()
    atexit.register(pool.close)
    return pool


def _serve(rank: int, meeting: str, pipe: Connection) -> None:
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh

    torch.set_num_threads(1)
    patience = datetime.timedelta(seconds=STUCK_SECONDS)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=RANKS, timeout=patience)
    groups = {size: dist.new_group(range(size), timeout=patience) for size in range(1, RANKS + 1)}
    mesh = init_device_mesh("cpu", MESH)
    pipe.send(("ready", None))
    while True:
        try:
            size, target, args = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(Seat(rank, size, groups[size], mesh), target, args))


def _answer(seat: Seat, target: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    module, _, name = target.partition(":")
    try:
        result = getattr(importlib.import_module(module), name)(seat, *args)
        return "done", result
    except Exception as error:  # whatever it is, the test that asked for it is told
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:  # such as an error whose arguments do not fit its constructor
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return "failed", error, f"rank {seat.rank}: {traceback.format_exc()}"


def own_number(seat: Seat) -> int:
    """Number of this rank."""
    return seat.rank
