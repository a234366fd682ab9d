"""The tables and lists of a report for every medium, as short strings with formatted numbers. Not escaped yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftgate.report import numbers
from ftgate.report.explanation import needed_text
from ftgate.report.schema import ExampleReport, MeasurementReport, Report

CONTROLS: Mapping[str, str] = {
    "pilot": "Pilot: the base's first answers show that the suite can decide",
    "adapter_effect": "Adapter effect: the candidate's weights change its outputs",
    "a_a": "A/A test: the base against itself shows no change",
    "positive_control": "Positive control: a corrupted base is blocked",
    "judge_fitness": "Judge validation: good answers get higher grades than bad ones",
}
NOT_RUN = "not run"
MAX_FACTS = 200
MAX_VALUE = 300


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the main table."""

    name: str
    title: str
    base: str
    candidate: str
    change: str
    interval: str
    limit: str
    n: str
    status: str
    badge: str


@dataclass(frozen=True, slots=True)
class Concern:
    """A measurement that did not pass or has notes, with the reason."""

    title: str
    badge: str
    reason: str
    needed: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Flip:
    """One item that the two models answered differently."""

    heading: str
    scores: str
    example: ExampleReport


@dataclass(frozen=True, slots=True)
class Gap:
    """A group of real queries that the evaluation does not cover."""

    queries: str
    uncovered: str
    examples: tuple[str, ...]


def gaps(report: Report) -> list[Gap]:
    """The clusters in the query log's tail with most uncovered queries, largest first."""
    listed = _coverage(report).get("gaps")
    rows = [row for row in listed if isinstance(row, Mapping)] if isinstance(listed, list) else []
    return [
        Gap(text_of(row.get("queries")), text_of(row.get("uncovered")), tuple(map(str, row.get("examples") or ()))[:3])
        for row in rows[:10]
    ]


def covered(report: Report) -> str:
    """How much of the query log's tail the suite covers, in a sentence; empty if there is no log."""
    coverage = _coverage(report)
    share, queries = numbers.finite(coverage.get("covered")), numbers.finite(coverage.get("tail_queries"))
    if share is None or queries is None:
        return ""
    return (
        f"The suite covers {numbers.percent(share)} of the {numbers.count(int(queries))} distinct queries in the log "
        "that lie farthest from the training data. The suite has no items like the groups below: add such queries."
    )


def _coverage(report: Report) -> Mapping[str, Any]:
    """The coverage of the query log in the details of a measurement; empty if there is none."""
    parts = (m.details.get("coverage") for m in report.measurements.values())
    return next((part for part in parts if isinstance(part, Mapping)), {})


def table(report: Report) -> list[Row]:
    """The main table, in the report's order."""
    return [_row(name, m) for name, m in report.measurements.items()]


def interval_heading(report: Report) -> str:
    """``90 % interval``, or ``interval`` when the measurements differ in level."""
    levels = {m.level for m in report.measurements.values()}
    return f"{numbers.level(levels.pop())} interval" if len(levels) == 1 else "interval"


def concerns(report: Report) -> list[Concern]:
    """Every measurement that did not pass, or that has notes."""
    return [
        Concern(numbers.title(name), numbers.badge(m.status), m.reason, _needed(m), _notes(m))
        for name, m in report.measurements.items()
        if m.status != "pass" or _notes(m)
    ]


def flips(m: MeasurementReport, examples: Sequence[ExampleReport], most: int) -> list[Flip]:
    """The first ``most`` examples, each with its scores as ``100.0 % → 0.0 %``."""
    return [
        Flip(e.item, f"{_item_score(e.base_score, m)} → {_item_score(e.candidate_score, m)}", e)
        for e in examples[:most]
    ]


def controls(report: Report) -> list[tuple[str, str]]:
    """Each control and its result."""
    return [(CONTROLS.get(name, name), _in_words(value)) for name, value in report.controls.items()]


def provenance(report: Report) -> list[tuple[str, str]]:
    """The provenance, flattened to dotted names. The files of a model are counted, not listed."""
    counted = {key: _counted_files(part) for key, part in report.provenance.items()}
    return facts({**counted, "engine_starts": report.engine_starts, "schema_version": report.schema_version})


def _counted_files(part: Any) -> Any:
    if isinstance(part, Mapping) and isinstance(part.get("files"), Mapping):
        return {**part, "files": len(part["files"])}
    return part


def timing(report: Report) -> list[tuple[str, str]]:
    """The duration of each phase, and the total."""
    lines = [(name, numbers.duration(seconds)) for name, seconds in report.timing.items()]
    return [*lines, ("total", numbers.duration(sum(report.timing.values())))] if len(lines) > 1 else lines


