"""Prompts that are counted without an inference library are as long as the engines find them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engines.tiny import TEMPLATE, WORDS, TinyModels
from ftgate.domain import Message, Question
from ftgate.engines.chat_template import Renderer, TokenizedQuestion
from ftgate.models.tokenizer import TokenizerFacts
from ftgate.preflight.prompt_lengths import GUESSED_OVERHEAD, PromptLengths

pytestmark = pytest.mark.engine


def conversations(n: int) -> list[Question]:
    rng = random.Random(0)

    def turns(count: int) -> tuple[Message, ...]:
        texts = (" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(2 * count - 1))
        return tuple(Message("assistant" if n % 2 else "user", text) for n, text in enumerate(texts))

    return [Question("m", f"i{i}", turns(rng.randint(1, 3)), max_tokens=rng.randint(1, 20)) for i in range(n)]


def test_the_count_is_that_of_the_engines(tiny: TinyModels) -> None:
    counter, renderer = (
        PromptLengths(tiny.base.path / "tokenizer.json", TokenizerFacts(template=TEMPLATE)),
        Renderer(tiny.base, 256),
    )
    questions = conversations(40)
    for question, tokens in zip(questions, counter.count(questions), strict=True):
        prepared = renderer.prepare(question)
        assert isinstance(prepared, TokenizedQuestion)
        assert abs(tokens - len(prepared.ids) - question.max_tokens) <= 1


def test_the_longest_is_found_without_counting_all(tiny: TinyModels) -> None:
    counter = PromptLengths(tiny.base.path / "tokenizer.json", TokenizerFacts(template=TEMPLATE))
    questions = conversations(300)
    counts = counter.count(questions)
    most, which = counter.longest(questions)
    assert most == max(counts)
    assert which is not None
    assert counts[questions.index(which)] == most
    assert counter.longest([]) == (0, None)


@pytest.mark.parametrize(
    "template", ["{{ raise_exception('no') }}", "{% for %}", "", "{% for i in range(10**9) %}{% endfor %}"]
)
def test_a_template_that_cannot_be_tried_is_guessed(template: str, tiny: TinyModels) -> None:
    counter = PromptLengths(tiny.base.path / "tokenizer.json", TokenizerFacts(template=template))
    assert (counter.base, counter.turn) in (GUESSED_OVERHEAD, (0, 0))


def test_a_tokenizer_that_cannot_be_read_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="Model missing"):
        PromptLengths(tmp_path / "tokenizer.json", TokenizerFacts(template=TEMPLATE))


def test_a_mark_that_the_template_takes_from_the_tokenizer_counts(tiny: TinyModels) -> None:
    template = "{{ bos_token }}" + TEMPLATE.removeprefix("<|begin|>")
    words = TokenizerFacts(template=template, special={"bos_token": "<|begin|>"})
    assert PromptLengths(tiny.base.path / "tokenizer.json", words).base == 2
