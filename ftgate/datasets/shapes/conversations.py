"""Shapes of training data and logs: conversations, and prompts with a reply."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ftgate.datasets.problems import BadRowError, quoted
from ftgate.datasets.shapes.exports import EXPORTS, LANGFUSE
from ftgate.datasets.shapes.shape import (
    SYSTEMS,
    Fields,
    Shape,
    absent,
    asked,
    labelled,
    question_and_reply,
    reply_text,
    system_of,
)
from ftgate.datasets.shapes.turns import ends_with_reply, is_conversation, turns_of, whole_text
from ftgate.datasets.tools import reference_calls, turn_calls, xlam_tools

_SPEAKERS = {"Human": "user", "Assistant": "assistant"}
_SPEAKER = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")


def _own(fields: Fields) -> dict[str, Any]:
    prompt, messages = fields.get("prompt"), fields.get("messages")
    if is_conversation(prompt) and messages is None:
        prompt, messages = None, prompt
    row = {**fields, "prompt": prompt, "messages": turns_of(messages)}
    question = row["messages"] if absent(prompt) else prompt
    system = system_of(fields)
    if absent(system) or (prompt is None) == (messages is None) or not question:
        return row
    return {**row, "prompt": None, **asked(question, system)}


def _has_question(fields: Fields) -> bool:
    return not (absent(fields.get("prompt")) and absent(fields.get("messages")))


def _has_reference(fields: Fields) -> bool:
    if absent(fields.get("prompt")) and ends_with_reply(fields.get("messages")):
        return False
    return _has_question(fields) and not all(absent(fields.get(name)) for name in ("answer", "choices", "check"))


OWN = Shape(
    "ftgate rows",
    (),
    _own,
    "themselves; content parts of `messages` are joined",
    ("prompt", "messages", *SYSTEMS),
    _has_reference,
)
OWN_WITHOUT_REFERENCE = Shape(OWN.name, (), _own, OWN.becomes, OWN.uses, _has_question)


def _pair(fields: Fields) -> dict[str, Any]:
    return {**asked(_asked_of(fields["input"])), "answer": reply_text(fields["preferred_output"])}


def _asked_of(value: Any) -> Any:
    return value.get("messages") if isinstance(value, Mapping) else None


def _chat(fields: Fields, name: str = "messages") -> dict[str, Any]:
    """A conversation; a reply that KTO data call bad is no reference."""
    bad = any(fields.get(mark) is False or fields.get(mark) in ("False", "false") for mark in _KTO)
    row = question_and_reply(fields[name], reference=not bad)
    if name == "messages" and not absent(fields.get("answer")):
        row["answer"] = _result(fields["answer"], row.get("answer"))
    system = system_of(fields)
    return row if absent(system) or not is_conversation(row["messages"]) else {**row, **asked(row["messages"], system)}


def _result(answer: Any, reply: Any) -> Any:
    """The answer beside a conversation whose last reply works it out, as OpenR1's has it."""
    if str(answer).strip() in str(reply):
        return reply_text(answer)
    return BadRowError(
        f"the last message is from assistant, and the answer {quoted(answer)} is not in it",
        "remove one of the two, or name what is asked and the answer: columns: {prompt: FIELD, answer: answer}",
    )


_KTO = ("label", "kto_tag")
_TOOLS = ("functions", "parallel_tool_calls", "tool_choice")


def _body(fields: Fields) -> Any:
    return fields["body"].get("messages") if isinstance(fields["body"], Mapping) else None


def _batch(fields: Fields) -> dict[str, Any]:
    tools = fields["body"].get("tools")
    return {"id": fields["custom_id"], **question_and_reply(_body(fields)), **({"tools": tools} if tools else {})}


_PREFERRED = ("prompt", "question", "instruction", "input", "conversations")
"""Fields with the prompt of a preference, the first that a row has."""


def _preference(fields: Fields) -> dict[str, Any]:
    name = next((name for name in _PREFERRED if not absent(fields.get(name))), "")
    chosen, prompt = fields["chosen"], fields.get(name)
    if name == "instruction":
        return _alpaca({**fields, "output": chosen})
    if prompt is None:
        return question_and_reply(_transcript(chosen) if isinstance(chosen, str) else chosen)
    return {**asked(prompt, system_of(fields)), "answer": reply_text(chosen)}


def _is_preference(fields: Fields) -> bool:
    named = any(not absent(fields.get(name)) for name in _PREFERRED)
    chosen = fields["chosen"]
    return named or is_conversation(chosen) or (isinstance(chosen, str) and len(_SPEAKER.findall(chosen)) > 1)


