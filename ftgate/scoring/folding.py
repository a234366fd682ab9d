"""What typography adds to an answer and no rule should depend on: kinds of quotes, Markdown emphasis, LaTeX. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

import regex

MOST_NESTED = 5
"""Depth to which LaTeX commands within LaTeX commands, and emphasis within emphasis, are unwrapped."""

_QUOTES: Mapping[int, str] = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛‹›ʼʻʽʹˈ´′՚׳❛❜", "'"),
        **dict.fromkeys("“”„‟«»″״❝❞〝〞〟「」『』", '"'),
        **dict.fromkeys("‐‑−", "-"),
    }
)
_INVISIBLE = dict.fromkeys(map(ord, "\xad\u061c\u200b\u200e\u200f\u2060\ufe0e\ufe0f\ufeff"))
_INVISIBLE |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])
"""Marks of direction, places where a line may break, kinds of emoji."""
_MINUS = regex.compile(r"(?<![\w)\]%°.])(?<!\d )–(?=\p{Sc}?\.?\d)")
"""An en dash that is a sign, not between the ends of a range."""
# At most 40 marks and runs between them are emphasised: marks that nothing closes must not each be followed to the end.
# Marks of another kind may stand right inside: __**so**__.
_EMPHASIS = regex.compile(
    r"(?<![\w*_`])(\*{1,3}|_{1,3}|`+)(?!\s|(?<=\*)\*|(?<=_)_|(?<=`)`)((?:[^\n*_`]++|[*_`]){0,40}?)"
    r"(?=\1)(?<!\s)(?:(?<!\*)|(?!\*))(?:(?<!_)|(?!_))(?:(?<!`)|(?!`))\1(?![\w*_`])"
)
FENCED = regex.compile(r"(?ms)^[ \t]*+(?P<fence>`{3,}+|~{3,}+)[^\n`]*\n(?P<content>(?:(?!(?P=fence)).)*+)(?P=fence)")
"""A block of code between fences."""
_MIXED = regex.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
"""Between a whole number and a fraction in one sign: ``1½`` is not ``11/2``."""
_LETTERS: Mapping[int, str | None] = {
    **dict.fromkeys(map(ord, "أإآٱ"), "ا"),
    **dict.fromkeys([*range(0x064B, 0x0653), 0x0670, 0x0640]),
    **{ord(zero) + digit: str(digit) for zero in "٠۰०০੦૦୦௦౦೦൦๐໐༠၀០" for digit in range(10)},
}
_RAISED = regex.compile(r"[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_LEVEL = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_BRACED_POWER = regex.compile(r"\^\s*\{\s*([-−+]?\w+)\s*\}")
_WRAPPED = regex.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf|cal|bb|tt)|boxed|[fm]box|operatorname|emph|num|underline)"
    r"\s*\{([^{}]*)\}"
)
FRACTION = regex.compile(
    r"(?P<whole>(?<![\w.,])\d+ ?)?\\(?:[cdt]?frac|nicefrac|sfrac)\s*(?:\{(?P<over>[^{}]*)\}|(?P<over>\d))\s*"
    r"(?:\{(?P<under>[^{}]*)\}|(?P<under>\d))"
)
"""A fraction in LaTeX without braces in its parts, and a whole number right before it."""
_SYMBOLS: Mapping[str, str] = {
    "times": "×",
    "cdot": "·",
    "div": "÷",
    "approx": "≈",
    "le": "≤",
    "leq": "≤",
    "ge": "≥",
    "geq": "≥",
    "neq": "≠",
    "pm": "±",
    "to": "→",
    "rightarrow": "→",
    "degree": "°",
    "circ": "°",
    "Theta": "Θ",
    "left": "",
    "right": "",
    "displaystyle": "",
    "log": " log",
    "ln": " ln",
    "lg": " lg",
}
_SYMBOL = regex.compile(rf"\\({'|'.join(_SYMBOLS)})(?![A-Za-z])")
_THIN = regex.compile(r"(?<=\d)\\[,;: ](?=\d)")
_NARROWER = regex.compile(r"\\!|\{([,.]|\\[,;: ])\}")
_SPACE = regex.compile(r"\\[,;: ]|\\q?quad\b")
_ESCAPED = regex.compile(r"\\([$%&#_{}])")
_DELIMITERS = regex.compile(r"\\[()\[\]]")


def powers(text: str) -> str:
    """``text`` with superscript digits as powers: ``10³`` as ``10^{3}``, which compatibility forms would make 103."""
    return _RAISED.sub(lambda match: f"^{{{match.group().translate(_LEVEL)}}}", text)


def typography(text: str) -> str:
    """``text`` in Unicode NFKC with one kind of quotes and of minus signs, and without invisible characters."""
    # Before, because a space would be made of some accents; after, because primes are made of triple ones.
    if text.isascii():
        return text
    text = _MIXED.sub(" ", text)
    plain = unicodedata.normalize("NFKC", text.translate(_INVISIBLE).translate(_QUOTES)).translate(_QUOTES)
    return _MINUS.sub("-", plain)


def plain_letters(text: str) -> str:
    """``text`` with one form of the Arabic alef, without vowel marks and tatweel, and with ASCII digits."""
    return text if text.isascii() else text.translate(_LETTERS)


def folded(text: str) -> str:
    r"""``text`` in Unicode NFKC with one kind of quotes, without Markdown emphasis and LaTeX commands; lines stay.

    ``“Paris”`` becomes ``"Paris"``, ``**Paris**`` and ``$\text{Paris}$`` become Paris (the latter between dollar
    signs), ``\mathcal{O}(n\log n)`` becomes ``O(n log n)`` ``\frac{4}{7}`` becomes ``4/7``, and ``10³`` as well
    as ``10^{3}`` becomes ``10^3``.
    """
    plain = _folded_once(text)
    for _ in range(MOST_NESTED):  # marks within marks
        again = _folded_once(plain)
        if again == plain:
            break
        plain = again
    return plain


def _folded_once(text: str) -> str:
    quoted = typography(powers(text))
    return _EMPHASIS.sub(r"\2", _BRACED_POWER.sub(r"^\1", without_latex(_unfractioned(quoted))))


def unfenced(text: str) -> str:
    """What stands in the code fence that a whole text is in; any other ``text`` as it is."""
    fence = FENCED.fullmatch(text.strip())
    return fence["content"] if fence is not None else text


def without_latex(text: str) -> str:
    """``text`` with the LaTeX commands that answers use for looks replaced by what they show; fractions stay.

    Commands that are not known stay as they are: a backslash may also be program text.
    """
    if "\\" not in text and "{" not in text:
        return text
    plain = _NARROWER.sub(r"\1", text)
    for _ in range(MOST_NESTED):
        unwrapped = _WRAPPED.sub(r"\1", plain)
        if unwrapped == plain:
            break
        plain = unwrapped
    plain = _SYMBOL.sub(lambda match: _SYMBOLS[match[1]], plain)
    return _DELIMITERS.sub("", _ESCAPED.sub(r"\1", _SPACE.sub(" ", _THIN.sub("\u202f", plain))))


def _unfractioned(text: str) -> str:
    return FRACTION.sub(lambda m: f"{(m['whole'] or '').strip()} {m['over']}/{m['under']}".lstrip(), text)
