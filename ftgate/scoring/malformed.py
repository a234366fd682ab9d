"""What is wrong with the form of a free-form answer, whatever it says: cut, empty, repeating, in another language.

Both models' answers to one item are looked at together. What the two have in common is no fault, and what only one of
them does is measured by the prompt, the reference answer, and the other's answer.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

import numpy as np
import regex

from ftgate.domain import Answer, Item
from ftgate.scoring.text import normalized
from ftgate.scoring.writing import SPACELESS, Writing, names, writing_of

CUT = "cut"
KINDS: Mapping[str, str] = {
    CUT: "cut at the token limit",
    "empty": "empty",
    "blank": "nothing but line breaks or spaces",
    "repetition": "one text over and over",
    "unspaced": "words without spaces",
    "stock": "one of the same few short answers",
    "script": "in another script",
    "language": "in another language",
}
"""Every kind of malformed answer, in words that follow "answers that are"."""

SHORTEST_LOOP, LEAST_REPEATS = 30, 4
"""A loop has at least this many characters, and says the same at least this many times in a row."""
LONGEST_PERIOD = 200
"""Characters of the longest text that is looked for in a loop."""
PROBE = 16
"""Characters that are compared before a whole text is."""
MOST_READ = 20_000
"""Characters of an answer, from its end, in which a loop is looked for."""
GRAM, LEAST_GRAMS, LEAST_DISTINCT = 4, 40, 0.2
"""With fewer distinct sequences of four words than this share, a text of at least 40 words goes round in circles."""
REDUNDANT = 2.2
"""Prose is compressed to half. What does not shrink further than this holds no loop, and is not searched for one."""
LEAST_UNSPACED = 24
"""Letters of a text that can be said to lack spaces."""
SHORT = 60
"""Characters of an answer that may be a label."""
LEAST_GIVEN = 3
"""A short answer to this many items is one of the model's stock."""
MOST_ITEMS = 0.5
"""The share of a suite beyond which stock answers are a model's answer to everything."""
MOST_RIGHT = 0.1
"""Where more of the references than this are among a model's stock answers, such answers are what is asked for."""

_VISIBLE = regex.compile(r"[^\p{Z}\p{C}]")
_BETWEEN_WORDS = regex.compile(r"(?<=\w)\s+(?=\w)")
_LIST_NUMBER = regex.compile(r"(?m)^\s*\d+[.):]")
_TOKEN = regex.compile(rf"(?V1){SPACELESS}|[[\p{{L}}\p{{M}}\p{{N}}]--{SPACELESS}]+")


@lru_cache(maxsize=30_000)
def malformed(item: Item, base: Answer, candidate: Answer) -> tuple[frozenset[str], frozenset[str]]:
    """The kinds (of ``KINDS``, without ``stock``) that hold of either model's answer to ``item``.

    Cached, because every look, and every control, asks about the same answers again.
    """
    # Where neither prompt nor reference says what an answer should be written in, the base's answer does.
    of_base = _kinds(item, base, candidate, yardstick=False)
    return of_base, _kinds(item, candidate, base, yardstick=True)


def stock_answers(
    items: Sequence[Item], base: Sequence[Answer], candidate: Sequence[Answer]
) -> tuple[frozenset[str], frozenset[str]]:
    """The short answers that either model gives again and again to a suite that asks for others, in normal form.

    A model that was tuned to a few labels gives them to everything. Empty unless one of the two models does so for most
    of the items: a weak model that says now and then that it does not know is no such case.
    """
    stocks = _stock(items, base), _stock(items, candidate)
    sides = zip((base, candidate), stocks, strict=True)
    given = max(sum(is_stock(item, a, stock) for item, a in zip(items, side, strict=True)) for side, stock in sides)
    return stocks if given > MOST_ITEMS * len(items) else (frozenset(), frozenset())


def is_stock(item: Item, answer: Answer, stock: Collection[str]) -> bool:
    """Whether an answer is one of the ``stock`` and not the item's reference."""
    if not stock:
        return False
    label = label_in(answer)
    return label in stock and label != _normalized(item.answer or "")


def _stock(items: Sequence[Item], answers: Sequence[Answer]) -> frozenset[str]:
    """One model's stock. None where no row has a reference, or too many references are among it."""
    given = Counter(label for answer in answers if (label := label_in(answer)))
    stock = frozenset(label for label, number in given.items() if number >= LEAST_GIVEN)
    if not stock:
        return stock
    references = [_normalized(item.answer) for item in items if item.answer]
    right = sum(reference in stock for reference in references)
    return stock if references and right <= MOST_RIGHT * len(references) else frozenset()


def label_in(answer: Answer) -> str:
    """A short answer in normal form; empty for a longer one."""
    text = answer.text.strip()
    return _normalized(text) if len(text) <= SHORT else ""


_normalized = lru_cache(maxsize=30_000)(normalized)


