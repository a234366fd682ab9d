"""A search for crashes and for passes that should not be, through comparison and decision of every measurement."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.evidence import described, items

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Answer, Finding, Item, Pair, Status
from ftgate.measurements.base import Evidence, JudgeValidation, Measurement
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.tail import Tail
from ftgate.measurements.tail_map import TailMap
from ftgate.measurements.target import Target
from ftgate.scoring.rules import bounded
from ftgate.verdict import assess

ALL: tuple[Measurement, ...] = (
    Target(dataset="x", min_gain=-0.05),
    Forgetting(dataset="x"),
    Tail(dataset="x"),
    Calibration(dataset="x", rotations=1, min_items=59),
)
TAGS = ("ambiguous", "code", "difficulty:hard")
logprob = st.one_of(
    st.sampled_from([-math.inf, 0.0, -0.7, math.nan, 3.0, math.inf]), st.floats(-40, 0), st.floats(-3, -0.5)
)
answer = st.builds(
    lambda values, error: Answer(text="x", option_logprobs=tuple(values), error=error, tokens=1),
    st.lists(logprob, min_size=4, max_size=4),
    st.sampled_from([None] * 9 + ["broken"]),
)


@st.composite
def rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What is known of each item: its bounds for both models, answers, tags, cluster and distance."""
    n = draw(st.integers(1, 70))
    graded = draw(st.booleans())
    score = st.floats(0, 1) if graded else st.sampled_from([0.0, 1.0])
    ends = st.one_of(st.tuples(score).map(lambda one: one * 2), st.just((0.0, 1.0)))
    kinds = st.fixed_dictionaries(
        {
            "base": ends,
            "candidate": ends,
            "answers": st.tuples(answer, answer),
            "tags": st.lists(st.sampled_from(TAGS), max_size=2, unique=True).map(tuple),
            "cluster": st.sampled_from(draw(st.sampled_from([[None], [None, "a", "b"], ["a"]]))),
            "distance": st.sampled_from([0.1, 0.5, 0.9]),
        }
    )
    few = draw(st.lists(kinds, min_size=1, max_size=6))
    table = [few[i % len(few)] for i in range(n)]  # many alike, as at a ceiling
    return [{**row, "id": i, "graded": graded} for i, row in enumerate(table)]


def compared(
    measurement: Measurement, table: list[dict[str, Any]], *, fit: JudgeValidation | None, located: bool
) -> Finding:
    ids = [row["id"] for row in table]
    plain = items(max(ids) + 1)
    asked: tuple[Item, ...] = tuple(
        Item(f"i{r['id']}", plain[r["id"]].messages, plain[0].choices, "a", r["tags"], r["cluster"]) for r in table
    )
    binary = not table[0]["graded"]
    scored = bounded(asked, [r["base"] for r in table], [r["candidate"] for r in table], binary=binary)
    pairs = tuple(Pair(i, (r["answers"][0],), (r["answers"][1],)) for i, r in zip(asked, table, strict=True))
    distances = tuple(r["distance"] for r in table)
    tail = TailMap(tuple(i.id for i in asked), distances, distances, 1, 9, "given") if located else None
    evidence = Evidence(pairs, scored, 0.04, 200, tail, None if binary else fit, overall_alpha=0.05)
    return assess(described(measurement, evidence, 1), EvidenceSettings())


fitnesses = st.sampled_from(
    [
        None,
        JudgeValidation(True, "fit", 1.0, 0.9, 0.6, 0.0, 0.0, 0.3, 0.01, 60, 60),
        JudgeValidation(False, "too coarse", 0.6, 0.5, 0.1, 0.0, 0.0, 0.3, 0.01, 60, 60),
    ]
)


@pytest.mark.parametrize("measurement", ALL, ids=lambda m: m.name)
@settings(max_examples=60, deadline=None)
@given(rows(), fitnesses, st.booleans(), st.randoms(use_true_random=False))
def test_every_input_has_a_defined_result_that_does_not_depend_on_the_order(
    measurement: Measurement, table: list[dict[str, Any]], fit: JudgeValidation | None, located: bool, shuffle: Any
) -> None:
    found = compared(measurement, table, fit=fit, located=located)
    estimate = found.estimate
    if found.status in (Status.PASS, Status.WARN):
        good = (
            estimate.interval[0] > estimate.limit if estimate.worse == "down" else estimate.interval[1] < estimate.limit
        )
        assert good
        assert estimate.n >= estimate.least_n
        assert not estimate.cannot_pass
        assert estimate.invalid_reason is None
    if math.isfinite(estimate.change):
        assert estimate.interval[0] <= estimate.change + 1e-12
        assert estimate.change <= estimate.interval[1] + 1e-12
    assert estimate.needed_n is None or estimate.needed_n > estimate.n
    for part in estimate.slices:
        assert part.interval is None or part.interval[0] <= part.interval[1]
    moved = list(table)
    shuffle.shuffle(moved)
    again = compared(measurement, moved, fit=fit, located=located)
    assert again.status is found.status
    # Which failure is named is left out: it is the file's first.
    first, second = asdict(estimate), asdict(again.estimate)  # as dictionaries, in which NaN equals NaN
    for name in first.keys() - {"invalid_reason"}:
        np.testing.assert_equal(second[name], first[name])
