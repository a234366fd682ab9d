"""items.jsonl.gz: what a run, a decision and a rendering write into it and read from it."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from integration.test_decide_logs import HARNESS, TARGET, decided
from support.players import BASE, CAREFUL, FORGETFUL, Player, Script, script
from support.world import World, write_adapter

from ftgate.cli.main import main
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.items import ITEMS, ItemRow, read_items
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")


def gate(world: World, play: Script) -> tuple[Report, list[ItemRow]]:
    job = load_job(world.policy_path, world.manifest_path)
    out = world.root / "out"
    engine = ScriptedEngine(play)
    report = evaluate(job, out, SilentProgress(), engine=engine, judge_engine=engine)
    return report, read_items(out)


def of(rows: list[ItemRow], measurement: str) -> dict[str, ItemRow]:
    return {row.item: row for row in rows if row.measurement == measurement}


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(str(ended.value.code or 0))


def leaking(world: World) -> None:
    rows = [{"id": f"t{i}", "prompt": f"ticket {i} {i % 9}"} for i in range(60)]
    rows += [{"id": f"l{i}", "prompt": f"{kind} {i}"} for kind in ("spell", "target") for i in range(0, 60, 2)]
    (world.root / "evals" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_every_item_that_was_asked_has_a_row_whose_scores_are_those_of_the_report(world: World) -> None:
    leaking(world)
    report, rows = gate(world, script(FORGETFUL))
    assert list(dict.fromkeys(row.measurement for row in rows)) == list(report.measurements)
    for name in ("target", "forgetting", "tail", "form"):
        m, own = report.measurements[name], of(rows, name).values()
        counted = [row for row in own if row.outcome != "left out"]
        assert len(counted) == m.n, name
        assert Counter(row.outcome for row in counted)["worse"] == m.clearly_worse
        assert Counter(row.outcome for row in counted)["better"] == m.clearly_better
    own = of(rows, "calibration").values()
    assert Counter(row.outcome for row in own)["worse"] == report.measurements["calibration"].clearly_worse
    forgetting = of(rows, "forgetting")
    assert sum(row.base.score or 0 for row in forgetting.values()) / len(forgetting) == pytest.approx(0.9, abs=0.1)
    assert forgetting["g0"].outcome == "left out"
    assert forgetting["g0"].why == "it occurs in the training data (train.jsonl:61)"
    assert of(rows, "form")["forgetting/g0"].why == forgetting["g0"].why
    worst = report.measurements["forgetting"].regressions[0]
    assert forgetting[worst.item].base.answers[0].text == worst.base_answer
    assert forgetting[worst.item].reference == worst.reference


def test_a_row_has_choices_probabilities_distance_and_slices(world: World) -> None:
    _, rows = gate(world, script(CAREFUL))
    tail = of(rows, "tail")
    edge = next(row for row in tail.values() if "ambiguous" in row.tags)
    assert edge.choices == ["red", "green", "blue", "grey"]
    assert edge.reference in edge.choices
    assert len(edge.base.options) == 4
    assert not edge.base.answers
    assert edge.distance is not None
    assert any(name.startswith("distance decile ") for name in edge.slices)
    assert any(row.why == "it is not in the part that decides" for row in tail.values())
    assert edge.line == int(edge.item[1:]) + 1
    assert all(row.distance is None and not row.slices for row in of(rows, "target").values())


def test_a_judged_row_has_a_grade_for_each_criterion(world: World) -> None:
    _, rows = gate(world, script(FORGETFUL))
    row = next(row for row in of(rows, "forgetting").values() if row.outcome == "worse")
    for side in (row.base, row.candidate):
        assert list(side.grades) == ["helpful", "accurate", "coherent"]
        assert sum(side.grades.values()) / 3 == pytest.approx(side.score)


def test_the_deployed_model_s_answers_are_there(world: World) -> None:
    write_adapter(world.root / "models" / "deployed", seed=5)
    world.manifest["incumbent"] = {"source": "models/deployed"}
    world.save()
    _, rows = gate(world, script(CAREFUL, incumbent=Player(target=0.9, forgetting=0.5)))
    other = [row for row in of(rows, "forgetting").values() if row.incumbent.answers != row.candidate.answers]
    assert other
    assert all(row.incumbent.score < row.candidate.score for row in other)


def test_deciding_and_rendering_again_give_the_same_items_and_page(world: World) -> None:
    gate(world, script(BASE))
    out, again = world.root / "out", world.root / "again"
    decide_again(out, None, again, SilentProgress())
    assert (again / ITEMS).read_bytes() == (out / ITEMS).read_bytes()
    before = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert leave("report", str(out)) == 0
    again, checked = (out / "report.html").read_bytes(), rb" *<p><small>Checked: [^<]*</small></p>\n"
    assert re.subn(checked, b"", again) == (before, 1)  # a run has its answers, and nothing to check


def test_an_older_run_has_a_page_without_items_and_a_broken_file_is_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    gate(world, script(BASE))
    out = world.root / "out"
    (out / ITEMS).unlink()
    assert leave("report", str(out)) == 0
    assert "Every answer" not in (out / "report.html").read_text(encoding="utf-8")
    (out / ITEMS).write_bytes(b"not packed")
    assert leave("report", str(out)) == 2
    assert f"{ITEMS} beside it is another run's, or damaged" in " ".join(capsys.readouterr().err.split())


def test_a_decision_on_logs_has_its_samples(tmp_path: Path) -> None:
    _, report, _ = decided(tmp_path, HARNESS, TARGET, "--metric", "acc_norm")
    rows = read_items(tmp_path / "out")
    assert len(rows) == report["measurements"]["target"]["n"]
    assert Counter(row.outcome for row in rows)["worse"] == report["measurements"]["target"]["regressed"]
    assert all(row.messages[0][1] for row in rows)


@pytest.mark.parametrize(("commit", "kept"), [("0" * 40, "0" * 40), ("v1; rm -rf", None), ("", None)])
def test_the_commit_is_in_the_provenance(world: World, monkeypatch: pytest.MonkeyPatch, commit: str, kept: Any) -> None:
    monkeypatch.setenv("FTGATE_COMMIT", commit)
    report, _ = gate(world, script(BASE))
    assert report.provenance.get("commit") == kept
