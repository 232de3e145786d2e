"""The bit depth that a file's header states, kept with the volume as a note."""

from medseg.volume import Note, Volume

__all__ = ["bit_depth_note", "stored_bits"]

CODE = "bit_depth"


def bit_depth_note(bits: int) -> Note:
    """Return the note that says how many bits a value was stored with."""
    return Note(CODE, f"{bits} bit")


def stored_bits(volume: Volume) -> int | None:
    """Return how many bits a value was stored with, by the file's header; None where no reader noted it.

    The range of grey values is that of the depth, and not up to the brightest pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from medseg.volume import Grid
    >>> image = Volume(np.zeros((1, 1, 2, 2)), Grid.projection((2, 2)), notes=(bit_depth_note(12),))
    >>> stored_bits(image)
    12
    """
    return next((int(note.message.split()[0]) for note in volume.notes if note.code == CODE), None)
