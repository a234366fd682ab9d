"""The tables and lists of a report for every medium, as short strings with formatted numbers. Not escaped yet."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftgate.report import deployed, numbers
from ftgate.report.escape import as_code
from ftgate.report.explanation import listed, needed_text
from ftgate.report.schema import ExampleReport, MeasurementReport, Report, mapping
from ftgate.scoring import amounts

CONTROLS: Mapping[str, str] = {
    "pilot": "Pilot: the base's first answers show that the suite can decide",
    "adapter_effect": "Adapter effect: the candidate's weights change its outputs",
    "incumbent_effect": "Incumbent effect: the deployed model's weights change the base's outputs",
    "a_a": "A/A test: the base against itself shows no change",
    "zero_delta": "Zero adapter: the kernels that run an adapter change nothing by themselves",
    "positive_control": "Positive control: a corrupted base is blocked",
    "served_models": "Served models: each endpoint answered as one model throughout",
    "judge_model": "Judge: its endpoint answered as one model throughout",
    "judge_fitness": "Judge validation: good answers get higher grades than bad ones",
    "judge_labels": "Judge against people: both grade the same answers alike",
}
NOT_RUN = "not run"
SCORED: Mapping[str, Mapping[float, str]] = {
    "rise in compliance": {1.0: "refused", 0.5: "incoherent", 0.0: "complied"},
    "rise in over-refusal": {1.0: "complied", 0.5: "incoherent", 0.0: "refused"},
    "rise in malformed answers": {1.0: "well-formed", 0.0: "malformed"},
    "rise in cut answers": {1.0: "ended", 0.0: "cut"},
}
"""What the score of an answer says, where what is compared is a share that rises."""
WEIGHT = ("block", "error", "inconclusive", "warn", "pass", "not_applicable")
"""Every status, the most serious first."""
MAX_FACTS = 200
MAX_VALUE = 300


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the main table."""

    title: str
    question: str
    base: str
    candidate: str
    change: str
    interval: str
    limit: str
    n: str
    status: str
    badge: str
    """With the tier, unless it is blocking."""
    deployed: str
    """The change against the incumbent; empty without one."""
    deployed_status: str
    """Its status there; empty without one."""


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
    base: str = ""
    """What the base's answer was worth: ``right``, ``97 %``."""
    candidate: str = ""
    options: str = ""
    """Those of a multiple-choice item: ``A. tea · B. milk``."""


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


def by_weight(report: Report) -> list[tuple[str, MeasurementReport]]:
    """The measurements, those that decided first: what blocks, what is undecided, what warns, what passed."""

    def weight(named: tuple[str, MeasurementReport]) -> tuple[int, bool, bool]:
        m = named[1]
        # What is advisory decided nothing, however bad it is. A loss comes before a missing gain.
        status = m.status if m.gates or m.status not in WEIGHT[:3] else "warn"
        return WEIGHT.index(status), not m.blocks, "min_gain" in m.limits

    return sorted(report.measurements.items(), key=weight)


def table(report: Report) -> list[Row]:
    """The main table, in the report's order."""
    return [_row(name, m) for name, m in report.measurements.items()]


def slices_rule(report: Report) -> str:
    """Which slices a decision rests on, in a clause."""
    deciding = [name for name, m in report.measurements.items() if any(part.limit is not None for part in m.slices)]
    rules = [f"the worst slice of {numbers.in_sentence('form')}"] if "form" in report.measurements else []
    rules += [f"those with a limit in {listed([numbers.in_sentence(name) for name in deciding])}"] if deciding else []
    return f"only {listed(rules)} {'decide' if deciding else 'counts'}" if rules else "no decision rests on them"


def interval_heading(report: Report) -> str:
    """``90 % interval``, or ``interval`` when the measurements differ in level."""
    levels = {m.level for m in report.measurements.values()}
    return f"{numbers.level(levels.pop())} interval" if len(levels) == 1 else "interval"


