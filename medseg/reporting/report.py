"""One self-contained HTML page from run, prediction and evaluation folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from medseg.drawing.evaluation_plots import evaluation_plots
from medseg.drawing.filters import FIRST_LAYER
from medseg.drawing.look import svg_text
from medseg.drawing.training_figure import training_figure
from medseg.errors import OutputError
from medseg.experiment.comparison import p_text
from medseg.experiment.summary import READER_FIGURES, figure_text, parts_of, study_lines, summary_rows
from medseg.files import read_csv, read_json, write_text
from medseg.reporting.page import picture_source, rendered

__all__ = ["write_report"]

GALLERY = 24
TERMS = (
    ("AUC", "Probability that a case with a lesion scores higher than one without; 0.5 is chance."),
    ("Partial AUC", "The area over the stated range of false-positive fraction only. McClish: scaled so that 0.5 is "
     "chance and 1 perfect; raw: the area itself."),
    ("Sensitivity at n false positives a case", "Share of lesions found when the threshold lets n false marks through "
     "on average (FROC)."),
    ("CPM", "Mean of the sensitivities at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a case."),
    ("wAFROC area", "Probability that a lesion is rated above the highest false mark of a case without lesion, every "
     "case with lesions counting the same."),
    ("Dice, surface Dice", "Overlap of predicted and reference mask; share of both surfaces that lie within the "
     "tolerance of each other."),
    ("AUPRO", "Mean share of each lesion that is covered, averaged over false-positive fractions of voxels."),
    ("Average precision", "Area under the curve of precision against sensitivity, by steps."),
)  # fmt: skip
WIDTH = 720  # pixels of a picture in the page


def write_report(sources: Sequence[str | Path], output: str | Path, *, title: str = "") -> Path:
    """Write a report.

    Parameters
    ----------
    sources : sequence of path
        Run, prediction, evaluation and comparison folders in any order; each is known by its files.
    output : path
        HTML file; nothing is loaded from elsewhere.

    Raises
    ------
    OutputError
        When a source is none of these.
    """
    kinds = ("runs", "predictions", "evaluations", "studies", "comparisons", "notes")
    content: dict[str, Any] = {kind: [] for kind in kinds} | {"terms": TERMS}
    for source in map(Path, sources):
        _add(source, content)
    names = [
        part["name"]
        for kind in ("evaluations", "studies", "comparisons", "runs", "predictions")
        for part in content[kind]
    ]
    try:
        page = rendered("report.html", title=title or f"Report: {names[0] if names else 'sample data'}", **content)
    except (jinja2.UndefinedError, TypeError) as error:
        raise OutputError(f"{', '.join(map(str, sources))}: a file in it is damaged ({error})") from error
    write_text(output, page)
    return Path(output)


def _add(source: Path, content: dict[str, Any]) -> None:
    """Add what a folder holds to the content of the page."""
    if not source.is_dir():
        raise OutputError(f"{source}: no such folder")
    parts = []
    try:
        if (source / "evaluation.json").is_file():
            readers = "readers" in read_json(source / "evaluation.json")
            parts.append(("studies", _reader_study(source)) if readers else ("evaluations", _evaluation(source)))
        if (source / "comparison.json").is_file():
            parts.append(("comparisons", _comparison(source)))
        if (source / "predictions.json").is_file():
            parts.append(("predictions", _predictions(source)))
        if (source / "plan.json").is_file() and (source / "log.csv").is_file():
            parts.append(("runs", _run(source)))
        if (source / "about.json").is_file():
            parts.append(("notes", read_json(source / "about.json", needs=("notice", "citation"))))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise OutputError(f"{source}: a file in it is damaged ({type(error).__name__}: {error})") from error
    if not parts:
        raise OutputError(
            f"{source}: neither a run, nor predictions, nor an evaluation or comparison; nothing to report"
        )
    for kind, part in parts:
        content[kind].append(part)


def _evaluation(folder: Path) -> dict[str, Any]:
    result = read_json(folder / "evaluation.json", needs=("counts", "intervals", "case_level"))
    plots = [(sentence, svg_text(figure)) for sentence, figure in evaluation_plots(result).values()]
    groups = {name: (group["counts"], list(summary_rows(group))) for name, group in parts_of(result).items()}
    few = result["case_level"].get("partial_auc", {}).get("warning", "")
    return {
        "name": result.get("pipeline", folder.name),
        "result": result,
        "rows": list(summary_rows(result)),
        "groups": groups,
        "plots": plots,
        "few": few,
    }


def _comparison(folder: Path) -> dict[str, Any]:
    result = read_json(folder / "comparison.json", needs=("a", "b", "counts", "settings", "differences"))
    rows = []
    for row in result["differences"]:
        interval = "" if row["ci_low"] is None else f" ({row['ci_low']:+.3f} to {row['ci_high']:+.3f})"
        p_values = (p_text(row[name]) for name in ("p_value", "p_holm"))
        values = f"{row['value_a']:.3f}", f"{row['value_b']:.3f}", f"{row['difference']:+.3f}{interval}"
        rows.append((row["figure"], *values, *p_values, row["test"]))
    captions = {"roc": "ROC curves of cases", "froc": "FROC curves of lesions", "differences": "Differences A − B"}
    plots = []
    for name, caption in captions.items():
        path = folder / "plots" / f"{name}.svg"
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            plots.append((caption, text[text.index("<svg") :]))
    return {
        "name": f"{result['a']['folder']} and {result['b']['folder']}",
        "result": result,
        "rows": rows,
        "plots": plots,
    }


def _reader_study(folder: Path) -> dict[str, Any]:
    result = read_json(folder / "evaluation.json", needs=("counts", "readers", "reader_study", "settings"))
    readers = [
        (row["modality"], row["reader"], row["n_marks"], *(figure_text(row[key]) for key in READER_FIGURES))
        for row in result["readers"]
    ]
    return {
        "name": folder.name,
        "result": result,
        "readers": readers,
        "figures": list(READER_FIGURES.values()),
        "lines": list(study_lines(result)),
    }


def _run(folder: Path) -> dict[str, Any]:
    plan = read_json(folder / "plan.json", needs=("reasons",))
    _, rows = read_csv(folder / "log.csv")
    validation = [(float(r["step"]), float(r["validation_value"])) for r in rows if r.get("validation_value")]
    metric = next((r["validation_metric"] for r in rows if r.get("validation_metric")), "")
    loss = [float(r["loss"] or "nan") for r in rows]
    plot = training_figure([float(r["step"]) for r in rows], loss, validation, metric) if rows else ""
    choices = [(name, plan.get(name), reason) for name, reason in plan["reasons"].items()]
    last = rows[-1] if rows else {}
    first_layer = _inline(folder / FIRST_LAYER) if (folder / FIRST_LAYER).is_file() else ""
    return {
        "name": folder.name,
        "plot": plot,
        "first_layer": first_layer,
        "choices": choices,
        "plan": plan,
        "last": last,
    }


def _predictions(folder: Path) -> dict[str, Any]:
    about = read_json(folder / "predictions.json", needs=("pipeline", "operating_point"))
    _, rows = read_csv(folder / "cases.csv")
    troubled = [row for row in rows if row["status"] != "ok"]
    ranked = sorted((row for row in rows if row["status"] == "ok"), key=lambda row: -float(row["score"] or 0))
    pictures = []
    for row in _spread(ranked):
        path = folder / "cases" / row["case_id"] / "overlay.png"
        if path.is_file():
            pictures.append((row, _inline(path)))
    return {"name": about["pipeline"], "about": about, "n_cases": len(rows), "troubled": troubled, "pictures": pictures}


def _spread(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """At most `GALLERY` cases over the whole range of scores, so that the page shows more than successes."""
    if len(rows) <= GALLERY:
        return rows
    step = (len(rows) - 1) / (GALLERY - 1)
    return [rows[round(number * step)] for number in range(GALLERY)]


def _inline(path: Path) -> str:
    with Image.open(path) as picture:
        return picture_source(picture, width=WIDTH)
