"""Tool calls: how models write them in a text, how they are sent, and whether they are the expected ones. Pure.

Read without a parser of the engine's: Hermes and Qwen (``<tool_call>``), Mistral (``[TOOL_CALLS]``), Llama 3 (a JSON
object alone, perhaps after ``<|python_tag|>``), a list of Python calls (Llama 4, Gorilla), ``<function=NAME>`` with
JSON (Llama 3.1) or with parameters (Qwen3-Coder), OpenAI's ``tool_calls``, and JSON after the marks of Granite, Phi 4
and xLAM. What a mark introduces and is no call counts as a broken one, so that it never passes for an answer without
calls.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import regex

from ftgate.domain import Message, ToolCall, canonical

BROKEN = ToolCall("", "")
"""A call that cannot be read."""
MOST_CALLS = 128
"""Calls that are read in one answer."""
LONGEST = 100_000
"""Characters of a list of Python calls that is parsed."""
_HERMES = regex.compile(r"<tool_call>(.*?)(?:</tool_call>|(?=<tool_call>)|\Z)", regex.DOTALL)
_FUNCTION = regex.compile(r"<function=(?P<name>[^<>\s]+)>(?P<body>.*?)(?:</function>|(?=<function=)|\Z)", regex.DOTALL)
_STARTS_FUNCTION = regex.compile(r"(?m)^[^\S\n]*+<function=[^<>\s]+>")
# One that nothing closes takes the rest of the text, so that those after it are not each looked through as well.
_PARAMETER = regex.compile(
    r"<parameter=(?P<name>[^<>\n]+)>\n?(?P<value>.*?)(?:(?P<closing>\n?</parameter>)|\Z)", regex.DOTALL
)
_PREFIX = regex.compile(
    r"\A\s*(?:<\|python_tag\|>|<\|tool_call\|>|<tool_call>|<function_call>|functools|<\|tool_calls?_begin\|>)\s*"
)
_MISTRAL = "[TOOL_CALLS]"
_MISTRAL_CALL = regex.compile(r"\s*(?P<name>[\w.-]+)(?:\[CALL_ID\](?P<id>\w+))?(?:\[ARGS\])?\s*(?=\{)")
_HARMONY = regex.compile(
    r"to=functions\.(?P<name>[\w.-]+)[^{]{0,80}?<\|message\|>(?P<arguments>.*?)(?:<\|call\|>|<\|end\|>|\Z)",
    regex.DOTALL,
)
_FENCE = regex.compile(r"\A```(?:json|python|tool_code|tool_call)?[^\S\n]*\n(.*?)\n?```\Z", regex.DOTALL)
_PYTHONIC = regex.compile(r"\A\[\s*[A-Za-z_][\w.]*\s*\(")
_NAMES = ("name", "function", "tool", "tool_name")
_ARGUMENTS = ("arguments", "parameters", "args")
_OTHERS = frozenset((*_NAMES, *_ARGUMENTS, "id", "type"))


def calls_in(text: str) -> tuple[ToolCall, ...]:
    """The tool calls that a text makes, in order; those that cannot be read are BROKEN."""
    return tuple(call for call, _ in zip(_calls(text), range(MOST_CALLS), strict=False))


def _calls(text: str) -> Iterator[ToolCall]:
    if _MISTRAL in text:
        for part in text.split(_MISTRAL)[1:]:
            yield from _mistral(part)
    elif "<|message|>" in text and (headers := list(_HARMONY.finditer(text))):
        for header in headers:
            yield call_of({"name": header["name"], "arguments": header["arguments"]})
    elif "<tool_call>" in text and not text.lstrip().startswith("<tool_call>["):
        for block in _HERMES.finditer(text):
            yield from _functions(block[1]) or _loaded(block[1]) or [BROKEN]
    elif "<function=" in text and _STARTS_FUNCTION.search(text):
        yield from _functions(text)
    else:
        yield from _alone(text.strip())


def _mistral(part: str) -> Iterator[ToolCall]:
    """Either a JSON list of calls, or the name of a tool before an object."""
    match = _MISTRAL_CALL.match(part)
    if match is None:
        yield from _first_value(part) or [BROKEN]
        return
    yield from _first_value(part[match.end() :], name=match["name"]) or [BROKEN]


def _functions(text: str) -> list[ToolCall]:
    """The calls in ``<function=NAME>`` marks, with a JSON object or with parameters in marks of their own."""
    return [_function(match["name"], match["body"].strip()) for match in _FUNCTION.finditer(text)]


def _function(name: str, body: str) -> ToolCall:
    if body.startswith("{"):
        return call_of({"name": name, "arguments": body})
    parameters = list(_PARAMETER.finditer(body))
    if _PARAMETER.sub("", body).strip() or not all(match["closing"] for match in parameters):
        return BROKEN
    values = {match["name"].strip(): _parameter(match["value"]) for match in parameters}
    return call_of({"name": name, "arguments": values})


def _parameter(text: str) -> Any:
    """The value of a parameter: JSON where it is, such as a number or a list, and otherwise the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _alone(text: str) -> list[ToolCall]:
    """The calls of a text that is nothing else; none of any other text."""
    text = text.removesuffix("<|eom_id|>").removesuffix("<|eot_id|>").strip()
    fenced = _FENCE.match(text)
    bare = fenced[1] if fenced is not None else text
    marked = _PREFIX.sub("", bare).removesuffix("</function_call>").removesuffix("</tool_call>")
    marked = marked.removeprefix("<|python_start|>").removesuffix("<|python_end|>").strip()
    if _PYTHONIC.match(marked):
        return _pythonic(marked)
    if marked[:1] not in ("{", "["):
        return [BROKEN] if marked != bare and _PREFIX.match(bare) else []
    calls = _loaded(marked) or _separated(marked)
    if marked != bare:
        return calls or [BROKEN]
    return calls if all(call is not BROKEN for call in calls) else []