def concerns(report: Report) -> list[Concern]:
    """What did not pass, has notes, or is not as good as the incumbent; the comparison that decided comes first."""
    against_base = [
        Concern(numbers.title(name, m.kind), numbers.badge_of(m), _why(m), needed(m), notes(m))
        for name, m in report.measurements.items()
        if m.status != "pass" or notes(m)
    ]
    against = [(name, part, "") for name, part in deployed.failing(report)]
    against += [(name, part, " (advisory)") for name, part in deployed.advisory(report)]
    against_deployed = [
        Concern(f"{numbers.title(name)} {deployed.HEADING}", f"{numbers.badge(part.status)}{tier}", part.reason, "", ())
        for name, part, tier in against
    ]
    it_decided = bool(deployed.blocking(report)) and not any(m.blocks for m in report.measurements.values())
    return against_deployed + against_base if it_decided else against_base + against_deployed


def _why(m: MeasurementReport) -> str:
    """The reason for a status; a pass is told by its numbers."""
    if m.status != "pass" or m.change is None or numbers.kind(m.unit) == "other":
        return m.reason
    bounds = amounts.within_reach(m.interval, m.base, m.unit)
    return f"{numbers.change_and_interval(m.change, bounds, m.unit)}; {amounts.allowed(m.limits, m.unit)}"


def flips(m: MeasurementReport, examples: Sequence[ExampleReport], most: int) -> list[Flip]:
    """The first ``most`` examples, each with its scores as ``97 % → 8 %`` or ``right → wrong``.

    Where the form of answers counts, which are all alike then, those come first in which the base was right.
    """
    shown = sorted(examples, key=_base_is_wrong) if numbers.kind(m.unit) == "rise" else examples
    return [_flip(example, m) for example in shown[:most]]


def _base_is_wrong(example: ExampleReport) -> bool:
    return example.reference is None or example.base_answer.strip().lower() != example.reference.strip().lower()


def _flip(example: ExampleReport, m: MeasurementReport) -> Flip:
    whole = {example.base_score, example.candidate_score} <= {0.0, 1.0}
    base, candidate = (_item_score(s, m, whole=whole) for s in (example.base_score, example.candidate_score))
    if example.candidate_answer.endswith(" sure)"):  # then the answer says it already
        base, candidate = base.split(",")[0], candidate.split(",")[0]
    letters = string.ascii_uppercase
    options = [f"{letters[i]}. {option}" if i < len(letters) else option for i, option in enumerate(example.options)]
    return Flip(example.item, f"{base} → {candidate}", example, base, candidate, " · ".join(options))


def controls(report: Report) -> list[tuple[str, str]]:
    """Each control and its result."""
    return [(CONTROLS.get(name, name), _in_words(value)) for name, value in report.controls.items()]


def provenance(report: Report) -> list[tuple[str, str]]:
    """The provenance, flattened to dotted names. The files of a model are counted, not listed."""
    counted = {key: _counted_files(part) for key, part in report.provenance.items()}
    return facts({**counted, "engine_starts": report.engine_starts, "schema_version": report.schema_version})


def heading_facts(report: Report) -> list[tuple[str, str]]:
    """What was judged, against what, when and on what: short lines for the head of the page."""
    facts_of = report.provenance
    engine, versions = mapping(facts_of.get("engine")), mapping(facts_of.get("versions"))
    kind = str(engine.get("kind") or "")
    ran = " ".join(str(part) for part in (kind, versions.get(kind), engine.get("dtype")) if part)
    lines = [
        ("base", _model_line(facts_of.get("base"))),
        ("candidate", _model_line(facts_of.get("candidate"))),
        ("deployed model", _model_line(facts_of.get("incumbent"))),
        ("commit", str(facts_of.get("commit") or "")[:12]),
        ("policy", numbers.digest(str(facts_of.get("policy_sha256") or ""))),
        ("date", str(facts_of.get("finished") or "").replace("T", " ").replace("+00:00", " UTC")),
        ("engine", ran),
        ("device", str(facts_of.get("device") or "")),
    ]
    return [(name, value) for name, value in lines if value]


def _model_line(value: Any) -> str:
    model = mapping(value)
    names = (model.get("reference") or model.get("name"), model.get("revision"), model.get("digest"))
    return " · ".join(numbers.digest(str(part)) for part in names if part)


def _counted_files(part: Any) -> Any:
    if isinstance(part, Mapping) and isinstance(part.get("files"), Mapping):
        return {**part, "files": len(part["files"])}
    return part


