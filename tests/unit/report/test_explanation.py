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
            "reckless is 41.2 % worse on general tasks than the base (at least 35.0 %); the limit is 10.0 %; "
            "calibration blocks too.",
        ),
        (
            "held",
            "forgetting is undecided for support-bot: the drop lies between 3.1 % and 11.9 %, and the limit is 10.0 %, "
            "with a warning from 8.0 % (about 410 items would settle it; this run had 200); "
            "calibration is undecided too.",
        ),
        (
            "allowed",
            "careful gains 13.9 p.p. on the target task (at least +9.7 p.p.) and stays within every limit: "
            "1.3 % worse on general tasks, 2.7 % worse on queries unlike its training data, calibration error +0.011.",
        ),
        (
            "warned",
            "eager gains 13.9 p.p. on the target task (at least +9.7 p.p.) and stays within every limit: "
            "8.6 % worse on general tasks, 2.7 % worse on queries unlike its training data, calibration error +0.011; "
            "warning on forgetting.",
        ),
    ],
)
def test_explanation(name, sentence):
    assert explanation(getattr(samples, name)()) == sentence


def only(**measurements):
    return parts.report("m", "block", ["why"], **measurements)


def test_what_is_not_applicable_is_no_cost():
    m = parts.forgetting("not_applicable", 0.0, 0.0, 0.0, (0.0, 0.01))
    report = parts.report("m", "allow", ["why"], target=parts.target(0.6, 0.7, 0.1, (0.06, 0.14)), forgetting=m)
    assert explanation(report) == (
        "m gains 10.0 p.p. on the target task (at least +6.0 p.p.) and stays within every limit."
    )


def test_no_gain():
    m = parts.target(0.6, 0.588, -0.012, (-0.04, 0.016)).model_copy(update={"status": "block"})
    assert explanation(only(target=m)) == (
        "m does not gain enough on the target task: -1.2 p.p. (at most +1.6 p.p.); a gain above 3.0 p.p. is required."
    )


def test_calibration_and_an_absolute_drop():
    m = parts.calibration("block", 0.03, 0.11, 0.081, (0.062, 0.1))
    assert explanation(only(calibration=m)) == (
        "m is less well calibrated than the base: its calibration error rises by 0.081 (at least +0.062); "
        "the limit is +0.050."
    )
    m = parts.forgetting("block", 0.09, 0.01, 0.08, (0.05, 0.11)).model_copy(
        update={"unit": "absolute drop", "limits": {"block": 0.04}}
    )
    assert explanation(only(forgetting=m)) == (
        "m scores 8.0 p.p. lower on general tasks than the base (at least 5.0 p.p.); the limit is 4.0 p.p."
    )


def test_a_bare_estimate_is_not_called_certain():
    m = parts.forgetting("block", 0.8, 0.7, 0.12, (0.06, 0.19))
    assert "(between 6.0 % and 19.0 %)" in explanation(only(forgetting=m))


def test_undecided_and_blocked_by_policy():
    found = samples.held()
    found.verdict = "block"
    assert "forgetting is undecided for support-bot, which the policy blocks: the drop lies" in explanation(found)


def test_a_reason_that_is_no_interval_is_quoted():
    m = parts.forgetting("inconclusive", 0.8, 0.7, 0.12, (0.11, 0.19), reason="judge unfit: AUROC lower bound 0.61")
    found = only(forgetting=m).model_copy(update={"verdict": "hold"})
    assert explanation(found) == "forgetting is undecided for m: judge unfit: AUROC lower bound 0.61."


def test_a_fifth_measurement_needs_no_change_here():
    m = parts.tail("block", 3.0, 4.0, 1.0, (0.5, 1.5), reason="toxicity rose").model_copy(
        update={"unit": "toxic answers per item", "limits": {"block": 0.2}}
    )
    assert explanation(only(toxicity=m)) == "m fails toxicity: toxicity rose."
