"""The number that an answer comes to, as people, Markdown, LaTeX and other countries write it. Pure."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace

import regex

from ftgate.scoring.folding import FRACTION, MOST_NESTED, powers, typography, without_latex
from ftgate.scoring.number_words import chinese_number, english_number
from ftgate.scoring.remarks import last_aside, restates, without_footnotes
from ftgate.scoring.writing import WORD_CHARACTER

_UNREADABLE = "\ue000"
"""Stands for a fraction that is no number, so that its last digits are not read as one."""
_VULGAR = regex.compile(r"(?P<whole>(?<![\d.,])\d+)?\s?(?P<part>[¼-¾⅐-⅞])")
_OVER = regex.compile(r"\{([^{}\\]*)\\over\b([^{}\\]*)\}")
_ROOT = regex.compile(
    r"(?P<factor>(?<![\w.,])\d+(?:\.\d+)? ?)?"
    r"(?:\\sqrt\s*(?:\[(?P<degree>[2-9])\])?(?:\{(?P<of>[^{}]*)\}|(?P<of>\d+))|√ ?(?P<of>\d+))"
)
_COMMAND = regex.compile(r"\\(?:(?P<fraction>[cdt]?frac|nicefrac|sfrac|[dt]?binom)|sqrt|overline)(?![A-Za-z])")
_REPEATING = regex.compile(r"(?<![\w.,])(?P<before>\d*\.\d*)\\(?:overline|bar|dot)\s*\{(?P<over>\d{1,9})\}")
_TIMES_PI = regex.compile(r"(?<![\w.,])(?P<factor>\d+(?:\.\d+)?) ?(?:\\pi(?![A-Za-z])|π(?!\w))")
_ABBREVIATED_CURRENCY = regex.compile(r"(?<!\w)(Rs|[Kk]r|Fr)\.(?=\s?\d)")
_ARABIC_MARKS = str.maketrans({"٫": ".", "٬": ",", "٪": "%", "؉": "‰"})
_SHARES = {"‰": 0.001}

_SUBSCRIPT = regex.compile("[₀-₉]+")

_SCALES = {
    1e2: "hundred",
    1e3: "thousand tausend mil mila mille тыс k",
    1e6: "million millions millionen mio millones millón milhão milhões milione milioni млн M",
    1e9: "billion billions milliard milliards milliarde milliarden mrd miliardo miliardi млрд bn B",
    1e12: "trillion trillions",
    1e4: "万 萬 만",
    1e8: "亿 億 억",
}
_UNITS = {word: scale for scale, words in _SCALES.items() for word in words.split()} | {"千": 1e3, "천": 1e3}
_MYRIADS = regex.compile(
    r"(?<![\w.,])(?=\d[\d,.]*[億亿억]\s?\d|\d[\d,.]*[万萬만]\d)(?:(?P<high>\d[\d,]*(?:\.\d+)?)[億亿억]\s?)?"
    r"(?:(?P<middle>\d[\d,]*(?:\.\d+)?)[万萬만])?(?P<low>\d[\d,]*)?(?![.,]?\d)"
)
"""A number in parts of ten thousand, as 1億2000万 and 3万5000."""
_LETTERS = ["k", "M", "B"]
"""Scales that count only right after the number, but for K: 5 M may be a concentration."""
_SCALE_WORDS = "|".join(word for word in _UNITS if word.isascii() and word not in _LETTERS)
_OTHER_SCALE_WORDS = "|".join(word for word in _UNITS if not word.isascii() and len(word) > 1)
_SCALE_SIGNS = "".join(word for word in _UNITS if not word.isascii() and len(word) == 1)

_ONE_MARK = regex.compile(r"[1-9]\d{0,2}(?:\.\d{3}|,(?!000)\d{3})")
_GROUPING = regex.compile(r"[ \u202f',._]")
_SLASH = "[/⁄∕]"
_NUMBER = regex.compile(
    # The exponent of a unit or a name, and a subscript, look like numbers and are none.
    r"(?V1)(?=[\d.\s^_\ue000\-−+±\p{Sc}mMnN])(?:(?<=[\p{L}\p{M})\]}°])\s*\^\s*(?:\{[^{}]*\}|[-−+]?\d+)|_\{[^{}]*\}"
    # The number of a name, which has a capital after its first letter or no other (GPT-4, F-16), and a decade.
    r"|-(?<=(?<![\p{L}\d])(?:\p{Lu}|\p{L}{1,10}\p{Lu}\p{L}{0,10}|Covid)-)\d[\d.,]*\w*|(?<![\w.,])[12]\d\d0'?s(?!\w)"
    # What follows ± says how exact the number before is; two points make a version or an address.
    r"|(?<=\d\s?)±\s?\d+(?:[.,]\d+)?"
    rf"|(?<!{WORD_CHARACTER}|\.)(?!(?:\d{{1,3}}(?:\.\d{{3}}){{2,}}|\d\d?\.\d\d?\.\d{{4}})(?![.]?\d))\d+(?:\.\d+){{2,}}+"
    rf"|(?P<unreadable>{_UNREADABLE})"
    rf"|(?<!{WORD_CHARACTER}|(?<!\.)\.)(?P<sign>(?<!\d\s?[%°\p{{Sc}}])[-+−]|(?<!\d )(?i:minus|negative) )?"
    r"(?:\p{Sc} ?)?"
    r"(?:\d\d?\.\d\d?\.(?=\d{4}(?![.,]?\d)))?"  # the day and the month before a year
    rf"(?:(?P<whole>\d{{1,3}}) (?=\d+ ?{_SLASH} ?\d))?"
    r"(?P<digits>"
    r"(?P<spaced>(?<!\d[ \u202f])(?>[1-9]\d{0,2}(?:[ \u202f]\d{3}(?!\d))+)(?![ \u202f]\d)(?:[.,]\d+(?![.,]?\d))?)"
    r"|(?P<quoted>\d{1,3}(?:(?:'\d{3}(?!\d))+|(?:_\d{3}(?!\d))+)(?:[.,]\d+)?)"
    r"|(?P<commas>(?<!\d,)\d{1,3}(?>(?:,\d{3}(?!\d))+)(?!,\d)(?:\.\d+)?)"
    r"|(?P<lakhs>(?<!\d,)\d{1,2}(?>(?:,\d{2}(?!\d))+),\d{3}(?!,?\d)(?:\.\d+)?)"
    r"|(?P<points>(?<!\d\.)\d{1,3}(?:(?>(?:\.\d{3}(?!\d)){2,})(?!\.\d)(?:,\d+)?|\.\d{3},\d+(?![.,]?\d)))"
    r"|(?P<comma>(?<!\d,)\d+,\d+(?![.,]?\d)(?:[eE][-+−]?\d{1,3})?)"
    r"|(?P<plain>(?:\d+(?:\.\d+)?|(?<!\.)\.\d+)(?:[eE][-+−]?\d{1,3})?))"
    rf"(?: ?{_SLASH} ?(?P<under>\d+(?:\.\d+)?(?:e0)?)(?! ?{_SLASH}|[.,]?\d))?"
    r"(?P<scientific>\s*[×·x*]\s*10(?=\s*\^|\*\*[-−+]?\d))?"
    r"(?:(?:\s*\^\s*|\*\*(?=[-−+]?\d))(?:\{\s*(?P<power>[-−+]?\d{1,4})\s*\}|(?P<power>[-−+]?\d{1,4})(?![\d.,]*\d)))?"
    r"(?P<percent>\s?(?:[%‰]|(?i:per ?cent)\b))?"
    rf"(?:\s?(?P<scale>{_OTHER_SCALE_WORDS}|(?i:{_SCALE_WORDS}))(?!\w)|(?P<scale>[kMB]|\s?K)(?!\w)|\s?(?P<scale>[{_SCALE_SIGNS}]))?)"
)

_JOINED = regex.compile(r"\d\s?(?:[%°\p{Sc}]|\p{L}{1,3})?[-–~〜]\p{Sc}?\Z|\d:\Z")
"""Before a number that is the end of a range, a date, a telephone number, a time or a ratio."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written. ``values`` are all the ways to read it, the usual one first: 1.250 may be 1250.

    ``unit`` is what follows the number: 0.01 for a percent sign, 1e6 for the word million, 1 for nothing of the kind.
    ``restated`` is what parentheses after it give in another unit: ``60 mph (about 97 km/h)``.
    """

    values: tuple[float, ...]
    unit: float = 1.0
    restated: Number | None = None

    def equals(self, other: Number | None, tolerance: float = 0.0) -> bool:
        """Whether ``other`` may be read as this number; 50 % is 50 and 0.5 where only one of the two has a unit."""
        if other is None:
            return False
        if other.restated is not None and self.equals(other.restated, tolerance):
            return True
        pairs = ((wanted, actual) for wanted in self._readings(other) for actual in other._readings(self))
        return any(same_number(wanted, actual, tolerance) for wanted, actual in pairs)

    def _readings(self, other: Number) -> tuple[float, ...]:
        if self.unit == other.unit:
            return self.values
        scaled = tuple(value * self.unit for value in self.values)
        return scaled if other.unit != 1 else (*self.values, *scaled)


def same_number(wanted: float, actual: float | None, tolerance: float = 0.0) -> bool:
    """Whether ``actual`` equals ``wanted`` within ``tolerance`` and rounding, which whole numbers have none of."""
    if actual is None:
        return False
    rounding = 1e-15 if wanted % 1 == actual % 1 == 0 else 1e-9
    return math.isclose(actual, wanted, rel_tol=rounding, abs_tol=tolerance * (1 + 1e-9))


def last_number(text: str) -> float | None:
    """The last number in ``text`` in its usual reading (:func:`number_in`). None where there is none."""
    number = number_in(text)
    return number.values[0] if number is not None else None


def wanted_number(reference: str) -> Number | None:
    """The last number of a reference, in its usual reading alone: a comma before three digits groups them."""
    number = number_in(reference)
    return Number(number.values[:1], number.unit) if number is not None else None


def read_two_ways(reference: str) -> tuple[float, float] | None:
    """Both readings of a reference's last number if it has a point before three digits (``1.250``, 1.25 or 1250).

    None where a second number in the text, or the number itself, leaves no doubt. ``1,250`` is 1250: hardly anybody
    writes three decimals after a comma, and data sets are full of commas between thousands.
    """
    number = number_in(reference)
    if number is None or len(number.values) < 2 or abs(number.values[0]) > abs(number.values[1]):
        return None
    return number.values[0], number.values[1]


def number_in(text: str) -> Number | None:
    r"""The last number in ``text``: what a worked answer usually ends with. None where there is none.

    The last ``\boxed{}`` with a number in it goes before what follows it. Groups of three digits may be separated by
    commas, apostrophes, points or single spaces of any width, or as in India (``12,34,567``); decimals follow a point
    or a comma. Where that leaves two readings (``1,250``), other numbers of the text decide, and otherwise both are
    given. A sign counts where no word or digit stands before it, as in ``x = -5``. Fractions (``3/4``,
    ``1 1/2``, ``½``), powers of numbers (``10³``, ``2.5 × 10^{-3}``), roots and LaTeX (``1{,}250``, ``\frac{3}{4}``)
    are read at their value; a fraction that is no number (``\frac{x}{4}``) in the last place makes None. Exponents of
    units (``m²``), subscripts, versions (``3.10.2``), names (``GPT-4``), decades and what follows ``±`` are no numbers;
    the end of a range, a date, a time or a ratio (``3-5``, ``2:14``) in the last place makes None. An English or
    Chinese number word counts at the very end of the text (``6, not seven`` is 7); "one" alone does not, being mostly a
    pronoun. Footnote marks and a remark in parentheses after the number (``42 (see step 3)``) are passed over, but for
    one that states it in another way.
    """
    box = boxed(text)
    if box and (number := _number_in(box)) is not None:
        return number
    plain = without_footnotes(text)
    aside = last_aside(plain)
    if aside is not None and (number := _number_in(plain[: aside.start("content") - 1])) is not None:
        restated = _number_in(aside["content"])
        same = restated is not None and restates(aside, number.values[0], restated.values[0])
        return replace(number, restated=restated if same else None)
    return _number_in(plain) or (_number_in(text) if plain != text else None)


def _number_in(text: str) -> Number | None:
    plain = _readable(text)
    if (spelled := english_number(plain) or (None if plain.isascii() else chinese_number(plain))) is not None:
        return Number((spelled[0],), spelled[1])
    matches = [match for match in _NUMBER.finditer(plain) if match["digits"] or match["unreadable"]]
    if not matches or matches[-1]["unreadable"] or _JOINED.search(plain[: matches[-1].start()][-8:]):
        return None
    return _read(matches[-1], {_decimal_mark(match) for match in matches} - {""})


def boxed(text: str) -> str:
    r"""What stands in the last ``\boxed{}``; empty if there is none."""
    start = text.rfind("\\boxed{")
    return text[start + 7 : _group_end(text, start + 6) - 1] if start >= 0 else ""


def _readable(text: str) -> str:
    """``text`` with superscripts as powers, fractions and roots as decimal numbers, without LaTeX."""
    plain = text
    if not text.isascii():
        plain = _MYRIADS.sub(_myriads, plain)
        plain = powers(_VULGAR.sub(_vulgar, unicodedata.normalize("NFC", plain.translate(_ARABIC_MARKS))))
        plain = _SUBSCRIPT.sub(lambda match: f"_{{{match.group()}}}", plain)
    plain = _ABBREVIATED_CURRENCY.sub(r"\1 ", without_latex(typography(plain)))
    if plain.isascii() and "\\" not in plain:
        return plain
    plain = _TIMES_PI.sub(lambda match: _written(float(match["factor"]) * math.pi), _REPEATING.sub(_repeating, plain))
    for _ in range(MOST_NESTED):  # from the inside out
        replaced = FRACTION.sub(_fraction, _ROOT.sub(_root, _OVER.sub(r"\\frac{\1}{\2}", plain)))
        if replaced == plain:
            break
        plain = replaced
    return _without_unreadable(plain)


def _without_unreadable(text: str) -> str:
    """``text`` with one sign in place of each fraction and root that could not be worked out, its parts included."""
    parts, position = [], 0
    for command in _COMMAND.finditer(text):
        if command.start() >= position:
            parts += [text[position : command.start()], f" {_UNREADABLE}"]
            position = _group_end(text, command.end())
            position = _group_end(text, position) if command["fraction"] else position
    return "".join((*parts, text[position:]))


def _group_end(text: str, start: int) -> int:
    """Where the group in braces, or the one character, that begins at ``start`` ends; the text's end if it does not."""
    while start < len(text) and text[start].isspace():
        start += 1
    depth = 0
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth <= 0:
            return position + 1
    return len(text)


