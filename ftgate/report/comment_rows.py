"""What the comment shows of a report, as short strings in the order of their weight. Not escaped yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftgate.report import deployed, numbers, tables
from ftgate.report.schema import ChecklistEntry, MeasurementReport, Number, Report, SliceReport, mapping

SHOWN_FLIPS = 3
"""At most so many answers of a measurement are shown in either direction; the page has more."""
SHOWN_BETTER = 1
"""Of the answers that got better, fewer: they decide nothing."""
MOST_SLICES = 5
"""Of each measurement, those that lost most."""
_FINE = ("pass", "warn", "not_applicable")
_WORDS = {"warn": "warning", "inconclusive": "undecided", "error": "failed", "not_applicable": "not measured"}


@dataclass(frozen=True, slots=True)
class BriefRow:
    """One line of the comment's table."""

    title: str
    """With the sign of its status, and the word where the sign alone does not tell."""
    change: str
    limit: str
    scores: str
    failing: bool


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
    worse: Sequence[tables.Flip]
    worse_heading: str
    better: Sequence[tables.Flip]
    better_heading: str
    leads: bool
    """Whether its worst answers stand open above."""


@dataclass(frozen=True, slots=True)
class Checks:
    """The checklist: its state in a few words, the checks that failed, and all of them."""

    summary: str
    failed: Sequence[ChecklistEntry]
    entries: Sequence[ChecklistEntry]


def rows(report: Report) -> list[BriefRow]:
    """The table: status and limit come early, so that a narrow screen shows them."""
    return [
        BriefRow(
            title=_with_status(name, m, m.status),
            change=change_and_interval(m.change, m.interval, m.unit),
            limit=_limit(m.limits, m.unit),
            scores=_scores(m.base, m.candidate, m.unit),
            failing=m.status not in _FINE,
        )
        for name, m in tables.by_weight(report)
    ]


def deployed_rows(report: Report) -> list[BriefRow]:
    """The table against the incumbent, what decided first; empty without one."""
    compared = [(name, m, m.incumbent) for name, m in report.measurements.items() if m.incumbent is not None]
    compared.sort(key=lambda entry: tables.WEIGHT.index(entry[2].status))
    return [
        BriefRow(
            title=_with_status(name, m, part.status),
            change=change_and_interval(part.change, part.interval, part.unit),
            limit=_limit({"block": part.limit}, part.unit),
            scores=_scores(part.score, part.candidate, part.unit),
            failing=part.status not in _FINE,
        )
        for name, m, part in compared
    ]


def deployed_decides(report: Report) -> bool:
    """Whether the comparison with the incumbent decided, and not that with the base."""
    against_base = any(m.gates and m.status not in _FINE for m in report.measurements.values())
    return bool(deployed.failing(report)) and not against_base


def _with_status(name: str, m: MeasurementReport, status: str) -> str:
    words = [_WORDS.get(status, "")] * (status in _WORDS) + [m.tier] * (m.tier != "blocking")
    return f"{numbers.EMOJI[status]} {numbers.title(name, m.kind)}" + (f" ({', '.join(words)})" if words else "")


def _limit(limits: Mapping[str, float], unit: str) -> str:
    """The limit that blocks: the one that warns is among the details."""
    return numbers.limit(limits, unit, short=True).split(" (")[0]


def change_heading(report: Report) -> str:
    """``change (90 % interval)``, with the level where all measurements share it, and with what it is a change from."""
    what = "against the base" if deployed.compared(report) else "change"
    return f"{what} ({tables.interval_heading(report)})"


def sections(report: Report) -> list[MeasurementFold]:
    """All measurements, those that decided first."""
    first = lead(report)
    return [
        _section(report, name, m, leads=first is not None and first.title == numbers.title(name, m.kind))
        for name, m in tables.by_weight(report)
    ]


