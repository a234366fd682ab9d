"""The temperature that repairs confidence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from ftgate.stats.temperature import HIGHEST, LOWEST, best_temperature


def drawn(n: int, heat: float, seed: int = 0) -> tuple[list[np.ndarray], list[int]]:
    """Answers by calibrated probabilities, and what a model says that sharpens them by ``heat``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 4)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    said = true**heat / (true**heat).sum(axis=1, keepdims=True)
    return list(said), [int(rng.choice(4, p=row)) for row in true]


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.5])
def test_it_undoes_what_sharpened_the_probabilities(heat: float) -> None:
    assert best_temperature(*drawn(4000, heat)) == pytest.approx(heat, rel=0.1)


def test_a_value_worked_by_hand() -> None:
    # 80 of 100 right at confidence 0.9: ln(0.8 / 0.2) = ln(0.9 / 0.1) / T.
    assert best_temperature([[0.9, 0.1]] * 100, [0] * 80 + [1] * 20) == pytest.approx(
        math.log(9) / math.log(4), rel=1e-6
    )


@given(st.integers(0, 1000), st.floats(0.4, 3))
@settings(max_examples=10, deadline=None)
def test_against_another_minimiser(seed: int, heat: float) -> None:
    said, truth = drawn(200, heat, seed)

    def loss(log_t: float) -> float:
        powered = np.array(said) ** math.exp(-log_t)
        return float(-np.log((powered / powered.sum(axis=1, keepdims=True))[np.arange(200), truth]).mean())

    found = minimize_scalar(
        loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded", options={"xatol": 1e-9}
    )
    assert math.log(best_temperature(said, truth)) == pytest.approx(found.x, abs=1e-4)


def test_items_may_have_different_numbers_of_options_and_zeros() -> None:
    assert math.isfinite(best_temperature([[0.7, 0.3], [0.5, 0.5, 0.0], [1.0, 0.0]], [0, 2, 1]))


def test_a_model_that_is_always_right_has_no_best_temperature() -> None:
    assert best_temperature([[0.9, 0.1]] * 5, [0] * 5) == pytest.approx(LOWEST, rel=1e-6)


@pytest.mark.parametrize(("rows", "truth"), [([], []), ([[0.5, 0.5]], [2]), ([[0.5, 0.5]], [0, 1])])
def test_bad_input_is_named(rows: list[list[float]], truth: list[int]) -> None:
    with pytest.raises(ValueError):
        best_temperature(rows, truth)
