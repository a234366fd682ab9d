"""How models write tool calls, and when they are the expected ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.domain import Answer, Item, Message, ToolCall
from ftgate.scoring.checks import check_problem, meets
from ftgate.scoring.rules import rule_of
from ftgate.scoring.tool_calls import BROKEN, calls_in, openai_turn, template_turn
from ftgate.scoring.trace import final_answer

F, G = '{"name": "f", "arguments": {"a": 1}}', '{"name": "g", "arguments": {}}'
BOTH = (ToolCall("f", '{"a": 1}'), ToolCall("g", "{}"))


@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{F}\n</tool_call>\n<tool_call>{G}</tool_call>",
        f"I will look.\n<tool_call>{F}</tool_call><tool_call>{G}",
        f"<tool_call>[{F}, {G}]",
        f"<|tool_call|>[{F}, {G}]",
        f"[TOOL_CALLS] [{F}, {G}]",
        f"[TOOL_CALLS][{F}, {G}]</s>",
        '[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{}',
        f"functools[{F}, {G}]",
        f"[{F}, {G}]",
        f"```json\n[{F}, {G}]\n```",
        '<|python_tag|>{"name": "f", "parameters": {"a": 1}}; {"name": "g", "parameters": {}}<|eom_id|>',
        '{"type": "function", "name": "f", "parameters": {"a": 1}}; {"name": "g", "parameters": {}}',
        '<function=f>{"a": 1}</function><function=g>{}</function>',
        'Let me see.\n<function=f>{"a": 1}</function>\n<function=g></function><|eom_id|>',
        "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>\n"
        "<tool_call>\n<function=g>\n</function>\n</tool_call>",
        f'{{"content": null, "tool_calls": [{{"function": {F}}}, {{"type": "function", "function": {G}}}]}}',
        "[f(a=1), g()]",
        "<|python_start|>[f(a=1), g()]<|python_end|>",
    ],
)
def test_calls_are_read_in_the_forms_that_models_write(text: str) -> None:
    assert calls_in(text) == BOTH


@pytest.mark.parametrize("text", ["", "7 degrees", "[1, 2]", '{"a": 1}', "[a link](x)", "a <tool_name> b", '["f"]'])
def test_a_text_without_calls_makes_none(text: str) -> None:
    assert calls_in(text) == ()


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>{bad</tool_call>",
        "<tool_call></tool_call>",
        '<tool_call>{"name": "f", "arguments": [1]}</tool_call>',
        '<tool_call>{"arguments": {}}</tool_call>',
        "[TOOL_CALLS] nothing",
        "<|python_tag|>oops(",
        "[f(a=b)]",
        "<function=f>{bad</function>",
        "<tool_call><function=f>a=1</function></tool_call>",
        "[f(1)]",
    ],
)
def test_a_broken_call_is_no_call_and_no_answer_without_calls(text: str) -> None:
    assert calls_in(text) == (BROKEN,)
    assert not meets({"tool_call": []}, text)
    assert not meets({"tool_call": {"name": "f"}}, text)


def test_parameters_in_marks_are_texts_but_where_they_are_json() -> None:
    call = "<function=f><parameter=a>New\nYork</parameter><parameter=b>[1]</parameter><parameter=c>true</parameter>"
    assert calls_in(call) == (ToolCall("f", '{"a": "New\\nYork", "b": [1], "c": true}'),)
    assert calls_in("The form `<function=f>` is that of Llama.") == ()


def test_gpt_oss_calls_on_its_own_channel() -> None:
    text = (
        "<|channel|>analysis<|message|>Look it up.<|end|><|start|>assistant<|channel|>commentary to=functions.f "
        '<|constrain|>json<|message|>{"a": 1}<|call|>'
    )
    assert calls_in(final_answer(text).text) == BOTH[:1]


@pytest.mark.parametrize(
    ("wanted", "text", "passes"),
    [
        ({"name": "f", "arguments": {"a": 1.0}}, F, True),
        ({"name": "f", "arguments": {"a": True}}, F, False),
        ({"name": "f", "arguments": {"a": 1, "b": 2}}, F, False),
        ({"name": "f"}, F, True),
        ({"name": "g"}, F, False),
        ([{"name": "g"}, {"name": "f"}], f"[{F}, {G}]", True),
        ([{"name": "f"}], f"[{F}, {G}]", False),
        ([{"name": "f"}, {"name": "f", "arguments": {"a": 1}}], f"[{F}, {F.replace('1', '2')}]", True),
        ([{"name": "f"}, {"name": "f"}], F, False),
        ([], "No tool is needed.", True),
        ([], F, False),
        ({"name": "f", "schema": {"properties": {"a": {"type": "integer"}}}}, F, True),
        ({"name": "f", "schema": {"properties": {"a": {"type": "string"}}}}, F, False),
    ],
)
def test_expected_calls_are_each_made_once_in_any_order(wanted: Any, text: str, passes: bool) -> None:
    assert check_problem({"tool_call": wanted}) is None
    assert meets({"tool_call": wanted}, text) == passes


@pytest.mark.parametrize(
    "wanted",
    [
        "f",
        {},
        {"name": ""},
        {"name": "f", "arguments": 1},
        {"name": "f", "args": {}},
        {"name": "f", "schema": {"type": 1}},
        {"name": "f", "arguments": {}, "schema": {}},
    ],
)
def test_a_check_that_expects_no_real_call_is_refused(wanted: Any) -> None:
    assert check_problem({"tool_call": wanted}) is not None


def test_calls_that_the_engine_has_read_count_before_the_text() -> None:
    item = Item("1", (Message("user", "q"),), check={"tool_call": {"name": "f"}})
    score = rule_of("check")
    assert score(item, Answer("in a form of its own", tool_calls=(ToolCall("f"),))) == 1
    assert score(item, Answer(F, tool_calls=())) == 0
    assert score(item, Answer(F)) == 1


def test_turns_are_sent_as_servers_and_templates_take_them() -> None:
    turn = Message("assistant", "", (ToolCall("f", '{"a": 1}', "c1"),))
    sent, rendered = openai_turn(turn), template_turn(turn)
    assert (sent["content"], sent["tool_calls"][0]["function"]["arguments"]) == (None, '{"a": 1}')
    assert (rendered["content"], rendered["tool_calls"][0]["function"]["arguments"]) == ("", {"a": 1})
    assert openai_turn(Message("tool", "7", (), "c1", "f")) == {
        "role": "tool", "content": "7", "tool_call_id": "c1", "name": "f"
    }  # fmt: skip


MARKS = ["<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[", "]", "{", "}", '"name"', "f", "(", ")", ":", ",", '"', "1",
         "<|python_tag|>", "arguments", "=", "[" * 3000, '{"a":' * 3000, "to=functions.f", "<|message|>"]  # fmt: skip


@given(st.lists(st.sampled_from(MARKS) | st.text(max_size=5), max_size=12).map("".join))
def test_no_text_makes_scoring_fail(text: str) -> None:
    assert meets({"tool_call": []}, text) == (not calls_in(text))
    for call in calls_in(text):
        assert call == BROKEN or isinstance(json.loads(call.arguments), dict)
    meets({"tool_call": [{"name": "f", "schema": {"type": "object"}}]}, text)
