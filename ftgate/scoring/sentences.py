"""How many sentences a text has. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import regex

_TOKEN = regex.compile(r"\S+")
_MARKS = ".!?…。！？｡．।॥؟۔։።፧។"
_CLOSERS = "\"'”’»)]}*_`」』）》】〉"
_OTHERS = "。！？｡।॥؟۔։።፧។"
_CJK = r"[\p{Han}\p{Hiragana}\p{Katakana}]"
# No space follows the marks of such scripts, nor ASCII ones between letters of a script without spaces.
# After quotes, と and a comma go on with the sentence: 「行こう。」と言った。
_AFTER_OTHERS = regex.compile(
    rf"(?<![{_OTHERS}])([{_OTHERS}]++[」』”’）》】〉]*+)(?!(?<=[」』”’])[と、，])(?=\S)|(?<={_CJK})([!?．]++)(?={_CJK})"
)
_OPENERS = "\"'“‘«([{*_`-"

_BEFORE_NAMES = regex.compile(
    r"mrs?|ms|mx|drs?|profs?|st|mt|rev|hon|gen|col|capt|cmdr|lt|sgt|maj|sen|rep|gov|pres|sra?|srta|mme|mlle|messrs|hr|dipl"
    r"|sig|dott|vs|cf|viz|ca|bzw|bspw|ggf|inkl|resp|z|vgl|sog|evtl|al"
    r"|e\.?g|i\.?e|a\.?k\.?a|d\.h|z\.b|u\.a|p\.ex|т\.е|т|им|ул"
)
"""Abbreviations after which a sentence goes on, whatever follows."""
_BEFORE_NUMBERS = regex.compile(
    r"nos?|nrs?|n[º°]|núm|figs?|tab|pp?|pgs?|pág|bd|vols?|chs?|chap|secs?|eqs?|abs|arts?|approx|ver|ex|ref"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
)
"""Abbreviations after which a sentence goes on if a number follows."""
_WITHIN = regex.compile(
    r"etc|usw|ecc|approx|incl|excl|inc|ltd|co|corp|jr|sr|dept|est|min|max|ave|blvd|\p{L}{1,2}(?:\.\p{L}{1,2})+"
)
"""Abbreviations after which a sentence goes on unless a capital follows, ``a.m.`` and the like among them."""
_SPACED = regex.compile(r"\p{L}\.")
"""What follows the first part of an abbreviation that is written with spaces: ``z. B.``, ``т. е.``."""
_ORDINAL_BEFORE = regex.compile(
    r"(?i:jan(?:uar|vier)|feb(?:ruar)?|märz|april|mai|juni|juli|august|september|oktober|november|dezember|jahrhundert"
    r"|januari|februari|maart|desember|december|marts|maj)"
)
"""Words before which a number with a point is an ordinal in German and its neighbours: ``am 3. Oktober``."""
_INITIALS = regex.compile(r"\p{Lu}(?:\.\p{Lu})*")
_FIRST_WORDS = regex.compile(
    r"the|an?|it|he|she|they|we|you|i|th(?:is|at|ese|ose|ere)|here|in|on|at|as|but|and|or|so|if|when|while|after|before"
    r"|for|to|its|his|her|their|our|my|your|no|not|one|then|however|every(?:one|body)"
)
"""Words with a capital that begin a sentence rather than go on with a name: "Vitamin C. It", but "J. Smith"."""


def sentences(text: str) -> int:
    """How many sentences ``text`` has: runs with a letter or digit up to a mark before a space or the end.

    An abbreviation, an initial, the number of a list item and an ellipsis within a sentence end none; nor does a mark
    within quotes after which the sentence goes on in lower case. What stands after the last mark counts as one.
    """
    count, begun = 0, False
    for word, following, first in _words(_AFTER_OTHERS.sub(r"\1\2 ", text)):
        begun = begun or any(c.isalnum() for c in word)
        if begun and _is_end(word, following, first=first):
            count, begun = count + 1, False
    return count + begun


def _words(text: str) -> Iterator[tuple[str, str, bool]]:
    """Each word, the word after it (empty: none), and whether it is the first of its line."""
    tokens = list(_TOKEN.finditer(text))
    for at, word in enumerate(tokens):
        between = text[tokens[at - 1].end() : word.start()] if at else "\n"
        yield word.group(), tokens[at + 1].group() if at + 1 < len(tokens) else "", "\n" in between


def _is_end(word: str, following: str, *, first: bool) -> bool:
    unclosed = word.rstrip(_CLOSERS)
    bare = unclosed.rstrip(_MARKS)
    mark, closers = unclosed[len(bare) :], word[len(unclosed) :]
    if not mark:
        return False
    bare = bare.lstrip(_OPENERS)
    after = following.lstrip(_OPENERS)
    if not following:
        return True
    if after[:1].islower() and (closers.strip("*_`)") or mark in ("...", "…")):
        return False  # "Stop!" she said; and so ... on
    if mark != ".":
        return True
    if bare.isdecimal():
        return not first and not (len(bare) < 3 and _ORDINAL_BEFORE.match(after))
    return not _is_abbreviation(bare, after)


def _is_abbreviation(word: str, after: str) -> bool:
    """Whether the point after ``word`` belongs to an abbreviation within a sentence that goes on with ``after``."""
    lower = word.casefold()
    if _BEFORE_NAMES.fullmatch(lower) or (_BEFORE_NUMBERS.fullmatch(lower) and after[:1].isdecimal()):
        return True
    if len(word) == 1 and word.islower() and _SPACED.match(after):
        return True
    if _INITIALS.fullmatch(word):
        return _FIRST_WORDS.fullmatch(regex.sub(r"\W.*", "", after.casefold())) is None
    return _WITHIN.fullmatch(lower) is not None and not after[:1].isupper()
