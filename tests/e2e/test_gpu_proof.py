"""The proof for a GPU, on the CPU build: what needs no GPU holds, the rest is skipped, and what fails says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_proof

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_the_proof_holds_without_a_gpu(tmp_path: Path) -> None:
    checks = ["machine", "mixed_batches", "turns"]
    command = ["bash", str(ROOT / "scripts" / "gpu_proof.sh"), "-", str(tmp_path), "--only", *checks]
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    proof = json.loads((tmp_path / "gpu-proof.json").read_text())
    assert list(proof["checks"]) == checks
    assert {name: outcome["ok"] for name, outcome in proof["checks"].items()} == {
        "machine": None,
        "mixed_batches": True,
        "turns": None,
    }
    mixed = proof["checks"]["mixed_batches"]["facts"]
    assert mixed["differing"] == 0
    assert mixed["adapter_changed"] > 10
    assert proof["machine"]["versions"]["torch"]
    assert (tmp_path / "gpu-proof.log").read_text().count("\n") == len(checks)


def test_a_check_that_crashes_fails_and_shows_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert gpu_proof.main(["--out", str(tmp_path), "--only", "turns"]) == 1
    assert "FAILED  turns" in capsys.readouterr().out
    outcome = json.loads((tmp_path / "gpu-proof.json").read_text())["checks"]["turns"]
    assert outcome["ok"] is False
    assert str(tmp_path / "turns.log") in outcome["text"]


def test_a_check_that_does_not_end_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_proof, "TIME_LIMIT", 0.01)
    assert gpu_proof.main(["--out", str(tmp_path), "--only", "machine"]) == 1
    assert "not done after" in json.loads((tmp_path / "gpu-proof.json").read_text())["checks"]["machine"]["text"]
