"""What is asked about a document of an lm-evaluation-harness task, and how log-likelihoods become a score."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from ftgate.domain import Answer, Item, Message, Question, TaskRequest

LIKELIHOOD = "likelihood"
"""The scorer of documents with continuations."""
HARNESS = "lm-eval"
"""The scorer of documents that are answered with text: the harness itself."""
_LENGTHS: Mapping[str, Callable[[str], int]] = {
    "acc": lambda _: 1,
    "acc_norm": len,
    "acc_bytes": lambda text: len(text.encode("utf-8", "surrogatepass")),
}
METRICS = tuple(_LENGTHS)
"""The metrics of multiple choice: accuracy by log-likelihood, plain or per character or byte of the choice."""


def scorer_of(request: TaskRequest) -> str:
    """The scorer of a document."""
    return LIKELIHOOD if request.continuations else HARNESS


def task_question(measurement: str, item: Item, request: TaskRequest) -> Question:
    """The one question about a document."""
    return Question(
        measurement,
        item.id,
        _messages(request),
        options=request.continuations,
        max_tokens=request.max_tokens or 1,
        raw=not request.chat,
        continued=bool(request.continuations),
        contexts=request.prompts,
        stop=request.until,
    )


def _messages(request: TaskRequest) -> tuple[Message, ...]:
    if not request.chat:
        return (Message("user", request.prompt),)
    return tuple(Message(turn["role"], turn["content"]) for turn in json.loads(request.prompt))


def likelihood(item: Item, answer: Answer) -> float:
    """1 if the likeliest continuation is a right one; the first of those that are equally likely counts, as there."""
    request = item.request
    assert request is not None, "only items with a request are scored by likelihood"
    length = _LENGTHS[request.metric]
    values = [v / max(length(c), 1) for v, c in zip(answer.option_logprobs, request.choices, strict=True)]
    return float(values.index(max(values)) in request.gold)


def request_problem(request: TaskRequest) -> str:
    """What is wrong with a request; empty if nothing is."""
    count = len(request.continuations)
    if not count:
        return "" if request.max_tokens > 0 else "max_tokens must be above 0 where there are no continuations"
    if request.metric not in METRICS:
        return f"metric {request.metric!r} is not one of {', '.join(METRICS)}"
    if count < 2 or len(request.choices) != count or len(request.prompts) not in (0, count):
        return f"{count} continuations, {len(request.choices)} choices and {len(request.prompts)} prompts"
    if not request.gold or not all(0 <= place < count for place in request.gold):
        return f"gold {list(request.gold)} is no place among {count} continuations"
    return ""


def chat_problem(request: TaskRequest) -> str:
    """What is wrong with the conversation of a request that uses the chat template; empty if nothing is."""
    try:
        turns = json.loads(request.prompt) if request.chat else []
    except ValueError:
        return "prompt is not JSON, and chat is true"
    usable = isinstance(turns, list) and all(
        isinstance(turn, dict)
        and turn.get("role") in ("system", "user", "assistant")
        and isinstance(turn.get("content"), str)
        for turn in turns
    )
    return "" if usable and (turns or not request.chat) else "prompt is no list of turns, and chat is true"