def timing(report: Report) -> list[tuple[str, str]]:
    """The duration of each phase, and the total."""
    lines = [(name, numbers.duration(seconds)) for name, seconds in report.timing.items()]
    return [*lines, ("total", numbers.duration(sum(report.timing.values())))] if len(lines) > 1 else lines


HARDEST_HIT = "the slice that lost most, even at the better end of its interval"
"""How the slice is chosen (measurements/slices.worst_slice)."""


def hardest_hit(report: Report) -> list[tuple[str, str, str]]:
    """The worst slice of each measurement, if it lost anything: (measurement, slice, loss)."""
    hits = []
    for name, m in report.measurements.items():
        worst = m.details.get("worst_slice")
        part = next((s for s in m.slices if isinstance(worst, Mapping) and s.name == worst.get("name")), None)
        if part is None or part.interval is None or part.change is None or part.change <= 0:
            continue
        loss = numbers.change_and_interval(part.change, part.interval, m.unit)
        hits.append((numbers.title(name, m.kind), part.name, f"{loss} on {numbers.count(part.n)} items"))
    return hits


def stopping(report: Report) -> str:
    """The look at which each measurement ended, and the questions saved; empty without early stopping."""
    stopped = report.stopping
    if stopped is None or stopped.of <= 1:
        return ""
    ends = ", ".join(
        f"{numbers.in_sentence(name)} at look {numbers.count(look)}" for name, look in stopped.looks.items()
    )
    return (
        f"Early stopping ({as_code(stopped.rule)}), {numbers.count(stopped.of)} looks planned, and ended {ends}. "
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
        title=numbers.title(name, m.kind),
        question=numbers.question(m.kind or name),
        base=numbers.score(m.base, m.unit),
        candidate=numbers.score(m.candidate, m.unit),
        change=numbers.change(m.change, m.unit),
        interval=numbers.interval(amounts.within_reach(m.interval, m.base, m.unit), m.unit),
        limit=numbers.limit(m.limits, m.unit),
        n=numbers.count(m.n),
        status=m.status,
        badge=numbers.badge_of(m),
        deployed=deployed.cell(m),
        deployed_status="" if m.incumbent is None else m.incumbent.status,
    )


def needed(m: MeasurementReport) -> str:
    """A sentence on how many items would settle it, unless the reason already says so."""
    if m.needed_n is None or f"about {m.needed_n} " in m.reason:
        return ""
    text = needed_text(m)
    return f"{text[0].upper()}{text[1:]}."


def notes(m: MeasurementReport) -> tuple[str, ...]:
    """What a measurement has to add to its numbers, each beginning with a capital letter."""
    listed_notes = m.details.get("notes")
    texts = [str(note) for note in listed_notes[:5]] if isinstance(listed_notes, list) else []
    return tuple(text[:1].upper() + text[1:] for text in texts)


def _item_score(value: float | None, m: MeasurementReport, *, whole: bool) -> str:
    """What one answer was worth. ``whole``: both models' scores are 0 or 1."""
    if value is None:
        return numbers.NONE
    if word := SCORED.get(m.unit, {}).get(value):
        return word
    kind = numbers.kind(m.unit)
    if kind == "ece":
        return "right" if value == 1 else f"wrong, {_whole_percent(1 - value)} sure"
    if kind == "other":
        return numbers.score(value, m.unit)
    if whole:
        return "right" if value == 1 else "wrong"
    return f"{numbers.decimal(100 * value, 0)} of 100"  # a judge knows no tenths


def _whole_percent(share: float) -> str:
    return f"{numbers.decimal(100 * share, 0)} %"


def _in_words(value: Any) -> str:
    if value is None:
        return NOT_RUN
    if not isinstance(value, Mapping):
        return text_of(value)
    if all(isinstance(part, Mapping) for part in value.values()) and value:
        named = list(value.items())[:10]
        return "; ".join(f"{numbers.in_sentence(str(name))}: {_in_words(part)}" for name, part in named)
    if isinstance(value.get("reason"), str):
        return str(value["reason"])
    return ", ".join(f"{name.replace('_', ' ')} {text}" for name, text in facts(value)[:10])


def _without_tables(value: Any) -> Any:
    return {k: v for k, v in value.items() if k not in ("bins", "gaps")} if isinstance(value, Mapping) else value
