"""Building objects with a library that checks headers in its own ways."""

from collections.abc import Iterator
from contextlib import contextmanager

from medseg.errors import MedsegError, OutputError
from medseg.imaging.quiet import quiet_pydicom

__all__ = ["building"]


@contextmanager
def building(what: str) -> Iterator[None]:
    """Turn what the library refuses into an `OutputError`, and keep its warnings back: they quote patients' names.

    Parameters
    ----------
    what : str
        The object, for the message.
    """
    try:
        with quiet_pydicom():
            yield
    except MedsegError:
        raise
    except Exception as error:  # highdicom and pydicom check with many types of exceptions, and quote values too
        raise OutputError(f"the {what} cannot be built: {type(error).__name__} on a header of its source") from error
