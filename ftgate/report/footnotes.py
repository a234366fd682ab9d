"""What is said below a table of measurements: tiers, abbreviations, and what is not gated. Not escaped yet."""

from __future__ import annotations

from ftgate.measurements import registry
from ftgate.report import numbers
from ftgate.report.explanation import explanation, listed
from ftgate.report.schema import Report


def tiers(report: Report) -> str:
    """Which measurements do not block, and what they do instead; empty if all do."""
    does = {
        "supporting": ("holds instead of blocking", "hold instead of blocking"),
        "advisory": ("is shown only", "are shown only"),
    }
    groups = {tier: [name for name, m in report.measurements.items() if m.tier == tier] for tier in does}
    return "; ".join(
        f"{listed(names)} ({tier}) {does[tier][len(names) > 1]}" for tier, names in groups.items() if names
    )


def not_gated(report: Report) -> str:
    """What an allow says nothing about: kinds that are not measured, not applicable or advisory, and what none covers.

    It follows from the measurements, which are verified, so that no report can leave it out.
    """
    shown = report.measurements.items()
    gating = {m.kind or name for name, m in shown if m.gates and m.status != "not_applicable"}
    return f"Not gated here: {', '.join(registry.not_gated(gating))}."


def abbreviations(report: Report) -> str:
    """What ECE means, where a number in the tables is one."""
    if not any(numbers.kind(m.unit) == "ece" for m in report.measurements.values()):
        return ""
    name = "ECE: " if numbers.ECE in explanation(report) else "ECE: the expected calibration error, "
    return (
        f"{name}how far confidence is from accuracy on average. Its change leaves out what chance adds to both "
        "numbers, so it is not exactly their difference."
    )


def below(report: Report) -> list[str]:
    """What is said below a table that has no room for it: which measurements do not block, and what is not gated."""
    return [*filter(None, [tiers(report), abbreviations(report)]), not_gated(report)]
