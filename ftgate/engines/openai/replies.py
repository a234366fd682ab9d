"""Parsing replies of a chat-completions server: option log-probabilities, or counts of sampled replies.

A reply with something else than requested becomes a failed answer. A reply that is not a valid chat completion raises
:class:`MalformedError`: it says nothing about the question, and is worth a second request.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from ftgate.config.engine import Thinking
from ftgate.domain import NEUTRAL, Answer, Question, ToolCall
from ftgate.engines.chat_template import failed_answer, log_sum
from ftgate.engines.thoughts import switches
from ftgate.scoring.tool_calls import written_arguments

MIN_LOGPROB = -9999.0
"""The logarithm of probability zero, as far as JSON can represent it."""
TOPS = (20, 5, 2)
"""Numbers of likeliest tokens to request: the most that servers offer, what restrictive ones do, and the fewest."""
MAX_UNLISTED = 0.01
"""How far unlisted tokens may move a grade in [0, 1] before the reply counts as unreadable."""
_SPELLINGS = ("{}", " {}", "Ġ{}", "▁{}")
_TOKENS_OF_AN_OPTION = 2
MOST_STOPS = 4


class MalformedError(Exception):
    """The server sent something that is not a chat completion, or not the requested one."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """How to ask a server, as detected once: the best method that it supports.

    ``tokens`` reads the log-probabilities of the options' own tokens, with ids in ``ids``: what the local engine reads,
    and vLLM serves. ``top`` looks for the options among the ``top`` likeliest tokens, of which the server
    ``listed`` so many (0: all). ``samples`` counts ``samples``
    replies, ``each`` per request. ``text`` reads no options. ``length`` is the server's name for the maximum length of
    a reply, which is longer by ``thinking_tokens`` if the model thinks before it answers; ``opening`` is the mark by
    which the server's chat template begins the thought, which is no part of a reply.
    """

    scores: Literal["tokens", "top", "samples", "text"]
    top: int = 0
    listed: int = 0
    samples: int = 0
    each: int = 1
    ids: Mapping[str, Sequence[int]] = field(default_factory=dict)
    length: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    vllm: bool = False
    thinking: Thinking = "off"
    thinking_tokens: int = 0
    opening: str = ""

    def description(self) -> str:
        """For the report: where the numbers come from."""
        return {
            "tokens": f"log-probabilities of the {'digits' if '1' in self.ids else 'letters'}' own tokens",
            "top": f"log-probabilities among the {min(self.top, self.listed or self.top)} likeliest tokens",
            "samples": f"{self.samples} sampled replies a question, counted",
            "text": "texts alone: "
            + ("the model thinks first" if self.thinking_tokens else "the server gives no log-probabilities"),
        }[self.scores]

    def settings(self) -> dict[str, Any]:
        """All fields as JSON, without newer ones that say nothing: what was kept before them stays valid."""
        thinks = self.thinking != "off" or self.thinking_tokens
        off = {"thinking", "thinking_tokens"} if not thinks else set[str]()
        off |= {name for name in ("listed", "opening") if not getattr(self, name)}
        return {name: value for name, value in asdict(self).items() if name not in off}

    def for_options(self, options: Sequence[str]) -> Capabilities:
        """The same method or, for options with unknown tokens, the next best."""
        supported = self.scores != "tokens" or all(option in self.ids for option in options)
        return self if supported else replace(self, scores="top", top=self.top or TOPS[0])

    def body(self, question: Question, count: int = 1) -> dict[str, Any]:
        """Request fields besides model and messages; ``count`` is the number of replies to sample at once."""
        fields: dict[str, Any] = {self.length: question.max_tokens + self.thinking_tokens, "temperature": 0}
        if not question.options:
            fields |= self._sampling(question)
        if question.tools:
            fields["tools"] = [dict(tool) for tool in question.tools]
        # OpenAI takes four at most, and a server may find them in a thought. The answer is cut when it is read.
        if question.stop and not self.thinking_tokens:
            fields["stop"] = list(question.stop[:MOST_STOPS])
        if question.options:
            fields |= {self.length: 1} | self._scoring(question, count)
        return fields | self.template_fields

    @property
    def template_fields(self) -> dict[str, Any]:
        """The fields by which vLLM's templates are told whether to think; other servers may refuse them."""
        if not self.vllm or self.thinking == "template":
            return {}
        return {"chat_template_kwargs": switches(self.thinking)}

    def _sampling(self, question: Question) -> dict[str, Any]:
        """How a text is sampled.

        vLLM is told what is not wanted, too, as it otherwise takes that from the model's generation_config.json. Other
        servers may not know all of it, and one that does not should say so.
        """
        fields = {name: getattr(question, name) for name in NEUTRAL}
        fields = {name: value for name, value in fields.items() if self.vllm or value != NEUTRAL[name]}
        return fields | ({"temperature": question.temperature, "seed": question.seed} if question.temperature else {})

    def _scoring(self, question: Question, count: int) -> dict[str, Any]:
        if self.scores == "samples":
            return {"temperature": 1, "n": count} if count > 1 else {"temperature": 1}
        if self.scores == "top":
            return {"logprobs": True, "top_logprobs": self.top}
        ids = [token for option in question.options for token in self.ids[option]]
        return {"logprobs": True, "top_logprobs": 0, "logprob_token_ids": ids, "return_tokens_as_token_ids": True}


