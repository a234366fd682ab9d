"""The whole flow where it is easily wrong: bases without skill, answers that failed, policies that changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.players import CAREFUL, Player, Script, script
from support.world import World, write_rows

from ftgate.domain import Answer, Model, Question
from ftgate.engines.base import Ask
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError, ControlError, EngineError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.jobs.saved import checksum, load_saved_job, save_job
from ftgate.progress import SilentProgress
from ftgate.report import render
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")


def gate(world: World, play: Script, engine: ScriptedEngine | None = None) -> Report:
    job = load_job(world.policy_path, world.manifest_path)
    engines = {"engine": engine or ScriptedEngine(play), "judge_engine": ScriptedEngine(play)}
    return evaluate(job, world.root / "out", SilentProgress(), **engines)


def again(world: World) -> Report:
    world.save()
    return decide_again(world.root / "out", world.policy_path, world.root / "again", SilentProgress())


def numbers(report: Report) -> dict[str, Any]:
    data = report.model_dump(mode="json")
    for part in ("provenance", "timing", "engine_starts"):
        data.pop(part)
    return data


@pytest.mark.parametrize("stopping", ["none", "obrien_fleming"])
@pytest.mark.parametrize("skill", [0.0, 0.06])
def test_a_base_without_skill_at_the_new_job_does_not_hold_a_candidate_that_learned_it(
    world: World, skill: float, stopping: str
) -> None:
    world.policy["evidence"]["early_stopping"] = stopping
    world.save()
    report = gate(world, script(CAREFUL, base=Player(target=skill)))
    assert report.verdict == "allow", report.reasons


@pytest.mark.parametrize(("items", "status"), [(50, "inconclusive"), (200, "not_applicable")])
def test_a_base_without_skill_does_not_pass_for_losing_none(world: World, items: int, status: str) -> None:
    """With few items its skill is not known; with enough there is nothing that a copy could lose."""
    rows = [json.loads(row) for row in (world.root / "evals" / "target.jsonl").read_text().splitlines()]
    more = [{**rows[i % len(rows)], "id": f"t{i}", "prompt": f"another {i}"} for i in range(items)]
    write_rows(world.root / "evals" / "target.jsonl", more)
    world.policy["measurements"]["target"]["min_gain"] = -0.05
    world.policy["evidence"]["early_stopping"] = "none"
    world.save()
    report = gate(world, script(Player(target=0.0), base=Player(target=0.0)))
    assert report.measurements["target"].status == status, report.measurements["target"].reason
    assert status == "inconclusive" or "nothing that it could lose would block" in report.measurements["target"].reason


def test_one_lucky_answer_of_a_weak_base_is_not_a_change_of_the_base(world: World) -> None:
    def unsteady(model: Model, question: Question) -> Answer:
        if (
            question.repeat
            and question.measurement == "target"
            and question.item_id == lucky.setdefault("item", question.item_id)
        ):
            right = int(question.item_id[1:]) % 4
            return Answer(option_logprobs=tuple(-0.1 if i == right else -5.0 for i in range(4)))
        return script(CAREFUL, base=Player(target=0.0))(model, question)

    lucky: dict[str, str] = {}
    report = gate(world, unsteady)
    assert report.controls["a_a"]["target"]["change"] == pytest.approx(-1 / 50)
    assert report.verdict == "allow", report.reasons


def test_a_suite_with_choices_may_be_answered_in_free_form(world: World) -> None:
    choices = ["word", "no idea", "else"]
    rows = [{"id": f"g{i}", "prompt": f"spell {i}", "choices": choices, "answer": "word"} for i in range(200)]
    write_rows(world.root / "evals" / "general.jsonl", rows)
    world.policy["measurements"]["forgetting"]["scorer"] = "contains"
    world.save()
    report = gate(world, script(CAREFUL))
    assert report.controls["positive_control"]["forgetting"]["ok"]
    assert report.verdict == "allow", report.reasons


def test_a_collapse_from_a_low_base_is_blocked(world: World) -> None:
    """With so high a limit there is no positive control, and from 0.1 no score can fall by 25 points: by all of it."""
    world.policy["measurements"]["forgetting"] |= {"scorer": "exact", "warn_drop": 0.25, "block_drop": 0.25}
    world.save()
    report = gate(world, script(Player(target=0.9, forgetting=0.0), base=Player(forgetting=0.1)))
    assert report.measurements["forgetting"].status == "block"
    assert report.measurements["forgetting"].unit == "relative drop"


def failing(model: Model, question: Question) -> Answer:
    if question.measurement == "target" and question.item_id == "c7":
        return Answer(finish="error", error="the prompt has 9000 tokens")
    return script(CAREFUL)(model, question)


def test_decide_takes_the_same_decision_when_an_answer_failed(world: World) -> None:
    report = gate(world, failing)
    assert numbers(again(world)) == numbers(report)


def test_deciding_again_opens_no_file_that_the_folder_it_came_in_names(finished: World) -> None:
    saved = finished.root / "out" / "job.json"
    document = json.loads(saved.read_text(encoding="utf-8"))
    document["training"] |= {"path": "/proc/self/environ", "skipped": -1}
    document["query_log"] = document["training"]
    document["sha256"] = checksum(document)
    saved.write_text(json.dumps(document), encoding="utf-8")
    job = load_saved_job(saved.parent, None).job
    for named in (job.training, job.query_log):
        assert named is not None
        assert named.paths == ()


def test_an_answer_that_failed_is_asked_for_again_by_the_next_run(world: World) -> None:
    gate(world, failing)
    engine = ScriptedEngine(script(CAREFUL))
    healed = gate(world, script(CAREFUL), engine)
    assert {ask.question.item_id for ask in engine.asked} == {"c7"}
    assert numbers(again(world)) == numbers(healed)


def test_every_answer_that_was_given_is_kept_when_the_engine_breaks(world: World) -> None:
    engine = ScriptedEngine(script(CAREFUL), fail_after=37)
    with pytest.raises(EngineError):
        gate(world, script(CAREFUL), engine)
    lines = map(json.loads, (world.root / "out" / "answers.jsonl").read_text().splitlines())
    assert sum(line["type"] == "answer" and line["model"] != "judge" for line in lines) == 37


def change(section: str, field: str, to: object) -> Callable[[World], None]:
    def apply(world: World) -> None:
        place = world.policy["measurements"] if section in world.policy["measurements"] else world.policy
        place[section][field] = to

    return apply


@pytest.fixture(scope="module")
def short_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a run that asked 150 rows for the target."""
    world = World(tmp_path_factory.mktemp("short") / "world")
    world.policy["measurements"]["target"]["n"] = 150
    world.save()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "pictures", lambda report: {})
        gate(world, script(CAREFUL))
    return world.root


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (change("target", "dataset", "evals/choices.jsonl"), "measurements.target.dataset"),
        (change("tail", "n", 100), "measurements.tail.n"),
        (change("target", "n_max", 300), "measurements.target.n_max"),
        (change("judge", "source", "models/other"), "judge"),
        (change("engine", "dtype", "float16"), "engine"),
    ],
)
def test_decide_names_no_policy_that_gave_none_of_the_answers(
    world: World, short_once: Path, edit: Callable[[World], None], named: str
) -> None:
    shutil.copytree(short_once, world.root, dirs_exist_ok=True)
    world.policy["measurements"]["target"]["n"] = 150
    edit(world)
    with pytest.raises(ConfigurationError, match=f"differs in {named}"):
        again(world)


