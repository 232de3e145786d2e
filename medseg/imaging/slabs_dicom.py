"""Slabs of DICOM series: only the slices that are asked for are decoded."""

from pathlib import Path

import numpy as np

from medseg.imaging.dicom.geometry import Placement
from medseg.imaging.dicom.series import Series
from medseg.imaging.dicom.slices import read_slices
from medseg.imaging.dicom.volumes import checked_placement, facts, find_series, load_series
from medseg.imaging.slabs import SlabReader, WholeSlabs
from medseg.volume import Grid, Volume

__all__ = ["open_dicom"]


def open_dicom(path: Path, series: str | None) -> SlabReader:
    """Open one series of a folder, or the image in a file, by its headers.

    Slices of a tilted gantry are straightened as a whole volume, so they are read as one; so are radiographs.

    Raises
    ------
    MedsegError
        As of `read_dicom`.
    """
    found = find_series(path, series)
    if found.kind == "projection":
        return WholeSlabs(load_series(found, path))
    placement = checked_placement(found, path)
    return WholeSlabs(load_series(found, path)) if placement.tilt_degrees else DicomSlabs(found, placement, path)


class DicomSlabs(SlabReader):
    """Slices of a straight, regular volume.

    Parameters
    ----------
    series : Series
        Of the kind ``volume``.
    placement : Placement
        Of its slices, without tilt or problem.
    path : Path
        Named in messages.
    """

    def __init__(self, series: Series, placement: Placement, path: Path) -> None:
        self._series, self._path = series, path
        self._frames = [series.frames[index] for index in placement.order]
        form = series.first.format
        grid = Grid((len(self._frames), form.rows, form.columns), placement.affine)
        super().__init__(grid, 1, notes=placement.notes, **facts(series.first))

    def _read(self, start: int, stop: int) -> np.ndarray:
        array, notes = read_slices(self._frames[start:stop], self._series.instances)
        known = {note.code for note in self._notes}
        self._notes += tuple(note for note in notes if note.code not in known)  # of the first slab that has it
        return array[None]

    def volume(self) -> Volume:
        """Read all of it at once."""
        return load_series(self._series, self._path)
