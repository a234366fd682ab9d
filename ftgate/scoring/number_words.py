"""Numbers in English and Chinese words at the very end of a text. Pure."""

from __future__ import annotations

import unicodedata

import regex

_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: at for at, word in enumerate(["zero", *_ONES, *_TEENS])} | {w: 10 * at for at, w in enumerate(_TENS, 2)}
_ONE, _TEN = "|".join(_ONES), "|".join(_TENS)
_BELOW_100 = rf"(?:(?:{_TEN})(?:[\s-](?:{_ONE}))?|{'|'.join(_TEENS)}|{_ONE}|zero)"
_BELOW_1000 = rf"(?:(?:{_ONE}|a)\shundred(?:(?:\sand)?\s{_BELOW_100})?|{_BELOW_100})"
_HUNDREDS = rf"(?:{'|'.join(_TEENS[1:])})\shundred"
_PARTS = {"a half": 0.5, "a quarter": 0.25, "three quarters": 0.75}
_SPELLED = regex.compile(
    rf"(?<![\w-]|\bpoint\s)(?:(?<!(?:\d|{_BELOW_100})\s)(?P<sign>minus|negative)\s)?"
    rf"(?:(?P<thousands>{_BELOW_1000}|a)\sthousand(?:(?:,|\sand)?\s(?P<rest>{_BELOW_1000}))?"
    rf"|(?P<dozens>half\sa|a|{_BELOW_100})\sdozen"
    rf"|(?P<rest>{_HUNDREDS}(?:(?:\sand)?\s{_BELOW_100})?|{_BELOW_1000})(?:\sand\s(?P<part>{'|'.join(_PARTS)}))?)"
    r"(?:\s(?P<unit>million|billion|trillion|per ?cent))?(?=[\W_]*\Z)"
)
_UNITS = {"million": 1e6, "billion": 1e9, "trillion": 1e12, "percent": 0.01, "per cent": 0.01}
_LAST_WORD = regex.compile(r"(?r)\p{L}+")
_LAST_WORDS = {*_WORDS, "hundred", "thousand", "dozen", "half", "quarter", "quarters", *_UNITS, "cent"}
"""What a number in words ends with: one look at the last word saves most texts the search."""

_DIGITS = "〇零一二三四五六七八九两兩"
_NUMERAL = rf"[{_DIGITS}十百千万萬亿億]"
_MEASURES = "个個只隻名人元块塊円岁歳つ枚本"
_COLLOQUIAL = regex.compile(r"[百千万萬亿億][一二三四五六七八九]\Z")
"""二百五 may be 250 or, less often, 205."""
_CHINESE = regex.compile(
    rf"(?<![第期拜周週点點之\d]|{_NUMERAL})(?P<sign>[负負])?(?:百分之(?P<percent>{_NUMERAL}+)"
    rf"|(?:(?P<under>{_NUMERAL}+)分之)?(?P<number>{_NUMERAL}+))[{_MEASURES}]?(?=[\W_]*\Z)"
)
_PLACES = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}


def english_number(text: str) -> tuple[float, float] | None:
    """The number word at the very end of ``text``, as a value and a unit such as 1e6; None if there is none.

    ``one`` alone is none, being mostly a pronoun.
    """
    tail = text[-200:].casefold()
    last = _LAST_WORD.search(tail)
    match = _SPELLED.search(tail) if last is not None and last.group() in _LAST_WORDS else None
    if match is None or match.group() == "one":
        return None
    value = 1000.0 * _below_1000(match["thousands"] or "") + _below_1000(match["rest"] or "")
    value += _PARTS.get(match["part"] or "", 0)
    if match["dozens"]:
        value = 12 * (0.5 if match["dozens"].startswith("half") else _below_1000(match["dozens"]))
    return -value if match["sign"] else value, _UNITS.get(match["unit"] or "", 1.0)


def _below_1000(words: str) -> int:
    head, hundred, tail = words.partition("hundred") if "hundred" in words else ("", "", words)
    hundreds = _WORDS.get(head.strip(), 1) if hundred else 0
    return 100 * hundreds + (1 if words == "a" else sum(_WORDS.get(word, 0) for word in regex.findall(r"[a-z]+", tail)))


def chinese_number(text: str) -> tuple[float, float] | None:
    """The number in Chinese characters at the very end of ``text``, as a value and a unit; None if there is none.

    A measure word may follow (``三个``). An ordinal, a weekday and 一 alone are none.
    """
    match = _CHINESE.search(text[-50:])
    if match is None:
        return None
    number, under = (_value(match[name]) for name in ("number", "under"))
    if match["percent"]:
        number = _value(match["percent"])
    if number is None or (match["under"] and not under) or match.group().rstrip(_MEASURES) == "一":
        return None
    value = number / (under or 1)
    return -value if match["sign"] else value, 0.01 if match["percent"] else 1.0


def _value(characters: str | None) -> float | None:
    """The value of Chinese numerals, or of digits one by one as in ``二〇二四``; None if they have none."""
    characters = (characters or "").replace("两", "二").replace("兩", "二")
    if not characters or not regex.fullmatch(_WELL_FORMED, characters) or _COLLOQUIAL.search(characters):
        return None
    if all(character in _DIGITS for character in characters):
        return float("".join(f"{unicodedata.numeric(character):.0f}" for character in characters))
    total, myriads, digit = 0, 0, 0
    for character in characters:
        if character in _MYRIADS:
            total, myriads, digit = (total + myriads + digit) * _MYRIADS[character], 0, 0
        elif character in _PLACES:
            myriads, digit = myriads + (digit or 1) * _PLACES[character], 0
        else:
            digit = int(unicodedata.numeric(character))
    return float(total + myriads + digit)


_FROM_1 = "[一二三四五六七八九]"
_ONE_PLACE = rf"(?:{_FROM_1}千)?(?:零?{_FROM_1}百)?(?:零?{_FROM_1}?十)?(?:零?{_FROM_1})?"
_WELL_FORMED = (
    rf"[〇零]|{_FROM_1}(?:[〇零]|{_FROM_1}){{2,}}"
    rf"|(?:(?!\Z|[亿億]){_ONE_PLACE}[亿億])?(?:(?![万萬])零?{_ONE_PLACE}[万萬])?零?{_ONE_PLACE}"
)
