"""Memory of a CPU that is given back to the system as soon as it is free."""

import ctypes
from functools import cache

__all__ = ["give_back_large_blocks"]

M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LARGE_BYTES = 1 << 20


@cache
def give_back_large_blocks() -> bool:
    """Let the C library take every large block from the system by itself, and return it when it is freed.

    glibc does so for blocks that are larger than any that was freed before, up to 32 MiB. Smaller ones come from a
    heap that has holes after a while: with thinner slabs, more memory would be in use rather than less.

    Returns
    -------
    bool
        Whether the C library has this setting. It is that of the whole process, and stays.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES))
    except (AttributeError, OSError, TypeError):  # another C library
        return False
