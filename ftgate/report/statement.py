"""statement.json: the verdict as an in-toto statement about the candidate's files, ready to be signed.

Format: https://in-toto.io/Statement/v1 with the predicate https://in-toto.io/attestation/test-result/v0.1. Once signed,
a release job can check the verdict with the platform's own attestation tools.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ftgate.files import write_whole
from ftgate.report.schema import Report

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"
RESULTS = {"allow": "PASSED", "block": "FAILED", "hold": "FAILED"}
"""A hold counts as failed: the predicate's third result, WARNED, means a pass."""
_GROUPS = {"pass": "passedTests", "warn": "warnedTests"}


def statement(report: Report) -> dict[str, Any]:
    """The in-toto statement for ``report``. Its subject is the tree digest of the candidate's files."""
    candidate = report.provenance.get("candidate") or {}
    tests: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for name, m in report.measurements.items():
        if m.status == "not_applicable" or not m.gates:
            continue
        tests[_GROUPS.get(m.status, "failedTests")].append(name)
    for name, m in report.measurements.items():
        if m.gates and m.incumbent is not None and m.incumbent.status != "not_applicable":
            tests[_GROUPS.get(m.incumbent.status, "failedTests")].append(f"{name} against the deployed model")
    warned = report.verdict == "allow" and tests["warnedTests"]
    return {
        "_type": STATEMENT,
        "subject": [{"name": report.name, "digest": _digest(str(candidate.get("digest", "")))}],
        "predicateType": PREDICATE,
        "predicate": {
            "result": "WARNED" if warned else RESULTS[report.verdict],
            "configuration": [
                {"name": "policy", "digest": {"sha256": str(report.provenance.get("policy_sha256", ""))}},
                {"name": "base", "digest": _digest(str((report.provenance.get("base") or {}).get("digest", "")))},
                *_incumbent(report),
                *(
                    {"name": f"suite {name}", "digest": {"sha256": str(suite["sha256"])}}
                    for name, suite in (report.provenance.get("suites") or {}).items()
                ),
            ],
            **tests,
        },
    }


def _incumbent(report: Report) -> list[dict[str, Any]]:
    digest = str((report.provenance.get("incumbent") or {}).get("digest") or "")
    return [{"name": "incumbent", "digest": _digest(digest)}] if digest else []


def write_statement(report: Report, directory: Path) -> None:
    """Write statement.json into ``directory`` atomically.

    A report without a digest, as that on another program's logs, has nothing to make a statement about: it gets none,
    and an earlier one is removed.
    """
    path = directory / "statement.json"
    if not (report.provenance.get("candidate") or {}).get("digest"):
        path.unlink(missing_ok=True)
        return
    write_whole(path, json.dumps(statement(report), indent=2) + "\n")


def _digest(text: str) -> dict[str, str]:
    algorithm, _, digits = text.rpartition(":")
    return {algorithm or "sha256": digits}
