"""Whether the words of an answer lost the spaces between them, or have something else in their place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import regex

from ftgate.scoring.writing import is_common, writing_of

LEAST_UNSPACED, LONGEST_WORD = 24, 50
"""Letters of a text that can be said to lack spaces, and of a word that stands alone: a compound, an identifier."""
LEAST_SPACED = 3
"""Words of an answer that shows that spaces are to be had."""
LEAST_JOINED, LEAST_COMMON = 5, 0.3
"""Words in a row that are text with a joiner for each space, and the share of them that is common in texts. A name in
snake case, a slug or a path has fewer of either."""
LEAST_LINES = 8
"""Words, each on a line of its own, that are text rather than a list."""

TOKENIZER_MARKS = "▁ĠĊ␣⎵"
"""What tokenizers write for a space or a line break. No text has them between words."""

_BETWEEN_WORDS = regex.compile(r"(?<=\w)\s+(?=\w)")
_OUTER = regex.compile(r"\A[\W\d_]++|(?<![\W\d_])[\W\d_]++\Z")
_MARK = regex.compile(f"[{TOKENIZER_MARKS}]+")
_JOINER = regex.compile(r"(?<=\w)[^\w\s'’]+(?=\w)|_+")


def unspaced(text: str, other: str, reference: str, prompt: str) -> bool:
    """Whether words stand without the spaces that the other answer, or the reference, has between them."""
    if len(text.split()) == 1:
        bare = text.strip().casefold()
        for spaced in (other, reference):
            words = spaced.casefold().split()
            # Lists and JSON are right with spaces and without.
            if len(_BETWEEN_WORDS.findall(spaced)) >= max(2, len(words) / 2) and "".join(words) == bare:
                return True
    elsewhere = f"{prompt}\n{reference}\n{other}".casefold()
    if _joined(text, elsewhere, _joiners_of(reference)) and not _joined(other, "", ""):
        return writing_of(other).words >= LEAST_SPACED
    one, two = writing_of(text), writing_of(other)
    if (
        one.letters < LEAST_UNSPACED
        or 2 * one.unbroken < one.letters
        or two.words < LEAST_SPACED
        or 2 * two.unbroken >= two.letters
    ):
        return False
    # A long word that somebody else uses is one: a label in camel case, a compound, a name.
    runs = Counter(run.casefold() for run in one.runs if run.casefold() not in elsewhere)
    runs.subtract(_words_alone(text, elsewhere))
    return 2 * sum(len(run) * number for run, number in runs.items() if number > 0) >= one.letters


def _words_alone(text: str, elsewhere: str) -> list[str]:
    """Long words of ``text`` that stand alone, and are not several words without the spaces between them."""
    tokens = (_OUTER.sub("", token).casefold() for token in text.split())
    words_around = frozenset(regex.findall(r"\p{L}{2,}", elsewhere))
    return [token for token in tokens if len(token) <= LONGEST_WORD and not _falls_apart(token, words_around)]


def _falls_apart(run: str, words_around: Collection[str]) -> bool:
    """Whether a run of letters is words in a row: of those around it and of the commonest (``of``), one at least."""
    # For each position, whether words end there (False), and whether a common one is among them (True).
    ends: dict[int, bool] = {0: False}
    for start in range(len(run)):
        if start not in ends:
            continue
        for end in range(start + 2, len(run) + 1):
            common = is_common(run[start:end])
            if common or run[start:end] in words_around:
                ends[end] = ends.get(end, False) or ends[start] or common
    return ends.get(len(run), False)


def _joined(text: str, elsewhere: str, usual: Collection[str]) -> bool:
    """Whether at least half the words of ``text`` have a joiner, or a line break, for each space.

    Not counted is what is ``elsewhere``, and what is joined as is ``usual`` in the reference.
    """
    tokens = text.split()
    joined = total = 0
    for token in tokens:
        parts = _MARK.sub(" ", token).split()
        marked = len(parts) >= LEAST_JOINED
        words = parts if marked else _split(token, usual)
        total += len(words)
        if len(words) >= LEAST_JOINED and token.casefold() not in elsewhere and (marked or _common(words)):
            joined += len(words)
    if joined and 2 * joined >= total:
        return True
    lines = [line for line in text.splitlines() if line.strip()]
    return "\n" not in usual and len(lines) >= LEAST_LINES and len(lines) == len(tokens) and _common(tokens)


def _split(token: str, usual: Collection[str]) -> list[str]:
    """The words of a token that its commonest joiner is between."""
    joiners = Counter(joiner for joiner in _JOINER.findall(token) if joiner not in usual)
    return token.split(joiners.most_common(1)[0][0]) if joiners else [token]


def _joiners_of(reference: str) -> frozenset[str]:
    """What stands between words in a reference: ``-`` in a slug, a line break in a list with one word a line."""
    lines = reference.split("\n")
    one_a_line = len(lines) >= LEAST_SPACED and all(len(line.split()) <= 1 for line in lines)
    return frozenset(_JOINER.findall(reference)) | ({"\n"} if one_a_line else frozenset())


def _common(words: Collection[str]) -> bool:
    """Whether enough of the words are common ones for a text. Single letters (``a·b·c``) are mostly symbols."""
    bare = [_OUTER.sub("", word).casefold() for word in words]
    common = sum(len(word) > 1 and is_common(word) for word in bare)
    return common >= max(2, LEAST_COMMON * len(words))
