"""Base and LoRA candidates on a real server: `vllm serve` on loopback says what the same weights say in process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.libraries import needs
from support.vllm_server import Serving, serve

from ftgate.cli.demo import find_world
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = [pytest.mark.engine, pytest.mark.server, needs("vllm"), pytest.mark.usefixtures("no_pictures")]

CANDIDATES = ("careful", "forgetful")
OPTIONS = {"--served-model-name": "base", "--max-model-len": "384", "--max-loras": "3", "--max-lora-rank": "16"}
LOCAL = {"kind": "vllm", "dtype": "float32", "max_model_len": 384}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    models = find_world() / "models"
    adapters = [f"{name}={models / name}" for name in CANDIDATES]
    log = tmp_path_factory.mktemp("serve") / "serve.log"
    with serve(models / "base", log, OPTIONS, "--enable-lora", "--lora-modules", *adapters) as starting:
        yield starting


def run(folder: Path, name: str, engine: dict[str, Any], *, served: bool) -> Report:
    """The tiny world's target and forgetting, on few items and scored by rules."""
    world = find_world()
    policy = {
        "version": 1,
        "measurements": {
            "target": {"dataset": str(world / "evals" / "target.jsonl"), "scorer": "choice", "n": 200},
            "forgetting": {
                "dataset": str(world / "evals" / "general.jsonl"),
                "scorer": "exact",
                "max_tokens": 16,
            },
        },
        "engine": engine,
        "evidence": {"early_stopping": "none", "allow_unproven_weights": True},
        "artifacts": {"allow": ["endpoint://*", str(world / "models" / "*")]},
    }
    sources = {"base": "base", "candidate": name}
    manifest = {"name": name} | {
        side: {"source": f"endpoint://{model}" if served else str(world / "models" / model)}
        for side, model in sources.items()
    }
    folder.mkdir(parents=True)
    for file, content in (("policy.yml", policy), ("manifest.yaml", manifest)):
        (folder / file).write_text(yaml.safe_dump(content), encoding="utf-8")
    return evaluate(load_job(folder / "policy.yml", folder / "manifest.yaml"), folder / "out", SilentProgress())


def test_a_served_lora_gets_the_verdict_that_it_gets_in_process(serving: Serving, tmp_path: Path) -> None:
    local = {name: run(tmp_path / "local" / name, name, LOCAL, served=False) for name in CANDIDATES}
    engine = {"kind": "openai", "endpoint": serving.ready()}
    remote = {name: run(tmp_path / "remote" / name, name, engine, served=True) for name in CANDIDATES}
    assert {name: report.verdict for name, report in local.items()} == {"careful": "allow", "forgetful": "block"}
    for name in CANDIDATES:
        one, other = local[name], remote[name]
        assert one.verdict == other.verdict
        zeros = one.controls["zero_delta"]
        assert {m: outcome["ok"] for m, outcome in zeros.items()} == {"target": True, "forgetting": True}
        assert max(abs(outcome["change"]) for outcome in zeros.values()) < 0.01
        assert "zero_delta" not in other.controls, "a server shows no weights"
        for m in ("target", "forgetting"):
            here, there = one.measurements[m], other.measurements[m]
            assert (here.status, here.n) == (there.status, there.n)
            assert abs((here.base or 0) - (there.base or 0)) <= 0.01, m
            assert abs((here.candidate or 0) - (there.candidate or 0)) <= 0.01, m
        assert other.provenance["engine"]["scores"] == "tokens", "letters are read by their own tokens"
        assert other.controls["served_models"]["ok"]
        assert all(outcome["ok"] for outcome in other.controls["a_a"].values())
