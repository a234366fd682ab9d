"""What a run can end in at best: a preflight never calls ready what can only hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.world import World, write_rows

from ftgate.preflight.findings import Preflight

Check = Callable[[World], Preflight]


def rows(n: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"prompt": f"question {i} of {i % 9}", "answer": f"answer {i}", **fields} for i in range(n)]


def choices(n: int, **fields: Any) -> list[dict[str, Any]]:
    return [{**row, "choices": ["a", "b"], "answer": "ab"[i % 2]} for i, row in enumerate(rows(n, **fields))]


def few_graded(world: World) -> None:
    write_rows(world.root / "evals" / "target.jsonl", rows(10))
    world.policy["measurements"]["target"]["scorer"] = "judge"


def test_a_run_with_enough_rows_can_allow_and_says_of_what_nothing(world: World, checked: Check) -> None:
    del world.policy["measurements"]["target"]
    result = checked(world)
    assert (result.best_verdict.verdict, result.best_verdict.reasons, result.exit_code) == ("allow", (), 0)
    assert result.not_measured == ("target", "safety", "tools")


def test_a_measurement_that_can_never_pass_leaves_a_hold_at_best(world: World, checked: Check) -> None:
    few_graded(world)
    result = checked(world)
    assert str(result.best_verdict) == "at best a hold: target can never pass"
    assert (result.problems, result.exit_code) == ((), 4)


@pytest.mark.parametrize(
    ("tier", "rule", "verdict", "code"),
    [
        ("blocking", "block", "block", 1),
        ("supporting", "block", "hold", 4),
        ("supporting", "hold", "hold", 4),
        ("advisory", "block", "allow", 0),
    ],
)
def test_what_it_costs_is_what_the_tier_says(
    tier: str, rule: str, verdict: str, code: int, world: World, checked: Check
) -> None:
    few_graded(world)
    world.policy["measurements"]["target"]["tier"] = tier
    world.policy["evidence"]["on_inconclusive"] = rule
    result = checked(world)
    assert (result.best_verdict.verdict, result.exit_code) == (verdict, code)


def test_a_smoke_test_allows_nothing(world: World, checked: Check) -> None:
    world.policy["evidence"]["smoke_test"] = 20
    result = checked(world)
    assert str(result.best_verdict) == "at best a hold: a smoke test, with at most 20 items of each suite"
    assert result.exit_code == 4


def test_rows_that_were_trained_on_may_leave_too_few(world: World, checked: Check) -> None:
    asked = choices(520)
    write_rows(world.root / "evals" / "choices.jsonl", asked)
    write_rows(world.root / "evals" / "train.jsonl", [{"prompt": row["prompt"]} for row in asked[:60]])
    assert str(checked(world).best_verdict) == "at best a hold: calibration can never pass"


@pytest.mark.parametrize(("n", "refused"), [(4, True), (5, False)])
def test_a_tail_of_so_few_rows_that_not_even_a_total_loss_blocks_is_refused(
    n: int, refused: bool, world: World, checked: Check
) -> None:
    write_rows(world.root / "evals" / "queries.jsonl", choices(n, tags=["tail"]))
    result = checked(world)
    found = f"measurements.tail can neither pass nor block: it has {n} rows, and a pass needs at least 19"
    assert [p.message for p in result.problems] == ([found] if refused else [])
    assert result.exit_code == (2 if refused else 4)


def test_answers_that_are_cut_before_they_are_right_can_never_pass(world: World, checked: Check) -> None:
    long = [{"prompt": f"question {i}", "answer": "t1 " * 90 + f"t{i % 32}"} for i in range(200)]
    write_rows(world.root / "evals" / "target.jsonl", long)
    world.policy["measurements"]["target"]["scorer"] = "exact"
    result = checked(world)
    assert result.warnings == (
        "measurements.target: the reference has more tokens than max_tokens 64 in 200 of 200 rows, and an answer is "
        "cut there, so that it cannot be right; set measurements.target.max_tokens to 91, as the longest has",
    )
    assert result.exit_code == 4
    world.policy["measurements"]["target"]["max_tokens"] = 91
    assert checked(world).warnings == ()


@pytest.mark.parametrize(
    ("scorer", "long", "warned"), [("rouge", 30, True), ("rouge", 20, False), ("judge", 200, False)]
)
def test_some_long_answers_are_warned_of_where_a_rule_compares_them(
    scorer: str, long: int, warned: bool, world: World, checked: Check
) -> None:
    asked = [{"prompt": f"question {i}", "answer": "t1 " * (90 if i < long else 9) + f"t{i % 32}"} for i in range(200)]
    write_rows(world.root / "evals" / "target.jsonl", asked)
    world.policy["measurements"]["target"]["scorer"] = scorer
    result = checked(world)
    assert [f"in {long} of 200 rows" in text and "lowers every score" in text for text in result.warnings] == (
        [True] * warned
    )
    assert result.exit_code == 0


SAME = [{"prompt": f"question {i}", "choices": ["yes", "no"], "answer": "yes"} for i in range(200)]
FIRST = [{"prompt": f"question {i}", "choices": [f"r{i}", f"w{i}"], "answer": f"r{i}"} for i in range(200)]


@pytest.mark.parametrize(
    ("asked", "scorer", "named"),
    [
        (SAME, "choice", "all of its 200 rows have the answer 'yes'"),
        (FIRST, "choice", "all of its 200 rows have the answer option A"),
        (SAME, "exact", "all of its 200 rows have the answer 'yes'"),
        ([*SAME[:190], *choices(10)], "choice", "195 of its 200 rows have the answer option A"),
        (choices(200), "choice", ""),
        (FIRST, "exact", ""),
        (SAME, "judge", ""),
    ],
)
def test_a_suite_on_which_a_constant_answer_is_right_is_warned_of(
    asked: list[dict[str, Any]], scorer: str, named: str, world: World, checked: Check
) -> None:
    write_rows(world.root / "evals" / "target.jsonl", asked)
    world.policy["measurements"]["target"]["scorer"] = scorer
    warnings = [text for text in checked(world).warnings if "always says so" in text]
    assert [named in text for text in warnings] == [True] * bool(named)


def test_long_answers_that_only_begin_alike_are_not_constant(world: World, checked: Check) -> None:
    asked = [{"prompt": f"question {i}", "answer": "t1 " * 40 + f"t{i}"} for i in range(200)]
    write_rows(world.root / "evals" / "target.jsonl", asked)
    world.policy["measurements"]["target"]["scorer"] = "exact"
    assert checked(world).warnings == ()
