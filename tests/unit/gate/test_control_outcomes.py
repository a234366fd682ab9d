"""What the controls find, and which results they overrule: a pass with a warning as well as a plain one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.evidence import items
from support.world import World, write_rows

from ftgate.domain import Answer, EngineInfo, Estimate, Finding, Message, Model, Pair, Question, Status
from ftgate.engines.scripted import ScriptedEngine
from ftgate.engines.split import SplitEngine
from ftgate.errors import ConfigurationError, ControlError, EngineError
from ftgate.gate import adapter_effect, controls
from ftgate.gate.adapter_effect import APART, NOTHING_SHARED
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.derived_run import DerivedRun
from ftgate.gate.journal import Journal
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.gate.result import Result
from ftgate.gate.served import effect_line
from ftgate.jobs.prepare import load_job
from ftgate.measurements.base import Evidence, JudgeValidation
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.looks import Look
from ftgate.progress import SilentProgress
from ftgate.scoring.scores import PairedScores

SAID = (Answer(text="x", tokens=1),)
PAIRS = tuple(Pair(item, SAID, SAID) for item in items(10))
VALIDATION = JudgeValidation(True, "fit", 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 9, 9)


def finding(status: Status, **more: Any) -> Finding:
    estimate = Estimate("forgetting", 0.8, 0.7, 0.1, "relative drop", (0.0, 0.2), 0.9, 10, "test", "up", 0.1, **more)
    return Finding(estimate, status, "because")


def result(status: Status, *, judged: bool = False, pairs: tuple[Pair, ...] = PAIRS) -> Result:
    scored = PairedScores.exact(items(10), np.ones(10), np.ones(10), binary=True)
    evidence = Evidence(pairs, scored, 0.05, 400, judge_validation=VALIDATION if judged else None)
    return Result(Look(1, 1, 1.0, 0.05), pairs, scored, finding(status), evidence)


@dataclass
class Run:
    """One measurement that is done, and what it says of answers that were corrupted."""

    result: Result | None = field(default_factory=lambda: result(Status.PASS))
    corrupted_status: Status = Status.BLOCK
    measurement: Forgetting = field(default_factory=lambda: Forgetting(dataset="x"))
    seen: list[Sequence[Pair]] = field(default_factory=list)
    name: str = "forgetting"
    status_of_fewer: Status = Status.BLOCK
    shares: list[float] = field(default_factory=list)
    ungraded: bool = False

    def corrupted(self, pairs: Sequence[Pair], share: float = 1.0) -> Result:
        self.seen.append(pairs)
        self.shares.append(share)
        if self.ungraded:
            raise ConfigurationError("the journal lacks answers", hint="run again")
        return result(self.corrupted_status if len(pairs) == len(PAIRS) or share == 1 else self.status_of_fewer)


def outcomes(**changes: Any) -> Mapping[str, Any]:
    sound = {"ok": True, "reason": "sound"}
    return {"a_a": {"forgetting": sound}, "positive_control": {"forgetting": sound}} | {
        name: value if name == "judge_model" else {"forgetting": value} for name, value in changes.items()
    }


FAILED = {"ok": False, "reason": "it failed"}
EVERY = (Status.PASS, Status.WARN, Status.BLOCK, Status.INCONCLUSIVE)


@pytest.mark.parametrize("status", EVERY)
def test_sound_controls_change_nothing(status: Status) -> None:
    for unknown in (True, None):
        passed = outcomes(positive_control={"ok": unknown, "reason": ""}, a_a={"ok": unknown, "reason": ""})
        assert controls.apply_controls([Run(result(status))], passed)["forgetting"].finding == finding(status)


@pytest.mark.parametrize("status", EVERY)
def test_a_suite_that_passes_a_corrupted_base_can_pass_nothing_not_even_with_a_warning(status: Status) -> None:
    found = controls.apply_controls([Run(result(status))], outcomes(positive_control=FAILED))["forgetting"].finding
    if status in (Status.PASS, Status.WARN):
        assert (found.status, found.reason) == (Status.INCONCLUSIVE, "control failed: it failed")
    else:
        assert found == finding(status)


@pytest.mark.parametrize("status", EVERY)
def test_noise_overrules_every_decision_a_block_included(status: Status) -> None:
    found = controls.apply_controls([Run(result(status))], outcomes(a_a=FAILED))["forgetting"].finding
    assert (found.status, found.reason) == (Status.INCONCLUSIVE, "control failed: it failed")


@pytest.mark.parametrize("status", EVERY)
def test_a_judge_that_changed_overrules_what_it_graded_and_nothing_else(status: Status) -> None:
    controlled = outcomes(judge_model=FAILED)
    graded = controls.apply_controls([Run(result(status, judged=True))], controlled)["forgetting"].finding
    assert (graded.status, graded.reason) == (Status.INCONCLUSIVE, "control failed: it failed")
    ruled = controls.apply_controls([Run(result(status))], controlled)["forgetting"].finding
    assert ruled == finding(status)
    sound = controls.apply_controls([Run(result(status, judged=True))], outcomes(judge_model={"ok": True}))
    assert sound["forgetting"].finding == finding(status)


@pytest.mark.parametrize(
    ("status", "ok", "words"),
    [
        (Status.BLOCK, True, "was blocked"),
        (Status.PASS, False, "cannot detect such a loss"),
        (Status.WARN, False, "cannot detect such a loss"),
        (Status.INCONCLUSIVE, None, "too few items"),
        (Status.ERROR, None, "too few items"),
    ],
)
def test_what_a_corrupted_base_comes_to(status: Status, ok: bool | None, words: str) -> None:
    outcome = controls.positive_control([Run(corrupted_status=status)], 0)["forgetting"]
    assert outcome["ok"] is ok
    assert outcome["reason"].startswith("a base with 30 % of its answers corrupted ")
    assert words in outcome["reason"]
    assert (outcome["change"], outcome["status"]) == (0.1, status.value)


def test_a_corrupted_base_of_which_nothing_can_be_said_was_not_tested() -> None:
    outcome = controls.positive_control([Run(corrupted_status=Status.NOT_APPLICABLE)], 0)["forgetting"]
    assert outcome == {"ok": None, "reason": "not run: because"}


def test_the_corrupted_answers_depend_on_the_seed_and_the_name_alone() -> None:
    runs = [Run(), Run(), Run(name="tail"), Run()]
    for run, seed in zip(runs, (0, 0, 0, 1), strict=True):
        controls.positive_control([run], seed)
    first, again, other, reseeded = (run.seen[0] for run in runs)
    assert first == again
    assert other != first
    assert reseeded != first


@pytest.mark.parametrize(("tolerance", "tested"), [(0.1, True), (0.2, True), (0.201, False)])
def test_what_tolerates_about_that_loss_is_not_tested(tolerance: float, tested: bool) -> None:
    lenient, strict = Run(name="lenient"), Run()
    lenient.measurement = Forgetting(dataset="x", warn_drop=0.01, block_drop=tolerance)
    found = controls.positive_control([lenient, strict], 0)
    assert found["lenient"]["ok"] is (True if tested else None)
    assert bool(lenient.seen) == tested
    assert found["forgetting"]["ok"], "the next one is tested all the same"


MANY = tuple(Pair(item, SAID, SAID) for item in items(150))


@pytest.mark.parametrize(("status", "graded"), [(s, s in (Status.PASS, Status.WARN)) for s in Status])
def test_a_judge_grades_corrupted_answers_only_for_a_pass(status: Status, graded: bool) -> None:
    run = Run(result(status, judged=True))
    outcome = controls.positive_control([run], 0)["forgetting"]
    assert bool(run.seen) == graded
    assert outcome["ok"] is (True if graded else None)


def test_a_judge_grades_no_corrupted_answer_where_something_else_blocks_and_a_rule_scores_them_all_the_same() -> None:
    judged, ruled = Run(result(Status.PASS, judged=True)), Run(result(Status.BLOCK), name="tail")
    outcome = controls.positive_control([judged, ruled], 0)
    assert not judged.seen
    assert outcome["forgetting"] == controls.NOT_NEEDED
    assert outcome["tail"]["ok"]
    supporting = replace(ruled.result, finding=replace(finding(Status.BLOCK), tier="supporting"))
    controls.positive_control([judged, Run(supporting, name="tail")], 0)
    assert judged.seen, "a measurement that only supports does not block"


@pytest.mark.parametrize("fewer", [Status.BLOCK, Status.PASS, Status.INCONCLUSIVE])
def test_a_judge_grades_the_corrupted_answers_of_some_items_and_of_the_rest_only_if_those_do_not_block(
    fewer: Status,
) -> None:
    run = Run(result(Status.PASS, judged=True, pairs=MANY), status_of_fewer=fewer, corrupted_status=Status.PASS)
    outcome = controls.positive_control([run], 0)["forgetting"]
    enough = fewer is Status.BLOCK
    assert outcome["ok"] is enough, "what counts otherwise is the whole suite"
    assert [len(pairs) for pairs in run.seen] == [controls.FEWER_PAIRS, 150][: 1 if enough else 2]
    assert run.shares == [controls.FEWER_SHARE, 1.0][: 1 if enough else 2]
    if not enough:
        assert set(map(id, run.seen[0])) <= set(map(id, run.seen[1])), "no answer is corrupted in two ways"


def test_corrupted_answers_that_were_not_graded_when_a_run_blocked_let_no_other_policy_pass_it() -> None:
    run = Run(result(Status.PASS, judged=True), ungraded=True)
    outcomes_of_run = {"a_a": outcomes()["a_a"], "positive_control": controls.positive_control([run], 0)}
    decided = controls.apply_controls([run], outcomes_of_run)["forgetting"].finding
    assert decided.status is Status.INCONCLUSIVE
    assert decided.reason.endswith("run `ftgate run` again")
    ruled = Run(ungraded=True)
    with pytest.raises(ConfigurationError):
        controls.positive_control([ruled], 0)


class Served:
    """A judge behind an endpoint that gave these names."""

    def __init__(self, *names: str) -> None:
        self.served = {BASE: set(names)} if names else {}


def test_grades_by_two_models_do_not_compare() -> None:
    assert controls.judge_model(None) == {}
    assert controls.judge_model(Served()) == {}  # type: ignore[arg-type]
    one = controls.judge_model(Served("a"))["judge_model"]  # type: ignore[arg-type]
    assert (one["ok"], one["reason"]) == (True, "the judge's endpoint answered as a")
    two = controls.judge_model(Served("b", "a"))["judge_model"]  # type: ignore[arg-type]
    assert (two["ok"], two["names"]) == (False, ["a", "b"])
    assert two["reason"] == "the judge's endpoint answered as a, b: grades by two models differ"


BASE = Model("base", Path("base"), "sha256:" + "0" * 64)
CANDIDATE = replace(BASE, name="bot", path=Path("bot"), digest="sha256:" + "1" * 64)
SHORT = {5: -0.1, 7: -2.0}


def effect(tmp_path: Path, tables: Mapping[str, Sequence[Mapping[int, float]]], count: int = 12) -> dict[str, Any]:
    """The check with these tables of next-token log-probabilities: by model, the n-th of all it is asked for."""
    given = {name: iter(of) for name, of in tables.items()}
    engine = ScriptedEngine(lambda model, question: SAID[0], next_token=lambda model, prompt: next(given[model.name]))
    with Journal(tmp_path / "answers.jsonl") as journal:
        models = CachedEngine(engine, engine.info(), journal, SilentProgress())
        models.require([BASE, CANDIDATE])
        return adapter_effect.adapter_effect(models, BASE, CANDIDATE, items(count))


def shifted(by: float) -> dict[int, float]:
    return {5: -0.1, 7: -2.0 - by}


@pytest.mark.parametrize(
    ("noise", "change", "takes_effect"),
    [(0.0, 0.0, False), (0.0, 9e-6, False), (0.0, 2e-5, True), (0.1, 0.19, False), (0.1, 0.21, True)],
)
def test_a_change_within_the_noise_of_the_engine_is_none(
    tmp_path: Path, noise: float, change: float, takes_effect: bool
) -> None:
    tables = {"base": [SHORT] * 8 + [shifted(noise)] * 8, "bot": [SHORT] * 7 + [shifted(-change)]}
    if takes_effect:
        found = effect(tmp_path, tables)
        assert found == {"prompts": 8, "largest_change": pytest.approx(change), "noise": pytest.approx(noise)}
        return
    said = "on 8 prompts bot moves next-token" if noise else "on 8 prompts bot gives the base's next-token"
    with pytest.raises(ControlError, match=said) as caught:
        effect(tmp_path, tables)
    assert ("changed nothing" in caught.value.message) == (not noise), "noise may hide that it changed something"
    assert ("BATCH_INVARIANT" in caught.value.hint) == bool(noise)


def test_each_prompt_is_compared_with_itself_though_the_base_takes_them_backwards_the_second_time(
    tmp_path: Path,
) -> None:
    tables = [shifted(0.1 * i) for i in range(3)]
    found = effect(tmp_path, {"base": [*tables, *reversed(tables)], "bot": [shifted(0.1 * i + 1) for i in range(3)]}, 3)
    assert found == {"prompts": 3, "largest_change": pytest.approx(1.0), "noise": 0.0}


def test_models_without_a_token_in_common_differ(tmp_path: Path) -> None:
    found = effect(tmp_path, {"base": [SHORT] * 16, "bot": [{1: -0.1}] * 8})
    assert found["largest_change"] == NOTHING_SHARED
    line = effect_line(found)
    assert (line.ok, line.evidence) == (True, f"{APART} (8 prompts)")
    assert effect_line({**found, "forms": "one"}).evidence.startswith(f"{APART} (8 prompts); that may be")
    shown = effect_line({"prompts": 8, "largest_change": 2.41, "noise": 0.0}).evidence
    assert shown == "log-probabilities differ by up to 2.4 on 8 prompts"


@pytest.mark.parametrize("broken", ["base", "bot"])
def test_weights_that_compute_nan_are_named(tmp_path: Path, broken: str) -> None:
    tables = {"base": [SHORT] * 16, "bot": [{5: -0.5}] * 8}
    tables[broken] = [*tables[broken][:-1], {5: float("nan")}]
    with pytest.raises(ControlError, match=rf"{broken} \({broken}\) computes NaN"):
        effect(tmp_path, tables)


def test_an_effect_that_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    tables = {"base": [SHORT] * 16, "bot": [{5: -0.5}] * 8}
    assert effect(tmp_path, tables) == effect(tmp_path, {})
    other = replace(CANDIDATE, digest="sha256:" + "2" * 64)
    with Journal(tmp_path / "answers.jsonl") as journal:
        engine = ScriptedEngine(lambda model, question: SAID[0])
        models = CachedEngine(engine, engine.info(), journal, SilentProgress())
        models.require([BASE, CANDIDATE])
        with pytest.raises(EngineError, match="not loaded"):
            adapter_effect.adapter_effect(models, BASE, other, items(8))


def asked_twice(
    tmp_path: Path, second: float, alpha: float = 0.05, *, free_form: bool = False
) -> tuple[dict[str, Any], ScriptedEngine]:
    """The A/A test of two measurements and one that asks nothing; asked again, forgetting's base errs now and then.

    With ``free_form`` the target's only item is answered in free form.
    """
    world = World(tmp_path)
    for name in ("forgetting", "tail", "calibration"):
        world.policy["measurements"].pop(name)
    world.policy["measurements"]["forgetting"] = {"dataset": "evals/choices.jsonl", "scorer": "choice"}
    world.policy.pop("judge")
    world.policy["evidence"]["alpha"] = alpha
    if free_form:
        write_rows(tmp_path / "evals" / "free.jsonl", [{"id": "free", "prompt": "Say yes", "answer": "yes"}])
        world.policy["measurements"]["target"] |= {"dataset": "evals/free.jsonl", "scorer": "exact"}
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    rng = np.random.default_rng(0)

    def answer(model: Model, question: Question) -> Answer:
        right = int(question.messages[-1].content.split()[1]) % 4 if question.options else 0
        wrong = question.repeat == 1 and question.measurement == "forgetting" and rng.random() < second
        chosen = (right + wrong) % 4
        if not question.options:
            return Answer(text="yes", tokens=1)
        return Answer(option_logprobs=tuple(-0.1 if i == chosen else -4.0 for i in range(len(question.options))))

    engine = ScriptedEngine(answer)
    with Journal(tmp_path / "answers.jsonl") as journal:
        models = CachedEngine(engine, engine.info(), journal, SilentProgress())
        models.require([job.base])
        runs = [MeasurementRun(measurement, job, models) for measurement in job.measurements]
        derived = [DerivedRun(measurement, job, runs) for measurement in job.derived]
        return controls.aa_test(job, models, runs, derived), engine


def test_the_base_is_asked_twice_and_must_answer_alike(tmp_path: Path) -> None:
    found, engine = asked_twice(tmp_path / "same", 0.0)
    nothing_read = found.pop("form")
    assert {name: (outcome["ok"], outcome["change"]) for name, outcome in found.items()} == {
        "target": (True, 0.0),
        "forgetting": (True, 0.0),
    }
    assert nothing_read == {"ok": None, "reason": "not run: no answer was given in free form"}
    first = [ask.question for ask in engine.asked if ask.question.repeat == 0]
    again = [replace(ask.question, repeat=0) for ask in engine.asked if ask.question.repeat == 1]
    assert len(first) + len(again) == len(engine.asked)
    assert again == first[::2] + first[1::2], "in two halves, so that the batches are others"
    assert found["target"]["items"] + found["forgetting"]["items"] == len(first)
    found, _ = asked_twice(tmp_path / "other", 0.3)
    assert (found["target"]["ok"], found["forgetting"]["ok"]) == (True, False)
    assert controls.failed_aa({"a_a": found}) == {"forgetting"}


def test_the_form_of_a_single_answer_is_compared_too(tmp_path: Path) -> None:
    form = asked_twice(tmp_path, 0.0, free_form=True)[0]["form"]
    assert (form["ok"], form["items"], form["change"]) == (True, 1, 0.0)


def test_a_prompt_for_each_of_the_first_eight_items(tmp_path: Path) -> None:
    prompts: list[Sequence[Message]] = []
    engine = ScriptedEngine(lambda model, question: SAID[0])
    given = engine._next_token
    engine._next_token = lambda model, prompt: prompts.append(prompt) or given(model, prompt)
    with Journal(tmp_path / "answers.jsonl") as journal:
        models = CachedEngine(engine, engine.info(), journal, SilentProgress())
        models.require([BASE, CANDIDATE])
        adapter_effect.adapter_effect(models, BASE, CANDIDATE, items(12))
    asked = [item.messages for item in items(8)]
    assert prompts == [*asked, *reversed(asked), *asked]


def test_what_was_not_tested_says_how_much_would_have_been_corrupted() -> None:
    assert "corrupting 30 % of the answers" in controls.TOO_LENIENT["reason"]


@pytest.mark.parametrize(("share", "ok"), [(1.02, False), (0.98, True)])
def test_all_measurements_together_raise_a_false_alarm_as_rarely_as_one(tmp_path: Path, share: float, ok: bool) -> None:
    """Each of the three is tested at a third of alpha."""
    p_value = asked_twice(tmp_path / "p", 0.06)[0]["forgetting"]["p_value"]
    assert 0.001 < p_value < 0.1
    found, _ = asked_twice(tmp_path / "again", 0.06, alpha=3 * share * p_value)
    assert found["forgetting"]["p_value"] == p_value
    assert found["forgetting"]["ok"] is ok


@pytest.mark.parametrize(
    ("worse", "base", "limit", "run"),
    [("down", 0.5, -0.15, False), ("down", 0.5, -0.149, True), ("down", 0.5, 0.0, True), ("down", 0.0, 0.0, False)],
)
def test_a_base_that_has_no_more_to_lose_than_a_policy_allows_is_not_tested(
    worse: str, base: float, limit: float, run: bool
) -> None:
    found = Finding(replace(finding(Status.PASS).estimate, worse=worse, base=base, limit=limit), Status.PASS, "")
    outcome = controls.positive_control_outcome(found)
    assert outcome["ok"] is (False if run else None)
    if not run:
        costs = "corrupting 30 % of its answers costs no more than the limit allows"
        assert outcome["reason"] == f"not run: the base scores {100 * base:.1f} of 100, and {costs}"
    risen = Finding(replace(found.estimate, worse="up"), Status.PASS, "")
    assert controls.positive_control_outcome(risen)["ok"] is False


def described(model: Model, engine: dict[str, Any], facts: dict[str, Any], address: str = "") -> tuple[Model, Any]:
    info = EngineInfo("vllm", {}, "cpu", engine.pop("dtype", "float32"), settings=engine)
    return replace(model, facts=facts, address=address, kind="endpoint" if address else "full"), info


@pytest.mark.parametrize(
    ("candidate", "said"),
    [
        (({}, {}), ""),
        (({"max_num_seqs": 8}, {"training": 1}), ""),
        (({"dtype": "bfloat16"}, {}), "dtype float32 and bfloat16"),
        (
            ({"quantization": "fp8", "kv_cache_dtype": "fp8"}, {}),
            "quantization none and fp8, kv_cache_dtype none and fp8",
        ),
        (({}, {"quantisation": "awq"}), "stored quantisation none and awq"),
    ],
)
def test_another_form_than_the_base_proves_nothing_about_training(
    tmp_path: Path, candidate: tuple[dict[str, Any], dict[str, Any]], said: str
) -> None:
    base, base_info = described(BASE, {}, {})
    bot, info = described(CANDIDATE, *candidate)
    engine = ScriptedEngine(
        lambda model, question: SAID[0], next_token=lambda model, prompt: shifted(0.5 * (model == bot))
    )
    with Journal(tmp_path / "answers.jsonl") as journal:
        models = CachedEngine(engine, base_info, journal, SilentProgress(), own={bot: info})
        models.require([base, bot])
        found = adapter_effect.adapter_effect(models, base, bot, items(8))
        assert found.get("forms", "") == said
        assert adapter_effect.differing_forms(models, base, replace(bot, kind="adapter", base=base)) == ""
        assert adapter_effect.adapter_effect(models, base, bot, items(8)) == found


@pytest.mark.parametrize("other", [True, False])
def test_models_at_two_servers_may_differ_in_form(tmp_path: Path, other: bool) -> None:
    base, info = described(BASE, {}, {}, "http://a/v1")
    bot, _ = described(CANDIDATE, {}, {}, "http://b/v1" if other else "http://a/v1")
    with Journal(tmp_path / "answers.jsonl") as journal:
        models = CachedEngine(None, info, journal, SilentProgress())
        assert adapter_effect.differing_forms(models, base, bot) == ("they are at two servers" if other else "")


def test_weights_with_a_template_of_their_own_are_compared_in_the_bases(tmp_path: Path) -> None:
    """Otherwise the template would change the numbers, and hide that the weights do not."""
    base = replace(BASE, chat=(Path("base"), "the base's", "the base's"))
    bot = replace(CANDIDATE, chat=(Path("bot"), "its own", "its own"), facts={"chat": {"template": "its own"}})
    asked: list[Any] = []
    engine = ScriptedEngine(
        lambda model, question: SAID[0], next_token=lambda model, prompt: asked.append(model.chat) or SHORT
    )
    with Journal(tmp_path / "answers.jsonl") as journal:
        models = CachedEngine(engine, engine.info(), journal, SilentProgress())
        models.require([base, bot])
        with pytest.raises(ControlError, match="training changed nothing"):
            adapter_effect.adapter_effect(models, base, bot, items(8))
    assert asked[-8:] == [(Path("bot"), "the base's", "the base's")] * 8


@pytest.mark.parametrize(("of_base", "what"), [(True, "the adapter"), (False, "training")])
def test_what_had_no_effect_is_named(tmp_path: Path, of_base: bool, what: str) -> None:
    candidate = replace(CANDIDATE, base=BASE) if of_base else CANDIDATE
    engine = ScriptedEngine(lambda model, question: SAID[0], next_token=lambda model, prompt: SHORT)
    with Journal(tmp_path / "answers.jsonl") as journal:
        models = CachedEngine(engine, engine.info(), journal, SilentProgress())
        models.require([BASE, candidate])
        with pytest.raises(ControlError) as caught:
            adapter_effect.adapter_effect(models, BASE, candidate, items(8))
    assert caught.value.message.startswith(f"{what} changed nothing: on 8 prompts bot gives the base's")
    assert ("tensors" in str(caught.value.hint)) == of_base


@pytest.mark.parametrize("works", [True, False])
def test_an_adapter_in_another_form_is_compared_with_its_base_in_that_form(tmp_path: Path, works: bool) -> None:
    """The form alone moves the numbers by 0.5, which is no effect of the adapter."""
    candidate = replace(CANDIDATE, kind="adapter", base=BASE)
    form = shifted(0.5)
    as_today = ScriptedEngine(lambda model, question: SAID[0], next_token=lambda model, prompt: SHORT)
    as_served = ScriptedEngine(
        lambda model, question: SAID[0],
        next_token=lambda model, prompt: shifted(0.7) if works and model == candidate else form,
    )
    split, info = SplitEngine(BASE, as_today, as_served), as_today.info()
    with Journal(tmp_path / "answers.jsonl") as journal:
        own = {candidate: replace(info, dtype="fp8")}
        models = CachedEngine(split, info, journal, SilentProgress(), own=own)
        models.require([BASE, candidate])
        if works:
            found = adapter_effect.adapter_effect(models, BASE, candidate, items(8))
            assert (found["largest_change"], found["noise"]) == (pytest.approx(0.2), 0.0)
            replayed = CachedEngine(None, info, journal, SilentProgress(), own=own)
            assert adapter_effect.adapter_effect(replayed, BASE, candidate, items(8)) == found
        else:
            with pytest.raises(ControlError, match="the adapter changed nothing"):
                adapter_effect.adapter_effect(models, BASE, candidate, items(8))
