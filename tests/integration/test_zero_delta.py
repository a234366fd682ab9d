"""The zero-delta control in a run: what the kernels of an adapter change by themselves is shown, and holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.players import BASE, CAREFUL, Player, Script, answer_of
from support.world import World, write_full

from ftgate.domain import Answer, EngineInfo, Model, Question
from ftgate.engines import registry
from ftgate.engines.chat_template import chat_of
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")


class Kernels(ScriptedEngine):
    """Says that it is vLLM, whose adapters take a path of their own."""

    def info(self) -> EngineInfo:
        return EngineInfo("vllm", {}, "cpu", "float32", {"batch_invariant": False})


def playing(zeros: Player) -> Script:
    def reply(model: Model, question: Question) -> Answer:
        named = {"base": BASE, "bot": CAREFUL, "bot, all zeros": zeros}
        return answer_of(named[model.name], question)

    return reply


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.policy["measurements"] = {"target": made.policy["measurements"]["target"]}
    del made.policy["judge"]
    made.policy["engine"] = {"kind": "vllm"}
    made.save()
    return made


def gate(world: World, monkeypatch: pytest.MonkeyPatch, zeros: Player) -> tuple[Report, Kernels]:
    engine = Kernels(playing(zeros))
    monkeypatch.setattr(registry, "_ENGINES", {"vllm": lambda *_: engine})
    job = load_job(world.policy_path, world.manifest_path)
    return evaluate(job, world.root / "out", SilentProgress()), engine


def test_an_adapter_of_zeros_is_asked_and_shown(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    report, engine = gate(world, monkeypatch, BASE)
    assert report.verdict == "allow"
    zero = report.controls["zero_delta"]["target"]
    assert (zero["ok"], zero["change"], zero["items"]) == (True, 0, 50)
    asked = [ask for ask in engine.asked if ask.model.name == "bot, all zeros"]
    assert len(asked) == 50
    assert not asked[0].model.path.exists(), "the zeros are removed after the run"
    assert (
        "an adapter of zeros differs from the base by 0.0 points on 50 items"
        in (world.root / "out" / "report.html").read_text()
    )
    assert report.controls["a_a"]["target"]["reason"].endswith("without batch-invariant kernels")


def test_what_the_kernels_change_by_a_quarter_of_the_tolerance_holds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    report, _ = gate(world, monkeypatch, replace(BASE, target=0.3))
    target = report.measurements["target"]
    assert (report.verdict, target.status) == ("hold", "inconclusive")
    assert target.reason.startswith("control failed: an adapter of zeros differs from the base by")
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert (again.verdict, again.measurements) == ("hold", report.measurements)


def test_no_other_policy_leaves_out_the_control(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.policy["measurements"]["forgetting"] = {"dataset": "evals/general.jsonl", "scorer": "exact"}
    world.save()
    report, _ = gate(world, monkeypatch, replace(BASE, target=0.3))
    assert report.measurements["target"].status == "inconclusive"
    world.policy["measurements"]["forgetting"]["scorer"] = "contains"
    world.policy["measurements"]["target"]["min_gain"] = -0.02
    world.save()
    again = decide_again(world.root / "out", world.policy_path, world.root / "again", SilentProgress())
    assert again.controls["zero_delta"].keys() == {"target", "forgetting"}
    assert again.controls["zero_delta"]["target"]["change"] == report.controls["zero_delta"]["target"]["change"]
    assert (again.verdict, again.measurements["target"].status) == ("hold", "inconclusive")
    del world.policy["measurements"]["forgetting"]
    world.save()
    with pytest.raises(ConfigurationError, match="the journal lacks answers"):
        decide_again(world.root / "out", world.policy_path, world.root / "again", SilentProgress())


def test_what_a_run_asked_and_the_journal_lacks_decides_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    gate(world, monkeypatch, BASE)
    journal = world.root / "out" / "answers.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    zeros = [line for line in lines if "bot, all zeros" in line]
    assert len(zeros) == 50
    journal.write_text("".join(line for line in lines if line != zeros[-1]))
    with pytest.raises(ConfigurationError, match="the journal lacks answers"):
        decide_again(world.root / "out", None, world.root / "again", SilentProgress())


def test_zeros_are_asked_in_the_words_of_the_base(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise what another template changes would be taken for the kernels'."""
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    (world.root / "models" / "bot" / "chat_template.jinja").write_text(template)
    report, engine = gate(world, monkeypatch, BASE)
    asked = {ask.model.name: ask.model for ask in engine.asked}
    assert asked["bot"].facts["chat"]["template"] == "its own"
    zero, base = asked["bot, all zeros"], asked["base"]
    assert (zero.chat, zero.facts.get("chat")) == (base.chat, None)
    assert chat_of(zero) == chat_of(base) != chat_of(asked["bot"])
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.controls["zero_delta"] == report.controls["zero_delta"]


@pytest.mark.parametrize("change", ["full weights", "engines of their own", "transformers"])
def test_only_an_adapter_beside_its_base_has_such_a_path(
    world: World, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    engine: dict[str, Any] = {"kind": "transformers" if change == "transformers" else "vllm"}
    if change == "full weights":
        write_full(world.root / "models" / "copy", seed=3)
        world.manifest["candidate"] = {"source": "models/copy"}
    elif change == "engines of their own":
        engine["candidate"] = {"kv_cache_dtype": "fp8"}
    world.policy["engine"] = engine
    world.save()
    monkeypatch.setattr(
        registry, "_ENGINES", dict.fromkeys(("vllm", "transformers"), lambda *_: Kernels(playing(BASE)))
    )
    report = evaluate(load_job(world.policy_path, world.manifest_path), world.root / "out", SilentProgress())
    assert "zero_delta" not in report.controls
