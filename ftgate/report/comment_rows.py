"""What the comment shows of a report, as short strings in the order of their weight. Not escaped yet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftgate.report import deployed, numbers, tables
from ftgate.report.explanation import straddles
from ftgate.report.footnotes import SMALLEST_FLOOR
from ftgate.report.items import LEAST_FLIP
from ftgate.report.schema import (
    ChecklistEntry,
    IncumbentReport,
    MeasurementReport,
    Number,
    Report,
    SliceReport,
    mapping,
)
from ftgate.scoring import amounts
from ftgate.verdict import CONTAINS_LIMIT

SHOWN_FLIPS = 3
"""At most so many answers of a measurement are shown in either direction; the page has more."""
SHOWN_PASSED = 1
"""Of a measurement that passed, fewer: they decide nothing. Those that got better are on the page."""
SMALLEST_DIFFERENCE = 0.02
"""Between a share and the one that follows from both scores: a smaller one needs no word."""
SHORT_REASON = 60
"""Characters of a reason that has room in the table."""
MOST_SLICES = 5
"""Of each measurement, those that lost most."""
_FINE = ("pass", "warn", "not_applicable")
_WORDS = {"warn": "warning", "inconclusive": "undecided", "error": "failed", "not_applicable": "not measured"}
LEAST_POINTS = f"{100 * LEAST_FLIP:.0f}"


@dataclass(frozen=True, slots=True)
class BriefRow:
    """One line of the comment's table."""

    title: str
    """With the sign of its status, and the word where the sign alone does not tell."""
    change: str
    """Both scores, and the change between them with its interval."""
    limit: str
    failing: bool


@dataclass(frozen=True, slots=True)
class BriefTable:
    """The comparison with one model: it is folded where that with the other one decided."""

    change_heading: str
    rows: Sequence[BriefRow]
    folded: str
    """What the fold is called; empty: it stands open."""


@dataclass(frozen=True, slots=True)
class WorseAnswers:
    """The answers that got worse against one model, of which the worst are shown."""

    heading: str
    """How many there are, by how much at least, and how many are shown."""
    flips: Sequence[tables.Flip]
    against: str
    """Whose answer stands beside the candidate's: ``base`` or ``deployed``."""


@dataclass(frozen=True, slots=True)
class MeasurementFold:
    """One measurement with everything that the comment says of it."""

    title: str
    heading: str
    """With the sign of its status."""
    counts: str
    """How many answers got worse and better: ``82 worse, 5 better``."""
    reason: str
    numbers: str
    notes: tuple[str, ...]
    hardest_hit: tuple[str, str] | None
    worse: Sequence[WorseAnswers]
    """Against the base, and against the deployed model where it is better: not those that stand open above."""


@dataclass(frozen=True, slots=True)
class Lead:
    """What got worse in the measurement that decided."""

    title: str
    worse: WorseAnswers
    hardest_hit: tuple[str, str] | None


@dataclass(frozen=True, slots=True)
class Checks:
    """The checklist: its state in a few words, the checks that failed, and all of them."""

    summary: str
    failed: Sequence[ChecklistEntry]
    entries: Sequence[ChecklistEntry]


def brief_tables(report: Report) -> list[BriefTable]:
    """The tables, that of the comparison that decided first: status and limit come early, for narrow screens."""
    of_base, of_deployed = _rows(report), _deployed_rows(report)
    if not of_deployed:
        return [BriefTable(f"base → candidate ({tables.interval_heading(report)})", of_base, "")]
    heading = f"base → candidate ({tables.interval_heading(report)})"
    levels = {m.incumbent.level for m in report.measurements.values() if m.incumbent is not None}
    spread = f"{numbers.level(levels.pop())} interval" if len(levels) == 1 else "interval"
    decided_by_deployed = deployed_decides(report)
    base = BriefTable(heading, of_base, _fold("the base", of_base) if decided_by_deployed else "")
    folded = "" if decided_by_deployed else _fold("the deployed model", of_deployed)
    rival = BriefTable(f"deployed → candidate ({spread})", of_deployed, folded)
    return [rival, base] if decided_by_deployed else [base, rival]