def _written(value: float) -> str:
    """A value that was worked out, as text that can be read in one way only."""
    text = repr(value)
    return text if "e" in text or not math.isfinite(value) else f"{text}e0"


def _repeating(match: regex.Match[str]) -> str:
    r"""The value of a decimal fraction with a period: ``0.1\overline{6}``."""
    before, over = match["before"], match["over"]
    places = len(before.partition(".")[2])
    period = int(over) / (10 ** len(over) - 1) / 10**places
    return _written(float(f"0{before}0") + period)


def _myriads(match: regex.Match[str]) -> str:
    parts = [float((match[name] or "0").replace(",", "")) for name in ("high", "middle", "low")]
    return _written(parts[0] * 1e8 + parts[1] * 1e4 + parts[2])


def _vulgar(match: regex.Match[str]) -> str:
    return _written(int(match["whole"] or 0) + unicodedata.numeric(match["part"]))


def _fraction(match: regex.Match[str]) -> str:
    r"""The value of a LaTeX fraction, together with a whole number that stands right before it (``1\frac{1}{4}``)."""
    numerator, denominator = (_whole_number(part) for part in (match["over"], match["under"]))
    if numerator is None or not denominator:
        return f" {_UNREADABLE}"
    value = _written(int(match["whole"] or 0) + numerator / denominator)
    return f" {value}" if _before(match)[-1:].isalpha() else value


