"""Programs run and measured for the comparison: each in a process of its own, with the same settings of the engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.peers.requests import Usage
from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.vllm.startup import engine_arguments

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / ".venv-lm-eval"
"""Where scripts/beside.sh installs lm-eval."""
VERDICTS = (0, 1, 4)
"""Exit codes of a run that came to a verdict."""


@dataclass(slots=True)
class Measured:
    """What one side took for one comparison of two models."""

    wall: float = 0.0
    cpu: float = 0.0
    asked: Usage = field(default_factory=Usage)
    graded: Usage = field(default_factory=Usage)
    verdict: str = ""


def run(command: list[str], log: Path, expected: tuple[int, ...] = (0,)) -> tuple[float, float]:
    """Wall and CPU seconds of a program and its children. Exits with the end of its log if it failed."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        # What ftgate sets for itself on a CPU, for the others too.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "TORCH_COMPILE_DISABLE": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_DATASETS_CACHE": str(log.parent / "datasets"),
    }
    started = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(command, env=environment, stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT)
        _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in expected:
        sys.exit(f"{' '.join(command[:6])}: exit {process.returncode}\n{log.read_text(errors='replace')[-3000:]}")
    return wall, used.ru_utime + used.ru_stime


def harness_command(
    tasks: Iterable[Path], weights: Path, out: Path, harness: Path, engine: Mapping[str, Any]
) -> list[str]:
    """lm-eval on some tasks with the full ``weights``; its log of samples is left in ``out``."""
    arguments = engine_arguments_of(weights, engine)
    model_args = {"pretrained": arguments.pop("model"), **arguments}
    return [
        *(str(harness / "bin" / "python"), "-m", "benchmarks.peers.harness", "--model", "vllm"),
        *("--model_args", json.dumps(model_args), "--tasks", ",".join(map(str, tasks)), "--batch_size", "auto"),
        *("--log_samples", "--output_path", str(out)),
    ]


def harness_usage(out: Path, base: Path) -> Usage:
    """Requests and tokens of one run of lm-eval, from its own log of samples."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    used = Usage()
    for path in out.rglob("samples_*.jsonl"):
        for line in path.open(encoding="utf-8"):
            sample = json.loads(line)
            for arguments, replies in zip(sample["arguments"].values(), sample["resps"], strict=True):
                generated = isinstance(arguments["arg_1"], dict)
                text = arguments["arg_0"] + (replies[0] if generated else arguments["arg_1"])
                used += Usage(1, len(tokenizer.encode(text)) + (not generated))
    return used


def engine_arguments_of(weights: Path, engine: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``vllm.LLM`` that ftgate itself would start these weights with."""
    settings = EngineSettings(kind="vllm", **engine)
    model = Model(weights.name, weights, "", "full")
    return engine_arguments(settings, settings.max_model_len, model, ())


def merge(base: Path, adapter: Path, folder: Path) -> Path:
    """Write to ``folder`` the base with the adapter merged into it, which is not counted."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    model.merge_and_unload(safe_merge=True).save_pretrained(folder)
    AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    return folder