def _transcript(text: str) -> list[dict[str, str]]:
    """The turns of a conversation that is written as one text, as in Anthropic's HH-RLHF."""
    parts = _SPEAKER.split(text)[1:]
    turns = zip(parts[::2], parts[1::2], strict=True)
    return [{"role": _SPEAKERS[speaker], "content": content.strip()} for speaker, content in turns]


def _reward(fields: Fields) -> dict[str, Any]:
    model = fields["reward_model"]
    return {
        **asked(fields["prompt"]),
        "answer": reply_text(model.get("ground_truth") if isinstance(model, Mapping) else None),
    }


def _graded(fields: Fields) -> dict[str, Any]:
    good = fields["label"] in (True, "True", "true")
    return {**asked(fields["prompt"]), "answer": reply_text(fields["completion"]) if good else None}


def _with_category(fields: Fields) -> dict[str, Any]:
    return {
        **question_and_reply(fields["messages"]),
        "id": fields["prompt_id"],
        "tags": labelled(fields.get("category")),
    }


def _sharegpt(fields: Fields) -> dict[str, Any]:
    return _chat(fields, "conversations")


def _lmsys(fields: Fields) -> dict[str, Any]:
    name = {} if absent(fields.get("conversation_id")) else {"id": fields["conversation_id"]}
    return {**question_and_reply(fields["conversation"], reference=False), **name}


def _alpaca(fields: Fields) -> dict[str, Any]:
    text, more = fields["instruction"], fields.get("input")
    if isinstance(text, str) and isinstance(more, str) and not absent(more):
        text = f"{text}\n{more}"
    return {
        **asked(text, system_of(fields), fields.get("history")),
        "answer": reply_text(fields.get("output")),
    }


def _dolly(fields: Fields) -> dict[str, Any]:
    row = _alpaca({"instruction": fields["instruction"], "input": fields.get("context"), "output": fields["response"]})
    return {**row, "tags": labelled(fields.get("category"))}


def _swift(fields: Fields) -> dict[str, Any]:
    return {
        **asked(fields["query"], system_of(fields), fields.get("history")),
        "answer": reply_text(fields.get("response")),
    }


def replied(name: str, prompt: str, reply: str, *, optional: bool = False) -> Shape:
    """A shape of a field with the prompt (a text or a conversation) and one with the reply, the reference."""
    needs = (prompt,) if optional else (prompt, reply)
    return Shape(
        name,
        needs,
        lambda fields: {
            **asked(fields[prompt], system_of(fields)),
            "answer": reply_text(fields.get(reply)),
        },
        f"prompt `{prompt}`, answer `{reply}`",
        (reply, *SYSTEMS),
    )


def _functions(fields: Fields) -> dict[str, Any]:
    row = {**asked(fields["query"], system_of(fields)), "tools": xlam_tools(fields["tools"])}
    try:
        calls = turn_calls("answers", {"tool_calls": fields["answers"]})
    except BadRowError as error:
        return {**row, "answer": error}
    return {**row, **reference_calls(calls)}


_INSTRUCTIONS = ("systemInstruction", "system_instruction")


def _gemini(fields: Fields) -> dict[str, Any]:
    system = next((fields[name] for name in _INSTRUCTIONS if not absent(fields.get(name))), None)
    if isinstance(system, Mapping):
        system = system.get("parts")
    row = question_and_reply(fields["contents"])
    return row if absent(system) else {**row, **asked(row["messages"], whole_text(system, "the system instruction"))}


def _request_of(fields: Fields) -> Fields:
    request = fields.get("params", fields.get("request"))
    return request if isinstance(request, Mapping) else {}


def _requested(fields: Fields) -> dict[str, Any]:
    """A request of a batch of Anthropic (``params``) or Gemini (``request``), with the id that its file gives it."""
    request = _request_of(fields)
    if not ("contents" in request or "messages" in request):
        raise BadRowError("the request has neither messages nor contents", "remove the row")
    row = _gemini(request) if "contents" in request else _chat(request)
    names = [fields[name] for name in ("custom_id", "key") if not absent(fields.get(name))]
    return {**row, **({"id": names[0]} if names else {}), **({"tools": request["tools"]} if "tools" in request else {})}


def _is_requested(fields: Fields) -> bool:
    request = _request_of(fields)
    return is_conversation(request.get("contents", request.get("messages")))


