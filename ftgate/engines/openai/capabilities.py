"""Detecting, once, what a chat-completions server supports, from exact log-probabilities down to sampling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ValidationError

from ftgate.domain import Message, Question
from ftgate.engines.openai.replies import TOPS, Capabilities, MalformedError, count_listed, read_options, read_samples

OPTIONS = ("1", "2", "3", "4", "5")
_PROBE_QUESTION = Question("trial", "trial", (Message("user", "Reply with one digit from 1 to 5."),), options=OPTIONS)
_TAIL_TOKENS = 16

Post = Callable[[Question, dict[str, Any]], Awaitable[bytes]]
"""Sends one chat completion. Raises RejectedError if the server refuses the request."""
Call = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Sends JSON to another path of the server; None unless it answers JSON with status 200."""


class RejectedError(Exception):
    """The server refused this request (400, 413, 422): too long, or an unsupported parameter."""


class _Served(BaseModel):
    id: str
    owned_by: str = ""


class _Models(BaseModel):
    data: list[_Served]


def read_models(listing: bytes | None) -> dict[str, str]:
    """The served models and their owners; empty if the server sends no valid list."""
    try:
        return {model.id: model.owned_by for model in _Models.model_validate_json(listing or b"").data}
    except ValidationError:
        return {}


async def detect_capabilities(post: Post, call: Call, samples: int, *, vllm: bool) -> Capabilities:
    """Try each option with one small question, best first. Raises RejectedError if none works."""
    ids = await _option_ids(call) if vllm else None
    reason = ""
    length = Capabilities("samples").length
    for method in _options_best_first(ids, samples, vllm):
        for _ in range(2):
            capabilities = replace(method, length=length)
            try:
                if await _works(post, capabilities):
                    return capabilities
            except RejectedError as problem:
                reason = str(problem)
                if "max_completion_tokens" in reason and length == "max_tokens":
                    length = "max_completion_tokens"
                    continue
            break
    raise RejectedError(reason)


def _options_best_first(ids: dict[str, list[int]] | None, samples: int, vllm: bool) -> Iterator[Capabilities]:
    if ids is not None:
        yield Capabilities("tokens", ids=ids, vllm=vllm)
    for top in TOPS:
        yield Capabilities("top", top=top, vllm=vllm)
    yield Capabilities("samples", samples=samples, each=samples, vllm=vllm)
    yield Capabilities("samples", samples=samples, each=1, vllm=vllm)


async def _works(post: Post, capabilities: Capabilities) -> bool:
    reply = await post(_PROBE_QUESTION, capabilities.body(_PROBE_QUESTION, capabilities.each))
    if capabilities.scores == "samples":
        replies = read_samples(reply)
        if not any(replies):
            raise RejectedError("its one-token replies are empty, as a reasoning model's are")
        return len(replies) >= capabilities.each
    if capabilities.scores == "top":
        return count_listed(reply) > 1
    try:
        return read_options(reply, capabilities, OPTIONS).error is None
    except MalformedError:
        return False


async def _option_ids(call: Call) -> dict[str, list[int]] | None:
    """The tokens that spell each option where vLLM's chat template starts the reply; None if unknown.

    Equivalent to what the local engine asks the tokenizer: which single token, bare or after a space, extends the end
    of the prompt.
    """
    chat = {
        "messages": [{"role": "user", "content": _PROBE_QUESTION.messages[0].content}],
        "add_generation_prompt": True,
    }
    prompt = _tokens(await call("/tokenize", chat | {"chat_template_kwargs": {"enable_thinking": False}}))
    tail = await call("/detokenize", {"tokens": prompt[-_TAIL_TOKENS:]}) if prompt else None
    text = tail.get("prompt") if isinstance(tail, dict) else None
    if not isinstance(text, str):
        return None

    async def spelled(addition: str) -> list[int]:
        return _tokens(await call("/tokenize", {"prompt": text + addition, "add_special_tokens": False}))

    tail_ids = await spelled("")
    ids_of: dict[str, list[int]] = {}
    for option in OPTIONS:
        extended = [await spelled(variant) for variant in (option, f" {option}")]
        ids_of[option] = sorted({ids[-1] for ids in extended if tail_ids and ids[:-1] == tail_ids})
    all_ids = [token for ids in ids_of.values() for token in ids]
    return ids_of if all(ids_of.values()) and len(set(all_ids)) == len(all_ids) else None


def _tokens(value: Any) -> list[int]:
    tokens: Sequence[Any] = value.get("tokens") or () if isinstance(value, dict) else ()
    return [token for token in tokens if isinstance(token, int)]
