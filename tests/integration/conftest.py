"""Fixtures: complete sets of files to break or to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A complete, valid set of files."""
    return World(tmp_path)


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[[str], World]:
    """As many of them as a test needs."""
    return lambda name: World(tmp_path / name)
