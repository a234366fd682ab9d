"""Run every benchmark, or those named on the command line: ``python -m benchmarks [NAME ...]``."""

from __future__ import annotations

import sys

from benchmarks import contamination, decision, distance, own_work, page, phases, planted

BENCHMARKS = {
    "contamination": contamination.main,
    "decision": decision.main,
    "distance": distance.main,
    "own-work": own_work.main,
    "page": page.main,
    "phases": phases.main,
    "planted": planted.main,
}


def main() -> None:
    """Run them in turn, each under its name."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"no such benchmark: {sorted(unknown)[0]} (there are {', '.join(BENCHMARKS)})")
    for name in names:
        print(f"\n== {name}")
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
