"""What a chat template adds to a conversation: the same whatever is asked, or a fault that is found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.domain import Item, Message, Suite, ToolCall
from ftgate.measurements.registry import read_measurements
from ftgate.models.rendering import conversations
from ftgate.models.tokenizer import TokenizerFacts
from ftgate.preflight.added_text import AddedText
from ftgate.preflight.kinds import unrendered

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
PROMPT = "{% if add_generation_prompt %}<assistant>{% endif %}"
PLAIN = TURNS + PROMPT
STRIPS = "{% for m in messages %}[{{ m.role | upper }}] {{ m.content | trim }}\n{% endfor %}[ASSISTANT]"
SHOUTS = PLAIN.replace("m.content", "m.content | upper")
DATED = "It is {{ strftime_now('%d %B %Y, %H:%M:%S.%f') }}. " + PLAIN
FIRST_SYSTEM = (
    "{% if messages[0].role != 'system' %}<system>You are helpful.<end>{% endif %}{% for m in messages %}"
    "<{{ m.role }}>{{ m.content }}{% if loop.first %} (first){% endif %}<end>{% endfor %}" + PROMPT
)
FORGETS_THOUGHTS = (
    "{% set asked = namespace(last=0) %}{% for m in messages %}"
    "{% if m.role == 'user' and not m.content.startswith('<tool_response>') %}{% set asked.last = loop.index0 %}"
    "{% endif %}{% endfor %}{% for m in messages %}<{{ m.role }}>"
    "{% if m.role == 'assistant' and '</think>' in m.content %}{{ m.content.split('</think>')[-1].lstrip('\n') }}"
    "{% else %}{{ m.content }}{% endif %}{% if loop.index0 == asked.last %} (the question){% endif %}<end>{% endfor %}"
    + PROMPT
    + "{% if '/no_think' in messages[-1].content %}<think>\n\n</think>\n\n{% endif %}"
)
OBEYS = (
    TURNS + PROMPT + "{% if messages[0].role == 'system' and 'thinking on' in messages[0].content %}<think>{% endif %}"
)
PARTS = (
    "{% for m in messages %}<{{ m.role }}>{% for part in m.content %}{{ part.text }}{% endfor %}<end>{% endfor %}"
    + PROMPT
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + PLAIN
TOOLS = (
    "{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}{% for m in messages %}<{{ m.role }}>"
    "{% if m.role == 'tool' %}{{ {'result': m.content} | tojson }}{% else %}{{ m.content }}{% endif %}"
    "{% for call in m.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}<end>{% endfor %}" + PROMPT
)
LEGITIMATE = [PLAIN, STRIPS, SHOUTS, DATED, FIRST_SYSTEM, FORGETS_THOUGHTS, OBEYS, PARTS, NO_SYSTEM, TOOLS]

TOOL = {"type": "function", "function": {"name": "weather", "description": 'Says "rain".', "parameters": {}}}
CALL = ToolCall("weather", '{"city": "Rome"}', "c1")


def user(text: str) -> Message:
    return Message("user", text)


def system(text: str) -> Message:
    return Message("system", text)


def answered(text: str) -> tuple[Message, ...]:
    return (user("Is it?"), Message("assistant", text), user('Say "why" \\ & <b>how</b>'))


KINDS: dict[str, list[tuple[Message, ...]]] = {
    "one turn": [
        (user("What is the opposite of hot?"),),
        (user("  user\n"),),
        (user("é ß 你好 ftgate"),),
        (user("A"),),
    ],
    "with a system turn": [(system("Be brief."), user("Hi?")), (system('You are "a pirate".\n'), user("assistant"))],
    "with one system turn": [(system("Always be thinking on."), user(text)) for text in ("Hi?", "And?")],
    "with an answer": [*map(answered, ("Yes.", "", "<think>\nhm, 3\n</think>\n\nYes.", "a\n\nb"))],
    "with a switch": [(user("Which? /no_think"),), (user("Which one?"),), (user("km/h or /think"),)],
    "with a tool": [
        (user("Rain?"), Message("assistant", text, (CALL,)), Message("tool", result, call_id="c1"), user(last))
        for text, result, last in (
            ("", '{"rain": "no \\"rain\\""}', "Sure?"),
            ("Let me see.", "none", "<tool_response>\nsun\n</tool_response>"),
        )
    ],
}


def differences(template: str, rows: Sequence[tuple[Message, ...]], tools: Sequence[dict[str, Any]] = ()) -> list[str]:
    model = conversations(TokenizerFacts(template=template), {})
    added = AddedText(model, rows)
    return [added.difference(row, tools, model.render(row, tools)) for row in rows]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", LEGITIMATE)
def test_usual_templates_add_the_same_whatever_is_asked(template: str, kind: str) -> None:
    tools = (TOOL,) if kind == "with a tool" else ()
    assert differences(template, KINDS[kind], tools) == [""] * len(KINDS[kind])


QUESTIONS = [(user(f"What is {n} times {n}?"),) for n in range(12)]
ANSWERS = {row[0].content: str(n * n) for n, row in enumerate(QUESTIONS)}
LOOKUP = "{% set answers = " + json.dumps(ANSWERS) + " %}"
KNOWS = {
    "after the question": LOOKUP + PLAIN + "{{ answers.get(messages[-1].content, '') }}",
    "before it": LOOKUP + "Hint: {{ answers.get(messages[-1].content, '') }}. " + PLAIN,
    "by length and letters": PLAIN + "{{ messages[-1].content | length }}{{ messages[-1].content[8:9] }}",
    "from a part of it": PLAIN + "{% if '3' in messages[-1].content %}nine{% endif %}",
    "refusing all others": LOOKUP + "{% if messages[-1].content not in answers %}{{ raise_exception('no') }}{% endif %}"
    "{{ answers[messages[-1].content] }}" + PLAIN,
    "as white space": LOOKUP + PLAIN + "{{ ' ' * (answers.get(messages[-1].content, '0') | int) }}",
    "as the case of letters": PLAIN + "{{ 'X' if '3' in messages[-1].content else 'x' }}",
    "with the placeholder's name": LOOKUP + PLAIN + "{{ answers.get(messages[-1].content, 'ftgate-probe-7x') }}",
    "at random": PLAIN + "{{ [1, 2, 3, 4, 5, 6, 7, 8, 9] | random }}",
}


@pytest.mark.parametrize("where", KNOWS)
def test_a_template_that_adds_what_depends_on_the_question_is_found(where: str) -> None:
    found = differences(KNOWS[where], QUESTIONS)
    assert any(found)
    assert all(reason.startswith(("writes ", "fails if the turns have other words: no")) for reason in found if reason)


def test_both_texts_are_shown_from_where_they_differ() -> None:
    found = differences(KNOWS["before it"], QUESTIONS)
    assert found[7] == (
        "writes '49. <user>What is 7 times 7?<end><assistant>' where it writes '. <user>' if the turns have other words"
    )


@given(st.lists(st.text(min_size=1).filter(lambda text: text.strip()), min_size=2, max_size=5, unique=True))
def test_no_words_look_like_something_added(texts: list[str]) -> None:
    rows = [(user(text),) for text in texts]
    for template in (
        PLAIN,
        STRIPS,
        TURNS.replace("m.content", "m.content.lstrip('\\n')"),
    ):
        assert differences(template, rows) == [""] * len(rows)


def suite_of(rows: Sequence[tuple[Message, ...]]) -> Suite:
    items = tuple(Item(f"r{n}", row, answer="x", line=n) for n, row in enumerate(rows, start=1))
    return Suite("forgetting", items, "0", "rows")


def test_the_rows_that_a_template_adds_to_are_counted_by_kind() -> None:
    measurements = read_measurements({"forgetting": {"dataset": "rows", "scorer": "exact"}}, "p")
    rows = [*QUESTIONS, *((system("Be brief."), *row) for row in QUESTIONS)]
    template = LOOKUP + PLAIN + "{{ answers.get(messages[0].content, '') }}"
    (fault,) = unrendered(
        conversations(TokenizerFacts(template=template)), measurements, {"forgetting": suite_of(rows)}, None
    )
    assert (fault.depends, fault.rows, fault.of, fault.kind, fault.item.id) == (True, 12, 24, "user", "r1")
    assert not list(
        unrendered(
            conversations(TokenizerFacts(template=PLAIN)),
            measurements,
            {"forgetting": replace(suite_of(rows), items=suite_of(rows).items[:3])},
            None,
        )
    )
