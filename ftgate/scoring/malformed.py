"""What is wrong with the form of a free-form answer, whatever it says: cut, empty, repeating, in another language.

Both models' answers to one item are looked at together. What the two have in common is no fault, and what only one of
them does is measured by the prompt, the reference answer, and the other's answer.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import regex

from ftgate.domain import Answer, Item
from ftgate.scoring.numbers import last_number
from ftgate.scoring.spacing import unspaced
from ftgate.scoring.text import contains_words, normalized
from ftgate.scoring.trace import OPEN
from ftgate.scoring.writing import SPACELESS, Writing, is_common, names, writing_of

CUT = "cut"
KINDS: Mapping[str, str] = {
    CUT: "cut at the token limit",
    "empty": "empty",
    "blank": "nothing but line breaks or spaces",
    "repetition": "one text over and over",
    "unspaced": "words without spaces",
    "stock": "one of the same few answers",
    "script": "in another script",
    "language": "in another language",
}
"""Every kind of malformed answer, in words that follow "answers that are"."""

SHORTEST_LOOP, LEAST_REPEATS = 30, 4
"""A loop has at least this many characters, and says the same at least this many times in a row."""
LONGEST_PERIOD = 200
"""Up to so many characters a text is looked for in a loop at every length, beyond them at the lengths after which a
part of it comes again."""
PROBE = 16
"""Characters that are compared before a whole text is."""
STRIPPED = 2
"""Characters, line breaks say, that the last text in a loop may lack at its end."""
LEAST_STEPS, COUNTS_UP = 9, 0.8
"""A counter takes at least so many steps, and is one more than before in at least this share of them."""
MOST_READ = 20_000
"""Characters of an answer, from its end, in which a loop is looked for."""
GRAM, LEAST_GRAMS, LEAST_DISTINCT = 4, 40, 0.2
"""With fewer distinct sequences of four words than this share, a text of at least 40 words goes round in circles."""
REDUNDANT = 2.2
"""Prose is compressed to half. What does not shrink further than this holds no loop, and is not searched for one."""
LEAST_ROWS, LEAST_OF_ROWS = 3, 0.25
"""A grid has at least this many rows and columns, and at least this share of its rows are different ones."""
SHORT = 60
"""Characters of an answer that may be a label, or the reference in short."""
LEAST_GIVEN, LEAST_OF_LONG = 2, 0.1
"""An answer to this many different prompts is one of the model's stock; one that is longer than a label, to this share
of them, too. One who answers from a list of frequent questions gives each reply to a few wordings of its question."""
MOST_ITEMS = 0.5
"""The share of a suite beyond which stock answers are a model's answer to everything."""
MOST_RIGHT = 0.1
"""Where more of the references than this are among a model's stock answers, such answers are what is asked for."""

_VISIBLE = regex.compile(r"[^\p{Z}\p{C}]")
_CLAUSE_END = regex.compile(r"[^\w\s'’-]|\s-\s|\n")
_SAYS_SOMETHING = regex.compile(r"[\p{L}\p{N}\p{So}]")
_TABULAR = regex.compile(r"(?m)[|\t{;]|^[^,\n]*,[^,\n]*,|\d\s*[:=]\s*\w+(?:[.,]|\s*$)")
_LETTER = regex.compile(r"\p{L}")
_SPACELESS = regex.compile(SPACELESS)
_CELL = regex.compile(r"[^\s,;|&\[\](){}\\]+")
_NUMBER = regex.compile(r"[+\-−]?[\d./]+")
_NUMERAL = regex.compile(r"\d+")
_LIST_NUMBER = regex.compile(r"(?m)^[^\S\n]*+\d+[.):]")
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
    """The answers that either model gives again and again to a suite that asks for others, in normal form.

    A model that was tuned to a few labels, or to a refusal, gives them to everything. Empty unless one of the two
    models does so for most of the items: a weak model that says now and then that it does not know is no such case.
    """
    stocks = _stock(items, base), _stock(items, candidate)
    sides = zip((base, candidate), stocks, strict=True)
    given = max(sum(is_stock(item, a, stock) for item, a in zip(items, side, strict=True)) for side, stock in sides)
    return stocks if given > MOST_ITEMS * len(items) else (frozenset(), frozenset())


