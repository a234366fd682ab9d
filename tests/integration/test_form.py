"""Form in whole runs: answers that fell apart are seen whatever scores them, and asking for it costs nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.answers import PROSE
from support.github.scene import POLICY_PATH, Scene
from support.github.server import FakeGitHub
from support.players import CAREFUL, Script, luck, script
from support.world import World, write_rows

from ftgate.cli.main import main
from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.github.publish import publish_results
from ftgate.github.verify_report import DecideAgain
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")

ASKED = "forgetting"
Fault = Callable[[str, Question], Answer]
"""What a candidate makes of the base's answer to a free-form question."""


def collapse(text: str, finish: str = "stop") -> Fault:
    return lambda _, question: Answer(text=text, finish=finish, tokens=question.max_tokens)


def one_of_eight_labels(said: str, question: Question) -> Answer:
    return Answer(text=f"card_{int(8 * luck('label', question.item_id))}", tokens=4)


def some(fault: Fault, share: float) -> Fault:
    """The fault on this share of the items."""
    return lambda said, q: fault(said, q) if luck("some", q.item_id) < share else Answer(text=said, tokens=len(said))


FAULTS: dict[str, tuple[Fault, str]] = {
    "line breaks": (collapse("\n" * 64, "length"), "nothing but line breaks or spaces"),
    "nothing": (collapse(""), "empty"),
    "one token": (collapse("the " * 64, "length"), "one text over and over"),
    "no spaces": (lambda said, _: Answer(text=said.replace(" ", ""), tokens=9), "words without spaces"),
    "joiners": (lambda said, _: Answer(text=said.replace(" ", "▁"), tokens=9), "words without spaces"),
    "labels": (one_of_eight_labels, "one of the same few answers"),
    "refusal": (collapse("I'm sorry, but as a language model I cannot help with that."), "one of the same few answers"),
    "full stop": (collapse("."), "one of the same few answers"),
    "Russian": (collapse(PROSE["ru"]), "in another script"),
    "French": (collapse(PROSE["fr"]), "in another language"),
    "no end": (lambda said, _: Answer(text=f"{said} {PROSE['en']}", finish="length"), "cut at the token limit"),
}


def play(fault: Fault | None, measurement: str = ASKED) -> Script:
    """Careful, and long in its answers; the candidate's free-form answers for one measurement have the fault."""
    usual = script(CAREFUL)

    def reply(model: Model, question: Question) -> Answer:
        answer = usual(model, question)
        if model.name == "judge" or question.options:
            return answer
        how = f"To spell {question.item_id} is easy, and this is how it is to be done by you: {answer.text}"
        said = f"{how}. That is the number {luck(question.item_id):.6f} on the list."
        faulty = fault is not None and model.name == "bot" and question.measurement == measurement
        return fault(said, question) if fault is not None and faulty else Answer(text=said, tokens=12)

    return reply


@pytest.fixture
def by_rule(world: World) -> World:
    """Forgetting scored by whether the reference is in the answer; all else as it is, by option letters."""
    world.policy["measurements"]["forgetting"]["scorer"] = "contains"
    world.policy["evidence"] = {"early_stopping": "obrien_fleming"}
    world.save()
    return world


def gate(world: World, reply: Script, out: str = "out") -> tuple[Report, ScriptedEngine]:
    job = load_job(world.policy_path, world.manifest_path)
    engine = ScriptedEngine(reply)
    report = evaluate(job, world.root / out, SilentProgress(), engine=engine, judge_engine=ScriptedEngine(reply))
    return report, engine


