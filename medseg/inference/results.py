"""What is written for a case beside its record: masks, maps, overlays, and DICOM objects for a PACS."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import medseg
from medseg.drawing import draw_overlay
from medseg.errors import ConfigError, ImageError, OutputError
from medseg.files import atomic_path
from medseg.imaging.dicom.source import SourceSeries, read_source
from medseg.imaging.formats import format_of, split_member
from medseg.imaging.objects.provenance import Provenance
from medseg.imaging.slabs import SlabReader
from medseg.inference.model import Model
from medseg.inference.prediction import Prediction
from medseg.lesion import Lesion

__all__ = ["SAVEABLE", "Reference", "check_save", "check_source", "default_save", "save_results"]

FILES = ("mask", "probability", "uncertainty", "overlay")
OBJECTS = ("seg", "sr", "pm", "sc", "pr")
SAVEABLE = (*FILES, *OBJECTS)
NEEDS_MASK, NEEDS_MAP = ("mask", "seg"), ("probability", "pm")


@dataclass(frozen=True, slots=True)
class Reference:
    """What readers drew, for the overlay; empty where it is not shown."""

    lesions: Sequence[Lesion] = ()
    mask: np.ndarray | None = None


def default_save(model: Model) -> tuple[str, ...]:
    """What is saved unless the user says otherwise: the overlay, and the mask of models that make one."""
    return ("mask", "overlay") if model.makes_mask else ("overlay",)


def check_save(save: Sequence[str], model: Model) -> None:
    """Refuse what is unknown, and what the model cannot make.

    Raises
    ------
    ConfigError
        Naming the first such kind.
    """
    for kind in save:
        if kind not in SAVEABLE:
            raise ConfigError(f"--save {kind}: unknown; allowed are {', '.join(SAVEABLE)}")
        if kind == "uncertainty" and not model.makes_uncertainty:
            raise ConfigError(
                f"--save {kind}: needs a model with maps and mirror images (inference.flip_axes), and volumes that are "
                "not spread"
            )
        if not _can(model, kind):
            raise ConfigError(
                f"--save {kind}: the model {model.pipeline.name} ({model.pipeline.detector.kind}) makes none; "
                f"it can save {', '.join(k for k in SAVEABLE if _can(model, k))}"
            )


def _can(model: Model, kind: str) -> bool:
    if kind == "uncertainty":
        return model.makes_uncertainty
    return (model.makes_mask or kind not in NEEDS_MASK) and (model.makes_map or kind not in NEEDS_MAP)


def save_results(
    folder: Path, image: str, source: SlabReader, prediction: Prediction, model: Model, save: Sequence[str],
    reference: Reference,
) -> None:  # fmt: skip
    """Write the chosen results of one case into `folder`.

    Mask and map are written slab by slab, and an overlay reads the slices that it draws; ``seg`` and ``pm`` are built
    from the whole mask (uint8) and map (float32).

    Parameters
    ----------
    image : str
        The first image as `medseg.imaging.read` takes it: DICOM results refer to its instances.
    source : SlabReader
        The image that was predicted.

    Raises
    ------
    ImageError
        When DICOM results are asked for of an image that is not DICOM.
    """
    if "mask" in save and prediction.map is not None:
        prediction.map.write(folder / "mask.nii.gz", threshold=prediction.mask_threshold)
    if "probability" in save and prediction.map is not None:
        prediction.map.write(folder / "probability.nii.gz")
    if "uncertainty" in save and prediction.uncertainty is not None:
        prediction.uncertainty.write(folder / "uncertainty.nii.gz")
    picture = None
    if "overlay" in save or "sc" in save:
        picture = draw_overlay(
            source, prediction.reported, settings=model.pipeline.drawing, lesions=reference.lesions,
            mask=None if prediction.mask_threshold is None else lambda z: prediction.mask_rows(z, z + 1)[0],
            reference_mask=None if reference.mask is None else reference.mask.__getitem__,
        )  # fmt: skip
    if picture is not None and "overlay" in save:
        with atomic_path(folder / "overlay.png") as temporary:
            picture.save(temporary, format="PNG")
    objects = [kind for kind in OBJECTS if kind in save]
    if objects:
        _save_objects(folder, _series(image), source, prediction, model, objects, picture)


def check_source(save: Sequence[str], images: Iterable[str]) -> None:
    """Refuse DICOM results where no image is DICOM.

    Raises
    ------
    ConfigError
        Naming the first kind of result.
    """
    objects = [kind for kind in save if kind in OBJECTS]
    if objects and not any(map(_is_dicom, images)):
        raise ConfigError(f"--save {objects[0]}: DICOM results refer to DICOM images, and none of the input is one")


def _is_dicom(image: str) -> bool:
    path, _ = split_member(image)
    return path.is_dir() or format_of(path) == "dicom"


def _series(image: str) -> SourceSeries:
    if not _is_dicom(image):
        raise ImageError(f"{image}: DICOM results refer to DICOM images, which this is not; leave them out of --save")
    path, member = split_member(image)
    return read_source(path, series=member or None)


def _save_objects(
    folder: Path, series: SourceSeries, source: SlabReader, prediction: Prediction, model: Model,
    kinds: Sequence[str], picture: Image.Image | None,
) -> None:  # fmt: skip
    from medseg.imaging.objects.write import write_object

    segmentation = None
    for kind in kinds:
        try:
            built = _built(kind, series, source, prediction, model, segmentation, picture)
        except OutputError as error:  # a fault of the case, which must not end the batch as a full disk does
            raise ImageError(str(error)) from error
        segmentation = built if kind == "seg" else segmentation
        write_object(folder / f"{kind}.dcm", built)


def _built(
    kind: str, series: SourceSeries, source: SlabReader, prediction: Prediction, model: Model, segmentation: Any,
    picture: Image.Image | None,
) -> Any:  # fmt: skip
    from medseg.imaging.objects.capture import build_capture
    from medseg.imaging.objects.parametric_map import build_parametric_map
    from medseg.imaging.objects.presentation import build_presentation
    from medseg.imaging.objects.report import build_report
    from medseg.imaging.objects.segmentation import build_segmentation

    pipeline, grid = model.pipeline, source.grid
    provenance = Provenance(pipeline.name, medseg.__version__, model.digest)
    common: dict[str, Any] = {"settings": pipeline.results, "provenance": provenance}
    if kind == "seg":
        mask = prediction.mask
        assert mask is not None  # `check_save`
        return build_segmentation(
            mask, grid, series, classes=pipeline.classes[:1], probability=prediction.probability, **common
        )
    if kind == "sr":
        return build_report(
            prediction.reported, grid, series, pixel_spacing_mm=source.pixel_spacing_mm, segmentation=segmentation,
            operating_point=prediction.operating_point, **common,
        )  # fmt: skip
    if kind == "pm":
        probability = prediction.probability
        assert probability is not None
        return build_parametric_map(probability, grid, series, provenance=provenance)
    if kind == "sc":
        return build_capture([np.asarray(picture)], series, provenance=provenance)
    return build_presentation(prediction.reported, grid, series, window=pipeline.drawing.window, **common)
