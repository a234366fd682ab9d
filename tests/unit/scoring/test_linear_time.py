"""Answers are untrusted: no pattern that reads them takes time that grows faster than they do."""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
import regex

import ftgate.scoring
from ftgate.engines import thoughts
from ftgate.judge import sanitize
from ftgate.report import escape
from ftgate.scoring.json_values import is_json, json_value
from ftgate.scoring.numbers import last_number
from ftgate.scoring.text import normalized
from ftgate.scoring.tool_calls import calls_in
from ftgate.scoring.trace import final_answer
from ftgate.tail import distance

CHARACTERS = 1 << 16
MODULES = [
    *(
        importlib.import_module(f"ftgate.scoring.{module.name}")
        for module in pkgutil.iter_modules(ftgate.scoring.__path__)
    ),
    *(escape, sanitize, thoughts, distance),
]
PATTERNS: dict[str, Any] = {
    f"{module.__name__.removeprefix('ftgate.')}.{name}": value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, (re.Pattern, type(regex.compile(""))))
}
ON_SHORT_TEXTS = {
    *("scoring.remarks._ASIDE", "scoring.remarks._BARE", "scoring.remarks._RESTATED", "scoring.remarks._UNIT"),
    *("scoring.mathematics._STATED", "scoring.number_words._SPELLED", "scoring.number_words._LAST_WORD"),
    "report.escape._LONE_BRACKET",
    "engines.thoughts._WHITE_END",
}
"""Patterns that are given some hundred characters at most, whatever a model writes, or a template's end."""
AT_THE_START = {
    *("scoring.tool_calls._MISTRAL_CALL", "scoring.trace._LOOSE_TRACE", "scoring.trace._ANSWER"),
    *("scoring.trace._OPENING_AT_START", "engines.thoughts._OPENING_LINE", "tail.distance._MARKUP"),
}
"""Patterns that are tried at one place only."""
SIGNS = [*"aA1.,_*`~$ \n\t-([{<\\^/\"'|=百é。\u0301", "1,", "1 ", "a ", "a.", "\n ", "1 (", "```\n", "[1] "]
WORDS = regex.compile(r"[<\[]?[</|\[]*[A-Za-z_]{3,}[=|>\]]*")


def seconds(function: Callable[[str], object], text: str) -> float:
    started = time.process_time()
    function(text)
    return time.process_time() - started


def grows_faster(
    look: Callable[[str], object], text_of: Callable[[int], str], *, size: int = CHARACTERS // 2, least: float = 0.15
) -> bool:
    """Whether a text of ``size`` takes over three times as long as half of it; less than ``least`` s tell nothing."""
    long = seconds(look, text_of(size))
    return long > least and long > 3 * seconds(look, text_of(size // 2)) + least / 3


def adversarial(pattern: str) -> dict[str, Callable[[int], str]]:
    """Texts of a length, by what they repeat: the signs and words of a pattern, within a word and before a long line.

    They end with the words, as a pattern is not even tried on a text that lacks them.
    """
    words = WORDS.findall(pattern.replace("\\", ""))[:4]
    signs = {sign for sign in SIGNS if len(sign) > 1 or sign in " \n1a" or sign in pattern}
    parts = sorted(signs | {f"{word}a>" if word.endswith("=") else word for word in words})
    lines = [sign for sign in signs if sign in "`~*_$<[("]
    return {
        **{part: _repeating(f"a{part}", part, f"a{' '.join(words)}") for part in parts},
        **{f"{part}, unclosed": _repeating("", part, "") for part in parts if len(part) > 5},
        **{f"{sign}, a line": _before_line(sign) for sign in lines},
    }


def _repeating(start: str, part: str, end: str) -> Callable[[int], str]:
    return lambda size: f"{start}{part * (size // len(part))}{end}"


def _before_line(sign: str) -> Callable[[int], str]:
    return lambda size: f"{sign * (size // 8)}\n{'x' * size}"


def finds(pattern: Any) -> Callable[[str], object]:
    return lambda text: sum(1 for _ in pattern.finditer(text))


@pytest.mark.parametrize("name", sorted(PATTERNS.keys() - ON_SHORT_TEXTS))
def test_a_pattern_takes_time_in_proportion_to_the_text(name: str) -> None:
    pattern = PATTERNS[name]
    look = pattern.match if name in AT_THE_START else finds(pattern)
    assert not [part for part, text_of in adversarial(pattern.pattern).items() if grows_faster(look, text_of)]


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?s)<parameter=([^<>\n]+)>\n?(.*?)\n?</parameter>",
        r"(?ms)^[ \t]*(`{3,}|~{3,})[^\n`]*\n((?:(?!\1).)*+)\1",
        r"(?m)^\s*<function=[^<>\s]+>",
        r"\A[\W\d_]+|[\W\d_]+\Z",
    ],
)
def test_patterns_that_take_longer_and_longer_are_noticed(pattern: str) -> None:
    look = finds(regex.compile(pattern))
    sizes = (1 << power for power in range(13, 17))  # a fast machine is through the short ones before a clock can tell
    assert any(
        grows_faster(look, text_of, size=size, least=0.02)
        for size in sizes
        for text_of in adversarial(pattern).values()
    )


def test_the_patterns_with_exceptions_are_there() -> None:
    assert PATTERNS.keys() >= ON_SHORT_TEXTS | AT_THE_START


@pytest.mark.parametrize(
    ("reads", "start", "part", "end"),
    [
        (calls_in, "<function=a>", "<parameter=a>", ""),
        (calls_in, "", "\n", "x <function=a>"),
        (calls_in, "", "<tool_call>", ""),
        (calls_in, "[TOOL_CALLS]", "a.", ""),
        (json_value, "~" * 4000 + "\n", "x", ""),
        (is_json, "~" * 4000 + "\n", "x", ""),
        (normalized, "~" * 4000 + "\n", "x", ""),
        (normalized, "", "`` ", ""),
        (last_number, "12", " [1]", "x"),
        (last_number, "", "(1 ", ")"),
        (final_answer, "", "<think>\n", ""),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_answer_of_one_mark_is_read_at_once(reads: Callable[[str], object], start: str, part: str, end: str) -> None:
    text = f"{start}{part * ((CHARACTERS - len(start)) // len(part))}{end}"
    assert seconds(reads, text) < 2