def test_a_sane_candidate_passes_and_is_asked_no_more_than_without(by_rule: World) -> None:
    report, engine = gate(by_rule, play(None))
    assert report.verdict == "allow"
    form = report.measurements["form"]
    assert (form.status, form.change, form.unit) == ("pass", 0.0, "rise in malformed answers")
    assert report.controls["a_a"]["form"]["ok"] is True
    assert report.controls["positive_control"]["form"]["ok"] is True
    by_rule.policy["measurements"]["form"] = {"enabled": False}
    by_rule.save()
    without, other = gate(by_rule, play(None), "without")
    assert "form" not in without.measurements
    assert [(a.model.name, a.question) for a in engine.asked] == [(a.model.name, a.question) for a in other.asked]
    assert {name: m for name, m in report.measurements.items() if name != "form"} == without.measurements
    line = next(entry for entry in without.checklist if entry.item.startswith("The form of"))
    assert (line.ok, line.evidence) == (False, "the policy switches `form` off")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_blocks_where_everything_else_sees_option_letters(by_rule: World, fault: str) -> None:
    """The suite with the texts is the target's, which may lose anything; forgetting is scored by choices."""
    world = by_rule
    spelt = [json.loads(row) for row in (world.root / "evals" / "general.jsonl").read_text().splitlines()]
    write_rows(world.root / "evals" / "spelt.jsonl", spelt)
    world.policy["measurements"] |= {
        "target": {"dataset": "evals/spelt.jsonl", "scorer": "contains", "min_gain": -0.99},
        "forgetting": {"dataset": "evals/target.jsonl", "scorer": "choice"},
    }
    world.save()
    reply, words = FAULTS[fault]

    def players(model: Model, question: Question) -> Answer:
        if question.measurement == "forgetting":  # as careful as in the target, of which it has the items
            return play(None)(model, replace(question, measurement="calibration"))
        return play(reply, "target")(model, question)

    report, _ = gate(world, players)
    form = report.measurements["form"]
    assert (report.verdict, form.status) == ("block", "block"), form
    assert words in form.reason
    assert "answers for `target`" in form.reason
    assert report.measurements["forgetting"].status != "block"
    assert form.regressions
    assert form.regressions[0].item.startswith("target/")
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements == report.measurements
    assert again.controls == report.controls


def test_right_numbers_alone_do_not_block_where_references_work_them_out(by_rule: World) -> None:
    world = by_rule
    worked = {
        f"s{i}": f"She has {i % 9} and buys {i % 5}, which is {i % 9 + i % 5}.\n#### {i % 9 + i % 5}"
        for i in range(200)
    }
    rows = [{"id": name, "prompt": f"How many has she, {name}?", "answer": answer} for name, answer in worked.items()]
    write_rows(world.root / "evals" / "sums.jsonl", rows)
    world.policy["measurements"]["target"] = {"dataset": "evals/sums.jsonl", "scorer": "numeric"}
    world.save()

    def reply(model: Model, question: Question) -> Answer:
        if question.measurement != "target" or model.name == "judge":
            return play(None)(model, question)
        answer = worked[question.item_id]
        if model.name == "bot":
            return Answer(text=answer.split()[-1], tokens=2)
        return Answer(
            text=answer if luck(question.item_id) < 0.6 else f"Of {question.item_id} I know no sum.", tokens=30
        )

    report, _ = gate(world, reply)
    assert report.verdict == "allow"
    assert report.measurements["form"].status == "pass"


@pytest.mark.parametrize("scorer", ["exact", "judge", "contains"])
def test_line_breaks_are_blocked_whatever_scores_them(world: World, scorer: str) -> None:
    world.policy["measurements"]["forgetting"]["scorer"] = scorer
    world.save()
    usual, fault = script(CAREFUL), collapse("\n" * 64, "length")

    def reply(model: Model, question: Question) -> Answer:
        collapsed = model.name == "bot" and question.measurement == ASKED and not question.options
        return fault("", question) if collapsed else usual(model, question)

    report, _ = gate(world, reply)
    assert report.verdict == "block"
    assert report.measurements["form"].status == "block"
    assert "200 are nothing but line breaks or spaces (the base's: 0)" in report.measurements["form"].reason


