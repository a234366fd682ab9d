"""Counts the tokens of a run's prompts without any inference library; no GPU needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from ftgate.domain import Item, Message, Question, Suite
from ftgate.engines.chat_template import TEMPLATE_SECONDS, time_limit, turns_for
from ftgate.measurements.base import Measurement
from ftgate.models.tokenizer import TokenizerFacts
from ftgate.preflight.findings import Prompts
from ftgate.scoring.trace import opening_at_end

GUESSED_OVERHEAD = (16, 8)
"""Tokens per conversation and per turn, if the chat template cannot be rendered."""
_BATCH = 64
_SENTINEL = "x"


class PromptLengths:
    """Counts the tokens of conversations for one model: those of each turn, plus an estimate of what the template adds.

    The estimate comes from rendering two short conversations. ``rows`` is one more than the largest token id.
    """

    def __init__(self, tokenizer: Path, tokenizer_facts: TokenizerFacts) -> None:
        """Raises ValueError if the tokenizer cannot be read."""
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # the library raises bare exceptions
            raise ValueError(str(error)) from None
        self.rows = 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        self.base, self.turn = self._overhead(tokenizer_facts)

    def longest(self, questions: Iterable[Question]) -> tuple[int, Question | None]:
        """The most tokens that any of ``questions`` needs, including its answer, and that question.

        A text never has more tokens than bytes, so questions that are too short to be the longest are skipped.
        """
        longest, longest_question = 0, None
        ordered = sorted(questions, key=self._bound, reverse=True)
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            if self._bound(batch[0]) <= longest:
                break
            for question, tokens in zip(batch, self.count(batch), strict=True):
                if tokens > longest:
                    longest, longest_question = tokens, question
        return longest, longest_question

    def count(self, questions: Sequence[Question]) -> list[int]:
        """The estimated number of tokens of each of ``questions``, including its answer."""
        asked = [_texts(question) for question in questions]
        texts = [text.encode("utf-8", "replace").decode() for of_question in asked for text in of_question]
        lengths = iter(len(e.ids) for e in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        return [self._fixed(q) + sum(next(lengths) for _ in of_q) for q, of_q in zip(questions, asked, strict=True)]

    def _fixed(self, question: Question) -> int:
        return self.base + self.turn * len(question.messages) + max(1, question.max_tokens)

    def _bound(self, question: Question) -> int:
        return self._fixed(question) + sum(len(text.encode("utf-8", "replace")) for text in _texts(question))

    def _overhead(self, tokenizer_facts: TokenizerFacts) -> tuple[int, int]:
        render = renderer(tokenizer_facts)
        conversation = [Message("user", _SENTINEL), Message("assistant", _SENTINEL), Message("user", _SENTINEL)]
        try:
            one, three = (self._length(render(turns)) for turns in (conversation[:1], conversation))
        except Exception:  # an untrusted template: the engine will report what is wrong with it
            return GUESSED_OVERHEAD
        own = self._length(_SENTINEL)
        turn = max(0, -(-(three - one) // 2) - own)
        return max(0, one - own - turn), turn

    def _length(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)


def _texts(question: Question) -> list[str]:
    """The texts that a model reads for ``question``: its turns and tools; of contexts and continuations the longest."""
    texts = [message.text for message in question.messages]
    if question.contexts:
        texts = [max(question.contexts, key=len)]
    if question.continued:
        texts.append(max(question.options, key=len))
    return texts + [json.dumps(tool, ensure_ascii=False, indent=4) for tool in question.tools]


def prompt_lengths(
    tokenizer: PromptLengths, reader: str, measurements: Iterable[Measurement], suites: Mapping[str, Suite], limit: int
) -> Iterator[Prompts]:
    """The longest prompt of each measurement that has a suite, and how many items exceed ``limit`` tokens."""
    for m in measurements:
        if m.name not in suites:
            continue
        items = suites[m.name].items
        questions = [question for item in items for question in m.plan(item)]
        longest, longest_question = tokenizer.longest(questions)
        counts = tokenizer.count(questions) if longest > limit else []
        too_long = {q.item_id for q, tokens in zip(questions, counts, strict=False) if tokens > limit}
        yield Prompts(
            m.name,
            reader,
            longest,
            longest_question.item_id if longest_question else "",
            limit,
            len(too_long),
            len(items),
        )


def tools_unseen(tokenizer_facts: TokenizerFacts, item: Item) -> str:
    """Why a model with this chat template cannot be asked a row with tools; empty if it can."""
    render = renderer(tokenizer_facts)
    try:
        if render(item.messages, item.tools) == render(item.messages):
            return "its chat template does not show tools to the model"
    except Exception as error:  # an untrusted template
        return f"its chat template fails for a row with tools: {' '.join(str(error).split())[:200]}"
    return ""


def opened_trace(tokenizer_facts: TokenizerFacts) -> str:
    """The mark of the reasoning trace that the chat template opens before each answer; empty if it opens none."""
    try:
        return opening_at_end(renderer(tokenizer_facts)([Message("user", _SENTINEL)]))
    except Exception:  # an untrusted template: the engine will report what is wrong with it
        return ""


class _Render(Protocol):
    def __call__(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> str: ...


def renderer(tokenizer_facts: TokenizerFacts) -> _Render:
    """A function that renders a conversation with the chat template, in a sandbox and with a time limit."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, indent=None, **_: json.dumps(value, ensure_ascii=False, indent=indent)
    environment.globals |= {
        "strftime_now": lambda form: datetime.now().strftime(form),
        "raise_exception": _raise,
    }

    def render(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        turns = turns_for(messages, tokenizer_facts.template)
        with time_limit(TEMPLATE_SECONDS):
            return environment.from_string(tokenizer_facts.template).render(
                **tokenizer_facts.special,
                messages=turns,
                tools=[dict(tool) for tool in tools] or None,
                add_generation_prompt=True,
                enable_thinking=False,
            )

    return render


def _raise(reason: str) -> None:
    raise ValueError(reason)