def lead(report: Report) -> MeasurementFold | None:
    """The measurement that decided, if it did not simply pass and answers got worse; None otherwise."""
    named = next(iter(tables.by_weight(report)), None)
    if named is None or not named[1].gates or named[1].status in ("pass", "not_applicable"):
        return None
    section = _section(report, *named, leads=True)
    return section if section.worse else None


def checks(report: Report) -> Checks:
    """The checklist with its state: ``9 of 9 checks OK``."""
    entries = report.checklist[:40]
    checked = [entry for entry in entries if entry.ok is not None]
    done = sum(entry.ok is True for entry in checked)
    skipped = len(entries) - len(checked)
    summary = f"{done} of {len(checked)} checks OK" + (f", {skipped} not made" if skipped else "")
    return Checks(summary, [entry for entry in checked if entry.ok is False], entries)


def identity(report: Report) -> list[tuple[str, str]]:
    """What was judged, by what, and on what: enough to find it again. report.json has every detail."""
    facts = report.provenance
    lines = [(role, _model(facts.get(role))) for role in ("base", "candidate", "incumbent", "judge")]
    lines += [
        (f"suite of {name}", _joined(suite, "source", "sha256"))
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


def _section(report: Report, name: str, m: MeasurementReport, *, leads: bool) -> MeasurementFold:
    title = numbers.title(name, m.kind)
    worse, better = _count(m.clearly_worse, m.regressed), _count(m.clearly_better, m.improved)
    shown_worse = tables.flips(m, m.regressions, SHOWN_FLIPS)
    shown_better = tables.flips(m, m.improvements, SHOWN_BETTER)
    hit = next(((part, lost) for of, part, lost in tables.hardest_hit(report) if of == title), None)
    needed = tables.needed(m)
    return MeasurementFold(
        title=title,
        heading=_with_status(name, m, m.status),
        counts=f"{worse} {'answer' if worse == '1' else 'answers'} worse, {better} better",
        reason="" if m.status == "pass" else m.reason.rstrip(".") + (f". {needed.rstrip('.')}" if needed else ""),
        numbers=_all_numbers(m),
        notes=tables.notes(m),
        hardest_hit=hit,
        worse=shown_worse,
        worse_heading=_heading(worse, m, "worse", len(shown_worse)),
        better=shown_better,
        better_heading=_heading(better, m, "better", len(shown_better)),
        leads=leads,
    )


def _count(clearly: int | None, at_all: int) -> str:
    return numbers.count(at_all if clearly is None else clearly)


def _heading(count: str, m: MeasurementReport, direction: str, shown: int) -> str:
    """``82 of 152 answers got worse, 3 shown``."""
    of = f"{count} of {numbers.count(m.n)} answers"
    if numbers.kind(m.unit) == "ece" and direction == "worse":
        return f"{of} are wrong, and it is surer of them than the base, {shown} shown"
    return f"{of} got {direction}, {shown} shown"


def change_and_interval(change: Number, bounds: tuple[Number, Number], unit: str) -> str:
    """The change and its interval, without repeating unit and direction: ``95.8 % worse (93.9 to 97.6)``."""
    text, spread = numbers.change(change, unit), numbers.spread(bounds, unit)
    if numbers.NONE in (text, spread):
        return text
    shared = text.lstrip("+-0123456789.e")
    if spread.partition(" to ")[0][-1:].isdigit() and shared and spread.endswith(shared):
        spread = spread.removesuffix(shared)
    return f"{text} ({spread.removeprefix('ECE ')})"


def _scores(base: Number, candidate: Number, unit: str) -> str:
    text = numbers.scores(base, candidate, unit)
    return f"{text} {numbers.risen(unit)}" if numbers.kind(unit) == "rise" else text


def _all_numbers(m: MeasurementReport) -> str:
    """The interval at its true level, the number of items and the method."""
    spread = numbers.spread(m.interval, m.unit)
    level = f"{numbers.level(m.level)} interval: {spread}; " if spread != numbers.NONE else ""
    warns = numbers.limit(m.limits, m.unit, short=True).partition(" (")[2].rstrip(")")
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
