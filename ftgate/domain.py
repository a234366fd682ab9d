"""The types that several parts of ftgate share. All are immutable values without behaviour."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ftgate.errors import ExitCode

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Role = Literal["system", "developer", "user", "assistant", "tool"]
Side = Literal["base", "candidate"]
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)
SIDES: tuple[Side, Side] = ("base", "candidate")
NEUTRAL = {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
NEUTRAL |= {"top_p": 1.0, "top_k": 0, "min_p": 0.0}
"""The fields of a question that shape the distribution of its tokens, with the values that leave it as it is."""
Tier = Literal["blocking", "supporting", "advisory"]


class Leaning(StrEnum):
    """Which way an undecided measurement points."""

    LIKELY_TO_FAIL = "likely to fail"
    """The estimate itself is not within the limit."""
    SUSPECT = "suspect"
    """The estimate is within the limit, but a loss is statistically certain."""
    UNDERPOWERED = "underpowered"
    """No loss is shown, but there is too little data to rule one out."""


class Verdict(StrEnum):
    """The outcome of a run."""

    ALLOW = "allow"
    BLOCK = "block"
    HOLD = "hold"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code for this verdict."""
        return {"allow": ExitCode.ALLOW, "block": ExitCode.BLOCK, "hold": ExitCode.HOLD}[self.value]


