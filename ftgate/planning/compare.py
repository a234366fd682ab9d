"""Several runs side by side: who is on the Pareto front of gain against loss, and whether the best one is best.

The best of several candidates was also the luckiest, so that its own gain overstates what it is worth. Half of the
items choose it, and its gain is measured on the other half, which did not (data splitting, Cox 1975).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ftgate.errors import ConfigurationError
from ftgate.planning.inputs import read_earlier
from ftgate.report.items import read_items
from ftgate.report.schema import MeasurementReport, Report, read_report
from ftgate.stats.bootstrap import resampled_difference
from ftgate.stats.seeding import drawn_order, generator

TARGET = "target"
NOT_COUNTED = ("failed", "left out")
LEAST_ITEMS = 40
"""Common items below which halves are too small to say anything."""
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Contender:
    """One run of a comparison."""

    folder: Path
    report: Report
    gains: Mapping[str, tuple[float, float]]
    """The scores of base and candidate by item of the target suite."""

    @property
    def gain(self) -> float | None:
        """Its change on the target task, in [-1, 1]; None if that was not measured."""
        target = self.report.measurements.get(TARGET)
        return None if target is None else target.change

    @property
    def loss(self) -> float | None:
        """The largest share of a limit that a loss takes up: 1 is at the limit, below 0 nothing was lost."""
        shares = [share for name, m in self.report.measurements.items() if (share := _share(name, m)) is not None]
        return max(shares, default=None)


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The gain of the candidate that half of the items chose, on the ``n`` items of the other half."""

    name: str
    chosen_gain: float
    gain: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Runs in the order in which they were named, which of them are on the front, and the confirmed best one."""

    contenders: tuple[Contender, ...]
    front: frozenset[int]
    """Places of the runs that no other one beats in both gain and loss."""
    confirmation: Confirmation | None
    unconfirmed: str
    """Why there is no confirmation; empty if there is one."""


def compare_runs(folders: Sequence[Path], seed: int = 0) -> RunComparison:
    """Compare the runs in ``folders``. Raises ConfigurationError for fewer than two, or for runs of different bases."""
    if len(folders) < 2:
        raise ConfigurationError(f"{len(folders)} run to compare", hint="name the output folders of at least two")
    contenders = [Contender(folder, read_report(folder / "report.json"), _gains(folder)) for folder in folders]
    _require_one_base(contenders)
    best = _confirmed(contenders, seed)
    confirmation, why = (best, "") if isinstance(best, Confirmation) else (None, best)
    return RunComparison(tuple(contenders), pareto_front([(c.gain, c.loss) for c in contenders]), confirmation, why)


def _gains(folder: Path) -> Mapping[str, tuple[float, float]]:
    """Both models' scores by item of the target suite. What `ftgate decide` wrote has no journal, but every item."""
    if (folder / "answers.jsonl").is_file():
        return read_earlier(folder).scores.get(TARGET, {})
    rows = (row for row in read_items(folder) if row.measurement == TARGET and row.outcome not in NOT_COUNTED)
    sides = {row.item: (row.base.score, row.candidate.score) for row in rows}
    return {item: (b, c) for item, (b, c) in sides.items() if b is not None and c is not None}


def pareto_front(points: Sequence[tuple[float | None, float | None]]) -> frozenset[int]:
    """The places of (gain, loss) that no other point beats: gains at least as much, loses no more, and one strictly.

    Points without one of the two numbers are never on it, and beat nothing.
    """
    whole = {at: (gain, -loss) for at, (gain, loss) in enumerate(points) if gain is not None and loss is not None}

    def beats(other: tuple[float, float], point: tuple[float, float]) -> bool:
        return other != point and other[0] >= point[0] and other[1] >= point[1]

    return frozenset(at for at, point in whole.items() if not any(beats(other, point) for other in whole.values()))


def _share(name: str, m: MeasurementReport) -> float | None:
    limit = m.limits.get("block")
    if name == TARGET or m.worse != "up" or m.change is None or not limit or m.status == "not_applicable":
        return None
    return m.change / limit


def _require_one_base(contenders: Sequence[Contender]) -> None:
    bases = [dict(c.report.provenance.get("base") or {}).get("digest") for c in contenders]
    for contender, base in zip(contenders, bases, strict=True):
        if base != bases[0]:
            raise ConfigurationError(
                f"{contender.folder} was compared with another base than {contenders[0].folder}",
                hint="compare runs of one base: gains over different ones do not compare",
            )


def _confirmed(contenders: Sequence[Contender], seed: int) -> Confirmation | str:
    """The candidate that gains most on one half of the common items, with its gain on the other; or why there is none.

    Blocked candidates are not chosen.
    """
    able = [c for c in contenders if c.report.verdict != "block" and c.gains]
    if len(able) < 2:
        return "fewer than two candidates that were not blocked have target scores, so nothing was chosen"
    items = sorted(set.intersection(*(set(c.gains) for c in able)))
    if len(items) < LEAST_ITEMS:
        return f"they have {len(items)} target items in common, and halves of fewer than {LEAST_ITEMS} say little"
    order = [items[at] for at in drawn_order(seed, "compare", items)]
    choosing, confirming = order[: len(order) // 2], order[len(order) // 2 :]
    scores = {at: np.array([c.gains[item] for item in choosing], dtype=np.float64) for at, c in enumerate(able)}
    gains = {at: float((table[:, 1] - table[:, 0]).mean()) for at, table in scores.items()}
    best = max(gains, key=lambda at: (gains[at], -at))
    table = np.array([able[best].gains[item] for item in confirming], dtype=np.float64)
    rng = generator(seed, "compare")
    interval = resampled_difference(table[:, 0], table[:, 1], rng).interval(ALPHA)
    name = able[best].report.name
    return Confirmation(name, gains[best], interval.estimate, interval.low, interval.high, len(confirming))
