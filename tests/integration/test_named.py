"""Several measurements of one kind, each with a name and a tier of its own, from the policy to the ledger."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from rich.console import Console
from support.github.scene import POLICY_PATH, Scene
from support.github.server import FakeGitHub
from support.players import Player, script
from support.world import World, write_rows

from ftgate.cli.main import main
from ftgate.config.policy import read_policy
from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError, DatasetError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.github.audit.history import verify_candidate
from ftgate.github.audit.ledger_branch import read_ledger
from ftgate.github.publish import publish_results
from ftgate.github.verify_report import DecideAgain
from ftgate.jobs.prepare import load_job
from ftgate.jobs.report_checks import departures
from ftgate.planning.compare import compare_reports
from ftgate.planning.compare_view import print_comparison
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report
from ftgate.report.terminal import print_report

pytestmark = pytest.mark.usefixtures("no_pictures")


@dataclass(frozen=True)
class Linguist(Player):
    """A player with two more suites that are measured as forgetting is."""

    german: float = 0.9
    french: float = 0.9


BASE = Linguist()
GOOD = Linguist(target=0.9)


@pytest.fixture
def named(world: World) -> World:
    """Seven measurements, three of them of one kind: one blocks, one holds, and one is shown only."""
    for name in ("german", "french"):
        rows = [{"id": f"x{i}", "prompt": f"{name} {i}", "answer": f"word {i} of {i % 7}"} for i in range(150)]
        write_rows(world.root / "evals" / f"{name}.jsonl", rows)
    german = {"kind": "forgetting", "dataset": "evals/german.jsonl", "scorer": "exact", "tier": "supporting"}
    french = {"kind": "forgetting", "dataset": "evals/french.jsonl", "scorer": "exact", "tier": "advisory"}
    world.policy["measurements"] |= {"german": german, "french": french}
    world.policy["publish"] = {"ledger": "branch"}
    world.policy["manifests"] = ["bot.yaml"]
    world.save()
    return world


def gate(world: World, candidate: Linguist, out: str = "out") -> Report:
    job, play = load_job(world.policy_path, world.manifest_path), script(candidate, BASE)
    engines = ScriptedEngine(play), ScriptedEngine(play)
    return evaluate(job, world.root / out, SilentProgress(), engine=engines[0], judge_engine=engines[1])


def statuses(report: Report) -> dict[str, str]:
    return {name: m.status for name, m in report.measurements.items() if m.kind == "forgetting"}


ALL_PASS = {"forgetting": "pass", "french": "pass", "german": "pass"}


@pytest.mark.parametrize(
    ("candidate", "verdict", "changed"),
    [
        (GOOD, "allow", {}),
        (replace(GOOD, forgetting=0.5), "block", {"forgetting": "block"}),
        (replace(GOOD, german=0.5), "hold", {"german": "block"}),
        (replace(GOOD, french=0.5), "allow", {"french": "block"}),
        (replace(GOOD, german=0.5, french=0.5), "hold", {"german": "block", "french": "block"}),
    ],
)
def test_a_loss_does_what_its_tier_says(
    named: World, candidate: Linguist, verdict: str, changed: dict[str, str]
) -> None:
    report = gate(named, candidate)
    assert (report.verdict, statuses(report)) == (verdict, ALL_PASS | changed)
    again = decide_again(named.root / "out", None, named.root / "again", SilentProgress())
    assert (again.measurements, again.reasons) == (report.measurements, report.reasons)


def test_seven_measurements_are_one_engine_start(named: World) -> None:
    report = gate(named, GOOD)
    assert list(report.measurements) == [
        "target", "forgetting", "french", "german", "tail", "calibration", "form",
    ]  # fmt: skip
    assert report.engine_starts == 1
    assert all(report.controls["positive_control"][name]["ok"] for name in ALL_PASS)


def test_a_new_policy_cannot_call_the_rows_of_a_run_another_kind(named: World) -> None:
    gate(named, GOOD)
    for kind, problem in (("tools", "needs tools and a tool_call check"), ("safety", "needs exactly one of the tags")):
        section = {"kind": kind, "dataset": "evals/german.jsonl"}
        named.policy["measurements"]["german"] = section | ({"scorer": "rules"} if kind == "safety" else {})
        named.save()
        with pytest.raises(DatasetError, match=problem):
            decide_again(named.root / "out", named.policy_path, named.root / "again", SilentProgress())


def test_early_stopping_waits_for_what_gates_and_for_nothing_else(named: World) -> None:
    named.policy["evidence"] = {"early_stopping": "obrien_fleming"}
    named.save()
    stopped = gate(named, replace(GOOD, french=0.8)).stopping
    assert stopped is not None
    assert max(look for name, look in stopped.looks.items() if name != "french") >= stopped.looks["french"]
    held = gate(named, replace(GOOD, german=0.5), "held")
    assert held.verdict == "hold"
    assert held.measurements["forgetting"].status == "pass", "what holds does not end the run as a block does"


def test_every_medium_names_tiers_and_what_is_not_gated(named: World) -> None:
    report = gate(named, replace(GOOD, german=0.5, french=0.5))
    out = named.root / "out"
    for name, supporting, advisory in (
        ("comment.md", "**❌ german (general skills) (supporting)**", "**❌ french (general skills) (advisory)**"),
        ("report.html", "✗ block (supporting)", "✗ block (advisory)"),
    ):
        text = (out / name).read_text(encoding="utf-8").replace("\u00a0", " ")
        assert "german (general skills)" in text, name
        assert supporting in text, name
        assert advisory in text, name
        assert "This verdict does not cover: safety, tool calls, long context" in text, name
    assert "`german` (supporting) holds instead of blocking" in (out / "comment.md").read_text(encoding="utf-8")
    shown = io.StringIO()
    console = Console(file=shown, width=100)
    print_report(report, console)
    print_comparison(compare_reports([(out, report)]), console)
    assert "`german` (supporting) holds instead of blocking; `french` (advisory) is shown only." in shown.getvalue()
    printed = " ".join(shown.getvalue().replace("│", " ").split())
    assert "In the policy, `german` is supporting: that holds instead of blocking." in printed
    assert "This verdict does not cover:" in shown.getvalue()
    compared = shown.getvalue().split("Changes against the base")[1]
    assert "(supporting)" in compared
    assert "(advisory)" in compared


def test_an_advisory_kind_is_not_gated_and_an_allow_names_its_loss(named: World) -> None:
    named.policy["measurements"]["forgetting"]["tier"] = "advisory"
    del named.policy["measurements"]["german"]
    named.policy["measurements"]["form"] = {"max_increase": 0.02}
    named.save()
    report = gate(named, replace(GOOD, french=0.5))
    comment = (named.root / "out" / "comment.md").read_text(encoding="utf-8")
    assert report.verdict == "allow"
    assert "This verdict does not cover: general skills, safety, tool calls, answer form" in comment
    assert "`french` is beyond its limit, but advisory: it decides nothing." in comment
    assert report.measurements["form"].status == "not_applicable", "form reads nothing that is advisory"


def test_plan_and_check_know_them(named: World, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--policy", str(named.policy_path)]
    for command, named_as in (
        (["check", *files, "--manifest", str(named.manifest_path)], "german (forgetting,"),
        (["check", *files, "--manifest", str(named.manifest_path), "--json"], '"tier": "supporting"'),
        (["plan", *files], "french (forgetting, advisory), german (forgetting, supporting)"),
    ):
        with pytest.raises(SystemExit) as left:
            main(command)
        shown = capsys.readouterr()
        assert not left.value.code, shown.err
        assert named_as in " ".join(shown.out.split())


@pytest.fixture
def sliced(named: World) -> World:
    """One skill of the general suite gates, with 67 of its 200 rows."""
    named.policy["measurements"]["forgetting"]["gate_slices"] = {"skill0": {"block_drop": 0.05}}
    named.policy["evidence"] = {"early_stopping": "obrien_fleming"}
    named.save()
    return named


def test_a_slice_that_is_lost_blocks_and_the_report_can_be_verified(sliced: World) -> None:
    usual = script(GOOD, BASE)

    def loses_a_slice(model: Model, question: Question) -> Answer:
        number = int(question.item_id[1:]) if question.item_id[1:].isdigit() else 1
        if model.name == "bot" and question.measurement == "forgetting" and number % 3 == 0 and number < 60:
            return Answer(text="no idea", tokens=3)
        return usual(model, question)

    job = load_job(sliced.policy_path, sliced.manifest_path)
    engines = ScriptedEngine(loses_a_slice), ScriptedEngine(loses_a_slice)
    report = evaluate(job, sliced.root / "out", SilentProgress(), engine=engines[0], judge_engine=engines[1])
    part = report.measurements["forgetting"].slices[0]
    assert (report.verdict, report.measurements["forgetting"].status) == ("block", "block")
    assert (part.name, part.limit, part.status) == ("skill0", 0.05, "beyond")
    assert report.measurements["forgetting"].interval[0] is not None
    assert report.measurements["forgetting"].interval[0] < 0.10, "the whole alone would not block"
    assert "on the slice `skill0` of general skills" in (sliced.root / "out" / "comment.md").read_text(encoding="utf-8")
    policy = read_policy(sliced.policy_path)
    assert list(departures(report, policy)) == []
    again = decide_again(sliced.root / "out", None, sliced.root / "again", SilentProgress())
    assert again.measurements == report.measurements
    report.measurements["forgetting"].slices.pop(0)
    assert any("forgetting: its slices that gate are" in problem for problem in departures(report, policy))


def test_a_slice_that_is_kept_passes_after_all_planned_items(sliced: World) -> None:
    report = gate(sliced, GOOD)
    assert report.measurements["forgetting"].status == "pass"
    assert report.measurements["forgetting"].n == 200, "it waits for the whole slice"


def test_a_slice_that_the_candidate_was_trained_on_is_said_not_to_gate(sliced: World) -> None:
    path = sliced.root / "evals" / "general.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows[:30]:
        row["tags"] = [*row["tags"], "rare"]
    write_rows(path, rows)
    training = sliced.root / "evals" / "train.jsonl"
    tickets = [json.loads(line) for line in training.read_text(encoding="utf-8").splitlines()]
    write_rows(training, [*tickets, *({"id": f"leak{i}", "prompt": rows[i]["prompt"]} for i in range(30))])
    sliced.policy["measurements"]["forgetting"]["gate_slices"] = {"rare": {"block_drop": 0.05}}
    sliced.save()
    report = gate(sliced, GOOD)
    forgetting = report.measurements["forgetting"]
    (part,) = (part for part in forgetting.slices if part.name == "rare")
    assert (part.n, part.interval, part.limit) == (0, None, 0.05)
    assert any(note.startswith("the slice rare does not gate: with 0 items") for note in forgetting.details["notes"])
    assert list(departures(report, read_policy(sliced.policy_path))) == []


def test_plan_and_check_say_what_a_slice_can_show(sliced: World, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--policy", str(sliced.policy_path)]
    for command in (["check", *files, "--manifest", str(sliced.manifest_path)], ["plan", *files]):
        with pytest.raises(SystemExit):
            main(command)
        told = " ".join(capsys.readouterr().out.split())
        assert "the slice skill0 has 67 items: the smallest drop it can show is" in told
    sliced.policy["measurements"]["forgetting"]["gate_slices"] = {"nothing": {"block_drop": 0.05}}
    sliced.save()
    with pytest.raises(ConfigurationError, match=r"gate_slices\.nothing: no row of") as caught:
        load_job(sliced.policy_path, sliced.manifest_path)
    assert "skill0, skill1, skill2" in caught.value.hint


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeGitHub]:
    with FakeGitHub(tmp_path / "platform") as running:
        yield running
        assert not running.invalid


@pytest.mark.parametrize(
    ("candidate", "code", "allowed", "recorded"),
    [
        (GOOD, 0, True, "pass (advisory)"),
        (replace(GOOD, french=0.5), 0, True, "block (advisory)"),
        (replace(GOOD, german=0.5), 4, False, "pass (advisory)"),
    ],
)
def test_they_are_published_recorded_and_verified(
    named: World, hub: FakeGitHub, candidate: Linguist, code: int, allowed: bool, recorded: str
) -> None:
    report = gate(named, candidate)
    policy, manifest = named.policy_path.read_text(), named.manifest_path.read_text()
    (named.root / "scene").mkdir()
    scene = Scene(hub, named.root / "scene")
    scene.base = hub.git.commit({POLICY_PATH: policy, "bot.yaml": "name: bot\n"}, branch="main")
    head = scene.push({"bot.yaml": manifest})

    def redo(text: str) -> DecideAgain:
        assert text == policy
        return lambda folder: decide_again(folder, named.policy_path, named.root / "redone", SilentProgress())

    effects = replace(scene.effects(), decide_again=redo)
    assert int(publish_results(effects, [named.root / "out"])) == code, scene.said
    status = hub.status_of(head)
    assert status is not None
    assert (status.state == "success") is allowed
    assert "This verdict does not cover" in scene.thread()[0]
    assert "german (general skills)" in scene.thread()[0]
    ledger = read_ledger(scene.client(), "ftgate-ledger")
    assert ledger.records[-1].models[0].numbers["french"].status == recorded
    digest, rules = report.provenance["candidate"]["digest"], report.provenance["policy_sha256"]
    assert verify_candidate(ledger, digest, rules, "2025-03-05T00:00:00+00:00", scene.quoted()).allowed is allowed