class _Listed(BaseModel):
    token: str
    logprob: float | None = None


class _Token(_Listed):
    top_logprobs: list[_Listed] | None = None


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Function(BaseModel):
    name: str
    arguments: str | dict[str, Any] | None = None


class _Call(BaseModel):
    id: str | None = None
    function: _Function


class _Message(BaseModel):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(BaseModel):
    message: _Message
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Usage(BaseModel):
    completion_tokens: int | None = None


class _Reply(BaseModel):
    model: str | None = None
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def read_text(reply: bytes) -> Answer:
    """The text of the first choice. Tool calls are kept, and follow the text as Hermes models write them."""
    parsed = _parse(reply)
    choice = parsed.choices[0]
    refused = _refusal(choice)
    calls = tuple(_tool_call(call) for call in choice.message.tool_calls or ())
    thought = choice.message.reasoning or choice.message.reasoning_content
    if refused or (choice.message.content is None and not calls and not thought):
        return failed_answer(refused or "the reply holds no text")
    text = "\n".join(part for part in (choice.message.content or "", *(call.text for call in calls)) if part)
    if thought:  # a server with a reasoning parser took the marks away
        text = f"<think>\n{thought}\n</think>\n\n{text}" if text else f"<think>\n{thought}"
    tokens = (parsed.usage and parsed.usage.completion_tokens) or 0
    finish = "length" if choice.finish_reason == "length" else "stop"
    return Answer(text, finish=finish, tokens=tokens, tool_calls=calls or None)


def _tool_call(call: _Call) -> ToolCall:
    """A call of a reply; its arguments are empty if they are no JSON object."""
    return ToolCall(call.function.name, written_arguments(call.function.arguments), call.id or "")


def served_name(reply: bytes) -> str:
    """The name of the model that answered, as the server gives it; empty if it does not."""
    return _parse(reply).model or ""


def read_samples(reply: bytes) -> list[str]:
    """The text of each choice, stripped; empty for a refusal."""
    return ["" if _refusal(c) else (c.message.content or "").strip() for c in _parse(reply).choices]


def count_samples(replies: Sequence[str], options: Sequence[str]) -> Answer:
    """Shares of the options among all replies. A reply that is no option lowers the shares of all of them."""
    counts = Counter(replies)
    if not any(counts[option] for option in options):
        return failed_answer(f"none of {len(replies)} replies was one of {', '.join(options)}")
    shares = [counts[option] / len(replies) for option in options]
    return Answer(option_logprobs=tuple(math.log(s) if s else MIN_LOGPROB for s in shares), tokens=len(replies))


