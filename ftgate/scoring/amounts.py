"""Scores, changes, intervals and limits in words: one way of saying them for every decision, report and table. Pure.

A score is out of 100. A change is in points of it, or a share in % of what the base had, and says whether it was lost
or gained. Confidence has an error, of which there is more or less in points. A share of answers is in %, and its change
in points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

Number = float | None
Bounds = tuple[Number, Number]

NONE = "—"
"""Shown for a missing number."""
NO_CHANGE = "no change"
NO_GAIN = "gained nothing"
OF_BASE = "of what the base had"
"""What a relative change is a share of."""
OF_DEPLOYED = "of what the deployed model had"
_HUGE = 1e7
_SIDES: Mapping[str, tuple[str, str]] = {
    "drop": ("lost", "gained"),
    "loss": ("lost", "gained"),
    "gain": ("lost", "gained"),
    "ece": ("more error", "less error"),
    "rise": ("more", "fewer"),
}
"""The word for a change for the worse, and for the better, by the kind of its unit."""
_FIRST = ("drop", "loss", "gain")
"""The kinds whose word comes before the number."""
_RISEN: Mapping[str, str] = {
    "rise in compliance": "compliance with harmful requests",
    "rise in over-refusal": "refusals of harmless requests",
    "rise in cut answers": "answers cut at the token limit",
}


def kind(unit: str) -> str:
    """What kind of change a unit is of.

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


def percent(value: Number, *, signed: bool = False) -> str:
    """A share in [0, 1], or a relative change, as a percentage with one decimal."""
    text = decimal(None if value is None else 100 * value, 1, signed=signed)
    return text if text == NONE else f"{text} %"


def points(value: Number, *, signed: bool = True) -> str:
    """A difference between two scores or shares, in points."""
    text = decimal(None if value is None else 100 * value, 1, signed=signed)
    return text if text == NONE else f"{text} points"


def score(value: Number, unit: str) -> str:
    """A model's own result: its score out of 100, the share of its answers in %, or how far its confidence is off."""
    if kind(unit) == "other":
        return decimal(value, 3)
    return percent(value) if kind(unit) == "rise" else decimal(None if value is None else 100 * value, 1)


def scores(base: Number, candidate: Number, unit: str) -> str:
    """Both results with what they count: ``69.2 → 6.8 of 100``, ``0.0 → 78.8 %``, ``off by 8.4 → 17.9 points``."""
    before, after = score(base, unit), score(candidate, unit)
    moved = f"{before.removesuffix(' %') if after.endswith(' %') else before} → {after}"
    if kind(unit) in ("other", "rise") or NONE in moved:
        return moved
    return f"off by {moved} points" if kind(unit) == "ece" else f"{moved} of 100"


def answers(share: Number, n: int, unit: str) -> str:
    """A share of ``n`` answers as their number, where it is one: ``189 of 240 answers``; ``78.8 % of its answers``.

    The second form says that other answers than the ``n`` were counted too.
    """
    number = (share or 0.0) * n
    if share is None or not n or abs(number - round(number)) > 1e-6 * n:
        return f"{score(share, unit)} of its answers"
    return f"{round(number):,} of {n:,} answers"


def answers_of(share: Number, n: int, unit: str) -> str:
    """The same as :func:`answers` beside another one, which says of what: ``3``, ``1.5 %``."""
    return answers(share, n, unit).partition(" of ")[0]


def possible(value: Number, unit: str) -> Number:
    """``value`` within what a change in this unit can be: nobody loses more than everything."""
    if value is None or kind(unit) == "other":
        return value
    least = -math.inf if kind(unit) == "drop" else -1.0
    return min(max(value, least), 1.0)


def within_reach(bounds: Bounds, base: Number, unit: str) -> Bounds:
    """``bounds`` of a share's change, ending where the share would be 0 or 1: from 0 % nothing becomes fewer."""
    if base is None or not 0 <= base <= 1 or kind(unit) != "rise":
        return bounds
    low, high = (
        bound if bound is None or not math.isfinite(bound) else min(max(bound, -base), 1.0 - base) for bound in bounds
    )
    return low, high


