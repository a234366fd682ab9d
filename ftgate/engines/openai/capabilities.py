"""Detecting, once, what a chat-completions server supports, from exact log-probabilities down to sampling."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from ftgate.config.engine import Thinking
from ftgate.domain import Message, Question
from ftgate.engines.openai.replies import (
    TOPS,
    Capabilities,
    MalformedError,
    count_listed,
    read_options,
    read_samples,
    read_text,
)
from ftgate.scoring.trace import begins_trace, opening_at_end

OPTIONS = ("1", "2", "3", "4", "5")


@dataclass(frozen=True, slots=True)
class OptionSet:
    """The options that a server will be asked for, and the question that tries them: about its first ones."""

    names: tuple[str, ...]
    trial: Question
    sampled: bool
    """Whether shares among sampled replies may stand in for log-probabilities; otherwise only texts are left."""


DIGITS = OptionSet(
    OPTIONS,
    Question("trial", "trial", (Message("user", "Reply with one digit from 1 to 5."),), options=OPTIONS),
    sampled=True,
)
"""A judge's."""
LETTERS = OptionSet(
    tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    Question("trial", "trial", (Message("user", "Reply with one letter from A to E."),), options=tuple("ABCDE")),
    sampled=False,
)
"""A model's that is measured: its confidence is not the share of a few samples."""
_TAIL_TOKENS = 16
_TRIAL_TOKENS = 16

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


async def detect_capabilities(
    post: Post,
    call: Call,
    samples: int,
    *,
    vllm: bool,
    options: OptionSet = DIGITS,
    thinking: Thinking = "off",
    thinking_tokens: int = 0,
) -> Capabilities:
    """Try each method with one small question, best first. Raises RejectedError if none works.

    Of a model that thinks before it answers only texts are read.
    """
    usual = Capabilities("text", vllm=vllm, thinking=thinking)
    tail = await _prompt_tail(call, options, usual.template_fields) if vllm else ""
    opening = "" if options.sampled else opening_at_end(tail)
    thinks = thinking == "on" or bool(opening)
    thinks = thinks or (thinking == "template" and await _thinks(post, usual, options.trial))
    ids = await _option_ids(call, options, tail) if tail and not thinks else None
    reason = ""
    length = Capabilities("samples").length
    methods = [usual] if thinks else _methods_best_first(ids, samples, vllm, options)
    budget = thinking_tokens if thinks else 0
    for method in methods:
        method = replace(method, thinking=thinking, thinking_tokens=budget, opening=opening)
        for _ in range(2):
            capabilities = replace(method, length=length)
            try:
                if (tried := await _tried(post, capabilities, options)) is not None:
                    return tried
            except RejectedError as problem:
                reason = str(problem)
                if "max_completion_tokens" in reason and length == "max_tokens":
                    length = "max_completion_tokens"
                    continue
            break
    raise RejectedError(reason)


def _methods_best_first(
    ids: dict[str, list[int]] | None, samples: int, vllm: bool, options: OptionSet
) -> Iterator[Capabilities]:
    if ids is not None:
        yield Capabilities("tokens", ids=ids, vllm=vllm)
    for top in TOPS:
        yield Capabilities("top", top=top, vllm=vllm)
    if not options.sampled:
        yield Capabilities("text", vllm=vllm)
        return
    yield Capabilities("samples", samples=samples, each=samples, vllm=vllm)
    yield Capabilities("samples", samples=samples, each=1, vllm=vllm)


async def _thinks(post: Post, capabilities: Capabilities, trial: Question) -> bool:
    """Whether the model begins a small answer with a thought."""
    for length in ("max_tokens", "max_completion_tokens"):
        asked = replace(trial, options=(), max_tokens=_TRIAL_TOKENS)
        try:
            return begins_trace(read_text(await post(asked, replace(capabilities, length=length).body(asked))).text)
        except (RejectedError, MalformedError):
            continue
    return False


async def _tried(post: Post, capabilities: Capabilities, options: OptionSet) -> Capabilities | None:
    """``capabilities`` with what the server listed, if it can be asked so; None if it cannot."""
    trial = options.trial
    if capabilities.scores == "text":
        text_only = replace(trial, options=(), max_tokens=_TRIAL_TOKENS)
        read_text(await post(text_only, capabilities.body(text_only)))
        return capabilities
    reply = await post(trial, capabilities.body(trial, capabilities.each))
    if capabilities.scores == "samples":
        replies = read_samples(reply)
        if not any(replies):
            raise RejectedError("its one-token replies are empty, as a reasoning model's are")
        return capabilities if len(replies) >= capabilities.each else None
    if capabilities.scores == "top":
        listed = count_listed(reply)
        enough = len(trial.options) if options.sampled else 2
        all_asked = listed >= capabilities.top
        return replace(capabilities, listed=0 if all_asked else listed) if listed >= enough else None
    try:
        readable = read_options(reply, capabilities, trial.options).error is None
    except MalformedError:
        readable = False
    return await _with_likeliest(post, capabilities, trial) if readable else None


async def _with_likeliest(post: Post, capabilities: Capabilities, trial: Question) -> Capabilities:
    """``capabilities`` of a server that reads options by their tokens, with how many likeliest it lists, if not 20."""
    for top in TOPS:
        with suppress(RejectedError, MalformedError):
            await post(trial, replace(capabilities, scores="top", top=top).body(trial))
            return replace(capabilities, top=top) if top < TOPS[0] else capabilities
    return capabilities


async def _prompt_tail(call: Call, options: OptionSet, template_fields: dict[str, Any]) -> str:
    """What vLLM's chat template ends the trial's prompt with, as text; empty if unknown."""
    chat = {
        "messages": [{"role": "user", "content": options.trial.messages[0].content}],
        "add_generation_prompt": True,
    }
    prompt = _tokens(await call("/tokenize", chat | template_fields))
    tail = await call("/detokenize", {"tokens": prompt[-_TAIL_TOKENS:]}) if prompt else None
    text = tail.get("prompt") if isinstance(tail, dict) else None
    return text if isinstance(text, str) else ""


async def _option_ids(call: Call, options: OptionSet, text: str) -> dict[str, list[int]] | None:
    """The tokens that spell each option where the reply starts, after ``text``; None if unknown.

    Equivalent to what the local engine asks the tokenizer: which single token, bare or after a space, extends the end
    of the prompt. Of options beyond those that are tried, some may have none.
    """

    async def spelled(addition: str) -> list[int]:
        return _tokens(await call("/tokenize", {"prompt": text + addition, "add_special_tokens": False}))

    tail_ids = await spelled("")
    ids_of: dict[str, list[int]] = {}
    for option in options.names:
        extended = [await spelled(variant) for variant in (option, f" {option}")]
        ids_of[option] = sorted({ids[-1] for ids in extended if tail_ids and ids[:-1] == tail_ids})
    ids_of = {option: ids for option, ids in ids_of.items() if ids}
    all_ids = [token for ids in ids_of.values() for token in ids]
    distinct = len(set(all_ids)) == len(all_ids)
    return ids_of if distinct and all(option in ids_of for option in options.trial.options) else None


def _tokens(value: Any) -> list[int]:
    tokens: Sequence[Any] = value.get("tokens") or () if isinstance(value, dict) else ()
    return [token for token in tokens if isinstance(token, int)]
