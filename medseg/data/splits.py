"""Training, validation and test parts in which no patient appears twice."""

from collections import defaultdict

import numpy as np

from medseg.data.manifest import Case, Manifest
from medseg.data.split_settings import SplitSettings
from medseg.errors import ManifestError
from medseg.seeds import child_seed

__all__ = ["split_patients"]


def split_patients(
    manifest: Manifest, settings: SplitSettings, *, seed: int, fold: int | None = None
) -> dict[str, str]:
    """Divide the cases by patient.

    Patients with and without lesions are dealt separately, so that every part has its share of both. A
    ``split`` column of the manifest is kept; patients without one are dealt over the parts.

    Parameters
    ----------
    seed : int
        Another seed, another division.
    fold : int, optional
        Validate on this fold of the patients that are not for testing, train on the others.

    Returns
    -------
    dict of str to {"train", "val", "test"}
        Part of each case.

    Raises
    ------
    ManifestError
        When there is no such fold, or fewer patients than parts.
    """
    if fold is not None and not 0 <= fold < settings.folds:
        raise ManifestError(f"fold {fold}: the pipeline has split.folds={settings.folds}, so 0 to {settings.folds - 1}")
    part_of = {case.patient_id: case.split for case in manifest.cases if case.split}
    positive = _positive_patients(manifest.cases, settings.stratify)
    free = sorted(patient for patient in positive if patient not in part_of)
    if not part_of and len(free) < 3 and settings.test + settings.val > 0:
        raise ManifestError(
            f"{manifest.path}: {len(free)} patient(s) cannot be divided into training, validation and test; "
            "give a split column, or set split.val and split.test"
        )
    shares = np.array([settings.test, settings.val])
    seen, dealt = 0, np.zeros(2, int)  # over the strata, so that what one rounds off the next makes up for
    for group in _groups(free, positive):
        random = np.random.default_rng(child_seed(seed, "split", *map(str, group[:1])))
        order = [group[i] for i in random.permutation(len(group))]
        seen += len(order)
        wanted = np.floor(shares * seen + 0.5).astype(int) - dealt
        dealt += wanted
        bounds = np.cumsum(wanted)
        for number, patient in enumerate(order):
            part_of[patient] = "test" if number < bounds[0] else "val" if number < bounds[1] else "train"
    if fold is not None:
        _fold(part_of, positive, settings.folds, fold, seed)
    return {case.case_id: part_of[case.patient_id] for case in manifest.cases}


def _positive_patients(cases: tuple[Case, ...], stratify: bool) -> dict[str, int]:
    """Stratum of each patient: 2 with a lesion, 1 read without one, 0 unlabelled."""
    stratum: dict[str, int] = defaultdict(int)
    for case in cases:
        value = 0
        if stratify and case.is_labelled:
            value = 2 if _shows_lesion(case) else 1
        stratum[case.patient_id] = max(stratum[case.patient_id], value)
    return stratum


def _shows_lesion(case: Case) -> bool:
    if case.label is not None:
        return case.label > 0
    if case.boxes is not None or case.points is not None:
        from medseg.data.annotations import BOX_COLUMNS, POINT_COLUMNS, annotation_rows

        if case.boxes is not None:
            return bool(annotation_rows(case.boxes, BOX_COLUMNS).get(case.case_id))
        assert case.points is not None
        return bool(annotation_rows(case.points, POINT_COLUMNS).get(case.case_id))
    if case.mask is None:
        return any(value == 1 for _, value in case.class_labels)
    return True  # a mask is not opened for this; `prepare` writes a label beside masks


def _groups(patients: list[str], stratum: dict[str, int]) -> list[list[str]]:
    return [[p for p in patients if stratum[p] == value] for value in sorted({stratum[p] for p in patients})]


def _fold(part_of: dict[str, str], stratum: dict[str, int], folds: int, fold: int, seed: int) -> None:
    rest = sorted(patient for patient, part in part_of.items() if part != "test")
    place = 0  # goes on over the strata, so that the folds of a small data set are of one size
    for group in _groups(rest, stratum):
        for index in np.random.default_rng(child_seed(seed, "folds")).permutation(len(group)):
            part_of[group[index]] = "val" if place % folds == fold else "train"
            place += 1
