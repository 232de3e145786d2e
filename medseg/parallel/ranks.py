"""Which process (rank) of a parallel job this is, and the process group that joins it to the others."""

import functools
import itertools
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from medseg.errors import MedsegError
from medseg.parallel.errors import RankError
from medseg.parallel.signs import SignsOfLife, give_signs, is_lost_connection
from medseg.parallel.watch import HANG_SECONDS, START_SECONDS

__all__ = [
    "LAUNCHED",
    "Rank",
    "any_rank",
    "current_rank",
    "is_one_of_several",
    "one_line",
    "own_device",
    "process_group",
]

LAUNCHED = "MEDSEG_LAUNCHED"  # set by the launcher, which watches its processes itself
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
COLLECTIVE_SECONDS = 7200.0  # the last resort; a rank that hangs is noticed much sooner, from its signs of life
TEAR_DOWN_SECONDS = 5.0  # torch's clean-up may wait for ranks that are gone

_groups = itertools.count()  # of this process; keeps the keys of one after the other apart


@dataclass(frozen=True, slots=True)
class Rank:
    """One process of a parallel job.

    Parameters
    ----------
    rank : int
        Its number among all.
    world_size : int
        How many there are.
    local_rank : int
        Its number on its host.
    host : str
        Name of the host.
    """

    rank: int
    world_size: int
    local_rank: int
    host: str

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.world_size} on {self.host}"


def is_one_of_several() -> bool:
    """Whether a launcher (ours, ``torchrun`` or another) has started this process as a rank."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def current_rank() -> Rank:
    """Read from the environment which rank this process is; the only one without such an environment.

    Raises
    ------
    RankError
        When the environment is incomplete or contradictory.
    """
    host = socket.gethostname()
    if not is_one_of_several():
        return Rank(0, 1, 0, host)
    missing = [name for name in NEEDED if not os.environ.get(name)]
    if missing:
        raise RankError(f"RANK is set in the environment, but {missing[0]} is not: start with torchrun, or unset RANK")
    rank, world_size = _number("RANK"), _number("WORLD_SIZE")
    if not rank < world_size:
        raise RankError(f"RANK={rank} in the environment must be below WORLD_SIZE={world_size}")
    local = next((_number(name) for name in ("LOCAL_RANK", "SLURM_LOCALID") if name in os.environ), 0)
    return Rank(rank, world_size, local, host)


def _number(name: str) -> int:
    text = os.environ[name]
    if not text.isdecimal():
        raise RankError(f"{name}={text} in the environment: a whole number was expected")
    return int(text)


def own_device(rank: Rank, device: torch.device) -> torch.device:
    """Choose the device of a rank: for ``cuda`` without number, the ranks of a host take turns."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", rank.local_rank % torch.cuda.device_count())


@contextmanager
def process_group(
    device: torch.device, *, hang_seconds: float = HANG_SECONDS, timeout_seconds: float = COLLECTIVE_SECONDS
) -> Iterator[Rank]:
    """Join the ranks of this job for as long as the context lasts; nothing where this process is the only one.

    CPU tensors travel by gloo, CUDA tensors by NCCL (by gloo where ranks share a device, which NCCL refuses).
    Only rank 0 logs; warnings of the others begin with their rank. All ranks leave together. It is entered first
    of all: a rank that does not show itself within `medseg.parallel.watch.START_SECONDS` is taken for hanging.

    Parameters
    ----------
    device : torch.device
        What the ranks compute on; see `own_device`.
    hang_seconds : float
        A rank that gives no sign of life (`medseg.parallel.signs.beat`) for this long ends the job; 5 or more.
    timeout_seconds : float
        The longest that one collective may wait: more than any part of the work that one rank does alone.

    Raises
    ------
    RankError
        When the ranks cannot be joined, or the connection to another is lost; the message names it.
    """
    rank = current_rank()
    if not is_one_of_several():
        yield rank
        return
    launched = LAUNCHED in os.environ
    store = _store()
    signs = SignsOfLife(store, rank.rank, rank.world_size, hang_seconds=hang_seconds, watches=not launched)
    with give_signs(signs), _speaking_as(rank):
        try:
            _join(store, rank, own_device(rank, device), timeout_seconds)
            yield rank
            if device.type == "cuda":
                torch.cuda.synchronize()  # another's device may still wait for messages from this one
            signs.end("done")
            any_rank(False)  # nobody takes away a connection, or the store, that another still uses
            signs.close()
            distributed.destroy_process_group()
        except BaseException as error:
            lost = is_lost_connection(error)
            named = signs.lost_rank() if lost and not launched else None
            signs.end("lost" if lost else "failed", one_line(error))
            _leave_at_once()
            if named is not None:
                raise named from error
            raise


