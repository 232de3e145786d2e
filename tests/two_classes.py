"""A small synthetic data set of two classes: bright discs and dark squares, in masks with one value a class."""

from pathlib import Path

import numpy as np
from PIL import Image


def make_two_classes(folder: Path, *, n_cases: int = 36, seed: int = 0) -> Path:
    """Write it; a third of the images shows a disc, a third a square, a third both."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    rows, masks = ["case_id,patient_id,image,mask"], ["case_id,mask,class"]
    for kind in ("image", "mask"):
        (folder / kind).mkdir(parents=True)
    for number in range(n_cases):
        name = f"c{number:02d}"
        image, mask = random.normal(120, 8, (48, 48)), np.zeros((48, 48), np.uint8)
        if number % 3 != 1:
            mask[(y - random.integers(8, 18)) ** 2 + (x - random.integers(10, 38)) ** 2 <= 20] = 1
        if number % 3 != 0:
            top, left = random.integers(28, 38), random.integers(6, 36)
            mask[top : top + 7, left : left + 7] = 2
        image += np.array([0, 60, -60])[mask]
        Image.fromarray(np.clip(image, 1, 255).astype(np.uint8)).save(folder / "image" / f"{name}.png")
        Image.fromarray(mask).save(folder / "mask" / f"{name}.png")
        rows.append(f"{name},p{number},image/{name}.png,masks.csv")
        masks += [f"{name},mask/{name}.png#{value},{kind}" for value, kind in ((1, "disc"), (2, "square"))
                  if (mask == value).any()]  # fmt: skip
    (folder / "dataset.csv").write_text("\n".join(rows) + "\n")
    (folder / "masks.csv").write_text("\n".join(masks) + "\n")
    return folder
