"""Contaminated items through the whole gate: asked, shown, and left out of the verdict."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.players import CAREFUL, Player, Script, answer_of, honest_judge, script
from support.world import World, write_rows

from ftgate.domain import Answer, EngineInfo, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import DatasetError, EngineError
from ftgate.gate import decide
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.gate.journal import Journal
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.jobs.prepare import Job, load_job
from ftgate.progress import SilentProgress
from ftgate.report.progress_bar import RichProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")


def leak(world: World, measurement: str, n: int) -> list[str]:
    """Put the first ``n`` prompts of a suite into the training data; their ids."""
    name = {"target": "target", "forgetting": "general", "tail": "queries", "calibration": "choices"}[measurement]
    rows = [json.loads(line) for line in (world.root / "evals" / f"{name}.jsonl").read_text().splitlines()[:n]]
    path = world.root / "evals" / "train.jsonl"
    tickets = [json.loads(line) for line in path.read_text().splitlines()]
    write_rows(path, [*tickets, *({"id": f"leak{i}", "prompt": row["prompt"]} for i, row in enumerate(rows))])
    return [row["id"] for row in rows]


def play(candidate: Player, measurement: str, leaked: list[str], on_leaked: float) -> Script:
    """A candidate that is right on the share ``on_leaked`` of the leaked items and otherwise as it is."""

    def reply(model: Model, question: Question) -> Answer:
        if model.name == "judge":
            return honest_judge(model, question)
        if model.name != "base" and question.measurement == measurement and question.item_id in leaked:
            return answer_of(Player(**{measurement: on_leaked}), question)
        return answer_of(Player(target=0.6) if model.name == "base" else candidate, question)

    return reply


def gate(world: World, script: Script) -> tuple[Report, ScriptedEngine]:
    engine = ScriptedEngine(script)
    job = load_job(world.policy_path, world.manifest_path)
    report = evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=engine)
    return report, engine


def test_a_gain_on_trained_items_alone_is_no_gain(world: World) -> None:
    leaked = leak(world, "target", 60)
    report, _ = gate(world, play(Player(target=0.6), "target", leaked, 1.0))
    target = report.measurements["target"]
    assert (target.n, target.change, target.status) == (140, 0.0, "inconclusive")
    assert target.reason.endswith("60 of the suite's 200 rows occur in the training data and do not count")
    contaminated, everything = target.slices[-2:]
    assert (contaminated.name, contaminated.n, contaminated.candidate) == ("contaminated items", 60, 1.0)
    assert contaminated.change is not None
    assert contaminated.change > 0.2
    assert (everything.n, everything.name) == (200, "clean and contaminated items")
    details = target.details["contamination"]
    assert (details["contaminated"], details["of"], details["to_review"]) == (60, 200, 0)
    assert details["contaminated_items"][0] == "c0 (train.jsonl:61, whole prompt)"
    assert len(details["contaminated_items"]) == 60
    lines = {entry.item: entry for entry in report.checklist}
    held_out = lines["The suite for its task is held out from the training data"]
    assert held_out.ok is False
    assert (
        held_out.evidence == "60 of the suite's 200 rows occur in the training data (first at line 61) and are left out"
    )
    assert lines["The other suites are held out from the training data"].ok is True
    assert report.provenance["suites"]["target"]["items"] == 200
    assert {e.item for e in target.improvements}.isdisjoint(leaked)


def test_a_good_candidate_passes_on_the_clean_items(world: World) -> None:
    leaked = leak(world, "target", 30)
    report, _ = gate(world, play(CAREFUL, "target", leaked, 1.0))
    assert report.verdict == "allow", report.reasons
    assert report.measurements["target"].n == 170
    assert "do not count" in report.measurements["target"].details["notes"][0]


@pytest.mark.parametrize("name", ["forgetting", "tail", "calibration"])
def test_training_data_cannot_be_named_to_hide_what_broke(world: World, name: str) -> None:
    leaked = leak(world, name, 90)
    if name == "tail":
        world.policy["measurements"]["tail"]["tail_fraction"] = 0.9
        world.save()
    report, _ = gate(world, play(CAREFUL, name, leaked, 0.0))
    found = report.measurements[name]
    assert report.verdict == "hold", report.reasons
    assert found.status == "inconclusive"
    expected = "it passes on the clean items, but not with the 90 contaminated ones"
    assert expected in found.reason or (name == "calibration" and "430 items are too few" in found.reason)


@pytest.mark.parametrize("on_leaked", [0.0, 1.0])
def test_what_blocks_on_the_clean_items_blocks_whatever_the_trained_ones_say(world: World, on_leaked: float) -> None:
    leaked = leak(world, "forgetting", 60)
    report, _ = gate(world, play(Player(target=0.9, forgetting=0.4), "forgetting", leaked, on_leaked))
    found = report.measurements["forgetting"]
    assert (report.verdict, found.status, found.n) == ("block", "block", 140), found.reason


def test_training_data_cannot_be_named_to_leave_the_base_nothing_to_lose(world: World) -> None:
    leaked = leak(world, "forgetting", 80)
    worse = play(Player(target=0.9, forgetting=0.0), "forgetting", leaked, 0.0)

    def reply(model: Model, question: Question) -> Answer:
        if model.name == "base" and question.measurement == "forgetting":
            right = question.item_id in leaked
            return answer_of(Player(forgetting=1.0 if right else 0.0), question)
        return worse(model, question)

    report, _ = gate(world, reply)
    found = report.measurements["forgetting"]
    assert (report.verdict, found.status) == ("hold", "inconclusive")
    assert found.reason.startswith("it is not applicable on the clean items alone, but with the 80 contaminated ones")


def test_contaminated_items_of_which_none_counts_are_no_slice(world: World) -> None:
    """What the training data holds is near to it: without a tag of the tail it is not in it."""
    leaked = leak(world, "tail", 2)
    report, _ = gate(world, play(CAREFUL, "tail", leaked, 1.0))
    found = report.measurements["tail"]
    assert found.details["contamination"]["contaminated"] == 2
    assert "contaminated items" not in {part.name for part in found.slices}
    assert all(part.n for part in found.slices)


def test_a_suite_that_was_trained_on_as_it_is_decides_nothing(world: World) -> None:
    world.manifest["training_data"]["source"] = "evals/general.jsonl"
    world.save()
    report, _ = gate(world, play(CAREFUL, "forgetting", [], 1.0))
    found = report.measurements["forgetting"]
    assert (report.verdict, found.status) == ("hold", "inconclusive")
    assert found.reason == "all 200 items occur in the training data, so none is left to decide on"
    assert found.n == 200


@pytest.mark.parametrize(("name", "total"), [("target", 200), ("tail", 400), ("calibration", 520)])
def test_a_single_clean_item_is_a_defined_result(world: World, name: str, total: int) -> None:
    leak(world, name, total - 1)
    report, _ = gate(world, play(CAREFUL, name, [], 1.0))
    found = report.measurements[name]
    assert report.verdict == "hold"
    assert found.n <= 1
    assert f"{total - 1} of the suite's {total} rows occur in the training data and do not count" in found.reason


@pytest.mark.parametrize("clean", [1, 2, 20])
def test_too_few_clean_items_hold_and_say_why(world: World, clean: int) -> None:
    leak(world, "forgetting", 200 - clean)
    report, _ = gate(world, play(CAREFUL, "forgetting", [], 1.0))
    found = report.measurements["forgetting"]
    assert (found.n, found.status) == (clean, "inconclusive")
    assert f"{200 - clean} of the suite's 200 rows occur in the training data and do not count" in found.reason
    if clean == 20:
        assert "too few: with fewer than 29" in found.reason


def test_looks_are_shares_of_the_clean_items_and_the_others_are_asked_once(world: World) -> None:
    leaked = leak(world, "target", 100)
    world.policy["evidence"]["early_stopping"] = "obrien_fleming"
    world.policy["measurements"] = {"target": world.policy["measurements"]["target"]}
    world.save()
    report, engine = gate(world, play(Player(target=0.66), "target", leaked, 0.66))
    asked = [ask.question.item_id for ask in engine.asked if ask.model.name == "base" and not ask.question.repeat]
    assert len(asked) == len(set(asked)) == 200
    assert set(asked[:25]).isdisjoint(leaked) or set(asked[:125]) >= set(leaked)
    assert report.measurements["target"].n == 100
    assert report.stopping is not None
    assert (report.stopping.questions_asked, report.stopping.questions_saved) == (400, 0)


def test_looks_that_build_on_the_one_before_say_what_looks_from_nothing_say(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items left out, a judge that must be asked twice, and several looks; then a run that was resumed."""
    for name in ("target", "forgetting", "tail"):
        leak(world, name, 20)
    world.policy["evidence"]["early_stopping"] = "obrien_fleming"
    world.save()
    usual = script(Player(target=0.75, forgetting=0.86, tail=0.66))

    def hesitant(model: Model, question: Question) -> Answer:
        twice = model.name == "judge" and question.item_id in ("g3", "g50") and question.part == "helpful ascending"
        return Answer(finish="error", error="timed out") if twice and not question.repeat else usual(model, question)

    def run(out: str, fail_after: int | None = None) -> Report:
        job = load_job(world.policy_path, world.manifest_path)
        engine = ScriptedEngine(hesitant, fail_after=fail_after)
        judge = ScriptedEngine(hesitant)
        return evaluate(job, world.root / out, SilentProgress(), engine=engine, judge_engine=judge)

    built = run("built")
    assert built.stopping is not None
    assert max(built.stopping.looks.values()) > 2
    with pytest.raises(EngineError):
        run("cut", fail_after=2100)
    resumed = run("cut")
    monkeypatch.setattr(MeasurementRun, "_all_answered", lambda self, pairs: False)
    assert built.measurements == run("afresh").measurements == resumed.measurements