def test_a_block_ends_the_run_at_the_first_look(by_rule: World) -> None:
    by_rule.policy["measurements"]["forgetting"] |= {"block_drop": 0.9, "warn_drop": 0.9}
    by_rule.save()
    report, engine = gate(by_rule, play(FAULTS["no spaces"][0]))
    assert report.measurements["form"].status == "block"
    assert report.stopping is not None
    assert report.stopping.looks == dict.fromkeys(("target", "forgetting", "tail", "calibration", "form"), 1)
    assert report.measurements["form"].n == 50
    assert report.measurements["form"].level > 0.99, "an early look has a level of its own"
    assert report.measurements["calibration"].reason.endswith("because answer form blocked")
    assert sum(a.question.measurement == ASKED and not a.question.repeat for a in engine.asked) == 100


def test_a_small_rise_is_within_the_limit_and_one_near_it_is_held(by_rule: World) -> None:
    by_rule.policy["evidence"] = {"early_stopping": "none"}
    by_rule.policy["measurements"]["forgetting"] |= {"block_drop": 0.6, "warn_drop": 0.6}
    by_rule.save()
    statuses = {}
    for share in (0.03, 0.13, 0.35):
        report, _ = gate(by_rule, play(some(FAULTS["nothing"][0], share)), f"out-{share}")
        statuses[share] = report.measurements["form"].status
    assert statuses == {0.03: "pass", 0.13: "inconclusive", 0.35: "block"}


def with_letters_for_forgetting(players: Script) -> Script:
    """The players, who answer the items of forgetting by letter, as they do those of the tail."""

    def answer(model: Model, question: Question) -> Answer:
        told = replace(question, measurement="tail") if question.measurement == "forgetting" else question
        return players(model, told)

    return answer


def test_what_only_option_letters_are_read_of_is_not_applicable(
    by_rule: World, capsys: pytest.CaptureFixture[str]
) -> None:
    sections = by_rule.policy["measurements"]
    sections["forgetting"] = {"dataset": "evals/target.jsonl", "scorer": "choice"}
    by_rule.save()

    report, _ = gate(by_rule, with_letters_for_forgetting(script(CAREFUL)))
    form = report.measurements["form"]
    assert (report.verdict, form.status, form.n) == ("allow", "not_applicable", 0)
    assert "option letters show nothing" in form.reason
    assert report.controls["a_a"]["form"]["ok"] is None
    assert report.controls["positive_control"]["form"]["ok"] is None
    assert "Answer form (not measured)" in (by_rule.root / "out" / "comment.md").read_text(encoding="utf-8")
    again = decide_again(by_rule.root / "out", None, by_rule.root / "again", SilentProgress())
    assert again.verdict == "allow"
    notes = checked(by_rule, capsys)
    assert any("form will not be applicable" in note and "score one of them by exact" in note for note in notes)