def _root(match: regex.Match[str]) -> str:
    r"""The value of a root of a number, with the factor before it (``2\sqrt{3}``)."""
    number = _whole_number(match["of"])
    if number is None or number < 0:
        return f" {_UNREADABLE}"
    value = float(match["factor"] or 1) * number ** (1 / int(match["degree"] or 2))
    return _written(value) if math.isfinite(value) else f" {_UNREADABLE}"


def _whole_number(text: str) -> float | None:
    """The number that ``text`` is, with nothing around it, or None."""
    match = _NUMBER.fullmatch(text.strip())
    number = _read(match, ()) if match and match["digits"] else None
    return number.values[0] if number is not None else None


def _decimal_mark(match: regex.Match[str]) -> str:
    """Which of point and comma a number shows to stand before its decimals; empty if it may be either."""
    if match["unreadable"] or _both_readings(match) or _is_list(match):
        return ""
    digits: str = match["digits"]
    if "e" in digits.lower():
        return ""
    if match["points"] or match["comma"] or (match["commas"] and digits.startswith("0")):
        return ","
    if match["commas"] or match["lakhs"]:
        return "."
    return next((mark for mark in ".," if mark in digits), "")


def _both_readings(match: regex.Match[str]) -> bool:
    """Whether a number has one point or comma with three digits after it, so that it may be grouped or not."""
    return _ONE_MARK.fullmatch(match["digits"]) is not None


