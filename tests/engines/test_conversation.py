"""Templates that lack a system role or a generation prompt, and models on one base that are asked in other words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.test_vllm import TOLERANCE, answers, largest_gap
from engines.tiny import END, TEMPLATE, TinyModels, choices, make_tokenizer, model_at, question
from ftgate.domain import Answer, Message
from ftgate.engines.base import Ask
from ftgate.engines.chat_template import Renderer, TokenizedQuestion
from ftgate.engines.conversation import UnusablePromptError, folded
from ftgate.engines.template_files import Chat
from ftgate.engines.transformers import TransformersEngine
from ftgate.models.rendering import conversations
from ftgate.models.tokenizer import read_tokenizer

pytestmark = pytest.mark.engine

REFUSES = (
    "<|begin|>{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
DROPS = REFUSES.replace("{{ raise_exception('no system role') }}", "{% continue %}")
NO_PROMPT = TEMPLATE.partition("{% if add_generation_prompt")[0]
TURNS = (Message("system", "red"), Message("user", "blue"), Message("assistant", "green"), Message("user", "gold"))


def text_of(folder: Path, template: str, *messages: Message) -> str:
    """What the engine asks. `check`, without the engine's library, renders the same."""
    make_tokenizer(folder, template)
    renderer = Renderer(model_at(folder), 256)
    asked = str(renderer.tokenizer.decode(renderer.prompt(messages)))
    assert conversations(read_tokenizer(folder)).render(messages) == asked
    return asked


@pytest.mark.parametrize("template", [REFUSES, DROPS])
def test_a_system_turn_is_put_in_front_of_the_user_s_where_the_template_has_no_place_for_it(
    tmp_path: Path, template: str
) -> None:
    assert text_of(tmp_path, template, *TURNS) == (
        "<|begin|><|user|>red\n\nblue<|end|><|assistant|>green<|end|><|user|>gold<|end|><|assistant|>"
    )


def test_a_template_with_a_system_role_gets_the_turn_as_it_is(tmp_path: Path) -> None:
    assert text_of(tmp_path, TEMPLATE, *TURNS[:2]) == ("<|begin|><|system|>red<|end|><|user|>blue<|end|><|assistant|>")


def test_system_turns_go_to_the_next_user_and_one_that_none_follows_stays() -> None:
    turns = [{"role": role, "content": role[0]} for role in ("system", "developer", "user", "assistant", "system")]
    assert folded(turns) == [{"role": "user", "content": "s\n\nd\n\nu"}, *turns[3:]]


def test_what_precedes_every_answer_is_added_where_the_template_does_not(tmp_path: Path) -> None:
    assert text_of(tmp_path, NO_PROMPT, TURNS[1]) == "<|begin|><|user|>blue<|end|><|assistant|>"


@pytest.mark.parametrize("after", ["", " "])
def test_a_template_whose_answers_follow_directly_needs_no_generation_prompt(tmp_path: Path, after: str) -> None:
    direct = "{% for m in messages %}{{ '[' + m.content + ']' if m.role == 'user' else AFTER + m.content }}{% endfor %}"
    assert text_of(tmp_path, direct.replace("AFTER", repr(after)), TURNS[1]) == "[blue]"


PARTS = (
    "<|begin|>{% for m in messages %}<|{{ m['role'] }}|>{% for c in m['content'] %}{{ c['text'] }}{% endfor %}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def test_a_template_that_loops_over_content_parts_is_given_parts(tmp_path: Path) -> None:
    assert text_of(tmp_path, PARTS, *TURNS) == (
        "<|begin|><|system|>red<|end|><|user|>blue<|end|><|assistant|>green<|end|><|user|>gold<|end|><|assistant|>"
    )


@pytest.mark.parametrize(
    "template",
    ["<|user|>hello<|end|><|assistant|>", "{{ '' }}", "{% for m in messages %}{{ m.content[:20] }}{% endfor %}"],
    ids=["constant", "empty", "cut"],
)
def test_a_question_that_its_prompt_lacks_is_never_asked(tmp_path: Path, template: str) -> None:
    make_tokenizer(tmp_path, template)
    asked = question("which one of these is the answer?")
    answer = Renderer(model_at(tmp_path), 256).prepare(asked)
    assert isinstance(answer, Answer)
    assert answer.error == "the chat template failed: it leaves out the text of the last user turn, or part of it"
    with pytest.raises(UnusablePromptError):
        conversations(read_tokenizer(tmp_path)).render(asked.messages)


def test_a_template_may_write_a_question_with_other_white_space_or_as_json(tmp_path: Path) -> None:
    spaced = "{% for m in messages %}{{ m.content | trim | replace('\\n', '  ') }}{% endfor %}:"
    for template in (spaced, "{{ messages | tojson }}:"):
        make_tokenizer(tmp_path, template)
        assert "red" in conversations(read_tokenizer(tmp_path)).render([Message("user", ' "red"\nand blue\n')])


@pytest.mark.parametrize(
    ("fails", "why"),
    [
        ("{{ messages[0].content | truncate(1) }}", "expected length >= 3, got 1"),
        (
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            "it nests too deep: blocks, brackets, calls of macros, or a long chain of elif",
        ),
        ("{{ 'a' * 9999999999999999 }}", "it needs too much memory"),
        (
            "{% set x = namespace(s='a') %}{% for i in range(40) %}{% set x.s = x.s ~ x.s %}{% endfor %}",
            "it needs too much memory",
        ),
    ],
)
def test_whatever_a_template_raises_fails_the_row_alone(tmp_path: Path, fails: str, why: str) -> None:
    make_tokenizer(tmp_path, "{% if 'blue' in messages[0].content %}" + fails + "{% endif %}" + TEMPLATE)
    renderer = Renderer(model_at(tmp_path), 256)
    assert isinstance(renderer.prepare(question("red")), TokenizedQuestion)
    answer = renderer.prepare(question("blue"))
    assert isinstance(answer, Answer)
    assert answer.error == f"the chat template failed: {why}"


def test_conversations_with_tools_may_have_a_template_of_their_own(tmp_path: Path, tiny: TinyModels) -> None:
    with_tools = "{{ tools | length }} tools. {{ messages[-1].content }}"
    model = replace(tiny.base, chat=Chat(tiny.base.path, TEMPLATE, with_tools))
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    prepared = Renderer(model, 256).prepare(replace(question("blue"), tools=(tool,)))
    assert isinstance(prepared, TokenizedQuestion)
    assert Renderer(model, 256).tokenizer.decode(prepared.ids) == "1 tools. blue"


@pytest.mark.parametrize("kind", ["vllm_engine", "transformers_engine"])
def test_models_on_one_base_are_asked_each_in_its_own_template(
    kind: str, tiny: TinyModels, request: pytest.FixtureRequest
) -> None:
    engine = request.getfixturevalue(kind)
    other = TEMPLATE.replace(END, "")
    models = [replace(model, chat=Chat(tiny.base.path, other)) for model in (tiny.real, tiny.base)]
    asked = choices(4)
    told = [[Ask(model, q) for q in asked] for model in (tiny.real, models[0], tiny.base, models[1])]
    own = [answers(engine, asks) for asks in told]
    reference = TransformersEngine(engine._settings)
    try:
        reference.require([tiny.real])
        assert largest_gap(answers(reference, told[1]), own[1]) < TOLERANCE
        assert largest_gap(answers(reference, told[3]), own[3]) < TOLERANCE
    finally:
        reference.close()
    assert largest_gap(own[0], own[1]) > 0.01
    assert largest_gap(own[2], own[3]) > 0.01
