"""Evaluation of tables in which several readers marked the cases, in one or several modalities."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from medseg.errors import TableError
from medseg.evaluation.evidence import failed_cases, placed_matches
from medseg.evaluation.figures import Figures, undefined
from medseg.evaluation.froc import froc, lesion_strata
from medseg.evaluation.lesion_level import lesion_statistics
from medseg.evaluation.reader_marks import match_readers
from medseg.evaluation.readers import study_of_matches
from medseg.evaluation.settings import EvaluationSettings
from medseg.evaluation.tables import cases_table
from medseg.experiment.evaluation_folder import start_folder, table_title
from medseg.experiment.summary import DESIGNS, READER_FIGURES
from medseg.experiment.table_files import write_table
from medseg.files import safe_name, write_json

__all__ = ["evaluate_readers"]


def _study_rows(study: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Differences of the modalities for each design of the study."""
    if study is None:
        return []
    return [
        {
            "modality": f"{row['first']} - {row['second']}", "reader": DESIGNS[key], "figure": "wAFROC area",
            "value": row["value"], "ci_low": row["low"], "ci_high": row["high"], "p_value": row["p_value"],
        }
        for key in DESIGNS
        for row in study[key]["differences"]
    ]  # fmt: skip


def evaluate_readers(
    cases: Path, marks: Path, lesions: Path, output: Path, *, rule: str, settings: EvaluationSettings
) -> dict[str, Any]:
    """Figures of every reader in every modality, and the comparison of the modalities over readers and cases.

    Returns
    -------
    dict
        The content of ``evaluation.json``: ``readers``, and ``reader_study`` by wAFROC area, null with the reason
        where the readers did not all mark in all modalities.

    Raises
    ------
    TableError
        When a table is wrong.
    """
    options: dict[str, Any] = {
        "assignment": settings.assignment, "duplicates": settings.duplicates, "class_aware": settings.class_aware,
    }  # fmt: skip
    table = cases_table(cases)
    named = {"modalities": settings.modalities or None, "readers": settings.readers or None}
    found = {
        name: placed_matches(table, matches)
        for name, matches in match_readers(cases, marks, lesions, rule=rule, **named, **options).items()
    }
    readers: list[dict[str, Any]] = []
    for (modality, reader), matches in found.items():
        compute = Figures(matches.patient_id, lesion_strata(matches), settings)
        statistics = lesion_statistics(matches, settings)
        figures = {
            name: compute.bca(statistics[name], "needs lesions, wAFROC also lesion-free cases")
            for name in READER_FIGURES
        }
        n_marks = len(matches.false_score) + matches.n_neither + int(froc(matches).n_hits[-1])
        readers.append({"modality": modality, "reader": reader, "n_marks": n_marks, **figures})
    nothing = undefined("the marks are of several readers: see readers and reader_study")
    result: dict[str, Any] = {
        "schema_version": 1,
        "counts": {
            "n_cases": len(table["case_id"]), "n_patients": len(set(table["patient_id"].tolist())),
            "n_positive": int(next(iter(found.values())).positive.sum()),
            "n_lesions": next(iter(found.values())).n_lesions,
            "n_failed": int(failed_cases(table).sum()),
            "n_not_localised": len(table["case_id"]) - next(iter(found.values())).n_cases,
        },
        "settings": settings.model_dump(mode="json") | {"rule": rule},
        "case_level": {"auc": nothing},
        "readers": readers,
    }  # fmt: skip
    try:
        result["reader_study"] = asdict(study_of_matches(found, confidence=settings.confidence))
    except TableError as error:
        result["reader_study"], result["reader_study_reason"] = None, str(error)
    columns = ("modality", "reader", "figure", "value", "ci_low", "ci_high", "p_value")
    rows: list[dict[str, Any]] = [
        {"modality": row["modality"], "reader": row["reader"], "figure": name, **row[key]}
        for row in readers
        for key, name in READER_FIGURES.items()
    ]
    rows += _study_rows(result["reader_study"])
    start_folder(output, inputs=(cases, marks, lesions))
    for (modality, reader), matches in found.items():
        matches.write(output / "matches" / f"{safe_name(f'{modality}_{reader}')}.csv")
    title = f"{table_title(result)}; readers, and differences of modalities over readers"
    write_table(output / "figures", columns, rows, title=title)
    write_json(output / "evaluation.json", result)
    return result