def test_decide_with_a_judge_where_none_was_asked(world: World) -> None:
    world.policy["measurements"]["forgetting"]["scorer"] = "exact"
    world.save()
    gate(world, script(CAREFUL))
    world.policy["measurements"]["forgetting"]["scorer"] = "judge"
    with pytest.raises(ConfigurationError, match="differs in judge"):
        again(world)


def test_decide_with_a_scorer_that_the_rows_do_not_serve(finished: World) -> None:
    finished.policy["measurements"]["forgetting"]["scorer"] = "choice"
    with pytest.raises(ConfigurationError, match="no choices"):
        again(finished)


def test_a_new_limit_for_one_measurement_asks_no_judge_about_another(world: World) -> None:
    world.policy["evidence"]["early_stopping"] = "obrien_fleming"
    world.policy["measurements"]["target"]["min_gain"] = 0.25
    world.save()
    first = gate(world, script(CAREFUL))
    world.policy["measurements"]["target"]["min_gain"] = 0.0
    second = again(world)
    assert first.stopping is not None
    assert second.stopping is not None
    assert second.stopping.looks["target"] != first.stopping.looks["target"]
    assert second.measurements["forgetting"] == first.measurements["forgetting"]


class Sorting(ScriptedEngine):
    """Answers like a real engine, neighbours together, and keeps who was asked in one call."""

    def __init__(self, play: Script) -> None:
        super().__init__(play)
        self.calls: list[list[Question]] = []

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        self.calls.append([ask.question for ask in asks])
        return super().ask(asks)


def test_the_base_is_asked_again_in_other_company(world: World) -> None:
    engine = Sorting(script(CAREFUL))
    gate(world, script(CAREFUL), engine)
    twice = [call for call in engine.calls if any(q.repeat for q in call)]
    assert len(twice) == 2
    assert all(q.repeat for call in twice for q in call), "no question stands beside its own copy"
    pilot, first_pass = engine.calls[:2]
    assert sum(map(len, twice)) == len(pilot) + len(first_pass), "what the pilot asked is not asked again"


