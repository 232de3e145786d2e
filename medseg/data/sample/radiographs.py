"""A set of simulated chest radiographs with nodules."""

import logging
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from medseg.data.manifest import Case, write_manifest
from medseg.data.sample.chest import CITATION, ChestCt, load_chest
from medseg.data.sample.lidc import nodule_shapes
from medseg.data.sample.nodules import insert_nodules
from medseg.data.sample.projection import Exposure, Pose, attenuation, expose, project, project_point, window_around
from medseg.errors import OutputError
from medseg.files import atomic_path, read_csv, read_json, write_csv, write_json
from medseg.progress import track
from medseg.seeds import child_seed

__all__ = ["make_radiographs"]

logger = logging.getLogger(__name__)
POINT_COLUMNS = ("case_id", "x", "y", "z", "diameter_px")
VISIBLE_MM = 3.0  # path through a nodule from which a pixel belongs to its mask


def make_radiographs(output: str | Path, *, n_exams: int = 160, size: int = 256, seed: int = 0) -> Path:
    """Make simulated radiographs, half of them with one to three nodules.

    Exams that are there already are kept, so that a killed run goes on.

    Returns
    -------
    Path
        ``dataset.csv``; ``about.json`` beside it says what the data is.
    """
    output = Path(output)
    chest = load_chest()
    about = {"notice": chest.notice, "citation": CITATION if chest.real else "", "seed": seed, "size": size}
    known = output / "about.json"
    if known.is_file() and read_json(known) != about:
        raise OutputError(f"{output}: holds sample data made with other settings; choose another folder")
    write_json(known, about)
    shapes = nodule_shapes()
    cases = []
    for number in track(range(n_exams), "simulating radiographs", n_exams):
        name = f"exam{number:04d}"
        image, mask, points = (output / kind / f"{name}{end}" for kind, end in KINDS)
        if not points.is_file():  # written last
            _make_exam(chest, shapes, number, size, seed, image, mask, points)
        cases.append(
            Case(
                case_id=name, patient_id=name, images=(str(image.resolve()),), mask=mask.resolve(),
                points=points.resolve(), label=int(bool(read_csv(points)[1])), name="nodule", modality="DX", view="PA",
            )
        )  # fmt: skip
    write_manifest(output / "dataset.csv", cases)
    return output / "dataset.csv"


KINDS = (("images", ".png"), ("masks", ".png"), ("points", ".csv"))


def _make_exam(
    chest: ChestCt,
    shapes: tuple[np.ndarray, ...],
    number: int,
    size: int,
    seed: int,
    image: Path,
    mask: Path,
    points: Path,
) -> None:
    random = np.random.default_rng(child_seed(seed, "radiograph", number))
    n_nodules = int(random.integers(1, 4)) if number % 2 else 0
    inserted = insert_nodules(chest, shapes, n_nodules, random)
    pose = Pose.random(random)
    exposure = Exposure(photons=float(random.uniform(1e4, 6e4)), scatter=float(random.uniform(0.3, 0.9)))
    film = expose(project(attenuation(inserted.hounsfield), chest.grid, chest.centre_mm, pose, size), exposure, random)
    drawn, rows = _reference(chest, inserted.labels, pose, size, image.stem)
    for path, values in ((image, film), (mask, drawn)):
        with atomic_path(path) as temporary:
            Image.fromarray(values).save(temporary)
    write_csv(points, POINT_COLUMNS, rows)


def _reference(
    chest: ChestCt, labels: np.ndarray, pose: Pose, size: int, name: str
) -> tuple[np.ndarray, list[dict[str, object]]]:
    """Mask and points of the nodules as they are projected."""
    drawn = np.zeros((size, size), np.uint8)
    rows: list[dict[str, object]] = []
    centre = chest.centre_mm
    for number in range(1, int(labels.max()) + 1):
        nodule = labels == number
        if not nodule.any():
            continue
        middle = np.array(ndimage.center_of_mass(nodule))[::-1]
        x, y = project_point(chest.grid.to_world(middle[None])[0], centre, pose, size)
        near = window_around(x, y, size)
        shadow = project(nodule.astype(np.float32), chest.grid, centre, pose, size, window=near) > VISIBLE_MM
        if not shadow.any():
            continue
        drawn[shadow] = 255
        diameter = 2 * float(np.sqrt(max(int(shadow.sum()), 1) / np.pi))
        rows.append({"case_id": name, "x": x, "y": y, "z": 0, "diameter_px": diameter})
    return drawn, rows
