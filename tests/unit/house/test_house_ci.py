"""What continuous integration runs: every pass, and none for more processor time than it may take."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[3]


def run(folder: Path, make: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """`.ci/run` where make does what it is told and every tool is found."""
    tools = {"make": make, "git": "", "python3": "", "ldconfig": "echo libnuma.so.1", "chromium": ""}
    for name, body in tools.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", str(ROOT / ".ci" / "run")]
    return subprocess.run(
        command, env={**os.environ, "PATH": path, **settings}, capture_output=True, text=True, check=False
    )


def summary(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, int, int, str]]:
    """Result, seconds, processor seconds and the rest of the line of each pass."""
    line = re.compile(r"(\S+) +(\w+) +(\d+) s +(\d+) CPU s(.*)")
    parts = [line.fullmatch(text).groups() for text in done.stdout.split("==> summary\n")[1].splitlines()]
    return {name: (result, int(wall), int(used), rest) for name, result, wall, used, rest in parts}


BURN = f"""exec "{sys.executable}" -c '
import time
while time.process_time() < 2.5: pass'"""  # of processor time, however long a busy machine takes for it


@pytest.mark.parametrize(
    ("body", "limit", "code", "word"),
    [(BURN, 0, 1, "SLOW"), (BURN, 60, 0, "ok"), ("sleep 1.1", 0, 0, "ok")],
    ids=["burns more", "burns less", "sleeps"],
)
def test_simulations_fail_when_they_take_too_much_processor_time_not_when_they_wait(
    tmp_path: Path, body: str, limit: int, code: int, word: str
) -> None:
    done = run(tmp_path, f'test "$1" != simulate || {body}', SIMULATE_CPU_SECONDS=str(limit))
    assert done.returncode == code, done.stderr
    result, wall, used, rest = summary(done)["simulate"]
    assert (result, rest) == (word, f" of at most {limit}")
    assert wall >= 1
    assert used >= 1 if body == BURN else used == 0


def test_the_processor_time_of_a_pass_counts_its_children_and_no_other_pass(tmp_path: Path) -> None:
    done = run(tmp_path, f'case "$1" in test) ({BURN}); true;; esac')
    used = {name: line[2] for name, line in summary(done).items()}
    assert used.pop("test") >= 1
    assert set(used.values()) == {0}


def test_every_pass_runs_and_one_that_fails_is_named(tmp_path: Path) -> None:
    done = run(tmp_path, 'test "$1" != lint')
    assert done.returncode == 1
    results = {name: line[0] for name, line in summary(done).items()}
    assert results.pop("lint") == "FAILED"
    assert {"install-dev", "test", "simulate"} <= set(results)
    assert set(results.values()) == {"ok"}


def test_a_pass_that_is_killed_fails_and_is_measured(tmp_path: Path) -> None:
    done = run(tmp_path, 'test "$1" != test || kill -9 $$')
    assert done.returncode == 1, done.stderr
    assert summary(done)["test"][0] == "FAILED"


def test_nothing_runs_without_the_tools_and_what_make_says_is_shown(tmp_path: Path) -> None:
    done = run(tmp_path, 'echo "made $1"; echo "complained of $1" >&2; test "$1" != install-dev')
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["==> make install-dev", "made install-dev"]
    assert done.stderr == "complained of install-dev\n"


def test_no_property_fails_for_being_late_by_the_clock() -> None:
    assert hypothesis.settings.default.deadline is None
    assert hypothesis.settings(max_examples=5).deadline is None


def test_make_simulate_finds_the_files_with_simulations_by_their_text() -> None:
    """It names them to pytest, which would not see a mark that is written in another way."""
    assert "grep -rl --include='*.py' 'mark[.]slow' tests" in (ROOT / "Makefile").read_text(encoding="utf-8")
    other_ways = re.compile(r"add_marker|from pytest import|= pytest\.mark$|getattr\(pytest", re.MULTILINE)
    paths = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    assert not [path for path in paths if other_ways.search(path.read_text(encoding="utf-8"))]
