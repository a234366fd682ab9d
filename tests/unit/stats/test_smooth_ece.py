"""The calibration error without bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from scipy.optimize import brentq
from scipy.stats import norm

from ftgate.stats.smooth_ece import smooth_ece


def reference(confidence: np.ndarray, correct: np.ndarray) -> float:
    """The definition itself, every item for itself on a fine grid."""
    t = np.linspace(0, 1, 2001)

    def smoothed(width: float) -> float:
        kernel = sum(
            norm.pdf((t[:, None] - s * confidence[None, :] - i) / width) / width for i in (-2, 0, 2) for s in (1, -1)
        )
        return float(trapezoid(np.abs(kernel @ (confidence - correct)) / len(confidence), t))

    return float(brentq(lambda width: smoothed(width) - width, 1e-3, 2.0, xtol=1e-6))


@pytest.mark.parametrize("shift", [0.05, 0.15, -0.2])
def test_against_the_definition(shift: float) -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1.0, 300)
    correct = (rng.random(300) < np.clip(confidence - shift, 0, 1)).astype(float)
    assert smooth_ece(confidence, correct) == pytest.approx(reference(confidence, correct), abs=2e-3)


def test_values_worked_by_hand() -> None:
    assert smooth_ece([0.8] * 100, [1] * 80 + [0] * 20) == pytest.approx(0, abs=1e-9)
    assert smooth_ece([0.9] * 10, [1, 0] * 5) == pytest.approx(0.4, abs=1e-6)
    assert smooth_ece([1.0] * 4, [0] * 4) == pytest.approx(1.0, abs=1e-6)


def test_a_calibrated_model_shows_less_and_less_of_it() -> None:
    rng = np.random.default_rng(1)
    found = []
    for n in (200, 2000, 20_000):
        confidence = rng.uniform(0.3, 1.0, n)
        found.append(smooth_ece(confidence, (rng.random(n) < confidence).astype(float)))
    assert found[0] < 0.08
    assert found[2] < 0.015
    assert found == sorted(found, reverse=True)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
@settings(max_examples=20, deadline=None)
def test_it_is_a_share_and_at_least_the_gap_of_the_means(rows: list[tuple[float, bool]]) -> None:
    confidence, correct = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    found = smooth_ece(confidence, correct)
    assert abs(confidence.mean() - correct.mean()) - 2e-3 <= found <= 1.0


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="confidence"):
        smooth_ece([1.2], [1])
