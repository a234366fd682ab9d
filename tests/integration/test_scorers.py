"""Rows that pick their own scorer: rules beside the judge in one measurement."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from support.players import CAREFUL, Player, script
from support.world import World, write_rows

from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError, DatasetError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report
from ftgate.scoring import amounts

pytestmark = pytest.mark.usefixtures("no_pictures")


def mixed(world: World, **extra: Any) -> None:
    """General prompts of which every second carries a check, under `scorer: auto`."""
    rows = [json.loads(line) for line in (world.root / "evals" / "general.jsonl").read_text().splitlines()]
    for i, row in enumerate(rows[::2]):
        row["check"] = [{"exact": row["answer"]}, {"constraints": {"words": [3, 9], "starts_with": "word"}}][i % 2]
    write_rows(world.root / "evals" / "general.jsonl", rows)
    world.policy["measurements"]["forgetting"] |= {"scorer": "auto", **extra}
    world.save()


def gate(world: World, player: Player) -> tuple[Report, ScriptedEngine]:
    play = script(player)
    judge = ScriptedEngine(play)
    job = load_job(world.policy_path, world.manifest_path)
    report = evaluate(job, world.root / "out", SilentProgress(), engine=ScriptedEngine(play), judge_engine=judge)
    return report, judge


@pytest.mark.parametrize(("player", "verdict"), [(CAREFUL, "allow"), (Player(target=0.9, forgetting=0.5), "block")])
def test_rules_and_judge_share_a_measurement(world: World, player: Player, verdict: str) -> None:
    mixed(world)
    report, judge = gate(world, player)
    assert report.verdict == verdict, report.reasons
    checked = {f"g{i}" for i in range(0, 200, 2)}
    asked = [ask.question for ask in judge.asked if ask.question.part and not ask.question.repeat]
    graded = {question.item_id for question in asked if not question.item_id.startswith("known answers")}
    answered = {f"spell {ask[1:]}" for ask in graded - checked}
    assert len(answered) == 100, "every row without a check is graded"
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements == report.measurements


def test_the_floor_counts_for_the_graded_share_alone(world: World) -> None:
    """A judge whose worst grade is not 0 hides a part of the loss, but only of the items that it grades."""
    world.policy["judge"]["known_answers"] = False  # it compares strings
    mixed(world)

    def lenient(model: Model, question: Question) -> Answer:
        said = question.messages[-1].content.split("[[answer]]\n")[1].split("\n[[end]]")[0]
        reference = question.messages[-1].content.split("[[reference]]\n")[1].split("\n[[answer]]")[0]
        values = [0.001] * 5
        values[4 if said == reference else 1] = 0.996
        return Answer(option_logprobs=tuple(math.log(v) for v in values))

    play = script(Player(target=0.9, forgetting=0.5), judge=lenient)
    job = load_job(world.policy_path, world.manifest_path)
    engines = {"engine": ScriptedEngine(play), "judge_engine": ScriptedEngine(play)}
    found = evaluate(job, world.root / "out", SilentProgress(), **engines).measurements["forgetting"]
    fitness_floor = 0.25
    assert found.base is not None
    assert found.candidate is not None
    assert found.change == pytest.approx((found.base - found.candidate) / (found.base - fitness_floor / 2), abs=0.02)
    assert "judge floor 0.1" in found.method
    bare = (found.base - found.candidate) / found.base
    assert found.details["drop_of_bare_grades"] == pytest.approx(bare)
    assert found.details["judge_floor"] == pytest.approx(fitness_floor / 2, abs=0.01)
    assert found.change is not None
    assert found.details["notes"][0].endswith(f"without that it {amounts.change(bare, found.unit)}")


def test_checks_alone_need_no_judge(world: World) -> None:
    mixed(world, scorer="check")
    with pytest.raises(DatasetError, match="no check, but this measurement needs one"):
        load_job(world.policy_path, world.manifest_path)
    rows = [json.loads(line) for line in (world.root / "evals" / "general.jsonl").read_text().splitlines()]
    write_rows(world.root / "evals" / "general.jsonl", [row for row in rows if "check" in row])
    world.policy.pop("judge")
    world.save()
    report, judge = gate(world, Player(target=0.9, forgetting=0.5))
    assert not judge.asked
    assert report.measurements["forgetting"].status == "block"
    assert report.measurements["forgetting"].method.startswith("score test")


def test_rows_that_need_a_judge_are_refused_where_there_is_none(world: World) -> None:
    mixed(world)
    world.policy.pop("judge")
    world.save()
    with pytest.raises(ConfigurationError, match=r"measurements\.forgetting needs a judge"):
        load_job(world.policy_path, world.manifest_path)


def test_an_unknown_builtin_suite_names_those_there_are(world: World, tmp_path: Path) -> None:
    world.policy["measurements"]["forgetting"]["dataset"] = "builtin:general-2000"
    world.save()
    with pytest.raises(ConfigurationError, match=r"forgetting\.dataset: unknown built-in suite 'builtin:general-2000'"):
        load_job(world.policy_path, world.manifest_path)


def test_the_suite_that_comes_with_the_gate_runs(world: World) -> None:
    """Whatever the models say, every row of it is asked, scored by its check or graded, and reported by capability."""
    world.policy["measurements"] = {"forgetting": {"dataset": "builtin:general-200", "scorer": "auto"}}
    world.save()

    def play(model: Model, question: Question) -> Answer:
        if question.options:
            return Answer(option_logprobs=(-5.0, -5.0, -5.0, -5.0, -0.03))
        return Answer(text="7" if model.name == "base" else "8")

    job = load_job(world.policy_path, world.manifest_path)
    engines = {"engine": ScriptedEngine(play), "judge_engine": ScriptedEngine(play)}
    report = evaluate(job, world.root / "out", SilentProgress(), **engines)
    assert report.provenance["suites"]["forgetting"] == {
        "source": "builtin:general-200",
        "sha256": job.suites["forgetting"].sha256,
        "items": 200,
    }
    assert report.measurements["forgetting"].status == "inconclusive", "a judge that always says 5 is unfit"
    names = {part.name for part in report.measurements["forgetting"].slices}
    assert {"arithmetic", "safety", "translation", "difficulty:hard"} <= names
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.provenance["suites"] == report.provenance["suites"]


def by_overlap(world: World, scorer: str, answer: str = "the long word number {}") -> None:
    rows = [
        {"id": f"o{i}", "prompt": f"say {i}", "answer": answer.format(i), "check": {"contains": "word"}}
        for i in range(200)
    ]
    write_rows(world.root / "evals" / "overlap.jsonl", rows)
    world.policy["measurements"] = {"forgetting": {"dataset": "evals/overlap.jsonl", "scorer": scorer}}
    world.save()


@pytest.mark.parametrize("scorer", ["f1", "rouge"])
def test_a_graded_rule_needs_no_judge(world: World, scorer: str) -> None:
    by_overlap(world, scorer)

    def reply(model: Model, question: Question) -> Answer:
        if question.options:
            return script(CAREFUL)(model, question)
        said = f"the long word number {question.item_id[1:]}"
        return Answer(text=said if model.name == "base" else "a word", tokens=3)

    job = load_job(world.policy_path, world.manifest_path)
    report = evaluate(job, world.root / "out", SilentProgress(), engine=ScriptedEngine(reply))
    forgetting = report.measurements["forgetting"]
    assert forgetting.status == "block", forgetting.reason
    assert forgetting.base == 1.0
    assert forgetting.candidate is not None
    assert 0.2 < forgetting.candidate < 0.6
    assert "judge_against_rules" not in forgetting.details


def test_references_that_are_no_expressions_are_told_at_once(world: World) -> None:
    by_overlap(world, "math")
    rows = [{"id": i, "prompt": f"p{i}", "answer": answer} for i, answer in enumerate(["1/2", "$$", "x^2"])]
    write_rows(world.root / "evals" / "overlap.jsonl", rows)
    with pytest.raises(DatasetError, match="1 of 3 references are no mathematical expression: line 2"):
        load_job(world.policy_path, world.manifest_path)


def test_a_plugin_that_is_not_installed_is_told_at_once(world: World) -> None:
    by_overlap(world, "plugin:ours")
    with pytest.raises(ConfigurationError, match="scorer plugin:ours: no installed package offers it"):
        load_job(world.policy_path, world.manifest_path)
