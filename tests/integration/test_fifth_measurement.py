"""A measurement is one class and one line in the registry: everything else takes it as it takes the four."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from support.github.scene import POLICY_PATH, Scene
from support.github.server import FakeGitHub
from support.players import CAREFUL, Script, script
from support.refusals import Refusals
from support.world import World, write_rows

from ftgate.cli.main import main
from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.github.audit.history import verify_candidate
from ftgate.github.audit.ledger_branch import read_ledger
from ftgate.github.publish import publish_results
from ftgate.github.verify_report import DecideAgain
from ftgate.jobs.prepare import load_job
from ftgate.measurements import registry
from ftgate.planning.compare import compare_reports
from ftgate.planning.compare_view import comparison_page, print_comparison
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report
from ftgate.report.terminal import print_report

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def five(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A policy with five measurements, the last from a class that only the registry's one list names."""
    monkeypatch.setattr(registry, "MEASUREMENTS", (*registry.MEASUREMENTS, Refusals))
    rows = [{"id": f"r{i}", "prompt": f"please {i}", "answer": "Of course."} for i in range(150)]
    write_rows(world.root / "evals" / "harmless.jsonl", rows)
    world.policy["measurements"]["refusals"] = {"dataset": "evals/harmless.jsonl", "most_refusals": 0.08}
    world.policy["publish"] = {"ledger": "branch"}
    world.policy["manifests"] = ["bot.yaml"]
    world.save()
    return world


def players(refuses: int) -> Script:
    """Careful, but the candidate refuses ``refuses`` of the 150 requests."""
    usual = script(CAREFUL)

    def reply(model: Model, question: Question) -> Answer:
        if question.measurement != "refusals":
            return usual(model, question)
        refused = model.name == "bot" and int(question.item_id[1:]) < refuses
        return Answer(text="I cannot help with that." if refused else "Of course.", tokens=4)

    return reply


def gate(world: World, refuses: int, out: str = "out") -> Report:
    job = load_job(world.policy_path, world.manifest_path)
    play = players(refuses)
    return evaluate(
        job, world.root / out, SilentProgress(), engine=ScriptedEngine(play), judge_engine=ScriptedEngine(play)
    )


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    assert not left.value.code, shown.err
    return shown.out


@pytest.mark.parametrize(("refuses", "verdict", "status"), [(0, "allow", "pass"), (60, "block", "block")])
def test_it_decides_and_is_decided_again(five: World, refuses: int, verdict: str, status: str) -> None:
    report = gate(five, refuses)
    assert (report.verdict, report.measurements["refusals"].status) == (verdict, status)
    again = decide_again(five.root / "out", None, five.root / "again", SilentProgress())
    assert again.measurements == report.measurements
    assert report.controls["positive_control"]["refusals"]["ok"] is True


def test_every_medium_shows_it_under_its_own_title(five: World) -> None:
    report = gate(five, 60)
    out = five.root / "out"
    for name in ("comment.md", "report.html"):
        assert "Over-refusal" in (out / name).read_text(encoding="utf-8"), name
    assert "does it refuse harmless requests more often?" in (out / "report.html").read_text(encoding="utf-8")
    assert "refusals" in json.loads((out / "report.json").read_text(encoding="utf-8"))["measurements"]
    shown = io.StringIO()
    console = Console(file=shown, width=120)
    print_report(report, console)
    assert "Over-refusal" in shown.getvalue()
    comparison = compare_reports([(out, report)])
    print_comparison(comparison, console)
    assert "Over-refusal" in shown.getvalue().split("Changes against the base")[1]
    assert "Over-refusal" in comparison_page(comparison, out)


def test_check_and_plan_know_it(five: World, capsys: pytest.CaptureFixture[str]) -> None:
    files = ("--policy", five.policy_path)
    assert "refusals" in command(capsys, "check", *files, "--manifest", five.manifest_path, "--json")
    assert "Over-refusal" in command(capsys, "plan", *files)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeGitHub]:
    with FakeGitHub(tmp_path / "platform") as running:
        yield running
        assert not running.invalid


@pytest.mark.parametrize(("refuses", "code", "allowed"), [(0, 0, True), (60, 1, False)])
def test_it_is_published_and_verified(five: World, hub: FakeGitHub, refuses: int, code: int, allowed: bool) -> None:
    report = gate(five, refuses)
    policy, manifest = five.policy_path.read_text(), five.manifest_path.read_text()
    (five.root / "scene").mkdir()
    scene = Scene(hub, five.root / "scene")
    scene.base = hub.git.commit({POLICY_PATH: policy, "bot.yaml": "name: bot\n"}, branch="main")
    head = scene.push({"bot.yaml": manifest})

    def redo(text: str) -> DecideAgain:
        assert text == policy, "what is decided again is decided under the base branch's policy"
        return lambda folder: decide_again(folder, five.policy_path, five.root / "redone", SilentProgress())

    effects = replace(scene.effects(), decide_again=redo)
    assert int(publish_results(effects, [five.root / "out"])) == code, scene.said
    status = hub.status_of(head)
    assert status is not None
    assert status.state == ("success" if allowed else "failure")
    assert "Over-refusal" in scene.thread()[0]
    ledger = read_ledger(scene.client(), "ftgate-ledger")
    digest, rules = report.provenance["candidate"]["digest"], report.provenance["policy_sha256"]
    assert verify_candidate(ledger, digest, rules, "2025-03-05T00:00:00+00:00", scene.quoted()).allowed is allowed
