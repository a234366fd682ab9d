"""Calibration from answers: option probabilities that are none say nothing, and must not pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.evidence import decided, evidence_of, items

from ftgate.domain import Answer, Finding, Pair, Status
from ftgate.measurements.calibration import PASS_FACTOR, PASS_FACTOR_MISCALIBRATED, Calibration
from ftgate.measurements.confidence import Confidences, from_options
from ftgate.scoring.rules import failure_of
from ftgate.scoring.scores import PairedScores

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
    scored = PairedScores.exact(asked, np.ones(len(asked)), np.ones(len(asked)), binary=True)
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
    assert "300 of 900 items failed" in finding.reason
    assert named in finding.reason
    assert finding.estimate.n == 600
    few = found([*said(600), *[bad] * 6])
    assert (few.status, few.estimate.n) == (Status.PASS, 600)
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


def read(*rotations: tuple[float, ...]) -> Confidences:
    """What one model believes about one item of four options, the first right, from its probabilities by rotation."""
    answers = tuple(Answer(option_logprobs=tuple(math.log(p) for p in row)) for row in rotations)
    return from_options([(items(1)[0], answers)])


def test_confidence_is_the_share_of_all_letters_and_their_mass_is_kept() -> None:
    beliefs = read((0.4, 0.2, 0.1, 0.1))
    assert beliefs.options is not None
    assert beliefs.confidence.tolist() == pytest.approx([0.5])
    assert beliefs.options.mass.tolist() == pytest.approx([0.8])
    assert beliefs.correct.tolist() == [1.0]


def test_rotations_are_turned_back_and_averaged() -> None:
    """Letter j of rotation r is choice j + r: here .7 for the first choice both times, then a love of the letter A."""
    assert read((0.7, 0.1, 0.1, 0.1), (0.1, 0.1, 0.1, 0.7)).confidence.tolist() == pytest.approx([0.7])
    torn = read((0.7, 0.1, 0.1, 0.1), (0.7, 0.1, 0.1, 0.1))
    assert torn.confidence.tolist() == pytest.approx([0.4])
    assert torn.options is not None
    assert torn.options.probabilities[0].tolist() == pytest.approx([0.4, 0.4, 0.1, 0.1])


def with_mass(n: int, mass: float) -> list[Answer]:
    shift = math.log(mass)
    return [Answer(option_logprobs=tuple(p + shift for p in answer.option_logprobs)) for answer in said(n)]


@pytest.mark.parametrize(
    ("base", "candidate", "notes"),
    [
        (0.95, 0.92, ()),
        (0.99, 0.89, ("the candidate puts only 89 %", "differ in letter mass: 99 % and 89 %")),
        (0.99, 0.93, ("differ in letter mass",)),
        (0.88, 0.88, ("the base puts only 88 %", "the candidate puts only 88 %")),
    ],
)
def test_letter_mass_below_nine_tenths_or_unlike_between_the_models_is_flagged(
    base: float, candidate: float, notes: tuple[str, ...]
) -> None:
    shown = found(with_mass(600, candidate), with_mass(600, base)).estimate.details["notes"]
    assert len(shown) == len(notes)
    assert all(part in note for part, note in zip(notes, shown, strict=True))


@pytest.mark.parametrize(("n", "status"), [(500, Status.PASS), (490, Status.INCONCLUSIVE)])
def test_fewer_than_five_hundred_items_never_pass(n: int, status: Status) -> None:
    finding = found(said(n))
    assert finding.status is status
    assert status is Status.PASS or "490 items are too few to pass:" in finding.reason


def test_a_gap_that_no_bin_shows_forbids_a_pass() -> None:
    """The base errs as much to one side as the candidate to the other: the same ECE, a signed gap 0.12 higher."""
    shy, sure = math.log(0.64), math.log(0.76)
    right = [answer.option_logprobs[0] > answer.option_logprobs[1] for answer in said(4000)]

    def at(top: float) -> list[Answer]:
        rest = math.log((1 - math.exp(top)) / 3)
        return [Answer(option_logprobs=(top, rest, rest, rest) if r else (rest, top, rest, rest)) for r in right]

    finding = found(at(sure), at(shy))
    assert finding.estimate.change == pytest.approx(0, abs=0.02)
    assert finding.status is Status.INCONCLUSIVE
    assert "its overconfidence (the signed confidence gap) may have risen by" in finding.reason


def sure_by(top: float, right: float, n: int) -> list[Answer]:
    """Answers sure of one option by ``top`` and right in this share."""
    rest = math.log((1 - top) / 3)
    good, bad = (math.log(top), rest, rest, rest), (rest, math.log(top), rest, rest)
    return [Answer(option_logprobs=good if (i * 37) % n < right * n else bad) for i in range(n)]


def test_underconfidence_forbids_a_pass_as_overconfidence_does() -> None:
    finding = found(sure_by(0.7, 0.76, 4000), sure_by(0.7, 0.64, 4000))
    assert finding.estimate.change == pytest.approx(0, abs=0.02)
    assert finding.status is Status.INCONCLUSIVE
    assert "its underconfidence (the signed confidence gap) may have risen by" in finding.reason


def test_a_candidate_that_repairs_its_confidence_passes() -> None:
    """The signed gap moves by 0.1 either way, towards what is right."""
    for base in (0.6, 0.8):
        finding = found(sure_by(0.7, 0.7, 1000), sure_by(0.7, base, 1000))
        assert finding.status is Status.PASS, finding.reason
        assert finding.estimate.change < -0.05


@pytest.mark.parametrize(("right", "factor"), [(0.7, PASS_FACTOR), (0.55, PASS_FACTOR_MISCALIBRATED)])
def test_a_pass_takes_fewer_standard_errors_beside_a_miscalibrated_base(right: float, factor: float) -> None:
    estimate = found(sure_by(0.7, right, 1000), sure_by(0.7, right, 1000)).estimate
    assert estimate.details["pass_factor"] == factor
    other = found(sure_by(0.75, 0.7, 1000), sure_by(0.7, right, 1000)).estimate
    above = (other.interval[1] - other.change) / other.details["standard_error"]
    assert above == pytest.approx(factor * 1.6449, abs=1e-3)


def test_the_same_answers_twice_did_not_change() -> None:
    estimate = found(said(600)).estimate
    assert (estimate.change, estimate.details["standard_error"]) == (pytest.approx(0), pytest.approx(0, abs=1e-12))


def test_what_a_reader_sees_as_lost_is_a_wrong_answer_that_it_is_sure_of() -> None:
    def sure(of: int, share: float) -> Answer:
        rest = math.log((1 - share) / 3)
        return Answer(option_logprobs=tuple(math.log(share) if i == of else rest for i in range(4)))

    asked = items(3)
    pairs = tuple(
        Pair(item, (sure(0, 0.5),), (candidate,))
        for item, candidate in zip(asked, (sure(0, 0.4), sure(1, 0.9), sure(1, 0.3)), strict=True)
    )
    right = [item.choices.index(str(item.answer)) for item in asked]
    scored = PairedScores.exact(asked, np.ones(3), np.array([1.0, 0.0, 0.0]), binary=True)
    base, candidate = CALIBRATION.flip_scores(pairs, scored)
    assert right == [0, 0, 0]
    assert base.tolist() == [1.0, 1.0, 1.0]
    assert candidate == pytest.approx([1.0, 0.1, 0.7])
    assert CALIBRATION.answer_text(asked[1], pairs[1].candidate) == f"B. {asked[1].choices[1]} (90 % sure)"
    failed = Answer(error="out of memory", finish="error")
    assert CALIBRATION.answer_text(asked[1], (failed,)) == ""


def test_the_answer_shown_is_that_of_all_rotations() -> None:
    item = items(1)[0]
    # Letter j of rotation 1 stands for choice j + 1: the first rotation says A, and both together say B.
    first, second = (0.5, 0.45, 0.03, 0.02), (0.9, 0.05, 0.03, 0.02)
    answers = [Answer(option_logprobs=tuple(math.log(p) for p in shares)) for shares in (first, second)]
    assert CALIBRATION.answer_text(item, answers) == f"B. {item.choices[1]} (68 % sure)"
