"""Conversations as chat templates take them, those without a system role or a generation prompt included."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ftgate.domain import Message
from ftgate.engines.template_files import ChatTemplates
from ftgate.scoring.tool_calls import template_turn

_FIRST, _SECOND = "ftgate-probe-1c7d", "ftgate-probe-2e9a"
_SYSTEM = ("system", "developer")
LONGEST = 20_000_000
"""Characters of a prompt: several times what fits into the longest contexts."""
Turns = Sequence[Mapping[str, Any]]
Tools = Sequence[Mapping[str, Any]]


class UnusablePromptError(ValueError):
    """A prompt that lacks the text of the last user turn, has more characters than any context, or cannot be made."""


class Fill(Protocol):
    """Fills a template with turns. Raises whatever the template raises."""

    def __call__(self, template: str, turns: Turns, tools: Tools, *, generation_prompt: bool) -> str:
        """The text."""
        ...


class Conversations:
    """Renders conversations with a model's chat templates, and does for them what they cannot do themselves.

    ``folds_system``: the default template refuses system turns (as Gemma 2's) or leaves them out, so that they are put
    in front of the next user's turn. ``answer_start``: what this template puts before an answer but does not write when
    asked for a generation prompt; it is appended. ``takes_parts``: it shows contents only as lists of parts, as
    multimodal models have them, and is given such, as by vLLM. All are found by rendering short conversations.
    ``given_up``: why the template is not tried any more, after a short conversation took too much time or memory; empty
    if none did.
    """

    def __init__(self, templates: ChatTemplates, fill: Fill, given_up: str = "") -> None:
        self._templates, self._fill = templates, fill
        self.given_up = given_up
        self.takes_parts = False
        self.takes_parts = self._shows_parts_only()
        self.folds_system = self._refuses_system()
        self.answer_start = self._missing_prompt()

    def render(self, messages: Sequence[Message], tools: Tools = ()) -> str:
        """The text of a conversation up to the start of the answer.

        Raises whatever the template raises, and UnusablePromptError where it leaves out the text of the last user turn
        or writes too much.
        """
        if self.given_up:
            raise UnusablePromptError(self.given_up)
        template = self._templates.named(tools=bool(tools))
        turns = turns_for(messages, template)
        if self.folds_system:
            turns = folded(turns)
        text = self._fill(template, self._given(turns), tools, generation_prompt=True) + self.answer_start
        if len(text) > LONGEST:
            raise UnusablePromptError(f"it writes more than {LONGEST:,} characters")
        question = next((message.content for message in reversed(messages) if message.role == "user"), "")
        if not _shows(text, question):
            raise UnusablePromptError("it leaves out the text of the last user turn, or part of it")
        return text

    def _given(self, turns: Turns) -> Turns:
        """The turns with contents in parts, if the template takes them so."""
        return (
            [{**t, "content": [{"type": "text", "text": t["content"]}]} for t in turns] if self.takes_parts else turns
        )

    def _shows_parts_only(self) -> bool:
        part = {"type": "text", "text": _FIRST}
        plain, parted = (self._try([{"role": "user", "content": content}]) for content in (_FIRST, [part]))
        return _FIRST not in (plain or "") and _FIRST in (parted or "")

    def _refuses_system(self) -> bool:
        turns = [{"role": "system", "content": _FIRST}, {"role": "user", "content": _SECOND}]
        text, folded_text = self._try(turns), self._try(folded(turns))
        if folded_text is None or _FIRST not in folded_text:
            return False  # something else is wrong with it
        return text is None or _FIRST not in text

    def _missing_prompt(self) -> str:
        """What precedes an answer in a rendered conversation and is missing from a prompt; empty if nothing is.

        White space alone is not missing: there are templates, such as Mistral's, after whose user turn the answer
        follows directly.
        """
        asked: Turns = [{"role": "user", "content": _FIRST}]
        prompt, plain = self._try(asked), self._try(asked, generation_prompt=False)
        answered = self._try([*asked, {"role": "assistant", "content": _SECOND}], generation_prompt=False)
        if prompt is None or answered is None or prompt != plain or not answered.startswith(prompt):
            return ""
        start, answer, _ = answered[len(prompt) :].partition(_SECOND)
        return start if answer and start.strip() else ""

    def _try(self, turns: Turns, *, generation_prompt: bool = True) -> str | None:
        """The rendered text, or None if the template fails. One that is given up is not tried again."""
        if self.given_up:
            return None
        try:
            return self._fill(self._templates.default, self._given(turns), (), generation_prompt=generation_prompt)
        except (TimeoutError, MemoryError) as error:
            self.given_up = failure(error)
            return None
        except Exception:  # an untrusted template may raise anything; what it does not render is reported when asked
            return None


def failure(error: Exception) -> str:
    """What a template raised, in one line."""
    if isinstance(error, RecursionError):
        return "it nests too deep: blocks, brackets, calls of macros, or a long chain of elif"
    if isinstance(error, MemoryError):
        return "it needs too much memory"
    return " ".join(str(error).split()) or type(error).__name__


def _shows(prompt: str, text: str) -> bool:
    """Whether ``text`` is in ``prompt``, as it is or as JSON writes it; white space and case do not count."""
    if text in prompt:
        return True
    shown = _letters(prompt)
    return any(_letters(form) in shown for form in (text, json.dumps(text.strip(), ensure_ascii=False)[1:-1]))


def _letters(text: str) -> str:
    return "".join(text.casefold().split())


def turns_for(messages: Sequence[Message], template: str) -> list[dict[str, Any]]:
    """The turns of a conversation for a chat template. One that knows no developer is given a system turn instead."""
    turns = [template_turn(message) for message in messages]
    if "developer" not in template:
        turns = [turn | {"role": "system"} if turn["role"] == "developer" else turn for turn in turns]
    return turns


def folded(turns: Turns) -> list[dict[str, Any]]:
    """The turns with every system turn put in front of the next user's; one that none follows stays."""
    result: list[dict[str, Any]] = []
    waiting: list[Mapping[str, Any]] = []
    for turn in turns:
        if turn["role"] in _SYSTEM:
            waiting.append(turn)
        elif turn["role"] == "user" and waiting:
            texts = [str(part["content"]) for part in (*waiting, turn)]
            result.append({**turn, "content": "\n\n".join(texts)})
            waiting = []
        else:
            result.append(dict(turn))
    return result + [dict(turn) for turn in waiting]
