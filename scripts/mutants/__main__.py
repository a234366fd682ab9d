"""Mutation pass: does a test notice when the code that matters is changed a little? ``make mutants``, docs/mutants.md.

From each group of modules mutants are drawn at random, and the group's tests are run on each until one fails. A mutant
that none of them notices is a survivor. Those that cannot be noticed, or need not be, are listed in accepted.toml.
"""

from __future__ import annotations

import argparse
import sys
import time
import tomllib
from pathlib import Path

from scripts.mutants.groups import GROUPS, Group, drawn
from scripts.mutants.trial import Copy

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = Path(__file__).with_name("accepted.toml")
LEAST_SHARE = 0.9


def accepted() -> dict[str, str]:
    """The mutants that may survive, each with the reason."""
    return {entry["mutant"]: entry["reason"] for entry in tomllib.loads(ACCEPTED.read_text())["accepted"]}


def run(group: Group, copy: Copy, options: argparse.Namespace) -> float:
    """Try the mutants of a group; print each survivor and the counts. The share that is killed."""
    begin = time.monotonic()
    seconds = copy.rehearse(group.tests)
    may_survive, record = accepted(), options.out / "killed.txt"
    killed_before = set(record.read_text().split()) if options.again and record.exists() else set()
    counts = {"killed": 0, "accepted": 0, "survived": 0}
    for placed in drawn(group, ROOT, options.count, options.seed):
        if placed.key in may_survive:
            outcome = "accepted"
        elif placed.digest in killed_before or copy.kills(
            placed.path, placed.source, group.tests_for(placed.path, ROOT), seconds
        ):
            outcome = "killed"
            with record.open("a") as file:
                file.write(f"{placed.digest}\n")
        else:
            outcome = "survived"
            print(f"  survived: line {placed.mutant.line} of {placed.key}", flush=True)
        counts[outcome] += 1
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
    parser.add_argument("--again", action="store_true", help="leave out what was killed before, to check new tests")
    options = parser.parse_args()
    copy = Copy(ROOT, options.out)
    shares = [run(group, copy, options) for group in GROUPS if not options.group or group.name in options.group]
    return 0 if min(shares) >= LEAST_SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
