"""The workflow that settles what was cut short: after which runs it looks, and whose status it reads."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

FILE = Path(__file__).resolve().parents[3] / ".github" / "workflows" / "ftgate-settle.yml"
JOB: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["jobs"]["settle"]
STEPS: list[dict[str, Any]] = JOB["steps"]


def test_it_looks_after_every_run_that_may_have_left_a_status_pending() -> None:
    looked_after = json.loads(re.search(r"fromJSON\('(.*?)'\)", JOB["if"])[1])  # type: ignore[index]
    assert set(looked_after) == {"failure", "cancelled", "timed_out", "startup_failure"}


def test_it_looks_again_just_before_it_writes() -> None:
    write = next(n for n, step in enumerate(STEPS) if step.get("uses") == "./cpu")
    assert "gh api" in STEPS[write - 1]["run"]
    assert STEPS[write]["if"] == f"steps.{STEPS[write - 1]['id']}.outputs.state == 'pending'"


@pytest.mark.parametrize(
    ("statuses", "wanted"),
    [
        ([("other", "pending"), ("ftgate/verdict", "success")], "success"),
        ([("other", "success"), ("ftgate/verdict", "pending")], "pending"),
        ([("other", "pending")], "none"),
    ],
)
def test_it_reads_the_status_of_its_own_context(tmp_path: Path, statuses: list[tuple[str, str]], wanted: str) -> None:
    jq = shutil.which("jq")
    if jq is None:
        pytest.skip("jq is not installed")
    answer = {"state": "pending", "statuses": [{"context": c, "state": s} for c, s in statuses]}
    (tmp_path / "answer.json").write_text(json.dumps(answer), encoding="utf-8")
    # In place of the platform's program, which brings a jq of its own.
    (tmp_path / "gh").write_text(f'#!/bin/sh\n[ "$2" = "$LATEST" ] && {jq} -r "$4" {tmp_path}/answer.json\n')
    (tmp_path / "gh").chmod(0o755)
    env = {
        **os.environ,
        **JOB["env"],
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "GITHUB_OUTPUT": f"{tmp_path}/output",
    }
    for step in STEPS:
        if "gh api" in step.get("run", ""):
            subprocess.run(["bash", "-e", "-c", step["run"]], env=env, check=True)
    assert (tmp_path / "output").read_text(encoding="utf-8") == f"state={wanted}\n" * 2
    assert JOB["env"]["LATEST"].endswith("/status?per_page=100")
