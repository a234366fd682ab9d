"""Tools and tool calls on their way to a model and back: chat template, endpoint, vLLM's parsers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.tiny import TEMPLATE, TinyModels, make_tokenizer, model_at
from ftgate.config.engine import EngineSettings
from ftgate.domain import Answer, Item, Message, Question, ToolCall
from ftgate.engines.chat_template import Renderer, TokenizedQuestion
from ftgate.engines.openai.replies import Capabilities, read_text
from ftgate.errors import ConfigurationError
from ftgate.models.tokenizer import TokenizerFacts
from ftgate.preflight.prompt_lengths import PromptLengths
from ftgate.preflight.rendering import tools_unseen

pytestmark = pytest.mark.engine

TOOLS = ({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},)
SHOWN = (
    "{% for tool in tools or [] %}{{ tool.function.name }} {% endfor %}"
    "{% for m in messages %}{{ m.role }} {{ m.content }} {% for c in m.tool_calls or [] %}{{ c.function.name }} "
    "{% for name in c.function.arguments %}{{ name }} {% endfor %}{% endfor %}{% endfor %}assistant"
)
TURNS = (
    Message("developer", "d"),
    Message("user", "u"),
    Message("assistant", "", (ToolCall("f", '{"a": 1}', "c1"),)),
    Message("tool", "t", (), "c1"),
)


def rendered(folder: Path, template: str) -> str:
    make_tokenizer(folder, template)
    renderer = Renderer(model_at(folder), 256)
    prepared = renderer.prepare(Question("m", "i", TURNS, tools=TOOLS))
    assert isinstance(prepared, TokenizedQuestion)
    assert prepared.tools
    return " ".join(str(renderer.tokenizer.decode(prepared.ids)).split())


def test_a_template_is_given_tools_and_calls_and_a_system_turn_where_it_knows_no_developer(tmp_path: Path) -> None:
    assert rendered(tmp_path / "one", SHOWN) == "f system d user u assistant f a tool t assistant"
    knows = SHOWN + "{# developer #}"
    assert rendered(tmp_path / "two", knows) == "f developer d user u assistant f a tool t assistant"


def test_special_tokens_that_may_mark_calls_stay_in_answers_to_questions_with_tools(tiny: TinyModels) -> None:
    renderer = Renderer(tiny.base, 256)
    special = next(i for i in renderer.tokenizer.all_special_ids if i not in renderer.stops)
    assert renderer.text([special]) == ""
    assert renderer.text([special], tools=True) == renderer.tokenizer.convert_ids_to_tokens(special)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (SHOWN, ""),
        (TEMPLATE, "does not show tools"),
        ("{{ raise_exception('no tools') }}", ""),  # that it fails is said of the row
    ],
)
def test_a_template_without_tools_is_named_before_the_run(template: str, reason: str) -> None:
    unseen = tools_unseen(TokenizerFacts(template=template), Item("1", TURNS, tools=TOOLS))
    assert reason in unseen
    assert bool(unseen) == bool(reason)


def test_tools_count_as_part_of_the_prompt(tiny: TinyModels) -> None:
    counter = PromptLengths(tiny.base.path / "tokenizer.json", TokenizerFacts(template=TEMPLATE))
    without, with_tools = (Question("m", "i", TURNS[1:2], tools=tools) for tools in ((), TOOLS))
    counts = counter.count([without, with_tools])
    assert counts[1] > counts[0]
    assert counter.longest([without, with_tools]) == (counts[1], with_tools)


def test_an_endpoint_is_sent_the_tools_and_its_calls_are_kept() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    choice = {"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    answer = read_text(json.dumps({"choices": [choice]}).encode())
    assert answer.tool_calls == (ToolCall("f", '{"a": 1}', "c1"),)
    assert answer.text == '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    broken = {**choice, "message": {"content": "x", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}}
    assert read_text(json.dumps({"choices": [broken]}).encode()).tool_calls == (ToolCall("f", ""),)
    fields = Capabilities("top").body(Question("m", "i", TURNS, tools=TOOLS))
    assert fields["tools"] == list(TOOLS)
    assert "tools" not in Capabilities("top").body(Question("m", "i", TURNS))


def test_a_parser_belongs_to_vllm_and_leaves_fingerprints_without_one_alone() -> None:
    assert "tool_parser" not in EngineSettings().model_dump()
    assert EngineSettings(tool_parser="hermes").model_dump()["tool_parser"] == "hermes"
    with pytest.raises(ValueError, match="only vLLM has tool parsers"):
        EngineSettings(kind="transformers", tool_parser="hermes")


def test_the_parsers_of_vllm_read_calls_as_its_server_does(tiny: TinyModels) -> None:
    from ftgate.engines.vllm.tools import parsed, require_parser

    tokenizer = Renderer(tiny.base, 256).tokenizer
    question = Question("m", "i", TURNS[1:2], tools=TOOLS)

    def calls(name: str, text: str) -> list[str]:
        return [call.name for call in parsed(Answer(text), name, tokenizer, question).tool_calls or ()]

    xml = "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>"
    assert calls("hermes", '<think>x</think><tool_call>{"name": "f", "arguments": {}}</tool_call>') == ["f"]
    assert calls("qwen3_coder", xml) == ["f"]
    assert calls("hermes", "no call") == []
    assert calls("hermes", "<tool_call>{bad</tool_call>") == [""]
    require_parser("hermes", tokenizer)
    with pytest.raises(ConfigurationError, match=r"no parser 'hermez'.*\n.*hermes"):
        require_parser("hermez", tokenizer)
    with pytest.raises(ConfigurationError, match="mistral does not fit this model"):
        require_parser("mistral", tokenizer)
