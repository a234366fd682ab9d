"""From two folders of real weights to a verdict with one command, on the real engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.libraries import COMPILED

from ftgate.cli.demo import find_world

pytestmark = pytest.mark.engine
ROOT = Path(__file__).resolve().parents[2]
CODES = {"allow": 0, "block": 1, "hold": 4}


def test_base_and_candidate_are_enough_for_a_verdict(tmp_path: Path) -> None:
    world = find_world()
    command = [sys.executable, "-m", "ftgate", "run", "--base", f"{world}/models/base"]
    command += ["--candidate", f"{world}/models/careful", "--target", f"{world}/evals/target.jsonl"]
    env = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"} | COMPILED
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600, check=False)
    report = json.loads((tmp_path / "out" / "careful" / "report.json").read_text(encoding="utf-8"))
    assert done.returncode == CODES[report["verdict"]], done.stderr
    assert report["measurements"]["target"]["status"] == "pass"
    assert "not measured: forgetting: " in done.stderr
    assert "base against itself: done" in done.stderr
