"""Calibration of free-form answers: confidence is the share of samples that say what the greedy answer says."""

from __future__ import annotations

import time

import numpy as np
import pytest
from support.evidence import decided, evidence_of

from ftgate.config.strict import validate
from ftgate.domain import Answer, Item, Message, Pair, Question, Status
from ftgate.errors import ConfigurationError
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.confidence import Confidences, equivalent, from_samples, in_words
from ftgate.measurements.deployed import seeded
from ftgate.scoring.rules import score_pairs
from ftgate.stats.calibration import expected_calibration_error

SAMPLED = Calibration(dataset="c", form="sampled", max_tokens=8)


def item(i: int = 0, **more: object) -> Item:
    return Item(f"i{i}", (Message("user", f"question {i}"),), **{"answer": "Paris", **more})  # type: ignore[arg-type]


def test_the_greedy_answer_comes_first_and_is_asked_as_ever() -> None:
    greedy, *samples = SAMPLED.plan(item())
    assert greedy == Question("calibration", "i0", item().messages, max_tokens=8)
    assert len(samples) == 20
    assert {q.temperature for q in samples} == {1.0}
    assert "temperature" not in greedy.content()
    assert "seed" not in greedy.content()


def test_seeds_follow_from_the_run_the_item_and_the_sample() -> None:
    first, again, other = (seeded(SAMPLED.plan(item()), seed) for seed in (0, 0, 1))
    assert first == again
    seeds = [q.seed for q in first[1:]] + [q.seed for q in seeded(SAMPLED.plan(item(1)), 0)[1:]]
    assert len(set(seeds)) == 40
    assert not {q.seed for q in other[1:]} & set(seeds)
    assert len({str(q.content()) for q in first}) == 21


@pytest.mark.parametrize("samples", [5, 19])
def test_fewer_than_twenty_samples_are_refused(samples: int) -> None:
    with pytest.raises(ConfigurationError, match="samples"):
        validate(Calibration, {"dataset": "c", "form": "sampled", "samples": samples}, "policy p")


def test_with_five_samples_a_perfect_model_looks_miscalibrated() -> None:
    rng = np.random.default_rng(0)
    truth = rng.beta(2, 1, 100_000)  # how often it would say the same again, which is how often it is right
    correct = (rng.random(100_000) < truth).astype(float)
    shown = [expected_calibration_error(rng.binomial(k, truth) / k, correct) for k in (5, 20)]
    assert shown[0] == pytest.approx(0.095, abs=0.005)
    assert shown[1] < 0.03
    assert expected_calibration_error(truth, correct) < 0.005


SAME = [
    ("exact", {}, "Paris.", " paris", True),
    ("exact", {}, "Rome", "Madrid", False),
    ("exact", {}, "Rome", "ROME!", True),
    ("contains", {}, "It is Paris", "Paris, in France", True),
    ("contains", {}, "It is Rome", "Rome, in Italy", False),
    ("numeric", {"answer": "42"}, "so 41", "I get 41.0", True),
    ("numeric", {"answer": "42"}, "41", "40", False),
    ("numeric", {"answer": "42"}, "no idea", "hard to say", False),
    ("check", {"check": {"numeric": 10, "tolerance": 0.5}}, "9.8", "10.1", True),
    ("check", {"check": {"numeric": 10, "tolerance": 0.5}}, "12", "12.3", True),
    ("check", {"check": {"numeric": 10, "tolerance": 0.5}}, "12", "14", False),
    ("check", {"check": {"json_schema": {"type": "object", "required": ["a"]}}}, '{"b": 1}', 'so {"b":1}', True),
    ("check", {"check": {"json_schema": {"type": "object", "required": ["a"]}}}, '{"b": 1}', '{"b": 2}', False),
    ("check", {"check": {"regex": "^yes"}}, "yes, it is", "yes of course", True),
    ("check", {"check": {"regex": "^yes"}}, "no, never", "not at all", False),
]


@pytest.mark.parametrize(("scorer", "row", "one", "other", "same"), SAME)
def test_what_counts_as_the_same_answer(scorer: str, row: dict[str, object], one: str, other: str, same: bool) -> None:
    asked = item(**{"answer": None, **row} if "check" in row else row)
    assert equivalent(asked, Answer(text=one), Answer(text=other), scorer) is same
    assert equivalent(asked, Answer(text=other), Answer(text=one), scorer) is same