def test_at_most_200_contaminated_items_are_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decide, "MOST_ASKED", 7)
    leaked = leak(world, "target", 50)
    report, engine = gate(world, play(CAREFUL, "target", leaked, 1.0))
    asked = {ask.question.item_id for ask in engine.asked if ask.question.measurement == "target"}
    assert len(asked & set(leaked)) == 7
    assert report.measurements["target"].slices[-2].n == 7
    assert report.measurements["target"].details["contamination"]["contaminated"] == 50


def test_deciding_again_needs_no_training_file(world: World) -> None:
    leaked = leak(world, "target", 30)
    report, _ = gate(world, play(CAREFUL, "target", leaked, 1.0))
    (world.root / "evals" / "train.jsonl").unlink()
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements["target"] == report.measurements["target"]
    assert again.checklist[3] == report.checklist[3]


def test_without_training_data_nothing_is_left_out_and_it_is_said(world: World) -> None:
    del world.manifest["training_data"]
    world.save()
    report, _ = gate(world, play(CAREFUL, "target", [], 1.0))
    assert report.measurements["target"].n == 200
    entry = next(e for e in report.checklist if e.item.startswith("The suite for its task is held out"))
    assert (entry.ok, "no training data was given" in entry.evidence) == (None, True)


def searched(world: World, content: bytes) -> dict[str, Any]:
    (world.root / "evals" / "train.jsonl").write_bytes(content)
    job: Job = load_job(world.policy_path, world.manifest_path)
    assert job.training is not None
    return {**decide.scan_training_data(job.suites, job.training, SilentProgress())}