SPECIFIC = (
    Shape(
        "Gemini rows",
        ("contents",),
        _gemini,
        "`contents` up to the last reply, which is the reference; `parts` are joined, after `systemInstruction`",
        (*_INSTRUCTIONS, "generationConfig", "generation_config"),
        lambda fields: is_conversation(fields["contents"]),
    ),
    *EXPORTS,
    Shape(
        "xLAM function calling rows",
        ("query", "tools", "answers"),
        _functions,
        "prompt `query`, `tools`, check: the calls in `answers`",
        SYSTEMS,
    ),
    Shape(
        "OpenAI batch requests",
        ("custom_id", "body"),
        _batch,
        "`body.messages`, id `custom_id`",
        ("method", "url"),
        lambda fields: is_conversation(_body(fields)),
    ),
    Shape(
        "requests to Anthropic or Gemini",
        (),
        _requested,
        "the conversation in `params` or `request`, id `custom_id` or `key`; `system` and `tools` as there",
        ("params", "request", "custom_id", "key", "response"),
        _is_requested,
        "no request with messages or contents",
    ),
    Shape(
        "OpenAI preference rows",
        ("input", "preferred_output"),
        _pair,
        "prompt `input.messages`, answer `preferred_output`",
        ("non_preferred_output",),
        lambda fields: is_conversation(_asked_of(fields["input"])),
    ),
)
"""Shapes with fields that no other has."""

CONVERSATIONS = (
    Shape(
        "preference rows (DPO)",
        ("chosen", "rejected"),
        _preference,
        "prompt `prompt` (or `question`, `instruction`, the start of `chosen`, also as in HH-RLHF), answer: the chosen",
        (*_PREFERRED, *SYSTEMS, "history", "score_chosen", "score_rejected"),
        _is_preference,
    ),
    Shape(
        "verl rows",
        ("prompt", "reward_model"),
        _reward,
        "prompt `prompt`, answer `reward_model.ground_truth`",
        ("data_source", "ability", "extra_info"),
    ),
    Shape(
        "KTO rows",
        ("prompt", "completion", "label"),
        _graded,
        "prompt `prompt`; `completion` is the reference where `label` is true",
        marks=lambda fields: fields["label"] in (True, False, "True", "False", "true", "false"),
        unlike="`label` is neither true nor false",
    ),
    Shape(
        "no_robots or UltraChat rows",
        ("messages", "prompt_id"),
        _with_category,
        "`messages` up to the last reply, which is the reference; id `prompt_id`, tag `category`",
        ("prompt", "category"),
        lambda fields: ends_with_reply(fields["messages"]),
        "the last message is not from the assistant",
    ),
    Shape(
        "OpenAI chat rows",
        ("messages",),
        _chat,
        "`messages` up to the last reply, which is the reference (not if `label` is false, or beside an `answer`); "
        "text parts are joined; a reply that calls tools makes a `tool_call` check; `tools`",
        (*_KTO, *SYSTEMS, *_TOOLS, "answer"),
        marks=lambda fields: ends_with_reply(fields["messages"]),
        unlike="the last message is not from the assistant",
    ),
    Shape(
        "ShareGPT rows",
        ("conversations",),
        _sharegpt,
        "`conversations` up to the last reply, which is the reference",
        (*SYSTEMS, *_KTO),
        lambda fields: is_conversation(fields["conversations"]),
    ),
    Shape(
        "LMSYS rows",
        ("conversation",),
        _lmsys,
        "`conversation` up to the last reply; another model wrote it, so it is no reference",
        ("conversation_id",),
        lambda fields: is_conversation(fields["conversation"]),
    ),
    LANGFUSE,
    Shape(
        "Dolly rows",
        ("instruction", "response"),
        _dolly,
        "prompt `instruction` and `context`, answer `response`, tag `category`",
        ("context", "category"),
    ),
    Shape(
        "Alpaca rows",
        ("instruction", "output"),
        _alpaca,
        "prompt `instruction` and `input`, answer `output`",
        ("input", *SYSTEMS, "history", "text"),
    ),
    Shape(
        "ms-swift rows",
        ("query", "response"),
        _swift,
        "prompt `query` after `system` and `history`, answer `response`",
        (*SYSTEMS, "history"),
    ),
    replied("prompt and completion rows", "prompt", "completion"),
    replied("prompt and response rows", "prompt", "response"),
)
"""Shapes of training data and logs, the more special ones first."""

QUERIES = (
    Shape(
        "instructions",
        ("instruction",),
        _alpaca,
        "prompt `instruction` and `input`",
        ("input", *SYSTEMS, "history"),
    ),
    replied("queries", "query", "response", optional=True),
    Shape("plain text", ("text",), lambda fields: {"prompt": fields["text"]}, "training text, whole", suites=False),
)
"""Shapes without a reference, tried last."""