class Status(StrEnum):
    """The outcome of one measurement."""

    PASS = "pass"  # noqa: S105
    WARN = "warn"
    BLOCK = "block"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    NOT_APPLICABLE = "not_applicable"
    """There is nothing to decide: it neither passes nor blocks nor holds."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool. ``arguments`` is a JSON object as text, or empty if what the model wrote is none."""

    name: str
    arguments: str = "{}"
    id: str = ""

    @property
    def text(self) -> str:
        """The call as Hermes and Qwen models write it."""
        return (
            f'<tool_call>\n{{"name": {json.dumps(self.name)}, "arguments": {self.arguments or "null"}}}\n</tool_call>'
        )


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    An assistant's may call tools, and a ``tool`` turn is what one gave back: for the call ``call_id``, or of ``name``.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str = ""
    name: str = ""

    @property
    def text(self) -> str:
        """Content and calls as one text."""
        return "\n".join(part for part in (self.content, *(call.text for call in self.tool_calls)) if part)

    @property
    def key(self) -> list[Any]:
        """All of the turn as JSON, for digests: role, content and, where there is more, an object with the rest."""
        if not (self.tool_calls or self.call_id or self.name):
            return [self.role, self.content]
        calls = [[c.name, c.arguments, c.id] for c in self.tool_calls]
        return [self.role, self.content, {"calls": calls, "id": self.call_id, "name": self.name}]


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """What a task of the lm-evaluation-harness asks about one document, and how it scores that (its ``metric``).

    A multiple-choice document has ``choices`` and, for each, one of ``continuations``, whose log-likelihoods after the
    context are compared; those at the places ``gold``, counted from 0, are right. The context is ``prompt``, or for
    each continuation its own (``prompts``). Any other document is answered up to the first text of ``until`` or
    ``max_tokens`` tokens; the harness itself scores that, for which ``document`` is kept, with the filter ``filter``.
    ``prompt`` is a text to continue or, with ``chat``, the JSON of a conversation. ``graded``: scores lie between 0 and
    1. ``harness`` is the harness's version.
    """

    task: str
    metric: str
    prompt: str
    choices: tuple[str, ...] = ()
    continuations: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    gold: tuple[int, ...] = ()
    until: tuple[str, ...] = ()
    max_tokens: int = 0
    filter: str = ""
    document: Mapping[str, Any] | None = field(default=None, hash=False)
    chat: bool = False
    graded: bool = False
    harness: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One example of a suite: a conversation that ends with a user's or a tool's turn, and how answers are scored.

    ``answer`` is the reference text; for an item with ``choices`` it is one of them, word for word. ``tags`` are the
    user's own labels (``ambiguous``, ``multi_intent``, ``unusual_format`` mark the tail). ``cluster`` names the group
    that the item was sampled with, where items are not independent. ``check`` is a rule that decides whether an answer
    is right (:mod:`ftgate.scoring.checks`). ``line`` is its line number in the file. ``tools`` are those that the model
    may call, in OpenAI's form. ``request`` is what is asked instead, where the item is a document of a task of the
    lm-evaluation-harness.
    """

    id: str
    messages: tuple[Message, ...]
    choices: tuple[str, ...] = ()
    answer: str | None = None
    tags: tuple[str, ...] = ()
    cluster: str | None = None
    line: int = 0
    check: Mapping[str, Any] | None = field(default=None, hash=False)
    tools: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    request: TaskRequest | None = None

    @property
    def user_text(self) -> str:
        """All user turns, joined by line breaks: the text for embeddings and overlap checks."""
        return "\n".join(m.content for m in self.messages if m.role == "user")


@dataclass(frozen=True, slots=True)
class Suite:
    """The items of a data file, or of several one after the other, in file order, and the SHA-256 of their content.

    ``repeats`` has the line numbers of the rows that were left out because they repeat another one. ``notes`` say
    how the file was read, ``warnings`` what looks wrong with it as a whole.
    """

    name: str
    items: tuple[Item, ...]
    sha256: str
    source: str
    repeats: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt, for whichever model is asked.

    With ``options`` the engine reads the log-probability of each option at the first answer token and generates
    nothing; without, it generates up to ``max_tokens``, greedily or, with a ``temperature``, by sampling from the
    whole distribution with ``seed``. ``part`` distinguishes several questions about one item (option rotations, judge
    criteria, sampled answers by number). A ``repeat`` above 0 asks again instead of taking the answer from the journal.
    ``untrusted`` marks messages with text from strangers, which an engine must not parse as its model's control tokens.
    ``tools`` are those that the model may call, in OpenAI's form.

    A ``raw`` question is one text to be continued, without the chat template. With ``continued`` the options are
    continuations, and all their tokens are read: an option's log-probability is the sum over them. ``contexts`` holds a
    text for each option that it continues, where they do not all continue the messages. Generation ends at the first
    text of ``stop``, which is not part of the answer. The fields in ``NEUTRAL`` are those of a generation section.
    """

    measurement: str
    item_id: str
    messages: tuple[Message, ...]
    part: str = ""
    options: tuple[str, ...] = ()
    max_tokens: int = 1
    repeat: int = 0
    untrusted: bool = False
    temperature: float = 0.0
    seed: int = 0
    tools: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)
    raw: bool = False
    continued: bool = False
    contexts: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    def content(self) -> dict[str, Any]:
        """The fields that the answer depends on: they make up the question's content address."""
        others = {"tools": list(self.tools), "contexts": list(self.contexts), "stop": list(self.stop)}
        others |= {"untrusted": self.untrusted, "raw": self.raw, "continued": self.continued}
        return {
            "messages": [m.key for m in self.messages],
            "options": list(self.options),
            "max_tokens": self.max_tokens,
            "repeat": self.repeat,
            **({"temperature": self.temperature, "seed": self.seed} if self.temperature else {}),
            **{name: value for name, value in others.items() if value},
            **{name: getattr(self, name) for name, neutral in NEUTRAL.items() if getattr(self, name) != neutral},
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one question.

    ``option_logprobs`` are natural logarithms over the whole vocabulary, one for each of the question's options, token
    variants of an option summed. ``finish`` is ``stop``, ``length``, or ``error`` (then ``error`` says why, and the
    answer counts as a failure, never as a score). ``served`` is the model's name as an endpoint gave it.
    ``continued`` says that the options were continuations, read over all their tokens; one may contain another.
    ``trace`` says that a reasoning trace was taken from the text (:mod:`ftgate.scoring.trace`): ``closed``, or ``open``
    if it never ended, which leaves no answer. ``tool_calls`` are those that the engine or server read in the text; None
    if neither did, so that they are read from the text when it is scored (:mod:`ftgate.scoring.tool_calls`).
    """

    text: str = ""
    option_logprobs: tuple[float, ...] = ()
    finish: str = "stop"
    tokens: int = 0
    error: str | None = None
    served: str = ""
    trace: Literal["", "open", "closed"] = ""
    tool_calls: tuple[ToolCall, ...] | None = None
    continued: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """Full weights in a folder, an adapter in one with its base, or an endpoint, of which all that is known is a name.

    ``digest`` is ``sha256:`` and the folder's tree digest, ``files`` size in bytes and SHA-256 (hex) of each file in
    it; ``reference`` is the manifest's name for it, ``facts`` what a reader may want to know (rank, alpha, training).
    An adapter that cannot run beside its base says why in ``merge``; once merged it is ``full``, under its own digest.
    ``headers_only`` names files of which nothing but the header was fetched. ``stamps`` are those of the files from
    before they were hashed, by which a later change is noticed. ``chat``: what it is asked with (a tokenizer's folder,
    the chat template, that for tools), where it is not what lies beside the weights. ``address``: an endpoint's server.
    """

    name: str
    path: Path
    digest: str
    kind: Literal["full", "adapter", "endpoint"] = "full"
    base: Model | None = None
    lora_rank: int = 0
    reference: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)
    files: Mapping[str, tuple[int, str]] = field(default_factory=dict, compare=False)
    merge: tuple[str, ...] = ()
    address: str = ""
    headers_only: frozenset[str] = field(default=frozenset(), compare=False)
    stamps: Mapping[str, tuple[int, ...]] = field(default_factory=dict, compare=False, repr=False)
    chat: tuple[Path, str, str] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Pair:
    """One item and both models' answers to its questions, in the order of the measurement's plan.

    Where several answers to one question are averaged, the two models may have given different numbers of them.
    """

    item: Item
    base: tuple[Answer, ...]
    candidate: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Slice:
    """The result on a subset of a measurement's items, which decides nothing unless it has a ``limit``.

    ``status`` is "worse", "beyond" (the limit) or empty, corrected for the number of slices that were tested.
    """

    name: str
    n: int
    base: float
    candidate: float
    change: float
    interval: tuple[float, float] | None = None
    status: str = ""
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """The result of a measurement before the decision.

    ``change`` and ``interval`` are in ``unit``. ``worse`` says which direction harms: ``up`` for drops and error
    increases, ``down`` for gains. The change must stay on the good side of ``limit``; a pass that reaches
    ``warn_limit`` is a warning. With reasons in ``cannot_pass`` the measurement may block but not pass; with an
    ``invalid_reason`` it may do neither; with a reason for ``not_applicable`` it may block, and otherwise there is
    nothing to decide. ``least_n`` is the smallest number of items with which it can pass, ``needed_n`` about how many
    would settle it, ``planned_n`` how many were planned, if the run stopped early. ``about`` names the items that
    count, if they are fewer than those asked (the tail); ``n`` counts them, ``rows`` and ``needed_n`` the rows of the
    suite that they are a part of. ``gates`` are slices that block beyond limits of their own.
    """

    measurement: str
    base: float
    candidate: float
    change: float
    unit: str
    interval: tuple[float, float]
    level: float
    n: int
    method: str
    worse: Literal["up", "down"]
    limit: float
    warn_limit: float | None = None
    cannot_pass: tuple[str, ...] = ()
    invalid_reason: str | None = None
    not_applicable: str | None = None
    slices: tuple[Slice, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    least_n: int = 1
    needed_n: int | None = None
    planned_n: int | None = None
    about: frozenset[str] | None = None
    rows: int | None = None
    gates: tuple[Slice, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """An estimate, the decision on it, and the measurement's kind, tier, and title (kind, title: empty is its name)."""

    estimate: Estimate
    status: Status
    reason: str
    leaning: Leaning | None = None
    """Which way an undecided estimate points; None for a decided one, and where there is no estimate."""
    cut_short_by: str | None = None  # the measurement whose block ended the run before this one was decided
    kind: str = ""
    tier: Tier = "blocking"
    title: str = ""

    @property
    def blocks(self) -> bool:
        """Whether it blocks the candidate."""
        return self.status is Status.BLOCK and self.tier == "blocking"

    @property
    def settled(self) -> bool:
        """Whether it was decided, so that more items would change nothing."""
        return self.status not in (Status.INCONCLUSIVE, Status.ERROR)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What it takes to repeat a run: versions, device and every setting that can change a result."""

    kind: str
    versions: Mapping[str, str]
    device: str
    dtype: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of ``value`` as :func:`canonical` JSON."""
    return hashlib.sha256(canonical(value)).hexdigest()


def canonical(value: Any) -> bytes:
    """``value`` as canonical JSON: sorted keys, no spaces, lone surrogates escaped."""
    return _ENCODER.encode(value).encode()
