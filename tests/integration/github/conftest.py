"""A platform and a pull request for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.github.scene import Scene
from support.github.server import FakeGitHub


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeGitHub]:
    """The platform. It fails the test if anything that went either way differs from the published interface."""
    with FakeGitHub(tmp_path / "platform") as running:
        yield running


@pytest.fixture
def scene(hub: FakeGitHub, tmp_path: Path) -> Scene:
    """A repository with a policy and one manifest on its base branch."""
    return Scene(hub, tmp_path)
