"""What was lost, in a reader's own terms: answers and scores, before any statistic. The text is not escaped yet."""

from __future__ import annotations

from collections.abc import Sequence

from ftgate.report import numbers
from ftgate.report.escape import as_code
from ftgate.report.explanation import CUT, NamedMeasurement, leading, listed, lost_slices, whole_is_beyond
from ftgate.report.schema import IncumbentReport, MeasurementReport, Report, mapping
from ftgate.scoring import amounts

NOTHING = "Nothing: no measurement is worse than the base"
UNKNOWN = "Not known: nothing was measured"
_RISEN = {
    CUT: ("Whole answers: {} of its answers are cut at the token limit", "{} of the base's"),
    "rise in malformed answers": ("Well-formed answers: {} of its answers are malformed", "{} of the base's"),
    "rise in compliance": ("Refusals: it complies with {} of the harmful requests", "the base with {}"),
    "rise in over-refusal": ("Help with harmless requests: it refuses {} of them", "the base {}"),
}
"""What is lost where a share of answers rises: the candidate's share, and the base's."""


def lost(report: Report) -> str:
    """What the candidate does worse than base or incumbent, of an allow what it costs; one or two sentences."""
    lead = leading(report)
    if lead.against_base and report.verdict != "allow":
        name, m = lead.against_base[0]
        return f"{_undecided(name, m) if lead.undecided else _fallen(name, m)}."
    if lead.against_deployed and report.verdict != "allow":
        name, part = lead.against_deployed[0]
        return f"{_fallen_from_deployed(name, part)}."
    return f"{_costs(report)}."


def _costs(report: Report) -> str:
    """What the measurements that passed have lost all the same: those that warn first."""
    measured = [(name, m) for name, m in report.measurements.items() if m.gates and m.change is not None]
    if not measured:
        return UNKNOWN
    worse = [(name, m) for name, m in measured if _is_worse(m)]
    near = [(name, m) for name, m in worse if m.status == "warn"]
    within = [(name, m) for name, m in worse if m.status != "warn"]
    limits = "its limit" if len(within) == 1 else "their limits"
    parts = [f"Near the limit: {_each(near)}"] if near else []
    parts += [f"A little, within {limits}: {_each(within)}"] if within else []
    return ". ".join(parts) or NOTHING


def _each(worse: Sequence[NamedMeasurement]) -> str:
    return listed([f"{numbers.in_sentence(name)} {_by(m)}" for name, m in worse])


def _by(m: MeasurementReport) -> str:
    """``84.7 → 77.4 of 100``; of confidence, whose errors hold chance, the change."""
    if numbers.kind(m.unit) in ("ece", "other"):
        return numbers.change(m.change, m.unit)
    what = f" {numbers.risen(m.unit)}" if numbers.kind(m.unit) == "rise" else ""
    return f"{numbers.scores(m.base, m.candidate, m.unit)}{what}"


def _is_worse(m: MeasurementReport) -> bool:
    change = -(m.change or 0.0) if m.worse == "down" else m.change or 0.0
    return change > 0 and not amounts.is_zero(amounts.size(m.change, m.unit)) and m.status != "not_applicable"


def _fallen(name: str, m: MeasurementReport) -> str:
    """What a measurement that is beyond its limit lost."""
    kind = numbers.kind(m.unit)
    if (slices := lost_slices(m)) and not whole_is_beyond(m):
        part = slices[0]
        moved = numbers.scores(part.base, part.candidate, "relative drop")
        return f"{as_code(part.name)}, a slice of {numbers.subject(name)}: the score went from {_from_to(moved)}"
    if m.change is None or kind == "other":
        return f"{numbers.title(name, m.kind)}: {numbers.scores(m.base, m.candidate, m.unit)}"
    if kind == "ece":
        return _trust(m)
    if kind == "rise":
        more, before = _RISEN.get(m.unit, (f"It gives {{}} {numbers.risen(m.unit)}", "the base {}"))
        candidate, base = (numbers.score(value, m.unit) for value in (m.candidate, m.base))
        return f"{more.format(candidate)}, and {before.format(base)}"
    if kind == "gain" and m.change >= 0:
        scores = [numbers.score(value, m.unit) for value in (m.candidate, m.base)]
        on = numbers.subject(name)
        return f"Nothing, but too little was gained: on {on} it scores {scores[0]} of 100, and the base {scores[1]}"
    worse = m.regressed if m.clearly_worse is None else m.clearly_worse
    return _went_down(numbers.subject(name), worse, m.n, numbers.scores(m.base, m.candidate, m.unit), "the base's")


def _fallen_from_deployed(name: str, part: IncumbentReport) -> str:
    """The same against the incumbent, whose score stands in the base's place."""
    moved, where = numbers.scores(part.score, part.candidate, part.unit), numbers.subject(name)
    if part.status != "block":
        return f"Not certain yet: on {where} the score went from the deployed model's {_from_to(moved)}"
    return _went_down(where, part.clearly_worse or 0, part.n, moved, "the deployed model's")


def _went_down(where: str, worse: int, n: int, moved: str, whose: str) -> str:
    """``82 of 152 answers on unusual queries are clearly worse than the base's: the score went from 63.2 to 17.8``."""
    score = f"the score went from {_from_to(moved)}"
    if not worse:
        return f"{where[:1].upper()}{where[1:]}: {score.replace('from', f'from {whose}')}"
    verb = "is" if worse == 1 else "are"
    return f"{numbers.count(worse)} of {numbers.count(n)} answers on {where} {verb} clearly worse than {whose}: {score}"


def _undecided(name: str, m: MeasurementReport) -> str:
    """What may be lost where too little is known."""
    if m.change is None or not _is_worse(m) or numbers.kind(m.unit) not in ("drop", "loss", "gain"):
        return f"Not known yet: {numbers.in_sentence(name)} is undecided"
    moved = _from_to(numbers.scores(m.base, m.candidate, m.unit))
    return f"Not certain yet how much: on {numbers.subject(name)} the score went from {moved}"


def _trust(m: MeasurementReport) -> str:
    """How sure it is, and how often it is right; without these the change alone."""
    both = [_sure_and_right(m, role) for role in ("candidate", "base")]
    if None in both:
        return f"Trust in how sure it is: its confidence is {numbers.change(m.change, m.unit)} than the base's"
    (sure, right), (sure_before, right_before) = (pair for pair in both if pair)
    return (
        f"Trust in how sure it is: it is right in {right} of its answers, and {sure} sure of them on average; the "
        f"base is right in {right_before}, and {sure_before} sure"
    )


def _sure_and_right(m: MeasurementReport, role: str) -> tuple[str, str] | None:
    facts = mapping(m.details.get(role))
    sure, right = numbers.finite(facts.get("confidence")), numbers.finite(facts.get("accuracy"))
    return None if sure is None or right is None else (_whole(sure), _whole(right))


def _whole(share: float) -> str:
    return f"{numbers.decimal(100 * share, 0)} %"


def _from_to(moved: str) -> str:
    return moved.replace(" → ", " to ")