def test_probabilities_that_are_not_numbers_stop_the_run(world: World) -> None:
    def next_token(model: Model, prompt: object) -> dict[int, float]:
        return {1: float("nan") if model.name == "bot" else -0.1, 2: -2.5}

    engine = ScriptedEngine(script(CAREFUL), next_token=next_token)
    with pytest.raises(ControlError, match=r"bot .*NaN"):
        gate(world, script(CAREFUL), engine)


def test_training_data_is_compared_with_the_target_whether_or_not_a_tail_is_measured(world: World) -> None:
    world.policy["measurements"].pop("tail")
    write_rows(world.root / "evals" / "train.jsonl", [{"prompt": f"target {i}"} for i in range(10)])
    world.save()
    report = gate(world, script(CAREFUL))
    entry = next(line for line in report.checklist if "held out" in line.item)
    assert entry.ok is False
    assert entry.evidence.startswith("10 of the suite's 200 rows")


@pytest.mark.parametrize("content", ["[]", "{}", '{"schema_version": "0.1"}'])
def test_a_job_of_another_kind_is_named(world: World, content: str) -> None:
    (world.root / "out").mkdir()
    (world.root / "out" / "job.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"job\.json: not a job"):
        again(world)


def test_no_flipped_bit_in_a_job_leads_to_another_one(world: World) -> None:
    small = {"target": world.policy["measurements"]["target"]}
    write_rows(
        world.root / "evals" / "target.jsonl", [{"id": "a", "prompt": "a?", "choices": ["x", "y"], "answer": "x"}]
    )
    world.policy["measurements"] = small
    world.save()
    job, engine = load_job(world.policy_path, world.manifest_path), ScriptedEngine(script(CAREFUL))
    folder = world.root / "saved"
    (folder / "suites").mkdir(parents=True)
    save_job(job, engine.info(), None, folder)
    path = folder / "job.json"
    content, whole = path.read_bytes(), load_saved_job(folder, None)
    errors = []
    for position in np.random.default_rng(0).choice(8 * len(content), 500, replace=False):
        changed = bytearray(content)
        changed[position // 8] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            assert load_saved_job(folder, None) == whole, position
        except ConfigurationError as error:
            errors.append(error)
    assert len(errors) > 400, "few of the bits are of white space"
    assert all(str(path) in error.message and "ftgate run" in error.hint for error in errors)


@pytest.mark.parametrize("stopping", ["none", "obrien_fleming"])
def test_an_open_result_goes_on_to_n_max_items_and_a_settled_one_does_not(world: World, stopping: str) -> None:
    world.policy["evidence"]["early_stopping"] = stopping
    sections = world.policy["measurements"]
    sections["target"] |= {"n": 60, "n_max": 200}
    sections["tail"] |= {"n": 120, "n_max": 400}
    world.save()
    report = gate(world, script(Player(target=0.63)))
    assert report.stopping is not None
    assert report.measurements["target"].n == 200, "three points on 60 items settle nothing"
    assert report.stopping.looks["target"] == (2 if stopping == "none" else 7)
    assert report.stopping.questions_added == 2 * 140
    assert report.measurements["tail"].details["queries"] <= 120, "the planned items are enough to decide"
    assert report.measurements["tail"].status == "pass"
    # What was never planned is no saving where nobody had to ask it.
    assert (report.stopping.questions_saved == 0) == (stopping == "none")


def test_n_max_below_n_is_refused(world: World) -> None:
    world.policy["measurements"]["target"] |= {"n": 60, "n_max": 50}
    world.save()
    with pytest.raises(ConfigurationError, match="n_max 50"):
        load_job(world.policy_path, world.manifest_path)


def test_a_small_tail_is_thin_not_blind_and_does_not_hold_a_sound_candidate(world: World) -> None:
    world.policy["measurements"]["tail"] |= {"n": 60}
    world.save()
    report = gate(world, script(Player(target=0.9, tail=0.6), base=Player(tail=0.3)))
    control = report.controls["positive_control"]["tail"]
    assert control["status"] == "inconclusive"
    assert control["ok"] is None
    assert "too few items for a loss" in control["reason"]
    assert report.measurements["tail"].status == "pass"


def test_a_candidate_that_does_not_answer_with_letters_does_not_pass_calibration(world: World) -> None:
    def wordy(model: Model, question: Question) -> Answer:
        answer = script(CAREFUL)(model, question)
        if model.name == "bot" and question.measurement == "calibration":
            return Answer(option_logprobs=tuple(value - 5 for value in answer.option_logprobs))
        return answer

    report = gate(world, wordy)
    assert report.measurements["calibration"].status == "inconclusive"
    assert "option letters" in report.measurements["calibration"].reason
