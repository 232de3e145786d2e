"""Reader studies from their data: ratings of cases, or marks on lesions, by several readers in several modalities."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.afroc import wafroc_auc_weighted
from medseg.evaluation.dorfman_berbaum_metz import dorfman_berbaum_metz
from medseg.evaluation.evidence import case_labels, localised_cases
from medseg.evaluation.matching import check_rule, match_marks
from medseg.evaluation.obuchowski_rockette import names_of, obuchowski_rockette
from medseg.evaluation.reader_covariance import delong_covariance, leave_one_out
from medseg.evaluation.reader_study import ReaderStudy
from medseg.evaluation.roc import area, mcclish, partial_area, weighted_roc
from medseg.evaluation.tables import Source, cases_table
from medseg.files import read_csv

__all__ = ["dorfman_berbaum_metz", "mark_study", "obuchowski_rockette", "rating_study"]

Method = Literal["obuchowski_rockette", "dorfman_berbaum_metz"]
Weighted = Callable[[np.ndarray], np.ndarray]


def rating_study(
    y_true: Sequence | np.ndarray,
    scores: Sequence | np.ndarray,
    *,
    figure: Literal["auc", "partial_auc"] = "auc",
    fpr_range: tuple[float, float] = (0, 0.1),
    unit: Sequence | np.ndarray | None = None,
    method: Method = "obuchowski_rockette",
    covariance: Literal["jackknife", "delong"] = "jackknife",
    modalities: Sequence[str] | None = None,
    readers: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> ReaderStudy:
    """Compare modalities by the ROC curves of readers who rated every case in every modality.

    Parameters
    ----------
    y_true : array-like of {0, 1}, shape (case,)
    scores : array-like of float, shape (modality, reader, case)
        Any scale of each reader's own; higher means more suspicious.
    figure : str
        ``auc``: the area under the ROC curve; ``partial_auc``: its part over `fpr_range`, standardised after McClish,
        so that 0.5 is chance and 1 perfect. The tests are the same for the part itself.
    fpr_range : tuple of float
        Range of the false-positive fraction.
    unit : array-like, shape (case,), optional
        Patient of each case, where patients have several: whole patients are left out. Without, every case is one.
    method : str
        ``obuchowski_rockette`` or ``dorfman_berbaum_metz``.
    covariance : str
        ``jackknife``, or ``delong`` for the whole area with ``obuchowski_rockette`` and independent cases.
    modalities, readers : sequence of str, optional
        Names for the result and for messages; by default numbers from 1.
    confidence : float
        Of every interval.

    Returns
    -------
    ReaderStudy

    Raises
    ------
    TableError
        For arrays of other shapes; labels other than 0 and 1, or of one kind only; a score that is not finite; or
        fewer than two units of a kind.

    Examples
    --------
    >>> truth = [0, 0, 0, 1, 1, 1]
    >>> first = [[1, 2, 4, 3, 5, 6], [1, 3, 2, 2, 6, 5]]
    >>> second = [[1, 2, 3, 4, 5, 6], [2, 1, 3, 4, 6, 5]]
    >>> study = rating_study(truth, [first, second], modalities=["film", "screen"])
    >>> [(mean.modality, round(mean.value, 3)) for mean in study.random_both.means]
    [('film', 0.861), ('screen', 1.0)]
    """
    truth, rated, names = _checked(y_true, scores, modalities, readers)
    _check_options(figure, method, covariance, unit)
    options: dict[str, Any] = {"modalities": names[0], "readers": names[1], "confidence": confidence}
    if covariance == "delong":
        auc, matrix = delong_covariance(truth, rated)
        return obuchowski_rockette(auc, covariance=matrix, n_units=len(truth), **options)
    statistic = _curve_area(figure, fpr_range)
    statistics = [[_of_scores(statistic, truth, score) for score in modality] for modality in rated]
    return _analysed(method, statistics, _units(unit, len(truth)), None, options)


def mark_study(
    cases: Source,
    marks: Source,
    lesions: Source,
    *,
    figure: Literal["wafroc_auc"] = "wafroc_auc",
    rule: str = "distance",
    method: Method = "obuchowski_rockette",
    modalities: Sequence[str] | None = None,
    readers: Sequence[str] | None = None,
    confidence: float = 0.95,
    **matching: Any,
) -> ReaderStudy:
    """Compare modalities by the marks of readers who searched every case in every modality.

    Parameters
    ----------
    cases, lesions : path or mapping of columns
        The tables of the evaluation. Cases with one ``patient_id`` are left out together. A case whose lesions have
        no place (``localised`` 0) does not enter.
    marks : path or mapping of columns
        Likewise, with the columns ``reader`` and ``modality``.
    figure : str
        ``wafroc_auc``: the area under the weighted alternative FROC curve.
    rule : str
        Which mark hits which lesion, as in `match_marks`.
    method : str
        ``obuchowski_rockette`` or ``dorfman_berbaum_metz``, with jackknife covariances.
    modalities, readers : sequence of str, optional
        Those of the study, in the order of the result. Given both, a reader may have no mark in a modality: nothing
        was found there. Without, they are those of the table of marks, and every reader must have one in each.
    confidence : float
        Of every interval.
    **matching
        ``assignment``, ``duplicates`` and ``class_aware`` as in `match_marks`.

    Returns
    -------
    ReaderStudy

    Raises
    ------
    TableError
        For a table that is wrong, a reader without marks in a modality where it is not said that this is so, marks
        of a reader or modality that is not listed, or fewer than two patients with and two without a lesion.
    """
    check_rule(rule)
    _check_options(figure, method, "jackknife", None, allowed=("wafroc_auc",))
    tables, names = _marks_of_readers(marks, modalities, readers)
    case_table = cases_table(cases)
    keep = case_table["localised"]
    statistics = []
    for modality in names[0]:
        row: list[Weighted] = []
        for reader in names[1]:
            try:
                matches = match_marks(cases, tables[modality, reader], lesions, rule=rule, **matching)
            except TableError as error:
                raise TableError(f"reader {reader}, modality {modality}: {error}") from error
            case_labels(case_table, matches)  # refuses labels that contradict the lesions
            keep = localised_cases(case_table, matches)
            positive = matches.positive[keep]
            if positive.all() or not positive.any():
                raise TableError("the study needs cases with a lesion and cases without one, found one kind only")
            row.append(partial(wafroc_auc_weighted, matches))
        statistics.append(row)
    unit = np.zeros(len(keep), dtype=np.int64)  # of cases that do not enter: any, their weight is 0
    unit[keep] = _units(case_table["patient_id"][keep], int(keep.sum()))
    options: dict[str, Any] = {"modalities": names[0], "readers": names[1], "confidence": confidence}
    return _analysed(method, statistics, unit, keep, options)


def _analysed(
    method: str, statistics: list[list[Weighted]], unit: np.ndarray, keep: np.ndarray | None, options: dict[str, Any]
) -> ReaderStudy:
    found = [[leave_one_out(statistic, unit, keep=keep) for statistic in row] for row in statistics]
    values = np.array([[value for value, _ in row] for row in found])
    jackknife = np.array([[without for _, without in row] for row in found])  # (modality, reader, unit)
    analyse = obuchowski_rockette if method == "obuchowski_rockette" else dorfman_berbaum_metz
    return analyse(values, jackknife, **options)


def _curve_area(figure: str, fpr_range: tuple[float, float]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    if figure == "auc":
        return area
    low, high = float(fpr_range[0]), float(fpr_range[1])
    if not 0 <= low < high <= 1:
        raise TableError(f"a range of the ROC curve rises within 0 to 1, found {fpr_range}")
    chance, perfect = (high**2 - low**2) / 2, high - low
    return lambda fpr, tpr: mcclish(partial_area(fpr, tpr, low, high), chance, perfect)


def _of_scores(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray], truth: np.ndarray, score: np.ndarray
) -> Weighted:
    return lambda weights: statistic(*weighted_roc(truth, score, weights)[:2])


def _units(unit: Sequence | np.ndarray | None, n_cases: int) -> np.ndarray:
    if unit is None:
        return np.arange(n_cases)
    given = ["" if value is None else str(value) for value in unit]
    if len(given) != n_cases:
        raise TableError(f"unit must name the patient of each of {n_cases} cases, found {len(given)}")
    for case, name in enumerate(given):
        if name in ("", "nan"):
            raise TableError(f"unit names no patient for case number {case} (from 0)")
    return np.unique(given, return_inverse=True)[1]


def _check_options(
    figure: str, method: str, covariance: str, unit: Any, allowed: tuple[str, ...] = ("auc", "partial_auc")
) -> None:
    for what, given, known in (
        ("figure", figure, allowed),
        ("method", method, ("obuchowski_rockette", "dorfman_berbaum_metz")),
        ("covariance", covariance, ("jackknife", "delong")),
    ):
        if given not in known:
            raise TableError(f"{what} '{given}': allowed are {', '.join(known)}")
    if covariance == "delong" and (figure != "auc" or method != "obuchowski_rockette" or unit is not None):
        raise TableError(
            "covariance 'delong' is for the whole AUC of independent cases with method 'obuchowski_rockette'; "
            "use 'jackknife'"
        )


def _checked(
    y_true: Sequence | np.ndarray,
    scores: Sequence | np.ndarray,
    modalities: Sequence[str] | None,
    readers: Sequence[str] | None,
) -> tuple[np.ndarray, np.ndarray, tuple[tuple[str, ...], tuple[str, ...]]]:
    try:
        truth, rated = np.asarray(y_true), np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TableError(f"scores must be numbers of shape (modality, reader, case): {error}") from error
    if truth.ndim != 1 or rated.ndim != 3 or 0 in rated.shape or rated.shape[2] != len(truth):
        raise TableError(
            f"scores must have the shape (modality, reader, case) with one label a case, found scores of shape "
            f"{rated.shape} and labels of shape {truth.shape}"
        )
    names = names_of(rated.shape[:2], modalities, readers)
    if not np.isfinite(rated).all():
        modality, reader, case = np.argwhere(~np.isfinite(rated))[0]
        raise TableError(
            f"the score of reader {names[1][reader]} in modality {names[0][modality]} for case number {case} "
            "(from 0) is not a finite number"
        )
    if not np.isin(truth, (0, 1)).all():
        raise TableError("labels must be 0 or 1")
    truth = truth.astype(bool)
    if truth.all() or not truth.any():
        raise TableError("a reader study needs cases with and without disease, found one kind only")
    return truth, rated, names


def _marks_of_readers(
    source: Source, modalities: Sequence[str] | None, readers: Sequence[str] | None
) -> tuple[dict[tuple[str, str], dict[str, list[Any]]], tuple[tuple[str, ...], tuple[str, ...]]]:
    """Marks of each (modality, reader), and the names."""
    table, name = _mark_columns(source)
    found = [[str(value) for value in table[column]] for column in ("modality", "reader")]
    names: list[tuple[str, ...]] = []
    for column, values, given in zip(("modality", "reader"), found, (modalities, readers)):
        if "" in values:
            raise TableError(f"{name}: row {values.index('') + 1} has no {column}")
        chosen = tuple(dict.fromkeys(values)) if given is None else tuple(str(value) for value in given)
        for value in values:
            if value not in chosen:
                raise TableError(f"{name}: marks of {column} {value}, but those given are {', '.join(chosen)}")
        if len(set(chosen)) < len(chosen) or not chosen:
            raise TableError(f"{name}: each {column} must be given once, found {', '.join(chosen) or 'none'}")
        names.append(chosen)
    rows: dict[tuple[str, str], list[int]] = {(m, r): [] for m in names[0] for r in names[1]}
    for row, pair in enumerate(zip(*found)):
        rows[pair].append(row)
    for (modality, reader), where in rows.items():
        if not where and (modalities is None or readers is None):
            raise TableError(
                f"{name}: reader {reader} has no mark in modality {modality}; if nothing was found there, "
                "give both modalities= and readers="
            )
    parts = {pair: {key: [values[i] for i in where] for key, values in table.items()} for pair, where in rows.items()}
    return parts, (names[0], names[1])


def _mark_columns(source: Source) -> tuple[dict[str, list[Any]], str]:
    if not isinstance(source, str | Path):
        table, name = {str(key): list(values) for key, values in source.items()}, "marks"
        for column in ("modality", "reader"):
            if column not in table:
                raise TableError(f"{name}: the column {column} is missing; found {', '.join(table) or 'none'}")
        if len({len(values) for values in table.values()}) > 1:
            raise TableError(f"{name}: the columns differ in length")
        return table, name
    columns, rows = read_csv(Path(source), needs=("reader", "modality"))
    return {column: [row[column] for row in rows] for column in columns}, str(source)
