"""What is added to the number that an answer ends with: footnotes, and remarks in parentheses. Pure."""

from __future__ import annotations

import regex

LONGEST_ASIDE = 400
"""Characters at the end of a text in which a remark in parentheses is looked for."""
_FOOTNOTE = regex.compile(
    r"(?<=[\d.!?%*_)\]$])\[\^?\d{1,3}\]|\s?\[\^\d{1,3}\]"
    r"|(?<=\d[*_]{0,3}[%.]?[*_]{0,3}) \[\d{1,3}\](?: ?\[\d{1,3}\])*+(?=[\s.*_]{0,5}\Z)"
)
_ASIDE = regex.compile(
    r"(?P<own>\p{Sc}?) ?\d[\d.,]*+(?P<own>[%*_$}\]]*+(?:\s*[^\s\d.:;,()（）]++){0,3})[.。]?[*_]*(?:\s+\(|\s*（)"
    r"(?P<content>\s*=?[^()（）=\n]{1,200})[)）][\s.。*_]*\Z"
)
"""A remark in parentheses at the end, after a number and at most three words or its sentence."""
_BARE = regex.compile(r"\s*[-+−]?\p{Sc}?\s?[-+−]?\d[\d.,]*\s?(?:%|‰|\p{Sc}|(?i:per ?cent))?\s*")
_RESTATED = regex.compile(
    r"\s*(?:=|≈|~|≃|i\.e\.|ca\.|about|around|roughly|nearly|approximately|approx\.?)\s*"
    r"(?P<unit>\p{Sc}?)[-−]?(?P<digits>\d(?:[\d.,]*\d)?)(?P<unit>[^\d+×*÷=]*)"
)
"""A remark with one number in it, which says the same in another unit or about as exactly."""
_UNIT = regex.compile(
    r"\p{Sc}|%|°?[CFK]|[kcmµn]?m[²³]?|[kmµ]?g|[cm]?[lL]|[mµ]s|s|h|min|[kMG]?(?:W|Wh|J|N|Pa|Hz|B)|k?cal|km/h|m/s|mph|mi|ft|in|yd|lbs?"
    r"|oz|(?:kilo|centi|milli)?(?:met|lit)(?:re|er)s?|(?:kilo|milli)?grams?|miles?|feet|foot|inch(?:es)?|yards?|pounds?"
    r"|ounces?|gallons?|acres?|hectares?|tonn?e?s?|knots?|(?:second|minute|hour|day|week|month|year|decade)s?|dollars?|euros?"
    r"|cents?|percent|degrees?"
)
"""A unit whose number can be given in another one. Any other words may stand after two different numbers."""


def without_footnotes(text: str) -> str:
    """``text`` without the marks of footnotes; ``[7]`` is one only where it follows a number or a sentence."""
    return _FOOTNOTE.sub("", text) if "[" in text else text


def last_aside(text: str) -> regex.Match[str] | None:
    """The number at the end of a text together with the remark after it, unless that is a bare number itself."""
    if text.rstrip(" \n.。*_")[-1:] not in (")", "）"):
        return None
    aside = _ASIDE.search(text, pos=max(0, len(text) - LONGEST_ASIDE))
    return aside if aside is not None and not _BARE.fullmatch(aside["content"]) else None


def restates(aside: regex.Match[str], number: float, restated: float) -> bool:
    """Whether the remark gives the number itself: in another unit, both named, or rounded to some decimals.

    Where that is in doubt the remark is about another number: ``3 (1 remains)``, ``40 (about 50)``.
    """
    match = _RESTATED.fullmatch(aside["content"])
    if match is None:
        return False
    own, other = _unit(aside.captures("own")), _unit(match.captures("unit"))
    if own and other:
        return own != other
    decimals = len(match["digits"].partition(".")[2])
    return not own and not other and decimals > 0 and abs(number - restated) < 10.0**-decimals


def _unit(parts: list[str]) -> str:
    """The unit that begins the text around a number; empty if that is none."""
    words = "".join(parts).strip("*_}] ").split()
    return words[0] if words and _UNIT.fullmatch(words[0].rstrip(".")) else ""