def is_stock(item: Item, answer: Answer, stock: Collection[str]) -> bool:
    """Whether an answer is one of the ``stock`` and does not say what the item's reference says."""
    if not stock:
        return False
    label = label_in(answer)
    return label in stock and not _says_the_same(label, item.answer or "")


def _stock(items: Sequence[Item], answers: Sequence[Answer]) -> frozenset[str]:
    """One model's stock. None where too many references are among it.

    Where no row has a reference, nothing says that an answer is wrong, unless it is punctuation alone.
    """
    labels = [label_in(answer) for answer in answers]
    given = Counter(label for label, _ in {(label, _prompt(item)) for item, label in zip(items, labels, strict=True)})
    least_of_long = LEAST_OF_LONG * given.total()
    stock = frozenset(
        label
        for label, number in given.items()
        if label and number >= LEAST_GIVEN and (len(label) <= SHORT or number >= least_of_long)
    )
    if not any(item.answer for item in items):
        return frozenset(label for label in stock if not _SAYS_SOMETHING.search(label))
    if not stock:
        return stock
    numbers = {last_number(label) for label in stock if not _LETTER.search(label)} - {None}
    references = [(item.answer, label) for item, label in zip(items, labels, strict=True) if item.answer]
    right = sum(
        not stock.isdisjoint(_in_short(text))
        or (numbers and last_number(text) in numbers)
        or (label in stock and _says_the_same(label, text))
        for text, label in references
    )
    return stock if right <= MOST_RIGHT * len(references) else frozenset()


@lru_cache(maxsize=30_000)
def _in_short(reference: str) -> frozenset[str]:
    """What a reference may be in short, in normal form: all of it, its first clause (``Yes, …``), or its last word."""
    clause = next((part for part in _CLAUSE_END.split(reference) if _LETTER.search(part)), "")
    last = (reference.split() or [""])[-1]
    return frozenset(map(_label, (reference, clause, last)))


@lru_cache(maxsize=30_000)
def _says_the_same(label: str, reference: str) -> bool:
    """Whether a short answer in normal form is the reference in short.

    It is where the reference holds its words, or has the same number last. Words that every text holds (``the``) say
    nothing, and neither do the numbers on the way to a result.
    """
    if label in _in_short(reference):
        return True
    number = last_number(label) if len(label) <= SHORT else None
    if number is not None and number == last_number(reference):
        return True
    if _SPACELESS.search(label):
        return len(label) > 1 and label in _label(reference)
    words = [word for word in regex.findall(r"\p{L}{2,}", label) if not is_common(word)]
    return bool(words) and contains_words(label, reference, _label(reference))


def label_in(answer: Answer) -> str:
    """An answer in normal form; punctuation alone as it is."""
    return _label(answer.text)


@lru_cache(maxsize=30_000)
def _label(text: str) -> str:
    return normalized(text) or text.strip()


def _kinds(item: Item, answer: Answer, other: Answer, *, yardstick: bool) -> frozenset[str]:
    cut = frozenset({CUT}) if answer.finish == "length" else frozenset[str]()
    if answer.trace == OPEN:  # cut, and not also empty: nobody knows what would have followed
        return cut
    alone = broken(answer.text)
    if alone and not (alone == "repetition" and _repetitive(item.answer or "")):
        return cut | {alone}
    kinds = {kind for kind in (_foreign(item, answer.text, other.text, yardstick=yardstick),) if kind}
    if unspaced(answer.text, other.text, item.answer or "", _prompt(item)):
        kinds.add("unspaced")
    return cut | kinds


@lru_cache(maxsize=30_000)
def broken(text: str) -> str:
    """What is wrong with a text by itself: the kind, or nothing."""
    if _VISIBLE.search(text) is None:
        return "blank" if text else "empty"
    return "repetition" if repeats(text) else ""


