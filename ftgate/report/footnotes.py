"""What is said below a table of measurements: tiers, scales, and what is not gated. Not escaped yet."""

from __future__ import annotations

from ftgate.measurements import registry
from ftgate.report import deployed, numbers, tables
from ftgate.report.explanation import LIKELY, explanation, listed
from ftgate.report.schema import Report

SMALLEST_FLOOR = 0.0005
"""A judge's floor that is shown: from 0.1 of 100 on, as rounded."""

_CORRECTED = ", corrected for chance"
_CORRECTED_BOTH = "; its change is corrected for chance, so it is not exactly their difference"


def tiers(report: Report) -> str:
    """Which measurements do not block, and what they do instead; empty if all do."""
    does = {
        "supporting": ("holds instead of blocking", "hold instead of blocking"),
        "advisory": ("is shown only", "are shown only"),
    }
    groups = {
        tier: [numbers.in_sentence(name) for name, m in report.measurements.items() if m.tier == tier] for tier in does
    }
    text = "; ".join(
        f"{listed(names)} ({tier}) {does[tier][len(names) > 1]}" for tier, names in groups.items() if names
    )
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def not_gated(report: Report) -> str:
    """What an allow does not cover: kinds that are not measured, not applicable or advisory, and what none covers.

    It follows from the measurements, which are verified, so that no report can leave it out.
    """
    shown = report.measurements.items()
    gating = {m.kind or name for name, m in shown if m.gates and m.status != "not_applicable"}
    return f"This verdict does not cover: {', '.join(registry.not_gated(gating))}."


def scales(report: Report, *, errors: bool = True) -> str:
    """What the numbers of the tables are shares and points of, and what ECE means.

    ``errors``: the table shows both models' calibration errors, and not only the change.
    """
    units = {m.unit for m in report.measurements.values()}
    units |= {m.incumbent.unit for m in report.measurements.values() if m.incumbent is not None}
    kinds = {numbers.kind(unit) for unit in units}
    parts = ["The base is the model before fine-tuning."]
    parts += [f"The {LIKELY} is the {tables.interval_heading(report)} of the table."] * (LIKELY in explanation(report))
    parts += ["Scores are out of 100."] if kinds & {"drop", "gain", "loss"} else []
    if "drop" in kinds:
        of_whom = "the base's or the deployed model's" if deployed.compared(report) else "the base's"
        parts.append(f"A loss or gain in % is a share of {of_whom} score{_floors(report)}.")
    if "ece" in kinds:
        parts.append(
            "Confidence error is the gap between how sure a model is and how often it is right, by level of confidence "
            f"(expected calibration error, ECE){_CORRECTED_BOTH if errors else _CORRECTED}."
        )
    return " ".join(parts)


def _floors(report: Report) -> str:
    """What a judge gives even to worthless answers, above which scores count; empty where that is nothing."""
    floors = {
        numbers.in_sentence(name): numbers.decimal(100 * floor, 1)
        for name, m in report.measurements.items()
        if (floor := numbers.finite(m.details.get("judge_floor")) or 0.0) >= SMALLEST_FLOOR
    }
    if not floors:
        return ""
    above = listed([f"on {name} of what lies above {floor}" for name, floor in floors.items()])
    return f", {above}, which the judge gives even to worthless answers"


def below(report: Report, *, errors: bool = True) -> list[str]:
    """What is said below a table: which measurements do not block, what the numbers mean, and what is not gated."""
    return [*filter(None, [tiers(report), scales(report, errors=errors)]), not_gated(report)]
