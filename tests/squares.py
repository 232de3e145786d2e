"""A small synthetic data set: noise, and a bright square at a random place in every second image; labels alone."""

from pathlib import Path

import numpy as np
from PIL import Image

from medseg.data.manifest import Case, write_manifest

SIDE, SQUARE = 64, 16


def square_image(random, *, side=SIDE, square=SQUARE, shows=True):
    """An image, uint8, and the half-open box (x_min, y_min, x_max, y_max) of its square, which may not be drawn."""
    image = random.normal(90, 15, (side, side))
    x, y = random.integers(0, side - square + 1, 2).tolist()
    if shows:
        image[y : y + square, x : x + square] += 70
    return np.clip(image, 1, 255).astype(np.uint8), (x, y, x + square, y + square)


def make_squares(folder: Path, *, n_cases=96, seed=0, **sizes) -> Path:
    """Write images and a manifest with the column ``label_square``."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    for number in range(n_cases):
        image, _ = square_image(random, shows=bool(number % 2), **sizes)
        path = folder / f"c{number:03d}.png"
        Image.fromarray(image).save(path)
        cases.append(
            Case(
                case_id=path.stem, patient_id=f"p{number}", images=(str(path),), label=number % 2,
                class_labels=(("square", number % 2),), modality="DX",
            )
        )  # fmt: skip
    write_manifest(folder / "dataset.csv", cases)
    return folder
