"""Fixtures: complete sets of files to break or to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.world import World

from ftgate.report import render


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A complete, valid set of files."""
    return World(tmp_path)


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[[str], World]:
    """As many of them as a test needs."""
    return lambda name: World(tmp_path / name)


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without pictures, for tests of what is asked and decided, which only the numbers of a report show.

    Pictures are drawn from the report alone and take a third of the time of a run as small as these. Those in test_run,
    test_run_edges and test_tail_run have them.
    """
    monkeypatch.setattr(render, "pictures", lambda report: {})
