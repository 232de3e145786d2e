"""A data set of MR exams with simulated nodules, made from a user's volumes."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cc3d
import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from medseg.data.annotations import read_mask
from medseg.data.manifest import Case, load_manifest, write_manifest
from medseg.data.sample.mr_nodules import PHASES, Nodule, draw_nodules, insert_nodules
from medseg.data.settings import InputSettings
from medseg.data.stacking import read_channels
from medseg.errors import ConfigError, ImageError
from medseg.files import write_csv, write_json
from medseg.imaging import read, write_mask, write_volume
from medseg.progress import track
from medseg.seeds import child_seed
from medseg.volume import Grid, Volume

__all__ = ["NOTICE", "SCALES", "body_mask", "derive_phases", "make_mr"]

logger = logging.getLogger(__name__)
NOTICE = (
    "Simulated: nodules were inserted into MR volumes by a program, with contrasts that nobody measured; figures on "
    "them say that the software works, and estimate nothing clinical."
)
DERIVED = " The phases are synthetic too: one phase, scaled, with noise and a smooth field of its own."
# of the tissue's grey values against the native phase; invented, and taken away again by z-scores
SCALES = {"native": 1.0, "arterial": 1.2, "portal": 1.5, "late": 1.4}
FIELD = 0.05  # standard deviation of the smooth relative field of a derived phase
FIELD_MM = 30.0  # its width: enhancement and coil sensitivity vary slowly
NOISE = 0.04  # standard deviation of a derived phase's noise, as a share of the body's median grey value
KNOWN_MM = 4.0  # distance that nodules keep from lesions that the source's mask names
NODULE_COLUMNS = ("case_id", "nodule", "kind", "x", "y", "z", "diameter_mm", "strength")


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    case: Case
    volume: Volume  # one channel a phase
    organ: np.ndarray


def make_mr(
    source: str | Path,
    output: str | Path,
    *,
    n_exams: int,
    seed: int = 0,
    phases: Sequence[str] = PHASES,
    organs: str | Path | None = None,
    diameters_mm: tuple[float, float] = (8.0, 24.0),
) -> Path:
    """Make MR exams with simulated nodules; one in four has none, the others one to five.

    Exams take turns over the source's cases, and carry their patient: exams of one patient never cross a split.

    Parameters
    ----------
    source : str or Path
        A manifest: ``image, image_2 …`` are the phases, on whose first the others are brought; nodules keep away from
        the lesions of its ``mask``, which stay in the image, unmarked. Cases of one image get derived phases.
    organs : str or Path, optional
        Folder of masks, ``CASE.nii.gz``, in which nodules may lie; the body by threshold unless given.
    phases : sequence of str
        What the images of a case are, in their order.

    Returns
    -------
    Path
        ``dataset.csv``; beside it ``nodules.csv`` (what was inserted) and ``about.json`` (what the data is).

    Raises
    ------
    MedsegError
        When the source cannot be read, a phase is unknown or missing, or a mask of the organ does not fit.
    """
    unknown = [name for name in phases if name not in PHASES]
    if unknown or len(set(phases)) < len(phases):
        raise ConfigError(f"phases={','.join(phases)}: expected different ones of {', '.join(PHASES)}")
    output = Path(output)
    cases = load_manifest(source).cases
    made: list[Case] = []
    rows: list[dict[str, object]] = []
    derived = False
    for turn, case in enumerate(track(cases, "simulating MR", len(cases))):
        numbers = range(turn, n_exams, len(cases))
        loaded = _load(case, phases, None if organs is None else Path(organs)) if numbers else None
        for number in numbers:
            assert loaded is not None
            random = np.random.default_rng(child_seed(seed, "mr", number))
            n_nodules = int(random.integers(1, 6)) if (number // len(cases)) % 4 else 0
            exam = f"{case.case_id}_sim{number:04d}"
            own, nodules = _make_exam(loaded, exam, phases, n_nodules, diameters_mm, random, output)
            made.append(own)
            rows += _rows(exam, nodules, loaded.volume.grid)
        derived |= len(case.images) == 1 and len(phases) > 1
    write_csv(output / "nodules.csv", NODULE_COLUMNS, rows)
    notice = NOTICE + (DERIVED if derived else "")
    write_json(output / "about.json", {"notice": notice, "citation": "", "seed": seed, "scales": SCALES})
    made.sort(key=lambda case: case.case_id.rpartition("_sim")[2])
    write_manifest(output / "dataset.csv", made)
    return output / "dataset.csv"


def _load(case: Case, phases: Sequence[str], organs: Path | None) -> _Source:
    if len(case.images) not in (1, len(phases)) or None in case.images:
        raise ImageError(
            f"case {case.case_id}: has {len(case.files)} image(s), expected one or {len(phases)} ({', '.join(phases)})"
        )
    settings = InputSettings(dimensions=3, channels=len(case.images), registration="none")
    volume = read_channels(case.images, case.case_id, settings)
    organ = body_mask(volume.array[0]) if organs is None else _organ(organs / f"{case.case_id}.nii.gz", volume.grid)
    known = read_mask(case, volume.grid) if case.mask is not None else None
    if known is not None:
        far = ndimage.distance_transform_edt(known == 0, sampling=volume.grid.spacing) > KNOWN_MM
        organ = organ & far
    return _Source(case, volume, organ)


def _organ(file: Path, grid: Grid) -> np.ndarray:
    mask = read(file)
    if not mask.grid.same_as(grid):
        raise ImageError(f"{file}: the mask of the organ does not lie on the first phase; draw it there")
    return mask.array[0] > 0


def body_mask(image: np.ndarray) -> np.ndarray:
    """The largest piece above Otsu's threshold, with its holes filled, shape (z, y, x)."""
    threshold = sitk.OtsuThresholdImageFilter()
    threshold.SetInsideValue(0)
    threshold.SetOutsideValue(1)
    above = sitk.GetArrayFromImage(threshold.Execute(sitk.GetImageFromArray(image.astype(np.float32)))) > 0
    largest = cc3d.largest_k(above, k=1, connectivity=6) > 0
    return np.stack([ndimage.binary_fill_holes(row) for row in largest])