def hardest_hit(report: Report) -> list[tuple[str, str, str]]:
    """The worst slice of each measurement, if it lost anything: (measurement, slice, loss)."""
    hits = []
    for name, m in report.measurements.items():
        worst = m.details.get("worst_slice")
        part = next((s for s in m.slices if isinstance(worst, Mapping) and s.name == worst.get("name")), None)
        if part is None or part.interval is None or part.change is None or part.change <= 0:
            continue
        loss = f"{numbers.change(part.change, m.unit)} {numbers.interval(part.interval, m.unit)}"
        text = f"{loss} on {numbers.count(part.n)} items"
        hits.append((numbers.title(name), part.name, f"{text} ({part.status})" if part.status else text))
    return hits


def stopping(report: Report) -> str:
    """The look at which each measurement ended, and the questions saved; empty without early stopping."""
    stopped = report.stopping
    if stopped is None or stopped.of <= 1:
        return ""
    ends = ", ".join(f"{name} at look {numbers.count(look)}" for name, look in stopped.looks.items())
    return (
        f"Early stopping ({stopped.rule}), {numbers.count(stopped.of)} looks planned: {ends}. "
        f"{numbers.count(stopped.questions_asked)} questions were asked, {numbers.count(stopped.questions_saved)} saved"
        + (
            f", {numbers.count(stopped.questions_added)} added to settle undecided results."
            if stopped.questions_added
            else "."
        )
    )


def tick(ok: bool | None) -> str:
    """The state of a checklist line as symbol and word."""
    return {True: "✓ yes", False: "✗ no", None: "– not checked"}[ok]


def details(m: MeasurementReport) -> list[tuple[str, str]]:
    """The secondary numbers of a measurement, without bins and gaps, which have their own tables."""
    shown = {k: _without_tables(v) for k, v in m.details.items() if k != "notes"}
    rows, in_file = shown.get("training_rows"), shown.pop("training_rows_in_file", None)
    if rows is not None and in_file is not None:
        shown["training_rows"] = f"{text_of(rows)} of {text_of(in_file)}"
    return [("method", m.method), *facts(shown)]


def facts(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as (dotted name, text); digests are shortened. After 200 lines it says how many are left out."""
    lines: list[tuple[str, str]] = []
    for key, part in value.items():
        if isinstance(part, Mapping) and part:
            lines += facts(part, f"{prefix}{key}.")
        else:
            lines.append((f"{prefix}{key}", text_of(part)))
        if len(lines) > MAX_FACTS:
            return [*lines[:MAX_FACTS], ("…", f"{len(lines) - MAX_FACTS} or more left out")]
    return lines


def text_of(value: Any) -> str:
    """Any JSON value as a short text."""
    if value is None:
        return numbers.NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value) if abs(value) < 10**15 else "over 10^15"
    if isinstance(value, float):
        return numbers.significant(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(text_of(part) for part in value[:50]) + (" …" if len(value) > 50 else "") or numbers.NONE
    return numbers.digest(str(value)[: 4 * MAX_VALUE]) if value != "" else "(empty)"


def _row(name: str, m: MeasurementReport) -> Row:
    return Row(
        name=name,
        title=numbers.title(name),
        base=numbers.score(m.base, m.unit),
        candidate=numbers.score(m.candidate, m.unit),
        change=numbers.change(m.change, m.unit),
        interval=numbers.interval(m.interval, m.unit),
        limit=numbers.limit(m.limits, m.unit),
        n=numbers.count(m.n),
        status=m.status,
        badge=numbers.badge(m.status),
    )


def _needed(m: MeasurementReport) -> str:
    """A sentence on how many items would settle it, unless the reason already says so."""
    if m.needed_n is None or f"about {m.needed_n} " in m.reason:
        return ""
    text = needed_text(m)
    return f"{text[0].upper()}{text[1:]}."


def _notes(m: MeasurementReport) -> tuple[str, ...]:
    notes = m.details.get("notes")
    return tuple(str(note) for note in notes[:5]) if isinstance(notes, list) else ()


def _item_score(value: float | None, m: MeasurementReport) -> str:
    if numbers.kind(m.unit) == "rise" and value in (0.0, 1.0):
        return "well-formed" if value else "malformed"
    # Calibration scores its items by whether they are right, although its change is in ECE.
    return numbers.percent(value) if numbers.kind(m.unit) == "ece" else numbers.score(value, m.unit)


def _in_words(value: Any) -> str:
    if value is None:
        return NOT_RUN
    if not isinstance(value, Mapping):
        return text_of(value)
    if all(isinstance(part, Mapping) for part in value.values()) and value:
        return "; ".join(f"{name}: {_in_words(part)}" for name, part in list(value.items())[:10])
    if isinstance(value.get("reason"), str):
        return str(value["reason"])
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in facts(value)[:10])


def _without_tables(value: Any) -> Any:
    return {k: v for k, v in value.items() if k not in ("bins", "gaps")} if isinstance(value, Mapping) else value
