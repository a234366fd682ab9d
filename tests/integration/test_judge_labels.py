"""People grade a run's answers: the judge is compared with them, its drop corrected, and a change brings none."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support import labellers
from support.players import Player, Script, digit, honest_judge, script, shown
from support.world import World, write_rows

from ftgate.cli.judge import description
from ftgate.cli.main import cli
from ftgate.config.policy import Policy, read_policy
from ftgate.domain import Answer, Model, Question, canonical
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError, DatasetError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.gate.judge_check import check_judge
from ftgate.gate.label_sample import sample_answers
from ftgate.github.verify_report import Expected, verify_report
from ftgate.jobs.prepare import load_job
from ftgate.judge.labels import read_labels
from ftgate.progress import SilentProgress
from ftgate.report import render
from ftgate.report.reading import read_report
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")

WORSE = Player(target=0.9, forgetting=0.75)
"""Loses a sixth of its general answers: to these it says that it has no idea."""


def kind_judge(model: Model, question: Question) -> Answer:
    """Honest, but for an answer that admits to know nothing, which it finds mostly good."""
    return digit(4) if shown(question)[1] == "no idea" else honest_judge(model, question)


def gate(world: World, play: Script, out: str = "out") -> tuple[Report, ScriptedEngine]:
    job = load_job(world.policy_path, world.manifest_path)
    judge = ScriptedEngine(play)
    report = evaluate(job, world.root / out, SilentProgress(), engine=ScriptedEngine(play), judge_engine=judge)
    return report, judge


def sampled(world: World, *options: str, name: str = "labels.csv") -> Path:
    path = world.root / name
    arguments = ["judge", "sample", str(world.root / "out"), "--out", str(path), *options]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return path


def graded_by_people(path: Path) -> Path:
    """The file as a person would return it: 5 for what equals the reference, 1 for anything else."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["grade"] = "5" if row["answer"] == row["reference"] else "1"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def numbers(report: Report) -> dict[str, Any]:
    data = report.model_dump(mode="json")
    for part in ("started", "finished", "decided_at"):
        data["provenance"].pop(part, None)
    return {name: data[name] for name in ("verdict", "measurements", "checklist", "controls", "provenance")}


@pytest.fixture(scope="module")
def labelled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of :func:`labelled`, made by one run."""
    world = World(tmp_path_factory.mktemp("labelled") / "world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "pictures", lambda report: {})
        report, _ = gate(world, script(WORSE, judge=kind_judge))
    assert report.measurements["forgetting"].status in ("pass", "warn"), report.reasons
    assert "judge_labels" not in {**report.controls, **report.provenance}
    graded_by_people(sampled(world))
    return world.root


@pytest.fixture
def labelled(world: World, labelled_once: Path) -> World:
    """A world whose run passed forgetting by a judge that is too kind, and whose policy then names people's grades."""
    shutil.copytree(labelled_once, world.root, dirs_exist_ok=True)
    world.policy["judge"]["labels"] = "labels.csv"
    world.save()
    return world


def test_a_sample_is_blind_and_holds_both_models_answers_to_random_items(labelled: World) -> None:
    text = (labelled.root / "labels.csv").read_text(encoding="utf-8-sig")
    assert "base" not in text
    assert "bot" not in text
    labels = read_labels(labelled.root / "labels.csv", "x").labels
    prompts = [label.item.user_text for label in labels]
    assert len(set(prompts)) == 60
    assert prompts == sorted(prompts, key=prompts.index), "the answers to one prompt follow each other"
    assert 60 < len(labels) < 90, "equal answers are one row"
    assert prompts != sorted(prompts)
    pairs = [labels[i].text for i in range(1, len(labels)) if prompts[i] == prompts[i - 1]]
    assert len({text == "no idea" for text in pairs}) == 2, "the worse answer is now first, now second"
    again = sample_answers(labelled.root / "out", None, 60, 0)
    assert [label.key for label in again.labels] == [label.key for label in labels]


