"""Tools and tool calls in rows of any shape, as suites, training data and query logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftgate.datasets import Needs, read_suite, read_training_texts, write_suite
from ftgate.domain import Item, Message, ToolCall
from ftgate.errors import DatasetError
from ftgate.scoring.checks import meets

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Weather now.", "parameters": SCHEMA}}
ARGUMENTS = '{"city": "Paris"}'
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
ASKED = {"role": "user", "content": "Weather in Paris?"}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": {"celsius": 7}}
EXPECTED = [{"name": "weather", "arguments": {"city": "Paris"}}]
RIGHT = f'<tool_call>\n{{"name": "weather", "arguments": {ARGUMENTS}}}\n</tool_call>'
LLAMA_FACTORY = [
    {"from": "human", "value": "Weather in Paris?"},
    {"from": "function_call", "value": json.dumps({"name": "weather", "arguments": {"city": "Paris"}})},
]
HERMES = [{"from": "human", "value": "Weather in Paris?"}, {"from": "gpt", "value": RIGHT}]
OLD_CALL = {"role": "assistant", "content": None, "function_call": CALL["function"]}


def read(folder: Path, *rows: Any) -> tuple[Item, ...]:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_suite("s", path, needs=Needs()).items


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [ASKED, CALLED], "tools": [TOOL]},
        {"messages": [ASKED, CALLED], "tools": json.dumps([TOOL])},
        {"messages": [ASKED, OLD_CALL], "functions": [TOOL["function"]]},
        {"conversations": LLAMA_FACTORY, "tools": json.dumps([TOOL["function"]])},
        {"conversations": HERMES, "tools": [TOOL]},
        {"custom_id": "1", "body": {"messages": [ASKED, CALLED], "tools": [TOOL]}},
    ],
)
def test_a_last_turn_that_calls_a_tool_is_the_reference_and_makes_the_check(tmp_path: Path, row: Any) -> None:
    (item,) = read(tmp_path, row)
    assert item.messages == (Message("user", "Weather in Paris?"),)
    assert (item.tools, item.answer, item.check) == ((TOOL,), RIGHT, {"tool_call": EXPECTED})


def test_a_conversation_may_end_with_what_a_tool_gave_back(tmp_path: Path) -> None:
    turns = [{"role": "developer", "content": "Be short."}, ASKED, CALLED, RESULT]
    (item,) = read(tmp_path, {"messages": [*turns, {"role": "assistant", "content": "7 degrees"}], "tools": [TOOL]})
    called = Message("assistant", "", (ToolCall("weather", ARGUMENTS, "call_1"),))
    assert [turn.role for turn in item.messages] == ["developer", "user", "assistant", "tool"]
    assert item.messages[2:] == (called, Message("tool", '{"celsius": 7}', (), "call_1"))
    assert (item.answer, item.check, item.user_text) == ("7 degrees", None, "Weather in Paris?")


def test_what_is_written_is_read_as_it_was(tmp_path: Path) -> None:
    rows = [
        {"messages": [ASKED, CALLED], "tools": [TOOL]},
        {"messages": [ASKED, CALLED, RESULT, CALLED], "tools": [TOOL]},
    ]
    read(tmp_path, *rows)
    suite = read_suite("s", tmp_path / "rows.jsonl", needs=Needs())
    write_suite(suite, tmp_path / "again.jsonl")
    assert read_suite("s", tmp_path / "again.jsonl", needs=Needs()).sha256 == suite.sha256


def test_rows_that_differ_in_a_tool_or_a_call_are_no_repeats(tmp_path: Path) -> None:
    other = {**CALLED, "tool_calls": [{**CALL, "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}]}
    turns = ([ASKED], [ASKED, CALLED, RESULT], [ASKED, other, RESULT])
    rows = [*({"messages": messages, "tools": [TOOL]} for messages in turns), {"messages": [ASKED]}]
    assert len({item.id for item in read(tmp_path, *rows)}) == len(rows)


def test_a_check_without_arguments_holds_a_call_to_the_schema_of_its_tool(tmp_path: Path) -> None:
    row = {"prompt": "q", "tools": [TOOL], "check": {"tool_call": {"name": "weather"}}}
    check = read(tmp_path, row)[0].check or {}
    assert meets(check, RIGHT.replace("Paris", "Rome"))
    assert not meets(check, RIGHT.replace("city", "town"))


def test_the_check_of_a_row_counts_before_the_one_that_its_reference_makes(tmp_path: Path) -> None:
    row = {"conversations": HERMES, "tools": [TOOL], "check": {"tool_call": {"name": "weather"}}}
    assert read(tmp_path, row)[0].check == {"tool_call": [{"name": "weather", "schema": SCHEMA}]}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "q", "tools": {"a": 1}}, "tools must be a list"),
        ({"prompt": "q", "tools": [{"description": "d"}]}, "tool 1 has no name"),
        ({"prompt": "q", "tools": [{"name": "f", "parameters": 1}]}, "tool 1: parameters must be"),
        ({"prompt": "q", "tools": [TOOL], "check": {"tool_call": {"name": "f"}}}, "expects 'f', and the row's tools"),
        ({"messages": [ASKED, {**CALLED, "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]}, "be read"),
        ({"messages": [ASKED, CALLED, {"role": "robot", "content": "x"}, ASKED]}, "role is 'robot'"),
        ({"messages": [ASKED, {"role": "assistant", "content": None}, ASKED]}, "content must be text, found null"),
    ],
)
def test_a_faulty_tool_or_call_is_named(tmp_path: Path, row: Any, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        read(tmp_path, row)


ANTHROPIC = (
    {"role": "user", "content": "Weather in Paris?"},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "a tool knows", "signature": "x"},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Paris"}},
        ],
    },
    {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "18 degrees"}]},
            {"type": "text", "text": "And Rome?"},
        ],
    },
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t2", "name": "weather", "input": {"city": "Rome"}}]},
)
BEDROCK = (
    {"role": "user", "content": [{"text": "Weather in Paris?"}]},
    {
        "role": "assistant",
        "content": [
            {"text": "Let me look."},
            {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Paris"}}},
        ],
    },
    {
        "role": "user",
        "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "18 degrees"}]}}, {"text": "And Rome?"}],
    },
    {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t2", "name": "weather", "input": {"city": "Rome"}}}]},
)
GEMINI = (
    {"role": "user", "parts": [{"text": "Weather in Paris?"}]},
    {
        "role": "model",
        "parts": [
            {"text": "a tool knows", "thought": True},
            {"text": "Let me look."},
            {"functionCall": {"id": "t1", "name": "weather", "args": {"city": "Paris"}}},
        ],
    },
    {
        "role": "user",
        "parts": [{"functionResponse": {"id": "t1", "response": "18 degrees"}}, {"text": "And Rome?"}],
    },
    {"role": "model", "parts": [{"function_call": {"name": "weather", "args": {"city": "Rome"}}}]},
)


@pytest.mark.parametrize(
    "row",
    [{"messages": ANTHROPIC}, {"messages": BEDROCK}, {"contents": GEMINI}],
    ids=["anthropic", "bedrock", "gemini"],
)
def test_calls_and_results_in_parts_of_a_content_are_turns(tmp_path: Path, row: Any) -> None:
    (item,) = read(tmp_path, row)
    assert item.messages == (
        Message("user", "Weather in Paris?"),
        Message("assistant", "Let me look.", (ToolCall("weather", '{"city": "Paris"}', "t1"),)),
        Message("tool", "18 degrees", (), "t1"),
        Message("user", "And Rome?"),
    )
    assert item.check == {"tool_call": [{"name": "weather", "arguments": {"city": "Rome"}}]}


@pytest.mark.parametrize(
    "tools",
    [
        [{"name": "weather", "description": "d", "input_schema": SCHEMA}],
        [{"functionDeclarations": [{"name": "weather", "description": "d", "parameters": SCHEMA}]}],
        [
            {
                "function_declarations": [
                    {
                        "name": "weather",
                        "description": "d",
                        "parameters": json.loads(
                            json.dumps(SCHEMA).replace('"object"', '"OBJECT"').replace('"string"', '"STRING"')
                        ),
                    }
                ]
            }
        ],
    ],
    ids=["anthropic", "gemini", "vertex"],
)
def test_tools_of_other_interfaces_become_those_of_openai(tmp_path: Path, tools: Any) -> None:
    (item,) = read(tmp_path, {"messages": [ASKED], "tools": tools})
    assert item.tools == (
        {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}},
    )


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"type": "image", "source": {}}, "an 'image' part"),
        ({"inlineData": {"mimeType": "image/png", "data": ""}}, "an 'inlineData' part"),
        ({"type": "text", "text": 3}, "a number as a text part"),
    ],
)
def test_a_part_that_is_no_text_is_named(tmp_path: Path, part: Any, named: str) -> None:
    with pytest.raises(DatasetError, match=f"message 1 holds {named}, and only text can be asked"):
        read(tmp_path, {"messages": [{"role": "user", "content": [{"text": "Look:"}, part]}]})


def test_training_data_and_logs_keep_calls_and_their_texts(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    last = {"role": "user", "content": "And Rome?"}
    path.write_text(json.dumps({"messages": [ASKED, CALLED, RESULT, last, CALLED], "tools": [TOOL]}) + "\n")
    data = read_training_texts(path)
    ((turns, tools),) = data.conversations()
    assert [tool["function"]["name"] for tool in tools] == ["weather"]
    assert [turn.role for turn in turns] == ["user", "assistant", "tool", "user"]
    assert turns[1].tool_calls == (ToolCall("weather", ARGUMENTS, "call_1"),)
    (passage,) = data.passages()
    assert passage.turns == ("Weather in Paris?", "And Rome?")
    assert ARGUMENTS in passage.texts
