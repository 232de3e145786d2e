"""Reading a volume in slabs: ranges of rows [start, stop) of the axis z, so that memory holds no whole volume."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from medseg.errors import ImageError
from medseg.imaging.formats import format_of, split_member
from medseg.imaging.read import read
from medseg.volume import Grid, Note, Volume

__all__ = ["SlabReader", "WholeSlabs", "open_slabs"]

FLOAT32_BYTES = 4


class SlabReader(ABC):
    """A volume whose rows are read when they are asked for.

    A reader belongs to the process that opened it: open one in each.

    Parameters
    ----------
    grid : Grid
        Of the whole volume.
    n_channels : int
    modality, body_part, view, patient_age : str
        As of `Volume`.
    notes : tuple of Note
        What the header gave cause for.
    files : ExitStack, optional
        Of what is open until the reader is closed.
    """

    def __init__(
        self,
        grid: Grid,
        n_channels: int,
        *,
        modality: str = "",
        body_part: str = "",
        view: str = "",
        patient_age: str = "",
        notes: tuple[Note, ...] = (),
        files: ExitStack | None = None,
    ) -> None:
        self.grid = grid
        self.n_channels = n_channels
        self.modality, self.body_part, self.view, self.patient_age = modality, body_part, view, patient_age
        self._notes = notes
        self._files = files or ExitStack()

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was done or noticed so far."""
        return self._notes

    @property
    def pixel_spacing_mm(self) -> tuple[float, float] | None:
        """Of a projection image, (y, x), where it is known."""
        return None

    @property
    def n_bytes(self) -> int:
        """Size of the whole volume as float32."""
        return self.n_channels * int(np.prod(self.grid.shape, dtype=np.int64)) * FLOAT32_BYTES

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the rows `start` to `stop`, float32 of shape (channel, stop - start, y, x).

        They are those of `medseg.imaging.read`, bit for bit.

        Raises
        ------
        ImageError
            When the volume has no such rows, or they are damaged or missing in the file.
        """
        rows = self.grid.shape[0]
        if not 0 <= start <= stop <= rows:
            raise ImageError(f"rows {start} to {stop} were asked for, the volume has the rows 0 to {rows}")
        if start == stop:
            return np.empty((self.n_channels, 0, *self.grid.shape[1:]), np.float32)
        return self._read(start, stop)

    @abstractmethod
    def _read(self, start: int, stop: int) -> np.ndarray:
        """Read a range that is not empty and lies inside."""

    @abstractmethod
    def volume(self) -> Volume:
        """Read all of it at once, as `medseg.imaging.read` does."""

    def close(self) -> None:
        """Close its files."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class WholeSlabs(SlabReader):
    """Slabs of an image that lies in memory, which the note ``read_whole`` of a volume says."""

    def __init__(self, volume: Volume) -> None:
        text = "this volume cannot be read in slabs: all of it was read into memory"
        more = (Note("read_whole", text),) if volume.grid.shape[0] > 1 else ()
        super().__init__(
            volume.grid, len(volume.array), modality=volume.modality, body_part=volume.body_part, view=volume.view,
            patient_age=volume.patient_age, notes=volume.notes + more,
        )  # fmt: skip
        self._volume = volume

    @property
    def pixel_spacing_mm(self) -> tuple[float, float] | None:
        """Of a projection image, (y, x), where it is known."""
        return self._volume.pixel_spacing_mm

    def _read(self, start: int, stop: int) -> np.ndarray:
        return self._volume.array[:, start:stop]

    def volume(self) -> Volume:
        """Return the volume."""
        return self._volume


def open_slabs(path: str | Path, *, series_uid: str | None = None) -> SlabReader:
    """Open an image to be read in slabs.

    ==============================  =====================================================================
    ``.nii``, ``.hdr`` + ``.img``   the bytes of the rows asked for alone, in any order
    ``.nii.gz``                     decompressed forward; ranges that rise take one pass, an earlier row
                                    begins anew; each channel has a stream of its own, and the last row
                                    proves its checksum
    DICOM series                    the files (or frames) of the slices asked for alone, in any order
    everything else                 read whole into memory: NRRD and MetaImage, DICOM slices that must be
                                    straightened, and single images; volumes have the note ``read_whole``
    ==============================  =====================================================================

    Parameters
    ----------
    path, series_uid
        As of `medseg.imaging.read`.

    Raises
    ------
    MedsegError
        As of `medseg.imaging.read`; what is wrong with single slices is found when they are read.
    """
    file, member = split_member(path)
    if not file.exists():
        raise ImageError(f"{file}: no such file or folder")
    kind = "dicom" if file.is_dir() else format_of(file)
    if kind in ("nifti", "pixels"):
        from medseg.imaging.slabs_nifti import NiftiSlabs

        return NiftiSlabs(file)
    if kind == "dicom":
        from medseg.imaging.slabs_dicom import open_dicom

        return open_dicom(file, series_uid or member or None)
    return WholeSlabs(read(path))
