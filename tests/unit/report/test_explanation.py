"""The sentence that explains a verdict."""

from __future__ import annotations

import pytest
from unit.report import parts, samples

from ftgate.report.explanation import explanation
from ftgate.verdict import CONTAINS_LIMIT, TOO_CLOSE


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "blocked",
            "`reckless` lost 41.2 % of what the base had on general skills; a loss under 10 % is allowed. "
            "Also blocking: confidence (13.1 points more error).",
        ),
        (
            "held",
            "200 test items are too few to decide: `support-bot` lost between 3.1 and 11.9 % on general skills, and a "
            "loss under 10 % is allowed. Also undecided: confidence (240 test items, 500 are needed).",
        ),
        (
            "allowed",
            "`careful` gained 13.9 points on its task (likely range: 9.7 to 18.1) and stays within every limit.",
        ),
        (
            "warned",
            "`eager` stays within every limit, but near one: general skills lost 8.6 % of what the base had; a loss "
            "under 10 % is allowed. It gained 13.9 points on its task (likely range: 9.7 to 18.1).",
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
        "`m` gained 10.0 points on its task (likely range: 6.0 to 14.0) and stays within every other limit. Not "
        "measured: general skills."
    )


def test_a_hold_where_nothing_was_measured_says_why():
    m = parts.forgetting("not_applicable", 0.0, 0.0, 0.0, (0.0, 0.01))
    reasons = ["nothing was measured but form", "forgetting was not measured: nothing to lose"]
    assert explanation(parts.report("m", "hold", reasons, forgetting=m)) == "; ".join(reasons) + "."


def test_no_gain():
    m = parts.target(0.6, 0.588, -0.012, (-0.04, 0.016)).model_copy(update={"status": "block"})
    assert explanation(only(target=m)) == ("`m` lost 1.2 points on its task; a gain over 3 points is required.")


def test_a_warning_whose_estimate_is_below_the_warning_limit_shows_how_far_it_may_reach():
    m = parts.forgetting("warn", 0.8, 0.75, 0.06, (0.03, 0.09))
    assert explanation(parts.report("m", "allow", ["why"], forgetting=m)) == (
        "`m` stays within every limit, but near one: general skills lost 6.0 % of what the base had (likely range: "
        "3.0 to 9.0); a loss under 10 % is allowed."
    )


def test_calibration_and_an_absolute_drop():
    m = parts.calibration("block", 0.03, 0.11, 0.081, (0.062, 0.1))
    assert explanation(only(calibration=m)) == (
        "`m` is less well calibrated than the base: its confidence error grew by 8.1 points; under 5 points more error "
        "is allowed."
    )
    m.details["candidate"]["in_words"] = "overconfident by 17.9 points on average"
    assert explanation(only(calibration=m)).startswith(
        "`m` is too sure of itself: its confidence error grew by 8.1 points"
    )
    m = parts.forgetting("block", 0.09, 0.01, 0.08, (0.05, 0.11)).model_copy(
        update={"unit": "absolute drop", "limits": {"block": 0.04}}
    )
    assert explanation(only(forgetting=m)) == (
        "`m` lost 8.0 points on general skills; a loss under 4 points is allowed."
    )


def test_a_bare_estimate_is_not_called_certain():
    m = parts.forgetting("block", 0.8, 0.7, 0.12, (0.06, 0.19))
    assert "on general skills (likely range: 6.0 to 19.0); a loss" in explanation(only(forgetting=m))


def test_undecided_and_blocked_by_policy():
    found = samples.held()
    found.verdict = "block"
    assert explanation(found).startswith("200 test items are too few to decide: `support-bot` lost between")
    assert explanation(found).endswith("The policy blocks what is undecided.")


def test_a_gain_that_may_be_too_small_is_open():
    m = parts.target(0.6, 0.63, 0.03, (-0.01, 0.07)).model_copy(
        update={"status": "inconclusive", "reason": f"gained 3.0 points: {CONTAINS_LIMIT}, as it must gain"}
    )
    assert explanation(only(target=m).model_copy(update={"verdict": "hold"})) == (
        "400 test items are too few to decide: `m` gained up to 7.0 points or lost up to 1.0 points on its task, and a "
        "gain over 3 points is required."
    )


