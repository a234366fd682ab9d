"""ftgate beside lm-evaluation-harness on a real model, where the model's arithmetic is most of the work.

``python -m benchmarks.peers.real_model --base DIR --adapters FIRST SECOND --evals DIR [--rows 40]``. ``--evals`` holds
``target.jsonl``, ``queries.jsonl`` and ``general.jsonl`` (``prompt``, ``answer``), ``choices.jsonl`` (also ``choices``)
and ``train.jsonl``. Rules score all of them, so that neither side asks a judge. lm-eval is given merged weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.peers import suites
from benchmarks.peers.programs import HARNESS, VERDICTS, Measured, harness_command, harness_usage, merge, run
from benchmarks.peers.requests import usage

SUITES = {"target": "target", "forgetting": "general", "tail": "queries", "calibration": "choices"}
ENGINE = {"dtype": "float32", "max_model_len": 1024}
MAX_TOKENS = 24


def main() -> None:
    """Print a line for each program: wall and CPU seconds, requests and tokens."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.peers.real_model")
    parser.add_argument("--base", type=Path, required=True, help="folder of full weights")
    parser.add_argument("--adapters", type=Path, nargs=2, required=True, help="two adapters on it")
    parser.add_argument("--evals", type=Path, required=True, help="folder of the suites and train.jsonl")
    parser.add_argument("--rows", type=int, default=40, help="rows of each suite at most")
    parser.add_argument("--harness", type=Path, default=HARNESS, help="an environment that has lm-eval")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, options)
        first, second = options.adapters
        print(f"ftgate: {_ftgate(folder, options, first)}", flush=True)
        print(f"lm-eval twice: {_peers(folder, options, first)}", flush=True)
        reused = folder / f"out-{first.name}"
        print(f"ftgate, second candidate: {_ftgate(folder, options, second, reused)}", flush=True)


def _write(folder: Path, options: argparse.Namespace) -> None:
    """Suites for ftgate, the same rows as tasks of lm-eval, and the policy."""
    (folder / "tasks").mkdir()
    measurements: dict[str, dict[str, Any]] = {}
    for measurement, name in SUITES.items():
        lines = (options.evals / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines[:: max(1, len(lines) // options.rows)][: options.rows]]
        suites.write_lines(folder / f"{name}.jsonl", rows)
        suites.write_lines(folder / "tasks" / f"{name}.jsonl", [suites.document(row) for row in rows])
        (folder / "tasks" / f"{name}.yaml").write_text(yaml.safe_dump(_task(folder, name)), encoding="utf-8")
        free = {"scorer": "contains" if name == "general" else "exact", "max_tokens": MAX_TOKENS}
        limits = {"forgetting": {"block_drop": 0.10}, "tail": {"block_drop": 0.15}, "calibration": {"rotations": 1}}
        settings = limits.get(measurement, {}) | ({} if name == "choices" else free)
        measurements[measurement] = {"dataset": f"{name}.jsonl", **settings}
    policy = {
        "version": 1,
        "measurements": measurements,
        "evidence": {"early_stopping": "none"},
        "engine": {"kind": "vllm", **ENGINE},
        "artifacts": {
            "cache": str(folder / "cache"),
            "allow": [f"{path.resolve().parent}/*" for path in (options.base, *options.adapters, options.evals / "x")],
        },
    }
    (folder / "policy.yml").write_text(yaml.safe_dump(policy), encoding="utf-8")


def _task(folder: Path, name: str) -> dict[str, Any]:
    """A task for a chat model: the prompt alone, for lm-eval to put into the model's template."""
    chosen = name == "choices"
    task = suites.task(folder / "tasks", name, by_letter=chosen)
    task["doc_to_text"] = "{{prompt}}" + (suites.OPTIONS if chosen else "")
    if not chosen:
        task["generation_kwargs"] |= {"until": ["<|im_end|>"], "max_gen_toks": MAX_TOKENS}
    return task


def _ftgate(folder: Path, options: argparse.Namespace, adapter: Path, reuse: Path | None = None) -> Measured:
    sources = {"base": options.base, "candidate": adapter, "training_data": options.evals / "train.jsonl"}
    manifest = {"name": adapter.name, **{role: {"source": str(path.resolve())} for role, path in sources.items()}}
    path, out = folder / f"{adapter.name}.yml", folder / f"out-{adapter.name}"
    path.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    arguments = ["--policy", str(folder / "policy.yml"), "--manifest", str(path), "--out", str(out)]
    more = ["--reuse", str(reuse)] if reuse else []
    command = [sys.executable, "-m", "ftgate", "run", *arguments, *more]
    wall, cpu = run(command, folder / f"ftgate-{adapter.name}.log", VERDICTS)
    verdict = json.loads((out / "report.json").read_text(encoding="utf-8"))["verdict"]
    return Measured(wall, cpu, *usage(out, without=reuse), verdict)


def _peers(folder: Path, options: argparse.Namespace, adapter: Path) -> Measured:
    total = Measured()
    weights = folder / "merged"
    merge(options.base, adapter, weights)
    for path in (options.base, weights):
        out = folder / f"lm-eval-{path.name}"
        tasks = [folder / "tasks" / f"{name}.yaml" for name in SUITES.values()]
        command = harness_command(tasks, path, out, options.harness, ENGINE)
        wall, cpu = run([*command, "--apply_chat_template"], folder / f"{out.name}.log")
        total.wall, total.cpu = total.wall + wall, total.cpu + cpu
        total.asked += harness_usage(out, options.base)
    return total


if __name__ == "__main__":
    main()
