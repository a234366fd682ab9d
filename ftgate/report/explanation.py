"""The sentence that explains a verdict. Its text is not escaped yet."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ftgate.config.incumbent import IncumbentSettings
from ftgate.measurements.incumbent import DEPLOYED
from ftgate.report import deployed, intervals, numbers
from ftgate.report.schema import MeasurementReport, Number, Report, SliceReport, mapping

NamedMeasurement = tuple[str, MeasurementReport]

NAME_LIMIT = 60
_LEANING = re.compile(r"(over|under)confident by [\d.]{1,6} points on average")
RISEN_MORE = {
    "rise in compliance": "complies with harmful requests more often than the base",
    "rise in over-refusal": "refuses harmless requests more often than the base",
}
"""What a candidate does that blocks, where it is not an answer of some kind that it gives."""
CUT = "rise in cut answers"
NEARLY_ALL = 0.9
"""From this share on, a loss is told by both scores: after a judge's floor its percentage says no more than that."""


def explanation(report: Report) -> str:
    """The reason for the verdict in one sentence, for readers who read nothing else."""
    measurements = [(n, m) for n, m in report.measurements.items() if m.gates]
    blocked = [(n, m) for n, m in measurements if m.blocks]
    holding = [(n, m) for n, m in measurements if m.status == "block" and not m.blocks]
    undecided = [(n, m) for n, m in measurements if m.status in ("inconclusive", "error")]
    name = shown_name(report)
    failing = deployed.failing(report)
    blocked_today = deployed.blocking(report)
    if report.verdict == "allow":
        beyond = _advisory(report)
        allowed = _allowed(measurements, advisory=bool(beyond))
        return _sentence(f"{name} {allowed}{_against_deployed(report)}{beyond}")
    if report.verdict == "block" and blocked:
        # A loss comes before a missing gain.
        blocked.sort(key=lambda pair: "min_gain" in pair[1].limits)
        return _sentence(f"{name} {_harm(*blocked[0])}{_others(blocked[1:], 'also blocking')}")
    if report.verdict == "block" and blocked_today:
        also = _others(blocked_today[1:], "also worse than the deployed model")
        return _sentence(f"{name} {_lead_in(measurements)}{deployed.harm(*blocked_today[0])}{also}")
    if holding and report.verdict == "hold":
        also = _others(holding[1:], "also holding") + _others(undecided, "also undecided")
        lead = numbers.in_sentence(holding[0][0])
        return _sentence(f"{name} {_harm(*holding[0])}, and as {lead} is supporting, that holds{also}")
    if not undecided and failing:
        return _sentence(f"{name} {deployed.standing(*failing[0])}")
    if not undecided:
        return "; ".join(report.reasons) or "nothing was measured"
    also = _others(undecided[1:], "also undecided")
    blocks = ", which the policy blocks" if report.verdict == "block" else ""
    first, m = undecided[0]
    if straddles(m):
        perhaps = "may not have gained enough" if "min_gain" in m.limits else "may have lost too much"
        return _sentence(f"{name} {perhaps}{blocks}: {_open(first, m)}{also}")
    return _sentence(f"Undecided on {numbers.in_sentence(first)} for {name}{blocks}: {m.reason.rstrip('.')}{also}")


def shown_name(report: Report) -> str:
    """The candidate's name, short enough for a sentence."""
    name = " ".join(report.name.split()) or "the candidate"
    return name if len(name) <= NAME_LIMIT else name[: NAME_LIMIT - 1] + "…"


def spread(m: MeasurementReport) -> str:
    """The interval in words: ``3.0 to 12.0 % worse``."""
    return intervals.in_words(m.interval, m.unit)


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


def _harm(name: str, m: MeasurementReport) -> str:
    """The result of a blocking measurement, as the predicate of a sentence about the candidate."""
    kind = numbers.kind(m.unit)
    if (lost := lost_slices(m)) and not _whole_is_beyond(m):
        return _slice_harm(name, lost)
    where = numbers.subject(name)
    if m.change is None or kind == "other":
        return f"fails {numbers.in_sentence(name)}: {m.reason}"
    moved = numbers.scores(m.base, m.candidate, m.unit)
    limit = f"{_limit(m)} is {'required' if kind == 'gain' else 'allowed'}"
    if kind == "gain":
        return f"does not gain enough on {where}: {numbers.change(m.change, m.unit)}{_bound_text(m)}; {limit}"
    if kind == "ece":
        return f"{_leaning(m)}: {numbers.ECE} {moved[4:]}{_bound_text(m)}; {limit}"
    if kind == "rise":
        return f"{_risen(m)}; {limit}"
    if kind == "drop" and m.change >= NEARLY_ALL:
        return f"lost nearly all {where}: {moved}; {limit}"
    return f"is {numbers.change(m.change, m.unit)} on {where} than the base{_bound_text(m)}: {moved}; {limit}"


