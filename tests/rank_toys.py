"""Small functions for the ranks of a job; the processes that tests start import them."""

import json
import logging
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import torch
from torch import distributed

from medseg.errors import ConfigError, ImageError
from medseg.parallel.ranks import any_rank, process_group
from medseg.parallel.signs import beat, busy

CPU = torch.device("cpu")
LOGGER = logging.getLogger("medseg.toys")


def add_up() -> dict:
    """Each rank gives its number + 1; groups can follow each other."""
    sums = []
    for _ in range(2):
        with process_group(CPU) as rank:
            value = torch.tensor(rank.rank + 1)
            distributed.all_reduce(value)
            sums.append(int(value))
            LOGGER.info("told by one")
            LOGGER.warning("told by all")
            warnings.warn("also told", stacklevel=1)
            agreed = any_rank(rank.rank == 1)
    return {
        "sums": sums,
        "agreed": agreed,
        "threads": torch.get_num_threads(),
        "arenas": os.environ["MALLOC_ARENA_MAX"],
        "initialised": distributed.is_initialized(),
    }


def step_until(fate: str, *, at: int = 3, hang_seconds: float = 600.0, folder: str | None = None) -> int:
    """Steps in lockstep; after step `at`, the fate of rank 1."""
    with process_group(CPU, hang_seconds=hang_seconds) as rank:
        if folder is not None:
            Path(folder, f"pid_{rank.rank}").write_text(str(os.getpid()))
        for step in range(1, 6):
            distributed.all_reduce(torch.ones(10))
            beat(step)
            if step == at and rank.rank == 1:
                time.sleep(0.5)  # until its sign is given
                meet(fate)
            if step == at and fate == "all":
                raise ConfigError("training.batch_size is wrong")
        if fate == "busy":
            with busy():
                time.sleep(1.6 * hang_seconds)
    return step


def stop_before_the_first_sign() -> None:
    """Rank 1 is stopped while it still starts."""
    if os.environ["RANK"] == "1":
        meet("stopped")
    with process_group(CPU):
        pass


def meet(fate: str) -> None:
    if fate == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if fate == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if fate == "image":
        raise ImageError("case a: no pixel data", code="no_pixels")
    if fate == "value":
        raise ValueError("odd\nmore")
    if fate == "exits":
        os._exit(3)
    while fate == "loops":
        sum(range(1000))


def step_until_signal(folder: str) -> int:
    """Steps until SIGTERM or SIGINT; what is begun is finished on all ranks."""
    got = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: got.append(number))
    with process_group(CPU) as rank:
        Path(folder, f"pid_{rank.rank}").write_text(str(os.getpid()))
        step = 0
        while not any_rank(bool(got)):
            distributed.all_reduce(torch.ones(10))
            step += 1
            beat(step)
        Path(folder, f"end_{rank.rank}").write_text(json.dumps([step, got]))
    return step


if __name__ == "__main__":  # a rank that others than our launcher have started
    from medseg.errors import MedsegError

    try:
        step_until(sys.argv[1], hang_seconds=float(sys.argv[2]), folder=sys.argv[3])
    except MedsegError as error:
        sys.stderr.write(f"caught: {error}\n")
        sys.exit(2)
