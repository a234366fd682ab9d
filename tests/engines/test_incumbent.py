"""An incumbent with real weights: three models in one engine, on the adapters of the tiny world."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ftgate.cli.demo import find_world
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("no_pictures")]


def judged(folder: Path, candidate: str, incumbent: str) -> Report:
    """A run of the target task alone, which the base is allowed to do better."""
    world = find_world()
    policy = {
        "version": 1,
        "measurements": {
            "target": {"dataset": str(world / "evals" / "target.jsonl"), "scorer": "choice", "min_gain": -0.3}
        },
        "engine": {"kind": "vllm", "dtype": "float32", "max_model_len": 384},
        "artifacts": {"allow": [str(world / "models" / "*")]},
    }
    models = {"base": "base", "candidate": candidate, "incumbent": incumbent}
    manifest = {role: {"source": str(world / "models" / name)} for role, name in models.items()}
    for file, content in (("policy.yml", policy), ("manifest.yaml", {"name": candidate, **manifest})):
        (folder / file).write_text(yaml.safe_dump(content), encoding="utf-8")
    return evaluate(load_job(folder / "policy.yml", folder / "manifest.yaml"), folder / "out", SilentProgress())


def test_a_candidate_is_blocked_by_a_better_adapter_in_the_same_engine(tmp_path: Path) -> None:
    report = judged(tmp_path, "useless", "careful")
    target = report.measurements["target"]
    assert target.incumbent is not None
    assert (report.verdict, target.status, target.incumbent.status) == ("block", "pass", "block"), report.reasons
    assert target.incumbent.score is not None
    assert target.base is not None
    assert target.incumbent.score > target.base + 0.05
    assert report.engine_starts == 1
    assert report.controls["incumbent_effect"]["largest_change"] > 0.01


def test_a_deployed_adapter_that_is_worse_does_not_stand_in_the_way(tmp_path: Path) -> None:
    report = judged(tmp_path, "careful", "useless")
    target = report.measurements["target"]
    assert target.incumbent is not None
    assert (report.verdict, target.incumbent.status) == ("allow", "pass"), report.reasons
