"""What NRRD and MetaImage share: a header of text lines, and data in the same file or in one beside it."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

import numpy as np

from medseg.errors import ImageError

__all__ = ["data_file", "header_lines", "numbers", "text_values", "whole_numbers"]

LARGEST_HEADER = 1 << 22  # bytes; the gradient tables and private fields of real headers stay far below


def header_lines(path: Path, stream: BinaryIO, is_last: Callable[[str], bool]) -> list[str]:
    """Read lines up to the one that ends the header, which is included, or to the end of the file.

    Raises
    ------
    ImageError
        When no header ends within some MB.
    """
    lines: list[str] = []
    while raw := stream.readline(LARGEST_HEADER):
        lines.append(raw.decode("latin-1").rstrip("\r\n"))
        if is_last(lines[-1]):
            break
        if stream.tell() > LARGEST_HEADER:
            raise ImageError(f"{path}: not an image of this format: its header does not end")
    return lines


def numbers(path: Path, field: str, text: str, count: int) -> list[float]:
    """Parse `count` numbers, divided by spaces.

    Raises
    ------
    ImageError
        When it is something else.
    """
    try:
        values = [float(part) for part in text.split()]
    except ValueError:  # not quoted, as no text of a header is: it may hold a patient's name
        raise ImageError(f"{path}: damaged header: {field} holds text, {count} numbers were expected") from None
    if len(values) != count:
        raise ImageError(f"{path}: damaged header: {field} holds {len(values)} numbers, {count} numbers were expected")
    return values


def whole_numbers(path: Path, field: str, text: str, count: int) -> list[int]:
    """Parse `count` whole numbers, divided by spaces.

    Raises
    ------
    ImageError
        When it is something else.
    """
    values = numbers(path, field, text, count)
    if any(value % 1 != 0 for value in values):  # also NaN and infinity
        raise ImageError(f"{path}: damaged header: {field} is {values}, whole numbers were expected")
    return [int(value) for value in values]


def data_file(path: Path, name: str) -> Path:
    """Return the file of the voxels that the header `path` names.

    Raises
    ------
    ImageError
        When it is missing, or outside the folder of the header: a header that was sent must not be able to have
        other files of this computer read.
    """
    windows = PureWindowsPath(name)
    if windows.is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise ImageError(
            f"{path}: the data file that it names lies outside its folder; put it beside it and correct the name"
        )
    file = path.parent / PurePosixPath(*windows.parts)
    try:
        missing = not file.is_file()
    except OSError:  # a name that no file can have
        missing = True
    if missing:
        raise ImageError(f"{path}: the data file that it names is missing")
    if not file.resolve().is_relative_to(path.parent.resolve()):
        raise ImageError(f"{path}: the data file that it names is a link to outside its folder; copy the file itself")
    return file


def text_values(path: Path, text: bytes, dtype: str, *, hexadecimal: bool = False) -> bytes:
    """Turn numbers written as text into the bytes of `dtype`.

    Raises
    ------
    ImageError
        When they are not numbers of that type.
    """
    try:
        if hexadecimal:
            return bytes.fromhex(text.decode("ascii"))
        return np.array(text.split(), dtype=dtype).tobytes()
    except (ValueError, OverflowError) as error:
        raise ImageError(f"{path}: damaged: its values, stored as text, are not numbers of its type") from error
