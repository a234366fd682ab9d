"""The sentences that explain a verdict. Names in them stand between backticks; the text is not escaped yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ftgate.config.incumbent import IncumbentSettings
from ftgate.measurements.incumbent import DEPLOYED
from ftgate.report import deployed, numbers
from ftgate.report.escape import as_code
from ftgate.report.schema import IncumbentReport, MeasurementReport, Number, Report, SliceReport, mapping
from ftgate.scoring import amounts
from ftgate.verdict import CONTAINS_LIMIT, TOO_CLOSE

NamedMeasurement = tuple[str, MeasurementReport]

_Row = TypeVar("_Row")

NAME_LIMIT = 60
_LEANING = re.compile(r"(over|under)confident by [\d.]{1,6} points on average")
_TOO_SURE = {"over": "is too sure of itself", "under": "is not sure enough of itself"}
RISEN_MORE = {
    "rise in compliance": "complies with harmful requests more often than the base",
    "rise in over-refusal": "refuses harmless requests more often than the base",
}
"""What a candidate does that blocks, where it is not an answer of some kind that it gives."""
CUT = "rise in cut answers"
LIKELY = "likely range"
"""What sentences call the interval."""
NEARLY_ALL = 0.9
"""From this share on, a loss has no percentage: after a judge's floor it says no more than that."""


@dataclass(frozen=True, slots=True)
class Leading:
    """What a verdict rests on, the measurement that is told first at the head of its list."""

    against_base: Sequence[NamedMeasurement] = ()
    against_deployed: Sequence[tuple[str, IncumbentReport]] = ()
    undecided: bool = False
    """Those against the base are undecided, and not beyond their limits."""
    holding: bool = False
    """They would block, and only hold because the policy has them as supporting."""


def leading(report: Report) -> Leading:
    """What decided: what blocks, then what holds, then what is undecided; nothing for an allow."""
    measurements = [(n, m) for n, m in report.measurements.items() if m.gates]
    blocked = [(n, m) for n, m in measurements if m.blocks]
    holding = [(n, m) for n, m in measurements if m.status == "block" and not m.blocks]
    undecided = [(n, m) for n, m in measurements if m.status in ("inconclusive", "error")]
    if report.verdict == "allow":
        return Leading()
    if report.verdict == "block" and blocked:
        # A loss comes before a missing gain.
        return Leading(sorted(blocked, key=lambda pair: "min_gain" in pair[1].limits))
    if report.verdict == "block" and (blocked_today := deployed.blocking(report)):
        return Leading(against_deployed=blocked_today)
    if holding and report.verdict == "hold":
        return Leading(holding, holding=True)
    if undecided:
        return Leading(undecided, undecided=True)
    return Leading(against_deployed=deployed.failing(report))


def explanation(report: Report) -> str:
    """The reason for the verdict in a few short sentences, for readers who read nothing else."""
    measurements = [(n, m) for n, m in report.measurements.items() if m.gates]
    name, lead = shown_name(report), leading(report)
    if report.verdict == "allow":
        beyond = _advisory(report)
        allowed = _allowed(name, measurements, advisory=bool(beyond))
        return _sentences(allowed, *_against_deployed(report), beyond)
    if lead.undecided:
        return _undecided(report, name, lead.against_base)
    if lead.holding:
        supporting = f"In the policy, {numbers.in_sentence(lead.against_base[0][0])} is supporting: that holds instead "
        undecided = [(n, m) for n, m in measurements if m.status in ("inconclusive", "error")]
        others = [_others(lead.against_base[1:], "Also holding", _briefly), _others(undecided, "Also undecided")]
        return _sentences(f"{name} {_harm(*lead.against_base[0])}", f"{supporting}of blocking", *others)
    if lead.against_base:
        others = [_others(lead.against_base[1:], "Also blocking", _briefly)]
        return _sentences(f"{name} {_harm(*lead.against_base[0])}", *others)
    if lead.against_deployed:
        return _worse_than_deployed(report, name, lead.against_deployed, measurements)
    return _sentences("; ".join(report.reasons) or "nothing was measured")


