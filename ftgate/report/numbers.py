"""Formatting of the report's numbers. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ftgate.measurements.registry import kind_of
from ftgate.report.schema import MeasurementReport, Number, Report, SliceReport

ECE = "expected calibration error (ECE)"
"""The quantity that confidence is measured by, spelled out."""
NONE = "—"
"""Shown for a missing number."""

SYMBOLS: Mapping[str, str] = {
    "pass": "✓",
    "warn": "!",
    "block": "✗",
    "inconclusive": "?",
    "error": "×",
    "not_applicable": "–",
    "allow": "✓",
    "hold": "?",
}
"""One narrow character for each status and verdict, shown beside the word."""

HEADLINES: Mapping[str, str] = {
    "allow": "May merge",
    "warn": "May merge, with a warning",
    "block": "Do not merge",
    "hold": "More evidence needed",
    "error": "Not judged",
    "waived": "May merge: waived",
    "no model change": "No model change",
    "pending": "Not judged yet",
}
"""What a verdict means for the pull request."""

EMOJI: Mapping[str, str] = {
    "allow": "✅",
    "pass": "✅",
    "warn": "⚠️",
    "block": "❌",
    "hold": "⏸️",
    "inconclusive": "⏸️",
    "error": "❗",
    "waived": "⚠️",
    "no model change": "➖",
    "pending": "⏳",
    "not_applicable": "➖",
}
"""The coloured sign of each status and verdict, where Markdown has no colours of its own."""

_ASCII = str.maketrans(
    {
        "—": "-", "–": "-", "…": "...", "✓": "v", "✗": "x", "×": "x", "→": "->", "≥": ">=", "≤": "<=", "·": "-",
        "│": "|", "─": "-", "═": "=", "├": "[", "┤": "]", "●": "o", "╌": ".",
        "\u00a0": " ", "’": "'", "“": '"', "”": '"',
    }
)  # fmt: skip
_HUGE = 1e7
_RISEN: Mapping[str, str] = {
    "rise in compliance": "compliance with harmful requests",
    "rise in over-refusal": "refusals of harmless requests",
    "rise in cut answers": "answers cut at the token limit",
}
_DIGEST = re.compile(r"(\w+:)?([0-9a-f]{12})[0-9a-f]{20,}")


def finite(value: Any) -> Number:
    """``value`` if it is a number below 1e15 in size, else None: details and provenance may hold anything."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        return None
    return float(value)


def title(name: str, kind: str = "") -> str:
    """A measurement as a heading: the title of its kind; one with a name of its own: ``german (general skills)``."""
    measurement = kind_of(name)
    if measurement is not None:
        return measurement.title
    of_kind = kind_of(kind)
    return name[:1].upper() + name[1:] if of_kind is None else f"{name} ({of_kind.title.lower()})"


def in_sentence(name: str) -> str:
    """A measurement inside a sentence: ``general skills``, or the name of its own."""
    measurement = kind_of(name)
    return name if measurement is None else measurement.title.lower()


def outcome(report: Report) -> str:
    """The verdict, or ``warn`` for an allow with a warning that counts."""
    warned = report.verdict == "allow" and any(m.gates and m.status == "warn" for m in report.measurements.values())
    return "warn" if warned else report.verdict


def headline(verdict: str) -> str:
    """``❌ Do not merge``: a verdict, or the outcome of a report, for a heading; other words as they are."""
    return f"{EMOJI[verdict]} {HEADLINES[verdict]}" if verdict in HEADLINES else verdict


def question(kind: str) -> str:
    """The question that a kind of measurement answers; empty for an unknown one."""
    measurement = kind_of(kind)
    return "" if measurement is None else measurement.question


def subject(name: str) -> str:
    """What a measurement is measured on, to follow "better on" or "worse on"."""
    measurement = kind_of(name)
    return name if measurement is None else measurement.subject


def badge(status: str) -> str:
    """A status or verdict as symbol and word, readable without colour and by screen readers."""
    return f"{SYMBOLS[status]} {status.replace('_', ' ')}" if status in SYMBOLS else status


def badge_of(m: MeasurementReport) -> str:
    """A measurement's status as symbol and word, with its tier unless it is blocking."""
    return badge(m.status) if m.tier == "blocking" else f"{badge(m.status)} ({m.tier})"


def kind_and_tier(name: str, kind: str, tier: str) -> str:
    """``german (forgetting, supporting)``: what the name does not tell; empty if that is nothing."""
    beyond_name = [kind] * (kind not in ("", name)) + [tier] * (tier not in ("", "blocking"))
    return f"{name} ({', '.join(beyond_name)})" if beyond_name else ""


