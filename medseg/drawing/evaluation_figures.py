"""Figures of an evaluation for a paper: ROC, FROC and precision-recall curves.

What a caller gets wrong (shapes, values out of range, an unknown name) raises an `OutputError`. What the data leave
undefined (no curve, NaN because a subgroup has one kind of case) makes an empty axis that says so, so that one
subgroup does not end a batch of figures.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from medseg.drawing.look import COLOURS, DASHES, GREY, SMALL, new_axes
from medseg.drawing.plotted import (
    Curve,
    arrays,
    check_names,
    defined,
    fractions,
    recall_curve,
    rising,
    rising_grid,
    say,
)
from medseg.errors import OutputError

__all__ = ["froc_plot", "precision_recall_plot", "roc_plot"]

Points = tuple[np.ndarray, np.ndarray]
Range = tuple[float, float]


def roc_plot(
    curves: Mapping[str, Curve],
    *,
    fpr_range: tuple[float, float] | None = None,
    tpr_range: tuple[float, float] | None = None,
    shaded: str | None = None,
    auc: Mapping[str, str] | None = None,
) -> Figure:
    """ROC curves, with the partial area of one of them shaded.

    Parameters
    ----------
    curves : mapping of str to (fpr, tpr)
        Two arrays of shape (n,) for each name, from (0, 0) to (1, 1) as `medseg.evaluation.roc_curve` gives them.
    fpr_range : tuple of float, optional
        Shade the area below the curve over these false-positive fractions.
    tpr_range : tuple of float, optional
        Instead: shade the area to the right of the curve over these sensitivities.
    shaded : str, optional
        The curve whose area is shaded; by default the first. The legend names its range.
    auc : mapping of str to str, optional
        Text behind the name of a curve in the legend, such as ``"0.91 (0.85 to 0.95)"``.

    Returns
    -------
    Figure
        A curve with NaN is named in the legend as undefined; with no curve left the axis says so.

    Raises
    ------
    OutputError
        For curves that fall, lie outside 0 to 1 or have two lengths; a range that does not rise within 0 to 1 or that
        the curve does not cover; both ranges; a name in `shaded` or `auc` that is no curve.
    """
    figure, axes = new_axes(4.2, 4.2)
    axes.set(xlabel="False-positive fraction", ylabel="Sensitivity", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_aspect("equal")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    check_names([*(auc or ()), *([] if shaded is None else [shaded])], curves)
    points = {name: rising(name, curve) for name, curve in curves.items()}
    for name, (fpr, _) in points.items():
        fractions(f"the curve {name}", fpr)
    known = _drawn(axes, points, auc)
    if fpr_range is not None or tpr_range is not None:
        _shade(axes, known, shaded if shaded is not None else next(iter(curves), None), fpr_range, tpr_range)
    _legend(axes, curves, known)
    return figure


def froc_plot(
    curves: Mapping[str, Curve],
    *,
    rates: ArrayLike,
    bands: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]] | None = None,
    text: Mapping[str, str] | None = None,
) -> Figure:
    """FROC curves on a logarithmic axis from half the lowest of `rates` to a little beyond the highest.

    Parameters
    ----------
    curves : mapping of str to (fp_per_case, sensitivity)
        Two arrays of shape (n,) for each name as `medseg.evaluation.froc` gives them. Their steps are drawn as they
        are; a slope between points (tied scores) is linear in false positives a case, as `FrocCurve.sensitivity_at`
        has it; beyond the last point the curve is continued flat.
    rates : array-like of float, shape (k,)
        False positives a case that are marked on the axis.
    bands : mapping of str to (grid, low, high), optional
        Pointwise confidence limits of the sensitivity, each of shape (m,), on a rising grid of false positives a case
        above 0. Where a limit is NaN nothing is shaded.
    text : mapping of str to str, optional
        Text behind the name of a curve in the legend.

    Returns
    -------
    Figure
        Undefined curves as in `roc_plot`.

    Raises
    ------
    OutputError
        For rates or a grid that do not rise above 0, curves that fall or have two lengths, sensitivities or limits
        outside 0 to 1, a name in `bands` or `text` that is no curve.
    """
    ticks = rising_grid("the rates", rates)
    check_names([*(text or ()), *(bands or ())], curves)
    low, high = ticks[0] / 2, ticks[-1] * 1.3
    figure, axes = new_axes()
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{rate:g}" for rate in ticks])
    axes.set(xlabel="False positives a case", ylabel="Sensitivity (lesions)", xlim=(low, high), ylim=(-0.01, 1.01))
    points = {name: _on_logarithm(*rising(name, curve), low, high) for name, curve in curves.items()}
    known = _drawn(axes, points, text)
    for name, band in (bands or {}).items():
        grid, *limits = arrays(f"the band of {name}", *band)
        fractions(f"the band of {name}", *limits)
        if name in known:
            colour = known[name].get_color()
            axes.fill_between(rising_grid(f"the grid of {name}", grid), *limits, color=colour, alpha=0.15, linewidth=0)
    _legend(axes, curves, known)
    return figure


def precision_recall_plot(
    curves: Mapping[str, Curve], *, text: Mapping[str, str] | None = None, prevalence: float | None = None
) -> Figure:
    """Precision-recall curves as steps: a linear slope between points would promise too much.

    Parameters
    ----------
    curves : mapping of str to (recall, precision)
        Two arrays of shape (n,) for each name; recall rises, or falls as scikit-learn gives it. The precision of a
        point holds from the recall of the point before, as average precision sums it (Davis and Goadrich 2006,
        doi:10.1145/1143844.1143874).
    text : mapping of str to str, optional
        Text behind the name of a curve in the legend, such as its average precision.
    prevalence : float, optional
        Share of positive cases, drawn as the line of chance.

    Returns
    -------
    Figure
        Undefined curves as in `roc_plot`.

    Raises
    ------
    OutputError
        For values outside 0 to 1, recall that neither rises nor falls, arrays of two lengths, a name in `text` that
        is no curve.
    """
    figure, axes = new_axes(4.2, 4.2)
    axes.set(xlabel="Recall (sensitivity)", ylabel="Precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_aspect("equal")
    if prevalence is not None:
        fractions("the prevalence", np.array([prevalence]))
        axes.plot([0, 1], [prevalence, prevalence], color=GREY, linewidth=0.8, linestyle="--")
    check_names(text, curves)
    points = {name: recall_curve(name, curve) for name, curve in curves.items()}
    known = _drawn(axes, points, text, drawstyle="steps-pre")
    _legend(axes, curves, known)
    return figure


def _shade(
    axes: Any, known: Mapping[str, Line2D], name: str | None, fpr_range: Range | None, tpr_range: Range | None
) -> None:
    """Shade the partial area of the curve `name`, if it was drawn."""
    if fpr_range is not None and tpr_range is not None:
        raise OutputError("a partial area is over a range of false-positive fraction or of sensitivity, not of both")
    low, high = fpr_range or tpr_range or (0, 1)
    if not 0 <= low < high <= 1:
        raise OutputError(f"a range of the ROC curve rises within 0 to 1, found {(low, high)}")
    if name is None or name not in known:
        return
    fpr, tpr = (np.asarray(values) for values in known[name].get_data())
    quantity = "false-positive fraction" if tpr_range is None else "sensitivity"
    style: dict[str, Any] = {"color": known[name].get_color(), "alpha": 0.2, "linewidth": 0}
    style["label"] = f"{quantity} {low:g} to {high:g}"
    if tpr_range is None:
        axes.fill_between(*_within(fpr, tpr, low, high), **style)
    else:
        level, start = _within(tpr, fpr, low, high)
        axes.fill_betweenx(level, start, 1, **style)


def _within(x: np.ndarray, y: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Part of a piecewise linear curve over low <= x <= high, its ends interpolated; steps at the ends left out."""
    if x[0] > low or x[-1] < high:
        raise OutputError(f"a curve covers {x[0]:g} to {x[-1]:g} only, not the whole range {low:g} to {high:g}")
    first, last = int(np.searchsorted(x, low, "right")) - 1, int(np.searchsorted(x, high, "left"))
    start = np.interp(low, x[first : first + 2], y[first : first + 2])
    end = np.interp(high, x[last - 1 : last + 1], y[last - 1 : last + 1])
    inside = slice(first + 1, last)
    return np.array([low, *x[inside], high]), np.array([start, *y[inside], end])


