"""Comparing answers as text: normalisation, whole words, patterns. Pure."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import regex

from ftgate.scoring.folding import MOST_NESTED, folded, plain_letters, typography, unfenced
from ftgate.scoring.writing import SPACELESS, WORD_CHARACTER

PATTERN_SECONDS = 1.0
"""Time limit of one pattern on one answer: answers are untrusted, and some patterns explode on some texts."""
LEAST_YEAR_DIGITS = 4
"""A whole number of so many digits may be a year before or after a slash (``2020/21``)."""
_SPACE = regex.compile(r"\s+")
_OUTER_PUNCTUATION = " \t\n.,;:!?\"'`¿¡。、·《》〈〉【】〔〕।॥؟،؛۔։።፧។"
_QUOTES = "'\""
_MEANINGLESS = "".join(mark for mark in _OUTER_PUNCTUATION if mark not in f"!{_QUOTES}")
_HEADING = regex.compile(r"\A(?:#{1,6} )+")
_EMPHASISED = regex.compile(r"\A([*_]{1,3})(?! |\1)((?:(?!\1).)*+)\1\Z")
_FORMULA = regex.compile(r"\A(\${1,2})([^$]+)\1\Z")
_DOTTED = "i\u0307"
"""What case folding makes of the Turkish İ."""
_NO_SPACES = f"{SPACELESS[:-1]}ー]"
_OPTIONAL_SPACE = regex.compile(rf"(?<={_NO_SPACES}) (?=\w)|(?<=\w) (?={_NO_SPACES})")
_SPACELESS, _HANGUL = regex.compile(_NO_SPACES), regex.compile(r"\p{Hangul}")
_SPACED_PERCENT = regex.compile(r"(?<=\d) (?=[%‰])")
_SIGNS = regex.compile(r"\W+")
_DASHES = str.maketrans("–⁄", "-/")
_MARKED = regex.compile(r"[-+]?(?:\d[\d.,]*|\p{L})")
_INTEGER = regex.compile(r"[-+]?\d+|\p{L}")
_OPTION = regex.compile(r"\(?([-+]?\d[\d.,]*%?|\p{L})\)")
_INITIALS = regex.compile(r"(?<![\w.])(?:\p{L}\.){2,}")
_LEADING_PLUS = regex.compile(r"\A\+(?=\.?\d)")
_SPACED_SIGN = regex.compile(r" ?([=<>≤≥]) ?|(?<=\D)(,) |(,) (?=\D)")
_IN_UNDERSCORES = regex.compile(r"(?<!\w)__[a-z][a-z0-9]*(?:_[a-z0-9]+)*__(?!\w)")
"""A name such as Python's ``__init__``, which looks like emphasis."""
_LONG_NUMBER = regex.compile(r"(?<![\d.,])(?:[1-9]\d{0,2}(?:,\d{3})+|[1-9]\d{3,})(?!,?\d)")
_LEADING_POINT = regex.compile(r"(?<!\.)\.\d\Z")


class UnscorableError(Exception):
    """It cannot be decided whether an answer is right; the message says why. Never becomes a score."""


# Samples of an answer are compared with it one by one, several times in a run, and most are equal.
@lru_cache(maxsize=1024)
def normalized(text: str) -> str:
    """``text`` for comparison: :func:`folded`, case folded, white space collapsed, outer punctuation removed.

    The emphasis of a whole text, the fence or the dollar signs around it and the mark of a heading are no part of it,
    and neither are spaces beside letters of scripts that put none between words. The point of ``.5`` is kept, since it
    belongs to the number; ``10 %`` is ``10%``. So are the marks of ``5!``, ``x'`` and ``5"``.
    """
    plain = _SPACE.sub(" ", typography(folded(unfenced(text)).casefold().replace(_DOTTED, "i")))
    plain = plain if plain.isascii() else _OPTIONAL_SPACE.sub("", plain_letters(plain).translate(_DASHES))
    plain = _SPACED_PERCENT.sub("", plain)
    for _ in range(MOST_NESTED):  # quotes within emphasis within quotes
        bare = _without_outer(_EMPHASISED.sub(r"\2", _FORMULA.sub(r"\2", _HEADING.sub("", plain))))
        if bare == plain:
            break
        plain = bare
    return plain


def _without_outer(text: str) -> str:
    whole = text.rstrip(_OUTER_PUNCTUATION)
    inner = whole.lstrip(_OUTER_PUNCTUATION)
    before, after = text[: len(whole) - len(inner)], text[len(whole) :]
    if _LEADING_POINT.search(whole, endpos=len(before) + 1):
        inner = f".{inner}"
    return f"{inner}{_own_marks(before, inner, after)}" if after and _MARKED.fullmatch(inner) else inner


def without_marks(text: str) -> str:
    """:func:`folded` text without the mark of a heading, in its own letter case and with its punctuation."""
    return _HEADING.sub("", folded(text).strip())


def _own_marks(before: str, inner: str, after: str) -> str:
    """The marks after a number or a single letter that say what it is: a factorial, a derivative, feet or inches."""
    marks = after.rstrip(_MEANINGLESS)
    own = marks.removesuffix("".join(mark for mark in reversed(before) if mark in _QUOTES))
    if not own or (own == marks and own[0] in before):
        return ""
    marks = own[: len(own) - len(own.lstrip(own[0]))]
    if own[0] == "!":
        return marks if _INTEGER.fullmatch(inner) else ""
    return marks if own[0] in _QUOTES else ""


