"""Agreement of two raters: known answers, another implementation, and how often the interval holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from ftgate.stats.agreement import cohens_kappa, confusion, kappa_interval, levels_of, mean_interval, weighted_kappa


def test_kappa_by_hand() -> None:
    """Two levels, 20 / 5 / 10 / 15 of 50: observed disagreement 15, by chance (25 * 20 + 25 * 30) / 50 = 25."""
    assert weighted_kappa([[20, 5], [10, 15]]) == pytest.approx(1 - 15 / 25)


def test_quadratic_weights_by_hand() -> None:
    """Rows 2, 1, 1 and columns 1, 1, 2 of 4: by chance (1*2*1 + 4*2*2 + 1*1*1 + 1*1*2 + 4*1*1 + 1*1*1) / 4 = 26 / 4."""
    assert weighted_kappa([[1, 0, 1], [0, 1, 0], [0, 0, 1]]) == pytest.approx(1 - 4 / 6.5)


def test_levels_are_the_nearest_ones() -> None:
    assert levels_of([0.0, 0.12, 0.125, 0.5, 0.87, 0.88, 1.0], 5).tolist() == [0, 0, 1, 2, 3, 4, 4]
    with pytest.raises(ValueError, match="from 0 to 1"):
        levels_of([1.2], 5)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=60))
def test_kappa_is_that_of_scikit_learn(ratings: list[tuple[int, int]]) -> None:
    first, second = np.array(ratings).T
    ours = weighted_kappa(confusion(first / 4, second / 4, 5))
    if len({*first, *second}) == 1:
        assert math.isnan(ours)
    else:
        theirs = cohen_kappa_score(first, second, weights="quadratic", labels=range(5))
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_agreement_without_a_fault_has_no_width() -> None:
    found = kappa_interval([0.0, 0.5, 1.0], [0.0, 0.5, 1.0], 5, "abc", 0.05)
    assert (found.low, found.estimate, found.high) == (1.0, 1.0, 1.0)


def test_the_mean_of_clusters_by_hand() -> None:
    """Without clusters the jackknife's error of a mean is s / sqrt(n); two equal ratings of one prompt count once."""
    values = np.array([0.0, 0.2, 0.4, 0.6])
    found = mean_interval(values, range(4), 0.05)
    assert (found.estimate, found.high) == pytest.approx((0.3, 0.3 + 1.6448536 * values.std(ddof=1) / 2))
    doubled = mean_interval(np.repeat(values, 2), [0, 0, 1, 1, 2, 2, 3, 3], 0.05)
    assert (doubled.low, doubled.high) == pytest.approx((found.low, found.high))
    assert mean_interval([0.1, 0.2], "aa", 0.05).high == math.inf


@pytest.mark.slow
def test_the_interval_of_kappa_holds_as_often_as_it_says() -> None:
    """50 prompts with two answers each: true kappa by a large sample; both bounds together err in about 10 %."""

    def ratings(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        prompt = np.repeat(rng.normal(size=n // 2), 2)
        people = np.clip(np.round(2.6 + 1.2 * prompt + rng.normal(0, 0.8, n)), 0, 4)
        judge = np.clip(people + 0.4 + rng.normal(0, 1.0, n), 0, 4)
        return people / 4, judge / 4, np.repeat(np.arange(n // 2), 2)

    rng = np.random.default_rng(5)
    people, judge, _ = ratings(400_000, rng)
    truth = weighted_kappa(confusion(people, judge, 5))
    below = above = 0
    repetitions = 1000
    for _ in range(repetitions):
        people, judge, prompts = ratings(100, rng)
        found = kappa_interval(people, judge, 5, prompts.tolist(), 0.05)
        below += found.low > truth
        above += found.high < truth
    assert below / repetitions <= 0.075
    assert above / repetitions <= 0.075


def test_cohens_kappa_by_hand() -> None:
    """Two raters agree on 35 of 50: 20 yes, 15 no; one says yes to 25, the other to 30. Kappa is 0.4."""
    one = [1.0] * 20 + [1.0] * 5 + [0.0] * 10 + [0.0] * 15
    other = [1.0] * 20 + [0.0] * 5 + [1.0] * 10 + [0.0] * 15
    assert cohens_kappa(one, other) == pytest.approx(0.4)
    assert cohens_kappa([1.0], [1.0]) is None
    assert cohens_kappa([], []) is None