def shown_name(report: Report) -> str:
    """The candidate's name as code, short enough for a sentence."""
    name = " ".join(report.name.split())
    return as_code(name if len(name) <= NAME_LIMIT else name[: NAME_LIMIT - 1] + "…") or "The candidate"


def straddles(m: MeasurementReport) -> bool:
    """Whether the interval contains the limit, so that more items could settle it."""
    low, high = m.interval
    limit = limit_of(m)
    return low is not None and high is not None and limit is not None and low <= limit <= high


def limit_of(m: MeasurementReport) -> Number:
    """The limit of the change."""
    return m.limits.get("min_gain", m.limits.get("block"))


def needed_text(m: MeasurementReport) -> str:
    """How much would settle an undecided result, and how much there was."""
    needed, had = numbers.count(m.needed_n or 0), numbers.count(m.n)
    if m.rows is None:
        return f"about {needed} items would settle it; this run had {had}"
    return f"about {needed} rows would settle it; this run had {numbers.count(m.rows)}, and {had} of them count"


def listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


def lost_slices(m: MeasurementReport) -> list[SliceReport]:
    """The slices that gate and block, largest lower bound first."""
    lost = [s for s in m.slices if s.limit is not None and s.interval and (s.interval[0] or 0.0) > s.limit]
    return sorted(lost, key=lambda part: -(part.interval[0] or 0.0) if part.interval else 0.0)


def _harm(name: str, m: MeasurementReport) -> str:
    """The result of a blocking measurement, as the predicate of a sentence about the candidate, and its limit."""
    kind = numbers.kind(m.unit)
    if (lost := lost_slices(m)) and not whole_is_beyond(m):
        return _slice_harm(name, lost)
    where = numbers.subject(name)
    if m.change is None or kind == "other":
        return f"fails {numbers.in_sentence(name)}: {m.reason.rstrip('.')}"
    likely, limit = _likely_unless_beyond(m), amounts.allowed(m.limits, m.unit)
    if kind == "gain":
        gained = numbers.change(m.change, m.unit).replace(amounts.NO_CHANGE, "gained nothing")
        return f"{gained} on {where}{likely}; {limit}"
    if kind == "ece":
        return f"{_leaning(m)}: its confidence error grew by {amounts.size(m.change, m.unit)}{likely}; {limit}"
    if kind == "rise":
        return f"{_risen(m)}{likely}; {limit}"
    if kind == "drop" and m.change >= NEARLY_ALL:
        return f"lost nearly all of the base's score on {where}; {limit}"
    of_base = f" {amounts.OF_BASE}" if kind == "drop" else ""
    return f"{numbers.change(m.change, m.unit)}{of_base} on {where}{likely}; {limit}"


def _risen(m: MeasurementReport) -> str:
    """What the candidate now does more often, and by how much."""
    if m.unit == CUT:
        often = "never stops by itself" if (m.candidate or 0.0) >= NEARLY_ALL else "fails to stop more often"
        cut, of_base = numbers.answers(m.candidate, m.n, m.unit), numbers.answers_of(m.base, m.n, m.unit)
        return f"{often}: {cut} had to be cut off at the token limit (base: {of_base})"
    more = RISEN_MORE.get(m.unit, f"gives more {numbers.risen(m.unit)} than the base")
    return f"{more}, by {amounts.size(m.change, m.unit)}"


def _leaning(m: MeasurementReport) -> str:
    """How the candidate's confidence misses its accuracy, as far as the report tells."""
    words = _LEANING.fullmatch(str(mapping(m.details.get("candidate")).get("in_words", "")))
    return _TOO_SURE[words[1]] if words else "is less well calibrated than the base"


def _briefly(m: MeasurementReport) -> str:
    """How bad it is in a few words, for a measurement that is named after the first one."""
    if m.change is None or numbers.kind(m.unit) == "other":
        return ""
    if (lost := lost_slices(m)) and not whole_is_beyond(m):
        return f"slice {as_code(lost[0].name)}: {numbers.change(lost[0].change, 'relative drop')}"
    if numbers.kind(m.unit) == "rise":
        now, before = (numbers.score(share, m.unit) for share in (m.candidate, m.base))
        return f"{now} {numbers.risen(m.unit)}; base: {before}"
    return numbers.change(m.change, m.unit)