@pytest.mark.parametrize(("items", "rows", "remedy"), [(20, 200, "--items 50"), (60, 45, "this run has no more")])
def test_a_sample_that_is_too_small_to_correct_anything_says_so(
    world: World, items: int, rows: int, remedy: str
) -> None:
    """Or else people grade for an hour, and learn at the next run that it was for nothing."""
    general = (world.root / "evals" / "general.jsonl").read_text(encoding="utf-8").splitlines()[:rows]
    (world.root / "evals" / "general.jsonl").write_text("\n".join(general), encoding="utf-8")
    gate(world, script(WORSE))
    arguments = [
        "judge",
        "sample",
        str(world.root / "out"),
        "--out",
        str(world.root / "few.csv"),
        "--items",
        str(items),
    ]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert f"too few to correct forgetting: that takes grades of both answers to 50 items; {remedy}" in done.output
    enough = CliRunner().invoke(cli, [*arguments[:-1], "50", "--force"], catch_exceptions=False)
    assert ("too few" in enough.output) == (rows < 50)


def test_grades_that_were_given_are_filled_in(labelled: World) -> None:
    gate(labelled, script(WORSE, judge=kind_judge))
    rows = sample_answers(labelled.root / "out", "forgetting", 80, 0).labels
    assert 0 < sum(label.grade is None for label in rows) < len(rows) - 60


def test_people_find_the_loss_that_a_kind_judge_hides(labelled: World) -> None:
    by_judge = read_report(labelled.root / "out" / "report.json").measurements["forgetting"].change
    again = decide_again(labelled.root / "out", labelled.policy_path, labelled.root / "again", SilentProgress())
    forgetting = again.measurements["forgetting"]
    assert (again.verdict, forgetting.status) == ("block", "block"), forgetting.reason
    assert "corrected by people's grades of 60 items" in forgetting.method
    assert forgetting.details["people"]["corrected"]
    assert forgetting.details["people"]["by_the_judge_alone"] == by_judge, "as it was reported without people"
    assert by_judge is not None
    assert by_judge < 0.08 < forgetting.interval[0]
    control = again.controls["judge_labels"]
    assert control["bias_low"] > 0.05
    assert control["kappa_low"] < control["kappa"] < control["kappa_high"] < 0.9
    note = next(note for note in forgetting.details["notes"] if note.startswith("judge against people"))
    assert "too kind" in note
    assert "by the judge alone it lost 5.1 %" in note
    line = next(line for line in again.checklist if line.item == "The judge agrees with people")
    assert line.evidence == control["reason"]
    assert forgetting.details["people"]["status_by_the_judge_alone"] in ("pass", "warn")
    assert any(
        note.startswith("general skills: block by people's grades of 60 items (`judge.labels`)") for note in again.notes
    )
    comment = (labelled.root / "again" / "comment.md").read_text(encoding="utf-8")
    assert "The judge agrees with people" in comment


def test_grades_that_are_all_the_same_correct_nothing(labelled: World) -> None:
    """Someone who fills the column with fives hides no loss, and the report says why they do not count."""
    path = labelled.root / "labels.csv"
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "grade": "5"} for row in rows)
    again = decide_again(labelled.root / "out", labelled.policy_path, labelled.root / "again", SilentProgress())
    people = again.measurements["forgetting"].details["people"]
    assert people == {"corrected": False, "reason": "people gave all 120 answers the same grade"}
    assert "the change is not corrected by them: people gave all" in forgetting_notes(again)


def test_a_run_with_labels_asks_nothing_more_and_is_decided_again_from_its_folder_alone(labelled: World) -> None:
    report, judge = gate(labelled, script(WORSE, judge=kind_judge), out="fresh")
    assert judge.starts == 1
    assert report.measurements["forgetting"].status == "block"
    assert report.provenance["judge_labels"]["sha256"] == read_labels(labelled.root / "labels.csv", "x").sha256
    _, before = gate(World(labelled.root / "plain"), script(WORSE, judge=kind_judge))
    asked, asked_before = ({canonical(ask.question.content()) for ask in each.asked} for each in (judge, before))
    assert asked <= asked_before, "the labelled answers are graded as part of the run anyway"
    (labelled.root / "labels.csv").unlink()
    again = decide_again(labelled.root / "fresh", None, labelled.root / "again", SilentProgress())
    assert numbers(again) == numbers(report)


def test_a_run_that_may_stop_early_is_corrected_at_each_look(labelled: World) -> None:
    labelled.policy["evidence"] = {"early_stopping": "pocock"}
    labelled.save()
    report, _ = gate(labelled, script(WORSE, judge=kind_judge), out="early")
    assert report.stopping is not None
    assert report.measurements["forgetting"].status == "block"
    assert report.stopping.looks["forgetting"] < report.stopping.of
    graded = min(60, report.measurements["forgetting"].n)
    assert f"corrected by people's grades of {graded} items" in report.measurements["forgetting"].method