def _separated(text: str) -> list[ToolCall]:
    """Objects separated by semicolons, as Llama 3 writes several calls."""
    decoder, calls, position = json.JSONDecoder(), list[ToolCall](), 0
    while position < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            return []
        calls.append(call_of(value))
        while position < len(text) and (text[position].isspace() or text[position] == ";"):
            position += 1
    return calls


def _first_value(text: str, *, name: str = "") -> list[ToolCall]:
    """The calls of the JSON value that ``text`` begins with: calls, or the arguments of the tool ``name``."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        return []
    if name:
        return [call_of({"name": name, "arguments": value})]
    return [call_of(entry) for entry in (value if isinstance(value, list) else [value])]


def _loaded(text: str) -> list[ToolCall]:
    """The calls in a JSON object or list; none if ``text`` is neither."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if isinstance(value, Mapping) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    entries = value if isinstance(value, list) else [value]
    return [call_of(entry) for entry in entries]


def _pythonic(text: str) -> list[ToolCall]:
    """Calls such as ``[weather(city="Paris"), time()]``. BROKEN where an argument is no literal."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that Python will not know for long
            tree = ast.parse(text[:LONGEST], mode="eval").body
        return [_python_call(call) for call in tree.elts] if isinstance(tree, ast.List) else [BROKEN]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [BROKEN]


def _python_call(call: ast.expr) -> ToolCall:
    if not isinstance(call, ast.Call) or call.args or any(keyword.arg is None for keyword in call.keywords):
        return BROKEN
    arguments = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    return call_of({"name": ast.unparse(call.func), "arguments": arguments})


def call_of(value: Any) -> ToolCall:
    """The call that an object describes, in OpenAI's form or as models write it; BROKEN if it describes none."""
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        return call_of({"id": value.get("id"), **value["function"]})
    if not isinstance(value, Mapping) or not _OTHERS.issuperset(value):
        return BROKEN
    name = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), "")
    arguments = next((value[key] for key in _ARGUMENTS if value.get(key) is not None), None)
    if not name.strip() or (arguments is None and not any(key in value for key in _ARGUMENTS)):
        return BROKEN
    written = written_arguments(arguments)
    identity = value.get("id")
    return ToolCall(name.strip(), written, identity if isinstance(identity, str) else "") if written else BROKEN


def written_arguments(arguments: Any) -> str:
    """Arguments, an object or its JSON, as one JSON text; empty if they are no object. None and no text are ``{}``."""
    try:
        if isinstance(arguments, str):
            arguments = json.loads(arguments) if arguments.strip() else {}
        arguments = {} if arguments is None else arguments
        return json.dumps(arguments, ensure_ascii=False, allow_nan=False) if isinstance(arguments, dict) else ""
    except (ValueError, TypeError, RecursionError):
        return ""


def openai_turn(message: Message) -> dict[str, Any]:
    """A turn as OpenAI's API takes it: arguments are text, and a turn that only calls tools has no content."""
    turn = _turn(message, lambda call: call.arguments)
    return {**turn, "content": None} if message.tool_calls and not message.content else turn


def template_turn(message: Message) -> dict[str, Any]:
    """A turn as chat templates take it: arguments are objects, and there is always a content."""
    return _turn(message, lambda call: json.loads(call.arguments or "{}"))


def _turn(message: Message, arguments: Callable[[ToolCall], Any]) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments(call)}}
            for call in message.tool_calls
        ]
    return (
        turn
        | ({"tool_call_id": message.call_id} if message.call_id else {})
        | ({"name": message.name} if message.name else {})
    )


def expected(calls: Sequence[ToolCall]) -> list[dict[str, Any]]:
    """The argument of a check that ``calls``, and no others, are made."""
    return [{"name": call.name, "arguments": json.loads(call.arguments or "{}")} for call in calls]


def calls_match(wanted: Any, calls: Sequence[ToolCall], valid: Callable[[Any, Any], bool]) -> bool:
    """Whether ``calls`` are those that are ``wanted``, each once, in any order. ``valid(schema, value)`` validates.

    A perfect matching is looked for (Kuhn 1955), since several expected calls may fit one that was made.
    """
    entries = wanted if isinstance(wanted, list) else [wanted]
    if len(entries) != len(calls):
        return False
    try:
        fits = [[_fits(entry, call, valid) for call in calls] for entry in entries]
    except RecursionError:  # an answer that is nested too deeply
        return False
    taken: dict[int, int] = {}

    def place(entry: int, tried: set[int]) -> bool:
        for call in range(len(calls)):
            if fits[entry][call] and call not in tried:
                tried.add(call)
                if call not in taken or place(taken[call], tried):
                    taken[call] = entry
                    return True
        return False

    return all(place(entry, set()) for entry in range(len(entries)))


def _fits(entry: Mapping[str, Any], call: ToolCall, valid: Callable[[Any, Any], bool]) -> bool:
    if entry["name"] != call.name or not call.arguments:
        return False
    arguments = json.loads(call.arguments)
    if "arguments" in entry:
        return canonical(_plain(entry["arguments"])) == canonical(_plain(arguments))
    return "schema" not in entry or valid(entry["schema"], arguments)


def _plain(value: Any) -> Any:
    """A JSON value in which equal numbers are written alike, and texts have no white space at either end."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value.strip() if isinstance(value, str) else value
