"""The result of ``ftgate check``: problems, notes, how the models would be run, and what that needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ftgate.domain import Verdict


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that would make a run fail, and what to do about it."""

    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One model. ``digest`` is empty if its files are too large to read here; an endpoint only has a reference."""

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
    """How the models would be run: ``kind`` is one_engine, merge, together or in_turn; ``words`` describe it.

    ``starts``: how many engines start, the judge's among them, and ``start_seconds``: about how long that takes.
    """

    kind: str
    words: str
    reasons: tuple[str, ...] = ()
    starts: int = 0
    start_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Memory:
    """Estimated peak memory of the run, in bytes.

    ``cache`` holds one conversation of the full length, the least that an engine needs to start; ``full_cache`` as many
    as the engine runs at once. ``available`` is None if no device was found. ``tensor_parallel_size`` is the smallest
    that fits, by gigabytes per GPU, None if none fits.
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
        """Bytes that the engines need to start."""
        return self.weights + self.adapter + self.cache + self.workspace


@dataclass(frozen=True, slots=True)
class Prompts:
    """The longest prompt of a suite including its answer, in estimated tokens, and how many items exceed ``limit``."""

    suite: str
    reader: str
    longest: int
    item: str
    limit: int
    too_long: int
    items: int
    setting: str = ""
    """What sets ``limit``, in words; empty if it is the model's own context."""
    context: int = 0
    """Tokens of the model's own context; 0 if unknown."""

    @property
    def where(self) -> str:
        """The limit and what sets it, such as `4,096 tokens (engine.max_model_len, the default)`."""
        return f"{self.limit:,} tokens" + (f" ({self.setting})" if self.setting else "")

    @property
    def room(self) -> str:
        """How far the limit can be raised, in words."""
        if self.context > self.limit:
            return f"raise engine.max_model_len (at most {self.context:,}, the model's own context)"
        return "raise engine.max_model_len (at most the model's own context)"


@dataclass(frozen=True, slots=True)
class Disk:
    """What a merge needs: bytes on disk in ``folder``, and bytes of memory meanwhile."""

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
    repeats: int = 0
    """Rows that repeat another one and are left out."""
    kind: str = ""
    """The kind of the measurement whose suite it is, empty for other data; so is ``tier``."""
    tier: str = ""


@dataclass(frozen=True, slots=True)
class BestVerdict:
    """The best ``verdict`` of a run, and why it can be no better; no ``reasons`` where it can allow."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Both in one clause."""
        best = {Verdict.ALLOW: "an allow", Verdict.HOLD: "a hold", Verdict.BLOCK: "a block"}[self.verdict]
        return f"at best {best}: {'; '.join(self.reasons)}" if self.reasons else f"at best {best}"


@dataclass(frozen=True, slots=True)
class Preflight:
    """Everything that is known before any weights are loaded."""

    name: str
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    """What makes a run useless without stopping it, and what to do."""
    models: Mapping[str, ModelFacts]
    plan: EnginePlan | None
    memory: Memory | None
    disk: Disk | None
    prompts: tuple[Prompts, ...]
    data: tuple[Data, ...]
    too_few: tuple[str, ...] = ()
    """The measurements that never or hardly pass with their rows; a warning says why."""
    hardly: tuple[str, ...] = ()
    """Those of them that pass on a base that scores unusually low."""
    best_verdict: BestVerdict = BestVerdict(Verdict.ALLOW)
    """The best verdict that the run can reach."""
    not_measured: tuple[str, ...] = ()
    """The kinds of measurements that the run lacks."""
    reasons_not_measured: Mapping[str, str] = field(default_factory=dict)
    """Why, for those that a run without a policy leaves out."""

    @property
    def exit_code(self) -> int:
        """The smallest code of a problem: 2 if any is a configuration error. Without problems that of the best verdict.

        So 0 says that the run can allow, and 4 that it can at best hold.
        """
        return min((problem.exit_code for problem in self.problems), default=int(self.best_verdict.verdict.exit_code))
