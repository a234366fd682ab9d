"""Turns of a conversation in the form of OpenAI's, from those that other interfaces and trainers have."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ftgate.datasets.problems import BadRowError, kind_of
from ftgate.datasets.tools import decoded_json

ROLES: Mapping[str, str] = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "claude": "assistant",
    "prompter": "user",
    "observation": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "ipython": "tool",
}
"""Other names of the roles of a conversation."""
_USUAL = ("user", "assistant", "system")
_PAIRS = (("input", "output"), ("human", "assistant"), ("user", "assistant"))
"""Names of a question and its reply where one entry of a conversation holds both, as XTuner has it."""
_TEXT_PARTS = ("text", "input_text", "output_text")
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning")
_CALLS = ("functionCall", "function_call", "toolUse")
_RESULTS = ("functionResponse", "function_response", "toolResult")


class _Parts(NamedTuple):
    """The parts of one turn's content: its texts, the tool calls that it makes, and what tools gave back."""

    texts: list[str]
    calls: list[dict[str, Any]]
    results: list[dict[str, Any]]


def turns_of(value: Any) -> Any:
    """A conversation with the roles and fields of OpenAI's, its texts whole; anything else as it is.

    An entry that holds a question and its reply, or calls of tools and their results, becomes several turns. Raises
    BadRowError for an image.
    """
    if not isinstance(value, list):
        return value
    turns: list[Any] = []
    for number, turn in enumerate(value, 1):
        if isinstance(turn, Mapping) and turn.get("role") in _USUAL and isinstance(turn.get("content"), str):
            turns.append(turn)  # as nearly all are
        else:
            turns += _turns(number, turn)
    return turns


def _turns(number: int, turn: Any) -> Sequence[Any]:
    if not isinstance(turn, Mapping):
        return (turn,)
    if (names := _pair_of(turn)) is not None:
        system = turn.get("system")
        first = [{"role": "system", "content": system}] if isinstance(system, str) and system.strip() else []
        return [*first, {"role": "user", "content": turn[names[0]]}, {"role": "assistant", "content": turn[names[1]]}]
    role, content = _role(turn), turn.get("content", turn.get("value", turn.get("parts")))
    if role == "function_call":  # as LLaMA-Factory has it
        return ({**turn, "role": "assistant", "content": "", "tool_calls": decoded_json(content)},)
    parts = _parts(content, f"message {number}")
    if parts is None or not (parts.calls or parts.results):
        return ({**turn, "role": role, "content": content if parts is None else "\n".join(parts.texts)},)
    text = "\n".join(parts.texts)
    own = {"role": role, "content": text, **({"tool_calls": parts.calls} if parts.calls else {})}
    return [*parts.results, *([own] if text or parts.calls else ())]


def _pair_of(turn: Mapping[str, Any]) -> tuple[str, str] | None:
    if "role" in turn or "from" in turn:
        return None
    return next((names for names in _PAIRS if all(isinstance(turn.get(name), str) for name in names)), None)


def _role(turn: Mapping[str, Any]) -> Any:
    """The role of a turn by its usual name, in lower case; anything that is no text as it is."""
    role = turn.get("role", turn.get("from", turn.get("author")))
    return ROLES.get(role.strip().lower(), role.strip().lower()) if isinstance(role, str) else role


def whole_text(content: Any, where: str) -> Any:
    """The text of a content that may be a list of parts, joined by line breaks. Raises BadRowError for an image."""
    parts = _parts(content, where)
    if parts is None:
        return content
    if parts.calls or parts.results:
        raise BadRowError(f"{where} holds a tool call, and only text can stand there", "remove the row, or that part")
    return "\n".join(parts.texts)


def _parts(content: Any, where: str) -> _Parts | None:
    """The parts of a content that is a list of them; None for any other. Thoughts are left out."""
    if not isinstance(content, list) or not content:
        return None
    parts = _Parts([], [], [])
    for part in content:
        fields = part if isinstance(part, Mapping) else {"text": part}
        kind, text = fields.get("type") or "text", fields.get("text")
        if kind in _THOUGHTS or fields.get("thought") is True:
            continue
        if (call := _call(fields)) is not None:
            parts.calls.append(call)
        elif (results := _results(fields, where)) is not None:
            parts.results.append(results)
        elif kind in _TEXT_PARTS and isinstance(text, str):
            parts.texts.append(text)
        else:
            raise _no_text(fields, kind, where)
    return parts


def _no_text(fields: Mapping[str, Any], kind: Any, where: str) -> BadRowError:
    """The fault of a part that is no text: an image, say."""
    others = [name for name, value in fields.items() if name not in ("type", "text") and value is not None]
    if kind in _TEXT_PARTS and fields.get("text") is None and others:
        kind = others[0]
    article = "an" if str(kind)[:1] in "aeiou" else "a"
    name = f"{article} {kind!a} part" if kind not in _TEXT_PARTS else f"{kind_of(fields.get('text'))} as a text part"
    hint = "remove the row, or that part of its message"
    return BadRowError(f"{where} holds {name}, and only text can be asked", hint)


def _call(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The tool call in a part: Anthropic's ``tool_use``, Gemini's ``functionCall`` or Bedrock's ``toolUse``."""
    inner = fields if fields.get("type") == "tool_use" else _inner(fields, _CALLS)
    if inner is None:
        return None
    arguments: Any = next((inner[name] for name in ("input", "args", "arguments") if inner.get(name) is not None), {})
    named = inner.get("id", inner.get("toolUseId"))
    function = {"name": inner.get("name"), "arguments": arguments}
    return {"type": "function", "function": function, **({"id": named} if isinstance(named, str) else {})}


def _results(fields: Mapping[str, Any], where: str) -> dict[str, Any] | None:
    """The turn for what a tool gave back: ``tool_result``, ``functionResponse`` or ``toolResult``."""
    inner = fields if fields.get("type") == "tool_result" else _inner(fields, _RESULTS)
    if inner is None:
        return None
    content = inner.get("content", inner.get("response"))
    if isinstance(content, list) and content and all(isinstance(part, Mapping) and "text" in part for part in content):
        content = whole_text(content, where)
    if not isinstance(content, str):
        content = "" if content is None else json.dumps(content, ensure_ascii=False, default=str)
    turn = {"role": "tool", "content": content}
    named = {
        "tool_call_id": inner.get("tool_use_id", inner.get("toolUseId", inner.get("id"))),
        "name": inner.get("name"),
    }
    return {**turn, **{name: value for name, value in named.items() if isinstance(value, str)}}


def _inner(fields: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any] | None:
    return next((fields[name] for name in names if isinstance(fields.get(name), Mapping)), None)


def is_conversation(value: Any) -> bool:
    """Whether ``value`` looks like a list of turns."""
    return isinstance(value, list) and bool(value) and all(isinstance(turn, Mapping) for turn in value)


def is_paired(value: Any) -> bool:
    """Whether ``value`` is a conversation whose entries hold a question and its reply."""
    return is_conversation(value) and _pair_of(value[0]) is not None


def ends_with_reply(value: Any) -> bool:
    """Whether ``value`` is a conversation whose last turn is the assistant's."""
    if not is_conversation(value):
        return False
    return _role(value[-1]) in ("assistant", "function_call") or _pair_of(value[-1]) is not None
