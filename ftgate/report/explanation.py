"""The sentence that explains a verdict. Its text is not escaped yet."""

from __future__ import annotations

from collections.abc import Sequence

from ftgate.report import numbers
from ftgate.report.schema import MeasurementReport, Number, Report

NamedMeasurement = tuple[str, MeasurementReport]

NAME_LIMIT = 60


def explanation(report: Report) -> str:
    """The reason for the verdict in one sentence, for readers who read nothing else."""
    measurements = list(report.measurements.items())
    blocked = [(n, m) for n, m in measurements if m.status == "block"]
    undecided = [(n, m) for n, m in measurements if m.status in ("inconclusive", "error")]
    name = shown_name(report)
    if report.verdict == "allow":
        return _sentence(f"{name} {_allowed(measurements)}")
    if report.verdict == "block" and blocked:
        # A loss comes before a missing gain.
        blocked.sort(key=lambda pair: "min_gain" in pair[1].limits)
        return _sentence(f"{name} {_harm(*blocked[0])}{_others(blocked[1:], 'blocks too', 'block too')}")
    if not undecided:
        return " ".join(report.reasons[:1]) or "nothing was measured"
    first, lead = undecided[0][0], _undecided(undecided[0][1])
    lead += _others(undecided[1:], "is undecided too", "are undecided too")
    blocks = ", which the policy blocks" if report.verdict == "block" else ""
    return _sentence(f"{first} is undecided for {name}{blocks}: {lead}")


def shown_name(report: Report) -> str:
    """The candidate's name, short enough for a sentence."""
    name = " ".join(report.name.split()) or "the candidate"
    return name if len(name) <= NAME_LIMIT else name[: NAME_LIMIT - 1] + "…"


def spread(m: MeasurementReport) -> str:
    """The interval in words: ``between 3.0 % and 12.0 %``."""
    return f"between {numbers.amount(m.interval[0], m.unit)} and {numbers.amount(m.interval[1], m.unit)}"


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
    kind, limit = numbers.kind(m.unit), numbers.amount(limit_of(m), m.unit)
    where = numbers.subject(name)
    if m.change is None or kind == "other":
        return f"fails {name}: {m.reason}"
    if kind == "gain":
        least_gain = numbers.points(limit_of(m), signed=False)
        gain = f"{numbers.points(m.change)}{_bound_text(m)}"
        return f"does not gain enough on {where}: {gain}; a gain above {least_gain} is required"
    if kind == "ece":
        rise = f"{numbers.ece(m.change)}{_bound_text(m)}"
        return f"is less well calibrated than the base: its calibration error rises by {rise}; the limit is {limit}"
    if kind == "loss":
        return (
            f"scores {numbers.amount(m.change, m.unit)} lower on {where} than the base{_bound_text(m)}; the "
            f"limit is {limit}"
        )
    if kind == "rise":
        more = f"gives {numbers.points(m.change, signed=False)} more {_risen(m)} than the base"
        return f"{more}{_bound_text(m)}; the limit is {limit}"
    return f"is {numbers.percent(m.change)} worse on {where} than the base{_bound_text(m)}; the limit is {limit}"


def _bound_text(m: MeasurementReport) -> str:
    """The bound that decided, or the whole interval if the estimate alone did."""
    bound, limit = numbers.deciding_bound(m), limit_of(m)
    if bound is None or limit is None:
        return ""
    gain = "min_gain" in m.limits
    if (bound < limit) if gain else (bound > limit):
        return f" ({'at most' if gain else 'at least'} {numbers.amount(bound, m.unit)})"
    return f" ({spread(m)})"


def _undecided(m: MeasurementReport) -> str:
    if not straddles(m):
        return m.reason.rstrip(".")
    what = {"gain": "the gain", "drop": "the drop", "loss": "the drop", "ece": "the rise in calibration error"}
    what["rise"] = f"the rise in {_risen(m)}"
    text = f"{what.get(numbers.kind(m.unit), 'the change')} lies {spread(m)}"
    text += f", and the limit is {numbers.amount(limit_of(m), m.unit)}"
    if "warn" in m.limits:
        text += f", with a warning from {numbers.amount(m.limits['warn'], m.unit)}"
    if m.needed_n:
        text += f" ({needed_text(m)})"
    return text


def _allowed(measurements: Sequence[NamedMeasurement]) -> str:
    """The gains, the costs and the warnings."""
    gains, costs = [], []
    for name, m in measurements:
        if m.status == "not_applicable":
            continue
        if numbers.kind(m.unit) == "gain" and m.change is not None:
            verb = "gains" if m.change >= 0 else "loses"
            at_least = f" (at least {numbers.points(m.interval[0])})" if m.interval[0] is not None else ""
            gains.append(f"{verb} {numbers.points(abs(m.change), signed=False)} on {numbers.subject(name)}{at_least}")
        else:
            costs.append(_cost(name, m))
    text = " and ".join([*gains, "stays within every limit"])
    text += f": {', '.join(costs)}" if costs else ""
    warned = [name for name, m in measurements if m.status == "warn"]
    return text + (f"; warning on {listed(warned)}" if warned else "")


def _cost(name: str, m: MeasurementReport) -> str:
    if m.change is None or numbers.kind(m.unit) == "other":
        return f"{name} {numbers.change(m.change, m.unit)}"
    if numbers.kind(m.unit) == "ece":
        return f"calibration error {numbers.ece(m.change, signed=True)}"
    if numbers.kind(m.unit) == "rise":
        return f"{_risen(m)} {numbers.points(m.change)}"
    word = "worse" if m.change >= 0 else "better"
    return f"{numbers.amount(abs(m.change), m.unit)} {word} on {numbers.subject(name)}"


def _risen(m: MeasurementReport) -> str:
    """What a share rose of: ``malformed answers``."""
    return m.unit.removeprefix("rise in ")


def _others(rest: Sequence[NamedMeasurement], one: str, many: str) -> str:
    if not rest:
        return ""
    return f"; {listed([name for name, _ in rest])} {one if len(rest) == 1 else many}"


def _sentence(text: str) -> str:
    """``text`` with a full stop, unless it ends in one (``p.p.``)."""
    return text if text.endswith(".") else f"{text}."
