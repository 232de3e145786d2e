"""The plots of an evaluation, from the content of ``evaluation.json``."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from medseg.drawing.agreement_figures import bland_altman_plot, calibration_plot
from medseg.drawing.evaluation_figures import froc_plot, precision_recall_plot, roc_plot
from medseg.drawing.look import save_figure

__all__ = ["evaluation_plots", "write_plots"]

VOLUME_UNITS = {"mm": (1000.0, "ml"), "voxel": (1.0, "voxels")}


def evaluation_plots(result: dict[str, Any]) -> dict[str, tuple[str, Figure]]:
    """Each plot that the evaluation has data for: a name for the file, a sentence, and the figure."""
    curves, case, lesion = result.get("curves", {}), result["case_level"], result.get("lesion_level", {})
    plots: dict[str, tuple[str, Figure]] = {}
    if "roc" in curves and "partial_auc" in case:
        curve, text = {"cases": (curves["roc"]["fpr"], curves["roc"]["tpr"])}, {"cases": f"AUC {_text(case['auc'])}"}
        fpr_range = tuple(case["partial_auc"]["fpr_range"])
        plot = roc_plot(curve, fpr_range=fpr_range, auc=text)  # type: ignore[arg-type]
        plots["roc"] = ("ROC curve of cases; shaded: the partial area", plot)
    if "froc" in curves:
        plots["froc"] = ("FROC curve of lesions; shaded: pointwise interval", _froc(curves, lesion))
    if "precision_recall" in curves:
        points = curves["precision_recall"]
        text = {"lesions": f"average precision {_text(lesion['average_precision'])}"}
        plot = precision_recall_plot({"lesions": (points["recall"], points["precision"])}, text=text)
        plots["precision_recall"] = ("Precision and recall of lesions", plot)
    if "calibration" in case:
        curve = case["calibration"]["curve"]
        plot = calibration_plot(*(curve[name] for name in ("predicted", "observed", "count", "low", "high")))
        plots["calibration"] = ("Calibration of case scores: predicted against observed", plot)
    for name, content in result.get("calibration", {}).items():
        curve = content["curve"]
        plot = calibration_plot(*(curve[key] for key in ("predicted", "observed", "count", "low", "high")))
        plots[f"calibration_{name}_probability"] = (f"Calibration of the probabilities of {name}s", plot)
    if "volumes" in curves:
        volumes = curves["volumes"]
        scale, unit = VOLUME_UNITS[volumes["unit"]]
        pairs = ([value / scale for value in volumes[name]] for name in ("predicted", "reference"))
        plots["volumes"] = (
            "Volume of the predicted mask against that of the reference (Bland-Altman)",
            bland_altman_plot(*pairs, unit=unit),
        )
    return plots


def _froc(curves: dict[str, Any], lesion: dict[str, Any]) -> Figure:
    band = curves.get("froc_band", {"fp_per_case": [], "low": [], "high": []})
    last = max(curves["froc"]["fp_per_case"])  # beyond, the curve is only continued
    kept = [number for number, rate in enumerate(band["fp_per_case"]) if rate <= last]
    low, high, rates = ([band[name][number] for number in kept] for name in ("low", "high", "fp_per_case"))
    bands = {"lesions": (rates, low, high)} if len(kept) > 1 else None
    return froc_plot(
        {"lesions": (curves["froc"]["fp_per_case"], curves["froc"]["sensitivity"])},
        rates=lesion["froc"]["fp_per_case"],
        bands=bands,
        text={"lesions": f"CPM {_text(lesion['cpm'])}"},
    )


def _text(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "undefined"
    interval = f" ({figure['ci_low']:.3f} to {figure['ci_high']:.3f})" if figure.get("ci_low") is not None else ""
    return f"{figure['value']:.3f}{interval}"


def write_plots(folder: Path, result: dict[str, Any]) -> list[Path]:
    """Write each plot as SVG and PNG."""
    plots = evaluation_plots(result)
    return [path for name, (_, figure) in plots.items() for path in save_figure(figure, folder / name)]
