"""The DICOM instances that a volume was read from, for the objects that refer to them."""

from dataclasses import dataclass
from pathlib import Path

import pydicom

from medseg.errors import ImageError
from medseg.imaging.dicom.volumes import group_series, read_headers

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

    datasets: tuple[pydicom.Dataset, ...]


def read_source(path: str | Path, *, series_uid: str | None = None) -> SourceSeries:
    """Read the headers of a series.

    Parameters
    ----------
    path : str or Path
        A DICOM file or a folder.
    series_uid : str, optional
        The series, where the folder holds several.

    Raises
    ------
    ImageError
        When there is no such series, or several and no `series_uid`.
    """
    import numpy as np

    groups = group_series(read_headers(Path(path))[0])
    if series_uid is None and len(groups) == 1:
        series_uid = next(iter(groups))
    if series_uid is None or series_uid not in groups:
        raise ImageError(f"{path}: holds {len(groups)} series; name the one that is meant by its UID")
    headers = [header for _, header in groups[series_uid]]

    def place(header: pydicom.Dataset) -> float:
        if "ImagePositionPatient" not in header or "ImageOrientationPatient" not in header:
            return 0.0
        axes = np.array(header.ImageOrientationPatient, dtype=float)
        return float(np.cross(axes[:3], axes[3:]) @ np.array(header.ImagePositionPatient, dtype=float))

    return SourceSeries(tuple(sorted(headers, key=place)))