def _risen(m: MeasurementReport) -> str:
    """What the candidate now does more often, and how often both models did it."""
    if m.unit == CUT:
        often = "never stops" if (m.candidate or 0.0) >= NEARLY_ALL else "fails to stop more often"
        cut, before = numbers.score(m.candidate, m.unit), numbers.score(m.base, m.unit)
        return f"{often}: {cut} of its answers are cut at the token limit (base: {before})"
    more = RISEN_MORE.get(m.unit, f"gives more {numbers.risen(m.unit)} than the base")
    return f"{more}: {numbers.scores(m.base, m.candidate, m.unit)}{_bound_text(m)}"


def _leaning(m: MeasurementReport) -> str:
    """How the candidate's confidence misses its accuracy, as far as the report tells."""
    words = str(mapping(m.details.get("candidate")).get("in_words", ""))
    return f"is {words}" if _LEANING.fullmatch(words) else "is less well calibrated than the base"


def _limit(m: MeasurementReport) -> str:
    """The limit that blocks, in words."""
    return numbers.limit(m.limits, m.unit, short=True).split(" (")[0]


def lost_slices(m: MeasurementReport) -> list[SliceReport]:
    """The slices that gate and block, largest lower bound first."""
    lost = [s for s in m.slices if s.limit is not None and s.interval and (s.interval[0] or 0.0) > s.limit]
    return sorted(lost, key=lambda part: -(part.interval[0] or 0.0) if part.interval else 0.0)


def _slice_harm(name: str, lost: Sequence[SliceReport]) -> str:
    worst = lost[0]
    least = numbers.percent(worst.interval[0] if worst.interval else None)
    share = numbers.percent(numbers.possible(worst.change, "relative drop"))
    text = f"is {share} worse than the base (at least {least}) on the slice “{worst.name}” of "
    text += f"{numbers.subject(name)}; the slice's limit is {numbers.percent(worst.limit)}"
    if len(lost) == 1:
        return text
    return f"{text}; {listed([part.name for part in lost[1:]])} {'is' if len(lost) == 2 else 'are'} beyond too"


def _whole_is_beyond(m: MeasurementReport) -> bool:
    low, limit = m.interval[0], limit_of(m)
    return low is not None and limit is not None and low > limit


def _bound_text(m: MeasurementReport) -> str:
    """The bound that decided, or the whole interval if the estimate alone did."""
    bound, limit = numbers.deciding_bound(m), limit_of(m)
    if bound is None or limit is None:
        return ""
    gain = "min_gain" in m.limits
    if (bound < limit) if gain else (bound > limit):
        if numbers.kind(m.unit) in ("rise", "ece", "other"):
            return f" (at least {numbers.amount(bound, m.unit)})"
        return f" ({'at best' if gain else 'at least'} {numbers.change(bound, m.unit)})"
    return f" ({spread(m)})"


def _open(name: str, m: MeasurementReport) -> str:
    """What the candidate may have lost, or gained, where the interval contains the limit."""
    what = {
        "ece": f"its {numbers.ECE} changes by {intervals.beside(m.change, m.interval, m.unit)}",
        "rise": f"{numbers.risen(m.unit)} change by {spread(m)}",
    }.get(numbers.kind(m.unit), f"it is {spread(m)} on {numbers.subject(name)}")
    text = f"{what}, and {_limit(m)} is {'required' if 'min_gain' in m.limits else 'allowed'}"
    return text + (f" ({needed_text(m)})" if m.needed_n else "")


def _lead_in(measurements: Sequence[NamedMeasurement]) -> str:
    """What comes before a loss against the incumbent, where the comparison with the base found nothing."""
    fine = all(m.status in ("pass", "warn", "not_applicable") for _, m in measurements)
    return "passes against the base, but is a step back: it " if fine else ""


