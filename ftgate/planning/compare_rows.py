"""What a comparison shows, as short strings for the terminal and the page. Not escaped yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ftgate.measurements.registry import in_order
from ftgate.planning.compare import Contender, Group, RunComparison, is_target
from ftgate.planning.confirm import LEVEL
from ftgate.report import deployed, numbers, tables
from ftgate.report.explanation import listed
from ftgate.report.schema import IncumbentReport, MeasurementReport, Report, mapping
from ftgate.scoring import amounts

FRONT = (
    "No other run beats a best trade-off: none gains at least as much on the task and loses no more. "
    "What a run loses is the largest share of a limit that it uses up. Runs that are blocked do not take part."
)


STATUS_OF = {"allow": "pass", "warn": "warn", "hold": "inconclusive", "block": "block"}
"""The status of a measurement that has the colour and shape of an outcome."""


MOST_OF_A_NAME = 72
"""Characters of a name that are shown."""


def shown(label: str, most: int = MOST_OF_A_NAME) -> str:
    """A run's label, of a long one the beginning and the end: what tells runs apart stands there."""
    half = most // 2
    return label if len(label) <= most else f"{label[:half]}…{label[1 - half :]}"


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement of one run: its worst status, change and interval, and the change against the deployed model."""

    status: str
    sign: str
    change: str
    interval: str
    spread: str
    """The interval beside its change, without what both share."""
    deployed: str
    """Empty unless there is a deployed model."""
    deployed_fails: bool
    tier: str
    """Empty for a blocking measurement."""


def headline(comparison: RunComparison) -> str:
    """``1 of 8 may merge: careful``."""
    runs = comparison.contenders
    able = [shown(c.label) for c in runs if c.report.verdict == "allow"]
    names = f": {listed(able)}" if able else ""
    return f"{len(able) or 'None'} of {len(runs)} may merge{names}"


def verdict(report: Report) -> str:
    """``✓ May merge``: what the run's verdict means, as in its comment."""
    outcome = numbers.outcome(report)
    return f"{numbers.SYMBOLS[outcome]} {numbers.HEADLINES[outcome]}"


def why(contender: Contender) -> str:
    """What decided, and for a candidate that may merge what it costs."""
    report = contender.report
    if report.verdict == "allow":
        return _costs(contender)
    decided = list(_decided(report))
    if not decided:
        return "; ".join(report.reasons[:1]) or "nothing was measured"
    also = f"; also {listed(decided[1:])}" if len(decided) > 1 else ""
    return f"{_sentence(report, decided[0])}{also}"


def measurements(group: Group) -> list[str]:
    """The names of all measurements in a group, in the order of reports."""
    return in_order({name: m.kind or name for c in group.contenders for name, m in c.report.measurements.items()})


def heading(group: Group, name: str) -> tuple[str, str]:
    """A measurement's title and the unit of its changes."""
    m = next(c.report.measurements[name] for c in group.contenders if name in c.report.measurements)
    units = {"drop": "% of base", "rise": "points", "other": m.unit}
    return numbers.title(name, m.kind), units.get(numbers.kind(m.unit), "points")


def caption(group: Group) -> str:
    """What the plot of a group shows: the line of best trade-offs only where it has one."""
    line = "The dashed line joins the best trade-offs. " if len(group.front) > 1 else ""
    elsewhere = (
        "A cross left of the limit is blocked by something else than its losses against the base: it says what. "
    )
    others = elsewhere if any(blocked_by(c) for c in group.contenders) else ""
    return f"Up is better, left is better. ● may merge, ✕ blocked, ○ on hold. {others}{line}{FRONT}"


def blocked_by(contender: Contender) -> str:
    """What blocks a run whose losses against the base are all within their limits; empty if that is not so."""
    report = contender.report
    if report.verdict != "block" or (contender.loss or 0.0) > 1:
        return ""
    if deployed.blocking(report):
        return deployed.HEADING
    return "gains too little" if any(is_target(n, m) and m.blocks for n, m in report.measurements.items()) else ""


def cell(m: MeasurementReport | None) -> Cell | None:
    """The cell of a measurement; None if the run did not make it."""
    if m is None:
        return None
    part = m.incumbent
    against = "" if part is None else numbers.change_and_interval(part.change, part.interval, part.unit)
    status = min((m.status, *_status_of(part)), key=tables.WEIGHT.index)
    tier = "" if m.tier == "blocking" else m.tier
    change, spread = numbers.change(m.change, m.unit), numbers.interval(m.interval, m.unit)
    fails = bool(set(_status_of(part)) & {"block", "inconclusive", "error"})
    beside = amounts.beside(m.change, m.interval, m.unit)
    return Cell(status, numbers.SYMBOLS[status], change, spread, beside, against, fails, tier)


def limit(group: Group, name: str) -> str:
    """The limit of a measurement, which all runs of a group share."""
    m = next(c.report.measurements[name] for c in group.contenders if name in c.report.measurements)
    return numbers.limit(m.limits, m.unit, short=True)


def short_limit(group: Group, name: str) -> str:
    """The limit of a measurement where there is little room: ``< 10 %``."""
    m = next(c.report.measurements[name] for c in group.contenders if name in c.report.measurements)
    return numbers.compact_limit(m.limits, m.unit)