def read_options(reply: bytes, capabilities: Capabilities, options: Sequence[str]) -> Answer:
    """The log-probability of each option at the first token, with spellings of an option summed.

    Options may be missing among the likeliest tokens. An unlisted token is at most as likely as the least likely listed
    one, and all unlisted ones share the remaining probability. If missing options could move the expected grade by more
    than ``MAX_UNLISTED`` of its range the reply fails; otherwise they count as 0.
    """
    choice = _parse(reply).choices[0]
    tokens = choice.logprobs.content if choice.logprobs is not None else None
    if tokens is None:
        raise MalformedError("the reply holds no log-probabilities")
    if refusal := _refusal(choice):
        return failed_answer(refusal)
    if len(tokens) != 1:
        return failed_answer(f"the reply has {len(tokens)} tokens where one was asked for")
    listed = [(t.token, t.logprob) for t in tokens[0].top_logprobs or tokens]
    finite = [(token, value) for token, value in listed if value is not None and math.isfinite(value)]
    total = sum(math.exp(min(value, 1.0)) for _, value in finite)
    if not finite or total > 1.001:
        return failed_answer("the reply has no valid log-probabilities")
    if capabilities.scores == "tokens":
        by_id = dict(finite)
        names = [[f"token_id:{i}" for i in capabilities.ids[option]] for option in options]
        if not all(name in by_id for tokens_of_option in names for name in tokens_of_option):
            raise MalformedError("the reply lacks the log-probability of an option's token")
        return _answer([[by_id[name] for name in tokens_of_option] for tokens_of_option in names])
    values = [[value for token, value in finite if token in _spellings(option)] for option in options]
    unlisted = sum(max(0, _TOKENS_OF_AN_OPTION - len(tokens_of_option)) for tokens_of_option in values)
    max_missing = min(max(0.0, 1.0 - total), unlisted * math.exp(min(value for _, value in finite)))
    listed_mass = sum(math.exp(value) for tokens_of_option in values for value in tokens_of_option)
    if not listed_mass or max_missing / (listed_mass + max_missing) > MAX_UNLISTED:
        return failed_answer(
            f"the {len(finite)} likeliest tokens hold {listed_mass:.2g} of the options, others up to {max_missing:.2g}"
        )
    return _answer(values)


def read_likeliest(reply: bytes) -> dict[str, float]:
    """The log-probabilities of the likeliest first tokens, by their text; of two with one text, the likelier."""
    logprobs = _parse(reply).choices[0].logprobs
    tokens = (logprobs.content if logprobs is not None else None) or []
    table: dict[str, float] = {}
    for listed in tokens[0].top_logprobs or [] if tokens else []:
        if listed.logprob is not None and not math.isnan(listed.logprob):
            table[listed.token] = max(listed.logprob, table.get(listed.token, -math.inf))
    return table


def count_listed(reply: bytes) -> int:
    """How many likely tokens the reply lists at its first position; 0 if the server does not support that."""
    logprobs = _parse(reply).choices[0].logprobs
    tokens = (logprobs.content if logprobs is not None else None) or []
    return len(tokens[0].top_logprobs or []) if tokens else 0


def _answer(values: Sequence[Sequence[float]]) -> Answer:
    sums = tuple(max(MIN_LOGPROB, min(0.0, log_sum(tokens_of_option))) for tokens_of_option in values)
    return Answer(option_logprobs=sums, tokens=1)


def _spellings(option: str) -> tuple[str, ...]:
    """Token forms of an option: bare or after a space, decoded or in a tokenizer's own notation."""
    return tuple(spelling.format(option) for spelling in _SPELLINGS)


def _refusal(choice: _Choice) -> str:
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return "the model refused to answer"
    return ""


def _parse(reply: bytes) -> _Reply:
    try:
        return _Reply.model_validate_json(reply)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise MalformedError(f"not a chat completion: {where + ': ' if where else ''}{problem['msg']}") from None
