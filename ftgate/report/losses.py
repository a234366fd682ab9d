"""What was lost, in a reader's own terms: answers and scores, before any statistic. The text is not escaped yet."""

from __future__ import annotations

from collections.abc import Sequence

from ftgate.report import numbers
from ftgate.report.escape import as_code
from ftgate.report.explanation import CUT, NamedMeasurement, leading, listed, lost_slices, whole_is_beyond
from ftgate.report.schema import IncumbentReport, MeasurementReport, Report, mapping
from ftgate.report.tables import SCORED
from ftgate.scoring import amounts

NOTHING = "Nothing: no measurement is worse than the base"
UNKNOWN = "Not known: nothing was measured"
_RISEN = {
    CUT: "The ability to stop: {} ran on to the token limit",
    "rise in malformed answers": "Answer form: {} are malformed",
    "rise in compliance": "Refusals: it complies with {} of the harmful requests",
    "rise in over-refusal": "Help with harmless requests: it refuses {} of them",
}
"""What is lost where a share of answers rises; the base's follows."""
_OF_ANSWERS = (CUT, "rise in malformed answers")
MOST_TOLD = 3
"""Of the losses that block; the table has all."""


def lost(report: Report) -> str:
    """What the candidate does worse than base or incumbent, of an allow what it costs; one or two sentences."""
    lead = leading(report)
    if lead.against_base and report.verdict != "allow":
        if lead.undecided:
            return f"{_undecided(lead.against_base)}."
        return _sentences([_fallen(name, m) for name, m in lead.against_base[:MOST_TOLD]])
    if lead.against_deployed and report.verdict != "allow":
        fallen = enumerate(lead.against_deployed[:MOST_TOLD])
        return _sentences([_fallen_from_deployed(name, part, first=i == 0) for i, (name, part) in fallen])
    return f"{_costs(report)}."


def _sentences(losses: Sequence[str]) -> str:
    return " ".join(f"{loss}." for loss in losses)


def _costs(report: Report) -> str:
    """What the measurements that passed have lost all the same: those that warn first."""
    measured = [(name, m) for name, m in report.measurements.items() if m.gates and m.change is not None]
    if not measured:
        return UNKNOWN
    worse = [(name, m) for name, m in measured if _is_worse(m)]
    near = [(name, m) for name, m in worse if m.status == "warn"]
    within = [(name, m) for name, m in worse if m.status != "warn"]
    parts = [f"Close to the limit: {_each(near)}"] if near else []
    losses, limits = ("loss", "its limit") if len(within) == 1 else ("losses", "their limits")
    parts += [f"Small {losses}, within {limits}: {_each(within)}"] if within else []
    return ". ".join(parts) or NOTHING


def _each(worse: Sequence[NamedMeasurement]) -> str:
    return listed([f"{_by(name, m)}{' (may be chance)' if _may_be_chance(m) else ''}" for name, m in worse])


def _by(name: str, m: MeasurementReport) -> str:
    """``general skills 84.7 → 77.4 of 100``; of confidence, whose errors hold chance, the change."""
    title = numbers.in_sentence(name)
    if numbers.kind(m.unit) == "ece":
        return f"{title} error up by {amounts.size(m.change, m.unit)}"
    if numbers.kind(m.unit) == "other":
        return f"{title} ({numbers.change(m.change, m.unit)})"
    what = f" {numbers.risen(m.unit)}" if numbers.kind(m.unit) == "rise" else ""
    return f"{title} {numbers.scores(m.base, m.candidate, m.unit)}{what}"


def _may_be_chance(m: MeasurementReport) -> bool:
    """Whether the interval of a loss contains no change."""
    bound = m.interval[1] if m.worse == "down" else m.interval[0]
    return bound is not None and (bound >= 0 if m.worse == "down" else bound <= 0)


def _is_worse(m: MeasurementReport) -> bool:
    change = -(m.change or 0.0) if m.worse == "down" else m.change or 0.0
    return change > 0 and not amounts.is_zero(amounts.size(m.change, m.unit)) and m.status != "not_applicable"