def amount(value: Number, unit: str) -> str:
    """A change in its unit, signed as in the report, without a word for its direction."""
    value = possible(value, unit)
    if kind(unit) in ("gain", "rise", "ece"):
        return points(value)
    if kind(unit) == "loss":
        return points(value, signed=False)
    return percent(value) if kind(unit) == "drop" else decimal(value, 3)


def size(value: Number, unit: str) -> str:
    """How large a change is, without its direction: ``71.9 %``, ``4.0 points``."""
    value = possible(value, unit)
    if value is None or kind(unit) == "other":
        return amount(value, unit)
    return percent(abs(value)) if kind(unit) == "drop" else points(abs(value), signed=False)


def change(value: Number, unit: str) -> str:
    """A change with its direction: ``lost 12.0 %``, ``gained 4.0 points``, ``3.0 points more``, ``no change``."""
    text = size(value, unit)
    if value is None or NONE in text or kind(unit) == "other":
        return text
    return NO_CHANGE if is_zero(text) else _beside_word(text, _word(value, unit), unit)


def is_zero(text: str) -> bool:
    """Whether a number is nothing once it is rounded: such a change has no direction."""
    return not any(digit in "123456789" for digit in text)


def interval(bounds: Bounds | None, unit: str) -> str:
    """An interval in words: ``lost 93.9 to 97.6 %``, ``gained 1.2 to lost 3.9 %``; what is missing is a dash."""
    if bounds is None or bounds == (None, None):
        return NONE
    low, high = _near_first(bounds, unit)
    words = {_word(bound or 0.0, unit) for bound in (low, high)} - {""}
    if len(words) > 1:
        return f"{_beside_word(_number(low, unit), _word(low or 0.0, unit), unit)} to {change(high, unit)}"
    if low is None or high is None or kind(unit) == "other":
        return f"{change(low, unit)} to {change(high, unit)}"
    return _beside_word(f"{_number(low, unit)} to {size(high, unit)}", words.pop(), unit) if words else NO_CHANGE


def between(bounds: Bounds, unit: str) -> str:
    """An interval as a predicate: ``lost between 3.1 and 11.9 %``, ``lost up to 3.9 % or gained up to 1.2 %``.

    With a bound missing it is the interval in words.
    """
    low, high = _near_first(bounds, unit)
    words = [_word(bound or 0.0, unit) for bound in (low, high)]
    if low is None or high is None or kind(unit) == "other":
        return interval(bounds, unit)
    if not any(words):
        return NO_GAIN
    if words[0] == words[1]:
        return _beside_word(f"between {_number(low, unit)} and {size(high, unit)}", words[0], unit)
    parts = [
        _beside_word(f"up to {size(bound, unit)}", word, unit)
        for bound, word in zip((high, low), reversed(words), strict=True)
        if word
    ]
    return " or ".join(parts)


def beside(value: Number, bounds: Bounds | None, unit: str) -> str:
    """The interval beside its change, without what both share: ``34.9 to 64.9``, ``gained 1.2 to lost 3.9``."""
    text, own = interval(bounds, unit), "" if value is None else _word(value, unit)
    if not own or NONE in text:
        return brief(text, unit)
    words = [word for word in _SIDES[kind(unit)] if word in text]
    bare = text.replace(own, "").strip() if words == [own] else text
    return brief(bare, unit) if words != [own] else bare.removesuffix(" %").removesuffix(" points")


def brief(text: str, unit: str) -> str:
    """An interval in words where there is little room: without the unit where it says its direction."""
    directed = any(word in text for word in _SIDES.get(kind(unit), ()))
    return text.replace(" points", "").replace(" %", "").replace(" error", "") if directed else text


