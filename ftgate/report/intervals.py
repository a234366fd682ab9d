"""Intervals in words, in the same direction as the change that they belong to. Pure."""

from __future__ import annotations

import re

from ftgate.report import numbers
from ftgate.report.schema import Number

_WORDS = re.compile(r" (?:%|points)(?P<direction> worse| better)?$")
"""What follows the number of a change: its unit, and its direction."""
_BARE = re.compile(r"[-+]?[\d.]+ to [-+]?[\d.]+")


def in_words(bounds: tuple[Number, Number] | None, unit: str) -> str:
    """An interval in words: ``93.9 to 97.6 % worse``, ``1.2 % better to 3.9 % worse``; what is missing is a dash."""
    if bounds is None or (bounds[0] is None and bounds[1] is None):
        return numbers.NONE
    low, high = (numbers.possible(bound, unit) for bound in bounds)
    if low is not None and high is not None and low * high >= 0 and abs(high) < abs(low):
        low, high = high, low
    first, last = numbers.change(low, unit), numbers.change(high, unit)
    words = _WORDS.search(last)
    if words and first.endswith(words[0]):
        return f"{first.removesuffix(words[0])} to {last}"
    shared = words[0].removesuffix(words["direction"] or "") if words else ""
    if numbers.is_zero(first) and shared and first.endswith(shared):  # nothing is neither better nor worse
        return f"{first.removesuffix(shared)} to {last}"
    return f"{first} to {last.removeprefix('ECE ')}"


def beside(value: Number, bounds: tuple[Number, Number] | None, unit: str) -> str:
    """The interval beside its change, without what both share: ``34.9 to 64.9``, ``1.2 better to 3.9 worse``."""
    text, words = short(bounds, unit), _WORDS.search(numbers.change(value, unit))
    if bounds is None or value is None or words is None:
        return text
    between = in_words(bounds, unit).removesuffix(words[0])
    return between if _BARE.fullmatch(between) else text


def short(bounds: tuple[Number, Number] | None, unit: str) -> str:
    """The interval where there is little room: without the unit where each end says its direction."""
    text = in_words(bounds, unit).removeprefix("ECE ")
    directed = text.endswith(("better", "worse"))
    return text.replace(" points", "").replace(" %", "") if directed else text
