"""Every type that more than one part of ftgate shares. All are frozen; none does any work beyond naming itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Role = Literal["system", "user", "assistant"]


class ExitCode(IntEnum):
    """What the process tells its caller. A failure of the gate never reads as an opinion about the model."""

    ALLOW = 0
    BLOCK = 1
    USAGE = 2
    GATE_FAILED = 3
    HOLD = 4


class Leaning(StrEnum):
    """What an undecided measurement looks like so far."""

    LIKELY_TO_FAIL = "likely to fail"
    """The estimate itself is beyond the limit."""
    SUSPECT = "suspect"
    """The estimate is within the limit, but that something was lost is sure."""
    UNDERPOWERED = "underpowered"
    """Nothing is shown to be lost: there is too little evidence to rule it out."""


class Verdict(StrEnum):
    """The one word of a run."""

    ALLOW = "allow"
    BLOCK = "block"
    HOLD = "hold"

    @property
    def exit_code(self) -> ExitCode:
        """The process exit code that stands for this verdict."""
        return {"allow": ExitCode.ALLOW, "block": ExitCode.BLOCK, "hold": ExitCode.HOLD}[self.value]


class Status(StrEnum):
    """What one measurement found."""

    PASS = "pass"  # noqa: S105
    WARN = "warn"
    BLOCK = "block"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Item:
    """One example of a suite: a conversation that ends with a user turn, and what is known about a right answer.

    ``answer`` is the reference text; for an item with ``choices`` it is one of them, word for word. ``tags`` are the
    user's own labels (``ambiguous``, ``multi_intent``, ``unusual_format`` mark the tail). ``cluster`` names the group
    that the item was drawn with, if items are not independent. ``check`` is a rule that tells right answers from wrong
    ones (:mod:`ftgate.scoring.checks`). ``line`` is where it stood in its file.
    """

    id: str
    messages: tuple[Message, ...]
    choices: tuple[str, ...] = ()
    answer: str | None = None
    tags: tuple[str, ...] = ()
    cluster: str | None = None
    line: int = 0
    check: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def user_text(self) -> str:
        """All user turns, joined by line breaks: what embeddings and overlap checks read."""
        return "\n".join(m.content for m in self.messages if m.role == "user")


@dataclass(frozen=True, slots=True)
class Suite:
    """The items of a data file, or of several one after the other, in file order, and their content's fingerprint."""

    name: str
    items: tuple[Item, ...]
    sha256: str
    source: str


@dataclass(frozen=True, slots=True)
class Question:
    """One prompt, without saying which model is asked.

    With ``options`` the engine reads the log-probability of each option at the first answer token and generates
    nothing else; without, it decodes up to ``max_tokens``, greedily or, with a ``temperature``, by draws from the whole
    distribution that ``seed`` fixes. ``part`` tells several questions about one item apart (option rotations, judge
    criteria); ``repeat`` asks the same thing again on purpose, past the store. Where ``untrusted``, the messages hold
    text of strangers, which an engine must not read as its model's control tokens.
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

    def content(self) -> dict[str, Any]:
        """What the model's answer depends on, and nothing else: the part of a question that is content-addressed."""
        return {
            "messages": [[m.role, m.content] for m in self.messages],
            "options": list(self.options),
            "max_tokens": self.max_tokens,
            "repeat": self.repeat,
            **({"untrusted": True} if self.untrusted else {}),
            **({"temperature": self.temperature, "seed": self.seed} if self.temperature else {}),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said to one question.

    ``option_logprobs`` are natural logarithms over the whole vocabulary, one for each of the question's options, token
    variants of an option summed. ``finish`` is ``stop``, ``length``, or ``error`` (then ``error`` says why, and the
    answer counts as a failure, never as a score).
    """

    text: str = ""
    option_logprobs: tuple[float, ...] = ()
    finish: str = "stop"
    tokens: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """Full weights in a folder, an adapter in one with its base, or an endpoint, of which all that is known is a name.

    ``digest`` is ``sha256:`` and the folder's tree digest, ``files`` size in bytes and SHA-256 (hex) of each file in
    it; ``reference`` is the manifest's name for it, ``facts`` what a reader may want to know (rank, alpha, training).
    An adapter that cannot run beside its base says why in ``merge``; once merged it is ``full``, under its own digest.
    ``hollow`` names files whose numbers are not there, after a glance at remote weights.
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
    hollow: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class Pair:
    """One item and what both models said to its questions, in the order of the measurement's plan."""

    item: Item
    base: tuple[Answer, ...]
    candidate: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Fitness:
    """Whether a judge has earned its vote: how well it tells known-good from known-bad answers.

    ``unparseable`` is the share of first replies that were no grade; ``kinds`` the mean grade of each kind of specimen.
    """

    fit: bool
    reason: str
    auroc: float
    auroc_low: float
    gap: float
    retest_shift: float
    unparseable: float
    floor: float
    floor_variance: float
    canaries: int
    gold: int
    injected: int = 0
    kinds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a measurement, which informs and decides nothing.

    ``status`` is "worse" or "beyond" (the limit) where that is sure, given how many parts were tested, else empty.
    """

    name: str
    n: int
    base: float
    candidate: float
    change: float
    interval: tuple[float, float] | None = None
    status: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a measurement estimated, before anyone decides.

    ``change`` and ``interval`` are in ``unit``. ``worse`` says which direction harms: ``up`` for drops and error
    increases, ``down`` for gains. ``limit`` is what the change must stay on the good side of; ``warn_limit`` turns a
    pass into a warning. ``doubts`` forbid a pass but not a block; ``void`` forbids both. ``least_n`` is the number of
    items below which no pass is possible, ``needed_n`` about how many would settle an undecided claim. ``about`` names
    the items that count where not all that were asked do (the tail).
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
    doubts: tuple[str, ...] = ()
    void: str | None = None
    slices: tuple[Slice, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    least_n: int = 1
    needed_n: int | None = None
    about: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim and what was decided about it."""

    claim: Claim
    status: Status
    reason: str
    leaning: Leaning | None = None
    """Where an undecided claim seems to go; None for a decided one, and where nothing can be estimated."""

    @property
    def settled(self) -> bool:
        """Whether it was decided one way or the other; more items would not be asked for."""
        return self.status in (Status.PASS, Status.WARN, Status.BLOCK)


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What a reader needs to repeat the run: names, versions, device and every setting that can move a number."""

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
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
