"""What the decoded frames of one file mean: grey values after rescaling, with padding counted."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.imaging.dicom.decode import Decoded
from medseg.imaging.dicom.instance import Instance
from medseg.imaging.dicom.values import LookupTable, Rescale, modality_transform
from medseg.imaging.dicom.values_colour import GREY, to_grey
from medseg.volume import Note

__all__ = ["FrameValues"]


@dataclass(frozen=True, slots=True, eq=False)
class FrameValues:
    """Turns stored values of a file into modality values.

    Parameters
    ----------
    instance : Instance
        The file.
    header : pydicom.Dataset or None
        Its whole header, where a table or a palette is needed.
    table : LookupTable or None
        Modality LUT, in place of slope and intercept.
    """

    instance: Instance
    header: Any = None
    table: LookupTable | None = None

    @classmethod
    def of(cls, instance: Instance) -> "FrameValues":
        """Prepare to read the frames of a file; its header is read again only where a table is needed."""
        coloured = instance.format.photometric not in GREY
        if not (instance.has_table or coloured):
            return cls(instance)
        import pydicom

        header = pydicom.dcmread(instance.path, stop_before_pixels=True, force=True)
        transform = modality_transform(header) if instance.has_table else None
        return cls(instance, header, transform if isinstance(transform, LookupTable) else None)

    def into(self, out: np.ndarray, decoded: Decoded, rescale: tuple[float, float]) -> list[Note]:
        """Write the values of one frame into `out`, float32 of shape (y, x).

        Raises
        ------
        ImageError
            When the frame is in colour.
        """
        stored, note = to_grey(decoded, self.header)
        notes = [] if note is None else [note]
        if self.instance.padding is not None and self.instance.padding.mask(stored).any():
            notes.append(Note("padding", "some pixels are padding, whose values are kept as they are"))
        self.transform(rescale).apply(stored, out)
        return notes

    def transform(self, rescale: tuple[float, float]) -> LookupTable | Rescale:
        """What makes values of the stored values of a frame with this slope and intercept."""
        return self.table or Rescale(*rescale)
