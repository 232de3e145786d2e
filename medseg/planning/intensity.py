"""The scale of the grey values, from the modality and the grey values of the training cases."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from medseg.data.loading import CacheOptions, load_case
from medseg.data.manifest import Case
from medseg.data.settings import IntensitySettings
from medseg.errors import ConfigError, MedsegError
from medseg.planning.survey import ImageFacts
from medseg.processes import worker_pool

__all__ = ["choose_intensity", "ct_intensity", "grey_values"]

RADIOGRAPHS = frozenset({"DX", "CR", "RG", "MG", "PX", "IO", "RF", "XA"})
EMPTY_BORDER = 0.5  # share of exact zeros on the faces of an image whose surroundings were cut away
MOST = 0.9  # of the images, for a choice that all of them get
PER_CASE = 10_000  # voxels, evenly spread, so that a large lesion does not outweigh many small ones
SOURCED = 200  # cases, evenly spread: percentiles change little beyond
CLIPPED = (0.5, 99.5)  # percent (nnU-Net, Isensee 2021, doi:10.1038/s41592-020-01008-z)
IDENTITY = IntensitySettings(method="range", low=0.0, high=1.0)  # grey values as they are


def choose_intensity(
    cases: Sequence[Case], facts: Sequence[ImageFacts], options: CacheOptions, *, workers: int
) -> tuple[IntensitySettings, str]:
    """Choose the method, with its numbers, and say why.

    CT has one scale for all images, as its unit means the same everywhere. MR has no unit: each image is scaled by its
    own body. Radiographs are scaled by percentiles, which bear markers and collimators.

    Parameters
    ----------
    facts : sequence of ImageFacts
        Of the training images.
    options : CacheOptions
        How cases are prepared; its method is not looked at.

    Raises
    ------
    ConfigError
        When the voxels that CT is scaled by are all equal.
    """
    given = options.input.intensity
    modalities = sorted({fact.modality for fact in facts}) or [""]
    stated = options.input.modality
    if modalities == [""] and stated:
        modalities = sorted(stated)  # the files do not say it, the pipeline does
    named = " and ".join(modality or "unknown" for modality in modalities)
    if modalities == ["CT"]:
        return ct_intensity(cases, options, workers=workers)
    if RADIOGRAPHS.issuperset(modalities):
        chosen = IntensitySettings(method="percentile", percentiles=given.percentiles)
        return chosen, f"{named} are radiographs: percentiles of each image, which bear markers and collimators"
    if modalities != ["MR"]:
        return IntensitySettings(method="zscore"), f"modality {named}: mean and deviation of each image, all voxels"
    empty = [fact.zero_border >= EMPTY_BORDER for fact in facts]
    if facts and sum(empty) >= MOST * len(empty):
        chosen = IntensitySettings(method="zscore", foreground="above_zero")
        return chosen, f"MR, no unit: each image by its voxels above 0, as {sum(empty)} of {len(empty)} borders are 0"
    chosen = IntensitySettings(method="zscore", foreground="otsu")
    return chosen, (
        f"MR, no unit: each image by its voxels above Otsu's threshold, as {len(empty) - sum(empty)} of {len(empty)} "
        "borders are not 0"
    )


def ct_intensity(cases: Sequence[Case], options: CacheOptions, *, workers: int = 1) -> tuple[IntensitySettings, str]:
    """Return the clip and the z-score of CT, from the voxels of the lesions on the working grid, and say why.

    Where no lesion has a voxel (all cases are normal, or have labels alone), all voxels count.

    Raises
    ------
    ConfigError
        When those voxels are all equal.
    """
    chosen = [
        cases[number] for number in np.unique(np.linspace(0, len(cases) - 1, min(SOURCED, len(cases))).astype(int))
    ]
    found = [values for values in _each(chosen, options, workers) if values is not None]
    inside = np.concatenate([lesions for lesions, _ in found] or [np.empty(0)])
    n_marked = sum(len(lesions) > 0 for lesions, _ in found)
    whose = f"the lesions of {n_marked} of {len(cases)} training cases"
    if not len(inside):
        inside, whose = (
            np.concatenate([every for _, every in found] or [np.empty(0)]),
            "all voxels, as none is a lesion's",
        )
    if not len(inside):
        return IntensitySettings(method="zscore"), "no training case could be read"
    low, high = np.percentile(inside, CLIPPED)
    mean, deviation = inside.mean(), inside.std()
    if not low < high or not deviation > 0:
        raise ConfigError(
            f"input.intensity.method=auto: {whose} have the one value {low:g}; check the masks, or give the method, "
            "such as window with low and high"
        )
    settings = IntensitySettings(
        method="ct", low=_rounded(low), high=_rounded(high), mean=_rounded(mean), deviation=_rounded(deviation)
    )
    reason = (
        f"CT, one unit: clipped to the percentiles {CLIPPED[0]:g} and {CLIPPED[1]:g} of {whose}, "
        f"{settings.low:g} to {settings.high:g}, then minus {settings.mean:g}, divided by {settings.deviation:g}"
    )
    return settings, reason


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


Values = tuple[np.ndarray, np.ndarray]


def _each(cases: Sequence[Case], options: CacheOptions, workers: int) -> Iterator[Values | None]:
    if workers < 2 or len(cases) < 8:
        yield from (grey_values(case, options) for case in cases)
        return
    with worker_pool(workers) as pool:
        yield from pool.map(grey_values, cases, [options] * len(cases))


def grey_values(case: Case, options: CacheOptions) -> Values | None:
    """Return grey values of one case on the working grid, as they are in the file: of its lesions, and of all of it.

    Up to `PER_CASE` each, evenly spread, in float64, of all channels. None where the case cannot be used, which is
    named when it is prepared.
    """
    raw = options.input.model_copy(update={"intensity": IDENTITY, "mirrored_channel": False})
    with tempfile.TemporaryDirectory(prefix="medseg-values-") as folder:
        try:
            loaded = load_case(
                case, CacheOptions(raw, options.spacing, options.classes), file=Path(folder) / "image.npy"
            )
        except (MedsegError, FileNotFoundError):
            return None
        flat = loaded.image.reshape(len(loaded.image), -1)
        marked = np.flatnonzero(loaded.instances)
        inside = flat[:, marked[:: _step(len(marked))]].astype(np.float64).ravel()
        every = flat[:, :: _step(flat.shape[1])].astype(np.float64).ravel()
    return inside, every


def _step(n_voxels: int) -> int:
    return max(1, -(-n_voxels // PER_CASE))
