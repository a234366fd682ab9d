"""What a model generated, split into its thought and its answer, each within its own budget of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ftgate.domain import Answer, Question
from ftgate.engines.chat_template import Renderer, TokenizedQuestion, cut_at
from ftgate.scoring.trace import begins_trace, end_of_trace, opening_at_end

NO_OPTION = -9999.0
"""The log-probability of every option where a thought did not end: the model named none. JSON has no infinity."""


class Thought(NamedTuple):
    """A thought before option letters: its ``text`` as an answer shows it, its length, and the question after it.

    ``question`` is a failed answer if the options cannot be read, and None if the thought never ended.
    """

    text: str
    tokens: int
    question: TokenizedQuestion | Answer | None


def budget(renderer: Renderer, question: Question, prepared: TokenizedQuestion) -> int:
    """The most tokens to generate: those of the answer and, if the model thinks first, those of the thought."""
    answer = 0 if question.options else max(1, question.max_tokens)
    return answer + (renderer.thinking_tokens if prepared.thinks_after else 0)


def text_answer(
    renderer: Renderer, question: Question, prepared: TokenizedQuestion, ids: Sequence[int], *, ended: bool
) -> Answer:
    """The answer that ``ids`` spell; ``ended`` says whether the model ended it by itself.

    After a thought the answer has its own ``max_tokens``. A thought that did not end within its budget is cut there,
    and no answer follows.
    """
    if not prepared.thinks_after:
        text = cut_at(renderer.text(ids, prepared.ids, tools=prepared.tools), question.stop)
        return Answer(text, finish="stop" if ended else "length", tokens=len(ids))
    kept, start = _within_budgets(renderer, prepared, ids, question.max_tokens)
    text = renderer.text(kept, prepared.ids, tools=prepared.tools)
    ended = ended and len(kept) == len(ids)
    if question.stop and start is not None:
        before = renderer.text(kept[:start], prepared.ids, tools=prepared.tools) if start else ""
        cut = before + _cut_answer(text[len(before) :], question.stop, after_thought=start > 0)
        ended, text = ended or len(cut) < len(text), cut
    return Answer(text, finish="stop" if ended else "length", tokens=len(kept))


def cut_after_thought(text: str, stops: Sequence[str]) -> str:
    """``text`` up to the first of ``stops`` in its answer: what comes after a thought, if it begins with one."""
    end = end_of_trace(text)
    if end is None and begins_trace(text):
        return text
    return text[:end] + _cut_answer(text[end:], stops, after_thought=True) if end else cut_at(text, stops)


def _cut_answer(answer: str, stops: Sequence[str], *, after_thought: bool) -> str:
    """``answer`` up to the first of ``stops``; white space that separates it from a thought is no part of it."""
    start = len(answer) - len(answer.lstrip()) if after_thought else 0
    return answer[:start] + cut_at(answer[start:], stops)


def thought_before_options(
    renderer: Renderer, question: Question, prepared: TokenizedQuestion, ids: Sequence[int]
) -> Thought:
    """The thought that ``ids`` spell, and the question whose options are read once it has ended.

    Where the model began no thought, they are read right after the prompt.
    """
    written = renderer.whole_text(ids)
    ended, opening = renderer.thoughts.ended(written), opening_at_end(prepared.thinks_after)
    if ended is not None:
        return Thought(opening + ended, len(ids), renderer.after_thought(prepared.thinks_after, ended, question))
    if begins_trace(opening + written):
        return Thought(opening + written, len(ids), None)
    return Thought("", len(ids), renderer.after_thought(prepared.thinks_after, "", question))


def without_option(thought: Thought, question: Question) -> Answer:
    """The answer to a question whose options cannot be read after its ``thought``."""
    if isinstance(thought.question, Answer):
        return thought.question
    return Answer(thought.text, (NO_OPTION,) * len(question.options), finish="length", tokens=thought.tokens)


def after(thought: Thought, read: Answer) -> Answer:
    """The options' probabilities, as ``read``, with the thought before them and the tokens of both."""
    return replace(read, text=thought.text, tokens=read.tokens + thought.tokens) if read.error is None else read


def _within_budgets(
    renderer: Renderer, prepared: TokenizedQuestion, ids: Sequence[int], max_tokens: int
) -> tuple[list[int], int | None]:
    """``ids`` within both budgets, and how many of them are the thought; None for a thought that did not end."""
    written, tokens = renderer.whole_text(ids), renderer.thinking_tokens
    end = renderer.thoughts.end(written)
    if end is None:
        if begins_trace(opening_at_end(prepared.thinks_after) + written):
            return list(ids[:tokens]), None
        return list(ids[: max(1, max_tokens)]), 0
    low, high = 1, len(ids)
    while low < high:  # the fewest tokens that hold the end
        middle = (low + high) // 2
        low, high = (low, middle) if len(renderer.whole_text(ids[:middle])) >= end else (middle + 1, high)
    if low > tokens:
        return list(ids[:tokens]), None
    return list(ids[: low + max(1, max_tokens)]), low