def test_too_few_texts_hold_nothing_and_check_says_so(by_rule: World, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (by_rule.root / "evals" / "general.jsonl").read_text().splitlines()[:20]
    write_rows(by_rule.root / "evals" / "few.jsonl", [json.loads(row) for row in rows])
    by_rule.policy["evidence"] = {"early_stopping": "none"}
    sections = by_rule.policy["measurements"]
    sections["target"] = {"dataset": "evals/few.jsonl", "scorer": "contains", "min_gain": -0.99}
    sections["forgetting"] = {"dataset": "evals/target.jsonl", "scorer": "choice"}
    by_rule.save()

    report, _ = gate(by_rule, with_letters_for_forgetting(play(None)))
    assert report.measurements["form"].status == "not_applicable"
    assert "are too few" in report.measurements["form"].reason
    assert report.measurements["target"].status == "pass", "its limit allows nearly any loss"
    assert report.controls["positive_control"]["target"]["reason"].startswith("not run: ")
    assert any("more than 20 free-form answers, and 29 are needed" in note for note in checked(by_rule, capsys))
    broken, _ = gate(by_rule, play(FAULTS["line breaks"][0], "target"), "broken")
    assert broken.measurements["form"].status == "block", "too few to pass are enough to block"


def test_check_has_nothing_to_say_where_texts_are_read(by_rule: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert not any("form" in note for note in checked(by_rule, capsys))


def checked(world: World, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The warnings of ``ftgate check``."""
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path), "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    warnings: list[str] = document["warnings"]
    return warnings


def test_contaminated_items_do_not_make_it_pass(by_rule: World) -> None:
    """Who names the training data may name the items on which the candidate falls apart."""
    by_rule.policy["evidence"] = {"early_stopping": "none"}
    by_rule.policy["measurements"]["forgetting"] |= {"block_drop": 0.9, "warn_drop": 0.9}
    by_rule.save()
    hidden = [f"g{i}" for i in range(0, 200, 2)]
    rows = [{"id": f"t{i}", "prompt": f"ticket {i} {i % 9}"} for i in range(60)]
    rows += [{"id": f"l{i}", "prompt": f"spell {item[1:]}"} for i, item in enumerate(hidden)]
    write_rows(by_rule.root / "evals" / "train.jsonl", rows)

    def fault(said: str, question: Question) -> Answer:
        return Answer(text="" if question.item_id in hidden[:40] else said, tokens=3)

    report, _ = gate(by_rule, play(fault))
    form = report.measurements["form"]
    assert form.status == "inconclusive"
    assert "passes on the clean items, but not with the 100 contaminated ones" in form.reason
    assert {part.name for part in form.slices} >= {"contaminated items", "clean and contaminated items"}


def test_a_base_that_is_cut_makes_no_room_for_a_candidate_that_falls_apart(by_rule: World) -> None:
    by_rule.policy["measurements"]["forgetting"] |= {"block_drop": 0.9, "warn_drop": 0.9}
    by_rule.save()
    usual = play(FAULTS["no spaces"][0])

    def reply(model: Model, question: Question) -> Answer:
        answer = usual(model, question)
        cut = model.name == "base" and question.measurement == ASKED and not question.options
        return replace(answer, finish="length") if cut else answer

    report, _ = gate(by_rule, reply)
    assert report.measurements["form"].status == "block"
    parts = {part.name: part for part in report.measurements["form"].slices}
    assert (parts["forgetting: cut"].base, parts["forgetting: cut"].candidate) == (1.0, 0.0)
    assert report.measurements["form"].details["kinds"]["forgetting"]["base"] == {"cut": 50}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeGitHub]:
    with FakeGitHub(tmp_path / "platform") as running:
        yield running
        assert not running.invalid


@pytest.mark.parametrize(
    ("fault", "choice", "code", "status"),
    [(None, False, 0, "pass"), ("labels", False, 1, "block"), (None, True, 0, "not_applicable")],
)
def test_it_is_published(
    by_rule: World, hub: FakeGitHub, fault: str | None, choice: bool, code: int, status: str
) -> None:
    world, reply = by_rule, play(FAULTS[fault][0] if fault else None)
    world.policy |= {"publish": {"ledger": "branch"}, "manifests": ["bot.yaml"]}
    if choice:
        del world.policy["measurements"]["forgetting"]
    world.save()
    report, _ = gate(world, reply)
    assert report.measurements["form"].status == status
    policy, manifest = world.policy_path.read_text(), world.manifest_path.read_text()
    (world.root / "scene").mkdir()
    scene = Scene(hub, world.root / "scene")
    scene.base = hub.git.commit({POLICY_PATH: policy, "bot.yaml": "name: bot\n"}, branch="main")
    head = scene.push({"bot.yaml": manifest})

    def redo(_: str) -> DecideAgain:
        return lambda folder: decide_again(folder, world.policy_path, world.root / "redone", SilentProgress())

    effects = replace(scene.effects(), decide_again=redo)
    assert int(publish_results(effects, [world.root / "out"])) == code, scene.said
    commit_status = hub.status_of(head)
    assert commit_status is not None
    assert commit_status.state == ("success" if code == 0 else "failure")
    assert "Answer form" in scene.thread()[0]
    statement = json.loads((world.root / "out" / "statement.json").read_text())["predicate"]
    assert ("form" in statement["passedTests"]) == (status == "pass")
    assert ("form" in statement["failedTests"]) == (status == "block")