def _slice_harm(name: str, lost: Sequence[SliceReport]) -> str:
    worst, unit = lost[0], "relative drop"
    text = f"{numbers.change(worst.change, unit)} {amounts.OF_BASE} on the slice {as_code(worst.name)} of "
    text += f"{numbers.subject(name)}; {amounts.allowed({'block': worst.limit or 0.0}, unit)}"
    if len(lost) == 1:
        return text
    others = listed([as_code(part.name) for part in lost[1:]])
    return f"{text} there. Also beyond {'its limit' if len(lost) == 2 else 'their limits'}: {others}"


def whole_is_beyond(m: MeasurementReport) -> bool:
    """Whether the interval of all items lies beyond the limit, and not only that of a slice."""
    low, limit = m.interval[0], limit_of(m)
    return low is not None and limit is not None and low > limit


def _likely(m: MeasurementReport) -> str:
    """The interval in plain words: `` (likely range: 3.1 to 11.9)``; empty without one."""
    if None in m.interval:
        return ""
    return f" ({LIKELY}: {amounts.beside(m.change, amounts.within_reach(m.interval, m.base, m.unit), m.unit)})"


def _likely_unless_beyond(m: MeasurementReport) -> str:
    """The interval, unless all of it is beyond the limit, as of nearly all that blocks: then it adds nothing."""
    bound, limit = numbers.deciding_bound(m), limit_of(m)
    if bound is None or limit is None or ((bound < limit) if "min_gain" in m.limits else (bound > limit)):
        return ""
    return _likely(m)


def _undecided(report: Report, name: str, undecided: Sequence[NamedMeasurement]) -> str:
    also = _others(undecided[1:], "Also undecided", _too_few)
    blocks = "The policy blocks what is undecided" if report.verdict == "block" else ""
    first, m = undecided[0]
    if straddles(m) and CONTAINS_LIMIT in m.reason:
        return _sentences(_open(name, first, m), also, blocks)
    return _sentences(f"Undecided on {numbers.in_sentence(first)} of {name}: {m.reason.rstrip('.')}", also, blocks)


def _open(candidate: str, name: str, m: MeasurementReport) -> str:
    """What the candidate has lost, or gained, within the interval, which contains the limit."""
    likely = amounts.between(amounts.within_reach(m.interval, m.base, m.unit), m.unit)
    what = {
        "ece": f"the confidence of {candidate} has {likely} than the base's",
        "rise": f"{candidate} gives {likely} {numbers.risen(m.unit)}",
    }.get(numbers.kind(m.unit), f"{candidate} {likely} on {numbers.subject(name)}")
    why = f"{numbers.count(m.n)} test items are too few to decide"
    if TOO_CLOSE in m.reason:
        why = "Too close to the limit for more test items to decide"
    return f"{why}: {what}, and {amounts.allowed(m.limits, m.unit)}"


def _worse_than_deployed(
    report: Report,
    name: str,
    worse: Sequence[tuple[str, IncumbentReport]],
    measurements: Sequence[NamedMeasurement],
) -> str:
    """What keeps it from taking the place of the incumbent, and that the base does not, where that is so."""
    if report.verdict != "block":
        return _sentences(f"{name} {deployed.standing(*worse[0])}")
    also = _others(worse[1:], "Also worse than the deployed model", deployed.lower)
    fine = all(m.status in ("pass", "warn", "not_applicable") for _, m in measurements)
    passes = "Passing against the base is not enough" if fine else ""
    return _sentences(f"{name} {deployed.harm(*worse[0])}", also, passes)