def _is_list(match: regex.Match[str]) -> bool:
    """Whether two numbers with a comma between them stand in brackets: (2,5) is a pair rather than a number."""
    if not match["comma"]:
        return False
    return f"{_before(match)[-1:]}{match.string[match.end() : match.end() + 1]}" in ("()", "[]", "{}")


def _before(match: regex.Match[str]) -> str:
    """The two characters before a match."""
    return match.string[max(0, match.start() - 2) : match.start()]


def _read(match: regex.Match[str], marks: Iterable[str]) -> Number | None:
    """The number that a match is, in all its readings. ``marks`` are the decimal marks that the text shows."""
    digits: str = match["digits"]
    if _both_readings(match):
        shown = set(marks)
        decimal = next(iter(shown)) if len(shown) == 1 else ""
        texts = [_plain(digits, mark) for mark in ([decimal] if decimal else [".", ","])]
    elif _is_list(match):
        texts = [digits.split(",")[1], _plain(digits, ",")]
    else:
        texts = [_plain(digits, _decimal_mark(match) or ".")]
    values = tuple(value for text in texts if (value := _value(match, float(text))) is not None)
    unit = (
        _SHARES.get((match["percent"] or "").strip(), 0.01)
        if match["percent"]
        else _unit((match["scale"] or "").strip())
    )
    return Number(values, unit) if values else None


