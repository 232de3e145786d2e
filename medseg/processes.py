"""The one pool of worker processes."""

import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

__all__ = ["worker_pool"]

WATCH_SECONDS = 0.5


def worker_pool(workers: int) -> ProcessPoolExecutor:
    """Make a pool of forked processes, each with one thread for SimpleITK, that end with this process, even killed."""
    return ProcessPoolExecutor(workers, mp_context=get_context("fork"), initializer=_prepare, initargs=(os.getpid(),))


def _prepare(parent: int) -> None:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: workers hold each other's queue open and would wait for ever."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)
