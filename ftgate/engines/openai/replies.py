"""What a chat-completions server said, as answers: log-probabilities of the options, or counts of sampled replies.

A reply that says something else than what was asked for becomes a failed answer. One that is no chat completion at all
raises :class:`MalformedError`: it says nothing about the question, and is worth a second request.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from ftgate.domain import Answer, Question
from ftgate.engines.chat_template import failed, log_sum

NO_CHANCE = -9999.0
"""The logarithm of a probability of nothing, as far as JSON can write it."""
TOPS = (20, 5)
"""Lengths of the list of likeliest tokens to ask for: the most that servers give, and what the meaner ones do."""
MOST_UNLISTED = 0.01
"""How far tokens that are not listed may move a grade in [0, 1] before the reply counts as unreadable."""
_SPELLINGS = ("{}", " {}", "Ġ{}", "▁{}")
_TOKENS_OF_AN_OPTION = 2


class MalformedError(Exception):
    """The server sent something that is no chat completion, or not the one that it was asked for."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """How a server is asked, as found out once: the best of what it can do.

    ``tokens`` reads the log-probabilities of the options' own tokens, whose ids are in ``ids``: what the in-process
    engine reads, and vLLM serves. ``top`` finds the options among the ``top`` likeliest tokens. ``samples`` counts
    ``samples`` replies, ``each`` of them in one request. ``length`` is the server's name for the length of a reply.
    """

    scores: Literal["tokens", "top", "samples"]
    top: int = 0
    samples: int = 0
    each: int = 1
    ids: Mapping[str, Sequence[int]] = field(default_factory=dict)
    length: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    vllm: bool = False

    def words(self) -> str:
        """For the report: where the numbers come from."""
        return {
            "tokens": "log-probabilities of the digits' own tokens",
            "top": f"log-probabilities among the {self.top} likeliest tokens",
            "samples": f"{self.samples} sampled replies a question, counted",
        }[self.scores]

    def settings(self) -> dict[str, Any]:
        """All of it as JSON."""
        return asdict(self)

    def reading(self, options: Sequence[str]) -> Capabilities:
        """The same way, or for options whose tokens were not looked up the next best."""
        known = self.scores != "tokens" or all(option in self.ids for option in options)
        return self if known else replace(self, scores="top", top=TOPS[0])

    def body(self, question: Question, count: int = 1) -> dict[str, Any]:
        """The fields of a request beside model and messages; ``count`` is how many replies to sample at once."""
        asked: dict[str, Any] = {self.length: question.max_tokens, "temperature": 0}
        if question.temperature:
            asked |= {"temperature": question.temperature, "seed": question.seed}
        if question.options:
            asked |= {self.length: 1} | self._scoring(question, count)
        return asked | ({"chat_template_kwargs": {"enable_thinking": False}} if self.vllm else {})

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


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Usage(BaseModel):
    completion_tokens: int | None = None


class _Reply(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


def read_text(reply: bytes) -> Answer:
    """The text of the first choice."""
    parsed = _parsed(reply)
    choice = parsed.choices[0]
    refused = _refused(choice)
    if refused or choice.message.content is None:
        return failed(refused or "the reply holds no text")
    tokens = (parsed.usage and parsed.usage.completion_tokens) or 0
    finish = "length" if choice.finish_reason == "length" else "stop"
    return Answer(choice.message.content, finish=finish, tokens=tokens)


def read_samples(reply: bytes) -> list[str]:
    """What each choice says, without surrounding space; an empty text for one that was refused."""
    return ["" if _refused(c) else (c.message.content or "").strip() for c in _parsed(reply).choices]


def count_samples(said: Sequence[str], options: Sequence[str]) -> Answer:
    """Shares of the options among all that was said. What is no option takes its share away from all of them."""
    counts = Counter(said)
    if not any(counts[option] for option in options):
        return failed(f"none of {len(said)} replies was one of {', '.join(options)}")
    shares = [counts[option] / len(said) for option in options]
    return Answer(option_logprobs=tuple(math.log(s) if s else NO_CHANCE for s in shares), tokens=len(said))


def read_options(reply: bytes, way: Capabilities, options: Sequence[str]) -> Answer:
    """The log-probability of each option at the first token, spellings of an option summed.

    Among the likeliest tokens an option may be missing. Each token that is not listed is at most as likely as the
    rarest that is, and all of them together have what the listed ones leave: where what may be missing could move an
    expected grade by more than ``MOST_UNLISTED`` of its range, the reply is a failure; else it counts as nothing.
    """
    choice = _parsed(reply).choices[0]
    tokens = choice.logprobs.content if choice.logprobs is not None else None
    if tokens is None:
        raise MalformedError("the reply holds no log-probabilities")
    if refused := _refused(choice):
        return failed(refused)
    if len(tokens) != 1:
        return failed(f"the reply has {len(tokens)} tokens where one was asked for")
    listed = [(t.token, t.logprob) for t in tokens[0].top_logprobs or tokens]
    known = [(token, value) for token, value in listed if value is not None and math.isfinite(value)]
    total = sum(math.exp(min(value, 1.0)) for _, value in known)
    if not known or total > 1.001:
        return failed("the log-probabilities of the reply are none")
    if way.scores == "tokens":
        by_id = dict(known)
        names = [[f"token_id:{i}" for i in way.ids[option]] for option in options]
        if not all(name in by_id for spelled in names for name in spelled):
            raise MalformedError("the reply lacks the log-probability of an option's token")
        return _answer([[by_id[name] for name in spelled] for spelled in names])
    values = [[value for token, value in known if token in _spellings(option)] for option in options]
    unlisted = sum(max(0, _TOKENS_OF_AN_OPTION - len(found)) for found in values)
    rest = min(max(0.0, 1.0 - total), unlisted * math.exp(min(value for _, value in known)))
    found = sum(math.exp(value) for spelled in values for value in spelled)
    if not found or rest / (found + rest) > MOST_UNLISTED:
        return failed(f"the {len(known)} likeliest tokens hold {found:.2g} of the options, others up to {rest:.2g}")
    return _answer(values)


def count_listed(reply: bytes) -> int:
    """How many likely tokens the reply lists at its first one; 0 where the server does not do that."""
    logprobs = _parsed(reply).choices[0].logprobs
    tokens = (logprobs.content if logprobs is not None else None) or []
    return len(tokens[0].top_logprobs or []) if tokens else 0


def _answer(values: Sequence[Sequence[float]]) -> Answer:
    sums = tuple(max(NO_CHANCE, min(0.0, log_sum(spelled))) for spelled in values)
    return Answer(option_logprobs=sums, tokens=1)


def _spellings(option: str) -> tuple[str, ...]:
    """An option as a token: bare or after a space, decoded or in a tokenizer's own letters."""
    return tuple(spelling.format(option) for spelling in _SPELLINGS)


def _refused(choice: _Choice) -> str:
    if choice.message.refusal or choice.finish_reason == "content_filter":
        return "the judge refused to answer"
    return ""


def _parsed(reply: bytes) -> _Reply:
    try:
        return _Reply.model_validate_json(reply)
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise MalformedError(f"no chat completion: {where + ': ' if where else ''}{problem['msg']}") from None