def level(group: Group) -> str:
    """``90 % intervals``, or with each measurement's where levels differ."""
    levels: dict[float, list[str]] = {}
    for c in group.contenders:
        for name, m in c.report.measurements.items():
            titles = levels.setdefault(m.level, [])
            titles += [title for title in [numbers.in_sentence(name)] if title not in titles]
    if len(levels) <= 1:
        return f"{numbers.level(next(iter(levels), LEVEL))} intervals"
    return "intervals: " + ", ".join(f"{numbers.level(value)} for {listed(names)}" for value, names in levels.items())


def base(group: Group) -> str:
    """The base of a group, as the manifests name it, with the beginning of its digest."""
    model = mapping(group.contenders[0].report.provenance.get("base"))
    names = [str(part) for part in (model.get("reference") or model.get("name"), model.get("digest")) if part]
    return " ".join(numbers.digest(name) for name in names) or "unknown base"


def policy(group: Group) -> str:
    """The policy of a group, with the beginning of its digest."""
    facts = group.contenders[0].report.provenance
    return " ".join(numbers.digest(str(facts[key])) for key in ("policy", "policy_sha256") if facts.get(key))


def apart(comparison: RunComparison) -> str:
    """Why runs are in several groups; empty for one."""
    differs = list(dict.fromkeys(what for group in comparison.groups for what in group.differs))
    if not differs:
        return ""
    what = {"base": "their base", "policy": "their policy", "suites": "their suites"}
    return (
        f"The runs are in {len(comparison.groups)} groups, as they differ in {listed([what[d] for d in differs])}. "
        "Changes are never compared between groups: each is against its own base, on its own suites."
    )


def differs(group: Group) -> str:
    """In what a group differs from the first: ``other base and other policy``."""
    return listed([f"other {what}" for what in group.differs])


def trade_offs(group: Group) -> str:
    """Which runs no other one beats; empty for a group of one, or where all are blocked."""
    names = [shown(c.label) for c in group.contenders if c.label in group.front]
    if len(group.contenders) < 2 or not names:
        return ""
    return f"Best trade-off{'s' * (len(names) > 1)} between gain and loss: {listed(names)}."


def selection(group: Group) -> str:
    """What the best run is worth, on the items that did not choose it; empty for a group of one."""
    best = group.confirmation
    if len(group.contenders) < 2:
        return ""
    if best is None:
        return f"The best run's gain was not measured a second time: {group.unconfirmed}."
    name, among = shown(best.name), listed([shown(each) for each in best.among])
    chosen, gain = (numbers.change(value, "absolute gain") for value in (best.chosen_gain, best.gain))
    spread = numbers.interval((best.low, best.high), "absolute gain")
    return (
        "What the best is worth: the best of several was also the luckiest, so its own gain says too much. Half of "
        f"the task's items chose {name} among {among}: {chosen}. The other half, {best.n} items that "
        f"had no say, confirms: {gain} ({numbers.level(LEVEL)} interval: {spread})."
    )


def _costs(contender: Contender) -> str:
    report, losses = contender.report, contender.losses
    warned = [numbers.title(n, m.kind) for n, m in report.measurements.items() if m.gates and m.status == "warn"]
    lead = f"warning on {listed(warned)}" if warned else "all within their limits"
    name = max(losses, key=lambda name: losses[name], default="")
    if not name or losses[name] <= 0:
        return f"{lead}; nothing lost"
    m = report.measurements[name]
    return f"{lead}; loses most in {numbers.title(name, m.kind)}: {_of(name, m)}"


def _decided(report: Report) -> Iterator[str]:
    """What decided: titles of measurements, the gravest first, then those against the deployed model."""
    wanted = {"block": ("block",), "hold": ("block", "inconclusive", "error")}[report.verdict]
    named = [(n, m) for n, m in tables.by_weight(report) if m.gates and m.status in wanted]
    named = [(n, m) for n, m in named if m.blocks] or named
    against = deployed.blocking(report) if report.verdict == "block" else deployed.failing(report)
    yield from (numbers.title(n, m.kind) for n, m in named)
    yield from (f"{numbers.title(n)} {deployed.HEADING}" for n, _ in against)


def _sentence(report: Report, decided: str) -> str:
    """What is wrong with the first thing that decided."""
    for name, part in deployed.failing(report):
        if decided == f"{numbers.title(name)} {deployed.HEADING}":
            return f"{decided}: {_against(part)}"
    name, m = next((n, m) for n, m in report.measurements.items() if numbers.title(n, m.kind) == decided)
    if m.status == "block":
        return f"{decided}: {_of(name, m)}; {amounts.allowed(m.limits, m.unit)}"
    if m.change is None or m.status == "error":
        return f"{decided}: {m.reason}"
    return f"{decided}: undecided, {numbers.interval(m.interval, m.unit)}; {amounts.allowed(m.limits, m.unit)}"


def _of(name: str, m: MeasurementReport) -> str:
    """A change, with what it is a share of or what rose."""
    text, kind = numbers.change(m.change, m.unit), numbers.kind(m.unit)
    if is_target(name, m) and text == amounts.NO_CHANGE:
        return "no better"
    more = {"rise": f" {numbers.risen(m.unit)}", "drop": f" {amounts.OF_BASE}"}.get(kind, "")
    return text if text == amounts.NO_CHANGE else f"{text}{more}"


def _against(part: IncumbentReport) -> str:
    limit = amounts.allowed({"block": part.limit}, part.unit)
    if part.status != "block":
        return f"undecided, {numbers.interval(part.interval, part.unit)}; {limit}"
    return f"{numbers.change(part.change, part.unit)}; {limit}"


def _status_of(part: IncumbentReport | None) -> Sequence[str]:
    return [] if part is None or part.cut_short_by else [part.status]
