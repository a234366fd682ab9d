"""What continuous integration runs: every pass, and none for longer than it may."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def run(folder: Path, make: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`.ci/run` where make does what it is told and every tool is found."""
    tools = {"make": make, "git": "", "python3": "", "ldconfig": "echo libnuma.so.1"}
    for name, body in tools.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(ROOT / ".ci" / "run")]
    return subprocess.run(
        command, env={**os.environ, "PATH": path, **settings}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("seconds", "code", "word"), [("60", 0, "ok"), ("0", 1, "SLOW")])
def test_simulations_that_take_too_long_fail(tmp_path: Path, seconds: str, code: int, word: str) -> None:
    done = run(tmp_path, 'test "$1" != simulate || sleep 1.1', SIMULATE_SECONDS=seconds)
    assert done.returncode == code, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("simulate"))
    assert line.split()[1] == word
    assert line.endswith(f"of at most {seconds}")


def test_every_pass_runs_and_one_that_fails_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, 'test "$1" != lint')
    assert done.returncode == 1
    found = {line.split()[0]: line.split()[1] for line in done.stdout.split("==> summary\n")[1].splitlines()}
    assert found.pop("lint") == "FAILED"
    assert {"install", "test", "simulate"} <= set(found)
    assert set(found.values()) == {"ok"}