def _repetitive(reference: str) -> bool:
    """Whether a reference repeats itself, or nearly so: an answer that does the same is what is asked for."""
    text = reference.strip()
    return repeats(text) or (SHORTEST_LOOP <= len(text) < 10 * SHORTEST_LOOP and _redundant(text))


def repeats(text: str) -> bool:
    """Whether at least half of ``text`` is one thing said over and over, or nearly all of it goes round in circles."""
    text = text.strip()[-MOST_READ:]
    if len(text) < SHORTEST_LOOP or not _redundant(text) or _is_grid(text):
        return False
    return _loops(text) or _circles(text) or (_has_counter(text) and _loops(_NUMERAL.sub("0", text)))


def _redundant(text: str) -> bool:
    """Whether the text holds enough repetition for a closer look. Short ones do not tell by their compressed size."""
    if len(text) < 10 * SHORTEST_LOOP:
        return len({text[i : i + 5] for i in range(len(text) - 4)}) <= 0.65 * (len(text) - 4)
    raw = text.encode("utf-8", "surrogatepass")
    return len(raw) >= REDUNDANT * len(zlib.compress(raw, 1))


def _is_grid(text: str) -> bool:
    """Whether a text is a matrix or a board: rows of as many numbers or single characters, not all of them alike."""
    rows = [tuple(_CELL.findall(line)) for line in text.splitlines()]
    rows = [tuple(row[0]) if len(row) == 1 else row for row in rows if row]
    if len(rows) < LEAST_ROWS or len(rows[0]) < LEAST_ROWS or len(set(map(len, rows))) > 1:
        return False
    cells = {cell for row in rows for cell in row}
    few = max(2, LEAST_OF_ROWS * len(rows))
    return len(set(rows)) >= few and all(len(cell) == 1 or _NUMBER.fullmatch(cell) for cell in cells)


def _loops(text: str) -> bool:
    """Whether at least half of the text repeats a part of up to ``LONGEST_PERIOD`` characters exactly."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    short = range(1, min(LONGEST_PERIOD, (len(text) + STRIPPED) // LEAST_REPEATS) + 1)
    for period in [*(period for period in short if _may_loop(text, period)), *_long_periods(text)]:
        differs = np.flatnonzero(codes[period:] != codes[:-period])
        ends = np.concatenate(([-1], differs, [len(codes) - period]))
        loop = int(np.diff(ends).max()) - 1 + period
        if loop >= max(LEAST_REPEATS * period - STRIPPED, SHORTEST_LOOP, len(text) / 2):
            return True
    return False


def _long_periods(text: str) -> list[int]:
    """After how many characters the text at a quarter, and in the middle, comes again, where these are many."""
    starts = [start for start in (len(text) // 4, len(text) // 2) if len(text) > LEAST_REPEATS * LONGEST_PERIOD]
    periods = {text.find(text[start : start + 2 * PROBE], start + LONGEST_PERIOD) - start for start in starts}
    return sorted(period for period in periods if 0 < period <= (len(text) + STRIPPED) // LEAST_REPEATS)


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


def _has_counter(text: str) -> bool:
    """Whether the numbers of a text count up (``Step 1: …. Step 2: …``), other than those that stay as they are.

    Tables and data (``Room 1: yes``) count up, too, and so does a text of nothing but numbers.
    """
    if len(_TABULAR.findall(text)) >= LEAST_REPEATS:
        return False
    tokens = _TOKEN.findall(text)
    numbers = [token for token in tokens if token.isdecimal() and len(token) < 7]
    often = Counter(numbers)
    changing = [int(token) for token in numbers if often[token] < LEAST_REPEATS]
    steps = [later - earlier for earlier, later in pairwise(changing) if later != earlier]
    return (
        len(steps) >= LEAST_STEPS
        and 2 * len(numbers) <= len(tokens)
        and sum(step == 1 for step in steps) >= COUNTS_UP * len(steps)
    )


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
    return "\n".join(message.text for message in item.messages)
