"""Figures of how far two things agree: calibration, measurements of two kinds, differences of two detectors.

As in `medseg.drawing.evaluation_figures` wrong input raises an `OutputError`, and an axis without data says so.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from medseg.drawing.look import BLUE, GREY, ORANGE, SMALL, new_axes
from medseg.drawing.plotted import ROUNDING, arrays, fractions, say
from medseg.errors import OutputError

__all__ = ["bland_altman_plot", "calibration_plot", "difference_plot"]

LIMITS = 1.96  # standard deviations, 95 % of a normal distribution
BARS = (0.006, 0.05)  # narrowest and widest of the histogram, in probability


def calibration_plot(
    predicted: ArrayLike, observed: ArrayLike, counts: ArrayLike, low: ArrayLike, high: ArrayLike
) -> Figure:
    """Reliability curve with intervals and the identity line; below it how many cases have which probability.

    Parameters
    ----------
    predicted : array-like of float, shape (bin,)
        Mean predicted probability of the cases of a bin, rising.
    observed : array-like of float, shape (bin,)
        Fraction of them with disease.
    counts : array-like of int, shape (bin,)
        Cases of a bin. Bins with none are left out, whatever their other values.
    low, high : array-like of float, shape (bin,)
        Interval of `observed`; no interval is drawn where one is NaN.

    Returns
    -------
    Figure
        Two axes with one scale of probability; without cases the upper says so.

    Raises
    ------
    OutputError
        For lists of several lengths, probabilities outside 0 to 1 or in no order, counts below 0, a bin with cases
        but without values, an interval that does not hold its fraction.
    """
    x, y, number, lower, upper = _bins(predicted, observed, counts, low, high)
    figure = Figure(figsize=(4.2, 5.2))
    axes, bars = figure.subplots(2, sharex=True, gridspec_kw={"height_ratios": (4, 1), "hspace": 0.08})
    for part in (axes, bars):
        part.spines[["top", "right"]].set_visible(False)
        part.grid(alpha=0.25)
        part.set_axisbelow(True)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    axes.set(ylabel="Observed fraction", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    bars.set(xlabel="Predicted probability", ylabel="Cases")
    if not len(x):
        say(axes, "no cases")
        return figure
    shown = np.isfinite(lower) & np.isfinite(upper)
    axes.vlines(x[shown], lower[shown], upper[shown], color=BLUE, linewidth=1)
    axes.plot(x, y, "o-", color=BLUE, markersize=4, linewidth=1.2)
    bars.bar(x, number, width=np.clip(0.8 * np.diff(x).min(initial=1), *BARS), color=BLUE, alpha=0.6)
    return figure


def bland_altman_plot(prediction: ArrayLike, reference: ArrayLike, *, unit: str) -> Figure:
    """Difference between prediction and reference against their mean, with the 95 % limits of agreement.

    Parameters
    ----------
    prediction, reference : array-like of float, shape (n,)
        Pairs of measurements of the same things.
    unit : str
        Of both, for the axes and the text: ``"mm"``, ``"ml"``; empty for none.

    Returns
    -------
    Figure
        Lines at 0, at the mean difference and at mean ± 1.96 sample standard deviations (Bland and Altman 1999,
        doi:10.1177/096228029900800204), their values beside them. One pair has no limits, and the axis says so; as
        it does without any.

    Raises
    ------
    OutputError
        For lists of two lengths or values that are not finite.
    """
    first, second = arrays("the pairs", prediction, reference)
    if not np.isfinite([first, second]).all():
        raise OutputError("a pair of measurements lacks a value; leave it out and say so")
    suffix = f" ({unit})" if unit else ""
    figure, axes = new_axes(5.2, 3.6)
    axes.set(xlabel=f"Mean of prediction and reference{suffix}", ylabel=f"Prediction − reference{suffix}")
    if not len(first):
        say(axes, "no pairs")
        return figure
    difference = first - second
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.plot((first + second) / 2, difference, "o", color=BLUE, markersize=4, alpha=0.7, markeredgewidth=0)
    mean = float(difference.mean())
    levels = [(mean, "mean", "-")]
    if len(difference) > 1:
        reach = LIMITS * float(difference.std(ddof=1))
        levels = [(mean - reach, "−1.96 SD", "--"), *levels, (mean + reach, "+1.96 SD", "--")]
    for level, _, dashes in levels:
        axes.axhline(level, color=ORANGE, linewidth=1.2, linestyle=dashes)
    axes.margins(y=0.1)
    _beside(axes, [(level, f"{name}: {_signed(level)} {unit}".rstrip()) for level, name, _ in levels])
    note = f"n = {len(difference)}" + ("" if len(difference) > 1 else ", no limits from one pair")
    axes.set_title(note, loc="right", fontsize=SMALL)
    return figure


def difference_plot(rows: Sequence[tuple[str, float, float, float]], *, label: str = "Difference A − B") -> Figure:
    """Differences between two detectors with their intervals, one below the other.

    Parameters
    ----------
    rows : sequence of (name, difference, low, high)
        From top to bottom. A difference that is NaN is written as undefined; limits that are NaN draw no interval.
    label : str
        Of the axis.

    Returns
    -------
    Figure
        With a line at 0 and the values at the right; without rows the axis says so.

    Raises
    ------
    OutputError
        For an interval that does not hold its difference.
    """
    figure, axes = new_axes(4.6, 0.8 + 0.32 * max(len(rows), 2))
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=GREY, linewidth=0.8, linestyle="--")
    axes.set(xlabel=label, ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    if not rows:
        say(axes, "no differences")
    for place, (name, value, low, high) in enumerate(rows):
        if low > value + ROUNDING or high < value - ROUNDING:
            raise OutputError(f"{name}: the interval {low:g} to {high:g} does not hold the difference {value:g}")
        if np.isfinite(value):
            if np.isfinite([low, high]).all():
                axes.plot([low, high], [place, place], color=BLUE, linewidth=1.4)
            axes.plot([value], [place], "s", color=BLUE, markersize=5)
        axes.annotate(
            _written(value, low, high), (1.03, place), xycoords=axes.get_yaxis_transform(), va="center", fontsize=SMALL
        )
    return figure


def _bins(*columns: ArrayLike) -> np.ndarray:
    """Predicted and observed fraction, count, low and high of the bins with cases, checked; shape (5, bin)."""
    bins = np.array(arrays("the bins", *columns))
    if not (bins[2] >= 0).all():
        raise OutputError("the counts of the bins must be 0 or more")
    bins = bins[:, bins[2] > 0]
    x, y, _, lower, upper = bins
    fractions("the bins", x, y, lower, upper)
    if not np.isfinite([x, y]).all() or (np.diff(x) <= 0).any():
        raise OutputError("bins with cases need a predicted and an observed fraction, in order of the predicted one")
    if ((lower > y + ROUNDING) | (upper < y - ROUNDING)).any():
        raise OutputError("an interval of the bins does not hold its observed fraction")
    return bins


def _beside(axes: Any, labels: Sequence[tuple[float, str]]) -> None:
    """Write labels, from the lowest up, to the right of their levels, moved apart where they would overlap."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top)
    middle = len(labels) // 2
    for number, (level, text) in enumerate(labels):
        apart = (number - middle) * 0.06 * (top - bottom) + labels[middle][0]
        place = max(level, apart) if number > middle else min(level, apart)
        axes.annotate(
            text, (1.02, place), xycoords=axes.get_yaxis_transform(), va="center", fontsize=SMALL, color=ORANGE
        )


def _signed(value: float) -> str:
    """Three decimals below 1, else three digits, never an exponent; with the minus sign of print."""
    size = abs(value)
    text = f"{value:.3f}" if size < 1 else f"{value:.3g}" if size < 100 else f"{value:,.0f}"
    return text.replace("-", "−")


def _written(value: float, low: float, high: float) -> str:
    if not np.isfinite(value):
        return "undefined"
    limits = f" ({_signed(low)} to {_signed(high)})" if np.isfinite([low, high]).all() else ""
    return _signed(value) + limits
