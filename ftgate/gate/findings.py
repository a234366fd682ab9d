"""The findings of a finished run: against the base, and against the incumbent where there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ftgate.domain import Finding
from ftgate.gate.result import Result
from ftgate.report.numbers import in_sentence


def findings_of(results: Mapping[str, Result]) -> dict[str, Finding]:
    """The findings against the base. One that stayed undecided because another blocked says so, not its reason."""
    blocked = _first_block(results)
    return {name: _with_stop(result, result.finding, blocked) for name, result in results.items()}


def incumbent_findings(results: Mapping[str, Result]) -> dict[str, Finding]:
    """The findings against the incumbent; empty without one. As with those against the base."""
    blocked = _first_block(results)
    return {
        name: _with_stop(result, result.incumbent.finding, blocked)
        for name, result in results.items()
        if result.incumbent is not None
    }


def _first_block(results: Mapping[str, Result]) -> str | None:
    return next((name for name, r in results.items() if any(f.blocks for f in r.findings)), None)


def _with_stop(result: Result, finding: Finding, blocked: str | None) -> Finding:
    if blocked is None or finding.settled or result.look.number >= result.look.of:
        return finding
    stopped = f"undecided when the run stopped at look {result.look.number} of {result.look.of}"
    reason = f"{stopped}, because {in_sentence(blocked)} blocked"
    estimate = replace(finding.estimate, needed_n=None)
    return replace(finding, estimate=estimate, reason=reason, leaning=None, cut_short_by=blocked)
