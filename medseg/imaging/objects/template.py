"""The header that a multi-frame result is built on: patient and study of the source, geometry of the grid."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom

from medseg.errors import OutputError
from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.objects.evidence import character_set, frame_of_reference
from medseg.imaging.objects.provenance import NOTICE, Provenance
from medseg.imaging.objects.reference_headers import result_header
from medseg.imaging.objects.unique_ids import unique_id
from medseg.volume import Grid

if TYPE_CHECKING:
    from highdicom import PlanePositionSequence

__all__ = ["ResultIdentity", "check_size", "identity", "plane_positions", "slice_step_mm", "template"]

RIGHT_ANGLE = 1e-4  # cosine between rows and columns that still counts as a right angle
LARGEST_MATRIX = 65535  # Rows and Columns are 16 bit numbers
MOST_BYTES = 2**32 - 2  # the length of the pixel data element has 32 bits and is even
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultIdentity:
    """What names one result.

    Parameters
    ----------
    series_number : int
        Number of the series in the study.
    instance_number : int
        Number of the instance in the series.
    series_uid : str
        Series of the result; empty for a new one.
    uid_seed : str
        Empty: new UIDs each time. Otherwise they follow from the seed and the source.
    """

    series_number: int = 9001
    instance_number: int = 1
    series_uid: str = ""
    uid_seed: str = ""


def slice_step_mm(grid: Grid) -> float:
    """Distance between neighbouring slices along their normal."""
    row, column, step = grid.affine[:3, :3].T
    normal = np.cross(row, column)
    return float(abs(step @ normal) / np.linalg.norm(normal))


def check_size(n_bytes: int, what: str) -> None:
    """Refuse pixel data that a DICOM element cannot hold.

    Raises
    ------
    OutputError
        Above 4 GB.
    """
    if n_bytes > MOST_BYTES:
        raise OutputError(f"the {what} is larger than 4 GB, the most that a DICOM element holds; save NIfTI instead")


def template(source: SourceSeries, grid: Grid) -> pydicom.Dataset:
    """Header of one slice of `grid`, as if it were the source, for the library that writes multi-frame objects.

    That library takes patient, study and defaults of the geometry from a source image; what it would take from the real
    one may be absent or wrong there. References to the real images are added afterwards.

    Raises
    ------
    OutputError
        When the source lacks UIDs, or rows and columns of the grid are not at a right angle.
    """
    header = result_header(source)
    header.Modality = source.datasets[0].get("Modality") or "OT"
    _, header.Rows, header.Columns = grid.shape
    if max(grid.shape[1:]) > LARGEST_MATRIX:
        raise OutputError(f"an image of {grid.shape[1]} x {grid.shape[2]} pixels is larger than DICOM allows (65535)")
    if grid.unit == "px":
        _check_projection(source, grid)
        header.SOPClassUID = SECONDARY_CAPTURE  # of a CT image the library would expect a frame of reference
        return header
    from pydicom.valuerep import format_number_as_ds

    x, y = grid.affine[:3, 0], grid.affine[:3, 1]
    _, y_mm, x_mm = grid.spacing
    if abs(x @ y) > RIGHT_ANGLE * x_mm * y_mm:
        raise OutputError("rows and columns of the volume are not at a right angle, which DICOM cannot store")
    header.FrameOfReferenceUID = frame_of_reference(source)
    header.PositionReferenceIndicator = source.datasets[0].get("PositionReferenceIndicator") or ""
    header.ImagePositionPatient = [format_number_as_ds(float(value)) for value in grid.affine[:3, 3]]
    header.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in [*x / x_mm, *y / y_mm]]
    header.PixelSpacing = [format_number_as_ds(y_mm), format_number_as_ds(x_mm)]
    header.SliceThickness = header.SpacingBetweenSlices = format_number_as_ds(slice_step_mm(grid))
    return header


def _check_projection(source: SourceSeries, grid: Grid) -> None:
    first = source.datasets[0]
    shape = (int(first.get("Rows") or 0), int(first.get("Columns") or 0))
    if len(source.datasets) != 1 or int(first.get("NumberOfFrames") or 1) != 1:
        raise OutputError("a result of a projection refers to one image of one frame; the source holds several")
    if grid.shape != (1, *shape):
        raise OutputError(f"the result has {grid.shape[1:]} pixels (rows, columns), its source image {shape}")


def plane_positions(grid: Grid, slices: np.ndarray) -> "list[PlanePositionSequence] | None":
    """Positions of slices of the grid by their number; None on a projection."""
    from highdicom import PlanePositionSequence

    if grid.unit == "px":
        return None
    index = np.zeros((len(slices), 3))
    index[:, 2] = slices
    return [PlanePositionSequence("PATIENT", position.tolist()) for position in grid.to_world(index)]


def identity(
    source: SourceSeries, provenance: Provenance, kind: str, *, given: ResultIdentity, texts: list[str]
) -> dict[str, Any]:
    """Arguments that every multi-frame result has in common: UIDs, numbers, equipment, notice.

    Parameters
    ----------
    kind : str
        What it is, in a word or two, such as ``segmentation``.
    texts : list of str
        Words of the pipeline that the object will hold; they decide the character set.
    """
    first = source.datasets[0]
    parts = (
        str(first.SeriesInstanceUID),
        str(first.SOPInstanceUID),
        provenance.pipeline,
        provenance.model_digest,
        kind,
    )
    return {
        "series_instance_uid": given.series_uid or unique_id(given.uid_seed, *parts, "series"),
        "sop_instance_uid": unique_id(given.uid_seed, *parts, str(given.instance_number)),
        "series_number": given.series_number,
        "instance_number": given.instance_number,
        "manufacturer": "medseg",
        "manufacturer_model_name": "medseg",
        "software_versions": provenance.version,
        "device_serial_number": (provenance.model_digest or "none")[:64],  # VR LO
        "series_description": f"{NOTICE}: {provenance.pipeline} {kind}"[:64],
        "content_description": f"{NOTICE}: {kind}"[:64],
        "specific_character_set": character_set(source, [*texts, provenance.pipeline]),
    }
