"""Rows of an lm-eval task, planned, checked and run without the harness."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.world import World

from ftgate.cli.main import main
from ftgate.datasets import Needs, lm_eval, read_suite
from ftgate.domain import Answer, Model, Question, TaskRequest
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError, DatasetError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import Job, load_job
from ftgate.planning.inputs import plan_run
from ftgate.progress import SilentProgress
from ftgate.scoring.text import UnscorableError

KEPT = Path(__file__).resolve().parents[1] / "support" / "lm_eval"


@pytest.fixture
def task_world(world: World) -> World:
    """A policy whose target is 230 rows of a task: those that the harness gave, ten times over."""
    rows = [json.loads(line) for line in (KEPT / "sentences.jsonl").read_text(encoding="utf-8").splitlines()]
    many = [
        {**row, "id": f"{row['id']}-{i}", "lm_eval": {**row["lm_eval"], "prompt": f"{i} {row['lm_eval']['prompt']}"}}
        for row in rows
        for i in range(10)
    ]
    (world.root / "task.jsonl").write_text("".join(json.dumps(row) + "\n" for row in many), encoding="utf-8")
    world.policy["measurements"] = {"target": {"dataset": "task.jsonl", "min_gain": -0.1}}
    world.save()
    return world


def engine_for(world: World) -> ScriptedEngine:
    """The base knows eight rows in ten, the candidate nine."""
    rows = [json.loads(line) for line in (world.root / "task.jsonl").read_text(encoding="utf-8").splitlines()]
    gold = {row["id"]: row["lm_eval"]["gold"][0] for row in rows}

    def script(model: Model, question: Question) -> Answer:
        assert question.continued
        assert question.raw
        knows = int(question.item_id[-1]) < (8 if model.name == "base" else 9)
        best = (gold[question.item_id] + (not knows)) % len(question.options)
        return Answer(
            option_logprobs=tuple(-1.0 if i == best else -90.0 for i in range(len(question.options))), continued=True
        )

    return ScriptedEngine(script)


def test_a_plan_states_the_continuations(task_world: World, capsys: pytest.CaptureFixture[str]) -> None:
    plan = plan_run(task_world.policy_path, task_world.manifest_path, None)
    rows = [json.loads(line) for line in (task_world.root / "task.jsonl").read_text(encoding="utf-8").splitlines()]
    assert plan.continuations == 2 * sum(len(row["lm_eval"]["continuations"]) for row in rows)
    with pytest.raises(SystemExit):
        main(["plan", "--policy", str(task_world.policy_path)])
    printed = " ".join(capsys.readouterr().out.split())
    assert f"They compare {plan.continuations:,} continuations" in printed


def test_a_run_shows_choices_and_notices_a_corrupted_base(task_world: World) -> None:
    job = load_job(task_world.policy_path, task_world.manifest_path)
    report = evaluate(job, task_world.root / "out", SilentProgress(), engine=engine_for(task_world))
    target = report.measurements["target"]
    assert (target.base, target.candidate, target.n) == (0.8, 0.9, 230)
    outcome = report.controls["positive_control"]["target"]
    assert outcome["change"] < 0, "the wrong continuation is made the likeliest"
    shown = [*target.regressions, *target.improvements]
    assert shown
    assert all("(log-likelihood -1.00)" in example.base_answer for example in shown)
    suite = (task_world.root / "out" / "suites" / "target.jsonl").read_text(encoding="utf-8")
    assert suite.count('"continuations"') == 230


def test_texts_of_a_task_are_not_scored_from_its_rows_alone(world: World) -> None:
    shutil.copy(KEPT / "last_word.jsonl", world.root / "texts.jsonl")
    world.policy["measurements"] = {"target": {"dataset": "texts.jsonl"}}
    world.save()
    with pytest.raises(DatasetError, match="only the task last_word can score"):
        load_job(world.policy_path, world.manifest_path)


def text_world(world: World) -> Job:
    """A job whose target is a task of texts, as if the harness had read it."""
    shutil.copy(KEPT / "sentences.jsonl", world.root / "texts.jsonl")
    world.policy["measurements"] = {"target": {"dataset": "texts.jsonl", "min_gain": -0.5}}
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    texts = read_suite("target", KEPT / "last_word.jsonl", needs=Needs())
    return replace(job, suites={"target": texts})


class OneWord:
    """A task of the harness, as far as scores of single texts need it: a right answer says hello."""

    def __init__(self, *, fails_on: str = "") -> None:
        self.asked, self.fails_on = 0, fails_on

    def process_results(self, document: Mapping[str, Any], results: list[str]) -> dict[str, float]:
        self.asked += 1
        if self.fails_on and self.fails_on in results[0]:
            raise RuntimeError("out of order")
        return {"exact_match": float("hello" in results[0])}


@pytest.fixture
def task_loaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[OneWord], None]:
    """Puts a task in the place of those that were read, and scores with it as the harness would."""

    def load(task: OneWord) -> None:
        monkeypatch.setattr(lm_eval, "_LOADED", {("texts.jsonl", "last_word"): task})

    def score(task: OneWord, request: TaskRequest, text: str) -> float:
        try:
            return task.process_results(request.document or {}, [text])["exact_match"]
        except RuntimeError as error:
            raise UnscorableError(str(error)) from None

    monkeypatch.setattr(lm_eval, "_score", score)
    return load


def test_a_failure_of_the_harness_is_no_score_for_the_next_run(
    world: World, task_loaded: Callable[[OneWord], None]
) -> None:
    job, out = text_world(world), world.root / "out"
    engine = ScriptedEngine(lambda model, question: Answer(f"hello {question.item_id}"))
    task_loaded(OneWord(fails_on="last_word-3"))
    first = evaluate(job, out, SilentProgress(), engine=engine)
    assert "1 of 24 items have no score" in first.measurements["target"].reason
    task = OneWord()
    task_loaded(task)
    again = decide_again(out, None, world.root / "again", SilentProgress())
    assert "1 of 24 items have no score" in again.measurements["target"].reason, "a decision sees what the run saw"
    assert task.asked == 0
    second = evaluate(job, out, SilentProgress(), engine=engine)
    assert "no score" not in second.measurements["target"].reason
    assert task.asked == 1, "only what failed is asked again"
    task_loaded(OneWord(fails_on="hello"))
    assert decide_again(out, None, world.root / "again", SilentProgress()).measurements == second.measurements


def test_a_decision_without_an_engine_runs_no_task(world: World, task_loaded: Callable[[OneWord], None]) -> None:
    job, out = text_world(world), world.root / "out"
    task = OneWord()
    task_loaded(task)
    engine = ScriptedEngine(lambda model, question: Answer(f"hello {question.item_id}"))
    evaluate(job, out, SilentProgress(), engine=engine)
    asked, path = task.asked, out / "answers.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    facts = [line for line in lines if b'"fact"' not in line or b'"value": 1.0' not in line]
    assert len(facts) < len(lines)
    path.write_bytes(b"".join(facts))
    with pytest.raises(ConfigurationError, match=r"only a run loads the task last_word \(texts\.jsonl\)"):
        decide_again(out, None, world.root / "again", SilentProgress())
    assert task.asked == asked