def _fold(model: str, compared: Sequence[BriefRow]) -> str:
    """What the fold of a table is called; empty where a row fails, which no fold may hide."""
    if any(row.failing for row in compared):
        return ""
    return f"Against {model}: {len(compared)} of {len(compared)} within the limits"


def _rows(report: Report) -> list[BriefRow]:
    return [
        BriefRow(
            title=_with_status(name, m, m.status, _undecided(m)),
            change=_change(m.base, m.candidate, m.change, m.interval, m.unit, _floor(m)),
            limit=_limit(m.limits, m.unit),
            failing=m.status not in _FINE,
        )
        for name, m in tables.by_weight(report)
    ]


def _deployed_rows(report: Report) -> list[BriefRow]:
    compared = [(name, m, m.incumbent) for name, m in report.measurements.items() if m.incumbent is not None]
    compared.sort(key=lambda entry: tables.WEIGHT.index(entry[2].status))
    return [
        BriefRow(
            title=_with_status(name, m, part.status, "not finished" if part.cut_short_by else ""),
            change=_change(part.score, part.candidate, part.change, part.interval, part.unit, _floor(m)),
            limit=_limit({"block": part.limit}, part.unit),
            failing=part.status not in _FINE,
        )
        for name, m, part in compared
    ]


def deployed_decides(report: Report) -> bool:
    """Whether the comparison with the incumbent decided, and not that with the base."""
    against_base = any(m.gates and m.status not in _FINE for m in report.measurements.values())
    return bool(deployed.failing(report)) and not against_base


def _with_status(name: str, m: MeasurementReport, status: str, instead: str = "") -> str:
    """The title with the sign of its status and a word for it; ``instead`` is a better one."""
    words = [instead or _WORDS.get(status, "")] * (status in _WORDS) + [m.tier] * (m.tier != "blocking")
    return f"{numbers.EMOJI[status]} {numbers.title(name, m.kind)}" + (f" ({', '.join(words)})" if words else "")


def _undecided(m: MeasurementReport) -> str:
    """Why a measurement is undecided, where its interval does not show it; empty otherwise."""
    if m.cut_short_by:
        return "not finished"
    if m.status != "inconclusive" or straddles(m) or CONTAINS_LIMIT in m.reason:
        return ""
    if m.least_n is not None and m.n < m.least_n:
        return f"undecided, too few items: {numbers.count(m.n)} of {numbers.count(m.least_n)}"
    reason = re.split(r"[:;]", m.reason)[0].strip()
    return f"undecided: {reason}" if 0 < len(reason) <= SHORT_REASON else ""


def _limit(limits: Mapping[str, float], unit: str) -> str:
    """The limit that blocks: the one that warns is among the details."""
    return numbers.limit(limits, unit, short=True)


def sections(report: Report) -> list[MeasurementFold]:
    """All measurements, those that decided first."""
    first = lead(report)
    named = tables.by_weight(report)
    if deployed_decides(report):
        failing = [name for name, _ in deployed.failing(report)]
        named.sort(key=lambda entry: failing.index(entry[0]) if entry[0] in failing else len(failing))
    return [_section(report, name, m, first) for name, m in named]


def lead(report: Report) -> Lead | None:
    """The measurement that decided, if it did not simply pass and answers got worse; None otherwise."""
    if deployed_decides(report):
        name, part = deployed.failing(report)[0]
        m = report.measurements[name]
        worse, hit = _worse(m, part), None
        title = f"{numbers.title(name, m.kind)}, {deployed.HEADING}"
    else:
        named = next(iter(tables.by_weight(report)), None)
        if named is None or not named[1].gates or named[1].status in ("pass", "not_applicable"):
            return None
        worse, hit = _worse(named[1]), _hardest_hit(report, *named)
        title = numbers.title(named[0], named[1].kind)
    return Lead(title, worse, hit) if worse.flips else None


def checks(report: Report) -> Checks:
    """The checklist with its state: ``9 of 9 checks OK``."""
    entries = report.checklist[:40]
    checked = [entry for entry in entries if entry.ok is not None]
    done = sum(entry.ok is True for entry in checked)
    skipped = len(entries) - len(checked)
    summary = f"{done} of {len(entries)} checks OK" + (f", {skipped} not made" if skipped else "")
    return Checks(summary, [entry for entry in checked if entry.ok is False], entries)


