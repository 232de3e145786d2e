"""One DICOM file without its pixels: what decides which volume its frames belong to, and where they lie."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.errors import ImageError
from medseg.imaging.dicom.decode import PixelFormat
from medseg.imaging.dicom.values import PixelPadding, is_inverted

__all__ = ["HEADER_KEYWORDS", "Frame", "Instance", "instance_of"]

Vector = tuple[float, ...]

# what the reader needs of a header: everything else is skipped, which makes reading twice as fast
HEADER_KEYWORDS = (
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesDescription",
    "PatientID", "PatientAge", "BodyPartExamined", "ProtocolName", "ViewPosition", "SequenceName", "ContrastBolusAgent",
    "AcquisitionTime", "ContentTime", "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "AcquisitionNumber",
    "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID",
    "TemporalPositionIdentifier", "SliceThickness", "SpacingBetweenSlices", "EchoTime", "EchoNumbers", "TriggerTime",
    "DiffusionBValue", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing",
    "EstimatedRadiographicMagnificationFactor", "ImageLaterality", "Laterality", "SamplesPerPixel",
    "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "RescaleSlope",
    "RescaleIntercept", "ModalityLUTSequence", "PresentationLUTShape", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "ReferencedSeriesSequence", "ConversionType", "Units",
    "CollimatorLeftVerticalEdge",
    "CollimatorRightVerticalEdge", "CollimatorUpperHorizontalEdge", "CollimatorLowerHorizontalEdge",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """One slice or projection: a frame of a file.

    Parameters
    ----------
    path : Path
        The file.
    number : int
        0-based number in the file.
    position, orientation, spacing : tuple of float or None
        Image Position, Image Orientation, Pixel Spacing (between rows, between columns) as stated, None where absent.
    thickness : float or None
        Spacing between slices in mm, or else slice thickness.
    rescale : tuple of float
        Slope and intercept.
    keys : tuple of (str, str)
        What may tell one volume of a series from another, in the order in which it is tried: echo, b-value ...
    """

    path: Path
    number: int
    sop_uid: str
    position: Vector | None
    orientation: Vector | None
    spacing: Vector | None
    thickness: float | None
    rescale: tuple[float, float]
    keys: tuple[tuple[str, str], ...]

    @property
    def key(self) -> dict[str, str]:
        """`keys` as a dictionary."""
        return dict(self.keys)


@dataclass(frozen=True, slots=True)
class Instance:
    """The header of one image file.

    Parameters
    ----------
    format : PixelFormat
        How its pixels are stored.
    facts : dict
        Further attributes as text: modality, description, body part, view ...
    frames : tuple of Frame
        Its frames.
    padding : PixelPadding or None
        Stored values that are no measurement.
    has_table : bool
        Whether a Modality LUT takes the place of slope and intercept.
    inverted : bool
        Whether the lowest value is shown white.
    """

    path: Path
    sop_class: str
    sop_uid: str
    series_uid: str
    study_uid: str
    patient_id: str
    modality: str
    image_type: tuple[str, ...]
    format: PixelFormat
    facts: dict[str, str]
    frames: tuple[Frame, ...]
    padding: PixelPadding | None = None
    has_table: bool = False
    inverted: bool = False


FACTS = (
    "SeriesDescription", "ProtocolName", "SequenceName", "BodyPartExamined", "ViewPosition", "ContrastBolusAgent",
    "AcquisitionTime", "SeriesNumber", "FrameOfReferenceUID", "Units", "PatientAge",
)  # fmt: skip


def instance_of(path: Path, header: Any, offset: int) -> Instance:
    """Take from a header, read up to its pixels at byte `offset`, what the reader needs.

    Raises
    ------
    ImageError
        When a value is not what the standard allows.
    """
    try:
        pixel_format = PixelFormat.of(header, offset)
        common = _own_frame_facts(path, header)
        frames = tuple(_frames(path, header, common, pixel_format.frames))
        padding = PixelPadding.of(header, pixel_format)
    except ImageError:
        raise
    except Exception as error:  # values of the wrong kind raise many types in pydicom; each means the same here
        raise ImageError(f"{path}: damaged DICOM header ({type(error).__name__})") from error
    return Instance(
        path=path,
        sop_class=str(header.SOPClassUID),
        sop_uid=str(header.get("SOPInstanceUID", "")),
        series_uid=str(header.SeriesInstanceUID),
        study_uid=str(header.get("StudyInstanceUID", "")),
        patient_id=str(header.get("PatientID", "") or "").strip(),
        modality=str(header.get("Modality", "") or ""),
        image_type=tuple(_texts(header.get("ImageType"))),
        format=pixel_format,
        facts={name: str(header.get(name, "") or "").strip() for name in FACTS},
        frames=frames,
        padding=padding,
        has_table=bool(header.get("ModalityLUTSequence")),
        inverted=is_inverted(header),
    )


def _texts(value: Any) -> list[str]:
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else [str(part) for part in value]


def _vector(value: Any, length: int, name: str) -> Vector | None:
    """Numbers of an attribute; None where it is absent or empty, an error where it is anything else."""
    if value is None or value == "" or (hasattr(value, "__len__") and len(value) == 0):
        return None
    numbers = tuple(float(part) for part in value) if hasattr(value, "__iter__") else (float(value),)
    if len(numbers) != length or not all(abs(number) < 1e7 for number in numbers):  # also false for NaN
        raise ImageError(f"damaged DICOM header: {name} is {list(numbers)}, expected {length} finite number(s)")
    return numbers


def _number(value: Any, name: str) -> float | None:
    found = _vector(value, 1, name)
    return None if found is None else found[0]


def _own_frame_facts(path: Path, header: Any) -> dict[str, Any]:
    """Facts of the only frame of a classic image, which are also the default of enhanced ones."""
    try:
        return _classic_facts(header)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None


def _classic_facts(header: Any) -> dict[str, Any]:
    return {
        "position": _vector(header.get("ImagePositionPatient"), 3, "ImagePositionPatient"),
        "orientation": _vector(header.get("ImageOrientationPatient"), 6, "ImageOrientationPatient"),
        "spacing": _vector(header.get("PixelSpacing"), 2, "PixelSpacing"),
        "thickness": _thickness(header),
        "rescale": _rescale(header, (1.0, 0.0)),
        "keys": {
            "echo": _first(header, "EchoNumbers", "EchoTime"),
            "b": _b_value(header),
            "phase": _first(header, "TemporalPositionIdentifier"),
            "trigger": _first(header, "TriggerTime"),
            "type": "-".join(_texts(header.get("ImageType"))[2:]),
            "acquisition": _first(header, "AcquisitionNumber"),
            "time": _first(header, "AcquisitionTime"),
        },
    }


def _first(item: Any, *keywords: str) -> str:
    """First of the attributes that has a value, as text."""
    for keyword in keywords:
        value = item.get(keyword)
        if value is not None and str(value) != "":
            return str(value)
    return ""


def _thickness(item: Any) -> float | None:
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        value = _number(item.get(keyword), keyword)
        if value is not None and value > 0:
            return value
    return None


def _rescale(item: Any, default: tuple[float, float]) -> tuple[float, float]:
    slope, intercept = (_number(item.get(name), name) for name in ("RescaleSlope", "RescaleIntercept"))
    if slope is None and intercept is None:
        return default
    if slope == 0:
        raise ImageError("damaged DICOM header: RescaleSlope is 0, which would make every voxel the same")
    return (1.0 if slope is None else slope, intercept or 0.0)


# where vendors kept the b-value before there was an attribute for it
PRIVATE_B_VALUES = (
    (0x0019, "SIEMENS MR HEADER", 0x0C),
    (0x0043, "GEMS_PARM_01", 0x39),
    (0x2001, "Philips Imaging DD 001", 0x03),
)


def _b_value(header: Any) -> str:
    value = header.get("DiffusionBValue")
    if value is not None and str(value) != "":
        return str(value)
    for group, creator, element in PRIVATE_B_VALUES:
        try:
            found = header.private_block(group, creator)[element].value
        except (KeyError, AttributeError):
            continue
        if isinstance(found, bytes):
            found = found.decode("ascii", "replace").strip("\0 ").split("\\")
        first = str(found[0] if isinstance(found, (list, tuple)) or hasattr(found, "append") else found)
        digits = first.strip()
        # GE adds 10^9 to the value
        return str(int(digits) % 100_000) if digits.isdecimal() else digits
    return ""


def _frames(path: Path, header: Any, common: dict[str, Any], count: int) -> Iterator[Frame]:
    sop_uid = str(header.get("SOPInstanceUID", ""))
    shared = (header.get("SharedFunctionalGroupsSequence") or [None])[0]
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    if own and len(own) != count:
        raise ImageError(f"{path}: describes {len(own)} frames and holds {count}; the file is damaged")
    if shared is not None:
        common = _merged(common, shared)
    for number in range(count):
        facts = _merged(common, own[number]) if own else common
        keys = tuple((name, value) for name, value in facts["keys"].items())
        yield Frame(
            path, number, sop_uid, facts["position"], facts["orientation"], facts["spacing"], facts["thickness"],
            facts["rescale"], keys,
        )  # fmt: skip


def _merged(facts: dict[str, Any], groups: Any) -> dict[str, Any]:
    """Facts with what a functional group item states (PS3.3 C.7.6.16.2) in their place."""

    def item(name: str) -> Any:
        sequence = groups.get(name)
        return sequence[0] if sequence else {}

    measures, content = item("PixelMeasuresSequence"), item("FrameContentSequence")
    position = _vector(item("PlanePositionSequence").get("ImagePositionPatient"), 3, "ImagePositionPatient")
    orientation = _vector(item("PlaneOrientationSequence").get("ImageOrientationPatient"), 6, "ImageOrientationPatient")
    spacing = _vector(measures.get("PixelSpacing"), 2, "PixelSpacing")
    frame_type = item("CTImageFrameTypeSequence") or item("MRImageFrameTypeSequence") or item("XAXRFFrameTypeSequence")
    keys = {
        "stack": _first(content, "StackID"),
        "echo": _first(item("MREchoSequence"), "EffectiveEchoTime"),
        "b": _first(item("MRDiffusionSequence"), "DiffusionBValue"),
        "phase": _first(content, "TemporalPositionIndex"),
        "trigger": _first(item("CardiacSynchronizationSequence"), "NominalCardiacTriggerDelayTime"),
        "type": "-".join(_texts(frame_type.get("FrameType"))[2:]),
        "acquisition": _first(content, "FrameAcquisitionNumber"),
    }
    return {
        "position": position or facts["position"],
        "orientation": orientation or facts["orientation"],
        "spacing": spacing or facts["spacing"],
        "thickness": _thickness(measures) or facts["thickness"],
        "rescale": _rescale(item("PixelValueTransformationSequence"), facts["rescale"]),
        "keys": {"stack": "", **facts["keys"], **{name: value for name, value in keys.items() if value}},
    }
