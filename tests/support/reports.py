"""Reports whose numbers come to their verdict under a policy, as a run would leave them, and the files beside."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

from ftgate.config.policy import Policy
from ftgate.report.schema import MeasurementReport, Report, write_report

POLICY: dict[str, Any] = {
    "version": 1,
    "manifests": ["models/*.yaml"],
    "measurements": {
        "target": {"dataset": "evals/target.jsonl", "scorer": "choice"},
        "forgetting": {"dataset": "evals/general.jsonl", "scorer": "choice", "warn_drop": 0.08, "block_drop": 0.10},
    },
    "publish": {"ledger": "branch"},
}


def policy(**changes: Any) -> tuple[str, Policy]:
    """The policy as a file's text and as read."""
    value = {**POLICY, **changes}
    return yaml.safe_dump(value), Policy.model_validate(value)


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def manifest(name: str = "bot", version: str = "v1", **more: Any) -> str:
    found = {
        "name": name,
        "base": {"source": "hf://acme/base"},
        "candidate": {"source": f"s3://acme/{name}/{version}", "digest": digest(f"{name} {version}")},
        **more,
    }
    return yaml.safe_dump(found, sort_keys=False)


def measured(name: str, status: str) -> MeasurementReport:
    """A measurement with numbers that come to ``status``."""
    if name == "target":
        change, interval, unit = 0.12, (0.08, 0.16), "absolute gain"
    elif name == "form":
        change, interval, unit = 0.0, (-0.02, 0.02), "rise in malformed answers"
    else:
        change = {"pass": 0.01, "warn": 0.085, "block": 0.41, "inconclusive": 0.09}[status]
        half = 0.05 if status in ("block", "inconclusive") else 0.008
        interval, unit = (change - half, change + half), "relative drop"
    return MeasurementReport(
        status=status,
        base=0.8,
        candidate=0.8 - change,
        change=change,
        unit=unit,
        worse="down" if name == "target" else "up",
        interval=interval,
        level=0.9,
        n=400,
        method="score interval",
        limits={"min_gain": 0.0} if name == "target" else {"block": 0.1, **({} if name == "form" else {"warn": 0.08})},
        reason=f"{name} is {status}",
        needed_n=900 if status == "inconclusive" else None,
    )


def report(
    rules: Policy, forgetting: str = "pass", name: str = "bot", version: str = "v1", text: str = "", **more: Any
) -> Report:
    """A report for the manifest of that name and version, or for one with this ``text``."""
    verdict = {"pass": "allow", "warn": "allow", "block": "block", "inconclusive": "hold"}[forgetting]
    found = Report(
        verdict=verdict,
        reasons=[f"forgetting is {forgetting}"],
        name=name,
        measurements={
            "target": measured("target", "pass"),
            "forgetting": measured("forgetting", forgetting),
            "form": measured("form", "pass"),
        },
        checklist=[],
        controls={},
        provenance={
            "base": {"name": "base", "reference": "hf://acme/base", "digest": digest("base")},
            "candidate": {
                "name": name,
                "reference": f"s3://acme/{name}/{version}",
                "digest": digest(f"{name} {version}"),
                "kind": "adapter",
            },
            "policy_sha256": rules.sha256(),
            "manifest_sha256": hashlib.sha256((text or manifest(name, version)).encode()).hexdigest(),
            "started": "2025-03-04T09:00:00+00:00",
            "finished": "2025-03-04T09:10:00+00:00",
        },
        timing={},
        engine_starts=1,
    )
    return found.model_copy(update=more)


def delivered(folder: Path, found: Report) -> Path:
    """The folder as another job would leave it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_report(found, folder / "report.json")
    return folder
