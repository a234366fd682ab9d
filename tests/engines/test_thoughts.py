"""Thoughts before answers: prompts, budgets, and where options are read."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.thinking_templates import CHANNELS, OPENED, SWITCHED
from engines.tiny import TEMPLATE, make_tokenizer, model_at, question
from ftgate.config.engine import Thinking
from ftgate.domain import Answer
from ftgate.engines.chat_template import Renderer, TokenizedQuestion
from ftgate.engines.thought_budget import (
    NO_OPTION,
    Thought,
    cut_after_thought,
    text_answer,
    thought_before_options,
    without_option,
)
from ftgate.engines.thoughts import ignores_switch, switches
from ftgate.scoring.trace import CLOSED, OPEN, without_trace

pytestmark = pytest.mark.engine

LETTERS = ("a", "b")
THOUGHT_TOKENS = 40


@pytest.fixture(scope="module")
def renderers(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, Thinking], Renderer]:
    made: dict[tuple[str, Thinking], Renderer] = {}
    templates = {"switched": SWITCHED, "opened": OPENED, "channels": CHANNELS, "plain": TEMPLATE}
    modes: tuple[Thinking, ...] = ("off", "on", "template")
    for name, template in templates.items():
        folder = tmp_path_factory.mktemp(name)
        make_tokenizer(folder, template)
        made |= {(name, mode): Renderer(model_at(folder), 4096, mode, THOUGHT_TOKENS) for mode in modes}
    return made


def prepared_text(renderer: Renderer, options: tuple[str, ...] = ()) -> str:
    prepared = renderer.prepare(question("the sky", options))
    assert isinstance(prepared, TokenizedQuestion)
    return str(renderer.tokenizer.decode(prepared.ids))


@pytest.mark.parametrize(
    ("name", "thinks"), [("switched", True), ("opened", True), ("channels", True), ("plain", False)]
)
def test_who_thinks_by_its_template(renderers: dict[tuple[str, Thinking], Renderer], name: str, thinks: bool) -> None:
    assert renderers[name, "template"].thinks is thinks
    assert renderers[name, "on"].thinks
    assert not renderers[name, "off"].thinks
    assert renderers[name, "template"].thinking_tokens == (THOUGHT_TOKENS if thinks else 0)


@pytest.mark.parametrize(
    ("name", "off", "by_itself"),
    [
        ("switched", "<|assistant|><think>\n\n</think>\n\n", "<|assistant|>"),
        ("opened", "<|assistant|><think>\n\n</think>\n\n", "<|assistant|><think>\n"),
        ("channels", "<|start|>assistant<|channel|>final<|message|>", "<|start|>assistant"),
        ("plain", "<|assistant|>", "<|assistant|>"),
    ],
)
def test_prompts_with_thinking_off_and_by_the_template(
    renderers: dict[tuple[str, Thinking], Renderer], name: str, off: str, by_itself: str
) -> None:
    for options in ((), LETTERS):
        assert prepared_text(renderers[name, "off"], options).endswith(off)
        assert prepared_text(renderers[name, "template"], options).endswith(by_itself)


def test_only_a_template_with_a_switch_is_switched(renderers: dict[tuple[str, Thinking], Renderer]) -> None:
    assert not ignores_switch(renderers["switched", "template"]._short)
    assert not ignores_switch(renderers["opened", "template"]._short), "it thinks in any case"
    assert ignores_switch(renderers["plain", "template"]._short)
    assert switches("template") == {}


def written(renderer: Renderer, text: str) -> list[int]:
    return list(renderer.tokenizer(text, add_special_tokens=False)["input_ids"])


def thought_of(renderer: Renderer, text: str) -> Thought:
    asked = question("the sky", LETTERS)
    prepared = renderer.prepare(asked)
    assert isinstance(prepared, TokenizedQuestion)
    assert not prepared.options, "nothing is known of the options before the thought"
    return thought_before_options(renderer, asked, prepared, written(renderer, text))


@pytest.mark.parametrize(
    ("name", "text", "shown", "prompt_end"),
    [
        ("switched", "<think>\nis it a?\n</think>", "<think>\nis it a?\n</think>", "is it a?\n</think>\n\n"),
        ("opened", "is it a?\n</think>", "<think>is it a?\n</think>", "<think>\nis it a?\n</think>\n\n"),
        (
            "channels",
            "<|channel|>analysis<|message|>is it a?<|end|><|start|>assistant<|channel|>final",
            "<|channel|>analysis<|message|>is it a?<|end|><|start|>assistant<|channel|>final<|message|>",
            "is it a?<|end|><|start|>assistant<|channel|>final<|message|>",
        ),
        ("plain", "<think>is it a?</think>b", "<think>is it a?</think>", "is it a?</think>"),
    ],
)
def test_options_are_read_after_the_thought(
    renderers: dict[tuple[str, Thinking], Renderer], name: str, text: str, shown: str, prompt_end: str
) -> None:
    renderer = renderers[name, "on"]
    thought = thought_of(renderer, text)
    assert thought.text == shown
    assert isinstance(thought.question, TokenizedQuestion)
    assert renderer.tokenizer.decode(thought.question.ids).endswith(prompt_end)
    assert all(thought.question.options)
    read = without_trace(Answer(thought.text, (-1.0, -2.0)))
    assert (read.trace, read.text) == (CLOSED, "")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("switched", "<think>\nis it a"),
        ("opened", "is it a"),
        ("channels", "<|channel|>analysis<|message|>is it a<|end|>"),
    ],
)
def test_a_thought_that_never_ends_names_no_option(
    renderers: dict[tuple[str, Thinking], Renderer], name: str, text: str
) -> None:
    thought = thought_of(renderers[name, "template"], text)
    assert thought.question is None
    answer = without_trace(without_option(thought, question("the sky", LETTERS)))
    assert answer.option_logprobs == (NO_OPTION, NO_OPTION)
    assert (answer.trace, answer.finish) == (OPEN, "length")


def test_options_are_read_at_once_where_the_model_does_not_think(
    renderers: dict[tuple[str, Thinking], Renderer],
) -> None:
    for name, prompt_end in (("switched", "<|assistant|>"), ("channels", "<|channel|>final<|message|>")):
        renderer = renderers[name, "on"]
        thought = thought_of(renderer, "a")
        assert thought.text == ""
        assert isinstance(thought.question, TokenizedQuestion)
        assert renderer.tokenizer.decode(thought.question.ids).endswith(prompt_end)


def test_continuations_are_refused_where_the_model_thinks(renderers: dict[tuple[str, Thinking], Renderer]) -> None:
    asked = replace(question("the sky", ("is red", "is blue")), continued=True)
    refused = renderers["opened", "template"].prepare(asked)
    assert isinstance(refused, Answer)
    assert "set engine.thinking to off" in str(refused.error)
    assert isinstance(renderers["opened", "off"].prepare(asked), TokenizedQuestion)
    raw = renderers["opened", "template"].prepare(replace(asked, raw=True))
    assert isinstance(raw, TokenizedQuestion), "a raw text has no template, and so no thought"


def test_a_prompt_must_leave_room_for_the_thought(renderers: dict[tuple[str, Thinking], Renderer]) -> None:
    folder = renderers["opened", "on"].model.path
    prompt = len(written(renderers["opened", "on"], prepared_text(renderers["opened", "on"])))
    room = prompt + THOUGHT_TOKENS + 5
    assert isinstance(
        Renderer(model_at(folder), room, "on", THOUGHT_TOKENS).prepare(question("the sky", (), 5)), TokenizedQuestion
    )
    short = Renderer(model_at(folder), room - 1, "on", THOUGHT_TOKENS).prepare(question("the sky", (), 5))
    assert isinstance(short, Answer)
    assert "with 45 for the answer" in str(short.error)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(["switched", "opened", "channels"]),
    thought=st.integers(0, 2 * THOUGHT_TOKENS),
    answer=st.integers(1, 20),
    limit=st.integers(1, 12),
    ended=st.booleans(),
)
def test_thought_and_answer_keep_to_their_budgets(
    renderers: dict[tuple[str, Thinking], Renderer], name: str, thought: int, answer: int, limit: int, ended: bool
) -> None:
    """Thoughts of known lengths: ``x`` and the digits are one token each in any context."""
    renderer = renderers[name, "template"]
    asked = question("the sky", (), limit)
    prepared = renderer.prepare(asked)
    assert isinstance(prepared, TokenizedQuestion)
    begins = {"switched": "<think>", "opened": "", "channels": "<|channel|>analysis<|message|>"}[name]
    closes = {"channels": "<|end|><|start|>assistant<|channel|>final<|message|>"}.get(name, "</think>")
    before = written(renderer, begins) + thought * written(renderer, "7") + written(renderer, closes)
    ids = before + answer * written(renderer, "9")
    got = without_trace(text_answer(renderer, asked, prepared, ids, ended=ended))
    measured = len(before) - (len(written(renderer, "<|message|>")) if name == "channels" else 0)
    if measured > THOUGHT_TOKENS:
        assert (got.text, got.trace, got.finish) == ("", OPEN, "length")
        assert got.tokens == THOUGHT_TOKENS
        return
    assert got.trace == CLOSED
    assert set(got.text) <= {"9"}
    kept = min(answer, limit)
    assert len(got.text) >= kept - 12 if name == "channels" else len(got.text) == kept
    assert got.finish == ("stop" if ended and answer <= limit else got.finish)


def test_a_text_that_ends_answers_ends_no_thought(renderers: dict[tuple[str, Thinking], Renderer]) -> None:
    renderer = renderers["opened", "on"]
    asked = replace(question("the sky", (), 30), stop=("b",))
    prepared = renderer.prepare(asked)
    assert isinstance(prepared, TokenizedQuestion)
    ids = written(renderer, "a b a</think>a b a")
    got = without_trace(text_answer(renderer, asked, prepared, ids, ended=False))
    assert (got.text, got.finish, got.trace) == ("a ", "stop", CLOSED)


def test_the_line_breaks_behind_a_thought_end_no_answer(renderers: dict[tuple[str, Thinking], Renderer]) -> None:
    """Otherwise a `stop` of one line break would leave the answers of all models that think empty."""
    renderer = renderers["opened", "on"]
    asked = replace(question("the sky", (), 30), stop=("\n",))
    prepared = renderer.prepare(asked)
    assert isinstance(prepared, TokenizedQuestion)
    ids = written(renderer, "a\nb</think>\n\na b\na")
    got = without_trace(text_answer(renderer, asked, prepared, ids, ended=False))
    assert (got.text, got.finish, got.trace) == ("a b", "stop", CLOSED)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("a\nb", "a"),
        ("\na", ""),
        ("<think>\na\n</think>\n\nb c\nd", "<think>\na\n</think>\n\nb c"),
        ("a\nb</think>c\nd", "a\nb</think>c"),
        ("<think>\na\nb", "<think>\na\nb"),
        ("<think>\na\n</think>\n\n", "<think>\na\n</think>\n\n"),
    ],
)
def test_a_servers_answer_is_cut_behind_its_thought(text: str, cut: str) -> None:
    assert cut_after_thought(text, ["\n"]) == cut
    assert cut_after_thought(text, []) == text


def test_an_answer_without_a_thought_has_the_budget_of_the_answer(
    renderers: dict[tuple[str, Thinking], Renderer],
) -> None:
    renderer = renderers["switched", "on"]
    asked = question("the sky", (), 3)
    prepared = renderer.prepare(asked)
    assert isinstance(prepared, TokenizedQuestion)
    got = text_answer(renderer, asked, prepared, 9 * written(renderer, "7"), ended=True)
    assert (got.text, got.finish, got.tokens) == ("777", "length", 3)
