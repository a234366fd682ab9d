"""``ftgate decide`` itself, on one core: four measurements of 2000 items each, with 2000 resamples.

Every candidate lies on its limits, so that no look settles anything and all of them have to be worked out. Ends with an
error where one decision takes more than five seconds of processor time.
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

ITEMS, DRAWS, TAGS, SIZE = 2000, 2000, 20, 8
LIMIT_SECONDS = 5.0
OPTIONS = ("red", "green", "blue", "grey")
SCALE = {"base": {"target": 0.6, "forgetting": 0.9, "tail": 0.8, "calibration": 0.75}}
SCALE["careful"] = {"target": 0.6, "forgetting": 0.81, "tail": 0.68, "calibration": 0.70}
"""Share of right answers by model: the candidate's loss is what is just allowed."""


def main() -> None:
    """Print one line a case. Exits with a message where a case takes too long."""
    slow = []
    with tempfile.TemporaryDirectory() as folder:
        for name, clusters in (("items", False), ("clusters", True)):
            run = _answered(Path(folder) / name, clusters=clusters)
            for stopping in ("none", "obrien_fleming"):
                wall, used, looks = _decide(run, stopping)
                case = f"{name}, {'one look' if stopping == 'none' else 'four looks'}"
                print(f"{case:<24}{used:>6.2f} s of one core, {wall:>6.2f} s in all, at look {looks}")
                slow += [case] if used > LIMIT_SECONDS else []
    if slow:
        sys.exit(f"more than {LIMIT_SECONDS:g} s of one core: {'; '.join(slow)}")


def _answered(folder: Path, *, clusters: bool) -> Path:
    """The output folder of a run of which every item was asked."""
    shutil.copytree(find_world(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in SCALE["base"]:
        rows = [_row(name, i, clusters) for i in range(ITEMS)]
        (folder / "evals" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    _policy(folder, "none")
    job = load_job(folder / "policy.yaml", folder / "manifests" / "careful.yaml")
    evaluate(job, folder / "out", SilentProgress(), engine=ScriptedEngine(_reply), judge_engine=ScriptedEngine(_grade))
    return folder


def _policy(folder: Path, stopping: str) -> Path:
    measurements: dict[str, dict[str, Any]] = {name: {"dataset": f"evals/{name}.jsonl"} for name in SCALE["base"]}
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
    return {**row, "cluster": f"c{i // SIZE}"} if clusters else row


def _reply(model: Model, question: Question) -> Answer:
    """Right as often as ``SCALE`` says, half of the time by the luck that both models share."""
    shares: Mapping[str, float] = SCALE[model.name if model.name in SCALE else "careful"]
    number = int(question.item_id[1:])
    common, own = generator(number, question.measurement).random(2)
    luck = common if model.name == "base" or own < 0.5 else generator(number, "own luck").random()
    right = luck < shares[question.measurement]
    if not question.options:
        return Answer(text=f"word {number}" if right else "no idea", tokens=2)
    shown = [line[3:] for line in question.messages[-1].content.splitlines()[1:5]]
    wanted = OPTIONS[(number + (0 if right else 1)) % 4]
    sure = 0.75
    return Answer(option_logprobs=tuple(math.log(sure if one == wanted else (1 - sure) / 3) for one in shown))


def _grade(_: Model, question: Question) -> Answer:
    """A judge that knows the reference."""
    said = question.messages[-1].content
    reference = said.split("[[reference]]\n")[1].split("\n[[answer]]")[0]
    digit = 5 if said.split("[[answer]]\n")[1].split("\n[[end]]")[0] == reference else 1
    return Answer(option_logprobs=tuple(math.log(0.96 if k == digit else 0.01) for k in range(1, 6)))


def _decide(folder: Path, stopping: str) -> tuple[float, float, int]:
    """Seconds by the clock and of the processor for one decision, and the last look that it got to."""
    policy, out = _policy(folder, stopping), folder / f"again {stopping}"
    command = [sys.executable, "-m", "ftgate", "decide", str(folder / "out"), "--policy", str(policy)]
    # Compiled files as everyone has them: without them a second and more is Python compiling the libraries.
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
