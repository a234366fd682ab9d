"""Holm's correction: values worked by hand, and what it must never do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.stats.holm import holm, step_down_levels

chances = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 x .005, 3 x .01, 2 x .03, and .04 no less than .06
        ([0.02], [0.02]),
        ([0.02, 0.02, 0.5], [0.06, 0.06, 0.5]),  # equal ones stay equal
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.0, 1.0, 0.5], [0.0, 1.0, 1.0]),
    ],
)
def test_by_hand(p: list[float], adjusted: list[float]) -> None:
    assert holm(p).tolist() == pytest.approx(adjusted)


def test_levels_by_hand() -> None:
    assert step_down_levels([0.03, 0.001, 0.2], 0.05).tolist() == pytest.approx([0.05 / 2, 0.05 / 3, 0.05])
    assert step_down_levels([0.03, 0.03, 0.2], 0.05).tolist() == pytest.approx([0.05 / 3, 0.05 / 3, 0.05])


@given(chances, st.floats(0.001, 0.2))
def test_it_rejects_what_stepping_down_by_hand_rejects(p: list[float], alpha: float) -> None:
    rejected, order = set(), sorted(range(len(p)), key=p.__getitem__)
    for k, i in enumerate(order):
        if p[i] * (len(p) - k) > alpha:
            break
        rejected.add(i)
    adjusted = holm(p)
    assert {i for i in range(len(p)) if adjusted[i] <= alpha} == rejected | {
        i for i in range(len(p)) if any(p[i] == p[j] for j in rejected)
    }


@given(chances, st.randoms(use_true_random=False))
def test_order_does_not_matter_and_nothing_gets_smaller(p: list[float], shuffle) -> None:
    order = list(range(len(p)))
    shuffle.shuffle(order)
    adjusted = holm(p)
    assert (adjusted >= np.array(p) - 1e-15).all()
    assert (adjusted <= 1).all()
    assert (adjusted <= np.minimum(1, len(p) * np.array(p)) + 1e-15).all(), "never stricter than Bonferroni"
    assert holm([p[i] for i in order]).tolist() == adjusted[order].tolist()
    levels = step_down_levels(p, 0.05)
    assert step_down_levels([p[i] for i in order], 0.05).tolist() == levels[order].tolist()


@pytest.mark.parametrize("p", [[0.1, math.nan], [], [-0.1], [1.1], [[0.1]]])
def test_what_is_no_p_value_is_refused(p: list[float]) -> None:
    for call in (lambda: holm(p), lambda: step_down_levels(p, 0.05)):
        with pytest.raises(ValueError, match="p_values"):
            call()
    with pytest.raises(ValueError, match=r"alpha = 0\.5"):
        step_down_levels([0.1], 0.5)
