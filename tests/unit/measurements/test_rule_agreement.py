"""Rules beside the judge: a second opinion on the graded rows that carry a check."""

from __future__ import annotations

import numpy as np
import pytest

from ftgate.domain import Answer, Item, Message, Pair
from ftgate.measurements.base import Evidence
from ftgate.measurements.rule_agreement import rule_agreement
from ftgate.scoring.scores import PairedScores
from ftgate.stats.seeding import generator


def pair(i: int, base: str, candidate: str, *, checked: bool = True) -> Pair:
    check = {"numeric": 7} if checked else None
    item = Item(f"i{i}", (Message("user", "q"),), check=check)
    return Pair(item, (Answer(text=base),), (Answer(text=candidate),))


def evidence(pairs: list[Pair], base: list[float], candidate: list[float], *, graded: bool = True) -> Evidence:
    items = tuple(p.item for p in pairs)
    scored = PairedScores.exact(items, np.array(base), np.array(candidate), binary=not graded)
    return Evidence(tuple(pairs), scored, 0.05, 200)


def test_the_drop_by_rule_and_the_agreement() -> None:
    pairs = [pair(i, "7", "7" if i % 2 else "8") for i in range(40)] + [pair(99, "7", "8", checked=False)]
    grades = [0.9 if i % 2 else 0.2 for i in range(40)]
    (part,), details = rule_agreement(evidence(pairs, [0.9] * 41, [*grades, 0.0]), generator(0, "rules"))
    assert (part.n, part.base, part.candidate, part.change) == (40, 1.0, 0.5, 0.5)
    assert part.interval is not None
    assert part.interval[0] < 0.5 < part.interval[1]
    assert details["judge_against_rules"]["auroc"] == 1.0
    assert 0.8 < details["judge_against_rules"]["auroc_low"] < 1


def test_a_judge_that_prefers_wrong_answers_is_seen() -> None:
    pairs = [pair(i, "7", "8") for i in range(30)]
    _, details = rule_agreement(evidence(pairs, [0.1] * 30, [0.9] * 30), generator(0, "rules"))
    assert details["judge_against_rules"]["auroc"] == 0.0


def test_answers_all_alike_tell_nothing_about_the_judge() -> None:
    pairs = [pair(i, "7", "7") for i in range(30)]
    (part,), details = rule_agreement(evidence(pairs, [0.9] * 30, [0.8] * 30), generator(0, "rules"))
    assert part.change == 0
    assert details["judge_against_rules"] == {"rows": 30, "auroc": None, "auroc_low": None}


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_are_left_out(n: int) -> None:
    pairs = [pair(i, "7", "7") for i in range(n)] + [pair(5, "a", "b", checked=False)]
    assert rule_agreement(evidence(pairs, [0.5] * (n + 1), [0.5] * (n + 1)), generator(0, "rules")) == ((), {})


def test_what_a_rule_scored_already_has_no_second_opinion() -> None:
    pairs = [pair(i, "7", "7") for i in range(30)]
    assert rule_agreement(evidence(pairs, [1.0] * 30, [1.0] * 30, graded=False), generator(0, "rules")) == ((), {})


def test_with_several_answers_those_count_that_agree_among_themselves() -> None:
    right, wrong, torn = ("7", "7"), ("8", "8"), ("7", "8")
    sides = [(right, right), (right, wrong), (right, torn), (torn, torn)] * 10
    items = [Item(f"i{i}", (Message("user", "q"),), check={"numeric": 7}) for i in range(40)]
    pairs = [
        Pair(item, *(tuple(Answer(text=text) for text in texts) for texts in both))
        for item, both in zip(items, sides, strict=True)
    ]
    grades = {right: 0.9, wrong: 0.2, torn: 0.1}
    graded = evidence(pairs, [grades[b] for b, _ in sides], [grades[c] for _, c in sides])
    (part,), details = rule_agreement(graded, generator(0, "rules"))
    assert (part.base, part.candidate) == (0.875, 0.5)
    assert part.interval is not None
    assert part.interval[0] < part.change < part.interval[1]
    assert details["judge_against_rules"]["auroc"] == 1.0, "an item of which one answer is right is neither"
