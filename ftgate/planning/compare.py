"""Several runs side by side: who may merge, who is on the Pareto front of gain against loss, what the best is worth.

Changes are measured against a base, on suites, and judged by a policy. Runs that differ in one of these are shown in
groups of their own and never compared with each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ftgate.errors import ConfigurationError
from ftgate.jobs.checked_report import CheckedReport, checked_report
from ftgate.planning.confirm import Confirmation, TargetItem, confirm
from ftgate.report import deployed, numbers
from ftgate.report.items import ItemRow, read_items
from ftgate.report.schema import MeasurementReport, Report, mapping

TARGET = "target"
BEST_FIRST = ("allow", "warn", "hold", "block")
"""The order of outcomes in a comparison."""
MOST_NAMED = 3
"""Folders that a note names."""
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
    notes: tuple[str, ...] = ()
    """What was checked of the reports, and which folders hold one run or one candidate."""

    @property
    def contenders(self) -> list[Contender]:
        """All runs: those that may merge first."""
        return sorted((c for group in self.groups for c in group.contenders), key=_place)


def compare_runs(folders: Sequence[Path], seed: int = 0) -> RunComparison:
    """Compare the runs in ``folders``, each once.

    Raises ConfigurationError for fewer than two, without a report, for one that contradicts itself or its policy, or if
    one policy has two limits for a measurement.
    """
    distinct = list({folder.resolve(): folder for folder in reversed(folders)}.values())[::-1]
    read = [checked_report(folder / "report.json") for folder in distinct]
    runs, copies = _without_copies(read)
    if len(runs) < 2:
        raise _too_few(folders, runs, copies)
    reports = [(run.folder, run.report) for run in runs]
    _require_limits_of_policy(reports)
    notes = (*copies, *_judged_twice(reports), _checked(runs))
    return replace(compare_reports(reports, seed), notes=notes)


def _without_copies(read: Sequence[CheckedReport]) -> tuple[list[CheckedReport], list[str]]:
    """The runs, each once, and what to say of folders with a report that is also in another one."""
    runs: list[CheckedReport] = []
    copies = []
    for one in read:
        first = next((other for other in runs if other.report == one.report), None)
        if first is None:
            runs.append(one)
        else:
            copies.append(f"{one.folder} holds the same run as {first.folder}, and is left out.")
    return runs, copies


def _too_few(folders: Sequence[Path], runs: Sequence[CheckedReport], copies: Sequence[str]) -> ConfigurationError:
    """That there are not two runs; what the only one says, and what to do."""
    if not runs:
        return ConfigurationError(
            "no run to compare", hint="name the output folders of at least two: ftgate compare out/*"
        )
    folder, report = runs[0].folder, runs[0].report
    times = {path: [other.resolve() for other in folders].count(path.resolve()) for path in folders}
    repeated = [f"{path} is named {count} times" for path, count in times.items() if count > 1][:1]
    why = "; ".join([*repeated, *(copy.rstrip(".") for copy in copies)])
    return ConfigurationError(
        f"one run to compare{f': {why}' if why else ''}: {report.name!r:.80}, whose verdict is {report.verdict}",
        hint=f"`ftgate report {folder}` shows it; to compare, name the folder of another run too: ftgate compare out/*",
    )


def _judged_twice(reports: Sequence[tuple[Path, Report]]) -> list[str]:
    """Which folders hold one candidate, by the digest of its files: one run that was decided again, or several runs."""
    judged: dict[str, list[tuple[Path, Report]]] = {}
    for folder, report in reports:
        if digest := mapping(report.provenance.get("candidate")).get("digest"):
            judged.setdefault(str(digest), []).append((folder, report))
    several = {digest: runs for digest, runs in judged.items() if len(runs) > 1}
    return [
        f"{_some([folder for folder, _ in runs])} hold {_how_often([report for _, report in runs])}, {digest[:19]}."
        for digest, runs in several.items()
    ]


def _how_often(reports: Sequence[Report]) -> str:
    starts = {str(report.provenance.get("started")) for report in reports}
    return ("different runs" if len(starts) > 1 else "one run, decided more than once,") + " of one candidate"


def _checked(runs: Sequence[CheckedReport]) -> str:
    """What was checked of all runs, and what was not, in one line."""
    without = [run.folder for run in runs if run.policy is None]
    line = "Checked: each verdict against its numbers"
    line += ", limits and tiers of its policy" if len(without) < len(runs) else ""
    missing = f"limits and tiers of {_some(without)} (no policy at hand), " if without else ""
    return f"{line}. Not checked: {missing}the numbers against the answers (ftgate decide FOLDER)."


def _some(folders: Sequence[Path]) -> str:
    """The folders, of many the first ones."""
    more = f" and {len(folders) - MOST_NAMED} more" if len(folders) > MOST_NAMED else ""
    return ", ".join(map(str, folders[:MOST_NAMED])) + more


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
