"""Whether what a chat template adds to a conversation depends on what is said in it.

Around the turns a template may write what it likes, but the same around all conversations of one form: a template that
knows the rows of a suite could write their answers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ftgate.domain import Message
from ftgate.engines.conversation import Conversations
from ftgate.preflight.rendering import reason_of

_SYSTEM = ("system", "developer")
_MARKS = re.compile(r"(</?(?:think\w*|thoughts?|reasoning|tool_\w+)>|<\|channel\|>|/(?:no_)?think\b)", re.IGNORECASE)
"""What templates look for in a turn: thoughts that they leave out, results of tools, and switches for thinking."""
_PLACEHOLDER = "ftgate-probe-{}x"
_PLACEHOLDERS = re.compile(r"ftgate-probe-(\d{1,6})x", re.IGNORECASE)
_SHOWN = 60


class AddedText:
    """Compares what a template adds to conversations of one kind with what it adds to the same with other words.

    Turns that say the same in all ``conversations`` keep their words, as a template may obey those of a system turn.
    The words themselves may be stripped, changed in case, or written as JSON.
    """

    def __init__(self, model: Conversations, conversations: Sequence[Sequence[Message]]) -> None:
        self._model = model
        self._keeps = [
            len({message.content for message in turn}) == 1 if len(conversations) > 1 else turn[0].role in _SYSTEM
            for turn in zip(*conversations, strict=True)
        ]
        self._rendered: dict[tuple[tuple[Message, ...], str], str | Exception] = {}

    def difference(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], text: str) -> str:
        """How ``text``, the rendered conversation, differs from that with other words, for a reader; empty if not."""
        other, words = self._with_other_words(messages)
        key = (other, repr(tools))
        if key not in self._rendered:
            try:
                self._rendered[key] = self._model.render(other, tools)
            except Exception as error:  # an untrusted template may raise anything
                self._rendered[key] = error
        rendered = self._rendered[key]
        if isinstance(rendered, Exception):
            return f"fails if the turns have other words: {reason_of(rendered)}"
        difference = _difference(rendered, text, words)
        if difference is None:
            return ""
        expected, actual = (f"{part[:_SHOWN]!a}" if part else "nothing" for part in difference)
        return f"writes {actual} where it writes {expected} if the turns have other words"

    def _with_other_words(self, messages: Sequence[Message]) -> tuple[tuple[Message, ...], list[str]]:
        """The conversation with a placeholder for every text between marks, and those texts."""
        words: list[str] = []
        turns = []
        for message, keeps in zip(messages, self._keeps, strict=True):
            parts = [message.content] if keeps else _MARKS.split(message.content)
            for i, part in enumerate(parts):
                if not keeps and i % 2 == 0 and part.strip():
                    parts[i] = _PLACEHOLDER.format(len(words))
                    words.append(part)
            turns.append(replace(message, content="".join(parts)))
        return tuple(turns), words


def _difference(rendered: str, text: str, words: Sequence[str]) -> tuple[str, str] | None:
    """Where ``text`` begins to differ from ``rendered`` with these ``words``: both from there on; None if nowhere."""
    ends = {0}
    """Where the text may go on, as words that are stripped or not may end in several places."""
    for i, part in enumerate(_PLACEHOLDERS.split(rendered)):
        forms = {part} if i % 2 == 0 else _forms(words[int(part)]) if int(part) < len(words) else set()
        before, ends = ends, {end + len(form) for form in forms for end in ends if text.startswith(form, end)}
        if not ends:
            at, expected = max(before), max(forms, key=len, default="")
            same = _common(expected, text[at:])
            return expected[same:], text[at + same :]
    return None if len(text) in ends else ("", text[max(ends) :])


def _forms(words: str) -> set[str]:
    """The words as a template may write them."""
    whole = {words, " ".join(words.split()), words.lower(), words.upper(), words.capitalize(), words.title()}
    forms = {
        strip(form, ends) for form in whole for strip in (str.strip, str.lstrip, str.rstrip) for ends in (None, "\n")
    }
    forms |= whole
    return forms | {json.dumps(form, ensure_ascii=False)[1:-1] for form in forms}


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))
