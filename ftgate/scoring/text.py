"""Answers as they are compared: normal form, whole words, patterns. Pure."""

from __future__ import annotations

import unicodedata

import regex

from ftgate.scoring.folding import folded

PATTERN_SECONDS = 1.0
"""Longest that one pattern may take on one answer: answers are not ours, and some patterns explode on some texts."""
_SPACE = regex.compile(r"\s+")
_EDGE = " \t\n.,;:!?\"'`"
_POINT = regex.compile(r"(?<!\.)\.\d\Z")


class UnscorableError(Exception):
    """It cannot be told whether an answer is right; the message says why. Never becomes a score."""


def normal(text: str) -> str:
    """``text`` as compared: :func:`folded`, case aside, white space collapsed, outer punctuation removed.

    The point of ``.5`` is none: it belongs to the number.
    """
    whole = _SPACE.sub(" ", folded(text).casefold()).rstrip(_EDGE)
    inner = whole.lstrip(_EDGE)
    return f".{inner}" if _POINT.search(whole, endpos=len(whole) - len(inner) + 1) else inner


def same_text(wanted: str, said: str) -> bool:
    """Whether two texts are equal after :func:`normal`; one of punctuation alone is compared as it is."""
    if normal(wanted):
        return normal(wanted) == normal(said)
    return not normal(said) and _bare(wanted) == _bare(said)


def contains_words(wanted: str, said: str, said_normal: str | None = None) -> bool:
    """Whether ``wanted`` occurs in ``said`` as whole words and whole numbers, after :func:`normal`.

    ``said_normal`` may be given where several texts are looked for in the same answer.
    """
    words = normal(wanted)
    if not words:  # punctuation alone has no words
        return bool(_bare(wanted)) and _bare(wanted) in _bare(said)
    text = normal(said) if said_normal is None else said_normal
    return regex.search(whole_words(words), text) is not None


def whole_words(words: str) -> str:
    """The pattern that finds ``words``, in the form of :func:`normal`, but no part of a longer word or number.

    5 does not occur in ``1.5``, ``5,000``, ``.5`` or ``-5``; it does in ``3-5``, where the dash is no sign, and ``+5``.
    """
    before = r"(?<!\d[.,])(?<!(?<![\w.])\.)(?<!(?<!\w)[-−])" if words[0].isdecimal() else ""
    after = r"(?![.,]\d)" if words[-1].isdecimal() else ""
    return rf"(?<!\w){before}{regex.escape(words)}(?!\w){after}"


def pattern_problem(value: object) -> str | None:
    """What keeps ``value`` from being a pattern that :func:`search` takes, or None."""
    if not isinstance(value, str) or not value:
        return f"must be a pattern, found {value!r}"
    try:
        regex.compile(value)
    except regex.error as error:
        return f"is no pattern: {error}"
    return None


def search(pattern: str, text: str, *, whole: bool = False) -> bool:
    """Whether ``pattern`` is found in ``text`` or, with ``whole``, is all of it.

    Raises UnscorableError when it takes longer than ``PATTERN_SECONDS``.
    """
    look = regex.fullmatch if whole else regex.search
    try:
        return look(pattern, text, timeout=PATTERN_SECONDS) is not None
    except TimeoutError:
        raise UnscorableError(f"the pattern {pattern[:60]!r} took over {PATTERN_SECONDS:g} s on this answer") from None


def _bare(text: str) -> str:
    return _SPACE.sub("", unicodedata.normalize("NFKC", text))
