"""``.npz`` archives of many small images with labels, as MNIST comes."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from medseg.data.manifest import Case
from medseg.errors import ManifestError
from medseg.files import atomic_path

__all__ = ["from_npz"]

LAYOUTS = (
    {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")},
    {
        "train": ("train_images", "train_labels"),
        "val": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
)
VALIDATION_SHARE = 12  # one training image in so many, where the archive has no validation part of its own


def from_npz(source: Path, output: Path) -> list[Case]:
    """Write the images of an archive as one stack, ``images.npy``, and list its members with their parts.

    The archive's own test part stays the test part.

    Raises
    ------
    ManifestError
        When the archive is damaged or of an unknown layout.
    """
    try:
        with np.load(source, allow_pickle=False) as archive:
            layout = next((names for names in LAYOUTS if all(x in archive for x, _ in names.values())), None)
            if layout is None:
                raise ManifestError(f"{source}: holds {', '.join(archive.files)}; expected x_train, y_train, ... ")
            parts = {part: (archive[x], archive[y].reshape(-1)) for part, (x, y) in layout.items()}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise ManifestError(f"{source}: damaged or not an .npz archive ({type(error).__name__})") from error
    for part, (images, labels) in parts.items():
        _check_part(source, part, images, labels)
    if len({images.shape[1:] for images, _ in parts.values()}) > 1:
        raise ManifestError(f"{source}: the parts hold images of different sizes")
    stack = np.concatenate([images for images, _ in parts.values()])
    target = output / "images.npy"
    with atomic_path(target) as temporary, temporary.open("wb") as stream:
        np.save(stream, stack)
    cases = []
    number = 0
    for part, (_, labels) in parts.items():
        for place, label in enumerate(labels):
            own = part != "train" or "val" in parts
            name = part if own or place % VALIDATION_SHARE else "val"
            case_id = f"{part}{place:06d}"
            images = (f"{target.resolve()}#{number}",)
            cases.append(Case(case_id=case_id, patient_id=case_id, images=images, label=int(label), split=name))
            number += 1
    return cases


def _check_part(source: Path, part: str, images: np.ndarray, labels: np.ndarray) -> None:
    if images.ndim != 3:
        raise ManifestError(f"{source}: {part} images of shape {images.shape}; expected (n, y, x), grey")
    if labels.shape != (len(images),):
        raise ManifestError(f"{source}: {len(images)} {part} images and {labels.size} labels; one each was expected")
    if labels.dtype.kind not in "iu" or (labels < 0).any():
        raise ManifestError(f"{source}: a {part} label is not a whole number from 0")
