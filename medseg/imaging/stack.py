"""Members of a NumPy stack of small images."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from medseg.errors import ImageError
from medseg.volume import Grid, Volume

__all__ = ["read_member"]


@lru_cache(maxsize=4)
def _open(path: Path, modified: int) -> np.ndarray:
    try:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ImageError(f"{path}: not readable as a NumPy array ({error})") from error
    if stack.ndim != 3:
        raise ImageError(f"{path}: a stack has the axes (n, y, x), found the shape {stack.shape}")
    return stack


def read_member(path: Path, number: str) -> Volume:
    """Read image `number` of a stack of shape (n, y, x).

    Raises
    ------
    ImageError
        When the stack is missing, or has no such member.
    """
    if not path.is_file():
        raise ImageError(f"{path}: no such file")
    stack = _open(path, path.stat().st_mtime_ns)
    if not number.isdigit() or int(number) >= len(stack):
        raise ImageError(f"{path}#{number}: the stack has the images 0 to {len(stack) - 1}")
    image = np.asarray(stack[int(number)], dtype=np.float32)
    return Volume(image[None, None], Grid.projection(image.shape))  # type: ignore[arg-type]