def forgetting_notes(report: Report) -> str:
    return " ".join(report.measurements["forgetting"].details["notes"])


def other_words(model: Model, question: Question) -> Answer:
    """Another candidate than the one whose answers people graded: it says otherwise that it knows nothing."""
    answer = script(WORSE, judge=kind_judge)(model, question)
    return Answer(text="who knows", tokens=2) if model.name == "bot" and answer.text == "no idea" else answer


def test_labels_of_an_older_candidate_check_the_judge_and_correct_nothing(labelled: World) -> None:
    """The answers that it gave as before would be no random sample: they are those that are right."""
    report, judge = gate(labelled, other_words, out="later")
    assert judge.starts == 1
    people = report.measurements["forgetting"].details["people"]
    assert not people["corrected"]
    assert "no random sample" in people["reason"]
    assert report.controls["judge_labels"]["answers"] == len(read_labels(labelled.root / "labels.csv", "x").labels)
    assert "the change is not corrected by them" in forgetting_notes(report)
    again = decide_again(labelled.root / "later", None, labelled.root / "again", SilentProgress())
    assert numbers(again) == numbers(report)


@dataclass(frozen=True)
class Polyglot(Player):
    """A player with a suite of its own."""

    german: float = 0.9


def test_labels_of_one_suite_are_not_mentioned_at_another(labelled: World) -> None:
    """Another suite may be judged as well: that nobody graded its answers is no fault of the labels."""
    rows = [{"id": f"g{i}", "prompt": f"buchstabiere {i}", "answer": f"word {i} of {i % 7}"} for i in range(120)]
    write_rows(labelled.root / "evals" / "german.jsonl", rows)
    labelled.policy["measurements"]["german"] = {"kind": "forgetting", "dataset": "evals/german.jsonl"}
    labelled.save()
    worse = Polyglot(target=WORSE.target, forgetting=WORSE.forgetting)
    report, _ = gate(labelled, script(worse, base=Polyglot(), judge=kind_judge), out="two")
    assert report.measurements["forgetting"].details["people"]["corrected"]
    german = report.measurements["german"].details
    assert "people" not in german
    assert not any("people" in note for note in german.get("notes", ()))


def test_without_an_engine_the_judge_cannot_grade_answers_of_other_runs(labelled: World) -> None:
    labelled.policy["judge"].pop("labels")
    labelled.save()
    gate(labelled, other_words, out="later")
    labelled.policy["judge"]["labels"] = "labels.csv"
    labelled.save()
    with pytest.raises(ConfigurationError, match=r"some of its \d+ answers are of another run"):
        decide_again(labelled.root / "later", labelled.policy_path, labelled.root / "again", SilentProgress())


@pytest.mark.parametrize(("name", "says"), [("gone.csv", "no such file"), ("bot.yaml", "not a .csv or .jsonl file")])
def test_a_run_does_not_start_on_labels_that_cannot_be_read(world: World, name: str, says: str) -> None:
    world.policy["judge"]["labels"] = name
    world.save()
    with pytest.raises(DatasetError, match=says):
        load_job(world.policy_path, world.manifest_path)


def test_labels_that_changed_in_the_output_folder_are_refused(labelled: World) -> None:
    gate(labelled, script(WORSE, judge=kind_judge), out="fresh")
    kept = labelled.root / "fresh" / "labels.jsonl"
    rows = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    rows[0]["grade"] = 1 if rows[0]["grade"] == 5 else 5
    kept.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="changed after the run"):
        decide_again(labelled.root / "fresh", None, labelled.root / "again", SilentProgress())


def test_a_change_brings_no_labels_of_its_own(labelled: World) -> None:
    gate(labelled, script(WORSE, judge=kind_judge), out="fresh")
    sha256 = read_labels(labelled.root / "labels.csv", "x").sha256

    def again(folder: Path) -> Report:
        alone = labelled.root / "elsewhere" / "policy.yml"
        alone.parent.mkdir(exist_ok=True)
        alone.write_text(labelled.policy_path.read_text(encoding="utf-8"), encoding="utf-8")
        return decide_again(folder, alone, labelled.root / "again", SilentProgress())

    policy: Policy = read_policy(labelled.policy_path)
    folder = labelled.root / "fresh"
    assert verify_report(folder, Expected(policy, decide_again=again, labels=sha256)).problems == ()
    found = verify_report(folder, Expected(policy, decide_again=again, labels="0" * 64))
    assert found.problems == ("people's grades of the judge (judge.labels) are not the base branch's",)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    report["provenance"]["judge_labels"]["sha256"] = "0" * 64
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    found = verify_report(folder, Expected(policy, decide_again=again, labels="0" * 64))
    assert "people's grades of the judge are not those that it says it used" in found.problems


