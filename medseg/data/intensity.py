"""Grey values on a common scale: statistics over the parts of a channel, and what they make of each part."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medseg.data.otsu import otsu_threshold
from medseg.data.percentiles import Parts, percentiles
from medseg.data.settings import IntensitySettings
from medseg.errors import ImageError

__all__ = ["Scale", "scale_of"]

LEAST_WIDTH = 1e-6  # of grey values, by which is divided
BACKGROUND = -3.0  # at most, in standard deviations: what lies outside the foreground


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Scaled value = (value - `zero`) / `width`, clipped to `limits`; `background` where the value is not above 0.

    Examples
    --------
    >>> Scale(zero=20.0, width=20.0, limits=(0.0, 1.0)).apply(np.float32([[[10, 30]]])).tolist()
    [[[0.0, 0.5]]]
    """

    zero: float
    width: float
    limits: tuple[float, float] | None = None
    background: float | None = None

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Scale an array, shape (z, y, x), into a new one, float32, calculated in float64."""
        result = np.empty(values.shape, dtype=np.float32)
        for part, out in zip(values, result):  # row by row, so that float64 is never held of all
            scaled = (part.astype(np.float64) - self.zero) / self.width
            if self.limits is not None:
                scaled = np.clip(scaled, *self.limits)
            out[...] = scaled if self.background is None else np.where(part > 0, scaled, self.background)
        return result


def scale_of(parts: Parts, settings: IntensitySettings) -> Scale:
    """Find the scale of one channel.

    Parameters
    ----------
    parts : callable
        Returns the channel as arrays of the shape (z, y, x): one, or the slabs of a volume that is never held whole.
        Called once, for percentiles and Otsu's threshold several times.

    Raises
    ------
    ImageError
        When values are not finite, or the channel or its foreground is constant.
    ValueError
        For the method auto, which the plan of a training replaces by another.
    """
    if settings.method == "auto":
        raise ValueError("input.intensity.method=auto: the plan's intensity must be put in its place")
    every, foreground = _Moments(), _Moments()
    above_zero, otsu = settings.foreground == "above_zero", settings.foreground == "otsu"
    for row in _rows(parts):
        every.add(row, spread=settings.foreground == "all")
        if above_zero:
            foreground.add(row[row > 0])
    if every.low == every.high:
        raise ImageError(f"the image is {'constant' if every.low else 'all zero'}: there is nothing to see in it")
    if settings.method in ("window", "range"):
        limits = (0.0, 1.0) if settings.method == "window" else None
        return Scale(zero=settings.low, width=settings.high - settings.low, limits=limits)
    if settings.method == "ct":
        low, high = ((end - settings.mean) / settings.deviation for end in (settings.low, settings.high))
        return Scale(zero=settings.mean, width=settings.deviation, limits=(low, high))
    threshold = otsu_threshold(parts) if otsu else 0.0
    if otsu:
        for row in _rows(parts):
            foreground.add(row[row > threshold])
    chosen = every if settings.foreground == "all" else foreground
    if chosen.count == 0 or chosen.low == chosen.high:
        raise ImageError("the image is constant inside the foreground: there is nothing to see in it")
    if settings.method == "percentile":

        def values() -> Iterator[np.ndarray]:
            yield from (row[row > threshold] if above_zero or otsu else row for row in _rows(parts))

        low, high = percentiles(values, settings.percentiles)
        return Scale(zero=low, width=max(high - low, LEAST_WIDTH), limits=(-0.5, 1.5))
    width = max(chosen.deviation, LEAST_WIDTH)
    # the empty background stays apart from dark tissue
    background = min((every.low - chosen.mean) / width, BACKGROUND) if above_zero else None
    return Scale(zero=chosen.mean, width=width, background=background)


def _rows(parts: Parts) -> Iterator[np.ndarray]:
    """Row by row, so that float64 and foregrounds are never held of all."""
    for part in parts():
        yield from part


class _Moments:
    """Range, mean and standard deviation of values that come in parts.

    The sums of squares of two parts are joined as in Chan, Golub, LeVeque 1983 (doi 10.1080/00031305.1983.10483115),
    which loses nothing where the mean is large against the deviation.
    """

    def __init__(self) -> None:
        self.count, self.mean, self._squares = 0, 0.0, 0.0
        self.low, self.high = np.inf, -np.inf

    def add(self, values: np.ndarray, *, spread: bool = True) -> None:
        """Take in values; `spread`: also for the mean and deviation."""
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all():  # NaN is the minimum wherever there is one
            raise ImageError("the image holds values that are not finite (NaN or infinity)")
        self.low, self.high = min(self.low, low), max(self.high, high)
        if spread:
            self._join(values.astype(np.float64))

    def _join(self, values: np.ndarray) -> None:
        mean, size = float(values.mean()), values.size
        apart, total = mean - self.mean, self.count + size
        self._squares += float(np.square(values - mean).sum()) + apart * apart * self.count * size / total
        self.mean += apart * size / total
        self.count = total

    @property
    def deviation(self) -> float:
        """Standard deviation of all values so far."""
        return float(np.sqrt(self._squares / self.count))