def _kinds(item: Item, answer: Answer, other: Answer, *, yardstick: bool) -> frozenset[str]:
    cut = frozenset({CUT}) if answer.finish == "length" else frozenset[str]()
    if alone := _alone(answer.text):
        return cut | {alone}
    kinds = {kind for kind in (_foreign(item, answer.text, other.text, yardstick=yardstick),) if kind}
    if _unspaced(item, answer.text, other.text):
        kinds.add("unspaced")
    return cut | kinds


@lru_cache(maxsize=30_000)
def _alone(text: str) -> str:
    """What is wrong with a text by itself: the kind, or nothing."""
    if _VISIBLE.search(text) is None:
        return "blank" if text else "empty"
    return "repetition" if repeats(text) else ""


def repeats(text: str) -> bool:
    """Whether at least half of ``text`` is one thing said over and over, or nearly all of it goes round in circles."""
    text = text.strip()[-MOST_READ:]
    if len(text) < SHORTEST_LOOP or not _redundant(text):
        return False
    return _loops(text) or _circles(text)


def _redundant(text: str) -> bool:
    """Whether the text holds enough repetition for a closer look. Short ones do not tell by their compressed size."""
    if len(text) < 10 * SHORTEST_LOOP:
        return len({text[i : i + 5] for i in range(len(text) - 4)}) <= 0.65 * (len(text) - 4)
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw) >= REDUNDANT * len(zlib.compress(raw, 1))


def _loops(text: str) -> bool:
    """Whether at least half of the text repeats a part of up to ``LONGEST_PERIOD`` characters exactly."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    for period in range(1, min(LONGEST_PERIOD, len(text) // LEAST_REPEATS) + 1):
        if not _may_loop(text, period):
            continue
        differs = np.flatnonzero(codes[period:] != codes[:-period])
        ends = np.concatenate(([-1], differs, [len(codes) - period]))
        loop = int(np.diff(ends).max()) - 1 + period
        if loop >= max(LEAST_REPEATS * period, SHORTEST_LOOP, len(text) / 2):
            return True
    return False


def _may_loop(text: str, period: int) -> bool:
    """Whether a loop of this period may fill half of the text: it then repeats itself at a quarter or in the middle."""
    if len(text) <= 8 * PROBE:
        return True
    one, two = len(text) // 4, len(text) // 2
    return (
        text[one : one + PROBE] == text[one + period : one + period + PROBE]
        or text[two : two + PROBE] == text[two + period : two + period + PROBE]
    )


def _circles(text: str) -> bool:
    # A list that says one thing over and over is no other for being numbered.
    tokens = _TOKEN.findall(_LIST_NUMBER.sub("", text.lower()))
    if len(tokens) < LEAST_GRAMS:
        return False
    grams = [tuple(tokens[i : i + GRAM]) for i in range(len(tokens) - GRAM + 1)]
    return len(set(grams)) <= LEAST_DISTINCT * len(grams)


def _unspaced(item: Item, text: str, other: str) -> bool:
    """Whether words stand without the spaces that the other answer, or the reference, has between them."""
    if len(text.split()) == 1:
        bare = text.strip().casefold()
        for spaced in (other, item.answer or ""):
            words = spaced.casefold().split()
            # Lists and JSON are right with spaces and without.
            if len(_BETWEEN_WORDS.findall(spaced)) >= max(2, len(words) / 2) and "".join(words) == bare:
                return True
    one, two = writing_of(text), writing_of(other)
    if (
        one.letters < LEAST_UNSPACED
        or 2 * one.unbroken < one.letters
        or two.words < 3
        or 2 * two.unbroken >= two.letters
    ):
        return False
    # A long word that somebody else uses is one: a label in camel case, a compound, a name.
    elsewhere = f"{_prompt(item)}\n{item.answer or ''}\n{other}".casefold()
    return 2 * sum(len(run) for run in one.runs if run.casefold() not in elsewhere) >= one.letters


def _foreign(item: Item, text: str, other: str, *, yardstick: bool) -> str:
    """``script`` or ``language`` where a text is in one that neither prompt, nor reference, nor other answer is in."""
    mine, theirs = writing_of(text), writing_of(other)
    asked = [writing_of(_prompt(item)), writing_of(item.answer or "")]
    if mine.scripts:
        expected = frozenset[str]().union(*(writing.scripts for writing in asked))
        if expected or yardstick:
            expected |= theirs.scripts
            outside = {script: share for script, share in mine.shares.items() if script not in expected}
            if expected and sum(outside.values()) > 0.5 and not _named(item, outside):
                return "script"
    return _other_language(item, mine, theirs, asked, yardstick=yardstick)


def _other_language(item: Item, mine: Writing, theirs: Writing, asked: Sequence[Writing], *, yardstick: bool) -> str:
    expected = {writing.language for writing in asked if writing.language}
    if expected or yardstick:
        expected |= {theirs.language} - {""}
        if mine.language and expected and mine.language not in expected and not _named(item, [mine.language]):
            return "language"
    return ""


def _named(item: Item, what: Collection[str]) -> bool:
    return any(names(_prompt(item), one) for one in what)


def _prompt(item: Item) -> str:
    """The whole conversation: a system prompt, too, may say what to answer in."""
    return "\n".join(message.content for message in item.messages)
