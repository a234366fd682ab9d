"""ftgate's own processor time of a whole run, by the size of the suites: everything but the models.

Four suites of the same number of rows, answered at once by a script, from reading the files to the written report: a run
that waits for nothing. ``python -m benchmarks.own_work [ROWS ...]`` prints one line for each size; sizes of which the
second is four times the first must not take more than five times as long.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ftgate.cli.demo import find_world
from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report
from ftgate.stats.seeding import generator

SIZES = (200, 800, 3200)
SLOPE = 5.0
"""Four times the rows may take this many times as long: in linear time it is at most four."""
ACCURACY = {"target": (0.6, 0.6), "forgetting": (0.9, 0.81), "tail": (0.8, 0.68), "calibration": (0.75, 0.7)}
"""How often base and candidate are right: at the limits, so that no look settles anything and every row is asked."""
OPTIONS = ("billing", "delivery", "technical", "account")
WORDS = tuple(f"{a}{b}{c}" for a in ("ba", "de", "ki", "lo") for b in ("n", "r", "st", "m") for c in ("a", "il", "or"))


def main(sizes: Sequence[int] = SIZES) -> None:
    """Print the processor seconds of each size. Exits with a message if they grow faster than the rows."""
    before, steep = None, []
    with tempfile.TemporaryDirectory() as folder:
        for rows in sizes:
            seconds, verdict = measure(Path(folder) / str(rows), rows)
            growth = "" if before is None else f", {seconds / before[1]:.1f} times as long for {rows / before[0]:.0f}x"
            print(f"{rows:>6} rows in each of {len(ACCURACY)} suites: {seconds:7.1f} CPU s{growth} ({verdict})")
            if before is not None and seconds / before[1] > SLOPE * rows / before[0] / 4:
                steep.append(str(rows))
            before = (rows, seconds)
    if steep:
        sys.exit(f"grows faster than the rows at {', '.join(steep)}")


def measure(folder: Path, rows: int, profile: Path | None = None) -> tuple[float, str]:
    """Processor seconds, of user and system together, of a run in a process of its own; and its verdict."""
    write_files(folder, rows)
    command = [sys.executable, *(["-m", "cProfile", "-o", str(profile)] if profile is not None else [])]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        [*command, "-m", "benchmarks.own_work", "--run", str(folder)],
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{rows} rows: exit {process.returncode}")
    verdict = json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))["verdict"]
    return used.ru_utime + used.ru_stime, verdict


def run(folder: Path) -> Report:
    """The run in ``folder`` with scripted models, and everything it writes."""
    job = load_job(folder / "policy.yaml", folder / "manifests" / "careful.yaml")
    engines = {"engine": ScriptedEngine(_reply), "judge_engine": ScriptedEngine(_grade)}
    return evaluate(job, folder / "out", SilentProgress(), **engines)


def write_files(folder: Path, rows: int) -> None:
    """The tiny world's models with four suites of ``rows`` rows and as many rows of training data."""
    shutil.copytree(find_world(), folder, ignore=shutil.ignore_patterns("__pycache__", "evals"))
    (folder / "evals").mkdir()
    for name in (*ACCURACY, "train"):
        lines = (json.dumps(_row(name, i)) + "\n" for i in range(rows))
        (folder / "evals" / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    measurements: dict[str, dict[str, Any]] = {name: {"dataset": f"evals/{name}.jsonl"} for name in ACCURACY}
    measurements["target"] |= {"scorer": "choice"}
    measurements["forgetting"] |= {"scorer": "judge"}
    measurements["tail"] |= {"scorer": "choice", "embedding": "tfidf"}
    policy = {
        "version": 1,
        "measurements": measurements,
        "judge": {"source": "models/judge", "known_answers": False},
        "engine": {"kind": "scripted"},
        "artifacts": {"allow": ["models/*"]},
    }
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy), encoding="utf-8")


def _row(name: str, i: int) -> dict[str, Any]:
    """A row with a prompt of some sixty words, as users write them, and its own id."""
    draw = random.Random(f"{name} {i}")
    prompt = " ".join(draw.choices(WORDS, k=draw.randint(40, 80)))
    row: dict[str, Any] = {"id": f"{name}-{i}", "prompt": f"{prompt} {i}?", "tags": [f"t{i % 20}"]}
    if name == "forgetting":
        return {**row, "answer": " ".join(draw.choices(WORDS, k=30))}
    return {**row, "choices": list(OPTIONS), "answer": OPTIONS[i % len(OPTIONS)]}


def _reply(model: Model, question: Question) -> Answer:
    """Right as often as ``ACCURACY`` says; half of the time both models share the same draw."""
    number = int(question.item_id.rpartition("-")[2])
    candidate = model.name != "base"
    common, own, luck = generator(number, question.measurement).random(3)
    right = (luck if candidate and own < 0.5 else common) < ACCURACY[question.measurement][candidate]
    if not question.options:
        words = random.Random(f"{question.measurement} {number}" if right else number)
        words.choices(WORDS, k=0)
        return Answer(text=_answer(number) if right else " ".join(words.choices(WORDS, k=30)), tokens=40)
    displayed = [line[3:] for line in question.messages[-1].content.splitlines()[1 : 1 + len(OPTIONS)]]
    chosen = OPTIONS[(number + (0 if right else 1)) % len(OPTIONS)]
    return Answer(option_logprobs=tuple(math.log(0.75 if one == chosen else 0.25 / 3) for one in displayed))


def _answer(number: int) -> str:
    return str(_row("forgetting", number)["answer"])


def _grade(_: Model, question: Question) -> Answer:
    """A judge that knows the reference."""
    prompt = question.messages[-1].content
    reference = prompt.split("[[reference]]\n")[1].split("\n[[answer]]")[0]
    digit = 5 if prompt.split("[[answer]]\n")[1].split("\n[[end]]")[0] == reference else 1
    return Answer(option_logprobs=tuple(math.log(0.96 if k == digit else 0.01) for k in range(1, 6)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(Path(sys.argv[2]))
    else:
        main([int(size) for size in sys.argv[1:]] or SIZES)