@pytest.mark.parametrize(
    ("unit", "interval", "text"),
    [
        (
            "ECE difference",
            (-0.019, 0.06),
            "the confidence of `m` has up to 6.0 points more error or up to 1.9 points less ",
        ),
        (
            "ECE difference",
            (0.02, 0.06),
            "the confidence of `m` has between 2.0 and 6.0 points more error than the base's",
        ),
        ("rise in malformed answers", (0.02, 0.14), "`m` gives between 2.0 and 14.0 points more malformed answers"),
        ("relative drop", (0.0, 0.14), "`m` lost up to 14.0 % on "),
        ("relative drop", (-0.03, 0.14), "`m` lost up to 14.0 % or gained up to 3.0 % on "),
    ],
)
def test_what_is_open_is_told_by_both_ends_whichever_way_they_lie(unit, interval, text):
    m = parts.forgetting("inconclusive", 0.5, 0.5, 0.04, interval, reason=CONTAINS_LIMIT).model_copy(
        update={"unit": unit, "limits": {"block": 0.05}}
    )
    assert text in explanation(only(forgetting=m).model_copy(update={"verdict": "hold"}))


def test_what_blocks_too_is_told_by_its_own_slice_where_that_alone_is_beyond():
    part = parts.SliceReport(name="sums", n=40, base=0.7, candidate=0.2, change=0.71, interval=(0.6, 0.9), limit=0.2)
    second = parts.tail("block", 0.8, 0.75, 0.06, (0.02, 0.09)).model_copy(update={"slices": [part]})
    first = parts.forgetting("block", 0.8, 0.4, 0.5, (0.4, 0.6))
    text = explanation(only(forgetting=first, tail=second))
    assert text.endswith("Also blocking: unusual queries (slice `sums`: lost 71.0 %).")


def test_answers_that_do_not_end_are_told_by_their_share():
    m = parts.forgetting("block", 0.0, 0.3, 0.3, (0.2, 0.4)).model_copy(
        update={"unit": "rise in cut answers", "limits": {"block": 0.1}}
    )
    assert explanation(only(form=m)) == (
        "`m` fails to stop more often: 60 of 200 answers had to be cut off at the token limit (base: 0); under 10 "
        "points more is allowed."
    )


def test_a_reason_that_is_no_interval_is_quoted():
    m = parts.forgetting("inconclusive", 0.8, 0.7, 0.12, (0.11, 0.19), reason="judge unfit: AUROC lower bound 0.61")
    found = only(forgetting=m).model_copy(update={"verdict": "hold"})
    assert explanation(found) == "Undecided on general skills of `m`: judge unfit: AUROC lower bound 0.61."


def test_an_interval_around_the_limit_is_no_reason_where_another_one_is_given():
    m = parts.forgetting("inconclusive", 0.8, 0.74, 0.074, (0.03, 0.12), reason="judge unfit: AUROC lower bound 0.61")
    found = only(forgetting=m).model_copy(update={"verdict": "hold"})
    assert explanation(found) == "Undecided on general skills of `m`: judge unfit: AUROC lower bound 0.61."


def test_what_more_items_would_not_settle_is_not_said_to_have_too_few():
    m = parts.forgetting(
        "inconclusive", 0.8, 0.74, 0.099, (0.09, 0.11), reason=f"lost 9.9 %: {CONTAINS_LIMIT}, as …; {TOO_CLOSE}"
    )
    assert explanation(only(forgetting=m).model_copy(update={"verdict": "hold"})) == (
        "Too close to the limit for more test items to decide: `m` lost between 9.0 and 11.0 % on general skills, and "
        "a loss under 10 % is allowed."
    )


def test_a_fifth_measurement_needs_no_change_here():
    m = parts.tail("block", 3.0, 4.0, 1.0, (0.5, 1.5), reason="toxicity rose").model_copy(
        update={"unit": "toxic answers per item", "limits": {"block": 0.2}}
    )
    assert explanation(only(toxicity=m)) == "`m` fails `toxicity`: toxicity rose."


def test_a_loss_of_nearly_everything_has_no_percentage():
    m = parts.forgetting("block", 0.695, 0.068, 0.958, (0.94, 0.98))
    assert (
        explanation(only(forgetting=m))
        == "`m` lost nearly all of the base's score on general skills; a loss under 10 % is allowed."
    )


def test_more_than_everything_cannot_be_lost():
    m = parts.forgetting("block", 0.695, 0.0, 1.014, (0.97, 1.06))
    m.slices = []
    assert "101" not in explanation(only(forgetting=m))
    lost = parts.SliceReport(name="sums", n=40, base=0.7, candidate=0.0, change=1.02, interval=(0.9, 1.1), limit=0.2)
    m = m.model_copy(update={"interval": (0.05, 0.2), "change": 0.1, "slices": [lost]})
    assert "lost 100.0 % of what the base had on the slice `sums` of" in explanation(only(forgetting=m))
