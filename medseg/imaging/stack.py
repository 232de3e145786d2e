"""Members of a NumPy stack of small images."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from medseg.errors import ImageError
from medseg.imaging.bit_depth import bit_depth_note
from medseg.imaging.precision import Float32Conversion
from medseg.volume import Grid, Volume

__all__ = ["read_member"]


@lru_cache(maxsize=4)
def _open(path: Path, modified: int) -> np.ndarray:
    try:
        stack = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(f"{path}: not readable as a NumPy array ({error})") from error
    if not isinstance(stack, np.ndarray) or stack.ndim != 3 or stack.dtype.kind not in "biuf":
        found = f"{stack.dtype} of the shape {stack.shape}" if isinstance(stack, np.ndarray) else "several arrays"
        raise ImageError(f"{path}: a stack is an array of numbers with the axes (n, y, x), found {found}")
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
    if not number.isdecimal() or int(number) >= len(stack):
        raise ImageError(f"{path}#{number}: the stack has the images 0 to {len(stack) - 1}")
    convert = Float32Conversion(stack.dtype)
    image = convert(stack[int(number)])
    depth = () if stack.dtype.kind == "f" else (bit_depth_note(1 if stack.dtype.kind == "b" else 8 * stack.itemsize),)
    return Volume(image[None, None], Grid.projection(image.shape), notes=depth + convert.notes())  # type: ignore[arg-type]
