"""Signs of life: every rank tells the others where it is.

A thread gives a `Sign` about once a second to the job's store (torch's ``TCPStore``). The launcher reads them, for the
processes that it has started. Where ``torchrun`` or a batch system has started the ranks, each looks at the others;
the one that notices a rank that is silent ends itself, since its main thread may be blocked in a collective that
nothing can wake.
"""

import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import distributed

from medseg.parallel.errors import RankError
from medseg.parallel.watch import LOST_SECONDS, START_SECONDS, Phase, Sign, Trouble, Watch

__all__ = ["SignsOfLife", "beat", "busy", "give_signs", "is_lost_connection", "open_signs", "read_signs"]

BUSY_SECONDS = 3600.0  # a validation on whole volumes
TICK_SECONDS = 1.0  # between two signs
SOONEST_SECONDS = 0.2  # between two signs where steps are quicker than that


def _key(rank: int) -> str:
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # torchrun may start the ranks anew
    return f"medseg/{attempt}/sign/{rank}"


def open_signs(store: distributed.Store, signs: Sequence[Sign]) -> None:
    """Make a place for the sign of each rank; those that are there already stay."""
    for rank, sign in enumerate(signs):
        store.compare_set(_key(rank), "", sign.encode())


def read_signs(store: distributed.Store, world_size: int) -> list[Sign]:
    """Read the latest signs of all ranks."""
    return [Sign.decode(text) for text in store.multi_get([_key(rank) for rank in range(world_size)])]


class SignsOfLife:
    """Gives the signs of this rank and, where no launcher does, looks at those of the others.

    Parameters
    ----------
    store : torch.distributed.Store
        The job's store.
    rank, world_size : int
        Number of this rank, and of all.
    hang_seconds : float
        See `Watch`.
    watches : bool
        End this process with a message when another rank has failed or hangs.
    """

    def __init__(
        self, store: distributed.Store, rank: int, world_size: int, *, hang_seconds: float, watches: bool
    ) -> None:
        # a connection of its own: a call of the main thread may occupy the other
        self._store = store.clone()  # type: ignore[attr-defined]
        self._rank, self._host, self._worker = rank, socket.gethostname(), threading.get_ident()
        self._hang_seconds, self._watches = hang_seconds, watches
        self._phase: Phase = "running"
        self._reason = ""
        self._step: int | None = None
        self._beats = self._busy_ticks = self._ticks = 0
        self._busy_until = 0.0
        now = time.monotonic()
        self._start_until = now + START_SECONDS  # before the first step it counts as busy
        self._answered = now  # when the store did, last
        self._watch = Watch([Sign()] * world_size, hang_seconds=hang_seconds, now=now)
        self._news, self._closed = threading.Event(), threading.Event()
        self._giver = threading.Thread(target=self._give, name="signs of life", daemon=True)
        self._giver.start()
        if watches:
            threading.Thread(target=self._look, name="watch over the ranks", daemon=True).start()

    def beat(self, step: int | None = None) -> None:
        """Show that this rank goes on, and which step it has done."""
        self._step = self._step if step is None else step
        self._beats += 1
        self._news.set()

    @contextmanager
    def busy(self, limit_seconds: float) -> Iterator[None]:
        """Count as alive without steps as long as the process runs, but not longer than the limit."""
        before, self._busy_until = self._busy_until, time.monotonic() + limit_seconds
        try:
            yield
        finally:
            self._busy_until = before
            self._beats += 1

    def end(self, phase: Phase, reason: str = "") -> None:
        """Say how this rank's work has ended."""
        self._phase, self._reason = phase, reason
        self._news.set()

    def close(self) -> None:
        """Give the last sign and stop watching."""
        self._closed.set()
        self._news.set()
        self._giver.join(LOST_SECONDS)  # a store that does not answer may hold it for ever

    def lost_rank(self) -> RankError:
        """Name the rank to which the connection was lost, from what the next seconds show."""
        until = time.monotonic() + 2 * LOST_SECONDS
        while time.monotonic() < until:
            trouble = self._watch.failed() or self._store_gone(LOST_SECONDS) or self._watch.vanished()
            if trouble is not None:
                return self._watch.error(trouble)
            time.sleep(SOONEST_SECONDS)
        return self._watch.error(Trouble(self._rank, "lost the connection to another rank"))

    def _give(self) -> None:
        world_size, opened, last = self._watch.world_size, False, False
        while not last:
            last = self._closed.is_set()
            try:
                self._store.set(_key(self._rank), self._sign().encode())
                if self._watches and not opened:
                    open_signs(self._store, [Sign()] * world_size)
                    opened = True
                if self._watches:
                    self._watch.note(read_signs(self._store, world_size), time.monotonic())
                self._answered = time.monotonic()
            except distributed.DistError:
                pass  # tried again; who looks sees how long the store has not answered
            self._closed.wait(SOONEST_SECONDS)
            self._news.wait(TICK_SECONDS - SOONEST_SECONDS)
            self._news.clear()

    def _sign(self) -> Sign:
        now = time.monotonic()
        self._ticks += 1
        if now < self._busy_until or (not self._beats and now < self._start_until):
            self._busy_ticks += 1
        place, waiting = _place_of(self._worker)
        return Sign(
            phase=self._phase, host=self._host, step=self._step, ticks=self._ticks,
            life=self._beats + self._busy_ticks, place=place, waiting=waiting, reason=self._reason,
        )  # fmt: skip

    def _look(self) -> None:
        """Apart from the thread that asks the store, which may never answer."""
        looked = time.monotonic()
        while not self._closed.wait(SOONEST_SECONDS):
            unwatched = time.monotonic() - looked
            looked += unwatched
            if unwatched > LOST_SECONDS:  # this process was stopped itself
                self._answered += unwatched
            # the main thread may find out by itself that another has failed, and end in better order
            trouble = (
                self._watch.failed(patience=LOST_SECONDS)
                or self._watch.hanging()
                or self._store_gone(self._hang_seconds)
            )
            if trouble is not None:
                self.end("lost")  # its own silence is no fault
                # the others, whose store may end with this process, come to see it too
                if self._closed.wait(2 * TICK_SECONDS):
                    return  # the main thread has noticed
                # not by logging, which may be locked by what hangs
                os.write(2, f"medseg: error: {self._watch.error(trouble)}\n".encode())
                os._exit(2)

    def _store_gone(self, seconds: float) -> Trouble | None:
        silent = time.monotonic() - self._answered
        if silent < seconds:
            return None
        return Trouble(0, f"no answer from its host for {silent:.0f} s; it or its launcher is gone")


