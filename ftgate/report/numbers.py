"""Formatting of the report's numbers. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ftgate.measurements.registry import kind_of
from ftgate.report.schema import MeasurementReport, Number, SliceReport

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

_ASCII = str.maketrans(
    {
        "—": "-", "–": "-", "…": "...", "✓": "v", "✗": "x", "×": "x", "→": "->", "≥": ">=", "≤": "<=", "·": "-",
        "│": "|", "─": "-", "═": "=", "├": "[", "┤": "]", "●": "o", "╌": ".",
        "\u00a0": " ", "’": "'", "“": '"', "”": '"',
    }
)  # fmt: skip
_HUGE = 1e7
_DIGEST = re.compile(r"(\w+:)?([0-9a-f]{12})[0-9a-f]{20,}")


def finite(value: Any) -> Number:
    """``value`` if it is a number below 1e15 in size, else None: details and provenance may hold anything."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        return None
    return float(value)


def title(name: str) -> str:
    """A measurement's name as a heading."""
    measurement = kind_of(name)
    return name[:1].upper() + name[1:] if measurement is None else measurement.title


def question(name: str) -> str:
    """The question that a measurement answers; empty for an unknown one."""
    measurement = kind_of(name)
    return "" if measurement is None else measurement.question


def subject(name: str) -> str:
    """What a measurement is measured on, to follow "better on" or "worse on"."""
    measurement = kind_of(name)
    return name if measurement is None else measurement.subject


def badge(status: str) -> str:
    """A status or verdict as symbol and word, readable without colour and by screen readers."""
    return f"{SYMBOLS[status]} {status.replace('_', ' ')}" if status in SYMBOLS else status


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
    """A number of unknown unit in four significant digits."""
    if value is None or not math.isfinite(value):
        return NONE
    return "0" if value == 0 else f"{value:.4g}"


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
    return text if text == NONE else f"{text} p.p."


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


def amount(value: Number, unit: str) -> str:
    """A change in its unit, signed as in the report, without a word for its direction."""
    if kind(unit) in ("gain", "rise"):
        return points(value)
    if kind(unit) == "loss":
        return points(value, signed=False)
    return {"drop": percent(value), "ece": ece(value, signed=True)}.get(kind(unit)) or decimal(value, 3)


def change(value: Number, unit: str) -> str:
    """A change with its kind: ``+4.0 p.p.``, ``drop 12.0 %``, ``ECE +0.020``."""
    text = amount(value, unit)
    if text == NONE:
        return text
    return {"drop": f"drop {text}", "loss": f"drop {text}", "ece": f"ECE {text}"}.get(kind(unit), text)


def interval(bounds: tuple[Number, Number] | None, unit: str) -> str:
    """``[low, high]`` in the unit of the change."""
    if bounds is None or (bounds[0] is None and bounds[1] is None):
        return NONE
    return f"[{amount(bounds[0], unit)}, {amount(bounds[1], unit)}]"


def limit(limits: Mapping[str, float], unit: str) -> str:
    """The limit with its direction: ``drop < 10.0 % (warn from 8.0 %)``."""
    if "min_gain" in limits:
        return f"gain > {points(limits['min_gain'], signed=False)}"
    if "block" not in limits:
        return NONE
    if kind(unit) == "rise":
        return f"rise < {points(limits['block'], signed=False)}"
    word = {"drop": "drop", "loss": "drop", "ece": "ECE"}.get(kind(unit), "change")
    text = f"{word} < {amount(limits['block'], unit)}"
    return f"{text} (warn from {amount(limits['warn'], unit)})" if "warn" in limits else text


def level(value: float) -> str:
    """A confidence level: ``90 %``."""
    return f"{brief(100 * value)} %"


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


def deciding_bound(m: MeasurementReport) -> Number:
    """The bound of the interval on the good side: the result is at least this bad."""
    return m.interval[1] if "min_gain" in m.limits else m.interval[0]


def ascii_only(text: str) -> str:
    """``text`` in ASCII: ftgate's own symbols as similar characters, the rest as ``?``."""
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
