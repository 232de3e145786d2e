"""Percentiles of values in parts are those of NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.data.percentiles import percentiles

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(NUMBERS, min_size=1, max_size=60), st.lists(st.floats(0, 100), min_size=1, max_size=4), st.data())
def test_as_numpy_says(values, percents, data):
    values = np.float32(values)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=3)))
    found = percentiles(lambda: np.split(values, cuts), percents)
    truth = np.percentile(values.astype(np.float64), percents)
    assert np.allclose(found, truth, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("scale", [1e-3, 1, 1e6])
def test_more_values_than_are_counted_at_once(scale):
    values = (np.random.default_rng(0).normal(-0.3, 1, (3, 700, 800)) * scale).astype(np.float32)
    found = percentiles(lambda: iter(values), [0, 0.5, 50, 99.5, 100])
    assert np.allclose(found, np.percentile(values.astype(np.float64), [0, 0.5, 50, 99.5, 100]), rtol=1e-12)


def test_of_nothing():
    with pytest.raises(ValueError, match="no values"):
        percentiles(lambda: [np.empty(0, np.float32)], [50])