def _on_logarithm(x: np.ndarray, y: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """The part of a curve from `low` to `high`, continued flat, with points added so that slopes stay linear in x."""
    if not defined(x, y):
        return x, y
    x, y = _within(np.append(x, max(x[-1], high)), np.append(y, y[-1]), low, high)
    grid = np.setdiff1d(np.geomspace(low, high, 200)[1:-1], x)
    at = np.searchsorted(x, grid)
    return np.insert(x, at, grid), np.insert(y, at, np.interp(grid, x, y))


def _drawn(axes: Any, curves: Mapping[str, Points], text: Mapping[str, str] | None, **style: Any) -> dict[str, Line2D]:
    """Draw the curves that are defined and return their lines by name; the others only enter the legend."""
    known = {}
    for number, (name, (x, y)) in enumerate(curves.items()):
        look = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)], "linewidth": 1.6}
        if defined(x, y):
            label = f"{name}: {text[name]}" if text and name in text else name
            (known[name],) = axes.plot(x, y, label=label, **look, **style)
        else:
            axes.plot([], [], label=f"{name}: undefined", **look)
    return known


def _legend(axes: Any, curves: Mapping[str, Any], known: Mapping[str, Line2D]) -> None:
    """Name the curves below the axes, where no curve can be."""
    if known:
        axes.legend(loc="upper left", bbox_to_anchor=(0, -0.17), fontsize=SMALL, frameon=False, handlelength=2.8)
    else:
        say(axes, f"undefined: {', '.join(curves)}" if curves else "no curve")
