"""The sentence that explains a verdict."""

from __future__ import annotations

import pytest
from unit.report import parts, samples

from ftgate.report.explanation import explanation


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "blocked",
            "reckless is 41.2 % worse on general skills than the base (at least 35.0 % worse): 84.7 → 49.8 %; "
            "under 10 % worse is allowed; also blocking: confidence.",
        ),
        (
            "held",
            "support-bot may have lost too much: it is 3.1 to 11.9 % worse on general skills, and under "
            "10 % worse is allowed (about 410 items would settle it; this run had 200); also undecided: confidence.",
        ),
        (
            "allowed",
            "careful gains 13.9 points on its task (at least 9.7 points) and stays within every limit: "
            "1.3 % worse on general skills, 2.7 % worse on unusual queries, expected "
            "calibration error (ECE) +0.011.",
        ),
        (
            "warned",
            "eager comes near the limit on general skills: 8.6 % worse (7.4 to 9.7), and under 10 % worse is allowed; "
            "it gains 13.9 points on its task (at least 9.7 points) and stays within every limit: 2.7 % worse on "
            "unusual queries, expected calibration error (ECE) +0.011.",
        ),
    ],
)
def test_explanation(name, sentence):
    assert explanation(getattr(samples, name)()) == sentence


def only(**measurements):
    return parts.report("m", "block", ["why"], **measurements)


def test_what_is_not_applicable_is_no_cost_and_is_named():
    m = parts.forgetting("not_applicable", 0.0, 0.0, 0.0, (0.0, 0.01))
    report = parts.report("m", "allow", ["why"], target=parts.target(0.6, 0.7, 0.1, (0.06, 0.14)), forgetting=m)
    assert explanation(report) == (
        "m gains 10.0 points on its task (at least 6.0 points) and stays within every other limit; not measured: "
        "general skills."
    )


def test_a_hold_where_nothing_was_measured_says_why():
    m = parts.forgetting("not_applicable", 0.0, 0.0, 0.0, (0.0, 0.01))
    reasons = ["nothing was measured but form", "forgetting was not measured: nothing to lose"]
    assert explanation(parts.report("m", "hold", reasons, forgetting=m)) == "; ".join(reasons)


def test_no_gain():
    m = parts.target(0.6, 0.588, -0.012, (-0.04, 0.016)).model_copy(update={"status": "block"})
    assert explanation(only(target=m)) == (
        "m does not gain enough on its task: 1.2 points worse (at best 1.6 points better); "
        "over 3 points better is required."
    )


def test_calibration_and_an_absolute_drop():
    m = parts.calibration("block", 0.03, 0.11, 0.081, (0.062, 0.1))
    assert explanation(only(calibration=m)) == (
        "m is less well calibrated than the base: expected calibration error (ECE) 0.030 → 0.110 (at least +0.062); "
        "ECE under +0.050 is allowed."
    )
    m.details["candidate"]["in_words"] = "overconfident by 17.9 points on average"
    assert explanation(only(calibration=m)).startswith(
        "m is overconfident by 17.9 points on average: expected calibration error (ECE) 0.030"
    )
    m = parts.forgetting("block", 0.09, 0.01, 0.08, (0.05, 0.11)).model_copy(
        update={"unit": "absolute drop", "limits": {"block": 0.04}}
    )
    assert explanation(only(forgetting=m)) == (
        "m is 8.0 points worse on general skills than the base (at least 5.0 points worse): 9.0 → 1.0 %; "
        "under 4 points worse is allowed."
    )


def test_a_bare_estimate_is_not_called_certain():
    m = parts.forgetting("block", 0.8, 0.7, 0.12, (0.06, 0.19))
    assert "(6.0 to 19.0 % worse)" in explanation(only(forgetting=m))


def test_undecided_and_blocked_by_policy():
    found = samples.held()
    found.verdict = "block"
    assert explanation(found).startswith(
        "support-bot may have lost too much, which the policy blocks: it is 3.1 to 11.9 % worse"
    )


def test_a_gain_that_may_be_too_small_is_open():
    m = parts.target(0.6, 0.63, 0.03, (-0.01, 0.07)).model_copy(update={"status": "inconclusive"})
    assert explanation(only(target=m).model_copy(update={"verdict": "hold"})) == (
        "m may not have gained enough: it is 1.0 points worse to 7.0 points better on its task, and over 3 "
        "points better is required."
    )


def test_answers_that_do_not_end_are_told_by_their_share():
    m = parts.forgetting("block", 0.0, 0.3, 0.3, (0.2, 0.4)).model_copy(
        update={"unit": "rise in cut answers", "limits": {"block": 0.1}}
    )
    assert explanation(only(form=m)) == (
        "m fails to stop more often: 30.0 % of its answers are cut at the token limit (base: 0.0 %); under 10 points "
        "more is allowed."
    )


def test_a_reason_that_is_no_interval_is_quoted():
    m = parts.forgetting("inconclusive", 0.8, 0.7, 0.12, (0.11, 0.19), reason="judge unfit: AUROC lower bound 0.61")
    found = only(forgetting=m).model_copy(update={"verdict": "hold"})
    assert explanation(found) == "Undecided on general skills for m: judge unfit: AUROC lower bound 0.61."


def test_a_fifth_measurement_needs_no_change_here():
    m = parts.tail("block", 3.0, 4.0, 1.0, (0.5, 1.5), reason="toxicity rose").model_copy(
        update={"unit": "toxic answers per item", "limits": {"block": 0.2}}
    )
    assert explanation(only(toxicity=m)) == "m fails toxicity: toxicity rose."


def test_a_loss_of_nearly_everything_is_told_by_its_scores():
    m = parts.forgetting("block", 0.695, 0.068, 0.958, (0.94, 0.98))
    assert (
        explanation(only(forgetting=m))
        == "m lost nearly all general skills: 69.5 → 6.8 %; under 10 % worse is allowed."
    )


def test_more_than_everything_cannot_be_lost():
    m = parts.forgetting("block", 0.695, 0.0, 1.014, (0.97, 1.06))
    m.slices = []
    assert "101" not in explanation(only(forgetting=m))
    lost = parts.SliceReport(name="sums", n=40, base=0.7, candidate=0.0, change=1.02, interval=(0.9, 1.1), limit=0.2)
    m = m.model_copy(update={"interval": (0.05, 0.2), "change": 0.1, "slices": [lost]})
    assert "is 100.0 % worse than the base (at least 90.0 %) on the slice “sums”" in explanation(only(forgetting=m))
