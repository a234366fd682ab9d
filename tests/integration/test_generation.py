"""Models that answer as they are deployed, in a whole run."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.players import CAREFUL, script
from support.world import World

from ftgate.domain import Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_all, load_job
from ftgate.preflight.check import preflight
from ftgate.preflight.hardware import detect
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")


def run(world: World, generation: Any) -> tuple[Report, list[Question], list[Question]]:
    """The report, and what the models and the judge were asked."""
    world.policy["engine"]["generation"] = generation
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    models, judge = ScriptedEngine(script(CAREFUL)), ScriptedEngine(script(CAREFUL))
    report = evaluate(job, world.root / "out", SilentProgress(), engine=models, judge_engine=judge)
    return report, [ask.question for ask in models.asked], [ask.question for ask in judge.asked]


def test_both_models_are_sampled_by_the_policy_and_the_judge_is_not(world: World) -> None:
    report, asked, judged = run(world, {"temperature": 0.7, "top_p": 0.8, "system": "Be brief."})
    assert report.verdict == "allow", report.reasons
    assert report.notes == [
        "both models answer as deployed: temperature 0.7, top_p 0.8, a system turn (from the policy)"
    ]
    assert report.provenance["seed"] == 0
    assert all(question.messages[0].content == "Be brief." for question in asked)
    texts = [question for question in asked if not question.options]
    assert texts
    assert all((question.temperature, question.top_p) == (0.7, 0.8) for question in texts)
    assert len({question.seed for question in texts}) == len({question.item_id for question in texts})
    assert not any(question.temperature or question.messages[0].content == "Be brief." for question in judged)
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements == report.measurements
    assert again.notes == report.notes


def test_the_candidates_own_file_is_for_both_models_and_kept_for_deciding_again(world: World) -> None:
    file = world.root / "models" / "bot" / "generation_config.json"
    file.write_text(json.dumps({"do_sample": True, "temperature": 0.6, "top_k": 20, "transformers_version": "5"}))
    report, asked, _ = run(world, "candidate")
    assert report.notes == [
        "both models answer as deployed: temperature 0.6, top_k 20 (from the candidate's generation_config.json, as "
        "vllm serve reads it; it lies beside the adapter, and a server of base and adapter reads the base's)"
    ]
    assert all((q.temperature, q.top_k) == (0.6, 20) for q in asked if not q.options)
    file.unlink()
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements == report.measurements


def test_a_candidate_that_says_nothing_is_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no generation_config\.json"):
        run(world, "candidate")


def test_greedy_is_the_default_and_says_nothing(world: World) -> None:
    report, asked, _ = run(world, None)
    assert report.notes == []
    assert not any(question.temperature for question in asked)


@pytest.mark.parametrize("content", [None, "{", '{"temperature": -1}'])
def test_a_file_that_cannot_be_read_is_not_said_to_be_followed(world: World, content: str | None) -> None:
    if content is not None:
        (world.root / "models" / "bot" / "generation_config.json").write_text(content)
    world.policy["engine"]["generation"] = "candidate"
    world.save()
    result = preflight(load_all(world.policy_path, world.manifest_path), detect())
    assert any("generation_config.json" in problem.message for problem in result.problems)
    assert not any("answer as deployed" in note for note in result.notes)
