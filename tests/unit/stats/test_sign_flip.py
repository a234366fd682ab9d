"""The sign-flip test: values by hand, what must not matter, and its level."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ftgate.stats.seeding import generator
from ftgate.stats.sign_flip import MOST_EXACT, sign_flip_p


def p_of(differences: object) -> float:
    return sign_flip_p(differences, generator(0, "signs"))  # type: ignore[arg-type]


def test_by_hand() -> None:
    assert p_of([1, 1, 1]) == 2 / 8
    assert p_of([1, 1, -1, 0, 0]) == 1.0, "1 or -1 either way"
    # Of 3, 2 and 1 the sums 6 and -6 alone reach 6, and 4 is reached by 3 + 2 - 1 as well.
    assert (p_of([3, 2, 1]), p_of([3, 2, -1])) == (2 / 8, 4 / 8)
    assert p_of([]) == p_of([0.0] * 40) == 1.0


@pytest.mark.parametrize(("up", "down"), [(9, 1), (30, 10), (60, 40), (13, 0)])
def test_equal_differences_give_the_sign_test(up: int, down: int) -> None:
    exact = stats.binomtest(up, up + down).pvalue
    assert p_of([0.25] * up + [-0.25] * down + [0.0] * 50) == pytest.approx(exact, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1), max_size=MOST_EXACT), st.randoms(use_true_random=False))
def test_neither_order_nor_direction_matters(values: list[float], shuffle) -> None:
    moved = list(values)
    shuffle.shuffle(moved)
    found = p_of(values)
    assert 2 ** -len(values) <= found <= 1
    assert p_of(moved) == p_of([-value for value in values]) == found


def test_its_level_holds() -> None:
    draw = np.random.default_rng(3)
    found = np.array(
        [p_of(draw.normal(size=(n := int(draw.integers(3, 40)))) * draw.exponential(size=n)) for _ in range(400)]
    )
    assert np.mean(found <= 0.05) <= 0.08
    assert np.mean(found <= 0.5) == pytest.approx(0.5, abs=0.09)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: p_of([0.1, math.nan]), r"differences\[1\] = nan"),
        (lambda: sign_flip_p([1.0], generator(0, ""), draws=10), "draws = 10"),
    ],
)
def test_bad_input_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
