"""Against scipy.stats, which the package does not import because it is slow to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medseg.evaluation.distributions import (
    beta_quantile,
    chi2_tail,
    f_tail,
    midranks,
    normal_cdf,
    normal_quantile,
    two_sided_p,
    two_sided_quantile,
)


@given(st.floats(0.5, 0.9999), st.floats(1, 500), st.floats(-30, 30))
def test_tails_and_quantiles(confidence, df, x):
    assert two_sided_quantile(confidence) == pytest.approx(stats.norm.ppf(0.5 + confidence / 2), rel=1e-12)
    assert two_sided_quantile(confidence, df) == pytest.approx(stats.t.ppf(0.5 + confidence / 2, df), rel=1e-9)
    assert two_sided_p(x) == pytest.approx(2 * stats.norm.sf(abs(x)), rel=1e-9)
    assert two_sided_p(x, df) == pytest.approx(2 * stats.t.sf(abs(x), df), rel=1e-9)
    assert f_tail(abs(x), 2, df) == pytest.approx(stats.f.sf(abs(x), 2, df), rel=1e-9)
    assert f_tail(abs(x), 3, np.inf) == pytest.approx(stats.chi2.sf(3 * abs(x), 3), rel=1e-9)
    assert chi2_tail(abs(x), 4) == pytest.approx(stats.chi2.sf(abs(x), 4), rel=1e-9)
    assert beta_quantile(1 - confidence, df, 3) == pytest.approx(stats.beta.ppf(1 - confidence, df, 3), rel=1e-9)
    assert normal_cdf(normal_quantile(confidence)) == pytest.approx(confidence)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_midranks(values):
    assert midranks(np.array(values, float)).tolist() == stats.rankdata(values).tolist()
