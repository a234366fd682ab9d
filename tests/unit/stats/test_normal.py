"""The normal distribution and the seeds, against scipy and against themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ftgate.stats import normal
from ftgate.stats.seeding import generator


@given(st.floats(-30, 30))
def test_cdf_and_density(x: float) -> None:
    assert normal.cdf(x) == pytest.approx(stats.norm.cdf(x), rel=1e-10)
    assert normal.density(x) == pytest.approx(stats.norm.pdf(x), rel=1e-10)


@given(st.floats(1e-12, 1 - 1e-9))
def test_quantile(p: float) -> None:
    assert normal.quantile(p) == pytest.approx(stats.norm.ppf(p), rel=1e-8, abs=1e-9)


def test_critical() -> None:
    assert normal.critical(0.05) == pytest.approx(1.6449, abs=1e-4)
    for p in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="strictly between 0 and 1"):
            normal.quantile(p)


@given(st.integers(-(2**70), 2**70), st.text(max_size=20))
def test_same_seed_and_name_same_draws(seed: int, name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    first = generator(seed, name).random(4)
    np.testing.assert_array_equal(first, generator(seed, name).random(4))
    assert (first != generator(seed + 1, name).random(4)).any()
    assert (first != generator(seed, name + "x").random(4)).any()


def test_draws_are_pinned() -> None:
    """A change here would change every reported bound: it belongs in the changelog."""
    assert generator(0, "forgetting").integers(0, 1000, size=5).tolist() == [120, 713, 749, 536, 479]
