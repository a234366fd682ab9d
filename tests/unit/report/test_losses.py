"""What was lost, in the terms of somebody who reads one line, and what they do next."""

from __future__ import annotations

from html import escape

import pytest
from unit.report import parts, samples
from unit.report.test_deployed import compared

from ftgate.report.advice.files import path_as_code
from ftgate.report.advice.first_step import FirstStep, first_step, imperative, more_steps
from ftgate.report.advice.next_steps import next_steps
from ftgate.report.losses import lost
from ftgate.report.render import render_comment, render_html
from ftgate.report.schema import SMOKE_TEST, ChecklistEntry, MeasurementReport, Report, SliceReport


def only(verdict: str = "block", **measurements: MeasurementReport) -> Report:
    return parts.report("m", verdict, ["why"], **measurements)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "blocked",
            "General skills: 84.7 → 49.8 of 100. Honest confidence: 83 % sure on average, right only 69 % of "
            "the time (base: 73 % sure, 71 % right).",
        ),
        (
            "held",
            "Not certain yet. Best estimate: general skills 80.1 → 74.2 of 100; confidence error up by 0.9 points.",
        ),
        (
            "allowed",
            "Small losses, within their limits: general skills 84.7 → 83.6 of 100 (may be chance), unusual queries "
            "71.3 → 69.4 of 100 (may be chance) and confidence error up by 1.1 points (may be chance).",
        ),
        (
            "warned",
            "Close to the limit: general skills 84.7 → 77.4 of 100. Small losses, within their limits: unusual "
            "queries 71.3 → 69.4 of 100 (may be chance) and confidence error up by 1.1 points (may be chance).",
        ),
    ],
)
def test_what_was_lost_is_told_in_scores(name: str, text: str) -> None:
    found = getattr(samples, name)()
    assert lost(found) == text
    assert f"**What was lost:** {text}\n\n**What to do next (" in render_comment(found)
    assert f"<b>What was lost:</b> {escape(text)}</p>" in render_html(found)


def test_answers_that_are_clearly_worse_are_counted() -> None:
    m = parts.forgetting("block", 0.8, 0.6, 0.25, (0.2, 0.3)).model_copy(update={"clearly_worse": 1})
    assert lost(only(forgetting=m)) == "General skills: 80.0 → 60.0 of 100 (1 of 200 answers clearly worse)."
    m = m.model_copy(update={"clearly_worse": None, "regressed": 30})  # as in older reports
    assert lost(only(forgetting=m)) == "General skills: 80.0 → 60.0 of 100 (30 of 200 answers worse)."


