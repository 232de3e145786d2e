"""Radiographs: polarity, spacing, side and view of one projection image."""

from typing import Any

import numpy as np

from medseg.errors import ImageError
from medseg.imaging.dicom.decode import read_frames
from medseg.imaging.dicom.frame_values import FrameValues
from medseg.imaging.dicom.instance import Frame, Instance
from medseg.imaging.dicom.values import LookupTable, invert, padding_darkest
from medseg.imaging.dicom.values_colour import to_grey
from medseg.volume import Grid, Note, Volume

__all__ = ["load_projection", "projection_spacing"]

Spacing = tuple[float, float]
SIDES = {"L": "left", "R": "right", "B": "both sides", "U": "unpaired"}
COLLIMATOR_EDGES = ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")


def load_projection(instance: Instance, frame: Frame) -> Volume:
    """Read one radiograph, large values white.

    Raises
    ------
    ImageError
        When its pixels cannot be decoded, or carry colours.
    """
    import pydicom

    try:
        header = pydicom.dcmread(instance.path, stop_before_pixels=True, force=True)
        spacing, spacing_at, notes = projection_spacing(header)
        view = instance.facts["ViewPosition"] or _coded_view(header)
        notes = (*notes, *_facts(header))
        image, more = _values(instance, frame, header)
    except ImageError:
        raise
    except Exception as error:  # values of the wrong kind raise many types in pydicom; each means the same here
        raise ImageError(f"{instance.path}: damaged DICOM header ({type(error).__name__})") from error
    return Volume(
        image[None, None], Grid.projection(image.shape), spacing, spacing_at,  # type: ignore[arg-type]
        modality=instance.modality, body_part=instance.facts["BodyPartExamined"], view=view,
        patient_age=instance.facts["PatientAge"], notes=(*notes, *more),
    )  # fmt: skip


def _values(instance: Instance, frame: Frame, header: Any) -> tuple[np.ndarray, list[Note]]:
    decoded = next(iter(read_frames(instance.path, instance.format, [frame.number])))
    stored, note = to_grey(decoded, header)
    notes = [Note("decoder", f"decoded by {decoded.decoder}"), *([note] if note else [])]
    bits = instance.format.bits_stored
    notes.append(Note("bit_depth", f"{bits} bits stored"))
    if instance.padding is not None:
        stored, count = padding_darkest(stored, instance.padding, inverted=instance.inverted)
        if count:
            notes.append(Note("padding", f"{count} padding pixel(s) were given the darkest value of the image"))
    transform = FrameValues.of(instance).transform(frame.rescale)
    if instance.inverted:
        if isinstance(transform, LookupTable):
            transform = transform.inverted()
        else:
            stored = invert(stored, instance.format)
        notes.append(Note("monochrome1", f"lowest value is white: inverted over the {bits} bits stored"))
    image = np.empty(stored.shape, dtype=np.float32)
    transform.apply(stored, image)
    return image, notes


def projection_spacing(header: Any) -> tuple[Spacing | None, Any, tuple[Note, ...]]:
    """Pixel spacing (y, x) in mm, and whether it is at the detector or corrected for magnification (PS3.3 10.7.1.1).

    Pixel Spacing that differs from Imager Pixel Spacing was calibrated; Imager Pixel Spacing is at the detector, and
    divided by the Estimated Radiographic Magnification Factor (PS3.3 C.8.7.1) it is at the patient.
    """
    imager = _pair(header, "ImagerPixelSpacing") or _pair(header, "NominalScannedPixelSpacing")
    pixel = _pair(header, "PixelSpacing")
    if pixel is not None and imager is not None and pixel != imager:
        return pixel, "patient", (Note("calibrated_spacing", "pixel spacing was calibrated to the patient"),)
    chosen = pixel or imager
    if chosen is None:
        return None, "", (Note("no_spacing", "pixel spacing unknown: sizes are in pixels", warning=True),)
    factor = header.get("EstimatedRadiographicMagnificationFactor")
    factor = float(factor) if factor not in (None, "") else 1.0
    if factor > 1.0:
        text = f"spacing at the detector divided by the magnification of {factor:.3f}"
        return (chosen[0] / factor, chosen[1] / factor), "patient", (Note("magnification", text),)
    return chosen, "detector", ()


def _pair(header: Any, keyword: str) -> Spacing | None:
    value = header.get(keyword)
    if value is None or value == "" or not hasattr(value, "__len__") or len(value) != 2:
        return None
    y, x = float(value[0]), float(value[1])
    return (y, x) if min(y, x) > 0 and max(y, x) < 1e3 else None


def _coded_view(header: Any) -> str:
    """Meaning of the view's code, as DX images state it in place of a position."""
    codes = header.get("ViewCodeSequence") or []
    return str(codes[0].get("CodeMeaning", "")) if codes else ""


def _facts(header: Any) -> list[Note]:
    """Side and collimation, where the header says them."""
    notes = []
    side = str(header.get("ImageLaterality") or header.get("Laterality") or "")
    if side in SIDES:
        notes.append(Note("laterality", SIDES[side]))
    edges = [header.get(f"Collimator{name}Edge") for name in COLLIMATOR_EDGES]
    if all(edge not in (None, "") for edge in edges):
        left, right, upper, lower = (int(edge) for edge in edges)
        notes.append(Note("collimation", f"collimated to columns {left} to {right}, rows {upper} to {lower}"))
    return notes
