"""Tools and tool calls in rows: OpenAI's form, and the ones that data sets for function calling have."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftgate.datasets.problems import BadRowError, kind_of, quoted
from ftgate.domain import ToolCall
from ftgate.scoring.tool_calls import BROKEN, call_of, calls_in, expected

_TOOL_HINT = 'write {"type": "function", "function": {"name": "NAME", "parameters": {"type": "object", ...}}}'
_CALL_HINT = 'write {"type": "function", "function": {"name": "NAME", "arguments": "{...}"}}'
_MARKS = ("<tool_call>", "[TOOL_CALLS]")
_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "dict": "object"}
"""Types that tools of xLAM have, which are Python's."""
_LIST = re.compile(r"(?i)(?:list|tuple|set|array)\b")


def decoded_json(value: Any, beginnings: Sequence[str] = ("[", "{")) -> Any:
    """A value that may be JSON as text with one of the ``beginnings``; the text where it is none."""
    if isinstance(value, str) and value.lstrip()[:1] in beginnings:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def tools_of(value: Any) -> tuple[Mapping[str, Any], ...]:
    """The tools of a row in OpenAI's form: a list of them, or of bare functions, also as text. Raises BadRowError."""
    value = decoded_json(value)
    if value is None or value in ("", []):
        return ()
    if not isinstance(value, list):
        raise BadRowError(f"tools must be a list, found {kind_of(value)}: {quoted(value)}", f"[{_TOOL_HINT}]")
    return tuple(_tool(number, tool) for number, tool in enumerate(_declared(value), 1))


def _declared(tools: Sequence[Any]) -> list[Any]:
    """The tools one by one, where Gemini's form has lists of them."""
    lists = ("functionDeclarations", "function_declarations")
    return [
        function
        for tool in tools
        for function in next(
            (tool[n] for n in lists if isinstance(tool, Mapping) and isinstance(tool.get(n), list)), [tool]
        )
    ]


def _in_lower_case(schema: Any) -> Any:
    """A schema whose types are written in capitals, as Gemini has them, with those of JSON Schema."""
    if isinstance(schema, list):
        return [_in_lower_case(entry) for entry in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        name: value.lower() if name == "type" and isinstance(value, str) and value.isupper() else _in_lower_case(value)
        for name, value in schema.items()
    }


def _tool(number: int, tool: Any) -> Mapping[str, Any]:
    function = tool.get("function", tool) if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"].strip():
        raise BadRowError(f"tool {number} has no name: {quoted(tool)}", _TOOL_HINT)
    if isinstance(function.get("input_schema"), Mapping) and function.get("parameters") is None:  # Anthropic's
        function = {**function, "parameters": function["input_schema"], "input_schema": None}
    if not isinstance(function.get("parameters"), Mapping | None):
        raise BadRowError(f"tool {number}: parameters must be a JSON Schema object", _TOOL_HINT)
    # In a column of objects every tool has all keys that any has.
    function = {
        name: _in_lower_case(entry) if name == "parameters" else entry
        for name, entry in function.items()
        if entry is not None and name != "type"
    }
    return {"type": "function", "function": function}


def xlam_tools(value: Any) -> Any:
    """Tools of xLAM, whose parameters are no JSON Schema, with parameters that are one; others as they are."""
    tools = decoded_json(value)
    return [_with_schema(tool) for tool in tools] if isinstance(tools, list) else tools


def _with_schema(tool: Any) -> Any:
    parameters = tool.get("parameters") if isinstance(tool, Mapping) else None
    if not isinstance(parameters, Mapping) or isinstance(parameters.get("type"), str):
        return tool
    if not all(isinstance(entry, Mapping) for entry in parameters.values()):
        return tool
    properties = {name: _property(entry) for name, entry in parameters.items()}
    needed = [name for name, entry in parameters.items() if _is_needed(entry)]
    return {**tool, "parameters": {"type": "object", "properties": properties, "required": needed}}


def _is_needed(entry: Mapping[str, Any]) -> bool:
    return "default" not in entry and "optional" not in str(entry.get("type", ""))


def _property(entry: Mapping[str, Any]) -> dict[str, Any]:
    written = str(entry.get("type", "")).partition(",")[0].strip()
    kind = "array" if _LIST.match(written) else _TYPES.get(written.lower())
    return {"description": str(entry.get("description", "")), **({"type": kind} if kind else {})}


def turn_calls(where: str, turn: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The tool calls of a turn, also as ``function_call``. Raises BadRowError."""
    value = decoded_json(turn.get("tool_calls") or turn.get("function_call") or [])
    calls = [_call(entry) for entry in ([value] if isinstance(value, Mapping) else value if value else [])]
    if BROKEN in calls or not isinstance(value, Mapping | list):
        raise BadRowError(f"{where}: a tool call cannot be read: {quoted(value)}", _CALL_HINT)
    return tuple(calls)


def _call(value: Any) -> ToolCall:
    function = value.get("function", value) if isinstance(value, Mapping) else {}
    if not isinstance(function, Mapping):
        return BROKEN
    arguments = function.get("arguments", function.get("parameters"))
    return call_of({"id": value.get("id"), "name": function.get("name"), "arguments": arguments})


def calls_of_reply(turn: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The calls of the last turn of a conversation: its fields', or those that its text marks. Raises BadRowError."""
    if calls := turn_calls("the last turn", turn):
        return calls
    content = turn.get("content")
    calls = calls_in(content) if isinstance(content, str) and any(mark in content for mark in _MARKS) else ()
    if BROKEN in calls:
        raise BadRowError(f"the last turn: a tool call cannot be read: {quoted(content)}", _CALL_HINT)
    return calls


def reference_calls(calls: Sequence[ToolCall], content: Any = "") -> dict[str, Any]:
    """Answer and check of a row whose right reply makes these ``calls``, after ``content`` if there is one."""
    before = content.strip() if isinstance(content, str) and not any(mark in content for mark in _MARKS) else ""
    text = "\n".join(part for part in (before, *(call.text for call in calls)) if part)
    return {"answer": text, "check": {"tool_call": expected(calls)}}


def with_schemas(check: Any, tools: Sequence[Mapping[str, Any]]) -> Any:
    """``check`` in which expected calls without arguments have the schema of their tool. Raises BadRowError."""
    wanted = check.get("tool_call") if isinstance(check, Mapping) else None
    if wanted is None or not tools:
        return check
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") for tool in tools}
    several = wanted if isinstance(wanted, list) else [wanted]
    for entry in several:
        if isinstance(entry, Mapping) and str(entry.get("name")) not in schemas:
            text = f"check: tool_call expects {quoted(entry.get('name'))}, and the row's tools are {quoted([*schemas])}"
            raise BadRowError(text, "name one of the row's tools")
    return {**check, "tool_call": [_complete(entry, schemas) for entry in several]}


def _complete(entry: Any, schemas: Mapping[str, Any]) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    entry = {name: value for name, value in entry.items() if value is not None}
    schema = schemas.get(str(entry.get("name")))
    return entry if {"arguments", "schema"} & entry.keys() or schema is None else {**entry, "schema": schema}
