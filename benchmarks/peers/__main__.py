"""ftgate beside lm-evaluation-harness run on base and candidate and a script around a judge, on the same rows.

``python -m benchmarks.peers [--rows 50 200 800] [--rounds 1] [--without-harness]`` runs the two sides in turn, each
program in a process of its own, and prints wall and CPU seconds (child processes included), requests and tokens. Both
are given the same rows, engine settings, limits of tokens and judge. lm-eval is given merged weights, as its
log-likelihoods of an adapter end in an error on vLLM for CPUs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.peers import suites
from benchmarks.peers.programs import (
    HARNESS,
    ROOT,
    VERDICTS,
    Measured,
    engine_arguments_of,
    harness_command,
    harness_usage,
    merge,
    run,
)
from benchmarks.peers.requests import Usage, measured_share, ready_requests, usage
from ftgate.cli.demo import find_world

FIRST, SECOND = "careful", "forgetful"
"""The candidates: two adapters on the same base."""
OURS, PEERS = "ftgate", "lm-eval twice, judge script"
SECOND_OF_OURS, BARE = "ftgate, second candidate", "bare LLM.generate"
BESIDE = "ftgate, second candidate in the same process"


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
        merged = {
            name: merge(find_world() / "models" / "base", find_world() / "models" / name, Path(folder) / name)
            for name in (FIRST, SECOND)
        }
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


def _ftgate(folder: Path, candidate: str, reuse: Path | None = None) -> Measured:
    out = folder / f"out-{candidate}"
    arguments = ["--policy", str(folder / "policy.yml"), "--manifest", str(suites.write_manifest(folder, candidate))]
    more = ["--reuse", str(reuse)] if reuse is not None else []
    command = [sys.executable, "-m", "ftgate", "run", *arguments, "--out", str(out), *more]
    wall, cpu = run(command, folder / f"ftgate-{candidate}.log", VERDICTS)
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
    wall, cpu = run(command, folder / "ftgate.log", VERDICTS)
    used, earlier = usage(folder / SECOND, without=folder / FIRST), first()
    verdicts = [json.loads((out / "report.json").read_text())["verdict"] for out in (folder / FIRST, folder / SECOND)]
    if verdicts[0] != json.loads((alone / "report.json").read_text())["verdict"]:
        sys.exit(f"{FIRST} is judged otherwise beside {SECOND}: {verdicts[0]}")
    return Measured(wall - earlier.wall, cpu - earlier.cpu, *used, verdicts[1])


def _peers(folder: Path, candidate: str, merged: dict[str, Path], harness: Path) -> Measured:
    """lm-eval on the base and on the candidate, then the script: three programs, one after the other."""
    total, samples = Measured(), []
    tasks = [folder / "tasks" / f"{name}.yaml" for name in suites.SUITES.values()]
    for name, weights in (("base", find_world() / "models" / "base"), (candidate, merged[candidate])):
        out = folder / f"lm-eval-{candidate}-{name}"
        wall, cpu = run(harness_command(tasks, weights, out, harness, suites.ENGINE), folder / f"{out.name}.log")
        total.wall, total.cpu = total.wall + wall, total.cpu + cpu
        total.asked += harness_usage(out, find_world() / "models" / "base")
        samples.append(next(out.rglob(f"samples_{suites.JUDGED}_*.jsonl")))
    arguments = folder / "judge.json"
    arguments.write_text(
        json.dumps(engine_arguments_of(find_world() / "models" / "judge", suites.ENGINE)), encoding="utf-8"
    )
    log = folder / f"judge-{candidate}.log"
    command = [sys.executable, "-m", "benchmarks.peers.judge_script", str(arguments), *map(str, samples)]
    wall, cpu = run(command, log)
    grades = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
    total.wall, total.cpu = total.wall + wall, total.cpu + cpu
    total.graded = Usage(grades["requests"], grades["tokens"])
    total.verdict = "judge: {:.2f} and {:.2f}".format(*grades["means"])
    return total


def _bare(folder: Path, candidate: str) -> Measured:
    requests = ready_requests(folder / f"out-{candidate}")
    path = folder / "requests.json"
    path.write_text(json.dumps(requests), encoding="utf-8")
    wall, cpu = run([sys.executable, "-m", "benchmarks.peers.bare", str(path)], folder / "bare.log")
    return Measured(wall, cpu, *usage(folder / f"out-{candidate}"))


if __name__ == "__main__":
    main()
