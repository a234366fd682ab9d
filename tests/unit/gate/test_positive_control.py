"""Answers made wrong on purpose are bad, as many as asked for, and the rest stay as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.domain import Answer, Estimate, Finding, Item, Message, Pair, Status
from ftgate.gate.controls import CORRUPTED_SHARE, corrupt_answers, positive_control_outcome
from ftgate.measurements.corruption import bad_answers
from ftgate.scoring.rules import check, choice, exact
from ftgate.scoring.tool_calls import calls_in


def free(i: int) -> Pair:
    answer = (Answer(text=f"word {i}"),)
    return Pair(Item(f"i{i}", (Message("user", "q"),), answer=f"word {i}"), answer, answer)


def lettered(i: int, probabilities: tuple[float, ...]) -> Pair:
    item = Item(f"i{i}", (Message("user", "q"),), ("a", "b", "c"), "abc"[i % 3])
    turned = [tuple(float(np.log(probabilities[(j + r) % 3])) for j in range(3)) for r in range(2)]
    answers = tuple(Answer(option_logprobs=values) for values in turned)
    return Pair(item, answers, answers)


@given(st.integers(2, 60))
def test_three_in_ten_are_corrupted_and_nothing_else(n: int) -> None:
    pairs = [free(i) for i in range(n)]
    corrupted = corrupt_answers(pairs, np.random.default_rng(0))
    changed = [p for p, q in zip(corrupted, pairs, strict=True) if p.candidate != q.base]
    assert len(changed) == int(np.ceil(CORRUPTED_SHARE * n))
    assert all(exact(p.item, p.candidate[0]) == 0 for p in changed)
    assert all(p.base == q.base for p, q in zip(corrupted, pairs, strict=True))


@given(st.integers(0, 2), st.permutations([0.6, 0.3, 0.1]).map(tuple))
def test_a_corrupted_letter_is_surely_and_steadily_wrong(i: int, probabilities: tuple[float, ...]) -> None:
    pair = lettered(i, probabilities)
    (bad,) = corrupt_answers([pair], np.random.default_rng(0))
    assert choice(bad.item, bad.candidate[0]) == 0
    believed = {
        (int(np.argmax(answer.option_logprobs)) + rotation) % 3 for rotation, answer in enumerate(bad.candidate)
    }
    assert len(believed) == 1, "the same choice in every rotation"
    assert bad.item.choices[believed.pop()] != bad.item.answer
    for answer in bad.candidate:
        assert np.exp(answer.option_logprobs).sum() == pytest.approx(1)
        assert np.exp(max(answer.option_logprobs)) > 0.9


@pytest.mark.parametrize("wanted", [[], [{"name": "weather", "arguments": {}}], {"name": "weather"}])
@pytest.mark.parametrize("read_by_engine", [True, False])
def test_a_corrupted_tool_call_is_wrong_even_where_none_is_wanted(wanted: Any, read_by_engine: bool) -> None:
    item = Item("i", (Message("user", "q"),), check={"tool_call": wanted})
    call = '{"name": "weather", "arguments": {}}'
    answer = Answer(
        "" if wanted and read_by_engine else call if wanted else "It is sunny.",
        tool_calls=(calls_in(call) if wanted else ()) if read_by_engine else None,
    )
    pair = Pair(item, (answer,), (answer,))
    (bad,) = corrupt_answers([pair], np.random.default_rng(0))
    assert check(item, answer) == 1
    assert check(item, bad.candidate[0]) == 0


def of_gain(status: Status, base: float, min_gain: float) -> Finding:
    bounds = {"interval": (-0.04, 0.04), "level": 0.95, "n": 100, "method": "m", "unit": "p.p."}
    estimate = Estimate("target", base, base, 0.0, worse="down", limit=min_gain, **bounds)  # type: ignore[arg-type]
    return Finding(estimate, status, "")


@pytest.mark.parametrize(("base", "min_gain"), [(0.0, -0.05), (0.1, -0.05), (0.0, 0.0)])
def test_a_base_with_no_more_to_lose_than_the_limit_allows_says_nothing_against_the_suite(
    base: float, min_gain: float
) -> None:
    outcome = positive_control_outcome(of_gain(Status.PASS, base, min_gain))
    assert outcome["ok"] is None
    assert outcome["reason"].startswith(f"not run: the base scores {100 * base:.1f} of 100")


@pytest.mark.parametrize(("base", "min_gain"), [(0.2, -0.05), (0.05, 0.0), (0.05, 0.02)])
def test_a_loss_beyond_the_limit_that_passes_fails_the_control(base: float, min_gain: float) -> None:
    outcome = positive_control_outcome(of_gain(Status.PASS, base, min_gain))
    assert outcome["ok"] is False
    assert outcome["reason"].endswith("cannot detect such a loss")


def test_an_answer_that_failed_is_left_as_it_is_and_the_others_are_corrupted() -> None:
    pair = lettered(0, (0.6, 0.3, 0.1))
    failed = Answer(error="too long", finish="error")
    broken = Pair(pair.item, (pair.base[0], failed), (pair.base[0], failed))
    (bad,) = corrupt_answers([broken], np.random.default_rng(0))
    assert bad.candidate[1] == failed
    assert choice(bad.item, bad.candidate[0]) == 0


@pytest.mark.parametrize(
    ("own", "reference", "said", "becomes"),
    [("a", "b", "x", "b"), ("a", None, "x", "x"), ("a", "a", "x", ""), (None, None, "x", "x")],
)
def test_a_free_answer_becomes_the_reference_of_another_item_or_what_was_said_to_it(
    own: str | None, reference: str | None, said: str, becomes: str
) -> None:
    answers = (Answer(text="first"), Answer(text="second", tokens=3))
    pair = Pair(Item("i0", (Message("user", "q"),), answer=own), answers, answers)
    other = Pair(Item("i1", (Message("user", "q"),), answer=reference), (Answer(text=said),), ())
    assert [answer.text for answer in bad_answers(pair, other)] == [becomes] * 2
    assert bad_answers(pair, other)[1].tokens == 3
