"""A small world, and what a preflight finds in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.world import World

from ftgate.jobs.prepare import load_all
from ftgate.preflight.architecture import built_here
from ftgate.preflight.check import preflight
from ftgate.preflight.findings import Preflight
from ftgate.preflight.hardware import Machine


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A complete, valid set of files."""
    return World(tmp_path)


@pytest.fixture
def checked() -> Callable[[World], Preflight]:
    """What a preflight finds in a world, on a machine without GPU."""

    def check(world: World) -> Preflight:
        world.save()
        return preflight(load_all(world.policy_path, world.manifest_path), Machine((), 64 << 30), build=built_here)

    return check
