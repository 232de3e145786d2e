"""The best of several configurations, or the mean of two, by out-of-fold figures."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from medseg.data.manifest import Manifest, load_manifest
from medseg.errors import CheckpointError, ConfigError, OutputError
from medseg.experiment.folds import Fold
from medseg.experiment.out_of_fold import measure_fold
from medseg.files import read_json
from medseg.inference.ensemble import CROSS_VALIDATION, mean_of
from medseg.inference.model import load_model

__all__ = ["Choice", "choose"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and from what.

    Parameters
    ----------
    cross_validations : tuple of Path
        One, or the two whose mean is best.
    figures : dict of str to float
        Mean over the folds of each configuration and of each pair (``a + b``).
    """

    cross_validations: tuple[Path, ...]
    metric: str
    figures: dict[str, float]


def choose(
    cross_validations: Sequence[str | Path],
    metric: str | None = None,
    *,
    data: str | Path | None = None,
    device: str = "auto",
) -> Choice:
    """Choose the configuration with the best out-of-fold figure, on the same folds.

    The figure of the chosen one is optimistic, as the best of several: measure it on the test part.

    Parameters
    ----------
    cross_validations : sequence of path
        Folders made by `cross_validate` with the same cases in the same folds; of equal ones the first is taken.
    metric : str, optional
        A figure in ``out_of_fold.by_fold`` of ``cross_validation.json``, more being better; the detector's own unless
        given.
    data : path, optional
        The data set; with it the mean of every two configurations is measured too (`mean_of`), where they work on one
        grid.

    Raises
    ------
    MedsegError
        When a folder is not a finished cross-validation, the folds differ, or the figure is unknown or undefined.
    """
    folders = [Path(folder) for folder in cross_validations]
    if not folders:
        raise ConfigError("there is no cross-validation to choose from")
    contents = [_finished(folder) for folder in folders]
    metric = metric or str(contents[0]["out_of_fold"]["metric"])
    _check_same_folds(folders, contents)
    figures: dict[tuple[Path, ...], float] = {
        (folder,): _mean(folder, content["out_of_fold"]["by_fold"], metric)
        for folder, content in zip(folders, contents)
    }
    if data is not None:
        manifest = load_manifest(data)
        for pair in combinations(folders, 2):
            value = _pair(pair, int(contents[0]["n_folds"]), manifest, metric, device)
            if value is not None:
                figures[pair] = value
    best = max(figures, key=lambda one: figures[one])
    return Choice(best, metric, {" + ".join(map(str, folders)): value for folders, value in figures.items()})


def _finished(folder: Path) -> dict[str, Any]:
    content = read_json(folder / CROSS_VALIDATION, needs=("n_folds",), error=CheckpointError)
    if "out_of_fold" not in content:
        raise CheckpointError(f"{folder}: is not finished; go on with `medseg train -f all --resume`")
    return content


def _check_same_folds(folders: Sequence[Path], contents: Sequence[dict[str, Any]]) -> None:
    def parts(folder: Path, n: int) -> list[Any]:
        return [read_json(folder / f"fold_{number}" / "splits.json", needs=("cases",))["cases"] for number in range(n)]

    expected = parts(folders[0], int(contents[0]["n_folds"]))
    for folder, content in zip(folders[1:], contents[1:]):
        if parts(folder, int(content["n_folds"])) != expected:
            raise OutputError(
                f"{folder}: has other cases in its folds than {folders[0]}; their figures cannot be compared. Train "
                "both with one data set, split and training.seed"
            )


def _mean(folder: Path, by_fold: Sequence[dict[str, Any]], metric: str) -> float:
    values = [figures.get(metric) for figures in by_fold]
    if any(value is None for value in values):
        raise ConfigError(
            f"{folder}: the figure {metric} is unknown or undefined in a fold; there are {', '.join(by_fold[0])}"
        )
    return float(np.mean([float(value) for value in values if value is not None]))


def _pair(pair: tuple[Path, ...], n_folds: int, manifest: Manifest, metric: str, device: str) -> float | None:
    """Figure of the mean of two configurations; None where they do not work on one grid."""
    figures = []
    for number in range(n_folds):
        runs = [folder / f"fold_{number}" for folder in pair]
        members = [load_model(run, device=device) for run in runs]
        try:
            both = mean_of(members)
        except CheckpointError as error:
            logger.info("no mean of %s and %s: %s", *pair, error)
            return None
        both.splits = members[0].splits
        figures.append(measure_fold(both, Fold(number, runs[0]), manifest).figures)
    return _mean(pair[0], figures, metric)
