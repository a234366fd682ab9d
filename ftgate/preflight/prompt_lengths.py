"""Counts the tokens of a run's prompts without any inference library; no GPU needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftgate.config.generation import GenerationSettings
from ftgate.domain import Message, Question, Suite
from ftgate.measurements.base import Measurement
from ftgate.measurements.deployed import as_deployed
from ftgate.models.rendering import conversations
from ftgate.models.tokenizer import TokenizerFacts
from ftgate.preflight.findings import Prompts

GUESSED_OVERHEAD = (16, 8)
"""Tokens per conversation and per turn, if the chat template cannot be rendered."""
LEAST_ANSWER = 16
"""Tokens. With less room than this for an answer, the prompts themselves are too long."""
_BATCH = 64
_SENTINEL = "x"


class PromptLengths:
    """Counts the tokens of conversations for one model: those of each turn, plus an estimate of what the template adds.

    The estimate comes from rendering two short conversations. ``vocabulary`` holds the id of every token. An answer may
    have ``thought`` tokens before it.
    """

    def __init__(self, tokenizer: Path, tokenizer_facts: TokenizerFacts, thought: int = 0) -> None:
        """Raises ValueError if the tokenizer cannot be read."""
        self._thought = thought
        from tokenizers import Tokenizer

        try:
            self._tokenizer: Any = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # the library raises bare exceptions
            raise ValueError(str(error)) from None
        self.vocabulary: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        self.base, self.turn = self._overhead(tokenizer_facts)

    def longest(self, questions: Iterable[Question]) -> tuple[int, Question | None]:
        """The most tokens that any of ``questions`` needs, including its answer, and that question.

        A text never has more tokens than bytes, so questions that are too short to be the longest are skipped.
        """
        longest, longest_question = 0, None
        asked = ((question, _texts(question)) for question in questions)
        ordered = sorted(((self._bound(*pair), pair) for pair in asked), key=lambda entry: entry[0], reverse=True)
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            if batch[0][0] <= longest:
                break
            pairs = [pair for _, pair in batch]
            for (question, _), tokens in zip(pairs, self._count(pairs), strict=True):
                if tokens > longest:
                    longest, longest_question = tokens, question
        return longest, longest_question

    def count(self, questions: Sequence[Question]) -> list[int]:
        """The estimated number of tokens of each of ``questions``, including its answer."""
        return self._count([(question, _texts(question)) for question in questions])

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each of ``texts``."""
        readable = [text.encode("utf-8", "replace").decode() for text in texts]
        return [len(e.ids) for e in self._tokenizer.encode_batch_fast(readable, add_special_tokens=False)]

    def _count(self, asked: Sequence[tuple[Question, Sequence[str]]]) -> list[int]:
        lengths = iter(self.lengths([text for _, of_question in asked for text in of_question]))
        return [self._fixed(question) + sum(next(lengths) for _ in of_q) for question, of_q in asked]

    def _fixed(self, question: Question) -> int:
        answer = max(1, question.max_tokens) + (0 if question.raw else self._thought)
        return self.base + self.turn * len(question.messages) + answer

    def _bound(self, question: Question, texts: Sequence[str]) -> int:
        return self._fixed(question) + sum(len(text.encode("utf-8", "replace")) for text in texts)

    def _overhead(self, tokenizer_facts: TokenizerFacts) -> tuple[int, int]:
        render = conversations(tokenizer_facts).render
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
    tokenizer: PromptLengths,
    reader: str,
    measurements: Iterable[Measurement],
    suites: Mapping[str, Suite],
    generation: GenerationSettings | None,
    limit: int,
) -> Iterator[Prompts]:
    """The longest prompt of each measurement that has a suite, and how many items exceed ``limit`` tokens.

    With the system turn of ``generation``, if it has one.
    """
    for m in measurements:
        if m.name not in suites:
            continue
        items = suites[m.name].items
        questions = [question for item in items for question in as_deployed(m.plan(item), generation)]
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