@pytest.mark.parametrize(
    ("unit", "text"),
    [
        (
            "rise in malformed answers",
            "Answer form: 60 of 200 answers are malformed (base: 0).",
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
    assert lost(only(calibration=m)) == "Honest confidence: 8.1 points more error than the base's."


def test_a_slice_that_blocks_alone_is_named_as_code() -> None:
    part = SliceReport(name="sums", n=40, base=0.7, candidate=0.2, change=0.71, interval=(0.6, 0.9), limit=0.2)
    m = parts.forgetting("block", 0.8, 0.75, 0.06, (0.02, 0.09)).model_copy(update={"slices": [part]})
    assert lost(only(forgetting=m)) == "`sums`, a slice of general skills: 70.0 → 20.0 of 100."


def test_a_small_loss_is_called_chance_only_where_its_interval_holds_no_change() -> None:
    surely = parts.forgetting("pass", 0.8, 0.77, 0.04, (0.01, 0.06))
    assert lost(only("allow", forgetting=surely)) == "Small loss, within its limit: general skills 80.0 → 77.0 of 100."
    less = parts.target(0.6, 0.59, -0.01, (-0.02, 0.0)).model_copy(update={"limits": {"min_gain": -0.05}})
    assert lost(only("allow", target=less)).endswith("task 60.0 → 59.0 of 100 (may be chance).")
    less.interval = (-0.02, -0.005)
    assert lost(only("allow", target=less)).endswith("task 60.0 → 59.0 of 100.")


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
    assert lost(found) == "General skills: 80.0 → 79.0 of 100."
    rival.clearly_worse = 30
    assert lost(found) == (
        "General skills: 80.0 → 79.0 of 100 (30 of 200 answers clearly worse than the deployed model's)."
    )
    held = lost(compared("inconclusive", 0.05))
    assert held == "Not certain yet. Best estimate: general skills 80.0 → 79.0 of 100, from the deployed model's."


def turn(found: Report) -> FirstStep:
    step = first_step(found, next_steps(found))
    assert step is not None
    return step


def test_a_hold_is_settled_in_the_policy_by_its_owner() -> None:
    step = turn(samples.held())
    assert step.heading == "What to do next (owner of `.github/ftgate.yml`)"
    assert step.action == "Test on more items: general skills 200 → 410, confidence 240 → 500."
    assert step.details == (
        "Open a separate pull request (the gate ignores changes to these files in this one). In it: (1) for general "
        "skills, raise `measurements.forgetting.n_max` in `.github/ftgate.yml` to 410; (2) for confidence, add about "
        "260 rows to `evals/choices.jsonl`.",
        "Merge it, then run this gate again (about 8 min).",
    )
    by_policy = samples.held()
    by_policy.verdict = "block"  # on_inconclusive: block
    assert turn(by_policy) == step


def test_one_undecided_measurement_needs_no_name_in_its_details() -> None:
    found = samples.held()
    found.measurements.pop("calibration")
    step = turn(found)
    assert step.action == "Test on more items: general skills 200 → 410."
    assert step.details[0] == (
        "Open a separate pull request (the gate ignores changes to these files in this one). In it, raise "
        "`measurements.forgetting.n_max` in `.github/ftgate.yml` to 410."
    )


def test_without_files_of_its_own_a_hold_is_tested_on_more_items_and_run_again() -> None:
    found = samples.held()
    found.provenance = {}
    step = turn(found)
    assert step.action == "Test on more items: general skills 200 → 410, confidence 240 → 500."
    assert step.details == ("Then run this gate again (about 8 min).",)


def test_what_more_items_do_not_settle_comes_first_where_it_leads() -> None:
    found = samples.held()
    found.measurements["forgetting"].reason = "judge unfit: AUROC lower bound 0.61"
    step = turn(found)
    assert step.action == "Use a stronger `judge` in `.github/ftgate.yml`, or add reference answers."
    assert step.details[0].endswith(" In it: for confidence, add about 260 rows to `evals/choices.jsonl`.")
    found.measurements.pop("calibration")
    assert turn(found).details[0].startswith("Do so in a separate pull request (")


def test_a_smoke_test_is_run_on_all_items() -> None:
    found = samples.held()
    found.notes = [f"{SMOKE_TEST}."]
    step = turn(found)
    assert step.action.startswith("Run again on all items, without `--limit`")
    assert step.details == ()


def test_what_only_holds_because_it_is_supporting_is_the_authors_to_train_again() -> None:
    found = samples.blocked()
    found.verdict = "hold"
    for m in found.measurements.values():
        m.tier = "supporting"
    assert turn(found).doer == "author"
    assert turn(found).action == "Train again at a learning rate of 1e-4 or lower."


def test_a_failure_of_the_gate_is_the_runners() -> None:
    m = parts.forgetting("error", 0.8, 0.8, 0.0, (0.0, 0.0), reason="the judge broke: no answer")
    assert turn(only("hold", forgetting=m)) == FirstStep(
        "whoever runs the gate",
        "Repair what failed, then run this gate again (about 8 min).",
        ("The judge broke: no answer. The gate failed here, not the model.",),
    )


def test_the_reason_for_a_step_is_folded_and_nothing_is_lost() -> None:
    found = samples.blocked()
    steps = next_steps(found)
    assert imperative(steps[0]) == "Train again at a learning rate of 1e-4 or lower"
    assert first_step(found, steps) == FirstStep(
        "author",
        "Train again at a learning rate of 1e-4 or lower.",
        (
            "Then enter the path of the new weights in `models/reckless.yaml`, and push: the gate runs again by itself "
            "(about 8 min).",
        ),
    )
    assert more_steps(found, steps) == steps
    assert more_steps(samples.allowed(), next_steps(samples.allowed())) == []
    assert imperative("Set `a: b`: because") == "Set `a: b`"
    assert first_step(found, []) is None


def test_an_allow_names_the_checks_that_are_not_met() -> None:
    found = samples.allowed()
    for entry in found.checklist:
        entry.ok = True
    assert turn(found) == FirstStep("reviewer", "You may merge: every measurement passed.")
    found.checklist[0].ok = False
    one = turn(found)
    assert one.action == "You may merge; nothing else is required."
    found.checklist[0].item, found.checklist[0].evidence = "Queries were measured", "the policy has no `tail`"
    unchanged = "This does not change the verdict; it says how far to trust the scores."
    told = "For your information: the policy has no `tail` (expected: queries were measured)."
    assert turn(found).details == (told, unchanged)
    for number in range(5):
        found.checklist.append(ChecklistEntry(item=f"check {number}", ok=False, evidence="no"))
    several = turn(found)
    assert several.action == one.action
    assert several.details[-3:] == (
        "For your information: no (expected: check 1).",
        "3 more checks are not met (checklist).",
        unchanged,
    )


def test_a_warning_asks_the_reviewer_and_hides_no_check() -> None:
    found = samples.warned()
    found.checklist[0].ok = False
    step = turn(found)
    assert (step.doer, step.action) == ("reviewer", "Merge if you accept what was lost.")
    assert step.details[0] == "If not, ask the author to train again at a third of the learning rate."
    assert step.details[1].startswith("For your information: ")


def test_a_long_path_keeps_its_last_folders() -> None:
    assert path_as_code("models/reckless.yaml") == "`models/reckless.yaml`"
    assert path_as_code("examples/tinyworld/manifests/halfway.yaml") == "`…/manifests/halfway.yaml`"
    assert path_as_code(f"a/{'x' * 60}.yaml") == f"`…/{'x' * 60}.yaml`"
    assert path_as_code("y" * 60) == f"`{'y' * 60}`"
