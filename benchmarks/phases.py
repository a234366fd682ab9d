"""Wall time of each phase of ``ftgate run`` on the tiny world; engine starts are separate phases.

Each candidate runs in its own process and output folder, so that every engine start is counted and no answer comes from
an earlier run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

WORLD = Path(__file__).resolve().parent.parent / "examples" / "tinyworld"


def measure(candidate: str, out: Path) -> dict[str, float]:
    """Seconds by phase for one candidate, plus the whole process and the time that no phase covers."""
    command = [
        "env",
        "OMP_NUM_THREADS=1",
        sys.executable,
        "-m",
        "ftgate",
        "run",
        "--policy",
        str(WORLD / "policy.yaml"),
    ]
    command += ["--manifest", str(WORLD / "manifests" / f"{candidate}.yaml"), "--out", str(out)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode not in (0, 1, 4):
        sys.exit(f"{candidate}: exit {done.returncode}\n{done.stderr[-2000:]}")
    phases: dict[str, float] = json.loads((out / "report.json").read_text(encoding="utf-8"))["timing"]
    return {**phases, "everything else": seconds - sum(phases.values()), "whole process": seconds}


def main(candidates: Sequence[str] = ("careful", "overconfident")) -> None:
    """Print one table: an adapter, which shares the base's engine, and full weights, which need a second one."""
    with tempfile.TemporaryDirectory() as folder:
        columns = [measure(name, Path(folder) / name) for name in candidates]
    print(f"{'seconds':<34}" + "".join(f"{name:>16}" for name in candidates))
    for phase in dict.fromkeys(p for column in columns for p in column):
        print(f"{phase:<34}" + "".join(f"{column.get(phase, 0.0):>16.1f}" for column in columns))
