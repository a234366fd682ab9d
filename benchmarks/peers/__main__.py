"""ftgate beside lm-evaluation-harness run on base and candidate and a script around a judge, on the same rows.

``python -m benchmarks.peers [--rows 50 200 800] [--rounds 1] [--without-harness]`` runs the two sides in turn, each
program in a process of its own, and prints wall and CPU seconds (child processes included), requests and tokens. Both
are given the same rows, engine settings, limits of tokens and judge. lm-eval is given merged weights, as its
log-likelihoods of an adapter end in an error on vLLM for CPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers import suites
from benchmarks.peers.requests import Usage, measured_share, ready_requests, usage
from ftgate.cli.demo import find_world
from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.vllm.startup import engine_arguments

ROOT = Path(__file__).resolve().parents[2]
HARNESS = ROOT / ".venv-lm-eval"
FIRST, SECOND = "careful", "forgetful"
"""The candidates: two adapters on the same base."""
OURS, PEERS = "ftgate", "lm-eval twice, judge script"
SECOND_OF_OURS, BARE = "ftgate, second candidate", "bare LLM.generate"
BESIDE = "ftgate, second candidate in the same process"
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


def main() -> None:
    """Print the table, one block for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.peers")
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 200, 800], help="rows in each of the four suites")
    parser.add_argument("--rounds", type=int, default=1, help="how often each side is run, in turn; the least counts")
    parser.add_argument(
        "--harness", type=Path, default=HARNESS, help="an environment that has lm-eval (scripts/beside.sh)"
    )
    parser.add_argument("--without-harness", action="store_true", help="only ftgate and bare LLM.generate")
    options = parser.parse_args()
    if not options.without_harness and not options.harness.exists():
        subprocess.run(["sh", str(ROOT / "scripts" / "beside.sh"), "lm-eval", "--version"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        merged = {name: _merge(Path(folder) / name, name) for name in (FIRST, SECOND)}
        for rows in options.rows:
            sides = compare(Path(folder) / str(rows), rows, options, merged)
            print("\n".join(table(rows, sides)), flush=True)


def compare(folder: Path, rows: int, options: argparse.Namespace, merged: dict[str, Path]) -> dict[str, Measured]:
    """Both sides on suites of ``rows`` rows, in turn, the least CPU seconds of each over the rounds."""
    best: dict[str, Measured] = {}
    for number in range(options.rounds):
        here = folder / str(number)
        suites.write(here, rows)
        sides: dict[str, Callable[[], Measured]] = {OURS: partial(_ftgate, here, FIRST)}
        if not options.without_harness:
            sides[PEERS] = partial(_peers, here, FIRST, merged, options.harness)
        sides[SECOND_OF_OURS] = partial(_ftgate, here, SECOND, reuse=here / f"out-{FIRST}")
        sides[BESIDE] = partial(_beside, here / "both", rows, here / f"out-{FIRST}", lambda: best[OURS])
        sides[BARE] = partial(_bare, here, FIRST)
        for name, measure in sides.items():
            side = measure()
            print(f"{rows} rows, {name}: {side}", file=sys.stderr, flush=True)
            best[name] = min(side, best.get(name, side), key=lambda each: each.cpu)
    return best


def table(rows: int, sides: dict[str, Measured]) -> list[str]:
    """A Markdown table, with the ratios of ftgate to what stands for the same work."""
    peers, bare = sides.get(PEERS), sides[BARE]
    lines = [
        f"| {rows} rows in each of 4 suites | wall s | CPU s | ratio, wall | ratio, CPU | requests | tokens "
        "| of the judge | result |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, side in sides.items():
        ratios = ["", ""]
        if peers is not None and name in (OURS, SECOND_OF_OURS, BESIDE):
            ratios = [f"{side.wall / peers.wall:.2f}", f"{side.cpu / peers.cpu:.2f}"]
        every = side.asked + side.graded
        cells = [name, f"{side.wall:.0f}", f"{side.cpu:.0f}", *ratios, f"{every.requests:,}", f"{every.tokens:,}"]
        lines.append(f"| {' | '.join(cells)} | {side.graded.requests:,} | {side.verdict} |")
    ratio = sides[OURS].cpu / bare.cpu
    return [*lines, "", f"ftgate took {ratio:.2f} times the CPU seconds of bare `LLM.generate` on its own requests."]


def _run(command: list[str], log: Path, expected: tuple[int, ...] = (0,)) -> tuple[float, float]:
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


def _ftgate(folder: Path, candidate: str, reuse: Path | None = None) -> Measured:
    out = folder / f"out-{candidate}"
    arguments = ["--policy", str(folder / "policy.yml"), "--manifest", str(suites.write_manifest(folder, candidate))]
    more = ["--reuse", str(reuse)] if reuse is not None else []
    command = [sys.executable, "-m", "ftgate", "run", *arguments, "--out", str(out), *more]
    wall, cpu = _run(command, folder / f"ftgate-{candidate}.log", VERDICTS)
    asked, graded = usage(out, without=reuse)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    verdict = f"{report['verdict']}; {100 * measured_share(out):.0f} % of the grades are of measured answers"
    return Measured(wall, cpu, asked, graded, verdict)


def _beside(folder: Path, rows: int, alone: Path, first: Callable[[], Measured]) -> Measured:
    """What a second candidate adds to a process that judges the ``first`` one, whose own run is in ``alone``.

    The folder has a cache of its own, so that nothing is shared with the other runs.
    """
    suites.write(folder, rows)
    command = [sys.executable, "-m", "ftgate", "run", "--policy", str(folder / "policy.yml")]
    for candidate in (FIRST, SECOND):
        command += ["--manifest", str(suites.write_manifest(folder, candidate)), "--out", str(folder / candidate)]
    wall, cpu = _run(command, folder / "ftgate.log", VERDICTS)
    used, earlier = usage(folder / SECOND, without=folder / FIRST), first()
    verdicts = [json.loads((out / "report.json").read_text())["verdict"] for out in (folder / FIRST, folder / SECOND)]
    if verdicts[0] != json.loads((alone / "report.json").read_text())["verdict"]:
        sys.exit(f"{FIRST} is judged otherwise beside {SECOND}: {verdicts[0]}")
    return Measured(wall - earlier.wall, cpu - earlier.cpu, *used, verdicts[1])


def _peers(folder: Path, candidate: str, merged: dict[str, Path], harness: Path) -> Measured:
    """lm-eval on the base and on the candidate, then the script: three programs, one after the other."""
    total, samples = Measured(), []
    for name, weights in (("base", find_world() / "models" / "base"), (candidate, merged[candidate])):
        out = folder / f"lm-eval-{candidate}-{name}"
        wall, cpu = _run(_harness_command(folder, weights, out, harness), folder / f"{out.name}.log")
        total.wall, total.cpu = total.wall + wall, total.cpu + cpu
        total.asked += _harness_usage(out)
        samples.append(next(out.rglob(f"samples_{suites.JUDGED}_*.jsonl")))
    arguments = folder / "judge.json"
    arguments.write_text(json.dumps(_arguments(find_world() / "models" / "judge")), encoding="utf-8")
    log = folder / f"judge-{candidate}.log"
    command = [sys.executable, "-m", "benchmarks.peers.judge_script", str(arguments), *map(str, samples)]
    wall, cpu = _run(command, log)
    grades = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    total.wall, total.cpu = total.wall + wall, total.cpu + cpu
    total.graded = Usage(grades["requests"], grades["tokens"])
    total.verdict = "judge: {:.2f} and {:.2f}".format(*grades["means"])
    return total


def _bare(folder: Path, candidate: str) -> Measured:
    requests = ready_requests(folder / f"out-{candidate}")
    path = folder / "requests.json"
    path.write_text(json.dumps(requests), encoding="utf-8")
    wall, cpu = _run([sys.executable, "-m", "benchmarks.peers.bare", str(path)], folder / "bare.log")
    return Measured(wall, cpu, *usage(folder / f"out-{candidate}"))


def _harness_command(folder: Path, weights: Path, out: Path, harness: Path) -> list[str]:
    arguments = _arguments(weights)
    model_args = {"pretrained": arguments.pop("model"), **arguments}
    tasks = [str(folder / "tasks" / f"{name}.yaml") for name in suites.SUITES.values()]
    return [
        *(str(harness / "bin" / "python"), "-m", "benchmarks.peers.harness", "--model", "vllm"),
        *("--model_args", json.dumps(model_args), "--tasks", ",".join(tasks), "--batch_size", "auto"),
        *("--log_samples", "--output_path", str(out)),
    ]


def _harness_usage(out: Path) -> Usage:
    """Requests and tokens of one run of lm-eval, from its own log of samples."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(find_world() / "models" / "base")
    used = Usage()
    for path in out.rglob("samples_*.jsonl"):
        for line in path.open(encoding="utf-8"):
            sample = json.loads(line)
            for arguments, replies in zip(sample["arguments"].values(), sample["resps"], strict=True):
                generated = isinstance(arguments["arg_1"], dict)
                text = arguments["arg_0"] + (replies[0] if generated else arguments["arg_1"])
                used += Usage(1, len(tokenizer.encode(text)) + (not generated))
    return used


def _arguments(weights: Path) -> dict[str, Any]:
    """The arguments of ``vllm.LLM`` that ftgate itself would start these weights with."""
    settings = EngineSettings(kind="vllm", **suites.ENGINE)
    model = Model(weights.name, weights, "", "full")
    return engine_arguments(settings, settings.max_model_len, model, ())


def _merge(folder: Path, candidate: str) -> Path:
    """The candidate's adapter merged into the base, which is not counted."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = find_world() / "models" / "base"
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), find_world() / "models" / candidate)
    model.merge_and_unload(safe_merge=True).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(base / name, folder / name)
    return folder


if __name__ == "__main__":
    main()
