"""Runs ``ftgate run`` on every member of the zoo, one process each. Later runs reuse the base's answers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks.zoo.data import SUITE_ROWS
from benchmarks.zoo.members import Copy, Member

ALLOW, BLOCK, HOLD = 0, 1, 4
COPY_GAIN = -0.05
"""A copy of the base is no fine-tune: it need not gain, only not lose this much."""


def policy(base: Path, out: Path, *, copy: bool, engine: str, share: float = 1.0) -> dict[str, object]:
    """The documented limits on ``share`` of the zoo's suites; for a copy of the base with a negative ``min_gain``."""
    suites = out / "data" / "suites"
    asked = {name: round(share * rows) for name, rows in SUITE_ROWS.items()}
    return {
        "version": 1,
        "manifests": ["manifests/*.yaml"],
        "measurements": {
            "target": {
                "dataset": str(suites / "target.jsonl"),
                "scorer": "exact",
                "min_gain": COPY_GAIN if copy else 0.0,
                "max_tokens": 6,
                "n": asked["target"],
            },
            "forgetting": {
                "dataset": str(suites / "forgetting.jsonl"),
                "scorer": "contains",
                "warn_drop": 0.08,
                "block_drop": 0.10,
                "max_tokens": 14,
                "n": asked["forgetting"],
            },
            "tail": {
                "dataset": str(suites / "tail.jsonl"),
                "scorer": "contains",
                "block_drop": 0.15,
                "max_tokens": 14,
                "n": asked["tail"],
            },
        },
        "engine": {"kind": engine, "dtype": "float32", "max_model_len": 512},
        "artifacts": {"allow": [str(base), str(out / "models" / "*")]},
    }


def manifest(member: Member, base: Path, out: Path) -> dict[str, object]:
    """What is judged; a fine-tune names its training data."""
    folder = out / "models"
    names: dict[str, object] = {
        "name": member.name,
        "base": {"source": str(base)},
        "candidate": {"source": str(folder / member.name)},
    }
    if not isinstance(member, Copy):
        names["training_data"] = {"source": str(folder / f"{member.name}-train.jsonl")}
    return names


def run_gate(members: Sequence[Member], base: Path, out: Path, engine: str, share: float) -> None:
    """Write policies and manifests, and run the gate on each member; a finished report is kept."""
    folder = out / "gate"
    (folder / "manifests").mkdir(parents=True, exist_ok=True)
    for copy in (False, True):
        _write(folder / _policy_name(copy=copy), policy(base, out, copy=copy, engine=engine, share=share))
    for member in members:
        _write(folder / "manifests" / f"{member.name}.yaml", manifest(member, base, out))
        report = folder / member.name / "report.json"
        if not report.exists():
            _run(member, folder)
        print(f"{member.name}: {json.loads(report.read_text(encoding='utf-8'))['verdict']}", flush=True)


def _run(member: Member, folder: Path) -> None:
    out = folder / member.name
    command = [sys.executable, "-m", "ftgate", "run"]
    command += ["--policy", str(folder / _policy_name(copy=isinstance(member, Copy)))]
    command += ["--manifest", str(folder / "manifests" / f"{member.name}.yaml"), "--out", str(out)]
    for earlier in sorted(folder.glob("*/report.json")):
        command += ["--reuse", str(earlier.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (ALLOW, BLOCK, HOLD):
        sys.exit(f"{member.name}: ftgate run exits with {done.returncode}\n{done.stderr[-3000:]}")


def _policy_name(*, copy: bool) -> str:
    return "policy-copies.yaml" if copy else "policy.yaml"


def _write(path: Path, content: object) -> None:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