def _is_date(match: regex.Match[str], number: float) -> bool:
    """Whether two numbers with a slash between them are the end of a date, or a season (2020/21)."""
    season = 1000 <= number < 3000 and len(match["under"]) in (2, 4)
    return "." not in match["under"] and (season or _before(match).rstrip()[-1:] in ("/", "⁄", "∕"))


def _plain(digits: str, mark: str) -> str:
    """Digits with groups and a decimal mark as Python writes them."""
    return _GROUPING.sub(lambda m: "." if m.group() == mark else "", digits).replace("−", "-")


def _value(match: regex.Match[str], number: float) -> float | None:
    """A number with its fraction, power, and sign; None for a fraction of nothing."""
    if match["under"]:
        under = float(match["under"])
        if not under:
            return None
        whole, part = int(match["whole"] or 0), number / under
        number = under if _is_date(match, number) else part + (whole if part < 1 else 0)
    if match["power"]:
        power = int(match["power"].replace("−", "-"))
        try:
            number = number * 10.0**power if match["scientific"] else number**power
        except (OverflowError, ZeroDivisionError):
            return math.inf
    return -number if (match["sign"] or "+") != "+" else number


def _unit(word: str) -> float:
    """What a word after a number multiplies it by; 1 for none."""
    return _UNITS.get(word, _UNITS.get(word.casefold(), 1.0))
