"""Whether a measurement can pass at all with the rows that it is given, before anything is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ftgate.domain import Item
from ftgate.measurements.base import Measurement
from ftgate.measurements.estimate import LEAST_GRADED
from ftgate.stats.bootstrap import MIN_CLUSTERS
from ftgate.stats.power import evidence_floor


def least_items(measurement: Measurement, alpha: float, *, judged: bool) -> int:
    """The least number of items that decide with which the measurement can pass (methods: section 1).

    ``alpha`` is the one-sided error of all looks together, ``judged`` whether a judge grades some of the items.
    """
    facts = measurement.power_facts()
    floor = evidence_floor(facts.floor, alpha) if facts.floor is not None else 1
    return max(floor, facts.least_items, LEAST_GRADED if judged and facts.change != "ece" else 1)


def shortage(measurement: Measurement, items: Sequence[Item], alpha: float, *, trained: bool) -> str | None:
    """Why the measurement can never pass with ``items`` and what to do, in rows of its suite; None if it can.

    ``items`` are all that it may ask about, ``trained`` says whether the manifest names training data.
    """
    m, rows = measurement, len(items)
    least, deciding = least_items(m, alpha, judged=m.judges(items)), m.items_that_decide(items, trained=trained)
    if deciding < least:
        graded = " that a judge grades" if least == LEAST_GRADED and m.judges(items) else ""
        have = f"{rows} rows" if deciding == rows else f"{deciding} of its {rows} rows {m.part}"
        need = f"at least {least}{graded}"
        needed_rows = math.ceil(least * rows / deciding) if deciding else None
        return _sentence(m, f"it has {have}, and a pass needs {need}", rows, needed_rows)
    names = {item.cluster for item in items if item.cluster}
    clusters = len(names) + sum(not item.cluster for item in items)
    if m.clustered and names and clusters < MIN_CLUSTERS:
        have = f"its {rows} rows form {clusters} clusters"
        return _sentence(m, f"{have}, and a pass needs at least {MIN_CLUSTERS}", rows, None, "rows of more clusters")
    return None


def _sentence(m: Measurement, why: str, rows: int, needed: int | None, what: str = "rows that decide") -> str:
    capped = (m.n_max or m.n) == rows
    more = f"add {what}" if needed is None else f"raise n to {needed:,}" if capped else f"give it {needed:,} rows"
    return f"measurements.{m.name} can never pass: {why}; {more}{f', or {m.more_rows}' if m.more_rows else ''}"
