"""Mutation pass: does a test notice when the code that matters is changed a little? ``make mutants``, docs/mutants.md.

From each group of modules mutants are drawn at random. The tests that run the changed line are run on each; a mutant
that none of them notices is a survivor. Those that cannot be noticed, or need not be, are listed in accepted.toml.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from pathlib import Path

from scripts.mutants import trial
from scripts.mutants.groups import GROUPS, TESTS, Group, Placed, drawn
from scripts.mutants.trial import Copy, Recorded

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = Path(__file__).with_name("accepted.toml")
LEAST_SHARE = 0.9


def accepted() -> dict[str, str]:
    """The mutants that may survive, each with the reason."""
    return {entry["mutant"]: entry["reason"] for entry in tomllib.loads(ACCEPTED.read_text())["accepted"]}


def outcome(copy: Copy, recorded: Recorded, group: Group, placed: Placed, log: Path) -> str:
    """``killed``, ``survived`` or ``no test``: of the tests that ran the line, as many as the time allows are run."""
    mutant = placed.mutant
    lines = range(mutant.line, mutant.last_line + 1) if mutant.in_function else ()
    always = [name for name in recorded.seconds if name.startswith(group.always)]
    taken: list[str] = []
    seconds = 0.0
    for name in dict.fromkeys([*recorded.tests_of(placed.path, lines), *always]):
        seconds += recorded.seconds[name]
        if seconds > trial.SECONDS and taken:
            break
        taken.append(name)
    if not taken:
        return "no test"
    return "killed" if copy.notices(placed.path, placed.source, taken, seconds, log) else "survived"


def prepared(out: Path, *, reuse: bool) -> tuple[Copy, Recorded]:
    """The copy in which mutants live, and which test runs which line."""
    out.mkdir(parents=True, exist_ok=True)
    copy, record = Copy(ROOT, out / "tree"), out / "lines.json"
    if not (reuse and record.exists()):
        print("recording which test runs which line", flush=True)
        copy.record([name for group in GROUPS for name in group.files(ROOT)], TESTS, record)
    recorded = Recorded.read(record)
    trial.warm(recorded.modules)
    return copy, recorded


def run(group: Group, copy: Copy, recorded: Recorded, options: argparse.Namespace) -> float:
    """Try the mutants of a group; print each survivor and the counts. The share that is killed."""
    counts = {"killed": 0, "accepted": 0, "survived": 0, "no test": 0}
    may_survive, begin = accepted(), time.monotonic()
    for placed in drawn(group, ROOT, options.count, options.seed):
        found = outcome(copy, recorded, group, placed, options.out / "last.log")
        if found != "killed" and placed.key in may_survive:
            found = "accepted"
        counts[found] += 1
        with (options.out / "outcomes.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps([group.name, found, placed.mutant.line, placed.key]) + "\n")
        if found in ("survived", "no test"):
            print(f"  {found}: line {placed.mutant.line} of {placed.key}", flush=True)
    tried = sum(counts.values())
    share = counts["killed"] / max(1, tried - counts["accepted"])
    listed = ", ".join(f"{count} {name}" for name, count in counts.items())
    print(f"{group.name}: {tried} mutants: {listed}; {share:.0%} ({time.monotonic() - begin:.0f} s)", flush=True)
    return share


def main() -> int:
    """1 if a group has fewer than ``LEAST_SHARE`` of its mutants noticed, the accepted ones aside."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--group", action="append", choices=[group.name for group in GROUPS], help="only this one")
    parser.add_argument("--count", type=int, default=40, help="mutants of each group")
    parser.add_argument("--seed", type=int, default=1, help="draws others")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "mutants", help="folder for the copy and the logs")
    parser.add_argument("--reuse", action="store_true", help="the recorded lines of the last pass are still right")
    options = parser.parse_args()
    copy, recorded = prepared(options.out, reuse=options.reuse)
    groups = [group for group in GROUPS if not options.group or group.name in options.group]
    shares = [run(group, copy, recorded, options) for group in groups]
    return 0 if min(shares) >= LEAST_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
