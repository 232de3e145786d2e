"""The scale of a channel that comes in parts."""

import numpy as np
import pytest

from medseg.data.intensity import scale_of
from medseg.data.settings import IntensitySettings
from medseg.errors import ImageError

VALUES = np.random.default_rng(0).normal(40, 60, (9, 12, 10)).astype(np.float32)
SETTINGS = [
    IntensitySettings(method=method, foreground=foreground, low=-20, high=90)
    for method in ("zscore", "percentile", "window", "range")
    for foreground in ("all", "above_zero", "above_mean")
]


def truth(values, settings):
    """The definition, in float64 and at once."""
    values = values.astype(np.float64)
    least = {"all": -np.inf, "above_zero": 0.0, "above_mean": values.mean()}[settings.foreground]
    inside = values > least
    if settings.method in ("window", "range"):
        scaled = (values + 20) / 110
        return np.clip(scaled, 0, 1) if settings.method == "window" else scaled
    if settings.method == "percentile":
        low, high = np.percentile(values[inside], (0.5, 99.5))
        return np.clip((values - low) / (high - low), -0.5, 1.5)
    scaled = (values - values[inside].mean()) / values[inside].std()
    return np.where(inside, scaled, min(scaled.min(), -3)) if settings.foreground == "above_zero" else scaled


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: f"{s.method} {s.foreground}")
@pytest.mark.parametrize("step", [1, 4, 9])
@pytest.mark.parametrize("shift", [0, 10_000])
def test_in_parts_as_at_once(settings, step, shift):
    """A large mean beside a small deviation costs no digits."""
    values = VALUES + np.float32(shift)
    scale = scale_of(lambda: (values[k : k + step] for k in range(0, 9, step)), settings)
    expected = truth(values, settings)
    assert np.abs(scale.apply(values) - expected).max() <= 1e-6 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("foreground", ["all", "above_zero"])
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([[[0, 0]], [[0, 0]]], "all zero"),
        ([[[3, 3]], [[3, 3]]], "constant"),
        ([[[1, 2]], [[np.nan, 3]]], "not finite"),
        ([[[1, 2]], [[3, np.inf]]], "not finite"),
    ],
)
def test_what_no_part_alone_shows(values, says, foreground):
    parts = np.float32(values)
    with pytest.raises(ImageError, match=says):
        scale_of(lambda: (part[None] for part in parts), IntensitySettings(method="window", foreground=foreground))


def test_a_foreground_without_contrast():
    for values in ([[[-1, 5]], [[0, 5]]], [[[-1, -2]], [[0, -5]]]):
        with pytest.raises(ImageError, match="inside the foreground"):
            scale_of(lambda values=values: [np.float32(values)], IntensitySettings(foreground="above_zero"))


def test_noise_of_the_air_does_not_count_to_the_body():
    """Three quarters of the volume are air with noise above 0: the body keeps mean 0 and deviation 1."""
    random = np.random.default_rng(0)
    values = np.abs(random.normal(0, 4, (8, 20, 20))).astype(np.float32)
    body = np.zeros(values.shape, bool)
    body[:, 5:15, 5:15] = True
    values[body] = random.normal(200, 20, body.sum())
    settings = IntensitySettings(method="zscore", foreground="above_mean")
    scaled = scale_of(lambda: [values], settings).apply(values)
    assert (scaled[body].mean(), scaled[body].std()) == pytest.approx((0, 1), abs=1e-4)
    assert scaled[~body].max() < -8
