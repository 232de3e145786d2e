"""The figures of an evaluation as lines of text."""

from collections.abc import Iterator
from typing import Any

__all__ = [
    "DESIGNS",
    "FOLD_FIGURES",
    "READER_FIGURES",
    "figure_rows",
    "figure_text",
    "named_figures",
    "parts_of",
    "study_lines",
    "summary_lines",
    "summary_rows",
]

READER_FIGURES = {"cpm": "CPM", "wafroc_auc": "wAFROC area"}
FOLD_FIGURES = {
    "auc": "AUC", "cpm": "CPM", "froc_partial_area": "FROC partial area", "dice": "Dice, cases with a lesion",
}  # fmt: skip
DESIGNS = {
    "random_both": "readers and cases random", "fixed_readers": "readers fixed", "fixed_cases": "cases fixed",
}  # fmt: skip


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


def summary_rows(result: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, text and method of the interval of each main figure of an evaluation or of one of its groups."""
    for _, name, figure in named_figures(result):
        yield name, figure_text(figure), figure.get("ci_method", "")


def parts_of(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The groups by which the figures are given again, by name."""
    return {
        f"{column} {value}": content
        for column in ("group", "view", "scanner", "sex", "age")
        for value, content in result.get(f"by_{column}", {}).items()
    }


def named_figures(result: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Level, name and figure of everything that an evaluation, or one of its groups, measured."""
    case, lesion, pixel = (result.get(f"{level}_level", {}) for level in ("case", "lesion", "pixel"))
    yield from (("case", name, figure) for name, figure in _case_figures(case))
    yield from (("lesion", name, figure) for name, figure in _lesion_figures(lesion))
    yield from (("pixel", name, figure) for name, figure in _pixel_figures(pixel))
    for name, content in result.get("calibration", {}).items():
        yield "case", f"Brier score, probabilities of {name}s", content["brier"]
        yield "case", f"Expected calibration error, probabilities of {name}s", content["expected_calibration_error"]
    at = result.get("at_operating_point")
    if at:
        threshold = f"at the operating point {at['threshold']:.3g}"
        yield "case", f"Sensitivity, cases, {threshold}", at["case_level"]["sensitivity"]
        yield "case", f"Specificity, cases, {threshold}", at["case_level"]["specificity"]
        values = at["case_level"].get("predictive_values")
        if values:
            for kind in ("positive", "negative"):
                figure = {"value": values[kind], "ci_low": None, "ci_high": None, "reason": "nothing is called so"}
                yield "case", f"{kind.capitalize()} predictive value, prevalence {values['prevalence']:g}", figure
        if "lesion_level" in at:
            yield "lesion", f"Sensitivity, lesions, {threshold}", at["lesion_level"]["sensitivity"]
            yield "lesion", f"False positives a case, {threshold}", at["lesion_level"]["fp_per_case"]


def _case_figures(case: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "accuracy" in case:
        yield "Accuracy", case["accuracy"]
    if "partial_auc" in case:
        low, high = case["partial_auc"]["fpr_range"]
        below = ", below chance" if case["partial_auc"].get("below_chance") else ""
        yield "AUC", case["auc"]
        yield f"Partial AUC, FPR {low:g} to {high:g}, McClish{below}", case["partial_auc"]["mcclish"]
        yield f"Partial AUC, FPR {low:g} to {high:g}, raw", case["partial_auc"]["raw"]
    if "partial_auc_over_sensitivity" in case:
        part = case["partial_auc_over_sensitivity"]
        low, high = part["tpr_range"]
        yield f"Partial AUC, sensitivity {low:g} to {high:g}, McClish", part["mcclish"]
        yield f"Partial area index, sensitivity {low:g} to {high:g}", part["index"]
    if "two_way_partial_auc" in case:
        both = case["two_way_partial_auc"]
        yield f"Two-way partial AUC, FPR to {both['max_fpr']:g}, sensitivity from {both['min_tpr']:g}", both
    if "calibration" in case:
        for name, value in (
            ("Brier score", case["calibration"]["brier"]["score"]),
            ("Expected calibration error", case["calibration"]["expected_calibration_error"]),
        ):
            yield name, {"value": value, "ci_low": None, "ci_high": None, "ci_method": "none"}
    for name, content in case.get("by_class", {}).items():
        if "auc" in content:
            cases = f"{content['n_positive']} with, {content['n_negative']} without"
            yield f"AUC, class {name} ({cases})", content["auc"]
    for figure in case.get("sensitivity_at_specificity", ()):
        yield f"Sensitivity at specificity {figure['specificity']:g}", figure
    for figure in case.get("specificity_at_sensitivity", ()):
        yield f"Specificity at sensitivity {figure['sensitivity']:g}", figure


def _lesion_figures(lesion: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if not lesion:
        return
    for rate, sensitivity in zip(lesion["froc"]["fp_per_case"], lesion["froc"]["sensitivity"]):
        yield f"Sensitivity at {rate:g} false positives a case", sensitivity
    for key, name in (
        ("cpm", "CPM"), ("average_precision", "Average precision, lesions"), ("wafroc_auc", "wAFROC area"),
    ):  # fmt: skip
        if key in lesion:
            yield name, lesion[key]
    for kind in ("size", "class"):
        for part, content in lesion.get(f"by_{kind}", {}).items():
            yield f"CPM, {kind} {part} ({content['n_lesions']} lesions)", content["cpm"]


def _pixel_figures(pixel: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    unit = pixel.get("length_unit") or ""
    names = {
        "dice": "Dice, cases with a lesion",
        "surface_dice": f"Surface Dice at {pixel.get('surface_tolerance', 0):g} {unit}",
        "hd95": f"Hausdorff distance, 95th percentile ({unit})",
        "assd": f"Mean surface distance ({unit})",
        "relative_volume_error": "Relative volume error",
        "dice_all_cases": "Dice, all cases (no lesion, empty mask: 1)",
        "lesionwise_f1": "Lesion-wise F1",
        "average_precision": "Average precision, voxels",
        "auc": "AUC, voxels",
        "aupro": "AUPRO to a false-positive fraction of 0.3",
    }
    for key, name in names.items():
        if key in pixel:
            yield name, pixel[key]


def figure_rows(result: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of the table of figures: all cases, then each part."""
    for part, content in ({"all cases": result} | parts_of(result)).items():
        for level, name, figure in named_figures(content):
            yield {
                "level": level, "part": part, "figure": name, "value": figure["value"], "ci_low": figure["ci_low"],
                "ci_high": figure["ci_high"], "method": figure.get("ci_method", figure.get("reason", "")),
            }  # fmt: skip


def summary_lines(result: dict[str, Any]) -> Iterator[str]:
    """Lines for a terminal."""
    if "readers" in result:
        yield from _reader_lines(result)
        return
    counts = result["counts"]
    yield f"{counts['n_cases']} cases of {counts['n_patients']} patients, {counts['n_positive']} positive"
    if counts.get("n_unlabelled"):
        yield f"{counts['n_unlabelled']} unlabelled or ignored case(s) left out"
    if counts.get("n_failed"):
        yield f"WARNING: {counts['n_failed']} case(s) failed: no marks, the lowest score, also where there is no lesion"
    if counts.get("n_out_of_scope"):
        yield f"WARNING: {counts['n_out_of_scope']} case(s) out of the model's scope: in no figure, not counted above"
    if counts.get("n_not_localised"):
        yield f"{counts['n_not_localised']} positive case(s) without the place of a lesion: case level only"
    used = result.get("case_level", {}).get("n_cases_used")
    if used is not None:
        yield f"AUC over {used} cases: the others have no label or no score"
    if "notice" in result:
        yield f"NOTE: {result['notice']}"
    if "warning" in result:
        yield f"WARNING: {result['warning']}"
    for name, text, _ in summary_rows(result):
        yield f"{name:<52} {text}"
    few = result.get("case_level", {}).get("partial_auc", {}).get("warning")
    if few:
        yield f"WARNING: partial AUC: {few}"
    folds = result.get("cross_validation", {"figures": {}})
    for key, figure in folds["figures"].items():
        name = f"{FOLD_FIGURES.get(key, key)}, mean of {folds['n_folds']} folds"
        spread = f", SD over folds {figure['sd']:.3f}" if figure.get("sd") is not None else ""
        yield f"{name:<52} {figure_text(figure)}{spread}"
    for group, content in parts_of(result).items():
        yield f"{group}: {content['counts']['n_cases']} cases, {content['counts']['n_positive']} positive"
        for name, text, _ in summary_rows(content):
            yield f"  {name:<44} {text}"


def _reader_lines(result: dict[str, Any]) -> Iterator[str]:
    """Lines of an evaluation of several readers."""
    counts = result["counts"]
    yield f"{counts['n_cases']} cases of {counts['n_patients']} patients, {counts['n_lesions']} lesions"
    if counts["n_failed"]:
        yield f"WARNING: {counts['n_failed']} case(s) failed: no marks of any reader, their lesions are missed"
    if counts["n_not_localised"]:
        yield f"{counts['n_not_localised']} positive case(s) without the place of a lesion left out"
    for row in result["readers"]:
        figures = ", ".join(
            f"{name} {row[key]['value']:.3f}" for key, name in READER_FIGURES.items() if row[key]["value"] is not None
        )
        yield f"{row['modality']} {row['reader']}".strip() + f": {row['n_marks']} marks, {figures}"
    yield from study_lines(result)


def study_lines(result: dict[str, Any]) -> Iterator[str]:
    """What a reader study says of the differences between modalities, for each design."""
    study = result["reader_study"]
    if study is None:
        yield f"no comparison of the modalities: {result['reader_study_reason']}"
        return
    for key, name in DESIGNS.items():
        design = study[key]
        if design["undefined"]:
            yield f"{name}: {design['undefined']}"
            continue
        df = f"{design['df_numerator']:g}, {design['df_denominator'] or float('inf'):.2f}"
        yield f"{name}: F {design['f']:.3f} ({df} degrees of freedom), p {design['p_value']:.4f}"
        for row in design["differences"]:
            yield (
                f"  {row['first']} - {row['second']}: {row['value']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f}), "
                f"p {row['p_value']:.4f}"
            )
