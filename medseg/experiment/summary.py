"""The figures of an evaluation as lines of text."""

from collections.abc import Iterator
from typing import Any

__all__ = ["figure_text", "summary_lines", "summary_rows"]


def figure_text(figure: dict[str, Any] | None) -> str:
    """A figure with its interval, or why it is undefined.

    Examples
    --------
    >>> figure_text({"value": 0.8, "ci_low": 0.7, "ci_high": 0.9})
    '0.800 (0.700 to 0.900)'
    """
    if figure is None:
        return "not computed"
    if figure["value"] is None:
        return f"undefined: {figure.get('reason', '')}"
    if figure["ci_low"] is None or figure["ci_low"] != figure["ci_low"]:
        return f"{figure['value']:.3f}"
    return f"{figure['value']:.3f} ({figure['ci_low']:.3f} to {figure['ci_high']:.3f})"


def summary_rows(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of each main figure of an evaluation or of one of its groups."""
    case, lesion, pixel = (result.get(f"{level}_level", {}) for level in ("case", "lesion", "pixel"))
    if "accuracy" in case:
        yield "Accuracy", figure_text(case["accuracy"])
    if "partial_auc" in case:
        low, high = case["partial_auc"]["fpr_range"]
        below = " (below chance)" if case["partial_auc"].get("below_chance") else ""
        yield "AUC", figure_text(case["auc"])
        yield f"Partial AUC, FPR {low:g} to {high:g}, McClish", figure_text(case["partial_auc"]["mcclish"]) + below
        yield f"Partial AUC, FPR {low:g} to {high:g}, raw", figure_text(case["partial_auc"]["raw"])
    if lesion:
        for rate, sensitivity in zip(lesion["froc"]["fp_per_case"], lesion["froc"]["sensitivity"]):
            yield f"Sensitivity at {rate:g} false positives a case", figure_text(sensitivity)
        yield "CPM", figure_text(lesion["cpm"])
        yield "Average precision, lesions", figure_text(lesion["average_precision"])
        yield "wAFROC area", figure_text(lesion["wafroc_auc"])
    if "dice" in pixel:
        yield "Dice, cases with a lesion", figure_text(pixel["dice"])
    if "average_precision" in pixel:
        yield "Average precision, voxels", figure_text(pixel["average_precision"])


def summary_lines(result: dict[str, Any]) -> Iterator[str]:
    """Lines for a terminal."""
    counts = result["counts"]
    yield f"{counts['n_cases']} cases of {counts['n_patients']} patients, {counts['n_positive']} positive"
    if counts.get("n_unlabelled"):
        yield f"{counts['n_unlabelled']} unlabelled or ignored case(s) left out"
    used = result.get("case_level", {}).get("n_cases_used")
    if used is not None:
        yield f"AUC over {used} cases: the others have no label or no score"
    if "notice" in result:
        yield f"NOTE: {result['notice']}"
    if "warning" in result:
        yield f"WARNING: {result['warning']}"
    for name, text in summary_rows(result):
        yield f"{name:<44} {text}"
    for group, content in result.get("by_group", {}).items():
        yield f"group {group}: {content['counts']['n_cases']} cases, {content['counts']['n_positive']} positive"
        for name, text in summary_rows(content):
            yield f"  {name:<42} {text}"
