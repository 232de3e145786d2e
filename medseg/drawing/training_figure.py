"""The curve of a training as SVG text."""

from collections.abc import Sequence

import numpy as np

from medseg.drawing.look import BLUE, ORANGE, new_axes, svg_text

__all__ = ["training_figure"]


def training_figure(
    step: Sequence[float], loss: Sequence[float], validation: Sequence[tuple[float, float]], metric: str
) -> str:
    """Loss (running mean) and validation metric against the step."""
    figure, axes = new_axes(6.4, 3.2)
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
    return svg_text(figure)