def change_and_interval(value: Number, bounds: Bounds, unit: str, of_what: str = "") -> str:
    """The change and its interval, without repeating unit and direction: ``lost 95.8 % (93.9 to 97.6)``.

    ``of_what`` stands between them: what a share is a share of, where it is not the base's whole score.
    """
    text, spread = change(value, unit), beside(value, bounds, unit)
    text = f"{text} {of_what}" if of_what and NONE not in text and text != NO_CHANGE else text
    return text if NONE in (text, spread) or text == spread else f"{text} ({spread})"


def limit(limits: Mapping[str, float], unit: str, *, short: bool = False) -> str:
    """The limit with its direction: ``loss under 10 % (warns from 8 %)``. ``short``: only the one that decides."""
    if "min_gain" in limits:
        least = limits["min_gain"]
        if least == 0:
            return "any gain"
        return f"gain over {_whole_points(least)}" if least > 0 else f"loss under {_whole_points(-least)}"
    if "block" not in limits:
        return NONE
    most = limits["block"]
    text = {
        "drop": f"loss under {_plain(most)} %",
        "loss": f"loss under {_whole_points(most)}",
        "ece": f"under {_whole_points(most)} more error",
        "rise": f"under {_whole_points(most)} more{'' if short else f' {risen(unit)}'}",
    }.get(kind(unit), f"change under {amount(most, unit)}")
    if "warn" not in limits or short:
        return text
    return f"{text} (warns from {amount(limits['warn'], unit).replace('.0 ', ' ')})"


def allowed(limits: Mapping[str, float], unit: str) -> str:
    """The limit as a clause: ``a loss under 10 % is allowed``, ``a gain over 3 points is required``."""
    if limits.get("min_gain") == 0:
        return "a gain is required"
    text = limit(limits, unit, short=True)
    article = "a " if text.startswith(("loss", "gain", "change")) else ""
    return f"{article}{text} is {'required' if limits.get('min_gain', -1.0) > 0 else 'allowed'}"


def compact_limit(limits: Mapping[str, float], unit: str) -> str:
    """The limit where there is little room: ``> 3 points``, ``< 10 %``."""
    if "min_gain" in limits:
        return f"> {_plain(limits['min_gain'])} points"
    if "block" not in limits:
        return NONE
    of_unit = {"drop": " %", "loss": " points", "rise": " points", "ece": " points"}.get(kind(unit))
    return f"< {_plain(limits['block'])}{of_unit}" if of_unit else f"< {amount(limits['block'], unit)}"


def compact_change(value: Number, unit: str) -> str:
    """A change where there is little room: ``lost 12.0 %``, ``+4.0 points``."""
    return amount(value, unit) if kind(unit) in ("gain", "ece", "rise") else change(value, unit)


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


def _word(value: float, unit: str) -> str:
    """The word for the direction of a change; empty for a unit without one, and for no change."""
    of_kind = kind(unit)
    if of_kind not in _SIDES or is_zero(size(value, unit)):
        return ""
    worse = value < 0 if of_kind == "gain" else value > 0
    return _SIDES[of_kind][0 if worse else 1]


def _beside_word(text: str, word: str, unit: str) -> str:
    return f"{word} {text}" if kind(unit) in _FIRST else f"{text} {word}"


def _near_first(bounds: Bounds, unit: str) -> Bounds:
    """The bounds within what is possible, None where there is none; of two on one side, the smaller change first."""
    finite = (bound if bound is not None and math.isfinite(bound) else None for bound in bounds)
    low, high = (possible(bound, unit) for bound in finite)
    if low is not None and high is not None and low * high >= 0 and abs(high) < abs(low):
        return high, low
    return low, high


def _number(value: Number, unit: str) -> str:
    """The size of a change without its unit."""
    return size(value, unit).removesuffix(" %").removesuffix(" points")


def _whole_points(share: float) -> str:
    return "1 point" if _plain(share) == "1" else f"{_plain(share)} points"


def _plain(share: float) -> str:
    """A share in percent without needless digits: ``10``, ``12.5``."""
    return f"{100 * share:.6g}"
