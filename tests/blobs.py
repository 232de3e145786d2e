"""A small synthetic data set: noise with a bright disc in every second image, masks and manifest."""

from pathlib import Path

import numpy as np
from PIL import Image

from medseg.data.manifest import Case, write_manifest

# a pipeline that trains in seconds on these images
OVERRIDES = (
    "network.filters=[4,8,16]",
    "sampling.patch_size=[48,48]",
    "input.mirrored_channel=false",
    "inference.flip_axes=[]",
    "training.max_minutes=null",
    "training.max_steps=100",
    "training.batch_size=4",
    "training.learning_rate=0.03",
    "training.warmup_steps=0",
    "training.validate_every_minutes=null",
    "training.validate_every_epochs=1",
    "training.deterministic=true",
    "training.workers=0",
    "training.tensorboard=false",
)


def make_blobs(folder: Path, *, n_cases: int = 30, seed: int = 0) -> Path:
    """Write the data set; a third of the patients have two images."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    cases = []
    for number in range(n_cases):
        image = random.normal(80, 12, (48, 48))
        mask = np.zeros((48, 48), np.uint8)
        if number % 2:
            cy, cx = random.uniform(10, 38, 2)
            mask[(y - cy) ** 2 + (x - cx) ** 2 <= random.uniform(3, 6) ** 2] = 255
            image[mask > 0] += 70
        files = [folder / kind / f"c{number:02d}.png" for kind in ("image", "mask")]
        for path, values in zip(files, (np.clip(image, 1, 255).astype(np.uint8), mask)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
        cases.append(
            Case(
                case_id=f"c{number:02d}", patient_id=f"p{number // 3 * 2 + bool(number % 3)}",
                images=(str(files[0]),), mask=files[1], label=number % 2, name="infarct", modality="MR",
            )
        )  # fmt: skip
    write_manifest(folder / "dataset.csv", cases)
    return folder
