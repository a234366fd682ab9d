"""Thoughts before answers, as chat templates have them: who thinks, how a thought ends, and what follows it. Pure text.

A template opens the thought itself (DeepSeek-R1), leaves it to the model unless it is told not to (Qwen3), or names a
channel for it (gpt-oss). Marks are recognised by :mod:`ftgate.scoring.trace`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ftgate.config.engine import Thinking
from ftgate.scoring.trace import closing_of, end_of_trace, is_closing, opening_at_end

HARMONY_TURN = "<|start|>assistant"
"""How a prompt of gpt-oss ends: the model names its channel itself, first the one of its reasoning."""
_FINAL_CHANNEL, _MESSAGE = "<|channel|>final", "<|message|>"
_USUAL_CLOSINGS = ("</think>", "</thinking>", "</reasoning>", "</thought>", "[/THINK]")
_WHITE_END = re.compile(r"\s*\Z")
_OPENING_LINE = re.compile(r"\s*[^\s]+?[>\]▷](\s*)")

Rendering = Callable[[Mapping[str, bool]], str]
"""Renders one short conversation with these variables of the template."""


def switches(thinking: Thinking) -> dict[str, bool]:
    """What a template is passed: the variables of the Qwen3 and of the DeepSeek-V3.1 kind, or nothing."""
    return {} if thinking == "template" else {"enable_thinking": thinking == "on", "thinking": thinking == "on"}


def opened_by(prompt: str) -> str:
    """What a rendered ``prompt`` ends with that makes the model begin with a thought; empty if nothing does."""
    return HARMONY_TURN if prompt.endswith(HARMONY_TURN) else opening_at_end(prompt)


def template_thinks(render: Rendering) -> bool:
    """Whether a model thinks by its template alone.

    Either the template opens the thought, or it says something else once thinking is switched off. One that
    writes the time says something else whenever it is rendered, which is no thinking.
    """
    by_itself, off, again = render({}), render(switches("off")), render({})
    return bool(opened_by(by_itself)) or by_itself == again != off


def ignores_switch(render: Rendering) -> bool:
    """Whether switching thinking on or off changes nothing in what a template renders, and it opens no thought."""
    on = render(switches("on"))
    return not opened_by(on) and on == render(switches("off"))


@dataclass(frozen=True, slots=True)
class ThoughtForm:
    """How a model's thoughts end: the texts that end them, and what stands between that and the answer.

    ``joint`` is None where the template does not show it.
    """

    closings: tuple[str, ...]
    joint: str | None = None

    def answer_prompt(self, prompt: str, thought: str) -> str:
        """The prompt of the answer: ``prompt``, and the ended ``thought`` that the model wrote after it."""
        return f"{prompt}{thought}{2 * _breaks(prompt, thought) if self.joint is None else self.joint}"

    def ended(self, text: str) -> str | None:
        """The thought in ``text``, with what ends it; None if it has not ended."""
        end = self.end(text)
        if end is None:
            return None
        return text[:end] + (_MESSAGE if text[:end].endswith(_FINAL_CHANNEL) else "")

    def end(self, text: str) -> int | None:
        """Where in ``text``, which begins after the prompt, the thought has ended; None if it has not."""
        channel = text.find(_FINAL_CHANNEL)
        return end_of_trace(text) if channel < 0 else channel + len(_FINAL_CHANNEL)


def thought_form(prompt: str, prompt_off: str, tokens: Iterable[str]) -> ThoughtForm:
    """The form after prompts that end as ``prompt`` does.

    ``prompt_off`` is the same one with thinking off, ``tokens`` are those of the tokenizer that structure text.
    """
    opening = opened_by(prompt)
    if opening == HARMONY_TURN:
        return ThoughtForm((_FINAL_CHANNEL,), "")
    own = closing_of(opening) if opening else ""
    closings = dict.fromkeys([*([own] if own else []), *filter(is_closing, tokens), *_USUAL_CLOSINGS])
    white = _WHITE_END.search(prompt_off)
    ended = prompt_off[: white.start()] if white is not None else prompt_off
    closed = next((mark for mark in closings if ended.endswith(mark)), "")
    return ThoughtForm(tuple(closings), prompt_off[len(ended) :] if closed else None)


def closed_at_once(prompt: str) -> str | None:
    """A ``prompt`` in which the thought that its template opens is closed, empty; None if it is unknown how."""
    if prompt.endswith(HARMONY_TURN):
        return f"{prompt}{_FINAL_CHANNEL}{_MESSAGE}"
    opening = opening_at_end(prompt)
    if not opening:
        return prompt
    closing = closing_of(opening)
    breaks = prompt[prompt.rindex(opening) + len(opening) :]
    return f"{prompt}{breaks}{closing}{breaks * 2}" if closing else None


def _breaks(prompt: str, thought: str) -> str:
    """The white space after the mark that opens the thought, in the prompt or in the thought itself."""
    opening = opening_at_end(prompt)
    if opening:
        return prompt[prompt.rindex(opening) + len(opening) :]
    first = _OPENING_LINE.match(thought)
    return first[1] if first is not None else ""
