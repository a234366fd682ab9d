"""ftgate's own processor time of a whole run, by the size of the suites: everything but the models.

Four suites of the same number of rows, answered at once by a script, from reading the files to the written report: a
run that waits for nothing. ``python -m benchmarks.own_work [ROWS ...]`` prints one line for each size. Four times the
rows must not take more than five times as long.
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
import time
from collections.abc import Mapping, Sequence
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
WARM_UP = 50
"""Rows of a run before the others, which imports what all of them need."""
SLOPE = 5.0
"""Four times the rows may take this many times as long: in linear time it is at most four."""
ACCURACY = {"target": (0.6, 0.6), "forgetting": (0.9, 0.81), "tail": (0.8, 0.68), "calibration": (0.75, 0.7)}
"""How often base and candidate are right: at the limits, so that no look settles anything and every row is asked."""
OPTIONS = ("billing", "delivery", "technical", "account")
WORDS = tuple(f"{a}{b}{c}" for a in ("ba", "de", "ki", "lo") for b in ("n", "r", "st", "m") for c in ("a", "il", "or"))


def main(sizes: Sequence[int] = SIZES) -> None:
    """Print the processor seconds of each size. Exits with a message if they grow faster than the rows."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(Path(folder), sizes)
    for rows, used in seconds.items():
        print(f"{rows:>6} rows in each of {len(ACCURACY)} suites: {used:7.1f} CPU s")
    if steep := too_steep(seconds):
        sys.exit(f"takes more than {SLOPE:g} times as long for four times the rows: {'; '.join(steep)}")


def measure(folder: Path, sizes: Sequence[int]) -> dict[int, float]:
    """Processor seconds of one run of each size, all in a process of their own, after a short one that imports."""
    command = [sys.executable, "-m", "benchmarks.own_work", "--in", str(folder), *map(str, sizes)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # One thread: threads of linear algebra that wait for each other would be counted as work.
    done = subprocess.run(
        command, env={**environment, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    return {int(rows): seconds for rows, seconds in json.loads(done.stdout.splitlines()[-1]).items()}


def too_steep(seconds: Mapping[int, float]) -> list[str]:
    """The steps of four times the rows that take more than ``SLOPE`` times as long."""
    return [
        f"{small} rows {seconds[small]:.1f} s, {large} rows {used:.1f} s"
        for large, used in seconds.items()
        if (small := large // 4) in seconds and used > SLOPE * seconds[small]
    ]


def _measured(folder: Path, sizes: Sequence[int]) -> dict[int, float]:
    run(folder / "imports", WARM_UP)
    seconds = {}
    for rows in sizes:
        before = time.process_time()
        run(folder / str(rows), rows)
        seconds[rows] = time.process_time() - before
    return seconds


def run(folder: Path, rows: int) -> Report:
    """A run on ``rows`` rows with scripted models, and everything it writes, into ``folder``."""
    write_files(folder, rows)
    job = load_job(folder / "policy.yaml", folder / "manifests" / "careful.yaml")
    models, judge = ScriptedEngine(_reply), ScriptedEngine(_grade)
    return evaluate(job, folder / "out", SilentProgress(), engine=models, judge_engine=judge)


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
        wrong = " ".join(random.Random(number).choices(WORDS, k=30))
        return Answer(text=_answer(number) if right else wrong, tokens=40)
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
    if sys.argv[1:2] == ["--in"]:
        print(json.dumps(_measured(Path(sys.argv[2]), [int(size) for size in sys.argv[3:]])))
    else:
        main([int(size) for size in sys.argv[1:]] or SIZES)
