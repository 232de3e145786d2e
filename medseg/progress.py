"""The one progress display: a bar on a terminal, plain lines elsewhere."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["Progress", "track", "within"]

Item = TypeVar("Item")
_wholes: list[str] = []  # what the work that is shown is a part of


@contextmanager
def within(whole: str) -> Iterator[None]:
    """Name what the work that is shown meanwhile is a part of ("fold 2")."""
    _wholes.append(whole)
    try:
        yield
    finally:
        _wholes.pop()


class Progress:
    """Show how far a piece of long work has come.

    Parameters
    ----------
    title : str
        What is being done ("training").
    total : int
        How many units of work there are.
    interval_seconds : float
        How often a plain line is written where there is no terminal.

    Examples
    --------
    >>> with Progress("reading", 2) as progress:
    ...     progress.advance(); progress.advance(note="2 files/s")
    """

    def __init__(self, title: str, total: int, *, interval_seconds: float = 20.0) -> None:
        self.title, self.total, self.done, self.note = ": ".join([*_wholes, title]), total, 0, ""
        self._interval = interval_seconds
        self._started = self._last = time.monotonic()
        self._bar: Any = None
        self._shown = os.environ.get("RANK", "0") == "0"  # of several processes, the first shows it

    def __enter__(self) -> "Progress":
        if self._shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"), console=Console(stderr=True),
            )  # fmt: skip
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total, note="")
        return self

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """Count `n` more units as done; `note` stands beside the bar."""
        self.update(self.done + n, note=note)

    def update(self, done: int, *, total: int | None = None, note: str = "") -> None:
        """Set how many units are done, and the total where it changed."""
        self.done, self.note = done, note or self.note
        self.total = self.total if total is None else total
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self.total, note=self.note)
        elif time.monotonic() - self._last >= self._interval:
            self._line()

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif time.monotonic() - self._started >= self._interval:
            self._line()

    def _line(self) -> None:
        self._last = time.monotonic()
        if not self._shown:
            return
        seconds = self._last - self._started
        sys.stderr.write(f"{self.title}: {self.done}/{self.total} after {seconds:.0f} s {self.note}".rstrip() + "\n")
        sys.stderr.flush()


def track(items: Iterable[Item], title: str, total: int) -> Iterator[Item]:
    """Yield `items`, showing progress."""
    with Progress(title, total) as progress:
        for item in items:
            yield item
            progress.advance()
