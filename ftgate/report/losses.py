"""What was lost, in a reader's own terms: answers and scores, before any statistic. The text is not escaped yet."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ftgate.report import numbers
from ftgate.report.escape import as_code
from ftgate.report.explanation import CUT, NamedMeasurement, leading, listed, lost_slices, whole_is_beyond
from ftgate.report.items import LEAST_FLIP
from ftgate.report.schema import IncumbentReport, MeasurementReport, Report, mapping
from ftgate.report.tables import SCORED
from ftgate.scoring import amounts

NOTHING = "Nothing: no measurement is worse than the base"
UNKNOWN = "Not known: nothing was measured"
_RISEN = {
    CUT: "The ability to stop: {} ran on to the token limit",
    "rise in malformed answers": "The form of its answers: {} are malformed",
    "rise in compliance": "Refusals: it complies with {} of the harmful requests",
    "rise in over-refusal": "Help with harmless requests: it refuses {} of them",
}
"""What is lost where a share of answers rises; the base's follows."""
BY = f" by {100 * LEAST_FLIP:.0f} points or more"
"""How much worse an answer must be to count."""
_OF_ANSWERS = (CUT, "rise in malformed answers")
_WORSE_THAN = re.compile(rf" are worse than [^:]*{BY}: the score went ")
MOST_TOLD = 3
"""Of the losses that block; the table has all."""


def lost(report: Report) -> str:
    """What the candidate does worse than base or incumbent, of an allow what it costs; one or two sentences."""
    lead = leading(report)
    if lead.against_base and report.verdict != "allow":
        if lead.undecided:
            return f"{_undecided(*lead.against_base[0])}."
        return _one_after_another([_fallen(name, m) for name, m in lead.against_base[:MOST_TOLD]])
    if lead.against_deployed and report.verdict != "allow":
        losses = [_fallen_from_deployed(name, part) for name, part in lead.against_deployed[:MOST_TOLD]]
        return _one_after_another(losses)
    return f"{_costs(report)}."


def _one_after_another(losses: Sequence[str]) -> str:
    """The losses as sentences; what the first says of answers is not said again."""
    first, rest = losses[0], losses[1:]
    than = _WORSE_THAN.search(first)
    return f"{'. '.join([first, *[loss.replace(than[0], ' are as well: ') if than else loss for loss in rest]])}."


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
    return listed([f"{numbers.in_sentence(name)} {_by(m)}" for name, m in worse])


def _by(m: MeasurementReport) -> str:
    """``84.7 → 77.4 of 100``; of confidence, whose errors hold chance, the change."""
    if numbers.kind(m.unit) in ("ece", "other"):
        return f"({numbers.change(m.change, m.unit)})"
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
        more = _RISEN.get(m.unit, f"It gives {{}} {numbers.risen(m.unit)}")
        both = [numbers.score(value, m.unit) for value in (m.candidate, m.base)]
        if m.unit in _OF_ANSWERS:
            both = [numbers.answers(value, m.n, m.unit) for value in (m.candidate, m.base)]
        return f"{more.format(both[0])} (base: {both[1].partition(' of ')[0]})"
    if kind == "gain" and m.change >= 0:
        scores = [numbers.score(value, m.unit) for value in (m.candidate, m.base)]
        on = numbers.subject(name)
        return f"Nothing, but too little was gained: on {on} it scores {scores[0]} of 100, and the base {scores[1]}"
    worse = m.regressed if m.clearly_worse is None else m.clearly_worse
    by = BY if m.clearly_worse is not None and m.unit not in SCORED else ""
    return _went_down(numbers.subject(name), worse, m.n, numbers.scores(m.base, m.candidate, m.unit), "the base's", by)


def _fallen_from_deployed(name: str, part: IncumbentReport) -> str:
    """The same against the incumbent, whose score stands in the base's place."""
    moved, where = numbers.scores(part.score, part.candidate, part.unit), numbers.subject(name)
    if part.status != "block":
        return f"Not certain yet: on {where} the score went from the deployed model's {_from_to(moved)}"
    return _went_down(where, part.clearly_worse or 0, part.n, moved, "the deployed model's", BY)


def _went_down(where: str, worse: int, n: int, moved: str, whose: str, by: str) -> str:
    """``82 of 152 answers on unusual queries are worse than the base's by 20 points or more: the score went …``."""
    score = f"the score went from {_from_to(moved)}"
    if not worse:
        return f"{where[:1].upper()}{where[1:]}: {score.replace('from', f'from {whose}')}"
    verb = "is" if worse == 1 else "are"
    return f"{numbers.count(worse)} of {numbers.count(n)} answers on {where} {verb} worse than {whose}{by}: {score}"


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
        return f"Its confidence can no longer be trusted: it has {numbers.change(m.change, m.unit)} than the base's"
    (sure, right), (sure_before, right_before) = (
        (_whole(sure), _whole(right)) for sure, right in (pair for pair in both if pair)
    )
    contrast = "but right only" if both[0] and both[0][0] > both[0][1] else "and right"
    return (
        f"Its confidence can no longer be trusted: on average it is {sure} sure {contrast} {right} of the time (base: "
        f"{sure_before} sure, right {right_before})"
    )


def _sure_and_right(m: MeasurementReport, role: str) -> tuple[float, float] | None:
    facts = mapping(m.details.get(role))
    sure, right = numbers.finite(facts.get("confidence")), numbers.finite(facts.get("accuracy"))
    return None if sure is None or right is None else (sure, right)


def _whole(share: float) -> str:
    return f"{numbers.decimal(100 * share, 0)} %"


def _from_to(moved: str) -> str:
    return moved.replace(" → ", " to ")
