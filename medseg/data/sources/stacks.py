"""``.npz`` archives of many small images with labels, as MNIST comes."""

from pathlib import Path

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
    except (OSError, ValueError) as error:
        raise ManifestError(f"{source}: damaged or not an .npz archive ({error})") from error
    stack = np.concatenate([images for images, _ in parts.values()])
    if stack.ndim != 3:
        raise ManifestError(f"{source}: images of shape {stack.shape[1:]}; grey images (y, x) were expected")
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
