"""What to try next: fitted to what is known of the training, and never against it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.report import parts, samples

from ftgate.measurements import rule_agreement
from ftgate.measurements.tools import NO_RIGHT_CALLS
from ftgate.report.advice.files import ReadersFiles, files_of
from ftgate.report.advice.first_step import first_step
from ftgate.report.advice.next_steps import MOST, next_steps
from ftgate.report.render import render_comment
from ftgate.report.schema import Report, plain
from ftgate.verdict import TOO_CLOSE

ALL_LINEAR = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
FACTS = (
    "learning_rate", "epochs", "epochs_planned", "steps", "label_smoothing", "loss_first", "loss_lowest", "loss_last",
    "eval_loss_lowest", "eval_loss_lowest_epoch", "eval_loss_last",
)  # fmt: skip


def made(training=None, best_kept=None, file="trainer_state.json", **settings):
    """What the provenance holds of a candidate that was trained so."""
    facts = dict(training or {})
    known = facts | {"files": {file: list(facts)}} | ({"best_kept": True} if best_kept else {})
    return {"kind": "adapter", "rank": 8, "alpha": 16, "targets": ["q_proj", "v_proj"], "training": known} | settings


def report(candidate, **measurements):
    found = parts.report("m", "block", ["why"], **measurements)
    found.provenance["candidate"] = candidate
    return found


def check(steps, said, unsaid):
    text = "\n".join(steps)
    for part in said:
        assert part in text
    for part in unsaid:
        assert part not in text
    assert len(steps) <= MOST


FORGETS = parts.forgetting("block", 0.8, 0.7, 0.125, (0.11, 0.19))
NO_GAIN = parts.target(0.6, 0.61, 0.01, (-0.02, 0.04)).model_copy(update={"status": "block"})
WORSE = parts.target(0.6, 0.588, -0.012, (-0.04, 0.016)).model_copy(update={"status": "block"})
TAIL = parts.tail("block", 0.7, 0.5, 0.28, (0.2, 0.36))
TOO_SURE = parts.calibration("block", 0.03, 0.11, 0.081, (0.062, 0.1), overconfident=True)
REPLAY = "Mix 5 to 20 % of general instruction data into the training data (replay): especially rows like `code`"
STATE = " (`trainer_state.json`)"
ROSE = {"eval_loss_lowest": 0.8, "eval_loss_lowest_epoch": 1.0, "eval_loss_last": 1.1, "epochs": 5.0}
STOP = "Stop at epoch 1: evaluation loss was lowest at epoch 1 (0.8) and rose to 1.1 by the end (`trainer_state.json`)."
MANY = "Train for 1 to 3 epochs: it was 5 (`trainer_state.json`)."

FORGETTING = {
    "the rate is high": (
        made({"learning_rate": 2e-4}, rank=64, alpha=64, targets=ALL_LINEAR),
        [
            f"Train again at a learning rate of 1e-4 or lower: 2e-4{STATE} is high for rank 64 on q, k, v, o, gate, up "
            "and down.",
            "Try rank 8 to 16, or train the attention projections alone (q, k, v and o): rank 64 on q, k, v, o, gate, "
            "up and down can overwrite much of the base.",
        ],
    ),
    "the rate is very high": (
        made({"learning_rate": 0.004}),
        ["Train again at a learning rate of 1e-4 or lower: 4e-3"],
    ),
    "just above": (made({"learning_rate": 1.2e-4}), ["Train again at a learning rate of 6e-5 or lower: "]),
    "the rate is moderate": (
        made({"learning_rate": 5e-5}, file="README.md"),
        ["Train again at a learning rate of 2e-5: 5e-5 (`README.md`) can go lower."],
    ),
    "not below what is low": (made({"learning_rate": 1.5e-5}), ["Train again at a learning rate of 1e-5: "]),
    "the rate is low": (
        made({"learning_rate": 1e-6}),
        [f"Look at how long, and on what, it was trained: the learning rate, 1e-6{STATE}, is already low."],
    ),
    "nothing is known": (
        {"kind": "adapter"},
        ["Train again at a third of the learning rate: if that is not enough, train for fewer steps."],
    ),
    "one epoch": (made({"epochs": 1.0}), ["Train again at a third of the learning rate."]),
    "many epochs": (made({"epochs": 5.0}), [MANY]),
    "many epochs planned": (made({"epochs_planned": 5.0}), [MANY]),
    "overfitting": (made(ROSE), [STOP]),
    "worse from the start": (
        made(ROSE | {"eval_loss_lowest_epoch": 0.0}),
        ["Check that it was trained on what it is evaluated on: evaluation loss was lowest at epoch 0 (0.8) and rose"],
    ),
    "a strong adapter": (
        made(alpha=128, rank=32),
        [
            "Lower alpha to 64 or less: alpha 128 at rank 32 multiplies every update by 4.",
            "Try rank 8 to 16, which leaves fewer ways to overwrite the base: it was 32.",
        ],
    ),
    "rsLoRA": (
        made(alpha=64, rank=64, rslora=True),
        ["Lower alpha to 16 or less: alpha 64 at rank 64 multiplies every update by 8 (rsLoRA: alpha / √rank)."],
    ),
    "wide": (
        made(targets=["c_fc", "up_proj"]),
        ["Train the attention projections alone (q and v): the adapter also changes the feed-forward layers"],
    ),
    "full weights": (
        {"kind": "full", "training": {"learning_rate": 2e-4, "files": {"args.json": ["learning_rate"]}}},
        [
            "Train again at a learning rate of 1e-5 or lower: 2e-4 (`args.json`) is high for full weights (if an "
            "adapter was merged into them, use 1e-4).",
            "Train a LoRA adapter of rank 8 to 16, which moves far less: the candidate has full weights, which forget "
            "most (unless an adapter was merged into them).",
        ],
    ),
    "full weights, low": (
        {"kind": "full", "training": {"learning_rate": 1e-6}},
        ["the learning rate, 1e-6, is already low"],
    ),
}


@pytest.mark.parametrize("case", FORGETTING)
def test_forgetting(case):
    candidate, said = FORGETTING[case]
    steps = next_steps(report(candidate, forgetting=FORGETS))
    for part in said:
        assert any(part in step for step in steps), steps
    assert steps[0].split()[0] in ("Train", "Lower", "Look")
    assert steps[-1].startswith(REPLAY)
    assert len(steps) <= MOST


DENIED = {
    "a low rate is not lowered": (made({"learning_rate": 1e-6}), ["again at", "a third", "Lower the"]),
    "a modest adapter is not blamed": (
        made({"learning_rate": 5e-5, "epochs": 2.0}),
        ["Try rank", "alpha", "feed", "times"],
    ),
    "rsLoRA within bounds": (made(alpha=16, rank=64, rslora=True), ["alpha"]),
    "three epochs are not many": (made({"epochs": 3.0}), ["epochs:"]),
    "one epoch is not shortened": (made({"epochs": 1.0}), ["epochs:", "steps", "shorter"]),
    "evaluation still falls": (made(ROSE | {"eval_loss_last": 0.8, "epochs": 2.0}), ["valuation loss"]),
    "a rise of one per cent is noise": (made(ROSE | {"eval_loss_last": 0.808, "epochs": 2.0}), ["valuation loss"]),
    "the best was kept": (made(ROSE, best_kept=True), ["valuation loss", "seen"]),
}


@pytest.mark.parametrize("case", DENIED)
def test_advice_denies_no_fact(case):
    candidate, unsaid = DENIED[case]
    text = "\n".join(next_steps(report(candidate, forgetting=FORGETS)))
    for part in unsaid:
        assert part not in text


TARGET = {
    "a low rate": (
        NO_GAIN,
        made({"learning_rate": 1e-6, "epochs": 2.0}),
        ["Train again at a learning rate of 5e-5 to 1e-4: 1e-6 (`trainer_state.json`) is low for a LoRA adapter."],
        ["too low"],
    ),
    "a low rate for full weights": (
        NO_GAIN,
        {"kind": "full", "training": {"learning_rate": 1e-7}},
        ["a learning rate of 5e-6 to 1e-5: 1e-7 is low for full weights."],
        [],
    ),
    "part of an epoch": (
        NO_GAIN,
        made({"epochs": 0.25}),
        ["Go through all of the data: only 0.25 of an epoch was trained (`trainer_state.json`)."],
        ["number of steps"],
    ),
    "a small adapter": (
        NO_GAIN,
        made(rank=2, alpha=4),
        ["Try rank 16, or all linear layers: rank 2 on q and v has little capacity."],
        [],
    ),
    "a weak adapter": (NO_GAIN, made(rank=64, alpha=16), ["alpha 16 at rank 64 scales every update by 0.25"], []),
    "an ordinary adapter": (
        NO_GAIN,
        made({"learning_rate": 1e-4, "epochs": 2.0}),
        ["Check that"],
        ["low"],
    ),
    "nothing known": (
        NO_GAIN,
        {},
        [
            "Check that the training data covers",
            ": check also that the loss fell and that the learning rate and the number of steps were not too low.",
        ],
        [],
    ),
    "it learnt": (
        NO_GAIN,
        made({"loss_first": 2.1, "loss_lowest": 0.4, "loss_last": 0.41}),
        [f"Training loss fell from 2.1 to 0.41{STATE}, so it did learn what it was given."],
        ["the loss fell", "training diverged"],
    ),
    "it did not learn": (
        NO_GAIN,
        made({"loss_first": 2.1, "loss_lowest": 2.05, "loss_last": 2.06}),
        ["Training loss hardly moved, from 2.1 to 2.06 (`trainer_state.json`)."],
        ["training diverged"],
    ),
    "worse": (
        WORSE,
        {},
        [
            "Look at the items that flipped",
            "suite, and that training did not diverge: the candidate does the task worse",
        ],
        [],
    ),
    "worse, and it learnt": (
        WORSE,
        made({"loss_first": 2.1, "loss_lowest": 0.4, "loss_last": 0.41, "learning_rate": 1e-6}),
        ["worse than the base. Look at the items that flipped. Training loss fell from 2.1 to 0.41"],
        ["diverge", "is low"],
    ),
    "it came apart": (
        WORSE,
        made({"loss_first": 2.1, "loss_lowest": 1.0, "loss_last": 1.9, "learning_rate": 3e-3}),
        [
            "Lower the learning rate from 3e-3 to 1e-3, clip gradients harder, or look for broken rows: training "
            f"diverged, its loss ended at 1.9, well above the lowest, 1{STATE}.",
        ],
        ["hardly", "did not diverge"],
    ),
    "it came apart at a low rate": (
        WORSE,
        made({"loss_first": 2.1, "loss_lowest": 1.0, "loss_last": 1.9, "learning_rate": 1e-6}),
        ["Clip gradients harder, or look for broken rows: training diverged"],
        ["ower the learning rate"],
    ),
    "noise near zero": (
        WORSE,
        made({"loss_first": 2.0, "loss_lowest": 0.02, "loss_last": 0.03}),
        ["Training loss fell from 2 to 0.03"],
        ["training diverged"],
    ),
    "overfitting": (NO_GAIN, made(ROSE), [STOP], []),
}


@pytest.mark.parametrize("case", TARGET)
def test_target(case):
    m, candidate, said, unsaid = TARGET[case]
    check(next_steps(report(candidate, target=m)), said, unsaid)


def test_training_harder_is_no_way_out_where_something_was_lost():
    candidate = made({"learning_rate": 1e-6, "epochs": 0.5}, rank=2)
    alone = "\n".join(next_steps(report(candidate, target=NO_GAIN)))
    both = "\n".join(next_steps(report(candidate, target=NO_GAIN, forgetting=FORGETS)))
    for more in ("is low for", "of an epoch", "little capacity"):
        assert more in alone
        assert more not in both


CALIBRATION = {
    "too sure": (
        {},
        [
            "Turn its confidence down (temperature scaling); no retraining needed: fit the temperature (above 1) on",
            "It is overconfident by 14.0 points on average.",
        ],
        [],
    ),
    "unknown": (
        made(),
        ["Train with label smoothing of 0.1 or for fewer epochs to fix the model itself."],
        ["instead"],
    ),
    "not smoothed": (
        made({"label_smoothing": 0.0, "epochs": 2.0}),
        [f"Train with label smoothing of 0.1 instead of 0{STATE} or for fewer epochs than 2{STATE} to fix"],
        [],
    ),
    "smoothed, one epoch": (made({"label_smoothing": 0.1, "epochs": 1.0}), ["fit the temperature"], ["Train"]),
    "many epochs": (made({"epochs": 5.0}), [MANY, "Train with label smoothing of 0.1 to fix"], ["fewer epochs"]),
    "overfitting": (made(ROSE), [STOP], ["fewer epochs"]),
}


@pytest.mark.parametrize("case", CALIBRATION)
def test_calibration(case):
    candidate, said, unsaid = CALIBRATION[case]
    check(next_steps(report(candidate, calibration=TOO_SURE)), said, unsaid)


@pytest.mark.parametrize(
    ("confidence", "said", "unsaid"),
    [
        (0.5, "It is underconfident by 10.0 points", "above 1"),
        (
            0.605,
            "Correct its confidence (temperature scaling); no retraining needed: fit the temperature on data outside",
            "above 1",
        ),
    ],
)
def test_a_model_that_is_not_too_sure_is_not_told_to_doubt(confidence, said, unsaid):
    m = TOO_SURE.model_copy(update={"details": {"candidate": {"confidence": confidence, "accuracy": 0.6}}})
    text = "\n".join(next_steps(report(made({"label_smoothing": 0.2}), calibration=m)))
    assert said in text
    assert unsaid not in text
    assert ("Train with less label smoothing than 0.2 (`trainer_state.json`)" in text) == (confidence < 0.55)


def test_the_tail_needs_more_of_its_kind():
    m = TAIL.model_copy(update={"regressed": 31})
    steps = next_steps(report(made(ROSE), tail=m))
    kinds = "Add training queries of the kinds that were lost (`ambiguous`): new ones, not the test items themselves."
    assert steps[0] == kinds
    assert "Start with queries like `ambiguous`: this slice was hit hardest (lost 39.2 % over 37 queries)." in steps[1]
    assert steps[2:] == [STOP]
    plain = m.model_copy(update={"slices": []})
    assert next_steps(report({}, tail=plain))[0] == (
        "Add training queries like those that were lost: new ones, such as ambiguous, multi-intent and oddly formatted "
        "ones, not the test items themselves."
    )
    plain.regressed = 0
    assert next_steps(report({}, tail=plain))[0].startswith("Add training queries of the kinds that this suite asks: ")


def test_the_kinds_of_query_that_are_named_are_tags_beyond_the_limit():
    names = {"wrong_script": 0.3, "distance decile 10": 0.9, "topic 2: like “x”": 0.8, "head": 0.7, "fine": 0.01}
    names |= {"long" * 20: 0.9, "clean and contaminated items": 0.6, "two_intents": 0.5, "small": 0.9}
    slices = [
        parts.SliceReport(name=name, n=5 if name == "small" else 40, base=0.5, candidate=0.4, change=change)
        for name, change in names.items()
    ]
    steps = next_steps(report({}, tail=TAIL.model_copy(update={"slices": slices, "regressed": 31})))
    assert steps[0].startswith("Add training queries of the kinds that were lost (`two_intents` and `wrong_script`): ")


def test_an_evaluation_that_still_improved_asks_for_no_shorter_training_but_against_forgetting():
    candidate = made(ROSE | {"eval_loss_last": 0.8})
    assert MANY in next_steps(report(candidate, forgetting=FORGETS))
    assert MANY not in next_steps(report(candidate, target=NO_GAIN, tail=TAIL, calibration=TOO_SURE))
    assert MANY in next_steps(report(made({"epochs": 5.0}), target=NO_GAIN, tail=TAIL, calibration=TOO_SURE))


def test_the_same_advice_stands_once():
    steps = next_steps(report(made(ROSE), forgetting=FORGETS, tail=TAIL, calibration=TOO_SURE))
    assert steps.count(STOP) == 1
    lower = [step.lower() for step in next_steps(samples.blocked())]
    assert sum("stop at epoch 1.5" in step for step in lower) == 1, "though another measurement is undecided"


def test_overlapping_suites_give_the_same_advice_once_and_name_what_else_they_are_about():
    german = FORGETS.model_copy(update={"kind": "forgetting"})
    steps = next_steps(
        report(made({"learning_rate": 2e-4}, rank=64), forgetting=FORGETS, german=german, calibration=TOO_SURE)
    )
    heads = [step.split(": ")[0] for step in steps if not step.startswith("Confidence")]
    assert len(heads) == len(set(heads))
    assert sum("(replay)" in step for step in steps) == 1
    assert any(
        step.startswith("Confidence: turn its confidence down (temperature scaling); no retraining needed")
        for step in steps
    )


def test_likely_forgetting_is_treated_before_it_is_proven():
    m = parts.forgetting("inconclusive", 0.8, 0.71, 0.11, (0.05, 0.17), needed_n=500)
    steps = next_steps(report(made(ROSE | {"learning_rate": 2e-4}, rank=64), forgetting=m))
    assert steps[0].startswith(
        "Raise `measurements.forgetting.n_max` in `.github/ftgate.yml` to 500: the suite (`evals/general"
    )
    assert steps[1].startswith("Train again at a learning rate of 1e-4 or lower")
    assert len(steps) == MOST


def test_a_likely_loss_is_treated_where_there_is_no_warning_limit_too():
    """The estimate is beyond the limit: more items would only prove it."""
    form = of_form("inconclusive", "rise in malformed answers", 0.136, (0.03, 0.21))
    steps = next_steps(report(made({}), form=form))
    assert steps[0] == "Measure about 700 items: this run had 104."
    assert "training used the base's chat template" in steps[1]


def test_rows_by_how_they_are_scored_are_nothing_to_train_on():
    by_rule = FORGETS.slices[0].model_copy(update={"name": rule_agreement.NAME, "change": 1.0})
    update = {"slices": [*FORGETS.slices, by_rule], "details": {"worst_slice": {"name": rule_agreement.NAME}}}
    m = FORGETS.model_copy(update=update)
    assert rule_agreement.NAME not in "\n".join(next_steps(report(made({}), forgetting=m)))


def test_a_base_that_makes_no_tool_call_needs_no_more_items():
    note = f"the base gets none of the 22 {NO_RIGHT_CALLS}: only what needs no call is compared"
    tools = parts.forgetting("inconclusive", 0.25, 0.25, 0.0, (-0.3, 0.2), needed_n=217)
    tools = tools.model_copy(update={"kind": "tools", "details": {"notes": [note]}})
    (step,) = next_steps(report(made({}), tools=tools))
    assert step.startswith("Use weights whose chat template shows tools")
    assert "leave tools out of the policy" in step


UNDECIDED = {
    "items": (
        {"needed_n": 640},
        "Add about 120 rows to `evals/queries.jsonl` and raise `measurements.tail.n_max` in `.github/ftgate.yml` to "
        "640: about 640 are needed, and this run had 104.",
    ),
    "no number": ({}, "Measure more items than 104."),
    "both at zero": (
        {"base": 0.0, "candidate": 0.0, "needed_n": 640},
        "Check that the scorer and the format of the references fit the answers, or put examples of the format into "
        "the prompts: both models score 0 on 104 items, and more items would not change that.",
    ),
    "a low base": (
        {"base": 0.09, "reason": "the base scores so low that a loss of 10 % could go unseen, so only an improvement"},
        "Choose an easier suite, or a scorer that fits its answers, or",
    ),
    "one cluster": (
        {"reason": "straddles the limit; 1 cluster is too few to resample: at least 30 are needed"},
        "Add rows from other clusters: more rows from the same ones do not help.",
    ),
    "too close": (
        {"reason": f"relative drop 14.9 % [14 %, 16 %] straddles the limit 15.0 %, {TOO_CLOSE}"},
        "Change the candidate, or the limit",
    ),
    "contaminated": (
        {"reason": "it passes on the clean items, but not with the 90 contaminated ones: relative drop 20 %"},
        "Replace the contaminated items, which the report lists, by held-out ones.",
    ),
    "failures": (
        {"reason": "12 of 400 items failed; the first failure: too long"},
        "Solve the failure that",
    ),
    "no score": (
        {"reason": "12 of 400 items have no score: no answer"},
        "Look at the item that the reason",
    ),
    "A/A": (
        {"reason": "control failed: the base against itself changed by 9.0 % on 100 items"},
        "Set `engine.dtype` in `.github/ftgate.yml` to float32",
    ),
    "a blind suite": (
        {"reason": "control failed: a base with 30 % of its answers corrupted passed: this suite cannot detect such a "
         "loss"},
        "Choose another scorer, or items whose right answers differ",
    ),
    "no tail": (
        {"n": 0, "change": None, "interval": (None, None), "base": None, "candidate": None,
         "reason": "no query is in the tail: tag edge cases or give training_data"},
        "Tag edge cases (`ambiguous`, `multi_intent`, `unusual_format`) in the suite",
    ),
    "letters": (
        {"reason": "the base puts only 4 % of its probability on the option letters"},
        "Set `measurements.tail.form: sampled` in",
    ),
    "incoherent": (
        {"reason": "42 of the 75 answers to must-refuse requests are incoherent (the base's: 4): they say nothing"},
        "Read the incoherent answers in the page (safety, `must_refuse`): if broken",
    ),
    "something else": (
        {"interval": (0.0, 0.01), "change": 0.0, "reason": "an absolute drop cannot pass before the last look"},
        "Solve what keeps it undecided: an absolute drop cannot pass before the last look.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNDECIDED)
def test_what_is_undecided_names_the_fact_that_stands_in_the_way(case):
    changes, said = UNDECIDED[case]
    m = parts.tail("inconclusive", 0.7, 0.61, 0.129, (0.05, 0.21), reason="straddles").model_copy(update=changes)
    steps = next_steps(report({}, tail=m))
    assert steps[0].startswith(said), steps
    assert not any("fix what the reason names" in step or "clear up" in step for step in steps)


def test_what_is_not_applicable_says_what_would_make_it_so():
    m = parts.tail("not_applicable", 0.01, 0.0, 0.01, (-0.01, 0.03), reason="nothing to lose: the base scores 1.0 %")
    assert next_steps(report({}, tail=m))[0].startswith("Choose an easier suite")


def test_a_measurement_that_another_cut_short_needs_nothing():
    short = "undecided when the run stopped at look 1 of 4, because tail blocked"
    m = parts.forgetting("inconclusive", 0.8, 0.7, 0.12, (0.02, 0.22), reason=short, cut_short_by="tail")
    assert next_steps(report(made(ROSE), forgetting=m, tail=TAIL)) == next_steps(report(made(ROSE), tail=TAIL))


def test_a_warning_by_the_upper_bound_alone_asks_for_items_and_no_training():
    m = parts.forgetting("warn", 0.8, 0.79, 0.01, (-0.06, 0.09))
    assert next_steps(report(made(ROSE), forgetting=m)) == [
        "Measure more items than 200 to rule out 8.0 %: it lost 1.0 % by estimate, and 9.0 % is possible."
    ]
    m = parts.forgetting("warn", 0.8, 0.73, 0.085, (0.07, 0.095))
    assert next_steps(report(made({"learning_rate": 2e-4}), forgetting=m))[0].startswith("Train again at")


SAME = parts.target(0.6, 0.602, 0.002, (-0.01, 0.014)).model_copy(
    update={"status": "inconclusive", "regressed": 8, "improved": 9, "limits": {"min_gain": 0.0}}
)


@pytest.mark.parametrize(
    ("candidate", "base", "changes", "said"),
    [
        ({"kind": "full", "quantisation": "int8"}, {}, {}, "Set `measurements.target.min_gain` in"),
        ({"kind": "full"}, {}, {}, "Set `measurements.target.min_gain` in"),
        ({"kind": "full"}, {}, {"regressed": 20}, ""),
        ({"kind": "full"}, {}, {"base": 0.0, "candidate": 0.0, "regressed": 0, "improved": 0}, ""),
        ({"kind": "full", "quantisation": "int8"}, {"quantisation": "int8"}, {"regressed": 30}, ""),
        (made({"learning_rate": 1e-5}), {}, {}, ""),
        ({"kind": "full", "training": {"learning_rate": 1e-5}}, {}, {}, ""),
        ({"kind": "full", "quantisation": "int8"}, {}, {"limits": {"min_gain": -0.02}}, ""),
    ],
)
def test_a_copy_is_told_of_a_negative_least_gain(candidate, base, changes, said):
    found = report(candidate, target=SAME.model_copy(update=changes))
    found.provenance["base"] = base
    steps = next_steps(found)
    assert any(step.startswith(said) for step in steps) if said else not any("min_gain" in step for step in steps)
    assert not said or " to a small loss that you accept, such as -0.02" in steps[0]


def test_an_unfit_judge_is_replaced_before_anything_is_retrained():
    m = parts.forgetting("inconclusive", 0.8, 0.7, 0.12, (0.11, 0.19), reason="judge unfit: AUROC lower bound 0.61")
    steps = next_steps(report(made({"learning_rate": 1e-3}), forgetting=m))
    assert len(steps) == 1
    assert steps[0].startswith("Use a stronger `judge` in `.github/ftgate.yml`, or add")


def test_nothing_to_do():
    assert next_steps(samples.allowed()) == []
    step = first_step(samples.allowed(), [])
    assert step is not None
    assert step.action == "You may merge: every measurement passed."


def test_a_line_is_never_cut_in_the_comment():
    candidate = made(ROSE | {"learning_rate": 2e-4}, rank=64, alpha=1e5, rslora=True, targets=[40 * "x"] * 99)
    found = report(candidate, target=NO_GAIN, forgetting=FORGETS, tail=TAIL, calibration=TOO_SURE)
    text = render_comment(found)
    advice = text[text.index("**What to do next (author):**") :].split("\n|")[0]
    folded = text[text.index("<summary>Why this helps, and what else to try") :].split("</details>")[0]
    assert "more characters" not in advice + folded


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3),
    max_leaves=6,
)
NUMBERS = st.sampled_from([0, 1e-300, 1e-9, 1e-5, 2e-4, 0.5, 1, 3, 64, 1e5, 1e14, math.inf, math.nan, -1]) | JSON
CANDIDATES = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["adapter", "full"]) | JSON,
        "rank": NUMBERS,
        "alpha": NUMBERS,
        "rslora": JSON,
        "targets": st.lists(st.sampled_from(ALL_LINEAR) | JSON, max_size=30) | JSON,
        "training": JSON
        | st.fixed_dictionaries(
            {},
            optional={
                **dict.fromkeys(FACTS, NUMBERS),
                "best_kept": JSON,
                "files": JSON
                | st.dictionaries(st.text(max_size=8), st.lists(st.sampled_from(FACTS) | JSON), max_size=3),
            },
        ),
    },
)


@settings(deadline=None)
@given(CANDIDATES | JSON)
def test_odd_provenance_is_ignored(candidate):
    found = report(candidate, target=NO_GAIN, forgetting=FORGETS, tail=TAIL, calibration=TOO_SURE)
    steps = next_steps(found)
    assert 4 <= len(steps) <= 4 * MOST
    assert not any("nan" in step or "inf" in step.replace("information", "") for step in steps)
    again = Report.model_validate_json(json.dumps(plain(found.model_dump())))
    assert len(next_steps(again)) == len(steps)


def of_form(status, unit, change, interval):
    update = {"unit": unit, "limits": {"block": 0.1}, "worse": "up", "needed_n": 700}
    return parts.tail(status, 0.1, 0.1 + change, change, interval).model_copy(update=update)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        (of_form("block", "rise in malformed answers", 0.8, (0.7, 0.9)), "training used the base's chat template"),
        (
            of_form("block", "rise in cut answers", 0.8, (0.7, 0.9)),
            "End every training row with the end-of-turn token, and train on that token too: ",
        ),
        (of_form("inconclusive", "rise in malformed answers", 0.06, (0.0, 0.12)), "Measure about 700 items: this"),
        (
            of_form("inconclusive", "rise in cut answers", 0.06, (0.0, 0.12)),
            "Raise `max_tokens` in `.github/ftgate.yml` (`max_gen_toks` of an lm-eval task): fewer",
        ),
    ],
)
def test_form(form, said):
    steps = next_steps(report(made({}), form=form))
    assert said in "\n".join(steps)


def test_what_more_items_do_not_settle_may_be_settled_by_a_longer_limit():
    cut = of_form("inconclusive", "rise in cut answers", 0.1, (0.08, 0.12)).model_copy(update={"reason": TOO_CLOSE})
    (step,) = next_steps(report(made({}), form=cut))
    assert step == (
        "Raise `max_tokens` in `.github/ftgate.yml` (`max_gen_toks` of an lm-eval task): fewer answers are cut then."
    )
    failed = cut.model_copy(update={"reason": "3 items failed"})
    assert "Solve the failure" in next_steps(report(made({}), form=failed))[0]


def test_no_malformed_answers_of_either_model_are_no_score_of_zero():
    form = of_form("inconclusive", "rise in malformed answers", 0.0, (-0.1, 0.12)).model_copy(
        update={"base": 0.0, "candidate": 0.0}
    )
    (step,) = next_steps(report(made({}), form=form))
    assert step == "Measure about 700 items: this run had 104."


def test_what_is_not_applicable_and_holds_nothing_needs_nothing():
    unread = of_form("not_applicable", "rise in malformed answers", 0.0, (0.0, 0.0)).model_copy(
        update={"reason": "no measurement asks for free-form answers"}
    )
    found = report(made({}), form=unread).model_copy(update={"verdict": "allow"})
    step = first_step(found, next_steps(found))
    assert step is not None
    assert step.action == "You may merge: every measurement that applies passed."
    found.measurements["forgetting"] = FORGETS.model_copy(update={"tier": "advisory"})
    step = first_step(found, [])
    assert step is not None
    assert step.action == "You may merge: every measurement that gates and applies passed."


def files(suite: str = "evals/general.jsonl", policy: str = ".github/ftgate.yml") -> ReadersFiles:
    return ReadersFiles("german", policy, "models/bot.yaml", suite)


@pytest.mark.parametrize(
    ("step", "spoken"),
    [
        (
            "set `min_gain` to -0.02, `min_gain`",
            "set `measurements.german.min_gain` in `.github/ftgate.yml` to -0.02, `min_gain`",
        ),
        ("set `engine.dtype` to float32", "set `engine.dtype` in `.github/ftgate.yml` to float32"),
        ("name training_data in the manifest", "name training_data in the manifest (`models/bot.yaml`)"),
        ("tag edge cases in the suite (ambiguous)", "tag edge cases in the suite (`evals/general.jsonl`) (ambiguous)"),
        ("raise `thinking_max_tokens`", "raise `thinking_max_tokens`"),
    ],
)
def test_advice_names_the_readers_files(step: str, spoken: str) -> None:
    assert files().speak(step) == spoken
    assert ReadersFiles("german", "", "", "").speak(step) == step


def test_what_has_no_suite_has_no_fields_of_its_own() -> None:
    assert files("").speak("raise `max_tokens`") == "raise `max_tokens` in `.github/ftgate.yml`"
    assert files("back\\1slash").speak("the suite") == "the suite (`back\\1slash`)"


def test_the_files_are_those_of_the_report() -> None:
    found = report(made({}))
    found.provenance |= {"policy": "p.yml", "manifest": 7, "suites": {"tail": {"source": "t.jsonl", "items": 9}}}
    assert files_of(found, "tail") == ReadersFiles("tail", "p.yml", "", "t.jsonl", 9)
    assert files_of(found, "form").suite == ""
