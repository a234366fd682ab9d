"""Comparing answers as text: normalisation, whole words, patterns. Pure."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import regex

from ftgate.scoring.folding import MOST_NESTED, folded, typography
from ftgate.scoring.writing import SPACELESS, WORD_CHARACTER

PATTERN_SECONDS = 1.0
"""Time limit of one pattern on one answer: answers are untrusted, and some patterns explode on some texts."""
_SPACE = regex.compile(r"\s+")
_OUTER_PUNCTUATION = " \t\n.,;:!?\"'`¿¡。、·《》〈〉【】〔〕।॥؟،؛۔։።፧។"
_HEADING = regex.compile(r"\A(?:#{1,6} )+")
_EMPHASISED = regex.compile(r"\A([*_]{1,3})(?! |\1)((?:(?!\1).)*+)\1\Z")
_FENCED = regex.compile(r"\A\s*(`{3,}|~{3,})[^\n`]*\n((?:(?!\1).)*+)\1\s*\Z", regex.DOTALL)
_FORMULA = regex.compile(r"\A(\${1,2})([^$]+)\1\Z")
_DOTTED = "i\u0307"
"""What case folding makes of the Turkish İ."""
_NO_SPACES = f"{SPACELESS[:-1]}ー]"
_OPTIONAL_SPACE = regex.compile(rf"(?<={_NO_SPACES}) (?=\w)|(?<=\w) (?={_NO_SPACES})")
_SPACELESS, _HANGUL = regex.compile(_NO_SPACES), regex.compile(r"\p{Hangul}")
_SPACED_PERCENT = regex.compile(r"(?<=\d) (?=[%‰])")
_LEADING_POINT = regex.compile(r"(?<!\.)\.\d\Z")


class UnscorableError(Exception):
    """It cannot be decided whether an answer is right; the message says why. Never becomes a score."""


# Samples of an answer are compared with it one by one, several times in a run, and most are equal.
@lru_cache(maxsize=1024)
def normalized(text: str) -> str:
    """``text`` for comparison: :func:`folded`, case folded, white space collapsed, outer punctuation removed.

    The emphasis of a whole text, the fence or the dollar signs around it and the mark of a heading are no part of it,
    and neither are spaces beside letters of scripts that put none between words. The point of ``.5`` is kept, since it
    belongs to the number; ``10 %`` is ``10%``.
    """
    unfenced = _FENCED.sub(r"\2", text)
    plain = _SPACE.sub(" ", typography(folded(unfenced).casefold().replace(_DOTTED, "i")))
    plain = plain if plain.isascii() else _OPTIONAL_SPACE.sub("", plain)
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
    return f".{inner}" if _LEADING_POINT.search(whole, endpos=len(whole) - len(inner) + 1) else inner


def same_text(wanted: str, answer: str) -> bool:
    """Whether two texts are equal after :func:`normalized`; texts of punctuation alone are compared as they are."""
    if normalized(wanted):
        return normalized(wanted) == normalized(answer)
    return not normalized(answer) and _without_spaces(wanted) == _without_spaces(answer)


def contains_words(wanted: str, answer: str, answer_normalized: str | None = None) -> bool:
    """Whether ``wanted`` occurs in ``answer`` as whole words and whole numbers, after :func:`normalized`.

    ``answer_normalized`` saves time when several texts are looked up in the same answer.
    """
    words = normalized(wanted)
    if not words:  # only punctuation
        return bool(_without_spaces(wanted)) and _without_spaces(wanted) in _without_spaces(answer)
    text = normalized(answer) if answer_normalized is None else answer_normalized
    return regex.search(whole_words(words), text) is not None


def whole_words(words: str) -> str:
    """A pattern for normalised ``words`` that does not match part of a longer word or number.

    5 does not occur in ``1.5``, ``5,000``, ``.5`` or ``-5``; it does in ``3-5``, where the dash is no sign, and ``+5``.
    C does not occur in ``C++`` and ``C#``.
    Words in a script without spaces (Chinese, Japanese, Thai, …) have no borders, and a word in another script ends
    where such a script begins. A Korean word begins at a border and may go on: particles follow without a space.
    """
    first, last = words[0], words[-1]
    number = rf"(?<!\d[.,])(?<!(?<!{WORD_CHARACTER}|\.)\.)(?<!(?<!{WORD_CHARACTER})[-−])"
    before = "" if _SPACELESS.match(first) else r"(?<!\p{Hangul})" if _HANGUL.match(first) else f"(?<!{WORD_CHARACTER})"
    after = "" if _SPACELESS.match(last) or _HANGUL.match(last) else f"(?!{WORD_CHARACTER})"
    if last.isalpha():
        after += r"(?!\+\+|#(?!\w))"
    if first.isdecimal():
        before += number
    if last.isdecimal():
        after += r"(?![.,]\d)"
    return rf"(?V1){before}{regex.escape(words)}{after}"


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
