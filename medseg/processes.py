"""The one pool of worker processes."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

__all__ = ["end_with", "worker_pool"]

WATCH_SECONDS = 0.5


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