def decimal(value: Number, digits: int, *, signed: bool = False) -> str:
    """``value`` with fixed decimals; no negative zero, an exponent for huge numbers, a dash for a missing one."""
    if value is None or not math.isfinite(value):
        return NONE
    if abs(value) >= _HUGE:
        return f"{value:{'+' if signed else ''}.1e}"
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = text.replace("-", "+" if signed else "")
    return text


def significant(value: Number) -> str:
    """A number of unknown unit in three significant digits."""
    if value is None or not math.isfinite(value):
        return NONE
    return "0" if value == 0 else f"{value:.3g}"


def learning_rate(value: float) -> str:
    """A learning rate in two digits: ``2e-4``, ``1.5e-5``."""
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits.removesuffix('.0')}e{int(exponent)}"


def brief(value: float) -> str:
    """A setting without needless digits: ``3``, ``2.5``, ``0.03``."""
    return decimal(value, 1).removesuffix(".0") if abs(value) >= 1 else f"{value:.2g}"


def percent(value: Number, *, signed: bool = False) -> str:
    """A share in [0, 1], or a relative change, as a percentage with one decimal."""
    text = decimal(None if value is None else 100 * value, 1, signed=signed)
    return text if text == NONE else f"{text} %"


def points(value: Number, *, signed: bool = True) -> str:
    """A difference between two shares, in percentage points."""
    text = decimal(None if value is None else 100 * value, 1, signed=signed)
    return text if text == NONE else f"{text} points"


def ece(value: Number, *, signed: bool = False) -> str:
    """An expected calibration error, or a change of one."""
    return decimal(value, 3, signed=signed)


def kind(unit: str) -> str:
    """The kind of a report's unit.

    ``gain``, ``drop`` (relative), ``loss`` (a drop in points), ``rise`` (of a share, in points), ``ece`` or ``other``.
    """
    lower = unit.lower()
    if "ece" in lower.split():
        return "ece"
    if lower.startswith("rise"):
        return "rise"
    if "gain" in lower:
        return "gain"
    if "drop" in lower:
        return "loss" if "absolute" in lower else "drop"
    return "other"


def score(value: Number, unit: str) -> str:
    """A model's own result: its score as a percentage, or its ECE."""
    return {"ece": ece(value), "other": decimal(value, 3)}.get(kind(unit)) or percent(value)


def scores(base: Number, candidate: Number, unit: str) -> str:
    """Both results: ``69.2 → 6.8 %``."""
    before, after = score(base, unit), score(candidate, unit)
    shared = before.removesuffix(" %") if after.endswith(" %") else before
    return f"ECE {before} → {after}" if kind(unit) == "ece" else f"{shared} → {after}"


def possible(value: Number, unit: str) -> Number:
    """``value`` within what a change in this unit can be: nobody loses more than everything."""
    if value is None or kind(unit) == "other":
        return value
    least = -math.inf if kind(unit) == "drop" else -1.0
    return min(max(value, least), 1.0)


def amount(value: Number, unit: str) -> str:
    """A change in its unit, signed as in the report, without a word for its direction."""
    value = possible(value, unit)
    if kind(unit) in ("gain", "rise"):
        return points(value)
    if kind(unit) == "loss":
        return points(value, signed=False)
    return {"drop": percent(value), "ece": ece(value, signed=True)}.get(kind(unit)) or decimal(value, 3)


def change(value: Number, unit: str) -> str:
    """A change with its direction: ``4.0 points better``, ``12.0 % worse``, ``ECE +0.020``, ``+3.0 points``."""
    text = amount(value, unit)
    if text == NONE or value is None:
        return text
    if kind(unit) == "ece":
        return f"ECE {text}"
    return text if kind(unit) in ("rise", "other") else _directed(value, unit)


def _directed(value: float, unit: str) -> str:
    """``12.0 % worse``: the size of a gain, drop or loss and whether it is one."""
    size_ = abs(possible(value, unit) or 0.0)
    text = percent(size_) if kind(unit) == "drop" else points(size_, signed=False)
    if is_zero(text):
        return text
    worse = value < 0 if kind(unit) == "gain" else value > 0
    return f"{text} {'worse' if worse else 'better'}"


