"""Who is silent: from the signs that all ranks give, the one that has failed, is gone or keeps the others waiting.

Time is measured with the clock of the one who looks, so clocks of several hosts need not agree.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from medseg.parallel.errors import RankError

__all__ = ["HANG_SECONDS", "LOST_SECONDS", "START_SECONDS", "Phase", "Sign", "Trouble", "Watch"]

HANG_SECONDS = 600.0  # several times the longest step that is to be expected
START_SECONDS = 600.0  # to import the libraries from a slow shared disk, and to prepare and compile for the first step
LOST_SECONDS = 5.0  # several signs, which a thread gives about once a second whatever the main thread does

Phase = Literal["absent", "running", "done", "failed", "lost"]  # lost: by itself, but cut off from another rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """What a rank says of itself.

    Parameters
    ----------
    phase : str
        absent, running, done, failed, or lost (it has lost another rank).
    host : str
        Name of its host.
    step : int, optional
        The last one done.
    ticks : int
        Grows as long as its process runs.
    life : int
        Grows with each step, and with the ticks while it does something long.
    place : str
        Where its main thread is in the program.
    waiting : bool
        Whether it waits there for other ranks.
    reason : str
        Of its failure, in one line.
    """

    phase: Phase = "absent"
    host: str = ""
    step: int | None = None
    ticks: int = 0
    life: int = 0
    place: str = ""
    waiting: bool = False
    reason: str = ""

    def encode(self) -> str:
        """Write it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: bytes) -> "Sign":
        """Read what `encode` has written."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a rank."""

    rank: int
    reason: str


class Watch:
    """Looks at the signs of all ranks.

    Parameters
    ----------
    signs : sequence of Sign
        What is known at the start, in the order of the ranks.
    hang_seconds : float
        How long a rank may show nothing new; several seconds at least.
    now : float
        Time of a monotonic clock.
    """

    def __init__(self, signs: Sequence[Sign], *, hang_seconds: float, now: float) -> None:
        self._signs = list(signs)
        self._hang_seconds = hang_seconds
        self._noted = now
        self._lived = [now] * len(signs)  # when each showed progress
        self._ticked = [now] * len(signs)  # when each showed anything

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return len(self._signs)

    def note(self, signs: Sequence[Sign], now: float) -> None:
        """Take in the latest signs."""
        unwatched = now - self._noted
        if unwatched > LOST_SECONDS:  # this process was stopped itself: nothing is known of that time
            self._lived = [time + unwatched for time in self._lived]
            self._ticked = [time + unwatched for time in self._ticked]
        for rank, (before, sign) in enumerate(zip(self._signs, signs, strict=True)):
            if sign != before:
                self._ticked[rank] = now
            if (sign.life, sign.phase) != (before.life, before.phase):
                self._lived[rank] = now
        self._signs, self._noted = list(signs), now

    def name(self, rank: int) -> str:
        """Name a rank, its host and its step for a message."""
        sign = self._signs[rank]
        host = f" on {sign.host}" if sign.host else ""
        step = "before its first step" if sign.step is None else f"step {sign.step}"
        return f"rank {rank} of {self.world_size}{host}, {step}"

    def error(self, trouble: Trouble) -> RankError:
        """Make an error of what is wrong."""
        return RankError(f"{self.name(trouble.rank)}: {trouble.reason}")

    def failed(self, *, patience: float = 0.0) -> Trouble | None:
        """Find the first rank that has failed, at least `patience` seconds ago."""
        since = {rank: self._lived[rank] for rank, sign in enumerate(self._signs) if sign.phase == "failed"}
        if not since or self._noted - min(since.values()) < patience:
            return None
        first = min(since, key=since.__getitem__)
        return Trouble(first, self._signs[first].reason)

    def vanished(self) -> Trouble | None:
        """Find a rank whose process is gone or does not run."""
        heard = {rank: self._ticked[rank] for rank, sign in enumerate(self._signs) if sign.phase == "running"}
        if not heard or self._noted - min(heard.values()) < LOST_SECONDS:
            return None
        return Trouble(min(heard, key=heard.__getitem__), "its process was killed or stopped")

    def hanging(self) -> Trouble | None:
        """Find the rank that keeps the others waiting, once one has been silent for too long."""
        silence = {
            rank: self._noted - self._lived[rank]
            for rank, sign in enumerate(self._signs)
            if sign.phase in ("absent", "running")
        }
        if not any(seconds >= self._limit(rank) for rank, seconds in silence.items()):
            return None
        # when one hangs, all fall silent at about the same time
        suspects = [rank for rank, seconds in silence.items() if seconds >= self._limit(rank) / 2]
        least = min(map(self._innocence, suspects))
        first, *more = [rank for rank in suspects if self._innocence(rank) == least]
        sign = self._signs[first]
        reason = f"no sign of life for {silence[first]:.0f} s"
        if sign.phase == "absent":
            reason += "; it has not started"
        elif not self._runs(first):
            reason += "; its process was killed or stopped"
        elif sign.place:
            reason += f"; it is at {sign.place}"
        if more:
            reason += f"; the same for rank {', '.join(map(str, more))}"
        return Trouble(first, reason)

    def _limit(self, rank: int) -> float:
        return START_SECONDS if self._signs[rank].phase == "absent" else self._hang_seconds

    def _innocence(self, rank: int) -> tuple[bool, int, bool]:
        """Order of blame: one that does not run at all, one that is behind, one that does not wait for others."""
        sign = self._signs[rank]
        return self._runs(rank), -1 if sign.step is None else sign.step, sign.waiting

    def _runs(self, rank: int) -> bool:
        quiet = self._noted - self._ticked[rank]
        return self._signs[rank].phase == "running" and quiet < min(LOST_SECONDS, self._hang_seconds / 2)
