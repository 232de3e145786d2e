"""Reader studies from their data: ratings of cases, or marks on lesions, by several readers in several modalities."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.afroc import wafroc_auc_weighted
from medseg.evaluation.checks import checked_range, numbered
from medseg.evaluation.dorfman_berbaum_metz import dorfman_berbaum_metz
from medseg.evaluation.evidence import placed_matches
from medseg.evaluation.hits import check_rule
from medseg.evaluation.matches import Matches
from medseg.evaluation.obuchowski_rockette import names_of, obuchowski_rockette
from medseg.evaluation.partial import partial_auc_weighted
from medseg.evaluation.reader_covariance import delong_covariance, leave_one_out
from medseg.evaluation.reader_marks import match_readers
from medseg.evaluation.reader_study import ReaderStudy
from medseg.evaluation.resampling import Weighted
from medseg.evaluation.roc import roc_auc_weighted
from medseg.evaluation.tables import Source, cases_table, table_columns

__all__ = ["dorfman_berbaum_metz", "mark_study", "obuchowski_rockette", "rating_study", "study_of_matches"]

Method = Literal["obuchowski_rockette", "dorfman_berbaum_metz"]


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
    weighted = (
        roc_auc_weighted if figure == "auc" else partial(partial_auc_weighted, fpr_range=checked_range(fpr_range))
    )
    statistics = [[partial(weighted, truth, score) for score in modality] for modality in rated]
    return _analysed(method, statistics, numbered(unit, len(truth)), options)


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
    table = cases_table(cases)
    _check_named(marks)
    found = match_readers(cases, marks, lesions, modalities=modalities, readers=readers, rule=rule, **matching)
    placed = {name: placed_matches(table, matches) for name, matches in found.items()}
    return study_of_matches(placed, method=method, confidence=confidence)


def study_of_matches(
    found: Mapping[tuple[str, str], Matches], *, method: Method = "obuchowski_rockette", confidence: float = 0.95
) -> ReaderStudy:
    """`mark_study` of marks that are matched already, by wAFROC area.

    Parameters
    ----------
    found : mapping of (modality, reader) to Matches
        Of the same cases, in the order of the result.

    Raises
    ------
    TableError
        Where a reader is missing in a modality, and for cases of one kind only.
    """
    modalities, readers = (tuple(dict.fromkeys(pair[place] for pair in found)) for place in (0, 1))
    for modality in modalities:
        for reader in readers:
            if not modality or not reader:
                raise TableError("marks: every mark of a reader study needs a modality and a reader")
            if (modality, reader) not in found:
                raise TableError(
                    f"marks: reader {reader} has no mark in modality {modality}; if nothing was found there, "
                    "give both modalities= and readers="
                )
    first = next(iter(found.values()))
    if first.positive.all() or not first.positive.any():
        raise TableError("the study needs cases with a lesion and cases without one, found one kind only")
    statistics = [
        [partial(wafroc_auc_weighted, found[modality, reader]) for reader in readers] for modality in modalities
    ]
    options: dict[str, Any] = {"modalities": modalities, "readers": readers, "confidence": confidence}
    return _analysed(method, statistics, first.patient, options)


def _check_named(marks: Source) -> None:
    table = table_columns(marks, "marks", ["case_id", "reader", "modality"])
    for column in ("modality", "reader"):
        values = [str(value) for value in table[column]]
        if "" in values:
            raise TableError(f"marks: row {values.index('') + 1} has no {column}")


def _analysed(
    method: str, statistics: Sequence[Sequence[Weighted]], unit: np.ndarray, options: dict[str, Any]
) -> ReaderStudy:
    found = [[leave_one_out(statistic, unit) for statistic in row] for row in statistics]
    values = np.array([[value for value, _ in row] for row in found])
    jackknife = np.array([[without for _, without in row] for row in found])  # (modality, reader, unit)
    analyse = obuchowski_rockette if method == "obuchowski_rockette" else dorfman_berbaum_metz
    return analyse(values, jackknife, **options)


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
