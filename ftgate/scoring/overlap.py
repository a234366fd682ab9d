"""How much of a reference an answer shares: token F1 and ROUGE-L. Graded scores from 0 to 1. Pure."""

from __future__ import annotations

from collections import Counter

import regex

from ftgate.scoring.folding import folded, plain_letters
from ftgate.scoring.writing import SPACELESS

_ARTICLE = regex.compile(r"\b(?:a|an|the)\b")
_DROPPED = regex.compile(r"(?V1)(?!(?<=\d)[./:-](?=\d)|(?<!\w)-(?=\.?\d)|(?<!\w)\.(?=\d))[\p{P}\p{S}]")
"""Punctuation and symbols, but for those that make another number: -5, 1/2, 3.14, 2:30, 3-5."""
_LETTER = regex.compile(rf"({SPACELESS})")
_TOKEN = regex.compile(rf"(?V1){SPACELESS}|[[\p{{L}}\p{{M}}\p{{N}}]--{SPACELESS}]+")


def token_f1(reference: str, answer: str) -> float:
    """The harmonic mean of precision and recall over words, without case, punctuation and English articles.

    As SQuAD's evaluation does (Rajpurkar et al. 2016, section 6.1), on folded text, but that numbers keep signs,
    points, slashes and colons, without which 3.14 would be 314. In scripts without spaces each letter is a word. Two
    texts without words are equal if both are.
    """
    wanted, given = Counter(_squad_words(reference)), Counter(_squad_words(answer))
    shared = (wanted & given).total()
    return _f1(shared, wanted.total(), given.total())


def rouge_l(reference: str, answer: str) -> float:
    """ROUGE-L: the F-measure of the longest common subsequence of words (Lin 2004, section 3.1), without stemming.

    Words are runs of letters and digits in lower case, as in the package rouge-score, but in any script: that package
    leaves out all but a to z and digits. In scripts without spaces each letter is a word. Two texts without words score
    0, as there.
    """
    wanted, given = (_TOKEN.findall(plain_letters(folded(text).lower())) for text in (reference, answer))
    return _f1(_longest_common(wanted, given), len(wanted), len(given)) if wanted and given else 0.0


def _squad_words(text: str) -> list[str]:
    plain = _DROPPED.sub("", plain_letters(folded(text).lower().replace("–", "-")))
    return _LETTER.sub(r" \1 ", _ARTICLE.sub(" ", plain)).split()


def _f1(shared: int, wanted: int, given: int) -> float:
    return 2 * shared / (wanted + given) if wanted + given else 1.0


def _longest_common(one: list[str], other: list[str]) -> int:
    """The length of the longest common subsequence (bit-parallel: Hyyrö 2004)."""
    positions: dict[str, int] = {}
    for place, word in enumerate(one):
        positions[word] = positions.get(word, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for word in other:
        matched = row & positions.get(word, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(one) - row.bit_count()
