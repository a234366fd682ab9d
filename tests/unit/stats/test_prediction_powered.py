"""Prediction-powered changes: known answers, an independent implementation, and what must not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftgate.stats.bootstrap import Bootstrapped
from ftgate.stats.prediction_powered import Labelled, corrected_drop, corrected_means
from ftgate.stats.seeding import generator

BASE = np.array([0.9, 0.8, 0.4, 1.0, 0.7, 0.6, 0.3, 0.85, 0.95, 0.5])
CANDIDATE = np.array([0.7, 0.8, 0.2, 0.9, 0.75, 0.3, 0.3, 0.6, 0.9, 0.1])
PEOPLE = Labelled(np.arange(4), np.array([1.0, 0.75, 0.25, 1.0]), np.array([0.5, 0.75, 0.25, 1.0]))
"""Mean errors of the judge: (0.1 - 0.05 - 0.15 + 0) / 4 and (-0.2 - 0.05 + 0.05 + 0.1) / 4, both -0.025."""


def drop(base: np.ndarray, candidate: np.ndarray, people: Labelled, *, absolute: bool = False) -> Bootstrapped:
    return corrected_drop(base, candidate, people, generator(3, "a test"), draws=400, absolute=absolute)


def test_means_and_drop_by_hand() -> None:
    assert corrected_means(BASE, CANDIDATE, PEOPLE) == pytest.approx((0.70 - 0.025, 0.555 - 0.025))
    assert drop(BASE, CANDIDATE, PEOPLE).estimate == pytest.approx(1 - 0.53 / 0.675)
    assert drop(BASE, CANDIDATE, PEOPLE, absolute=True).estimate == pytest.approx(0.145)


def test_where_the_judge_graded_half_of_the_items_half_of_its_error_counts() -> None:
    half = Labelled(PEOPLE.places, PEOPLE.base, PEOPLE.candidate, share=0.5)
    assert corrected_means(BASE, CANDIDATE, half) == pytest.approx((0.70 - 0.0125, 0.555 - 0.0125))


@pytest.mark.parametrize(
    ("t", "low", "high"),
    [
        (0.0, 0.18630372487067753, 0.2665096084626558),
        (0.1, 0.1483331702239623, 0.22425682977603772),
        (0.5, -0.006309475216271128, 0.05800614188293778),
    ],
)
def test_mean_and_standard_error_are_those_of_an_independent_implementation(t: float, low: float, high: float) -> None:
    """ppi-python 0.2.3, ppi_mean_ci of the contrast with lam = (N - n) / N, level 90 %; it divides by n, not n - 1."""
    i = np.arange(200)
    base = (i * 37 % 101) / 100
    candidate = np.where(i % 5 == 0, 0.0, base * ((i * 53 % 11) / 10))
    of_base = np.round(4 * np.clip(base - 0.1, 0, 1)) / 4
    of_candidate = np.round(4 * candidate) / 4 * np.where(i % 7 == 0, 0, 1)
    people = Labelled(np.arange(60), of_base[:60], of_candidate[:60])
    resampled = drop(base, candidate, people).resampled
    assert resampled is not None
    mean, variance, means, variances = resampled.moments(t)
    assert mean == pytest.approx((low + high) / 2, abs=1e-9)
    assert math.sqrt(variance) == pytest.approx((high - low) / 2 / 1.6448536, rel=0.012)
    assert np.std(means) == pytest.approx(math.sqrt(variance), rel=0.1)
    assert np.mean(variances) == pytest.approx(variance, rel=0.05)


def test_with_every_item_labelled_only_people_count() -> None:
    of_base, of_candidate = np.round(4 * BASE) / 4, np.round(4 * CANDIDATE) / 4
    everything = Labelled(np.arange(10), of_base, of_candidate)
    found = [drop(judged, 1 - judged, everything).interval(0.05) for judged in (BASE, np.full(10, 0.5))]
    assert found[0].estimate == pytest.approx(1 - of_candidate.mean() / of_base.mean())
    assert (found[0].low, found[0].high) == pytest.approx((found[1].low, found[1].high))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), absolute=st.booleans())
def test_bounds_contain_the_estimate_and_the_order_of_items_does_not_matter(seed: int, absolute: bool) -> None:
    rng = np.random.default_rng(seed)
    base, candidate = rng.random(30), rng.random(30)
    people = Labelled(rng.permutation(30)[:12], rng.integers(0, 5, 12) / 4, rng.integers(0, 5, 12) / 4)
    one = drop(base, candidate, people, absolute=absolute).interval(0.05)
    order = rng.permutation(30)
    mixed = rng.permutation(12)
    moved = Labelled(np.argsort(order)[people.places][mixed], people.base[mixed], people.candidate[mixed])
    other = drop(base[order], candidate[order], moved, absolute=absolute).interval(0.05)
    assert (one.low, one.estimate, one.high) == pytest.approx((other.low, other.estimate, other.high), nan_ok=True)
    assert math.isnan(one.estimate) or one.low <= one.estimate <= one.high


def test_a_single_item_without_a_label_is_left_out() -> None:
    of_base, of_candidate = np.round(4 * BASE) / 4, np.round(4 * CANDIDATE) / 4
    people = Labelled(np.arange(9), of_base[:9], of_candidate[:9])
    one = drop(BASE, CANDIDATE, people).interval(0.05)
    assert one == drop(BASE[:9], CANDIDATE[:9], people).interval(0.05)
    assert one.estimate == pytest.approx(1 - of_candidate[:9].mean() / of_base[:9].mean())
    assert -math.inf < one.low < one.high < math.inf


def test_a_base_that_people_grade_worthless_rules_nothing_out() -> None:
    nothing = Labelled(np.arange(4), np.zeros(4), np.zeros(4))
    found = drop(np.full(10, 0.3), np.full(10, 0.2), nothing).interval(0.05)
    assert math.isnan(found.estimate)
    assert (found.low, found.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("places", "grades", "share", "says"),
    [
        ([0, 0], [1.0, 1.0], 1.0, "names 1 items for 2 grades"),
        ([0, 1], [1.0], 1.0, "names 2 items for 1 grades"),
        ([0], [1.5], 1.0, "a score must be a number from 0 to 1"),
        ([0], [1.0], 0.0, "a share above 0"),
    ],
)
def test_bad_labels_are_refused(places: list[int], grades: list[float], share: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Labelled(np.array(places), np.array(grades), np.array(grades), share)


def test_places_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match="reach from 7 to 10 of 10"):
        drop(BASE, CANDIDATE, Labelled(np.array([7, 10]), np.ones(2), np.ones(2)))
