"""Curves as SVG text."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

__all__ = ["froc_figure", "roc_figure", "training_figure"]

BLUE, ORANGE, GREY = "#1f5fa8", "#c8642b", "#8a8a8a"


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    with rc_context({"svg.hashsalt": "medseg", "svg.fonttype": "path"}):  # the same text for the same figure
        figure.savefig(stream, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _axes(width: float = 4.6, height: float = 3.6) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def roc_figure(fpr: Sequence[float], tpr: Sequence[float], fpr_range: tuple[float, float]) -> str:
    """ROC curve with the partial area shaded."""
    figure, axes = _axes()
    x, y = np.asarray(fpr, float), np.asarray(tpr, float)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    axes.plot(x, y, color=BLUE)
    low, high = fpr_range
    inside = (x > low) & (x < high)
    ends = np.interp([low, high], x, y)
    axes.fill_between([low, *x[inside], high], [ends[0], *y[inside], ends[1]], color=BLUE, alpha=0.2, linewidth=0)
    axes.set(xlabel="False-positive fraction", ylabel="Sensitivity (cases)", xlim=(0, 1), ylim=(0, 1.01))
    return _svg(figure)


def froc_figure(
    fp_per_case: Sequence[float],
    sensitivity: Sequence[float],
    rates: Sequence[float],
    figures: Sequence[dict[str, Any]],
) -> str:
    """FROC curve on a logarithmic axis, with intervals at the given rates."""
    figure, axes = _axes()
    x, y = np.asarray(fp_per_case, float), np.asarray(sensitivity, float)
    low, high = min(rates) / 2, max(rates) * 1.3
    inside = (x > low) & (x < high)
    ends = np.interp([low, high], x, y)  # flat beyond the last point
    axes.plot([low, *x[inside], high], [ends[0], *y[inside], ends[1]], color=ORANGE)
    known = [(rate, f) for rate, f in zip(rates, figures) if f["value"] is not None and f["ci_low"] is not None]
    if known:
        value = np.array([f["value"] for _, f in known])
        bounds = np.array([[f["value"] - f["ci_low"], f["ci_high"] - f["value"]] for _, f in known]).T
        axes.errorbar(
            [rate for rate, _ in known], value, yerr=np.clip(bounds, 0, None), fmt="o", color=ORANGE, markersize=4,
            capsize=2, linewidth=1,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(rates), [f"{rate:g}" for rate in rates])
    axes.set(xlabel="False positives a case", ylabel="Sensitivity (lesions)", xlim=(low, high), ylim=(0, 1.01))
    return _svg(figure)


def training_figure(
    step: Sequence[float], loss: Sequence[float], validation: Sequence[tuple[float, float]], metric: str
) -> str:
    """Loss (running mean) and validation metric against the step."""
    figure, axes = _axes(6.4, 3.2)
    x, y = np.asarray(step, float), np.asarray(loss, float)
    good = np.isfinite(y)
    x, y = x[good], y[good]
    width = max(1, len(y) // 100)
    if len(y) >= width:
        smooth = np.convolve(y, np.ones(width) / width, mode="valid")
        axes.plot(x[width - 1 :], smooth, color=BLUE, linewidth=1)
    axes.set(xlabel="Step", ylabel="Training loss")
    axes.yaxis.label.set_color(BLUE)
    if validation:
        other = axes.twinx()
        other.spines[["top"]].set_visible(False)
        other.plot([v[0] for v in validation], [v[1] for v in validation], "o-", color=ORANGE, markersize=3)
        other.set_ylabel(f"Validation {metric}")
        other.yaxis.label.set_color(ORANGE)
    return _svg(figure)
