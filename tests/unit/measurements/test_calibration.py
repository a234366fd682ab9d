"""Calibration from answers: option probabilities that are none say nothing, and must not pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.evidence import decided, evidence_of, items

from ftgate.domain import Answer, Finding, Pair, Status
from ftgate.measurements.base import failure_of
from ftgate.measurements.calibration import Calibration
from ftgate.scores import Scored

CALIBRATION = Calibration(dataset="c", rotations=1)
NAN = Answer(option_logprobs=(math.nan,) * 4)
SPREAD = Answer(option_logprobs=(math.log(0.02),) * 4)


def said(n: int) -> list[Answer]:
    """Calibrated answers: sure of one option by 0.7, and right seven times in ten."""
    rest = math.log(0.1)
    right, wrong = (math.log(0.7), rest, rest, rest), (rest, math.log(0.7), rest, rest)
    return [Answer(option_logprobs=right if i % 10 < 7 else wrong) for i in range(n)]


def found(answers: list[Answer], base: list[Answer] | None = None) -> Finding:
    asked = items(len(answers))
    scored = Scored.exact(asked, np.ones(len(asked)), np.ones(len(asked)), binary=True)
    pairs = tuple(Pair(i, (b,), (c,)) for i, b, c in zip(asked, base or answers, answers, strict=True))
    return decided(CALIBRATION, evidence_of(scored, pairs=pairs, draws=2000))


def test_good_answers_pass() -> None:
    assert found(said(600)).status is Status.PASS


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (NAN, "not a number"),
        (Answer(option_logprobs=(0.5, 0.9, math.nan, -1.0)), "not a number"),
        (Answer(option_logprobs=(1.5, 1.9, 1.0, 1.0)), "sum to"),
        (Answer(option_logprobs=(math.inf, -1.0, -1.0, -1.0)), "sum to"),
        (Answer(option_logprobs=(-0.1, -0.1, -9.0, -9.0)), "sum to 1.81"),
        (Answer(error="the prompt has 9000 tokens", finish="error"), "9000 tokens"),
    ],
)
def test_probabilities_that_are_none_count_as_failures(bad: Answer, named: str) -> None:
    """As many items as are needed would be left, but what was left out may be what went wrong."""
    finding = found([*said(600), *[bad] * 300])
    assert finding.status is Status.INCONCLUSIVE
    assert "300 of 900 items could not be answered" in finding.reason
    assert named in finding.reason
    assert finding.claim.n == 600
    few = found([*said(600), *[bad] * 6])
    assert (few.status, few.claim.n) == (Status.PASS, 600)
    assert found([bad] * 600).status is Status.INCONCLUSIVE


def test_letters_that_the_model_does_not_use_are_a_doubt() -> None:
    finding = found([SPREAD] * 600)
    assert finding.status is Status.INCONCLUSIVE
    assert "only 8 % of its probability" in finding.reason


def test_rounding_is_no_failure_and_certainty_is_none() -> None:
    assert failure_of(Answer(option_logprobs=(1e-4, -math.inf, -math.inf))) is None
    assert failure_of(Answer(option_logprobs=(0.0, -math.inf))) is None
    assert failure_of(Answer(text="no options at all")) is None


def test_another_number_of_probabilities_than_of_options_is_named() -> None:
    with pytest.raises(ValueError, match=r"item 'i3': 2 log-probabilities for 4 options"):
        found([*said(3), Answer(option_logprobs=(-1.0, -1.0)), *said(3)])