def same_text(wanted: str, answer: str) -> bool:
    """Whether two texts are equal after :func:`normalized`; texts of punctuation alone are compared as they are.

    ``(A)`` and ``B)`` are A and B, ``U.S.`` is US, ``+5`` is 5, ``x = 2`` is ``x=2``. The exclamation mark of an answer
    such as ``5!`` is none of a factorial unless the reference has it.
    """
    words, given = normalized(wanted), normalized(answer)
    if not words:
        return not given and _without_spaces(wanted) == _without_spaces(answer)
    if words != given and not (len(given) <= 2 * len(words) + 6 and _alike(wanted, answer)):
        return False
    return _has_names(wanted, answer)


def _alike(wanted: str, answer: str) -> bool:
    words, given = normalized(wanted), normalized(answer)
    if _SIGNS.sub("", words) != _SIGNS.sub("", given):
        return False
    words, given = _loosely_normalized(wanted), _loosely_normalized(answer)
    return words == given or (given == f"{words}!" and (words.isdecimal() or wanted.strip().isupper()))


def _loosely_normalized(text: str) -> str:
    """:func:`normalized` without what only whole answers may differ in: brackets, points of initials, a plus sign."""
    spelled = _INITIALS.sub(lambda match: match.group().replace(".", ""), text) if "." in text else text
    plain = _SPACED_SIGN.sub(lambda match: match.group().strip(), normalized(spelled))
    option = _OPTION.fullmatch(plain)
    return _LEADING_PLUS.sub("", option[1] if option else plain)


def _has_names(wanted: str, answer: str) -> bool:
    """Whether the names in ``wanted`` that underscores belong to (``__init__``) have them in ``answer``."""
    return "__" not in wanted or all(name in answer for name in _IN_UNDERSCORES.findall(wanted))


def contains_words(wanted: str, answer: str, answer_normalized: str | None = None) -> bool:
    """Whether ``wanted`` occurs in ``answer`` as whole words and whole numbers, after :func:`normalized`.

    ``answer_normalized`` saves time when several texts are looked up in the same answer.
    """
    words = normalized(wanted)
    if not words:  # only punctuation
        return bool(_without_spaces(wanted)) and _without_spaces(wanted) in _without_spaces(answer)
    text = normalized(answer) if answer_normalized is None else answer_normalized
    return whole_words(words).search(text) is not None and _has_names(wanted, answer)


@lru_cache(maxsize=1024)  # compiled: the library's own cache takes longer than most searches
def whole_words(words: str) -> regex.Pattern[str]:
    """A pattern for normalised ``words`` that does not match part of a longer word or number.

    5 does not occur in ``1.5``, ``5,000``, ``.5`` or ``-5``, nor in a fraction, a power or a time (``3/5``, ``x^5``,
    ``5:30``); it does in ``3-5``, where the dash is no sign, and ``+5``. 1000 occurs in ``1,000``.
    C does not occur in ``C++`` and ``C#``.
    Words in a script without spaces (Chinese, Japanese, Thai, …) have no borders, and a word in another script ends
    where such a script begins. A Korean word begins at a border and may go on: particles follow without a space.
    """
    first, last = words[0], words[-1]
    number = rf"(?<!\d[.,:])(?<!\^)(?<!(?<!{WORD_CHARACTER}|\.)\.)(?<!(?<!{WORD_CHARACTER})[-−])"
    before = "" if _SPACELESS.match(first) else r"(?<!\p{Hangul})" if _HANGUL.match(first) else f"(?<!{WORD_CHARACTER})"
    after = "" if _SPACELESS.match(last) or _HANGUL.match(last) else f"(?!{WORD_CHARACTER})"
    if last.isalpha():
        after += r"(?!\+\+|#(?!\w))"
    if first.isdecimal():
        before += number
    if last.isdecimal():
        after += r"(?![.,:]\d|\^)"
    if words.isdecimal() and len(words) < LEAST_YEAR_DIGITS:  # a part of a date is no part of a fraction
        before, after = rf"{before}(?<!(?<![\d/])\d+/)", rf"{after}(?!/\d+(?![\d/]))"
    return regex.compile(rf"(?V1){before}{_LONG_NUMBER.sub(_grouped, regex.escape(words))}{after}")


def _grouped(match: regex.Match[str]) -> str:
    """A pattern for a number of four digits or more, with or without commas between its groups."""
    return f"{int(match.group().replace(',', '')):,}".replace(",", ",?")


def pattern_problem(value: object) -> str | None:
    """Why ``value`` is not a valid pattern for :func:`search`; None if it is."""
    if not isinstance(value, str) or not value:
        return f"must be a pattern, found {value!r}"
    try:
        regex.compile(value)
    except regex.error as error:
        return f"is not a valid pattern: {error}"
    return None


def search(pattern: str, text: str, *, whole: bool = False) -> bool:
    """Whether ``pattern`` matches somewhere in ``text`` or, with ``whole``, all of it.

    Raises UnscorableError if it takes longer than ``PATTERN_SECONDS``.
    """
    match = regex.fullmatch if whole else regex.search
    try:
        return match(pattern, text, timeout=PATTERN_SECONDS) is not None
    except TimeoutError:
        raise UnscorableError(f"the pattern {pattern[:60]!r} took over {PATTERN_SECONDS:g} s on this answer") from None


def _without_spaces(text: str) -> str:
    return _SPACE.sub("", unicodedata.normalize("NFKC", text))