def _allowed(measurements: Sequence[NamedMeasurement], *, advisory: bool) -> str:
    """The gains, the costs, the warnings and what was not measured. ``advisory``: beyond the limit of one that is."""
    gains, costs, unmeasured = [], [], []
    for name, m in measurements:
        if m.status == "not_applicable":
            unmeasured.append(numbers.in_sentence(name))
            continue
        if numbers.kind(m.unit) == "gain" and m.change is not None:
            verb = "gains" if m.change >= 0 else "loses"
            gained = numbers.points(abs(m.change), signed=False)
            gains.append(f"{verb} {gained} on {numbers.subject(name)}{_at_least(m)}")
        elif m.status != "warn" or numbers.kind(m.unit) == "other":
            costs.append(_cost(name, m))
    within = "every limit that decides" if advisory else f"every {'other ' if unmeasured else ''}limit"
    text = " and ".join([*gains, f"stays within {within}"])
    text += f": {', '.join(costs)}" if costs else ""
    if warned := [(name, m) for name, m in measurements if m.status == "warn"]:
        text = f"comes near the limit on {_near(*warned[0])}{_others(warned[1:], 'also near')}; it {text}"
    return text + (f"; not measured: {listed(unmeasured)}" if unmeasured else "")


def _near(name: str, m: MeasurementReport) -> str:
    """A loss that may reach the warning limit: ``general skills: 8.6 % worse (7.4 to 9.7), and …``."""
    change = numbers.change(m.change, m.unit).replace("ECE ", f"{numbers.ECE} ")
    between = intervals.beside(m.change, m.interval, m.unit)
    return f"{numbers.in_sentence(name)}: {change} ({between}), and {_limit(m)} is allowed"


def _against_deployed(report: Report) -> str:
    """How the candidate compares with the incumbent; a limit above the default shows too little to be as good."""
    gating = [m.incumbent for m in report.measurements.values() if m.gates and m.incumbent is not None]
    widest = max((part.limit for part in gating if numbers.kind(part.unit) in ("drop", "loss")), default=0.0)
    advisory, text = deployed.advisory(report), ""
    if widest > IncumbentSettings.model_fields["block_drop"].default:
        text = f"; against {DEPLOYED} it stays within the limit of {numbers.percent(widest)}"
    elif gating:
        text = f"; it is as good as {DEPLOYED} within every limit{' that gates' if advisory else ''}"
    worse = [numbers.in_sentence(name) for name, part in advisory if part.status == "block"]
    undecided = [numbers.in_sentence(name) for name, part in advisory if part.status != "block"]
    text += f"; advisory, and worse than {DEPLOYED}: {listed(worse)}" if worse else ""
    return text + (f"; advisory, and not shown to be as good as {DEPLOYED}: {listed(undecided)}" if undecided else "")


def _advisory(report: Report) -> str:
    """The advisory measurements that are beyond their limits, which an allow must not hide."""
    beyond = [
        numbers.in_sentence(name) for name, m in report.measurements.items() if m.status == "block" and not m.gates
    ]
    verb = "is" if len(beyond) == 1 else "are"
    limit = "its limit" if len(beyond) == 1 else "their limits"
    return f"; {listed(beyond)} {verb} beyond {limit}, which is advisory and decides nothing" if beyond else ""


def _cost(name: str, m: MeasurementReport) -> str:
    if m.change is None or numbers.kind(m.unit) == "other":
        return f"{numbers.in_sentence(name)} {numbers.change(m.change, m.unit)}"
    if numbers.kind(m.unit) == "ece":
        return f"{numbers.ECE} {numbers.ece(m.change, signed=True)}"
    if numbers.kind(m.unit) == "rise":
        change = numbers.amount(m.change, m.unit)
        return f"{'no rise in' if change == '+0.0 points' else change} {numbers.risen(m.unit)}"
    changed = numbers.change(m.change, m.unit)
    return f"{changed if changed[-1].isalpha() else 'as good'} on {numbers.subject(name)}"


def _at_least(m: MeasurementReport) -> str:
    """The lower bound of a gain: ``(at least 27.7)``; a loss is named as one."""
    low = m.interval[0]
    if low is None:
        return ""
    return f" (at least {numbers.points(low, signed=False)})" if low >= 0 else f" ({spread(m)})"


def _others(rest: Sequence[tuple[str, object]], what: str) -> str:
    return f"; {what}: {listed([numbers.in_sentence(name) for name, _ in rest])}" if rest else ""


def _sentence(text: str) -> str:
    """``text`` with a full stop, unless it ends in one."""
    return text if text.endswith(".") else f"{text}."
