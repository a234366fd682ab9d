"""The fault campaign in a short form, and that it notices what it is there for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def campaign(*options: str, first: str = "") -> subprocess.CompletedProcess[str]:
    """Run the campaign in a process of its own, which forks; ``first`` is executed in it before."""
    code = f"import benchmarks.faults\n{first}\nfrom benchmarks.faults.__main__ import main\nmain({list(options)!r})"
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )


def counted(printed: str, name: str) -> list[int]:
    """The numbers of the rows with this name, of all tables."""
    return [int(number) for number in re.findall(rf"^{re.escape(name)} +(\d+)", printed, re.MULTILINE)]


@pytest.mark.slow
def test_killed_runs_end_as_they_would_have_and_damage_is_never_used() -> None:
    kills, flips = 4, 12
    done = campaign("--kills", str(kills), "--flips", str(flips), "--seed", "3")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    local, endpoint = counted(done.stdout, "kills")
    assert (local + endpoint, counted(done.stdout, "flipped bits")) >= (kills, [flips])
    for name in ("answers lost", "answers asked for although the journal held them", "used silently"):
        assert set(counted(done.stdout, name)) == {0}, name


@pytest.mark.slow
def test_runs_that_are_killed_while_the_judge_grades_end_as_they_would_have() -> None:
    kills = 3
    done = campaign("--kills", str(kills), "--aim", "judging", "--seed", "3")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert len(counted(done.stdout, "  while judging")) == 2  # with a local judge, and with one at an endpoint
    assert sum(counted(done.stdout, "  while judging")) >= kills
    for name in ("answers lost", "answers asked for although the journal held them"):
        assert set(counted(done.stdout, name)) == {0}, name


@pytest.mark.slow
def test_it_notices_answers_of_the_judge_that_wait_in_memory() -> None:
    hold_back = """
from ftgate.gate.journal import Journal
write, waiting = Journal.add_answers, []
def add_answers(self, entries):
    if entries[0][1].name != "judge":
        return write(self, entries)
    waiting.extend(entries)
    if len(waiting) >= 64:
        write(self, waiting[:])
        waiting.clear()
Journal.add_answers = add_answers
"""
    done = campaign("--kills", "4", "--aim", "judging", "--seed", "3", first=hold_back)
    assert done.returncode == 1, done.stderr[-2000:]
    assert sum(counted(done.stdout, "answers lost")) > 0


@pytest.mark.slow
def test_it_notices_a_journal_that_believes_any_line() -> None:
    no_checksum = """
from benchmarks.faults import flips
from ftgate.jobs import journal_lines
flips.KINDS = ("journal",)
journal_lines._checksum = lambda body: b"0" * 32
difference, used = flips.difference, []
flips.difference = lambda *reports: used.append(reports) or difference(*reports)
flips.interrupted = lambda: bool(used)  # the first one is enough
"""
    done = campaign("--kills", "0", "--flips", "50", "--seed", "3", first=no_checksum)
    assert done.returncode == 1, done.stderr[-2000:]
    assert (
        sum(counted(done.stdout, "used silently") + counted(done.stdout, "crashes, and errors that name nothing")) > 0
    )
