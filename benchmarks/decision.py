"""``ftgate decide`` on one core: four measurements of 2000 items each, with 2000 resamples.

Every candidate lies exactly on its limits, so that no look settles anything and all looks are computed. Exits with an
error if one decision takes more than five seconds of processor time.
"""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ftgate.cli.demo import find_world
from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.stats.seeding import generator

ITEMS, DRAWS, TAGS, CLUSTER_SIZE = 2000, 2000, 20, 8
LIMIT_SECONDS = 5.0
OPTIONS = ("red", "green", "blue", "grey")
ACCURACY = {"base": {"target": 0.6, "forgetting": 0.9, "tail": 0.8, "calibration": 0.75}}
ACCURACY["careful"] = {"target": 0.6, "forgetting": 0.81, "tail": 0.68, "calibration": 0.70}
"""Accuracy by model: the candidate's loss is exactly at the limit."""


def main() -> None:
    """Print one line per case. Exits with a message if a case takes too long."""
    slow = []
    with tempfile.TemporaryDirectory() as folder:
        for name, clusters in (("items", False), ("clusters", True)):
            run = _completed_run(Path(folder) / name, clusters=clusters)
            for stopping in ("none", "obrien_fleming"):
                wall, used, looks = _decide(run, stopping)
                case = f"{name}, {'one look' if stopping == 'none' else 'four looks'}"
                print(f"{case:<24}{used:>6.2f} s of one core, {wall:>6.2f} s in all, at look {looks}")
                slow += [case] if used > LIMIT_SECONDS else []
    if slow:
        sys.exit(f"more than {LIMIT_SECONDS:g} s of one core: {'; '.join(slow)}")


def _completed_run(folder: Path, *, clusters: bool) -> Path:
    """The output folder of a run with an answer to every item."""
    shutil.copytree(find_world(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ACCURACY["base"]:
        rows = [_row(name, i, clusters) for i in range(ITEMS)]
        (folder / "evals" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _policy(folder, "none")
    job = load_job(folder / "policy.yaml", folder / "manifests" / "careful.yaml")
    evaluate(job, folder / "out", SilentProgress(), engine=ScriptedEngine(_reply), judge_engine=ScriptedEngine(_grade))
    return folder


def _policy(folder: Path, stopping: str) -> Path:
    measurements: dict[str, dict[str, Any]] = {name: {"dataset": f"evals/{name}.jsonl"} for name in ACCURACY["base"]}
    measurements["target"] |= {"scorer": "choice"}
    measurements["tail"] |= {"scorer": "choice", "embedding": "tfidf"}
    policy = {
        "version": 1,
        "measurements": measurements,
        "judge": {"source": "models/judge"},
        "engine": {"kind": "scripted"},
        "evidence": {"early_stopping": stopping, "draws": DRAWS},
        "artifacts": {"allow": ["models/*"]},
    }
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(policy), encoding="utf-8")
    return path


def _row(name: str, i: int, clusters: bool) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": f"{name[0]}{i}",
        "prompt": f"{name} {i}",
        "answer": f"word {i}",
        "tags": [f"t{i % TAGS}"],
    }
    if name != "forgetting":
        row |= {"choices": list(OPTIONS), "answer": OPTIONS[i % 4]}
    return {**row, "cluster": f"c{i // CLUSTER_SIZE}"} if clusters else row


def _reply(model: Model, question: Question) -> Answer:
    """Right as often as ``ACCURACY`` says; half of the time both models share the same random draw."""
    shares: Mapping[str, float] = ACCURACY[model.name if model.name in ACCURACY else "careful"]
    number = int(question.item_id[1:])
    common, own = generator(number, question.measurement).random(2)
    luck = common if model.name == "base" or own < 0.5 else generator(number, "own luck").random()
    right = luck < shares[question.measurement]
    if not question.options:
        return Answer(text=f"word {number}" if right else "no idea", tokens=2)
    displayed = [line[3:] for line in question.messages[-1].content.splitlines()[1:5]]
    chosen = OPTIONS[(number + (0 if right else 1)) % 4]
    confidence = 0.75
    return Answer(
        option_logprobs=tuple(math.log(confidence if one == chosen else (1 - confidence) / 3) for one in displayed)
    )


def _grade(_: Model, question: Question) -> Answer:
    """A judge that knows the reference."""
    prompt = question.messages[-1].content
    reference = prompt.split("[[reference]]\n")[1].split("\n[[answer]]")[0]
    digit = 5 if prompt.split("[[answer]]\n")[1].split("\n[[end]]")[0] == reference else 1
    return Answer(option_logprobs=tuple(math.log(0.96 if k == digit else 0.01) for k in range(1, 6)))


def _decide(folder: Path, stopping: str) -> tuple[float, float, int]:
    """Wall-clock and processor seconds of one decision, and the last look that it reached."""
    policy, out = _policy(folder, stopping), folder / f"again {stopping}"
    command = [sys.executable, "-m", "ftgate", "decide", str(folder / "out"), "--policy", str(policy)]
    # With compiled files, as in normal use: without them Python needs a second or more to compile the libraries.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [*command, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        preexec_fn=_on_one_core,
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1, 4):
        sys.exit(f"decide: exit {done.returncode}\n{done.stderr[-2000:]}")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, used, max(report["stopping"]["looks"].values())


def _on_one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


if __name__ == "__main__":
    main()
