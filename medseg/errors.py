"""The family of errors that medseg raises for input it cannot use.

Each message names the case or file, what was expected, what was found and what to do.
The command line shows it in one line.
"""

import re

__all__ = [
    "LESS_MEMORY",
    "AnnotationError",
    "CheckpointError",
    "ConfigError",
    "EvaluationWarning",
    "GeometryError",
    "ImageError",
    "ManifestError",
    "MedsegError",
    "OutputError",
    "SampleDataError",
    "TableError",
    "is_out_of_memory",
    "naming_case",
]

LESS_MEMORY = (
    "lower training.batch_size or sampling.patch_size, or spread volumes over processes (layout.space) or over time "
    "(layout.slabs)"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory is used up; torch's allocator on a CPU has no type of its own for that."""
    said = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in said or "can't allocate memory" in said


class MedsegError(Exception):
    """Base of every error that a user's input can cause."""


class ConfigError(MedsegError):
    """A pipeline file, an override or an option is wrong."""


class ImageError(MedsegError):
    """An image cannot be read, or its content cannot be used.

    Parameters
    ----------
    code : str
        Stable name of the reason, such as ``missing_slices``.
    """

    def __init__(self, message: str, *, code: str = "image") -> None:
        super().__init__(message)
        self.code = code


class GeometryError(ImageError):
    """The position of an image in space is missing, contradictory or does not match."""

    def __init__(self, message: str, *, code: str = "geometry") -> None:
        super().__init__(message, code=code)


class ManifestError(MedsegError):
    """A manifest (``dataset.csv``) or a split of it is wrong."""


class AnnotationError(MedsegError):
    """A mask, box or point annotation cannot be used."""


class TableError(MedsegError):
    """A table given to the evaluation lacks a column or holds an impossible value."""


class EvaluationWarning(UserWarning):
    """A figure was computed, but the data hardly supports it."""


class CheckpointError(MedsegError):
    """A run or checkpoint is missing, incomplete or does not fit."""


class OutputError(MedsegError):
    """An output cannot be written, or belongs to something else."""


class SampleDataError(MedsegError):
    """The sample data could not be obtained or is not what was expected."""


def naming_case(text: str, case_id: str) -> str:
    """Put the case before a message that does not name it yet.

    Examples
    --------
    >>> naming_case("the image is all zero", "a"), naming_case("case a: no image", "a")
    ('case a: the image is all zero', 'case a: no image')
    """
    named = re.search(rf"\bcase {re.escape(case_id)}(?![\w.-])", text)
    return text if named else f"case {case_id}: {text}"
