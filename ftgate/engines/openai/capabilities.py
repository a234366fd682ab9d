"""Finding out, once, what a chat-completions server can do: the ladder from exact log-probabilities to sampling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from ftgate.domain import Message, Question
from ftgate.engines.openai.replies import TOPS, Capabilities, MalformedError, count_listed, read_options, read_samples

OPTIONS = ("1", "2", "3", "4", "5")
_TRIAL = Question("trial", "trial", (Message("user", "Reply with one digit from 1 to 5."),), options=OPTIONS)
_TAIL_TOKENS = 16

Post = Callable[[Question, dict[str, Any]], Awaitable[bytes]]
"""Sends one chat completion. Raises RejectedError where the server wants nothing of the sort."""
Call = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Sends JSON to another path of the server; None for any answer but JSON with status 200."""


class RejectedError(Exception):
    """The server refused this one request (400, 413, 422): too long, or a parameter that it does not know."""


class _Served(BaseModel):
    id: str
    owned_by: str = ""


class _Models(BaseModel):
    data: list[_Served]


def read_models(listing: bytes | None) -> dict[str, str]:
    """The served models and who is said to own each; empty where the server tells nothing usable."""
    try:
        return {model.id: model.owned_by for model in _Models.model_validate_json(listing or b"").data}
    except ValidationError:
        return {}


async def find_way(post: Post, call: Call, samples: int, *, vllm: bool) -> Capabilities:
    """Try the ladder from the top with one small question a rung. Raises RejectedError when no rung holds."""
    ids = await _option_ids(call) if vllm else None
    reason = ""
    length = Capabilities("samples").length
    for rung in _ladder(ids, samples, vllm):
        for _ in range(2):
            way = replace(rung, length=length)
            try:
                if await _holds(post, way):
                    return way
            except RejectedError as problem:
                reason = str(problem)
                if "max_completion_tokens" in reason and length == "max_tokens":
                    length = "max_completion_tokens"
                    continue
            break
    raise RejectedError(reason)


def _ladder(ids: dict[str, list[int]] | None, samples: int, vllm: bool) -> Iterator[Capabilities]:
    if ids is not None:
        yield Capabilities("tokens", ids=ids, vllm=vllm)
    for top in TOPS:
        yield Capabilities("top", top=top, vllm=vllm)
    yield Capabilities("samples", samples=samples, each=samples, vllm=vllm)
    yield Capabilities("samples", samples=samples, each=1, vllm=vllm)


async def _holds(post: Post, way: Capabilities) -> bool:
    reply = await post(_TRIAL, way.body(_TRIAL, way.each))
    if way.scores == "samples":
        said = read_samples(reply)
        if not any(said):
            raise RejectedError("its replies of one token are empty, as a reasoning model's are")
        return len(said) >= way.each
    if way.scores == "top":
        return count_listed(reply) > 1
    try:
        return read_options(reply, way, OPTIONS).error is None
    except MalformedError:
        return False


async def _option_ids(call: Call) -> dict[str, list[int]] | None:
    """The tokens that spell each option right where vLLM's chat template lets the reply begin, or None.

    The same question that the in-process engine puts to the tokenizer: which single token, bare or after a space,
    extends the end of the prompt.
    """
    chat = {"messages": [{"role": "user", "content": _TRIAL.messages[0].content}], "add_generation_prompt": True}
    prompt = _tokens(await call("/tokenize", chat | {"chat_template_kwargs": {"enable_thinking": False}}))
    tail = await call("/detokenize", {"tokens": prompt[-_TAIL_TOKENS:]}) if prompt else None
    text = tail.get("prompt") if isinstance(tail, dict) else None
    if not isinstance(text, str):
        return None

    async def spelled(more: str) -> list[int]:
        return _tokens(await call("/tokenize", {"prompt": text + more, "add_special_tokens": False}))

    before = await spelled("")
    found: dict[str, list[int]] = {}
    for option in OPTIONS:
        longer = [await spelled(variant) for variant in (option, f" {option}")]
        found[option] = sorted({ids[-1] for ids in longer if before and ids[:-1] == before})
    every = [token for ids in found.values() for token in ids]
    return found if all(found.values()) and len(set(every)) == len(every) else None


def _tokens(value: Any) -> list[int]:
    tokens: Sequence[Any] = value.get("tokens") or () if isinstance(value, dict) else ()
    return [token for token in tokens if isinstance(token, int)]