def identity(report: Report) -> list[tuple[str, str]]:
    """What was judged, by what, and on what: enough to find it again. report.json has every detail."""
    facts = report.provenance
    lines = [(role, _model(facts.get(role))) for role in ("base", "candidate", "incumbent", "judge")]
    lines += [
        (f"suite for {numbers.in_sentence(str(name))}", _joined(suite, "source", "sha256"))
        for name, suite in list(mapping(facts.get("suites")).items())[:20]
    ]
    lines += [("training data", _joined(facts.get("training_data"), "source", "sha256"))]
    lines += [
        (name, " ".join(filter(None, (_text(facts, name), _text(facts, f"{name}_sha256")))))
        for name in ("policy", "manifest")
    ]
    lines += [("engine", _joined(facts.get("engine"), "kind", "dtype")), ("device", _text(facts, "device"))]
    lines += [
        (f"version of {name}", tables.text_of(value))
        for name, value in list(mapping(facts.get("versions")).items())[:8]
    ]
    lines += [("seed", _text(facts, "seed")), ("finished", _text(facts, "finished"))]
    return [(name, text) for name, text in lines if text]


def _model(value: object) -> str:
    return _joined(value, "reference", "digest")


def _joined(value: object, *names: str) -> str:
    return " ".join(text for name in names if (text := _text(mapping(value), name)))


def _text(facts: object, name: str) -> str:
    value = mapping(facts).get(name)
    return "" if value is None or value == "" else tables.text_of(value)


def _section(report: Report, name: str, m: MeasurementReport, first: Lead | None) -> MeasurementFold:
    needed = tables.needed(m)
    listed = [_worse(m, most=SHOWN_PASSED if m.status == "pass" else SHOWN_FLIPS)]
    status = _with_status(name, m, m.status, _undecided(m))
    counts = _counts(_count(m.clearly_worse, m.regressed), _count(m.clearly_better, m.improved))
    reason = "" if m.status == "pass" else m.reason.rstrip(".") + (f". {needed.rstrip('.')}" if needed else "")
    if m.incumbent is not None and m.incumbent.status not in _FINE:
        listed = [_worse(m, m.incumbent), _worse(m, most=SHOWN_PASSED)]
        counts = _counts(*(numbers.count(n or 0) for n in (m.incumbent.clearly_worse, m.incumbent.clearly_better)))
        status = f"{_with_status(name, m, m.incumbent.status)} {deployed.HEADING}"
        status += f" ({numbers.EMOJI[m.status]} against the base)"
        reason = ". ".join(filter(None, (reason, m.incumbent.reason.rstrip("."))))
    return MeasurementFold(
        title=numbers.title(name, m.kind),
        heading=status,
        counts=counts,
        reason=reason[:1].upper() + reason[1:],
        numbers=_all_numbers(m),
        notes=tables.notes(m),
        hardest_hit=None if first is not None and first.worse in listed else _hardest_hit(report, name, m),
        worse=[worse for worse in listed if worse.flips and (first is None or worse != first.worse)],
    )


def _counts(worse: str, better: str) -> str:
    """How many got worse and better; empty where none did by so much, which says nothing of a change in small steps."""
    if worse == better == "0":
        return ""
    return f"{worse} {'answer' if worse == '1' else 'answers'} worse, {better} better"


def _worse(m: MeasurementReport, part: IncumbentReport | None = None, most: int = SHOWN_FLIPS) -> WorseAnswers:
    """The worst answers against the base, or against the incumbent."""
    compared = m if part is None else part
    flips = tables.flips(m, compared.regressions, most)
    count = _count(compared.clearly_worse, m.regressed if part is None else len(part.regressions))
    by = _by(m, "" if part is None else " than the deployed model's")
    if numbers.kind(m.unit) == "ece":
        than = "the base" if part is None else "the deployed model"
        heading = f"In {count} of {numbers.count(compared.n)} answers it is wrong and at least {LEAST_POINTS} points "
        heading += f"surer than {than}, {len(flips)} shown"
        return WorseAnswers(heading, flips, "base" if part is None else "deployed")
    return WorseAnswers(_heading(count, compared.n, by, len(flips)), flips, "base" if part is None else "deployed")


