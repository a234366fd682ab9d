"""Rows of an lm-eval task, planned, checked and run without the harness."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.world import World

from ftgate.cli.main import main
from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.planning.inputs import plan_run
from ftgate.progress import SilentProgress

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


def test_texts_of_a_task_are_not_scored_from_its_rows_alone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(KEPT / "last_word.jsonl", world.root / "texts.jsonl")
    world.policy["measurements"] = {"target": {"dataset": "texts.jsonl"}}
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    engine = ScriptedEngine(lambda model, question: Answer(f"{question.stop} {model.name}"))
    with pytest.raises(Exception, match="lm-eval:last_word or its YAML file"):
        evaluate(job, world.root / "out", SilentProgress(), engine=engine)