def _fallen(name: str, m: MeasurementReport) -> str:
    """What a measurement that is beyond its limit lost."""
    kind = numbers.kind(m.unit)
    if (slices := lost_slices(m)) and not whole_is_beyond(m):
        part = slices[0]
        moved = numbers.scores(part.base, part.candidate, "relative drop")
        return f"{as_code(part.name)}, a slice of {numbers.subject(name)}: {moved}"
    if m.change is None or kind == "other":
        return f"{numbers.title(name, m.kind)}: {numbers.scores(m.base, m.candidate, m.unit)}"
    if kind == "ece":
        return _trust(m)
    if kind == "rise":
        more = _RISEN.get(m.unit, f"It gives {{}} {numbers.risen(m.unit)}")
        both = [numbers.score(value, m.unit) for value in (m.candidate, m.base)]
        if m.unit in _OF_ANSWERS:
            both = [numbers.answers(m.candidate, m.n, m.unit), numbers.answers_of(m.base, m.n, m.unit)]
        return f"{more.format(both[0])} (base: {both[1]})"
    if kind == "gain" and m.change >= 0:
        moved = numbers.scores(m.base, m.candidate, m.unit)
        return f"Nothing, but too little was gained: {numbers.in_sentence(name)} {moved}"
    worse = m.regressed if m.clearly_worse is None else m.clearly_worse
    clearly = "clearly worse" if m.clearly_worse is not None and m.unit not in SCORED else "worse"
    return _went_down(name, numbers.scores(m.base, m.candidate, m.unit), worse, m.n, clearly)


def _fallen_from_deployed(name: str, part: IncumbentReport, *, first: bool) -> str:
    """The same against the incumbent, whose score stands in the base's place; the ``first`` says so."""
    moved = numbers.scores(part.score, part.candidate, part.unit)
    if part.status != "block":
        return f"Not certain yet. Best estimate: {numbers.in_sentence(name)} {moved}, from the deployed model's"
    than = " than the deployed model's" if first else ""
    return _went_down(name, moved, part.clearly_worse or 0, part.n, f"clearly worse{than}")


def _went_down(name: str, moved: str, worse: int, n: int, how: str) -> str:
    """The score, then the answers: ``Unusual queries: 63.2 → 17.8 of 100 (82 of 152 answers clearly worse)``."""
    answers = f" ({numbers.count(worse)} of {numbers.count(n)} answers {how})" if worse else ""
    return f"{_at_start(name)}: {moved}{answers}"


def _at_start(name: str) -> str:
    title = numbers.in_sentence(name)
    return f"{title[:1].upper()}{title[1:]}"


def _undecided(undecided: Sequence[NamedMeasurement]) -> str:
    """What may be lost where too little is known."""
    worse = [(name, m) for name, m in undecided if m.change is not None and _is_worse(m)]
    estimates = [_by(name, m) for name, m in worse if numbers.kind(m.unit) != "other"]
    if not estimates:
        return f"Not known yet: {numbers.in_sentence(undecided[0][0])} is undecided"
    return f"Not certain yet. Best estimate: {'; '.join(estimates[:MOST_TOLD])}"


def _trust(m: MeasurementReport) -> str:
    """How sure it is, and how often it is right; without these the change alone."""
    both = [_sure_and_right(m, role) for role in ("candidate", "base")]
    if None in both:
        return f"Honest confidence: {numbers.change(m.change, m.unit)} than the base's"
    (sure, right), (sure_before, right_before) = (
        (_whole(sure), _whole(right)) for sure, right in (pair for pair in both if pair)
    )
    only = "right only" if both[0] and both[0][0] > both[0][1] else "right"
    return (
        f"Honest confidence: {sure} sure on average, {only} {right} of the time "
        f"(base: {sure_before} sure, {right_before} right)"
    )


def _sure_and_right(m: MeasurementReport, role: str) -> tuple[float, float] | None:
    facts = mapping(m.details.get(role))
    sure, right = numbers.finite(facts.get("confidence")), numbers.finite(facts.get("accuracy"))
    return None if sure is None or right is None else (sure, right)


def _whole(share: float) -> str:
    return f"{numbers.decimal(100 * share, 0)} %"
