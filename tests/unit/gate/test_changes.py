"""Which items a report shows as worse or better."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from support.evidence import items

from ftgate.domain import Answer, Pair
from ftgate.gate.changes import changes_of
from ftgate.gate.result import Result
from ftgate.measurements.forgetting import Forgetting
from ftgate.scoring.scores import PairedScores


def result(base: list[float], candidate: list[float]) -> Result:
    asked = items(len(base))
    pairs = tuple(Pair(item, (Answer(text="was"),), (Answer(text="is"),)) for item in asked)
    scored = PairedScores.exact(asked, np.array(base), np.array(candidate), binary=False)
    finding = SimpleNamespace(estimate=SimpleNamespace(about=None))
    return cast("Result", cast("Any", SimpleNamespace(pairs=pairs, scored=scored, finding=finding)))


def test_a_reader_sees_changes_of_twenty_points_and_more() -> None:
    found = changes_of(
        result([0.9, 0.9, 0.9, 0.5, 0.5], [0.1, 0.7, 0.8, 0.6, 0.8]), Forgetting(dataset="x", scorer="judge")
    )
    assert (found.regressed, found.improved) == (3, 2)
    assert (found.clearly_worse, found.clearly_better) == (2, 1)
    assert [round(e.base_score - e.candidate_score, 6) for e in found.regressions] == [0.8, 0.2]
    assert [e.candidate_score for e in found.improvements] == [0.8]


def test_an_item_that_failed_is_neither_worse_nor_better() -> None:
    lost = result([1.0, 1.0], [0.0, 0.0])
    failed = Answer(finish="error", error="the server went away")
    pairs = (replace(lost.pairs[0], candidate=(failed,)), lost.pairs[1])
    found = changes_of(
        cast("Result", cast("Any", SimpleNamespace(pairs=pairs, scored=lost.scored, finding=lost.finding)))
    )
    assert (found.clearly_worse, [e.item for e in found.regressions]) == (1, [pairs[1].item.id])


def test_a_multiple_choice_item_keeps_its_options() -> None:
    found = changes_of(result([1.0], [0.0]))
    assert found.regressions[0].options == list(items(1)[0].choices or ())
