"""Constraints on an answer that a program can check: counts, case, words and patterns that must or must not occur."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import regex

from ftgate.scoring.folding import folded, typography
from ftgate.scoring.json_values import is_json
from ftgate.scoring.language import is_in_language, language_problem
from ftgate.scoring.sentences import sentences
from ftgate.scoring.text import contains_words, normalized, pattern_problem, search, whole_words, without_marks

Count = Callable[[str], int]
_FENCE = regex.compile(r"(?m)^[ \t]*(?:`{3,}|~{3,}).*$")
_CHARACTER_WORD = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")


def constraints_problem(value: object) -> str | None:
    """What is wrong with a ``constraints`` object; None if nothing."""
    if not isinstance(value, Mapping) or not value:
        return f'must be an object such as {{"words": [null, 50]}}, found {value!r}'
    for name, wanted in value.items():
        if name not in _PROBLEMS:
            return f"has an unknown rule {str(name)[:40]!r}: use one of {', '.join(_PROBLEMS)}"
        if problem := _PROBLEMS[name](wanted):
            return f"rule {name} {problem}"
    return None


def constraints_hold(constraints: Mapping[str, Any], text: str) -> bool:
    """Whether ``text`` meets every constraint. Raises UnscorableError if a pattern takes too long."""
    return all(_holds(name, wanted, text) for name, wanted in constraints.items())


def lines_of(text: str) -> list[str]:
    """The non-blank lines of ``text``, stripped."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _words(text: str) -> int:
    """Words between spaces; each Chinese character and each kana counts as one, as word processors count them.

    What opens and closes a code fence is no word.
    """
    return sum(any(c.isalnum() for c in word) for word in _CHARACTER_WORD.sub(" x ", _FENCE.sub("", text)).split())


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in regex.split(r"\n\s*\n", text) if part.strip()]


COUNTS: Mapping[str, Count] = {
    "words": _words,
    "sentences": sentences,
    "lines": lambda text: len(lines_of(text)),
    "paragraphs": lambda text: len(_paragraphs(text)),
    "bullets": lambda text: sum(bool(regex.match(r"[-*•]\s", line)) for line in lines_of(text)),
    "numbered": lambda text: sum(bool(regex.match(r"\d+[.)]\s", line)) for line in lines_of(text)),
    "characters": lambda text: len(regex.findall(r"\X", text.strip())),
}
"""What can be counted, with functions that count it in an answer."""


def _holds(name: str, wanted: Any, text: str) -> bool:
    if name in COUNTS:
        low, high = (wanted, wanted) if isinstance(wanted, int) else wanted
        n = COUNTS[name](text)
        return (low is None or n >= low) and (high is None or n <= high)
    return FORMS[name](wanted, text)


def _case(wanted: str, text: str) -> bool:
    cased = text.lower() != text.upper()
    return cased and text == (text.lower() if wanted == "lower" else text.upper())


def _starts_with(wanted: str, text: str) -> bool:
    """Whether the text begins so, as it is written or without emphasis and heading mark; punctuation counts."""
    plain = typography(wanted)
    return typography(text).lstrip().startswith(plain) or without_marks(text).startswith(plain)


def _ends_with(wanted: str, text: str) -> bool:
    plain = typography(wanted)
    return typography(text).rstrip().endswith(plain) or without_marks(text).endswith(plain)


def _ordered(wanted: list[str], text: str) -> bool:
    answer, position = normalized(text), 0
    for word in wanted:
        match = whole_words(normalized(word)).search(answer, pos=position)
        if match is None:
            return False
        position = match.end()
    return True


def _matched(patterns: list[str], text: str) -> list[bool]:
    """Which patterns are found in folded text; case is ignored, a dot matches line breaks, ^ and $ match at lines."""
    plain = folded(text)
    return [search(f"(?ism){pattern}", plain) for pattern in patterns]


def _each(parts: Callable[[str], list[str]]) -> Callable[[Mapping[str, Any], str], bool]:
    return lambda wanted, text: bool(parts(text)) and all(constraints_hold(wanted, part) for part in parts(text))


FORMS: Mapping[str, Callable[[Any, str], bool]] = {
    "case": _case,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "json": lambda wanted, text: is_json(text) is wanted,
    "includes": lambda wanted, text: all(contains_words(word, text) for word in wanted),
    "excludes": lambda wanted, text: not any(contains_words(word, text) for word in wanted),
    "without_characters": lambda wanted, text: (
        bool(text.strip()) and not set(typography(wanted)) & set(typography(text))
    ),
    "ordered": _ordered,
    "only_lines": lambda pattern, text: (
        bool(lines_of(text)) and all(search(pattern, x, whole=True) for x in lines_of(text))
    ),
    "patterns": lambda wanted, text: all(_matched(wanted, text)),
    "raw_patterns": lambda wanted, text: all(search(pattern, text) for pattern in wanted),
    "without_patterns": lambda wanted, text: bool(text.strip()) and not any(_matched(wanted, text)),
    "language": is_in_language,
    "each_line": _each(lines_of),
    "each_paragraph": _each(_paragraphs),
}
"""Other constraints. Each function takes the constraint's value and the answer, and says whether it holds."""


def _count_problem(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return None
    problem = f"must be an integer of at least 0 or [min, max] (null for open), found {value!r}"
    if not isinstance(value, list) or len(value) != 2 or value == [None, None]:
        return problem
    if any(end is not None and (not isinstance(end, int) or isinstance(end, bool) or end < 0) for end in value):
        return problem
    low, high = value
    return problem if low is not None and high is not None and low > high else None


def _case_problem(value: object) -> str | None:
    return None if value in ("lower", "upper") else f"must be lower or upper, found {value!r}"


def _json_problem(value: object) -> str | None:
    return None if isinstance(value, bool) else f"must be true or false, found {value!r}"


def _text_problem(value: object) -> str | None:
    return None if isinstance(value, str) and value else f"must be a text, found {value!r}"


def _list_problem(value: object) -> str | None:
    if isinstance(value, list) and value and all(isinstance(word, str) and normalized(word) for word in value):
        return None
    return f"must be a list of words, found {value!r}"


def _patterns_problem(value: object) -> str | None:
    if not isinstance(value, list) or not value:
        return f"must be a list of patterns, found {value!r}"
    return next((problem for pattern in value if (problem := pattern_problem(pattern))), None)


_PROBLEMS: Mapping[str, Callable[[object], str | None]] = {
    **dict.fromkeys(COUNTS, _count_problem),
    "case": _case_problem,
    "starts_with": _text_problem,
    "ends_with": _text_problem,
    "json": _json_problem,
    "includes": _list_problem,
    "excludes": _list_problem,
    "without_characters": _text_problem,
    "ordered": _list_problem,
    "only_lines": pattern_problem,
    "patterns": _patterns_problem,
    "raw_patterns": _patterns_problem,
    "without_patterns": _patterns_problem,
    "language": language_problem,
    "each_line": constraints_problem,
    "each_paragraph": constraints_problem,
}