def answers(said: str, agreeing: int) -> tuple[Answer, ...]:
    other = [Answer(text=f"something else {i}") for i in range(20 - agreeing)]
    return (Answer(text=said), *[Answer(text=said)] * agreeing, *other)


def test_confidence_is_the_share_that_agrees_the_greedy_answer_aside() -> None:
    found = from_samples([(item(), answers("Paris", 15)), (item(1), answers("Rome", 4))], "exact")
    assert found.confidence.tolist() == [0.75, 0.2]
    assert found.correct.tolist() == [1.0, 0.0]
    assert not {"nll", "letter_mass"} & found.summary(10).keys()


def test_the_log_score_of_agreement_is_smoothed_and_no_temperature_is_made_up() -> None:
    """By hand: 20 of 20 agree and it is right, 20 of 20 and wrong, 4 of 20 and wrong."""
    rows = [(item(), answers("Paris", 20)), (item(1), answers("Rome", 20)), (item(2), answers("Rome", 4))]
    found = from_samples(rows, "exact").summary(10)
    likelihoods = [20.5 / 21, 1 - 20.5 / 21, 1 - 4.5 / 21]
    assert found["log_loss"] == pytest.approx(-np.log(likelihoods).mean())
    assert found["log_loss_smoothing"] == "(agreeing samples + 1/2) / (samples + 1)"
    assert found["repairing_temperature"].startswith("none: ")


def test_the_log_score_is_best_for_a_model_whose_agreement_is_its_accuracy() -> None:
    rng = np.random.default_rng(0)
    truth = rng.beta(2, 1, 20_000)
    correct = (rng.random(20_000) < truth).astype(float)

    def log_loss(rate: np.ndarray) -> float:
        agreed = rng.binomial(20, rate) / 20
        found = Confidences(agreed, correct, smoothed=(20 * agreed + 0.5) / 21).summary(10)["log_loss"]
        return float(found)

    assert log_loss(truth) < min(log_loss(truth**0.3), log_loss(truth**3))


def found(candidate_sure: int, n: int = 600):  # type: ignore[no-untyped-def]
    """The base agrees with itself three times in four and is right as often; the candidate agrees by more."""
    items = [item(i) for i in range(n)]
    said = ["Paris" if i % 4 else "Rome" for i in range(n)]
    pairs = tuple(
        Pair(one, answers(text, 15), answers(text, candidate_sure)) for one, text in zip(items, said, strict=True)
    )
    return decided(SAMPLED, evidence_of(score_pairs(SAMPLED.scored_by, pairs), pairs=pairs))


def test_free_form_calibration_passes_and_blocks() -> None:
    assert found(15).status is Status.PASS
    bad = found(20)
    assert bad.status is Status.BLOCK
    assert bad.estimate.details["notes"] == ["the candidate is overconfident by 25.0 points on average"]
    assert "20 samples" in bad.estimate.method
    assert found(10).estimate.details["candidate"]["in_words"] == "underconfident by 25.0 points on average"
    assert found(15, 300).status is Status.INCONCLUSIVE


def test_items_of_which_no_rule_can_tell_are_counted_not_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftgate.scoring.text.PATTERN_SECONDS", 0.05)
    slow = Calibration(dataset="c", form="sampled", scorer="check")
    plain = [item(i, answer=None, check={"exact": "Paris"}) for i in range(30)]
    endless = item(99, answer=None, check={"regex": "(a|aa)+$"})
    texts = ("a" * 60 + "b", "a" * 61 + "b")
    stuck = (Answer(text=texts[0]), *[Answer(text=texts[1])] * 20)
    pairs = (*(Pair(i, answers("Paris", 20), answers("Paris", 20)) for i in plain), Pair(endless, stuck, stuck))
    started = time.process_time()
    finding = decided(slow, evidence_of(score_pairs(slow.scored_by, pairs), pairs=pairs))
    assert time.process_time() - started < 20
    assert finding.status is Status.INCONCLUSIVE
    assert "1 items could not be scored" in finding.reason
    assert finding.estimate.n == 30


def test_the_gap_in_words() -> None:
    assert in_words(0.005) == "as confident as it is accurate"
    assert in_words(-0.123) == "underconfident by 12.3 points on average"
