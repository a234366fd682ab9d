"""Sample sizes: the reference table, and what simulation says about it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.stats.power import (
    evidence_floor,
    items_for_contrast,
    items_needed,
    needed_n,
    paired_accuracy,
    power_by_simulation,
)


def test_evidence_floor() -> None:
    assert [evidence_floor(t) for t in (0.05, 0.08, 0.10, 0.15)] == [59, 36, 29, 19]
    for t in (0.05, 0.08, 0.10, 0.15, 0.5):
        n = evidence_floor(t)
        assert (1 - t) ** n <= 0.05 < (1 - t) ** (n - 1)


def test_reference_table() -> None:
    assert [items_needed(p, 0.5, 0.10) for p in (0.5, 0.7, 0.8, 0.9, 0.95)] == [563, 242, 141, 63, 30]


def test_floor_limits_the_formula() -> None:
    assert items_needed(0.99, 0.9, 0.05) == 59


def test_formula_holds_away_from_the_ceiling_and_is_optimistic_near_it() -> None:
    rng = np.random.default_rng(1)
    assert power_by_simulation(0.5, 0.5, 0.10, 563, rng).passed == pytest.approx(0.80, abs=0.03)
    near = power_by_simulation(0.95, 0.5, 0.10, 30, rng)
    assert near.passed < 0.65
    assert near.passed + near.blocked + near.inconclusive == pytest.approx(1)
    assert near.mean_items == 30


def test_looks_are_at_as_many_items_as_the_gate_asks() -> None:
    """A quarter of 114 is 29 items, rounded up: from there on a pass is possible, and 28 would be none."""
    found = power_by_simulation(
        0.999, 0.9, 0.10, 114, np.random.default_rng(2), fractions=(0.25, 1.0), boundaries=(1.645, 1.645)
    )
    assert found.mean_items < 40


def test_no_pass_below_the_evidence_floor() -> None:
    assert power_by_simulation(0.99, 0.9, 0.10, 28, np.random.default_rng(2)).passed == 0


def test_the_bare_rule_of_the_article_blocks_good_candidates() -> None:
    """Accuracy 0.8, phi 0.5, n = 200: a true drop of 8 % exceeds 10 % in the sample more than a quarter of the time."""
    rng = np.random.default_rng(3)
    rates = [
        power_by_simulation(0.8, 0.5, 0.10, 200, rng, true_drop=d, repetitions=20_000, boundaries=(0.0,)).blocked
        for d in (0.08, 0.10)
    ]
    assert rates == [pytest.approx(0.28, abs=0.03), pytest.approx(0.5, abs=0.04)]


@given(st.floats(0.05, 0.95), st.floats(-0.3, 0.9), st.floats(-0.2, 0.4))
def test_joint_chances_have_the_asked_margins(base: float, phi: float, drop: float) -> None:
    try:
        found = paired_accuracy(base, phi, drop)
    except ValueError:
        return
    both, gained, lost, neither = found.cells()
    assert min(both, gained, lost, neither) >= 0
    assert both + gained + lost + neither == pytest.approx(1)
    assert both + gained == pytest.approx(base * (1 - drop))
    assert both + lost == pytest.approx(base)


def test_graded_scores_use_the_same_formula() -> None:
    assert items_for_contrast(0.1456, 0.8, 0.10) == 141
    assert items_for_contrast(0.1456, 0.8, 0.10, true_drop=0.2) == 141


@pytest.mark.parametrize(
    ("interval", "limit", "expected"),
    [
        ((0.04, 0.00, 0.12), 0.10, 178),  # 100 (0.08 / 0.06)^2
        ((0.12, 0.08, 0.20), 0.10, 401),  # 100 (0.04 / 0.02)^2, and one more to be clear of it
        ((0.10, 0.05, 0.15), 0.10, None),
        ((0.02, -math.inf, math.inf), 0.10, None),
        ((-math.inf, -math.inf, 1.0), 0.10, None),
        ((0.02, 0.00, 0.05), 0.10, 100),
        ((0.05, 0.01, 0.09), 0.00, 100),
        ((0.0999999999, 0.0, 0.2), 0.10, None),
    ],
)
def test_needed_n(interval: tuple[float, float, float], limit: float, expected: int | None) -> None:
    assert needed_n(100, *interval, limit) == expected


def test_needed_n_respects_the_floor() -> None:
    assert needed_n(10, 0.0, -0.01, 0.01, 0.10, least=29) == 29


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: evidence_floor(0.0), "limit = 0.0"),
        (lambda: evidence_floor(0.1, 0.7), "alpha = 0.7"),
        (lambda: items_needed(1.0, 0.5, 0.1), "base_accuracy = 1.0"),
        (lambda: items_needed(0.8, 0.99, 0.1, true_drop=0.3), "phi = 0.99 is impossible"),
        (lambda: items_needed(0.8, 0.5, 0.1, true_drop=0.1), "lies on the limit"),
        (lambda: items_needed(0.8, 0.5, 0.1, true_drop=-0.5), "is no share"),
        (lambda: power_by_simulation(0.8, 0.5, 0.1, 1, np.random.default_rng(0)), "n = 1"),
        (
            lambda: power_by_simulation(0.8, 0.5, 0.1, 9, np.random.default_rng(0), boundaries=(1.0, 2.0)),
            "do not match",
        ),
    ],
)
def test_bad_plans_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
