"""A set of chest CT volumes with inserted nodules."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from medseg.data.manifest import Case, write_manifest
from medseg.data.sample.chest import CITATION, ChestCt, load_chest
from medseg.data.sample.lidc import nodule_shapes
from medseg.data.sample.nodules import insert_nodules
from medseg.files import write_json
from medseg.imaging import write_mask, write_volume
from medseg.progress import track
from medseg.seeds import child_seed
from medseg.volume import Volume

__all__ = ["make_ct"]

TURN_DEGREES = 6.0
NOISE_HU = 25.0


def make_ct(output: str | Path, *, n_exams: int = 24, seed: int = 0) -> Path:
    """Make simulated CT volumes; one in four has no nodule, the others one to five.

    Exams that are there already are kept. Returns ``dataset.csv``; ``about.json`` says what the data is.
    """
    output = Path(output)
    chest = load_chest()
    write_json(
        output / "about.json", {"notice": chest.notice, "citation": CITATION if chest.real else "", "seed": seed}
    )
    shapes = nodule_shapes()
    cases = []
    for number in track(range(n_exams), "simulating CT", n_exams):
        name = f"ct{number:04d}"
        image, mask = output / "images" / f"{name}.nii.gz", output / "masks" / f"{name}.nii.gz"
        random = np.random.default_rng(child_seed(seed, "ct", number))
        n_nodules = int(random.integers(1, 6)) if number % 4 else 0
        if not mask.is_file():  # written last
            _make_exam(chest, shapes, n_nodules, random, image, mask)
        cases.append(
            Case(
                case_id=name, patient_id=name, images=(str(image.resolve()),), mask=mask.resolve(),
                label=int(n_nodules > 0), name="nodule", modality="CT",
            )
        )  # fmt: skip
    write_manifest(output / "dataset.csv", cases)
    return output / "dataset.csv"


def _make_exam(
    chest: ChestCt,
    shapes: tuple[np.ndarray, ...],
    n_nodules: int,
    random: np.random.Generator,
    image: Path,
    mask: Path,
) -> None:
    inserted = insert_nodules(chest, shapes, n_nodules, random)
    angle = float(random.uniform(-TURN_DEGREES, TURN_DEGREES))
    turn = {"angle": angle, "axes": (1, 2), "reshape": False}
    hounsfield = ndimage.rotate(inserted.hounsfield, order=1, cval=-1024, **turn)
    labels = ndimage.rotate(inserted.labels, order=0, cval=0, **turn)
    noise = ndimage.gaussian_filter(random.normal(0, 1, hounsfield.shape), 0.6)
    hounsfield += noise * (NOISE_HU / noise.std())
    values = np.clip(np.rint(hounsfield), -1024, 3071).astype(np.float32)
    write_volume(image, Volume(values[None], chest.grid, modality="CT"))
    write_mask(mask, labels > 0, chest.grid)
