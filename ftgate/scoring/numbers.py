"""The number that an answer comes to, as people, Markdown and LaTeX write it. Pure."""

from __future__ import annotations

import math
import unicodedata

import regex

from ftgate.scoring.folding import FRACTION, MOST_NESTED, powers, without_latex

_UNREADABLE = "\ue000"
"""Stands for a fraction that is no number, so that its last digits are not read as one."""
_VULGAR = regex.compile(r"(?P<whole>(?<![\d.,])\d+)?\s?(?P<part>[¼-¾⅐-⅞])")
_SEPARATORS = r"[,\u00a0\u2009\u202f'’]"
_NUMBER = regex.compile(
    # The exponent of a unit or a name, and a subscript, look like numbers and are none.
    r"(?<=[\p{L}\p{M})\]}°])\s*\^\s*(?:\{[^{}]*\}|[-−+]?\d+)|_\{[^{}]*\}"
    rf"|(?P<unreadable>{_UNREADABLE})"
    r"|(?<![\w.])(?P<sign>[-+−]?)\p{Sc}?"
    rf"(?P<digits>(?:\d{{1,3}}(?:{_SEPARATORS}\d{{3}})+(?!\d)|\d+)?(?:\.\d+|(?<=\d))(?:[eE][-+−]?\d{{1,3}})?)"
    r"(?P<scientific>\s*[×·x*]\s*10(?=\s*\^))?"
    r"(?:\s*\^\s*(?:\{\s*(?P<power>[-−+]?\d{1,4})\s*\}|(?P<power>[-−+]?\d{1,4})(?![\d.,]*\d)))?"
)

_ONES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: at for at, word in enumerate(["zero", *_ONES, *_TEENS])} | {w: 10 * at for at, w in enumerate(_TENS, 2)}
_ONE, _TEN = "|".join(_ONES), "|".join(_TENS)
_BELOW_100 = rf"(?:(?:{_TEN})(?:[\s-](?:{_ONE}))?|{'|'.join(_TEENS)}|{_ONE}|zero)"
_BELOW_1000 = rf"(?:(?:{_ONE}|a)\shundred(?:(?:\sand)?\s{_BELOW_100})?|{_BELOW_100})"
_SPELLED = regex.compile(
    rf"(?<![\w-]|\bpoint\s)(?:(?P<thousands>{_BELOW_1000}|a)\sthousand(?:(?:,|\sand)?\s(?P<rest>{_BELOW_1000}))?"
    rf"|(?P<rest>{_BELOW_1000}))(?=[\W_]*\Z)"
)


def last_number(text: str) -> float | None:
    r"""The last number in ``text``: what a worked answer usually ends with. None where there is none.

    Commas, apostrophes and narrow spaces between groups of three digits are read over, as is a currency sign; a sign
    counts where no word or digit stands before it, so that the end of ``3-5`` is 5. Powers of numbers (``10³``,
    ``2.5 × 10^{-3}``), ½ and LaTeX (``1{,}250``, ``12\,500``, ``\frac{3}{4}``) are read at their value; a fraction
    that is no number (``\frac{x}{4}``) in the last place makes None. Exponents of units (``m²``) and subscripts are no
    numbers. An English number word below a million counts at the very end of the text (``6, not seven`` is 7);
    "one" alone does not, being mostly a pronoun.
    """
    plain = _readable(text)
    if (spelled := _spelled(plain)) is not None:
        return spelled
    matches = [match for match in _NUMBER.finditer(plain) if match["digits"] or match["unreadable"]]
    return _value(matches[-1]) if matches else None


def _readable(text: str) -> str:
    """``text`` with superscripts as powers, fractions as decimal numbers and without LaTeX."""
    plain = without_latex(powers(_VULGAR.sub(_vulgar, unicodedata.normalize("NFC", text))))
    for _ in range(MOST_NESTED):  # from the inside out
        replaced = FRACTION.sub(_fraction, plain)
        if replaced == plain:
            break
        plain = replaced
    return plain


def _vulgar(match: regex.Match[str]) -> str:
    return repr(int(match["whole"] or 0) + unicodedata.numeric(match["part"]))


def _fraction(match: regex.Match[str]) -> str:
    r"""The value of a LaTeX fraction, together with a whole number that stands right before it (``1\frac{1}{4}``)."""
    numerator, denominator = (_whole_number(part) for part in (match["over"], match["under"]))
    if numerator is None or not denominator:
        return f" {_UNREADABLE}"
    value = repr(int(match["whole"] or 0) + numerator / denominator)
    return f" {value}" if match.string[: match.start()][-1:].isalpha() else value


def _whole_number(text: str) -> float | None:
    """The number that ``text`` is, with nothing around it, or None."""
    match = _NUMBER.fullmatch(text.strip())
    return _value(match) if match and match["digits"] else None


def _value(match: regex.Match[str]) -> float | None:
    if match["unreadable"]:
        return None
    number = float(regex.sub(_SEPARATORS, "", match["digits"]).replace("−", "-"))
    if match["power"]:
        power = int(match["power"].replace("−", "-"))
        try:
            number = number * 10.0**power if match["scientific"] else number**power
        except (OverflowError, ZeroDivisionError):
            return math.inf
    return -number if match["sign"] in ("-", "−") else number


def _spelled(text: str) -> float | None:
    """The number word at the very end of ``text``, or None."""
    match = _SPELLED.search(text[-200:].casefold())
    if match is None or match.group() == "one":
        return None
    return float(1000 * _below_1000(match["thousands"] or "") + _below_1000(match["rest"] or ""))


def _below_1000(words: str) -> int:
    head, hundred, tail = words.partition("hundred") if "hundred" in words else ("", "", words)
    hundreds = _WORDS.get(head.strip(), 1) if hundred else 0
    return 100 * hundreds + (1 if words == "a" else sum(_WORDS.get(word, 0) for word in regex.findall(r"[a-z]+", tail)))
