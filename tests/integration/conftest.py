"""Fixtures: complete sets of files to break or to run."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.players import CAREFUL, script
from support.world import World

from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate import evaluate as gate
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.checked_report import checked_report
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report import render
from ftgate.report.reading import contradictions
from ftgate.report.schema import Report, parse_report, write_report


@pytest.fixture(scope="session", autouse=True)
def _no_report_of_a_run_contradicts_itself() -> Iterator[None]:
    """Whatever a run or a second decision writes, in any of these tests, is read as it stands, under its policy."""

    def checked(report: Report, path: Path, items: bytes | None = None) -> None:
        write_report(report, path, items)
        assert list(contradictions(parse_report(path))) == []
        checked_report(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "write_report", checked)
        yield


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A complete, valid set of files."""
    return World(tmp_path)


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[[str], World]:
    """As many of them as a test needs."""
    return lambda name: World(tmp_path / name)


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of :func:`finished`, made by one run."""
    world = World(tmp_path_factory.mktemp("finished") / "world")
    job, engine = load_job(world.policy_path, world.manifest_path), ScriptedEngine(script(CAREFUL))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "pictures", lambda report: {})
        report = evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=engine)
    assert report.verdict == "allow", report.reasons
    return world.root


@pytest.fixture
def finished(world: World, finished_once: Path) -> World:
    """The world with a whole run of the careful candidate in ``out``: for tests of what comes after a run."""
    shutil.copytree(finished_once, world.root, dirs_exist_ok=True)
    return world
