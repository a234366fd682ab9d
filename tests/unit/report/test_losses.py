"""What was lost, in the terms of somebody who reads one line, and what they do next."""

from __future__ import annotations

from html import escape

import pytest
from unit.report import parts, samples
from unit.report.test_deployed import compared

from ftgate.report.advice.first_step import doer, first_step, imperative, more_steps
from ftgate.report.advice.next_steps import next_steps
from ftgate.report.losses import lost
from ftgate.report.render import render_comment, render_html
from ftgate.report.schema import MeasurementReport, Report, SliceReport


def only(verdict: str = "block", **measurements: MeasurementReport) -> Report:
    return parts.report("m", verdict, ["why"], **measurements)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "blocked",
            "General skills: the score went from the base's 84.7 to 49.8 of 100. Its confidence can no longer "
            "be trusted: on "
            "average it is 83 % sure but right only 69 % of the time (base: 73 % sure, right 71 %).",
        ),
        ("held", "Not certain yet how much: on general skills the score went from 80.1 to 74.2 of 100."),
        (
            "allowed",
            "Small losses, within their limits: general skills 84.7 → 83.6 of 100, unusual queries 71.3 → 69.4 "
            "of 100 and "
            "confidence (1.1 points more error).",
        ),
        (
            "warned",
            "Close to the limit: general skills 84.7 → 77.4 of 100. Small losses, within their limits: unusual "
            "queries 71.3 → "
            "69.4 of 100 and confidence (1.1 points more error).",
        ),
    ],
)
def test_what_was_lost_is_told_in_scores(name: str, text: str) -> None:
    found = getattr(samples, name)()
    assert lost(found) == text
    assert f"**What was lost:** {text}\n\n**Why:** " in render_comment(found)
    assert f"<b>What was lost:</b> {escape(text)}</p>" in render_html(found)


def test_answers_that_are_clearly_worse_are_counted() -> None:
    m = parts.forgetting("block", 0.8, 0.6, 0.25, (0.2, 0.3)).model_copy(update={"clearly_worse": 1})
    assert lost(only(forgetting=m)).startswith(
        "1 of 200 answers on general skills is worse than the base's by 20 points or more: "
    )


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        (
            "rise in malformed answers",
            "The form of its answers: 60 of 200 answers are malformed (base: 0).",
        ),
        ("rise in over-refusal", "Help with harmless requests: it refuses 30.0 % of them (base: 0.0 %)."),
        ("rise in shouting", "It gives 30.0 % shouting (base: 0.0 %)."),
    ],
)
def test_a_share_that_rises_is_told_by_what_is_lost_with_it(unit: str, text: str) -> None:
    m = parts.forgetting("block", 0.0, 0.3, 0.3, (0.2, 0.4)).model_copy(update={"unit": unit, "limits": {"block": 0.1}})
    assert lost(only(form=m)) == text


def test_a_loss_of_confidence_without_its_parts_is_told_by_its_change() -> None:
    m = parts.calibration("block", 0.03, 0.11, 0.081, (0.062, 0.1))
    m.details = {}
    assert (
        lost(only(calibration=m))
        == "Its confidence can no longer be trusted: it has 8.1 points more error than the base's."
    )


def test_a_slice_that_blocks_alone_is_named_as_code() -> None:
    part = SliceReport(name="sums", n=40, base=0.7, candidate=0.2, change=0.71, interval=(0.6, 0.9), limit=0.2)
    m = parts.forgetting("block", 0.8, 0.75, 0.06, (0.02, 0.09)).model_copy(update={"slices": [part]})
    assert lost(only(forgetting=m)) == "`sums`, a slice of general skills: the score went from 70.0 to 20.0 of 100."


def test_where_nothing_was_lost_or_known_it_says_so() -> None:
    better = parts.forgetting("pass", 0.8, 0.82, -0.025, (-0.05, 0.0))
    assert lost(only("allow", forgetting=better)) == "Nothing: no measurement is worse than the base."
    near = parts.forgetting("warn", 0.8, 0.73, 0.085, (0.07, 0.095))
    assert lost(only("allow", forgetting=near)) == "Close to the limit: general skills 80.0 → 73.0 of 100."
    assert lost(only("hold")) == "Not known: nothing was measured."
    unfit = parts.forgetting("inconclusive", 0.8, 0.82, -0.02, (-0.05, 0.2), reason="judge unfit")
    assert lost(only("hold", forgetting=unfit)) == "Not known yet: general skills is undecided."


def test_against_the_deployed_model_its_answers_are_the_measure() -> None:
    found = compared("block", 0.2)
    rival = found.measurements["forgetting"].incumbent
    assert rival is not None
    assert lost(found) == "General skills: the score went from the deployed model's 80.0 to 79.0 of 100."
    rival.clearly_worse = 30
    assert lost(found).startswith(
        "30 of 200 answers on general skills are worse than the deployed model's by 20 points or more: "
    )
    held = lost(compared("inconclusive", 0.05))
    assert held == "Not certain yet: on general skills the score went from the deployed model's 80.0 to 79.0 of 100."


def turn(found: Report) -> tuple[str, str]:
    steps = next_steps(found)
    return doer(found, steps), first_step(found, steps)


def test_a_hold_is_settled_in_the_policy_by_its_owner() -> None:
    who, what = turn(samples.held())
    assert who == "owner of the policy"
    assert what == (
        "In a pull request of its own: (1) general skills: raise `measurements.forgetting.n_max` in "
        "`.github/ftgate.yml` to 410; (2) confidence: add about 260 rows to `evals/choices.jsonl`. Merge that "
        "one, then "
        "run this gate again (about 8 min). Changing these files in this pull request does nothing: the gate reads "
        "them from the base branch."
    )
    by_policy = samples.held()
    by_policy.verdict = "block"  # on_inconclusive: block
    assert turn(by_policy)[0] == who
    assert turn(by_policy)[1].startswith("In a pull request of its own: (1) general skills: raise ")


def test_what_only_holds_because_it_is_supporting_is_the_authors_to_train_again() -> None:
    found = samples.blocked()
    found.verdict = "hold"
    for m in found.measurements.values():
        m.tier = "supporting"
    assert turn(found)[0] == "author"
    assert turn(found)[1].startswith(
        "Train again at a learning rate of 1e-4 or lower; then enter the path of the new weights"
    )


def test_a_failure_of_the_gate_is_the_runners() -> None:
    m = parts.forgetting("error", 0.8, 0.8, 0.0, (0.0, 0.0), reason="the judge broke: no answer")
    who, what = turn(only("hold", forgetting=m))
    assert who == "maintainer of the runner"
    assert what == (
        "Solve this, then run this gate again (about 8 min): the judge broke: no answer. The gate failed "
        "here, not the model."
    )


def test_the_reason_for_a_step_is_folded_and_nothing_is_lost() -> None:
    found = samples.blocked()
    steps = next_steps(found)
    assert imperative(steps[0]) == "Train again at a learning rate of 1e-4 or lower"
    assert first_step(found, steps) == (
        "Train again at a learning rate of 1e-4 or lower; then enter the path of the new weights in "
        "`models/reckless.yaml` and push."
        " The gate then runs again by itself (about 8 min)."
    )
    assert more_steps(found, steps) == steps
    assert more_steps(samples.allowed(), next_steps(samples.allowed())) == []
    assert imperative("Set `a: b`: because") == "Set `a: b`"
    assert first_step(found, []) == ""
