"""Formatting of the report's numbers. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ftgate.measurements.registry import kind_of
from ftgate.report.escape import as_code
from ftgate.report.schema import MeasurementReport, Number, Report, SliceReport
from ftgate.scoring.amounts import (
    NONE,
    amount,
    answers,
    answers_of,
    change,
    change_and_interval,
    compact_change,
    compact_limit,
    decimal,
    interval,
    kind,
    level,
    limit,
    percent,
    points,
    risen,
    score,
    scores,
)

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
    "hold": "Do not merge yet, more evidence needed",
    "error": "Do not merge yet, not tested",
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

__all__ = [
    "NONE",
    "amount",
    "answers",
    "answers_of",
    "change",
    "change_and_interval",
    "compact_change",
    "compact_limit",
    "decimal",
    "interval",
    "kind",
    "level",
    "limit",
    "percent",
    "points",
    "risen",
    "score",
    "scores",
]

_ASCII = str.maketrans(
    {
        "—": "-", "–": "-", "…": "...", "✓": "v", "✗": "x", "×": "x", "→": "->", "≥": ">=", "≤": "<=", "·": "-",
        "│": "|", "─": "-", "═": "=", "├": "[", "┤": "]", "●": "o", "╌": ".",
        "\u00a0": " ", "’": "'", "“": '"', "”": '"',
    }
)  # fmt: skip
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
    """A measurement inside a sentence: ``general skills``, or the name of its own as code."""
    measurement = kind_of(name)
    return as_code(name) if measurement is None else measurement.title.lower()


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
    return as_code(name) if measurement is None else measurement.subject


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


def about(seconds: float) -> str:
    """A duration to plan with: ``40 s``, ``3 min``, ``2 h 07 min``."""
    return duration(seconds) if not 60 <= round(seconds) < 3600 else f"{round(seconds / 60)} min"


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
