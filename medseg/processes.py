"""Worker processes, and the signals that processes get."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

__all__ = ["end_with", "handling", "worker_pool"]

WATCH_SECONDS = 0.5


@contextmanager
def handling(handler: Callable[[int, Any], object], *numbers: int) -> Iterator[None]:
    """Handle signals for the time; outside of the main thread, which alone may, the caller handles them."""
    try:
        before = {number: signal.signal(number, handler) for number in numbers}
    except ValueError:
        before = {}
    try:
        yield
    finally:
        for number, one in before.items():
            signal.signal(number, one)


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Make a pool of forked processes, each with one thread for SimpleITK, that end with this process, even killed."""
    return ProcessPoolExecutor(workers, mp_context=get_context("fork"), initializer=_prepare, initargs=(os.getpid(),))


def _prepare(parent: int) -> None:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    end_with(parent)


def end_with(parent: int, last: Callable[[], object] = lambda: None) -> None:
    """End this process when its parent is gone: workers hold each other's queue open and would wait for ever.

    Parameters
    ----------
    parent : int
        Its process number.
    last : callable
        What is done before.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        last()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