def limit(limits: Mapping[str, float], unit: str, *, short: bool = False) -> str:
    """The limit with its direction: ``under 10 % worse (warns from 8 %)``. ``short``: not what a share rises of."""
    if "min_gain" in limits:
        least = limits["min_gain"]
        if least == 0:
            return "any gain"
        return f"over {_whole_points(least)} better" if least > 0 else f"under {_whole_points(-least)} worse"
    if "block" not in limits:
        return NONE
    if kind(unit) == "rise":
        return f"under {_whole_points(limits['block'])} more{'' if short else f' {risen(unit)}'}"
    text = {
        "drop": f"under {_plain(limits['block'])} % worse",
        "loss": f"under {_whole_points(limits['block'])} worse",
        "ece": f"ECE under {ece(limits['block'], signed=True)}",
    }.get(kind(unit), f"change under {amount(limits['block'], unit)}")
    if "warn" not in limits:
        return text
    warn = ece(limits["warn"], signed=True) if kind(unit) == "ece" else amount(limits["warn"], unit).replace(".0 ", " ")
    return f"{text} (warns from {warn})"


def compact_limit(limits: Mapping[str, float], unit: str) -> str:
    """The limit where there is little room: ``> 3 points``, ``< 10 %``, ``< +0.050``."""
    if "min_gain" in limits:
        return f"> {_plain(limits['min_gain'])} points"
    if "block" not in limits:
        return NONE
    units = {"drop": " %", "loss": " points", "rise": " points"}
    of_unit = units.get(kind(unit))
    return f"< {_plain(limits['block'])}{of_unit}" if of_unit else f"< {amount(limits['block'], unit)}"


def compact_change(value: Number, unit: str) -> str:
    """A change where there is little room: as :func:`change`, but a gain as ``+4.0 points``."""
    return amount(value, unit) if kind(unit) == "gain" else change(value, unit)


def is_zero(text: str) -> bool:
    """Whether a number is nothing once it is rounded: such a change has no direction."""
    return not any(digit in "123456789" for digit in text)


def _whole_points(share: float) -> str:
    return "1 point" if _plain(share) == "1" else f"{_plain(share)} points"


def _plain(share: float) -> str:
    """A share in percent without needless digits: ``10``, ``12.5``."""
    return f"{100 * share:.6g}"


def risen(unit: str) -> str:
    """What a share rises of: ``malformed answers``."""
    return _RISEN.get(unit, unit.removeprefix("rise in "))


def level(value: float) -> str:
    """A confidence level in one decimal, in more where that would round it up to certainty: ``90 %``, ``99.98 %``."""
    for digits in (1, 2, 3):
        text = f"{100 * value:.{digits}f}"
        if value >= 1 or float(text) < 100:
            return f"{text.rstrip('0').rstrip('.')} %"
    return "over 99.999 %"


def count(value: int) -> str:
    """A whole number with thousands separators."""
    return f"{value:,}" if abs(value) < 10**12 else "over 10^12"


def duration(seconds: Number) -> str:
    """``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 07 min``."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    if abs(seconds) < 9.95:
        return f"{decimal(seconds, 1)} s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    return f"{count(rounded // 3600)} h {rounded % 3600 // 60:02d} min"


def size(n: int) -> str:
    """Bytes in the largest binary unit in which the number is at least 1."""
    amount_, unit = float(n), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if abs(amount_) < 1024:
            break
        amount_, unit = amount_ / 1024, larger
    return f"{n} B" if unit == "B" else f"{decimal(amount_, 1)} {unit}"


def rate(done: int, seconds: float) -> str:
    """Steps per second; a dash before any time has passed."""
    if seconds <= 0:
        return NONE
    value = done / seconds
    return f"{decimal(value, 0 if value >= 100 else 1)}/s"


def digest(value: str) -> str:
    """A digest cut to twelve digits, with its algorithm. Other text is returned unchanged."""
    match = _DIGEST.fullmatch(value)
    return f"{match[1] or ''}{match[2]}…" if match else value


def bin_range(low: Number, high: Number) -> str:
    """A bin of the calibration curve in whole percent: ``50-60 %``."""
    return f"{decimal(None if low is None else 100 * low, 0)}-{decimal(None if high is None else 100 * high, 0)} %"


def slice_change(part: SliceReport, unit: str) -> str:
    """A slice's change in the unit of its measurement."""
    return change(part.change, unit)


def slice_status(status: str) -> str:
    """The status of a slice beside its change, which says already that it is worse: here it is shown to be."""
    return "significant" if status == "worse" else status


def deciding_bound(m: MeasurementReport) -> Number:
    """The bound of the interval on the good side: the result is at least this bad."""
    return m.interval[1] if "min_gain" in m.limits else m.interval[0]


def ascii_only(text: str) -> str:
    """``text`` in ASCII: ftgate's own symbols as similar characters, the rest as ``?``."""
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
