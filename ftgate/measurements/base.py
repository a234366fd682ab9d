"""What a measurement is: a section of the policy that plans questions and compares answers. Both steps are pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from ftgate.config.strict import Section
from ftgate.domain import Estimate, FloatArray, Item, JudgeValidation, Pair, Question
from ftgate.measurements.tail_map import TailMap
from ftgate.scoring.choice import choice_messages, letters_for
from ftgate.scoring.rules import failure_of
from ftgate.scoring.scores import PairedScores
from ftgate.stats.power import evidence_floor
from ftgate.stats.seeding import generator

Scorer = Literal["auto", "check", "choice", "exact", "contains", "numeric", "judge"]
"""How answers become scores. ``auto`` lets each row pick: its ``check``, its ``choices``, or else the judge."""
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a comparison may look at: ``judge_validation`` for judged scores, ``tail`` for the tail only."""

    pairs: tuple[Pair, ...]
    scored: PairedScores
    alpha: float
    """One-sided error of this look."""
    draws: int
    tail: TailMap | None = None
    judge_validation: JudgeValidation | None = None
    overall_alpha: float | None = None
    """One-sided error of all looks together, if there are several: what does not change from look to look."""
    last: bool = True
    """Whether no look comes after this one."""

    @property
    def whole_alpha(self) -> float:
        """The one-sided error of all looks together."""
        return self.overall_alpha or self.alpha

    def least_items(self, limit: float) -> int:
        """Items below which a collapse on a share ``limit`` of all prompts could go unseen (methods: section 1)."""
        return evidence_floor(limit, self.whole_alpha)


class Measurement(Section, ABC):
    """One dimension along which a candidate can gain or lose. The fields are its section of the policy."""

    name: ClassVar[str]
    relative: ClassVar[bool] = True
    """Whether its tolerance is a share of the base's score, rather than of the whole scale."""
    span: ClassVar[float] = 1.0
    """How much the measurement's result moves when every :meth:`per_item` number moves by 1."""

    dataset: str = Field(min_length=1)
    """The suite: a file, relative to the policy."""
    max_tokens: int = Field(default=64, ge=1, le=32_768)
    """Longest free-form answer."""
    n: int | None = Field(default=None, ge=1)
    """Use a random sample of this many items (fixed by the seed); all of them by default."""
    n_max: int | None = Field(default=None, ge=1)
    """Where `n` items settle nothing, go on to this many, if the suite has them."""

    @model_validator(mode="after")
    def _extend_upwards(self) -> Self:
        if self.n_max is not None and (self.n is None or self.n_max < self.n):
            raise ValueError(f"n_max {self.n_max} must not be below n, and needs one (n: {self.n})")
        return self

    @property
    @abstractmethod
    def reads(self) -> Scorer:
        """The policy's scorer: how answers are scored, and so what each row must hold."""

    @abstractmethod
    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """What the answers say, before anyone decides. All randomness comes from ``rng``."""

    def with_details(self, claim: Estimate, evidence: Evidence, rng: np.random.Generator) -> Estimate:  # noqa: ARG002
        """``claim``, what :meth:`compare` found in the same evidence, with its slices and details for the reader.

        No decision rests on what is added here, so that it is worked out once, for the look that ended a run.
        """
        return claim

    @property
    @abstractmethod
    def tolerance(self) -> float:
        """The size of a change that matters: the base against itself must stay within a quarter of it."""

    @property
    def wants_training_data(self) -> bool:
        """Whether the comparison looks at the distance from the training data."""
        return False

    def per_item(self, pairs: Sequence[Pair], scored: PairedScores) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002
        """For either side a number in [0, 1] for each item, whose mean moves when the measurement's result does.

        Two arrays of shape (n,); a difference of ``1 / span`` is one whole item.
        """
        return scored.base, scored.candidate

    def scored_by(self, item: Item) -> Scorer:
        """What scores one item: the policy's scorer or, if that is ``auto``, what the row holds."""
        if self.reads != "auto":
            return self.reads
        if item.check is not None:
            return "check"
        return "choice" if item.choices and item.answer is not None else "judge"

    def judges(self, items: Iterable[Item]) -> bool:
        """Whether a judge must grade any of ``items``."""
        return any(self.scored_by(item) == "judge" for item in items)

    def plan(self, item: Item) -> tuple[Question, ...]:
        """The questions about one item; both models are asked the same ones."""
        if self.scored_by(item) == "choice":
            return (Question(self.name, item.id, choice_messages(item), options=letters_for(item)),)
        return (Question(self.name, item.id, item.messages, max_tokens=self.max_tokens),)


def seeded(questions: Iterable[Question], seed: int) -> tuple[Question, ...]:
    """The questions of one item, each that samples with a seed of its own from the run's seed and the item."""
    return tuple(
        replace(q, seed=int(generator(seed, f"{q.measurement} {q.item_id} {q.part}").integers(2**31)))
        if q.temperature
        else q
        for q in questions
    )


def failures(pair: Pair) -> list[str]:
    """Why answers to one item say nothing; empty when all do."""
    return [reason for answer in (*pair.base, *pair.candidate) if (reason := failure_of(answer)) is not None]


def share_failed(evidence: Evidence) -> str | None:
    """Why a claim is void because too many answers could not be had, or None. The bound is 1 % of the items."""
    failed = [found[0] for pair in evidence.pairs if (found := failures(pair))]
    if len(failed) <= 0.01 * len(evidence.pairs):
        return None
    return f"{len(failed)} of {len(evidence.pairs)} items could not be answered; the first failure: {failed[0]}"


def share_unknown(scored: PairedScores) -> str | None:
    """Why a claim is void because too many of the scores that it is about are not known, or None. The bound is 1 %.

    The estimate takes the middle for such a score, which is nobody's result: without this bound, scores that nobody
    knows could pass under the rule that looks at the estimate alone.
    """
    unknown = [item.id for item, known in zip(scored.items, scored.is_exact, strict=True) if not known]
    if len(unknown) <= 0.01 * len(scored.items):
        return None
    return (
        f"the scores of {len(unknown)} of {len(scored.items)} items are not known: no answer, no readable grade or no "
        f"verdict of a rule; the first of them: {unknown[0]!r}"
    )


def unfit(judge_validation: JudgeValidation | None) -> str | None:
    """Why a judged claim is void, or None when the judge is fit or nothing was judged."""
    return (
        f"judge unfit: {judge_validation.reason}" if judge_validation is not None and not judge_validation.fit else None
    )


def first_of(*reasons: str | None) -> str | None:
    """The first reason there is."""
    return next((reason for reason in reasons if reason), None)
