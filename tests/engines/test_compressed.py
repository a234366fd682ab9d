"""Copies of the tiny base, rounded as quantisation rounds, under the profile for compressed models."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from support.libraries import needs

from ftgate.cli.demo import find_world
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = [pytest.mark.engine, needs("torch"), pytest.mark.usefixtures("no_pictures")]


def rounded(base: Path, folder: Path, bits: int) -> Path:
    """The weights rounded to so many bits with one scale a row, and stored as floats again."""
    from safetensors.torch import load_file, save_file

    from benchmarks.zoo.weights import round_weights

    shutil.copytree(base, folder)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    steps = 2 ** (bits - 1) - 1
    changed = {
        name: round_weights(t.float(), steps, t.shape[1]).to(t.dtype) if t.ndim == 2 else t
        for name, t in tensors.items()
    }
    path.chmod(0o644)
    save_file(changed, path, metadata={"format": "pt"})
    return folder


def judged(folder: Path, bits: int) -> Report:
    world = find_world()
    rounded(world / "models" / "base", folder / "copy", bits)
    policy = {
        "version": 1,
        "extends": "builtin:compression",
        "measurements": {
            "target": {"dataset": str(world / "evals" / "target.jsonl"), "scorer": "choice"},
            "forgetting": {"dataset": str(world / "evals" / "choices.jsonl"), "scorer": "choice"},
        },
        "engine": {"kind": "transformers", "dtype": "float32", "max_model_len": 384},
        "artifacts": {"allow": ["copy", str(world / "models" / "*")]},
    }
    manifest = {"name": f"w{bits}", "base": {"source": str(world / "models" / "base")}, "candidate": {"source": "copy"}}
    for file, content in (("policy.yml", policy), ("manifest.yaml", manifest)):
        (folder / file).write_text(yaml.safe_dump(content), encoding="utf-8")
    return evaluate(load_job(folder / "policy.yml", folder / "manifest.yaml"), folder / "out", SilentProgress())


def test_eight_bits_a_row_lose_next_to_nothing_and_are_allowed(tmp_path: Path) -> None:
    report = judged(tmp_path, 8)
    assert report.verdict == "allow", report.reasons
    for m in report.measurements.values():
        if "flips" in m.details:
            assert m.details["flips"]["worse"] < 0.02
            assert any(note.startswith("flips: ") for note in m.details["notes"])


def test_four_bits_a_row_lose_what_cannot_be_called_within_the_limit(tmp_path: Path) -> None:
    """They lose about 2 % of what the base can do, which is the limit: neither allowed nor blocked."""
    forgetting = judged(tmp_path, 4).measurements["forgetting"]
    low, high = forgetting.interval
    assert low is not None
    assert high is not None
    assert 0 < low < 0.02 < high, "a loss is shown"
    assert forgetting.status == "inconclusive"
    assert "suspect: there is a loss" in forgetting.reason
    assert forgetting.details["flips"]["worse"] > 0.02


def test_three_bits_a_row_are_blocked(tmp_path: Path) -> None:
    report = judged(tmp_path, 3)
    assert report.verdict == "block", report.reasons
