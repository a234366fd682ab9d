"""Kill runs of ``ftgate run`` at random moments and damage what they keep; print what came of it (docs/resuming.md).

    python -m benchmarks.faults --kills 2000 --flips 2000                  scripted models; about an hour of one core
    python -m benchmarks.faults --engine vllm --kills 40                   real weights: the tiny world
    python -m benchmarks.faults --kills 30 --aim judging                   only while the judge is tested or grades

The moments, signals and bits follow from the seed; what a kill meets also depends on the machine. Exits with 1 if an
answer was lost or asked for twice, a report differs, damage was used silently, or a run crashed. Interrupted, it ends
with the tables of what it did.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

import numpy as np

from benchmarks.faults import flips, kills
from benchmarks.faults.program import Program, end_early_on_signals, warm_up
from benchmarks.faults.worlds import Case, endpoint_case, local_case, paid_endpoint, served_files, tiny_case

Rows = list[tuple[str, object]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the campaign and print a table for each part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--engine", choices=("scripted", "vllm", "transformers"), default="scripted")
    parser.add_argument(
        "--kills", type=int, default=20, help="a third of the scripted ones with a judge at an endpoint"
    )
    parser.add_argument("--aim", choices=kills.PHASES, help="kill only while runs do this; anywhere if not given")
    parser.add_argument("--flips", type=int, default=0, help="with scripted models only")
    parser.add_argument("--rows", type=int, help="of each suite, with real weights; all if not given")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    end_early_on_signals()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ftgate-faults-") as name:
        folder, rng = Path(name).resolve(), np.random.default_rng(options.seed)
        if options.engine == "scripted":
            failures = scripted(folder, options.kills, options.flips, rng, options.aim)
        else:
            case = tiny_case(folder, options.engine, options.rows)
            failures = _kills(case, folder, options.kills, rng, options.aim)
    seconds = sum(os.times()[:4])
    print(f"\nseed {options.seed}; {seconds:.0f} CPU s, {time.monotonic() - began:.0f} s")
    for failure in failures:
        print(f"\n{failure}")
    sys.exit(1 if failures else 0)


def scripted(
    folder: Path, number_of_kills: int, number_of_flips: int, rng: np.random.Generator, aim: str | None
) -> list[str]:
    """Both parts with scripted models. Returns what must not be."""
    failures = []
    paid = folder / "paid.log"
    with served_files(folder / "site") as site, paid_endpoint(paid) as endpoint:
        local = local_case(folder / "local", site)
        asked = endpoint_case(folder / "endpoint", site, endpoint, paid)
        counts = ((local, number_of_kills - number_of_kills // 3), (asked, number_of_kills // 3))
        for case, count in counts:
            if count or (number_of_flips and case is local):
                warm_up(case, folder / f"warm-{case.name}")
        for case, count in counts:
            if count:
                failures += _kills(case, folder, count, rng, aim)
        if number_of_flips:
            failures += _flips(local, folder, number_of_flips, rng)
    return failures


def _kills(case: Case, folder: Path, count: int, rng: np.random.Generator, aim: str | None) -> list[str]:
    tally = kills.campaign(case, folder / f"kills-{case.name}", count, rng, _tell, aim)
    _print_table(f"kills, {case.name}", tally.rows())
    lost = [f"{case.name}: {tally.lost} answers lost"] if tally.lost else []
    return [*lost, *([f"{case.name}: {tally.twice} asked for twice"] if tally.twice else []), *tally.problems]


def _flips(case: Case, folder: Path, count: int, rng: np.random.Generator) -> list[str]:
    kept = flips.Kept(folder / "whole", folder / "cut")
    whole = kills.uninterrupted(case, kept.whole)
    _cut_downloads(case, kept.cut)
    tally = flips.campaign(case, whole, kept, folder / "flip", count, rng, _tell)
    _print_table("flipped bits", tally.rows())
    return [*tally.silent, *tally.crashes]


def _cut_downloads(case: Case, folder: Path) -> None:
    """Leave a cache in which a kill cut downloads short."""
    while True:
        folder.mkdir(parents=True)
        program, incoming = Program(case, folder / "out", folder / "cache"), folder / "cache" / "incoming"
        while program.running() and not _begun(incoming):
            time.sleep(0.0005)
        program.send(kills.signal.SIGKILL)
        program.wait()
        if _begun(incoming):
            return
        rmtree(folder)


def _begun(incoming: Path) -> bool:
    """Whether part of the training data, of which no hash is listed, has arrived."""
    paths = [Path(folder, name) for folder, _, names in os.walk(incoming) for name in names if name.endswith(".sums")]
    with suppress(FileNotFoundError):
        return any(path.stat().st_size for path in paths)
    return False


def _print_table(title: str, rows: Rows) -> None:
    print(f"\n== {title}")
    for name, value in rows:
        print(f"{name:<52}{value}", flush=True)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