def _allowed(name: str, measurements: Sequence[NamedMeasurement], *, advisory: bool) -> str:
    """The gains, the warnings and what was not measured. ``advisory``: beyond the limit of one that is."""
    gains, unmeasured = list[str](), list[str]()
    for each, m in measurements:
        if m.status == "not_applicable":
            unmeasured.append(numbers.in_sentence(each))
        elif numbers.kind(m.unit) == "gain" and m.change is not None:
            gained = numbers.change(m.change, m.unit).replace(amounts.NO_CHANGE, "gained nothing")
            gains.append(f"{gained} on {numbers.subject(each)}{_likely(m)}")
    within = "every limit that decides" if advisory else f"every {'other ' if unmeasured else ''}limit"
    if warned := [(each, m) for each, m in measurements if m.status == "warn"]:
        near = _others(warned[1:], "Also near its limit" if len(warned) == 2 else "Also near their limits")
        text = f"stays within {within}, but near one: {_near(*warned[0])}{f'. {near}' if near else ''}"
        text += f". It {' and '.join(gains)}" if gains else ""
    else:
        text = " and ".join([*gains, f"stays within {within}"])
    return _sentences(f"{name} {text}", f"Not measured: {listed(unmeasured)}" if unmeasured else "")


def _near(name: str, m: MeasurementReport) -> str:
    """A loss near its limit: ``general skills lost 8.6 % of what the base had; a loss under 10 % is allowed``.

    Its interval stands there where the estimate alone does not reach the warning limit.
    """
    lost = " " if numbers.kind(m.unit) in ("drop", "loss") and m.change else ": "
    warn = m.limits.get("warn")
    likely = "" if warn is not None and m.change is not None and m.change >= warn else _likely(m)
    of_base = f" {amounts.OF_BASE}" if numbers.kind(m.unit) == "drop" and m.change else ""
    changed = f"{numbers.in_sentence(name)}{lost}{numbers.change(m.change, m.unit)}{of_base}{likely}"
    return f"{changed}; {amounts.allowed(m.limits, m.unit)}"


def _against_deployed(report: Report) -> list[str]:
    """How the candidate compares with the incumbent; a limit above the default shows too little to be as good."""
    gating = [m.incumbent for m in report.measurements.values() if m.gates and m.incumbent is not None]
    widest = max((part.limit for part in gating if numbers.kind(part.unit) in ("drop", "loss")), default=0.0)
    advisory, text = deployed.advisory(report), ""
    if widest > IncumbentSettings.model_fields["block_drop"].default:
        text = f"Against {DEPLOYED} it stays within the limit of {numbers.percent(widest)}"
    elif gating:
        text = f"It is as good as {DEPLOYED} within every limit{' that gates' if advisory else ''}"
    worse = [numbers.in_sentence(name) for name, part in advisory if part.status == "block"]
    undecided = [numbers.in_sentence(name) for name, part in advisory if part.status != "block"]
    return [
        text,
        f"Advisory, and worse than {DEPLOYED}: {listed(worse)}" if worse else "",
        f"Advisory, and not shown to be as good as {DEPLOYED}: {listed(undecided)}" if undecided else "",
    ]


def _advisory(report: Report) -> str:
    """The advisory measurements that are beyond their limits, which an allow must not hide."""
    beyond = [
        numbers.in_sentence(name) for name, m in report.measurements.items() if m.status == "block" and not m.gates
    ]
    if not beyond:
        return ""
    one = len(beyond) == 1
    limits = "is beyond its limit" if one else "are beyond their limits"
    text = f"{listed(beyond)} {limits}, but advisory: {'it decides' if one else 'they decide'} nothing"
    return text[0].upper() + text[1:]


def _others(rest: Sequence[tuple[str, _Row]], what: str, why: Callable[[_Row], str] = lambda _: "") -> str:
    """The other measurements of one kind, each with a few words on ``why``."""
    named = [f"{numbers.in_sentence(name)}{f' ({words})' if (words := why(m)) else ''}" for name, m in rest]
    return f"{what}: {listed(named)}" if rest else ""


def _too_few(m: MeasurementReport) -> str:
    """How many items there were of those that it needs, where that is what keeps it open."""
    if m.least_n is None or m.n >= m.least_n:
        return ""
    return f"{numbers.count(m.n)} test items, {numbers.count(m.least_n)} are needed"


def _sentences(*parts: str) -> str:
    """``parts``, each with a full stop unless it ends in one."""
    return " ".join(part if part.endswith(".") else f"{part}." for part in parts if part)