def derive_phases(
    image: np.ndarray, names: Sequence[str], spacing_mm: tuple[float, float, float], random: np.random.Generator
) -> np.ndarray:
    """Make synthetic phases of one image, shape (z, y, x): scaled, with a smooth field and noise of their own.

    Without these the difference of two phases would show nothing but the nodules.

    Returns
    -------
    ndarray of float32, shape (phase, z, y, x)
        What is 0 in the image stays 0.
    """
    median = float(np.median(image[image > image.mean()]))
    result = []
    for name in names:
        field = _smooth_field(image.shape, spacing_mm, random)
        noise = random.standard_normal(image.shape, np.float32) * (NOISE * median)
        values = SCALES[name] * (image * (1 + FIELD * field) + noise)
        result.append(np.where(image > 0, np.maximum(values, 0), 0).astype(np.float32))
    return np.stack(result)


def _smooth_field(
    shape: tuple[int, ...], spacing_mm: tuple[float, float, float], random: np.random.Generator
) -> np.ndarray:
    """Mean 0 and standard deviation 1; drawn every third of its width, and interpolated between."""
    coarse = [max(2, int(np.ceil(3 * n * side / FIELD_MM))) for n, side in zip(shape, spacing_mm)]
    field = ndimage.gaussian_filter(random.standard_normal(coarse, np.float32), 3, mode="wrap")
    field = ndimage.zoom(field, [n / m for n, m in zip(shape, coarse)], order=1, grid_mode=True, mode="nearest")
    return (field - field.mean()) / max(float(field.std()), 1e-12)


def _make_exam(
    source: _Source,
    exam: str,
    phases: Sequence[str],
    n_nodules: int,
    diameters_mm: tuple[float, float],
    random: np.random.Generator,
    output: Path,
) -> tuple[Case, list[Nodule]]:
    grid, array = source.volume.grid, source.volume.array
    nodules = draw_nodules(source.organ, grid.spacing, n_nodules, random, diameters_mm=diameters_mm)
    if len(nodules) < n_nodules:
        logger.warning("%s: room for %d of %d nodules", exam, len(nodules), n_nodules)
    if len(array) < len(phases):
        array = derive_phases(array[0], phases, grid.spacing, random)
    inserted = insert_nodules(array, phases, source.organ, grid.spacing, nodules)
    images = []
    for name, values in zip(phases, inserted.phases):
        images.append(str((output / "images" / f"{exam}_{name}.nii.gz").resolve()))
        write_volume(images[-1], Volume(values[None], grid, modality="MR"))
    mask = (output / "masks" / f"{exam}.nii.gz").resolve()
    write_mask(mask, inserted.labels > 0, grid)
    case = Case(
        case_id=exam, patient_id=source.case.patient_id, images=tuple(images), mask=mask,
        label=int(inserted.labels.any()), name="nodule", modality="MR", split=source.case.split,
    )  # fmt: skip
    return case, nodules


def _rows(exam: str, nodules: Sequence[Nodule], grid: Grid) -> list[dict[str, object]]:
    rows = []
    for number, nodule in enumerate(nodules, start=1):
        x, y, z = grid.to_world(nodule.centre[None, ::-1])[0]
        rows.append({
            "case_id": exam, "nodule": number, "kind": nodule.kind, "x": round(x, 2), "y": round(y, 2),
            "z": round(z, 2), "diameter_mm": round(float(2 * np.cbrt(nodule.shape.radii_mm.prod())), 2),
            "strength": round(nodule.strength, 3),
        })  # fmt: skip
    return rows