def test_a_judge_is_checked_without_a_candidate(labelled: World) -> None:
    engine = ScriptedEngine(script(WORSE, judge=kind_judge))
    out = labelled.root / "check"
    found = check_judge(labelled.policy_path, None, out, SilentProgress(), engine=engine)
    lines = list(description(found))
    assert found.agreement.bias > 0.05
    assert found.fitness["forgetting"].fit
    assert lines[2].startswith("agreement with people: kappa ")
    assert "too kind" in lines[2]
    table = [line.split() for line in lines if line.split()[0] in "12345"]
    assert [sum(map(int, row[1:])) for row in table] == [sum(row) for row in found.agreement.table]
    assert sum(map(sum, found.agreement.table)) == found.agreement.answers
    assert found.agreement.table[0][3] > 0, "people grade 1 what the judge grades 4"
    assert lines[-1].startswith("fitness test on forgetting: passed")
    asked = len(engine.asked)
    check_judge(labelled.policy_path, labelled.root / "labels.csv", out, SilentProgress(), engine=engine)
    assert len(engine.asked) == asked, "the replies are kept"


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_prints_the_check(labelled: World, as_json: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftgate.gate.judge_check.open_judge", lambda *_: ScriptedEngine(kind_judge))
    out, policy = str(labelled.root / "check"), str(labelled.policy_path)
    done = CliRunner().invoke(cli, ["judge", "check", "--policy", policy, "--out", out, *(["--json"] * as_json)])
    assert done.exit_code == 0, done.output
    if as_json:
        result = json.loads(done.stdout)
        assert result["sha256"] == read_labels(labelled.root / "labels.csv", "x").sha256
        assert result["agreement"]["bias"] > 0.05
        assert result["fitness"]["forgetting"]["fit"]
    else:
        assert "agreement with people: kappa" in done.stdout
        assert "fitness test on forgetting: passed" in done.stdout


def test_an_unfit_judge_is_told(labelled: World) -> None:
    engine = ScriptedEngine(lambda model, question: digit(3))
    found = check_judge(labelled.policy_path, None, labelled.root / "check", SilentProgress(), engine=engine)
    assert found.agreement.kappa == pytest.approx(0, abs=0.01)
    assert list(description(found))[-1].startswith("fitness test on forgetting: failed: AUROC")


@pytest.mark.parametrize(("labels", "fit"), [(labellers.honest, True), (labellers.letter_judge, False)])
def test_a_judge_that_labels_refusals_is_tested_as_well(labelled: World, labels: Script, fit: bool) -> None:
    def judge(model: Model, question: Question) -> Answer:
        return (labels if question.part.startswith("label") else kind_judge)(model, question)

    labelled.policy["measurements"]["safety"] = {}
    labelled.save()
    out = labelled.root / "check"
    found = check_judge(labelled.policy_path, None, out, SilentProgress(), engine=ScriptedEngine(judge))
    assert {name: test.fit for name, test in found.fitness.items()} == {"forgetting": True, "safety": fit}
    assert list(description(found))[-1].startswith(f"fitness test on safety: {'passed' if fit else 'failed'}: ")


def test_what_there_is_to_check_is_asked_for(world: World) -> None:
    with pytest.raises(ConfigurationError, match=r"no judge\.labels to check the judge on"):
        check_judge(world.policy_path, None, world.root / "check", SilentProgress(), engine=ScriptedEngine(kind_judge))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--out", "labels.xlsx"], "only .csv and .jsonl are written"),
        (["--out", "labels.csv"], "exists, and its grades would be lost"),
        (["--measurement", "tail", "--out", "new.csv"], "a judge graded forgetting, not tail"),
    ],
)
def test_a_sample_that_cannot_be_drawn_says_why(
    labelled: World, options: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(labelled.root)
    done = CliRunner().invoke(cli, ["judge", "sample", "out", *options])
    assert isinstance(done.exception, ConfigurationError)
    assert says in done.exception.message


def test_a_folder_without_a_run_has_nothing_to_grade(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no run in"):
        sample_answers(tmp_path, None, 60, 0)
