"""Two evaluations of the same cases, compared by paired tests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.config.load import evaluation_settings
from medseg.drawing.agreement_figures import difference_plot
from medseg.drawing.evaluation_figures import froc_plot, roc_plot
from medseg.drawing.look import save_figure
from medseg.errors import ConfigError, OutputError, TableError
from medseg.evaluation.areas import area_weighted, mcclish
from medseg.evaluation.bootstrap import mean_weighted
from medseg.evaluation.clustered import clustered_auc_test
from medseg.evaluation.delong import AucTest, delong_test
from medseg.evaluation.evidence import Evidence, failed_cases
from medseg.evaluation.froc import false_positive_scale, froc, lesion_strata
from medseg.evaluation.lesion_level import lesion_statistics
from medseg.evaluation.paired import holm, paired_bootstrap, permutation_test, shared_ranks
from medseg.evaluation.resampling import Resampling, Weighted
from medseg.evaluation.roc import roc_curve
from medseg.evaluation.settings import EvaluationSettings
from medseg.experiment.evaluation_folder import read_evaluation
from medseg.experiment.table_files import write_table
from medseg.files import write_json

__all__ = ["compare_evaluations", "comparison_lines", "p_text"]

SCHEMA_VERSION = 1
ROW_COLUMNS = (
    "level", "figure", "value_a", "value_b", "difference", "ci_low", "ci_high", "ci_method", "p_value", "p_holm",
    "test",
)  # fmt: skip
LESION_NAMES = {
    "cpm": "CPM", "froc_partial_area": "FROC partial area", "average_precision": "Average precision, lesions",
    "wafroc_auc": "wAFROC area", "wafroc1_auc": "wAFROC1 area",
}  # fmt: skip
MASK_NAMES = {"dice": "Dice, cases with a lesion", "hd95": "Hausdorff distance, 95th percentile"}


@dataclass(frozen=True, slots=True, eq=False)
class _Pair:
    """What is known of the cases that both evaluations have, in one order."""

    a: Evidence
    b: Evidence
    settings: EvaluationSettings

    def resampling(self, strata: np.ndarray) -> Resampling:
        return Resampling.of(
            self.a.patient, n_cases=len(self.a.patient), strata=strata, n_replicates=self.settings.n_replicates,
            seed=self.settings.seed,
        )  # fmt: skip

    def row(
        self, level: str, name: str, statistics: tuple[Weighted, Weighted], strata: np.ndarray, both: Weighted
    ) -> dict[str, Any]:
        """Bootstrap interval of the difference, and permutation test of `both` detectors on one scale."""
        settings = self.settings
        difference = paired_bootstrap(*statistics, self.resampling(strata), confidence=settings.confidence)
        _, p_value = permutation_test(
            both, self.a.patient, n_cases=len(self.a.patient), n_permutations=settings.n_replicates, seed=settings.seed
        )
        return {
            "level": level, "figure": name, "value_a": difference.value_a, "value_b": difference.value_b,
            "difference": difference.difference, "ci_low": difference.low, "ci_high": difference.high,
            "ci_method": "paired BCa bootstrap by patient", "p_value": p_value, "test": "permutation by patient",
        }  # fmt: skip


def compare_evaluations(
    first: str | Path, second: str | Path, output: str | Path, *, overrides: tuple[str, ...] | list[str] = ()
) -> dict[str, Any]:
    """Compare two evaluation folders and write ``comparison.json``, tables and plots.

    Parameters
    ----------
    first, second : path
        Folders made by ``medseg evaluate``, of the same cases with the same reference.
    output : path
    overrides : sequence of str
        ``key=value`` for fields of `EvaluationSettings`, on top of those of the first evaluation.

    Returns
    -------
    dict
        The content of ``comparison.json``.

    Raises
    ------
    OutputError
        When a folder holds no evaluation, the two have no case in common, or their references differ.
    """
    (about_a, a), (about_b, b) = read_evaluation(first), read_evaluation(second)
    free = ("n_replicates", "seed", "confidence")  # of the evaluation alone
    chosen = [
        {name: value for name, value in about["settings"].items() if name not in free} for about in (about_a, about_b)
    ]
    settings = evaluation_settings(overrides, chosen[0])
    if settings.n_replicates < 1:
        raise ConfigError("evaluation: n_replicates must be at least 1 to compare")
    pair, left_out = _paired(a, b, settings, (Path(first), Path(second)))
    rows = [*_case_rows(pair), *_lesion_rows(pair), *_mask_rows(pair)]
    for row, adjusted in zip(rows, holm([row["p_value"] for row in rows])):
        row["p_holm"] = float(adjusted)
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "a": {"folder": Path(first).name, "pipeline": about_a.get("pipeline")},
        "b": {"folder": Path(second).name, "pipeline": about_b.get("pipeline")},
        "counts": {
            "n_cases": len(pair.a.label), "n_patients": len(set(pair.a.patient.tolist())),
            "n_only_in_one": left_out,
        },
        "settings": {
            "n_replicates": settings.n_replicates, "n_permutations": settings.n_replicates, "seed": settings.seed,
            "confidence": settings.confidence, "resampling_unit": "patient",
            "p_holm": f"adjusted for {len(rows)} comparisons (Holm)",
        },
        "differences": rows,
    }  # fmt: skip
    differing = sorted(name for name in ("fpr_range", "froc_range") if chosen[0].get(name) != chosen[1].get(name))
    if differing:
        result["warning"] = f"the evaluations differ in {', '.join(differing)}; those of A are used"
    failed = [int(failed_cases(evidence.table).sum()) for evidence in (pair.a, pair.b)]
    result["counts"] |= {"n_failed_a": failed[0], "n_failed_b": failed[1]}
    notice = about_a.get("notice") or about_b.get("notice")
    if notice:
        result["notice"] = notice
    output = Path(output)
    write_table(output / "comparison", ROW_COLUMNS, rows, title="Differences A - B")
    _plots(pair, rows, {name: f"{name}: {result[name.lower()]['folder']}" for name in "AB"}, output / "plots")
    write_json(output / "comparison.json", result)
    return result


def comparison_lines(result: dict[str, Any]) -> list[str]:
    """Lines for a terminal."""
    counts = result["counts"]
    lines = [f"A = {result['a']['folder']}, B = {result['b']['folder']}: {counts['n_cases']} cases of "
             f"{counts['n_patients']} patients in both"]  # fmt: skip
    if counts["n_only_in_one"]:
        lines.append(f"WARNING: {counts['n_only_in_one']} case(s) are in one evaluation only and left out")
    if counts["n_failed_a"] or counts["n_failed_b"]:
        lines.append(f"failed cases, with the lowest score: A {counts['n_failed_a']}, B {counts['n_failed_b']}")
    lines += [f"WARNING: {result['warning']}"] if "warning" in result else []
    if "notice" in result:
        lines.append(f"NOTE: {result['notice']}")
    for row in result["differences"]:
        interval = "" if not np.isfinite(row["ci_low"]) else f" ({row['ci_low']:+.3f} to {row['ci_high']:+.3f})"
        p_value = p_text(row["p_value"])
        holm_p = "" if not np.isfinite(row["p_holm"]) else f", Holm {p_text(row['p_holm'])}"
        lines.append(
            f"{row['figure']:<44} {row['value_a']:.3f} - {row['value_b']:.3f} = {row['difference']:+.3f}{interval}, "
            f"p {p_value}{holm_p}"
        )
    return lines


def p_text(p_value: float | None) -> str:
    """A p value for readers.

    Examples
    --------
    >>> p_text(0.0123), p_text(1e-9)
    ('0.0123', '<0.0001')
    """
    if p_value is None or not np.isfinite(p_value):
        return "undefined"
    return "<0.0001" if p_value < 0.0001 else f"{p_value:.4f}"


def _paired(a: Evidence, b: Evidence, settings: EvaluationSettings, folders: tuple[Path, Path]) -> tuple[_Pair, int]:
    """The cases that both have, in one order, their references being the same."""
    names_a, names_b = a.table["case_id"].tolist(), b.table["case_id"].tolist()
    common = sorted(set(names_a) & set(names_b))
    if not common:
        raise OutputError(f"{folders[0]} and {folders[1]} have no case in common: only paired cases can be compared")
    a, b = _ordered(a, common), _ordered(b, common)
    same = (a.label == b.label) | (np.isnan(a.label) & np.isnan(b.label))
    if not same.all():
        name = common[int(np.flatnonzero(~same)[0])]
        raise OutputError(f"case {name} has another label in {folders[1]} than in {folders[0]}: evaluate both again")
    differs = a.table["patient_id"] != b.table["patient_id"]
    if differs.any():
        name = common[int(np.flatnonzero(differs)[0])]
        raise OutputError(f"case {name} is of another patient in {folders[1]} than in {folders[0]}")
    if a.matches is not None and b.matches is not None:
        _check_same_lesions(a, b, folders)
    return _Pair(a, b, settings), len(set(names_a) ^ set(names_b))


def _ordered(evidence: Evidence, names: list[str]) -> Evidence:
    """The cases of `names`, in that order."""
    ids = evidence.table["case_id"]
    evidence = evidence.of_cases(np.isin(ids, names))
    order = np.argsort(evidence.table["case_id"], kind="stable")
    matches = evidence.matches
    return Evidence(
        {name: values[order] for name, values in evidence.table.items()},
        evidence.label[order],
        evidence.score[order],
        None if matches is None else matches.reordered(order),
        evidence.masks,
    )


def _check_same_lesions(first: Evidence, second: Evidence, folders: tuple[Path, Path]) -> None:
    a, b = first.matches, second.matches
    assert a is not None
    assert b is not None
    if a.rule != b.rule:
        raise OutputError(f"{folders[0]} matched by '{a.rule}', {folders[1]} by '{b.rule}': evaluate both by one rule")
    other = first.table["reference"] != second.table["reference"]
    if other.any():
        name = a.case_id[int(np.flatnonzero(other)[0])]
        raise OutputError(f"case {name} has other lesions in {folders[1]} than in {folders[0]}: evaluate both again")
    counts = [np.bincount(m.lesion_case, minlength=m.n_cases) for m in (a, b)]
    if (counts[0] != counts[1]).any():
        name = a.case_id[int(np.flatnonzero(counts[0] != counts[1])[0])]
        raise OutputError(f"case {name} has other lesions in {folders[1]} than in {folders[0]}: evaluate both again")


def _case_rows(pair: _Pair) -> list[dict[str, Any]]:
    usable = ~(np.isnan(pair.a.score) | np.isnan(pair.b.score)) & np.isin(pair.a.label, (0, 1))
    pair = _Pair(pair.a.of_cases(usable), pair.b.of_cases(usable), pair.settings)
    truth, a, b = pair.a.label == 1, pair.a.score, pair.b.score
    if truth.all() or not truth.any():
        return []
    rows = []
    test = _auc_test(pair)
    if test is not None:
        several = len(set(pair.a.patient.tolist())) < len(truth)
        method = "Obuchowski clustered" if several else "DeLong paired"
        rows.append(
            {
                "level": "case", "figure": "AUC", "value_a": test.auc_a, "value_b": test.auc_b,
                "difference": test.difference, "ci_low": test.ci_low, "ci_high": test.ci_high, "ci_method": method,
                "p_value": test.p_value, "test": method,
            }
        )  # fmt: skip
    low, high = pair.settings.fpr_range
    chance, perfect = (high**2 - low**2) / 2, high - low
    ranked = np.concatenate(shared_ranks(a, b))

    def partial(labels: np.ndarray, scores: np.ndarray) -> Weighted:
        return lambda w: mcclish(area_weighted(labels, scores, w, low, high), chance, perfect)

    name = f"Partial AUC, FPR {low:g} to {high:g}, McClish"
    statistics = partial(truth, a), partial(truth, b)
    rows.append(pair.row("case", name, statistics, pair.a.strata, partial(np.tile(truth, 2), ranked)))
    return rows


def _auc_test(pair: _Pair) -> AucTest | None:
    truth, patient = pair.a.label == 1, pair.a.patient
    scores, confidence = (pair.a.score, pair.b.score), pair.settings.confidence
    try:
        if len(set(patient.tolist())) < len(truth):
            return clustered_auc_test(truth, *scores, cluster=patient, confidence=confidence)
        return delong_test(truth, *scores, confidence=confidence)
    except TableError:  # fewer than two patients of a kind: there is no test
        return None


def _lesion_rows(pair: _Pair) -> list[dict[str, Any]]:
    if pair.a.matches is None or pair.b.matches is None:
        return []
    placed = pair.a.table["localised"] & pair.b.table["localised"]
    pair = _Pair(pair.a.of_cases(placed), pair.b.of_cases(placed), pair.settings)
    a, b = pair.a.matches, pair.b.matches
    assert a is not None
    assert b is not None
    if not a.n_lesions:
        return []
    both = [m.with_scores(*false_positive_scale(m)) for m in (a, b)]
    own_a, own_b = (lesion_statistics(m, pair.settings) for m in (a, b))
    joint = lesion_statistics(both[0].followed_by(both[1]), pair.settings)
    return [
        pair.row("lesion", name, (own_a[key], own_b[key]), lesion_strata(a), joint[key])
        for key, name in LESION_NAMES.items()
        if not (key == "wafroc_auc" and a.positive.all())
    ]


def _mask_rows(pair: _Pair) -> list[dict[str, Any]]:
    if not pair.a.masks or not pair.b.masks:
        return []
    rows = []
    for key, name in MASK_NAMES.items():
        values = [
            np.array([_of_lesion(evidence, str(case_id), key) for case_id in evidence.table["case_id"]])
            for evidence in (pair.a, pair.b)
        ]
        known = np.isfinite(values[0]) & np.isfinite(values[1])
        if known.sum() < 2:
            continue
        a, b = (np.where(known, value, np.nan) for value in values)
        statistics = mean_weighted(a), mean_weighted(b)
        rows.append(pair.row("pixel", name, statistics, known.astype(int), mean_weighted(np.concatenate([a, b]))))
    return rows


def _of_lesion(evidence: Evidence, case_id: str, name: str) -> float:
    """A figure of the mask of a case that has a lesion in its reference; NaN for the others."""
    found = evidence.masks.get(case_id)
    return getattr(found[0], name) if found is not None and found[0].n_reference else np.nan


def _plots(pair: _Pair, rows: list[dict[str, Any]], names: dict[str, str], folder: Path) -> None:
    usable = ~(np.isnan(pair.a.score) | np.isnan(pair.b.score)) & np.isin(pair.a.label, (0, 1))
    truth = pair.a.label[usable]
    if set(np.unique(truth)) == {0, 1}:
        curves = [roc_curve(truth, evidence.score[usable]) for evidence in (pair.a, pair.b)]
        named = {names[name]: (curve.fpr, curve.tpr) for name, curve in zip("AB", curves)}
        save_figure(roc_plot(named, fpr_range=pair.settings.fpr_range), folder / "roc")
    if pair.a.matches is not None and pair.b.matches is not None and pair.a.matches.n_lesions:
        points = [froc(matches) for matches in (pair.a.matches, pair.b.matches)]
        drawn = {names[name]: (point.fp_per_case, point.sensitivity) for name, point in zip("AB", points)}
        save_figure(froc_plot(drawn, rates=pair.settings.fp_per_case), folder / "froc")
    bars = [
        (row["figure"], row["difference"], row["ci_low"], row["ci_high"])
        for row in rows
        if row["figure"] != MASK_NAMES["hd95"] and np.isfinite(row["ci_low"])  # a length has another scale
    ]
    if bars:
        save_figure(difference_plot(bars), folder / "differences")
