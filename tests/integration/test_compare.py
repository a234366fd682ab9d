"""`ftgate compare`: several runs in one table, and what the best of them is worth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.players import CAREFUL, FORGETFUL, Player, script
from support.world import World

from ftgate.cli.main import main
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.planning.compare import compare_reports, compare_runs, pareto_front
from ftgate.progress import SilentProgress
from ftgate.report.reading import read_report

pytestmark = pytest.mark.usefixtures("no_pictures")


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def finished(world: World, name: str, player: Player) -> Path:
    world.manifest["name"] = name
    world.save()
    engine = ScriptedEngine(script(player))
    job = load_job(world.policy_path, world.manifest_path)
    evaluate(job, world.root / name, SilentProgress(), engine=engine, judge_engine=engine)
    return world.root / name


def test_runs_are_shown_side_by_side_and_the_best_is_confirmed_on_the_other_half(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.policy["measurements"].pop("tail")
    players = {"forgetful": FORGETFUL, "careful": CAREFUL, "modest": Player(target=0.75)}
    folders = [finished(world, name, player) for name, player in players.items()]
    comparison = compare_runs(folders)
    (group,) = comparison.groups
    best = group.confirmation
    assert best is not None
    assert (best.name, best.among, best.n) == ("careful", ("careful", "modest"), 100)
    assert best.low < best.gain < best.high
    assert group.front == {"careful"}  # as much gain as the forgetful one and less loss; more gain than the modest one
    page = world.root / "pages" / "page.html"
    given = [str(folders[0] / "report.json"), *map(str, folders[1:]), str(world.policy_path)]
    assert leave("compare", *given, "--html", str(page)) == 0, "a file beside the folders is no run"
    printed = " ".join(capsys.readouterr().out.split())
    assert "2 of 3 may merge: careful and modest." in printed
    assert "Half of the task's items chose careful among careful and modest:" in printed
    assert "The other half, 100 items that had no say, confirms:" in printed
    text = page.read_text(encoding="utf-8")
    assert '<a href="../forgetful/report.html">forgetful</a>' in text
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_the_items_that_count_are_those_of_the_report(world: World) -> None:
    """What is left out or failed has no part in a gain, so that the mean over the items is the report's change."""
    suite = (world.root / "evals" / "target.jsonl").read_text().splitlines()
    leaked = [{"id": f"leaked {i}", "prompt": json.loads(line)["prompt"]} for i, line in enumerate(suite[:20])]
    with (world.root / "evals" / "train.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in leaked)
    folder = finished(world, "careful", CAREFUL)
    (contender,) = compare_reports([(folder, read_report(folder / "report.json"))]).contenders
    target = contender.report.measurements["target"]
    gains = [item.candidate - item.base for item in contender.items.values()]
    assert len(gains) == target.n < 200
    assert sum(gains) / len(gains) == pytest.approx(target.change)


def test_what_was_decided_again_is_compared_as_well(world: World) -> None:
    """`ftgate decide --out` leaves the answers where they are: a verdict under other limits has no journal."""
    folders = [finished(world, "careful", CAREFUL), finished(world, "modest", Player(target=0.75))]
    before = compare_runs(folders)
    decide_again(folders[0], None, world.root / "again", SilentProgress())
    assert not (world.root / "again" / "answers.jsonl").exists()
    again = compare_runs([world.root / "again", folders[1]])
    assert again.groups[0].contenders[0].items == before.groups[0].contenders[0].items != {}
    assert again.groups[0].confirmation == before.groups[0].confirmation


def test_what_cannot_be_compared_is_said(
    make_world: Callable[[str], World], capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = make_world("one"), make_world("other")
    config = other.root / "models" / "base" / "config.json"
    config.write_text(config.read_text() + " ")
    folders = [finished(one, "bot", CAREFUL), finished(other, "bot", CAREFUL)]
    assert leave("compare", *map(str, folders)) == 0
    assert "The runs are in 2 groups, as they differ in their base." in " ".join(capsys.readouterr().out.split())
    assert leave("compare", str(folders[0]), str(folders[0])) == 2
    assert f"one run to compare: {folders[0]} is named 2 times" in capsys.readouterr().err
    assert leave("compare", str(folders[0])) == 2
    alone = capsys.readouterr().err
    assert "one run to compare: 'bot', whose verdict is allow\n" in alone
    assert f"`ftgate report {folders[0]}` shows it; to compare, name the folder of another run too" in alone
    assert leave("compare", str(folders[0]), str(one.root / "nowhere")) == 2
    assert "no report at" in capsys.readouterr().err
    assert leave("compare", str(folders[0]), "--ledger", "acme/models") == 2
    assert "--ledger takes the place of DIRECTORIES" in capsys.readouterr().err
    assert leave("compare", "--ledger", "no such thing") == 2
    assert "not a repository" in capsys.readouterr().err


NUMBERS = st.none() | st.floats(-1, 1)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=8))
def test_a_run_is_on_the_front_exactly_if_none_beats_it(points: list[tuple[float | None, float | None]]) -> None:
    front = pareto_front(points)
    whole = [(at, more, less) for at, (more, less) in enumerate(points) if more is not None and less is not None]
    assert bool(front) == bool(whole)
    for at, gain, loss in whole:
        beaten = [o for o, more, less in whole if more >= gain and less <= loss and (more, less) != (gain, loss)]
        assert (at in front) == (not beaten)
