"""The checklist line of a measurement that needs a number of items."""

from __future__ import annotations

from ftgate.domain import Estimate
from ftgate.measurements.base import ChecklistLine


def item_count_line(item: str, name: str, least_items: int, estimate: Estimate | None) -> ChecklistLine:
    """A checklist line that requires at least ``least_items`` items: planned ones, if the run stopped early."""
    if estimate is None:
        return ChecklistLine(item, False, f"the policy has no {name} measurement")
    if estimate.planned_n is None or estimate.planned_n <= estimate.n:
        return ChecklistLine(item, estimate.n >= least_items, f"{estimate.n} items")
    evidence = f"{estimate.n} of {estimate.planned_n} planned items: the run stopped early"
    return ChecklistLine(item, estimate.planned_n >= least_items, evidence)