def _by(m: MeasurementReport, than: str) -> str:
    """``worse by 20 points or more``; without points where an answer has a label, such as refused, and no score."""
    return f"worse{than}" if m.unit in tables.SCORED else f"worse{than} by {LEAST_POINTS} points or more"


def _hardest_hit(report: Report, name: str, m: MeasurementReport) -> tuple[str, str] | None:
    title = numbers.title(name, m.kind)
    return next(((part, lost) for of, part, lost in tables.hardest_hit(report) if of == title), None)


def _count(clearly: int | None, at_all: int) -> str:
    return numbers.count(at_all if clearly is None else clearly)


def _heading(count: str, n: int, by: str, shown: int) -> str:
    """``82 of 152 answers are worse by 20 points or more, 3 shown``."""
    return f"{count} of {numbers.count(n)} answers {'is' if count == '1' else 'are'} {by}, {shown} shown"


def _change(
    base: Number, candidate: Number, change: Number, bounds: tuple[Number, Number], unit: str, floor: float
) -> str:
    """``69.2 → 6.8: lost 90.2 % (88.1 to 92.0)``; of confidence, whose errors hold chance, the change alone.

    A share above a judge's floor says so where it is not the share that follows from both scores; scores that are
    rounded alike beside a change that is not are left out.
    """
    of_what = ""
    if numbers.kind(unit) == "drop" and floor and base and candidate is not None and change is not None:
        by_hand = (base - candidate) / base
        if abs(change - by_hand) >= SMALLEST_DIFFERENCE:
            of_what = f"of what lies above {numbers.decimal(100 * floor, 1)}"
    text = numbers.change_and_interval(change, amounts.within_reach(bounds, base, unit), unit, of_what)
    scores = _scores(base, candidate, unit, changed=numbers.change(change, unit) != amounts.NO_CHANGE)
    return f"{scores}: {text}" if scores else text


def _scores(base: Number, candidate: Number, unit: str, *, changed: bool) -> str:
    """``69.2 → 6.8``, without a word for what they are out of; empty where they say nothing of the change."""
    both, kind = (numbers.score(base, unit), numbers.score(candidate, unit)), numbers.kind(unit)
    if kind == "ece" or numbers.NONE in both:
        return ""
    if kind in ("drop", "loss", "gain") and both[0] == both[1]:
        return "" if changed else both[0]
    moved = f"{both[0].removesuffix(' %') if kind == 'rise' else both[0]} → {both[1]}"
    return f"{moved} {numbers.risen(unit)}" if kind == "rise" else moved


def _floor(m: MeasurementReport) -> float:
    floor = numbers.finite(m.details.get("judge_floor")) or 0.0
    return floor if floor >= SMALLEST_FLOOR else 0.0


def _all_numbers(m: MeasurementReport) -> str:
    """The interval at its true level, the number of items and the method."""
    spread = numbers.interval(amounts.within_reach(m.interval, m.base, m.unit), m.unit)
    level = f"{numbers.level(m.level)} interval: {spread}; " if spread != numbers.NONE else ""
    warns = numbers.limit(m.limits, m.unit).partition(" (")[2].rstrip(")")
    return f"{level}{numbers.count(m.n)} items; {m.method}" + (f"; {warns}" if warns else "")


def slices(report: Report) -> list[tuple[str, MeasurementReport, list[SliceReport], int]]:
    """The slices that lost most, none that lost nothing: title, measurement, slices, and how many more."""
    shown = []
    for name, m in tables.by_weight(report):
        lost = [part for part in m.slices if _loss(part, m) > 0]
        worst = sorted(lost, key=lambda part: -_loss(part, m))[:MOST_SLICES]
        if worst:
            shown.append((numbers.title(name, m.kind), m, worst, len(m.slices) - len(worst)))
    return shown


def _loss(part: SliceReport, m: MeasurementReport) -> float:
    """How much a slice lost; what decides comes first."""
    change = numbers.finite(part.change) or 0.0
    return (-change if "min_gain" in m.limits else change) + (10.0 if part.limit is not None else 0.0)