def any_rank(flag: bool) -> bool:
    """Whether `flag` is set on at least one rank; all must ask.

    What depends on a clock or a signal has to be agreed like this, or the ranks part ways and wait for each other.
    """
    if not distributed.is_initialized():
        return flag
    value = torch.tensor(int(flag))
    distributed.all_reduce(value, op=distributed.ReduceOp.MAX)
    return bool(value)


@functools.cache  # for the life of the process: others may still use it when a group has ended
def _store() -> distributed.TCPStore:
    host, port = os.environ["MASTER_ADDR"], _number("MASTER_PORT")
    has_server = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # that of the launcher or torchrun
    serves = _number("RANK") == 0 and not has_server
    try:
        return distributed.TCPStore(
            host, port, is_master=serves, timeout=timedelta(seconds=START_SECONDS), wait_for_workers=False
        )
    except distributed.DistError as error:
        if serves:
            reason = f"port {port} cannot be opened; is it in use? Choose another (MASTER_PORT, torchrun --master-port)"
        else:
            reason = f"rank 0 was not found at {host}, port {port}, within {START_SECONDS:.0f} s"
        raise RankError(f"{current_rank()}: {reason}") from error


def _join(store: distributed.TCPStore, rank: Rank, device: torch.device, timeout_seconds: float) -> None:
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    backend, own = "gloo", None
    if device.type == "cuda":
        torch.cuda.set_device(device)
        if int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= torch.cuda.device_count():
            backend, own = "cpu:gloo,cuda:nccl", device
    distributed.init_process_group(
        backend,
        store=distributed.PrefixStore(f"medseg/{attempt}/group/{next(_groups)}", store),
        rank=rank.rank,
        world_size=rank.world_size,
        timeout=timedelta(seconds=timeout_seconds),
        device_id=own,
    )


def _leave_at_once() -> None:
    """Give up the group without waiting for ranks that may be gone."""

    def leave() -> None:
        with suppress(RuntimeError, ValueError):  # what the broken group says does not matter any more
            if distributed.group.WORLD is not None:
                distributed.group.WORLD.abort()
                distributed.destroy_process_group()

    thread = threading.Thread(target=leave, daemon=True)
    thread.start()
    thread.join(TEAR_DOWN_SECONDS)


def one_line(error: BaseException) -> str:
    """Say in one line what is wrong."""
    text = (str(error).strip().splitlines() or [""])[0]
    return text if isinstance(error, MedsegError) else f"unexpected {type(error).__name__}: {text}".rstrip(": ")


@contextmanager
def _speaking_as(rank: Rank) -> Iterator[None]:
    """Keep back what ranks other than 0 log, but for warnings, which name the rank."""
    if rank.rank == 0:
        yield
        return
    ours, make = logging.getLogger("medseg"), logging.getLogRecordFactory()
    level = ours.level

    def named(*arguments: object, **options: object) -> logging.LogRecord:
        record = make(*arguments, **options)
        record.msg = f"rank {rank.rank}: {record.msg}"
        return record

    logging.setLogRecordFactory(named)
    logging.captureWarnings(True)
    ours.setLevel(max(ours.getEffectiveLevel(), logging.WARNING))
    try:
        yield
    finally:
        ours.setLevel(level)
        logging.captureWarnings(False)
        logging.setLogRecordFactory(make)
