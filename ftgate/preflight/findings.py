"""What ``ftgate check`` found: whether a run would start, how it would go, and what it would need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a run would fail of, and what to do about it."""

    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model. ``digest`` is empty where its large files were left unread; of an endpoint little is known."""

    reference: str
    kind: str
    digest: str = ""
    architecture: str = ""
    parameters: int = 0
    weight_bytes: int = 0
    rank: int = 0
    quantisation: str = ""
    context: int | None = None
    vocabulary: int | None = None
    tokenizer_sha256: str = ""
    template_sha256: str = ""


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """How the models would be run: ``one_engine``, ``merge``, ``together`` or ``in_turn``, in words, and why."""

    kind: str
    words: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Memory:
    """What the run needs at a time, in bytes, about.

    ``cache`` holds one conversation of the full length, the least that an engine starts with, ``full_cache`` as many as
    the engine takes at once. ``available`` is None where no device was found; ``tensor_parallel_size`` is the least
    that fits, by gigabytes of a GPU, None where none does.
    """

    device: str
    weights: int
    adapter: int
    cache: int
    full_cache: int
    workspace: int
    available: int | None
    tensor_parallel_size: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def needed(self) -> int:
        """Bytes with which an engine starts."""
        return self.weights + self.adapter + self.cache + self.workspace


@dataclass(frozen=True, slots=True)
class Prompts:
    """The longest prompt of a suite with its answer, in tokens, about, and how many items do not fit ``limit``."""

    suite: str
    reader: str
    longest: int
    item: str
    limit: int
    too_long: int
    items: int


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes that a merge writes, and where; bytes of memory that it takes meanwhile."""

    folder: str
    needed: int
    free: int
    memory: int


@dataclass(frozen=True, slots=True)
class Data:
    """One data file that was read."""

    name: str
    source: str
    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Preflight:
    """All that is known before anything is loaded."""

    name: str
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    models: Mapping[str, ModelFacts]
    plan: EnginePlan | None
    memory: Memory | None
    disk: Disk | None
    prompts: tuple[Prompts, ...]
    data: tuple[Data, ...]

    @property
    def exit_code(self) -> int:
        """0, or the code of the problems: 2 if any of them is a matter of configuration."""
        return min((problem.exit_code for problem in self.problems), default=0)
