"""Group-sequential boundaries against the multivariate normal, and against peeking without them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support.reference import crossing_probabilities

from ftgate.stats.power import power_by_simulation
from ftgate.stats.sequential import (
    PLANNED_ERROR,
    Spending,
    boundaries,
    look_size,
    nominal_levels,
    spent,
    spent_in_stages,
)

QUARTERS = (0.25, 0.5, 0.75, 1.0)
Z05 = stats.norm.isf(0.05)


def test_known_boundaries() -> None:
    assert boundaries(QUARTERS) == pytest.approx((3.75, 2.54, 2.02, 1.72), abs=5e-3)
    assert boundaries((1.0,)) == pytest.approx((Z05,), abs=1e-6)
    assert boundaries((1.0,), 0.01, "pocock") == pytest.approx((stats.norm.isf(0.01),), abs=1e-6)


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
@pytest.mark.parametrize("fractions", [(0.5, 1.0), (0.1, 0.35, 1.0), QUARTERS])
def test_against_the_multivariate_normal(spending, fractions: tuple[float, ...]) -> None:
    z, t = boundaries(fractions, 0.05, spending), np.array(fractions)
    correlation = np.sqrt(np.minimum.outer(t, t) / np.maximum.outer(t, t))
    for k in range(1, len(t) + 1):
        stays = stats.multivariate_normal.cdf(z[:k], cov=correlation[:k, :k], abseps=1e-6, releps=1e-6, rng=1)
        assert 1 - stays == pytest.approx(spent(fractions[k - 1], 0.05, spending), abs=2e-5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True), st.sampled_from([0.01, 0.05, 0.1]))
def test_any_schedule_spends_what_it_may(parts: list[int], alpha: float) -> None:
    fractions = [part / 40 for part in sorted(parts)]
    z = boundaries(fractions, alpha)
    assert sum(crossing_probabilities(fractions, z)) == pytest.approx(spent(fractions[-1], alpha), abs=1e-6)
    assert boundaries(fractions[:1], alpha)[0] == pytest.approx(z[0], abs=1e-9)
    assert all(level <= alpha + 1e-9 for level in nominal_levels(z))


def test_nominal_levels() -> None:
    assert nominal_levels((Z05, 3.75)) == pytest.approx((0.05, 8.84e-5), abs=1e-6)


@pytest.mark.parametrize(
    ("fraction", "n", "size"), [(0.25, 201, 51), (0.5, 201, 101), (1.0, 7, 7), (0.01, 5, 1), (0.7, 10, 7)]
)
def test_a_look_takes_whole_items(fraction: float, n: int, size: int) -> None:
    assert look_size(fraction, n) == size


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_share_of_whole_items_is_that_many(part: int, rest: int) -> None:
    assert look_size(part / (part + rest), part + rest) == part


def test_drift_is_the_power() -> None:
    assert sum(crossing_probabilities((1.0,), (Z05,), 2.4865)) == pytest.approx(0.8, abs=1e-4)
    looks = crossing_probabilities(QUARTERS, boundaries(QUARTERS), 2.4865)
    assert 0.76 < sum(looks) < 0.80


def test_peeking_at_the_single_look_boundary_errs_too_often() -> None:
    assert sum(crossing_probabilities(QUARTERS, (Z05,) * 4)) == pytest.approx(0.117, abs=1e-3)


@pytest.mark.parametrize("repetitions", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_looking_early_at_a_candidate_on_the_limit(repetitions: int) -> None:
    """Accuracy 0.8, phi 0.5, true drop exactly 10 %, n = 200: 4.4/5.5 %, and 10.8/12.6 % by peeking."""
    rng = np.random.default_rng(11)
    plan = {"true_drop": 0.10, "repetitions": repetitions, "fractions": QUARTERS}
    proper = power_by_simulation(0.8, 0.5, 0.10, 200, rng, boundaries=boundaries(QUARTERS), **plan)
    peeking = power_by_simulation(0.8, 0.5, 0.10, 200, rng, boundaries=(1.645,) * 4, **plan)
    apart = 0.01 if repetitions < 50_000 else 0.004
    assert (proper.passed, proper.blocked) == (pytest.approx(0.044, abs=apart), pytest.approx(0.055, abs=apart))
    assert (peeking.passed, peeking.blocked) == (pytest.approx(0.108, abs=apart), pytest.approx(0.126, abs=apart))


# A good candidate (drop 0), and bad ones: 48 % is saved at n = 200 where the true drop is 30 %, as much at n = 800
# where it is 19 %.
@pytest.mark.parametrize(
    ("n", "drop", "saved"), [(200, 0.0, 0.22), (800, 0.0, 0.51), (200, 0.3, 0.48), (800, 0.19, 0.48)]
)
def test_what_looking_early_saves(n: int, drop: float, saved: float) -> None:
    found = power_by_simulation(
        0.8,
        0.5,
        0.10,
        n,
        np.random.default_rng(12),
        true_drop=drop,
        fractions=QUARTERS,
        boundaries=boundaries(QUARTERS),
    )
    assert 1 - found.mean_items / n == pytest.approx(saved, abs=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: boundaries(()), "no looks"),
        (lambda: boundaries((0.5, 0.5)), "rise within"),
        (lambda: boundaries((0.5, 1.1)), "got 1.1"),
        (lambda: boundaries((float("nan"),)), "got nan"),
        (lambda: boundaries((1.0,), 0.5), "alpha = 0.5"),
        (lambda: spent(0.5, 0.05, "even"), "spending = 'even'"),  # type: ignore[arg-type]
        (lambda: spent(0.0, 0.05), "fraction = 0.0"),
    ],
)
def test_bad_schedules_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@given(st.floats(0.05, 0.95), st.sampled_from([0.01, 0.05, 0.1]), st.sampled_from(["obrien-fleming", "pocock"]))
def test_stages_spend_no_more_than_alpha(planned: float, alpha: float, spending: Spending) -> None:
    fractions = [planned * quarter for quarter in (0.25, 0.5, 0.75, 1.0)]
    fractions += [planned + (1 - planned) * third for third in (1 / 3, 2 / 3, 1.0)]
    crossed = crossing_probabilities(fractions, boundaries(fractions, alpha, spending, planned))
    assert sum(crossed) == pytest.approx(alpha, abs=1e-6)
    assert sum(crossed[:4]) == pytest.approx(PLANNED_ERROR * alpha, abs=1e-6)


def test_most_of_the_error_is_spent_on_the_planned_items() -> None:
    """200 planned items of 800: known values, and what they were before most of alpha was spent by then."""
    fractions = [0.0625, 0.125, 0.1875, 0.25, 1.0]
    assert boundaries(fractions, 0.05, planned=0.25) == pytest.approx((4.185, 2.856, 2.272, 1.940, 1.958), abs=1e-3)
    assert boundaries(fractions, 0.05)[3] == pytest.approx(3.75, abs=0.01)


@pytest.mark.parametrize(("drop", "decided"), [(0.0, 0.82), (0.2, 0.79)])
def test_planned_items_decide_most_runs(drop: float, decided: float) -> None:
    """As methods, section 4, states: 200 items planned of 800."""
    fractions = [0.0625, 0.125, 0.1875, 0.25, 0.5, 0.75, 1.0]
    staged = boundaries(fractions, planned=0.25)[:4]
    rng = np.random.default_rng(5)
    found = power_by_simulation(
        0.8, 0.5, 0.1, 200, rng, true_drop=drop, repetitions=5000, fractions=QUARTERS, boundaries=staged
    )
    assert 1 - found.inconclusive == pytest.approx(decided, abs=0.02)


@pytest.mark.parametrize("planned", [0.0, -0.1, 1.1, float("nan")])
def test_a_planned_share_is_a_share(planned: float) -> None:
    with pytest.raises(ValueError, match="planned = "):
        spent_in_stages(0.5, 0.05, planned=planned)


@pytest.mark.parametrize(
    "call",
    [
        lambda: spent(0.0, 0.05),
        lambda: spent(1.01, 0.05),
        lambda: spent(0.5, 0.0),
        lambda: spent(0.5, 0.5),
        lambda: spent(0.5, 0.05, "even"),
        lambda: spent_in_stages(0.5, 0.05, planned=0.0),
        lambda: spent_in_stages(0.5, 0.05, planned=1.5),
        lambda: spent_in_stages(0.9, 0.5, planned=0.5),
        lambda: boundaries(()),
        lambda: boundaries((0.5, 0.5)),
        lambda: boundaries((0.5, 0.4)),
        lambda: boundaries((0.0, 1.0)),
        lambda: boundaries((0.5, 1.1)),
    ],
)
def test_what_is_no_schedule_or_level_is_refused(call) -> None:
    with pytest.raises(ValueError, match=r"expected|no looks"):
        call()


@pytest.mark.parametrize("spending", ["obrien-fleming", "pocock"])
def test_all_is_spent_at_the_end_and_six_tenths_by_the_planned_items(spending: Spending) -> None:
    assert spent(1.0, 0.05, spending) == pytest.approx(0.05, abs=1e-9)
    assert spent_in_stages(1.0, 0.05, spending, 0.4) == pytest.approx(0.05)
    assert spent_in_stages(0.4, 0.05, spending, 0.4) == pytest.approx(0.03)
    assert spent_in_stages(0.7, 0.05, spending, 0.4) == pytest.approx(0.04)
    assert spent_in_stages(0.2, 0.05, spending, 0.4) == pytest.approx(spent(0.5, 0.03, spending))
    assert spent_in_stages(0.5, 0.05, spending) == spent(0.5, 0.05, spending)