_signs: SignsOfLife | None = None  # of this process, which is one rank


@contextmanager
def give_signs(signs: SignsOfLife) -> Iterator[None]:
    """Let `beat` and `busy` speak through `signs`."""
    global _signs
    before, _signs = _signs, signs
    try:
        yield
    finally:
        _signs = before
        signs.close()


def beat(step: int | None = None) -> None:
    """Show that this rank goes on; nothing happens where there are no other ranks.

    Parameters
    ----------
    step : int, optional
        The step that is done; without one, a sign of life inside a long step.
    """
    if _signs is not None:
        _signs.beat(step)


@contextmanager
def busy(limit_seconds: float = BUSY_SECONDS) -> Iterator[None]:
    """Do something long, such as a validation, that counts as alive as long as the process runs.

    Parameters
    ----------
    limit_seconds : float
        After this time silence counts again.
    """
    if _signs is None:
        yield
        return
    with _signs.busy(limit_seconds):
        yield


def is_lost_connection(error: BaseException) -> bool:
    """Whether `error` only says that another rank has gone, whose fault it is."""
    if isinstance(error, distributed.DistError):
        return True
    return isinstance(error, RuntimeError) and re.search("gloo|nccl", str(error), re.IGNORECASE) is not None


WAITING = ("torch.distributed", "medseg.parallel.messages")


def _place_of(thread: int) -> tuple[str, bool]:
    """Where a thread is, outside torch, and whether it waits there for other ranks."""
    frame = sys._current_frames().get(thread)
    waiting: bool | None = None
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if waiting is None and module != "torch._ops":
            waiting = module.startswith(WAITING)
        if not module.startswith("torch."):
            return f"{module}:{frame.f_lineno} ({frame.f_code.co_name})", bool(waiting)
        frame = frame.f_back
    return "", bool(waiting)
