"""The base against itself: a flip or two are chance, many are noise, and a steady shift of confidence is seen."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Answer, Item, Message, Pair
from ftgate.gate.controls import TOO_LENIENT, compare_with_itself, failed_aa
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.target import Target
from ftgate.scoring.rules import score_pairs

RULES = EvidenceSettings(alpha=0.0125)
FORGETTING, TARGET, CALIBRATION = Forgetting(dataset="x"), Target(dataset="x"), Calibration(dataset="x")


def compared(first: np.ndarray, again: np.ndarray, m: Any = FORGETTING) -> dict[str, Any]:
    return compare_with_itself(first.astype(float), again.astype(float), m, RULES, 0)


@pytest.mark.parametrize("n", [20, 50, 100, 200])
@pytest.mark.parametrize("measurement", [FORGETTING, TARGET])
def test_one_item_more_or_less_is_chance(n: int, measurement: Any) -> None:
    first = (np.arange(n) < 0.8 * n).astype(float)
    for flipped in ([0], [n - 1], [0, n - 1]):
        again = first.copy()
        again[flipped] = 1 - again[flipped]
        assert compared(first, again, measurement)["ok"], flipped
    assert compared(first, first, measurement)["change"] == 0


def test_many_changes_are_noise_and_a_balance_of_them_is_not() -> None:
    first = (np.arange(100) < 80).astype(float)
    worse, balanced = first.copy(), first.copy()
    worse[:8] = 0
    balanced[[0, 1, 2, 3, 96, 97, 98, 99]] = 1 - balanced[[0, 1, 2, 3, 96, 97, 98, 99]]
    assert not compared(first, worse)["ok"]
    assert compared(first, balanced)["ok"], "it moves nothing"


def test_a_shift_that_is_sure_but_too_small_to_matter_is_no_noise() -> None:
    rng = np.random.default_rng(0)
    first = rng.uniform(0.3, 0.9, 100)
    small, large = compared(first, first - 0.01), compared(first, first - 0.02)
    assert small["ok"], "1.7 % of a tolerance of 10 %"
    assert not large["ok"]
    assert small["p_value"] == large["p_value"] < 0.001


def redrawn(share: float, n: int, rng: np.random.Generator, second: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """A base that is right on 80 %, and gives this share of its answers anew when it is asked again."""
    first, fresh = rng.random(n) < 0.8, rng.random(n) < second
    return first, np.where(rng.random(n) < share, fresh, first)


@pytest.mark.parametrize("share", [0.2, 0.35, 0.5])
@pytest.mark.parametrize("n", [50, 100])
def test_a_sound_base_that_redraws_its_answers_raises_few_false_alarms(share: float, n: int) -> None:
    """At most alpha (here that of one of four measurements), though the mean often moves by a quarter of the limit."""
    rng = np.random.default_rng(1)
    found = [compared(*redrawn(share, n, rng)) for _ in range(150)]
    assert np.mean([abs(each["change"]) >= 0.025 for each in found]) > 0.3
    assert np.mean([not each["ok"] for each in found]) <= 0.04


@pytest.mark.parametrize(("share", "lost"), [(0.0, 0.2), (0.2, 0.3)])
def test_a_second_self_that_differs_is_found(share: float, lost: float) -> None:
    """The second time some right answers are lost, whether others are redrawn or not."""
    rng, found = np.random.default_rng(2), 0
    for _ in range(100):
        first, again = redrawn(share, 100, rng)
        found += not compared(first, again & (rng.random(100) >= lost))["ok"]
    assert found >= 95


def lettered(i: int, confidence: float) -> Pair:
    item = Item(f"i{i}", (Message("user", "q"),), ("a", "b"), "a" if i % 4 else "b")
    sure = Answer(option_logprobs=(math.log(confidence), math.log(1 - confidence)))
    usual = Answer(option_logprobs=(math.log(0.75), math.log(0.25)))
    return Pair(item, (usual,), (sure,))


@pytest.mark.parametrize(("confidence", "ok"), [(0.75, True), (0.752, True), (0.85, False), (0.65, False)])
def test_calibration_sees_a_change_of_confidence_that_changes_no_answer(confidence: float, ok: bool) -> None:
    pairs = [lettered(i, confidence) for i in range(100)]
    scored = score_pairs(lambda _: "choice", pairs)
    assert scored.base.tolist() == scored.candidate.tolist()
    found = compare_with_itself(*CALIBRATION.per_item(pairs, scored), CALIBRATION, RULES, 0)
    assert found["ok"] is ok, found
    assert found["change"] == pytest.approx(0.75 - confidence, abs=1e-9)


def test_a_missing_answer_says_nothing_about_confidence() -> None:
    pairs = [Pair(lettered(0, 0.9).item, (Answer(error="x", finish="error"),), lettered(0, 0.9).candidate)]
    first, again = CALIBRATION.per_item(pairs, score_pairs(lambda _: "choice", pairs))
    assert first.tolist() == [0.5]
    assert again.tolist() != [0.5]


def test_the_noisy_ones_are_named() -> None:
    controls = {"a_a": {"target": {"ok": True}, "tail": {"ok": False}}}
    assert failed_aa(controls) == {"tail"}
    assert TOO_LENIENT["ok"] is None


def test_a_change_is_told_in_percent_of_the_base_or_in_points_as_the_limit_is() -> None:
    first = (np.arange(100) < 80).astype(float)
    worse = first * (np.arange(100) >= 8)
    assert compared(first, worse)["reason"] == "the base against itself changed by 10.0 % on 100 items"
    assert compared(worse, first, TARGET)["reason"] == "the base against itself changed by 8.0 points on 100 items"
    assert compared(worse, first, TARGET)["change"] == pytest.approx(-0.08)
    assert compared(first, worse)["items"] == 100
