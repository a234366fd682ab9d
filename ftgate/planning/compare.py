"""Several runs side by side: who may merge, who is on the Pareto front of gain against loss, what the best is worth.

Changes are measured against a base, on suites, and judged by a policy. Runs that differ in one of these are shown in
groups of their own and never compared with each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ftgate.errors import ConfigurationError
from ftgate.planning.confirm import Confirmation, TargetItem, confirm
from ftgate.report import deployed, numbers
from ftgate.report.items import ItemRow, read_items
from ftgate.report.reading import read_report
from ftgate.report.schema import MeasurementReport, Report, mapping

TARGET = "target"
BEST_FIRST = ("allow", "warn", "hold", "block")
"""The order of outcomes in a comparison."""
GROUPED_BY = ("base", "policy", "suites")


@dataclass(frozen=True, slots=True)
class Contender:
    """One run of a comparison. ``label`` is its name, unique among the others."""

    folder: Path
    label: str
    report: Report
    items: Mapping[str, TargetItem] = field(default_factory=dict)
    """Those of the target task that count, by id."""

    @property
    def gain(self) -> float | None:
        """Its change on the target task, in [-1, 1]; None if that was not measured."""
        target = next((m for name, m in self.report.measurements.items() if is_target(name, m)), None)
        return None if target is None else target.change

    @property
    def losses(self) -> Mapping[str, float]:
        """Its losses as shares of their limits, by measurement: 1 is at the limit, below 0 nothing was lost."""
        shares = {name: _share(name, m) for name, m in self.report.measurements.items()}
        return {name: share for name, share in shares.items() if share is not None}

    @property
    def loss(self) -> float | None:
        """The largest of its losses; None if none was measured."""
        return max(self.losses.values(), default=None)

    @property
    def choosable(self) -> bool:
        """Whether it is a candidate for the best, which its target scores must not decide."""
        if self.report.verdict != "block":
            return True
        blocking = {name for name, m in self.report.measurements.items() if m.blocks}
        blocking |= {name for name, _ in deployed.blocking(self.report)}
        return bool(blocking) and all(is_target(name, self.report.measurements[name]) for name in blocking)


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one base, under one policy, on the same suites: those that may merge first, else as they were named."""

    contenders: tuple[Contender, ...]
    differs: tuple[str, ...]
    """In what it differs from the first group: ``base``, ``policy``, ``suites``."""
    front: frozenset[str]
    """Labels of the runs, of those that are not blocked, that no other one beats in both gain and loss."""
    confirmation: Confirmation | None
    unconfirmed: str
    """Why there is no confirmation; empty if there is one."""


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Runs in groups, in the order in which they were named."""

    groups: tuple[Group, ...]

    @property
    def contenders(self) -> list[Contender]:
        """All runs: those that may merge first."""
        return sorted((c for group in self.groups for c in group.contenders), key=_place)


def compare_runs(folders: Sequence[Path], seed: int = 0) -> RunComparison:
    """Compare the runs in ``folders``, each once.

    Raises ConfigurationError for fewer than two, without a report, or if one policy has two limits for a measurement.
    """
    distinct = list({folder.resolve(): folder for folder in reversed(folders)}.values())[::-1]
    if len(distinct) < 2:
        what = "no run" if not folders else "one run"
        again = f": {folders[0]} is named {len(folders)} times" if len(folders) > 1 else ""
        raise ConfigurationError(
            f"{what} to compare{again}", hint="name the output folders of at least two: ftgate compare out/*"
        )
    reports = [(folder, read_report(folder / "report.json")) for folder in distinct]
    _require_limits_of_policy(reports)
    return compare_reports(reports, seed)


def _require_limits_of_policy(reports: Sequence[tuple[Path, Report]]) -> None:
    """Raise ConfigurationError if two reports name one policy, and differ in a limit: one of them was edited."""
    first: dict[tuple[str, str, str], tuple[Path, Mapping[str, float]]] = {}
    for folder, report in reports:
        policy = report.provenance.get("policy_sha256")
        for name, m in report.measurements.items() if policy else ():
            other, limits = first.setdefault((str(policy), name, m.unit), (folder, m.limits))
            if limits != m.limits:
                raise ConfigurationError(
                    f"{folder}: measurements.{name}: its limits differ from those in {other}, and both name the policy "
                    f"{str(policy)[:12]}: one of the two was edited",
                    hint="decide both again from their answers: ftgate decide FOLDER",
                )


def compare_reports(reports: Sequence[tuple[Path, Report]], seed: int = 0) -> RunComparison:
    """Compare runs, given as folder and report. The items are read from the folder, if they are there."""
    names = [report.name for _, report in reports]
    contenders = [
        Contender(
            folder,
            report.name if names.count(report.name) == 1 else f"{report.name} ({folder})",
            report,
            _target_items(report, read_items(folder)),
        )
        for folder, report in reports
    ]
    groups: dict[tuple[str, ...], list[Contender]] = {}
    for contender in contenders:
        groups.setdefault(identity(contender), []).append(contender)
    first = next(iter(groups))
    return RunComparison(tuple(_group(members, key, first, seed) for key, members in groups.items()))


def identity(contender: Contender) -> tuple[str, ...]:
    """What must be the same for two runs to be compared: the digests of ``GROUPED_BY``.

    A server's model has no digest, so its reference and address stand for it. What a report does not say is like
    nothing else: its label stands for it.
    """
    facts = contender.report.provenance
    base = mapping(facts.get("base"))
    own = f"of {contender.label}"
    suites = sorted((name, str(mapping(suite).get("sha256"))) for name, suite in mapping(facts.get("suites")).items())
    return str(base.get("digest") or dict(base) or own), str(facts.get("policy_sha256") or own), str(suites or own)


def pareto_front(points: Sequence[tuple[float | None, float | None]]) -> frozenset[int]:
    """The places of (gain, loss) that no other point beats: gains at least as much, loses no more, and one strictly.

    Points without one of the two numbers are never on it, and beat nothing.
    """
    whole = {at: (gain, -loss) for at, (gain, loss) in enumerate(points) if gain is not None and loss is not None}

    def beats(other: tuple[float, float], point: tuple[float, float]) -> bool:
        return other != point and other[0] >= point[0] and other[1] >= point[1]

    return frozenset(at for at, point in whole.items() if not any(beats(other, point) for other in whole.values()))


def is_target(name: str, m: MeasurementReport) -> bool:
    """Whether a measurement is of the task that the candidate is for."""
    return (m.kind or name) == TARGET


def _group(members: Sequence[Contender], key: tuple[str, ...], first: tuple[str, ...], seed: int) -> Group:
    contenders = tuple(sorted(members, key=_place))
    able = [c for c in contenders if c.report.verdict != "block"]
    front = pareto_front([(c.gain, c.loss) for c in able])
    best = confirm({c.label: c.items for c in members if c.choosable and c.items}, seed)
    confirmation, why = (best, "") if isinstance(best, Confirmation) else (None, best)
    differs = tuple(what for what, own, other in zip(GROUPED_BY, key, first, strict=True) if own != other)
    return Group(contenders, differs, frozenset(able[at].label for at in front), confirmation, why)


def _place(contender: Contender) -> int:
    return BEST_FIRST.index(numbers.outcome(contender.report))


def _share(name: str, m: MeasurementReport) -> float | None:
    limit = m.limits.get("block")
    if is_target(name, m) or not m.gates or m.worse != "up" or m.change is None or not limit:
        return None
    return None if m.status == "not_applicable" else m.change / limit


def _target_items(report: Report, rows: Sequence[ItemRow]) -> dict[str, TargetItem]:
    """The items of the target task that count and that both models answered."""
    name = next((name for name, m in report.measurements.items() if is_target(name, m)), "")
    return {
        row.item: TargetItem(row.base.score, row.candidate.score, row.cluster)
        for row in rows
        if row.measurement == name
        and row.outcome in ("worse", "better", "same")
        and row.base.score is not None
        and row.candidate.score is not None
    }