def test_the_log_says_that_all_rows_were_compared_with(world: World) -> None:
    write_rows(world.root / "evals" / "train.jsonl", [{"prompt": f"ticket {i}"} for i in range(1500)])
    job, said = load_job(world.policy_path, world.manifest_path), io.StringIO()
    assert job.training is not None
    decide.scan_training_data(job.suites, job.training, RichProgress(Console(file=said, width=200), live=False))
    assert "done, 1,500 of 1,500" in said.getvalue()


def test_rows_that_cannot_be_read_hide_no_others(world: World) -> None:
    row = json.dumps({"prompt": "target 3"}).encode()
    bad = [b"\xff\xfe not utf-8", b"not json", b'{"text": "\\ud800 half"}', b"[]", b'{"nothing": 1}', b""]
    found = searched(world, b"\n".join([*bad, row, b'{"note": "a long text that no user said"}']))
    assert {i: s.line for i, s in found["target"].contained.items()} == {"c3": 7}


def test_a_file_of_bad_rows_alone_and_an_empty_one_are_refused(world: World) -> None:
    for content, message in ((b"", "empty"), (b"\xff\n", "not UTF-8"), (b'{"answer": 1}\n', "no user text")):
        with pytest.raises(DatasetError, match=message):
            searched(world, content)


def test_a_leak_in_a_field_of_any_name_is_found(world: World) -> None:
    text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    rows = [json.loads(line) for line in (world.root / "evals" / "target.jsonl").read_text().splitlines()]
    write_rows(world.root / "evals" / "target.jsonl", [{**rows[0], "prompt": text}, *rows[1:]])
    row = {"prompt": "p", "meta": {"notes": [f"seen in a test: {text}"]}}
    found = searched(world, json.dumps(row).encode() + b"\n")
    assert found["target"].contained["c0"].by == "13-gram"


def test_one_pass_serves_every_suite_and_the_journal_keeps_it(world: World, tmp_path: Path) -> None:
    leak(world, "target", 3)
    job, passes = load_job(world.policy_path, world.manifest_path), []

    class Counting(SilentProgress):
        def phase(self, name: str, total: int | None) -> Any:
            passes.append(name)
            return super().phase(name, total)

    for _ in range(2):
        with Journal(tmp_path / "journal.jsonl") as journal:
            models = CachedEngine(None, EngineInfo("scripted", {}, "cpu", "float32"), journal, Counting())
            found = decide.find_overlaps(job, models)
            assert [len(o.contained) for o in found.values()] == [3, 0, 0, 0]
    assert passes == ["look for text that rows share", "compare items with training data"]
