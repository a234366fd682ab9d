"""``ftgate plan`` from files: with and without an earlier run, as text, as data and as a picture."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.players import CAREFUL, Player, script
from support.world import World, write_rows

from ftgate.cli.main import main
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress

pytestmark = pytest.mark.usefixtures("no_pictures")

ASKED = {"target": 200, "forgetting": 200, "tail": 240 + 100, "calibration": 2 * 520}


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def planned(world: World, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert leave("plan", "--policy", str(world.policy_path), "--json", *options) == 0
    return dict(json.loads(capsys.readouterr().out))


def finished(world: World, player: Player) -> Path:
    engine = ScriptedEngine(script(player))
    job = load_job(world.policy_path, world.manifest_path)
    evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=engine)
    return world.root / "out"


def by_name(plan: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {p["name"]: p for p in plan["prospects"]}


def test_a_plan_needs_no_model_and_no_earlier_run(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (world.root / "models").rglob("*.safetensors"):
        path.unlink()
    plan = planned(world, capsys)
    found = by_name(plan)
    assert list(found) == ["target", "forgetting", "tail", "calibration"]
    assert {name: p["questions"] for name, p in found.items()} == {name: 2 * n for name, n in ASKED.items()}
    assert found["forgetting"]["by_formula"] == 141
    assert found["forgetting"]["judge_questions"] > 2 * 6 * 200
    # Half of the 400 queries are tagged, and a fifth of the others lies far out.
    assert (found["tail"]["rows"], found["tail"]["compared"]) == (400, 240)
    assert not any(p["learned"] for p in found.values())
    assert {p["seconds"] for p in found.values()} == {None}


def test_a_plan_counts_the_looks_beyond_n(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """With `n_max` a run may go on to three more looks, for which the others pay; the plan plays that design."""
    world.policy["measurements"]["forgetting"] |= {"n": 100}
    world.save()
    short = by_name(planned(world, capsys))["forgetting"]
    world.policy["measurements"]["forgetting"] |= {"n_max": 200}
    world.save()
    long = by_name(planned(world, capsys))["forgetting"]
    assert (short["rows"], long["rows"]) == (100, 200)
    assert long["questions"] == 2 * short["questions"]
    assert long["power"] > short["power"]


def test_a_plan_says_what_can_never_pass(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert {p["shortage"] for p in by_name(planned(world, capsys)).values()} == {None}
    world.policy["measurements"]["calibration"] |= {"n": 400}
    world.save()
    told = "measurements.calibration can never pass: it has 400 rows, and a pass needs at least 500; raise n to 500"
    assert by_name(planned(world, capsys))["calibration"]["shortage"] == told
    assert leave("plan", "--policy", str(world.policy_path)) == 0
    assert f"{told}." in " ".join(capsys.readouterr().out.split())


def test_a_manifest_without_training_data_leaves_the_tagged_queries(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert by_name(planned(world, capsys, "--manifest", str(world.manifest_path)))["tail"]["compared"] == 240
    del world.manifest["training_data"]
    world.save()
    assert by_name(planned(world, capsys, "--manifest", str(world.manifest_path)))["tail"]["compared"] == 200


def test_an_earlier_run_teaches_base_score_correlation_and_pace(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    out = finished(world, CAREFUL)
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    report = json.loads((out / "report.json").read_text())
    plan = planned(world, capsys, "--out", str(out))
    found = by_name(plan)
    assert {path: path.read_bytes() for path in before} == before, "a plan changes nothing"
    assert all(found[name]["learned"] for name in ("target", "forgetting", "tail"))
    for name in ("target", "tail"):
        assert found[name]["base"] == pytest.approx(report["measurements"][name]["base"], abs=0.01)
    assert found["tail"]["compared"] == report["measurements"]["tail"]["n"]
    assert found["target"]["good"] == pytest.approx(report["measurements"]["target"]["change"], abs=0.01)
    assert found["tail"]["phi"] > 0.95, "both players are right on the same items"
    assert found["tail"]["needed"] < 40
    assert all(p["seconds"] is not None and p["seconds"] >= 0 for p in found.values())
    assert plan["other_seconds"] >= 0


def test_more_forgetful_candidates_scatter_more(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    alike = by_name(planned(world, capsys, "--out", str(finished(world, CAREFUL))))["forgetting"]
    for path in sorted((world.root / "out").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    worse = by_name(planned(world, capsys, "--out", str(finished(world, Player(target=0.9, forgetting=0.6)))))[
        "forgetting"
    ]
    assert worse["by_formula"] > alike["by_formula"]


def test_items_in_clusters_count_once_a_cluster(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in (world.root / "evals" / "target.jsonl").read_text().splitlines()]
    write_rows(world.root / "evals" / "target.jsonl", [{**r, "cluster": f"k{i % 40}"} for i, r in enumerate(rows)])
    for options in ((), ("--out", str(finished(world, CAREFUL)))):
        found = by_name(planned(world, capsys, *options))["target"]
        assert (found["clusters"], found["compared"]) == (40, 200)


def test_looking_early_is_planned_for(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert {p["saved"] for p in planned(world, capsys)["prospects"]} == {0}
    world.policy["evidence"] = {"early_stopping": "obrien_fleming"}
    world.save()
    plan = planned(world, capsys)
    assert plan["early_stopping"] == "obrien_fleming"
    assert by_name(plan)["forgetting"]["saved"] > 0.15


def test_the_text_says_what_is_enough_and_what_is_not(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("plan", "--policy", str(world.policy_path)) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "General skills: enough items" in text
    assert "Confidence: too few items" in text
    assert "--out DIR learns from an earlier run" in text
    assert "Time: unknown" in text
    assert leave("plan", "--policy", str(world.policy_path), "--out", str(finished(world, CAREFUL))) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "at the earlier run's pace" in text
    assert "as in the earlier run" in text
    assert "nan" not in text


def test_the_table_fits_eighty_columns(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert leave("plan", "--policy", str(world.policy_path)) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out


def test_a_picture_is_drawn(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for name, start in (("power.svg", b"<svg"), ("power.png", b"\x89PNG")):
        planned(world, capsys, "--plot", str(world.root / name))
        assert (world.root / name).read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--policy", "nowhere.yml"], "nowhere.yml"),
        (["--out", "nowhere"], "nowhere/report.json"),
        (["--plot", "power.pdf"], "power.pdf"),
        (["--plot", "no/such/folder/power.svg"], "no/such/folder"),
        (["--manifest", "nobody.yaml"], "nobody.yaml"),
        (["--manifest", "one.yaml", "--manifest", "two.yaml", "--json"], "2 are given"),
        (["--manifest", "one.yaml", "--manifest", "two.yaml", "--plot", "power.svg"], "2 are given"),
        (["--manifest", "one.yaml", "--manifest", "two.yaml", "--pilot", "20"], "2 are given"),
    ],
)
def test_bad_input_is_exit_2_and_named(
    world: World, options: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = [] if "--policy" in options else ["--policy", str(world.policy_path)]
    assert leave("plan", *policy, *options) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '{"type": "score", "measurement": "target", "item": "c0", "base": 7, "candidate": 1}',
        '{"type": "answer"}',
        "3",
    ],
)
def test_a_damaged_journal_is_named_by_line(world: World, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = finished(world, CAREFUL)
    journal = out / "answers.jsonl"
    count = len(journal.read_text().splitlines())
    journal.write_text(journal.read_text() + line + "\n")
    assert leave("plan", "--policy", str(world.policy_path), "--out", str(out)) == 3
    assert f"answers.jsonl:{count + 1}" in capsys.readouterr().err


def test_a_line_cut_short_is_left_out_and_a_missing_journal_is_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    out = finished(world, CAREFUL)
    with (out / "answers.jsonl").open("a") as file:
        file.write('{"type": "sco')
    assert by_name(planned(world, capsys, "--out", str(out)))["target"]["learned"]
    (out / "answers.jsonl").unlink()
    assert leave("plan", "--policy", str(world.policy_path), "--out", str(out)) == 2
    assert "answers.jsonl" in capsys.readouterr().err


def test_many_manifests_are_planned_in_one_go(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan depends on a manifest only by whether it names training data: a thousand cost what two do."""
    folder = world.root / "models" / "many"
    folder.mkdir()
    text = world.manifest_path.read_text()
    bare = yaml.safe_dump({k: v for k, v in yaml.safe_load(text).items() if k != "training_data"})
    paths = [folder / f"m{i}.yaml" for i in range(1000)]
    for i, path in enumerate(paths):
        path.write_text(bare if i % 10 == 3 else text)
    arguments = [word for path in paths for word in ("--manifest", str(path))]
    started = time.process_time()
    assert leave("plan", "--policy", str(world.policy_path), *arguments) == 0
    assert time.process_time() - started < 60
    printed = capsys.readouterr().out
    assert "m0.yaml" in printed
    assert "… (900):" in printed
    assert "… (100):" in printed
    assert leave("plan", "--policy", str(world.policy_path), *arguments, "--json") == 2
    printed = capsys.readouterr().err
    assert "1000 are given" in printed


def test_everything_that_is_wrong_with_several_manifests_is_said_at_once(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = world.root / "one.yaml", world.root / "other.yaml"
    one.write_text("name: [")
    other.write_text("base: {}")
    assert leave("plan", "--policy", str(world.policy_path), "--manifest", str(one), "--manifest", str(other)) == 2
    printed = capsys.readouterr().err
    assert "one.yaml" in printed
    assert "other.yaml" in printed
