"""The DICOM instances that a volume was read from, for the objects that refer to them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.imaging.dicom.geometry import Placement
from medseg.imaging.dicom.headers import scan
from medseg.imaging.dicom.volumes import choose_series

__all__ = ["SourceSeries", "read_source"]


@dataclass(frozen=True, slots=True, eq=False)
class SourceSeries:
    """Headers of the instances of one series.

    Parameters
    ----------
    datasets : tuple of pydicom.Dataset
        Without pixels, slices in the order of their position along the normal; one for a radiograph and for a
        multi-frame image.
    """

    datasets: tuple[Any, ...]


def read_source(path: str | Path, *, series: str | None = None) -> SourceSeries:
    """Read the headers of a series.

    Parameters
    ----------
    path : str or Path
        A DICOM file or a folder.
    series : str, optional
        Series Instance UID, followed by ``/part`` where the series holds several volumes.

    Raises
    ------
    ImageError
        When there is no such series, or several and no `series`.
    """
    import pydicom

    path = Path(path)
    chosen = choose_series(path, scan(path), series)
    frames = list(chosen.frames)
    if isinstance(chosen.placement, Placement):
        frames = [frames[index] for index in chosen.placement.order]
    files = dict.fromkeys(frame.path for frame in frames)
    return SourceSeries(tuple(pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in files))
