"""One case made ready: its image on the working grid, in memory or in a file, and its lesions there."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from medseg.data.annotations import LabelledMask, read_labels, read_lesions
from medseg.data.class_labels import class_labels
from medseg.data.instances import draw_lesions, mask_instances
from medseg.data.manifest import Case
from medseg.data.preprocess import Prepared, prepare_image
from medseg.data.pseudonyms import without_paths
from medseg.data.settings import InputSettings
from medseg.data.slab_channels import open_images
from medseg.data.slabs import prepare_slabs
from medseg.errors import AnnotationError, MedsegError, naming_case
from medseg.lesion import Lesion
from medseg.volume import Grid

__all__ = ["LARGE_BYTES", "CacheOptions", "CachedCase", "load_case", "read_case_image"]

logger = logging.getLogger(__name__)
LARGE_BYTES = 1 << 30  # of images as float32: preparing them in memory takes some three times as much


@dataclass(frozen=True, slots=True)
class CacheOptions:
    """What a cached case depends on, beside its files."""

    input: InputSettings
    spacing: tuple[float, float, float] | None
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class CachedCase:
    """A preprocessed case.

    Parameters
    ----------
    image : ndarray of float32, shape (channel, z, y, x)
    instances : ndarray of int16, shape (z, y, x)
        0 or the number of the lesion.
    class_of : ndarray of int, shape (n_lesions + 1,)
        Class index of each lesion number.
    label : int
        Label of the image, -1 without one.
    labels : ndarray of int8, shape (class,)
        Whether the image shows each class: 1, 0, or -1 where that is uncertain or not read.
    """

    case_id: str
    image: np.ndarray
    instances: np.ndarray
    class_of: np.ndarray
    label: int
    grid: Grid
    source: Grid
    labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int8))

    @property
    def has_lesion(self) -> bool:
        """Whether any voxel belongs to a lesion, or the image has a label above 0 or shows a class."""
        return bool(len(self.class_of) > 1 or self.label > 0 or (self.labels > 0).any())


def read_case_image(
    case: Case, options: CacheOptions, *, file: Path | None = None, large_bytes: int = LARGE_BYTES
) -> Prepared:
    """Read and prepare the image of one case.

    Parameters
    ----------
    file : Path, optional
        Images of more than `large_bytes` are prepared in slabs into this ``.npy`` file, and mapped; without it, all
        are prepared in memory. So are those that must first be brought onto one grid: see `CaseImages.channels`.
    """
    with open_images(case.images, case.case_id, options.input) as images:
        if file is not None and images.n_bytes > large_bytes:
            channels = images.channels()
            if channels is None or images.read_whole:
                logger.warning(
                    "case %s is large, but its images cannot be read in slabs: they take memory whole", case.case_id
                )
            if channels is not None:
                return prepare_slabs(
                    channels, options.input, spacing=options.spacing, path=file, missing=channels.missing
                )
        volume = images.stacked()
    return prepare_image(volume, options.input, spacing=options.spacing)


def load_case(
    case: Case, options: CacheOptions, *, file: Path | None = None, large_bytes: int = LARGE_BYTES
) -> CachedCase:
    """Read and prepare one case with its annotation, without a cache.

    Masks are read whole, and the lesions on the working grid are held whole (int16), however large the image is.

    Parameters
    ----------
    file, large_bytes
        As of `read_case_image`.

    Raises
    ------
    MedsegError
        Naming the case, when its image or annotation cannot be used.
    """
    try:
        prepared = read_case_image(case, options, file=file, large_bytes=large_bytes)
        instances, class_of, lesions = _instances(case, prepared, options)
    except MedsegError as error:
        raise type(error)(naming_case(without_paths(str(error), case.files), case.case_id)) from error
    label = -1 if case.label is None else case.label
    labels = class_labels(case, options.classes, lesions)
    return CachedCase(case.case_id, prepared.image, instances, class_of, label, prepared.grid, prepared.source, labels)


def _instances(
    case: Case, prepared: Prepared, options: CacheOptions
) -> tuple[np.ndarray, np.ndarray, Sequence[Lesion] | None]:
    """Lesions on the working grid, the class of each, and all that readers marked (None: nobody did)."""
    labelled = read_labels(case, prepared.source)
    if labelled is not None:
        every: Sequence[Lesion] | None = labelled.lesions
        instances, names = _mask_instances(labelled, prepared)
    else:
        every = read_lesions(case, prepared.source, prepared.pixel_spacing_mm)
        lesions = [lesion for lesion in every or () if not lesion.ignore]
        instances = draw_lesions(lesions, prepared.source, prepared.grid)
        names = [lesion.name or case.name for lesion in lesions]
    return instances, np.array([0, *(_class_index(name, options.classes) for name in names)], np.int64), every


def _mask_instances(labelled: LabelledMask, prepared: Prepared) -> tuple[np.ndarray, list[str]]:
    """Lesions of a mask on the working grid, class by class, and the class of each."""
    instances = np.zeros(prepared.grid.shape, np.int16)
    names: list[str] = []
    counted = [lesion for lesion in labelled.lesions if not lesion.ignore]
    for name in dict.fromkeys(lesion.name for lesion in counted):
        mask = np.isin(labelled.labels, [lesion.mask_label for lesion in counted if lesion.name == name])
        own = mask_instances(mask.astype(np.uint8), prepared.source, prepared.grid)
        instances[own > 0] = own[own > 0] + len(names)
        names += [name] * int(own.max())
    return instances, names


def _class_index(name: str, classes: tuple[str, ...]) -> int:
    if not name or len(classes) == 1:
        return 0
    if name not in classes:
        raise AnnotationError(f"class '{name}' is not one of the pipeline's classes {list(classes)}")
    return classes.index(name)
