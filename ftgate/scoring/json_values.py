"""The JSON in an answer. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import regex

from ftgate.scoring.folding import FENCED, unfenced

MAX_JSON_STARTS = 1000
"""Positions in an answer at which parsing a JSON value is tried."""
MAX_JSON_CHARACTERS = 10_000_000
"""Characters read in failed attempts, all together: with nested brackets each attempt can read to the end."""
MISSING = object()
"""What stands for no JSON."""
_START = regex.compile(r"[\[{]")
_CITATION = regex.compile(r"\[\s*\d{1,3}\s*\]")


def json_value(text: str) -> Any:
    """The JSON value that ``text`` answers with; MISSING if there is none.

    The whole text, or else what a code fence holds (the last of several), or else the longest object or list in it; the
    number of a footnote (``[1]``) only where there is nothing else. ``NaN`` and ``Infinity`` are no JSON.
    """
    values = (_whole(part) for part in (text, *(fence["content"] for fence in reversed(list(FENCED.finditer(text))))))
    whole = next((value for value in values if value is not MISSING), MISSING)
    if whole is not MISSING:
        return whole
    parts = list(json_parts(text))
    return max(parts, key=lambda part: (not _CITATION.fullmatch(part[1]), len(part[1])))[0] if parts else MISSING


def is_json(text: str) -> bool:
    """Whether the whole ``text`` is one JSON value, perhaps in a code fence."""
    return _whole(unfenced(text)) is not MISSING


def json_parts(text: str) -> Iterator[tuple[Any, str]]:
    """The objects and lists in ``text`` that are valid JSON and within no other, in order, each with its text."""
    constants: list[str] = []
    decoder = json.JSONDecoder(parse_constant=constants.append)
    position, attempts, characters = 0, 0, 0
    while (
        attempts < MAX_JSON_STARTS
        and characters < MAX_JSON_CHARACTERS
        and (opening := _START.search(text, pos=position))
    ):
        attempts += 1
        start = opening.start()
        try:
            value, position = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            position = start + 1
            characters += _failure_position(error, text) - start
        else:
            if not constants:
                yield value, text[start:position]
        constants.clear()


def _whole(text: str) -> Any:
    constants: list[str] = []
    try:
        value = json.loads(text.strip(), parse_constant=constants.append)
    except (ValueError, RecursionError):
        return MISSING
    return MISSING if constants else value


def _failure_position(error: Exception, text: str) -> int:
    """An upper bound on how far the decoder read; not every error tells its position."""
    has_position = isinstance(error, json.JSONDecodeError) and not error.msg.startswith("Unterminated")
    return error.pos if has_position else len(text)  # type: ignore[attr-defined]
