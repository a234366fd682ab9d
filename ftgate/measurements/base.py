"""The base class of measurements: a section of the policy that plans questions and compares answers, both pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from ftgate.config.columns import Columns
from ftgate.config.lm_eval import LmEvalSettings, is_task
from ftgate.config.manifest import Source
from ftgate.config.strict import Section
from ftgate.domain import Answer, BoolArray, Estimate, FloatArray, Item, Pair, Question, Side, Tier
from ftgate.measurements.corruption import bad_answers
from ftgate.measurements.labelled import LabelledItems
from ftgate.measurements.power_facts import PowerFacts
from ftgate.measurements.tail_map import TailMap
from ftgate.scoring.choice import choice_messages, letters_for
from ftgate.scoring.rules import failure_of, gives_grades
from ftgate.scoring.scorer_facts import CHOICE, JUDGE, JUDGED, facts_of
from ftgate.scoring.scores import PairedScores
from ftgate.scoring.task_requests import scorer_of, task_question
from ftgate.stats.power import evidence_floor

BuiltinScorer = Literal["auto", "check", "choice", "exact", "contains", "numeric", "math", "f1", "rouge", "judge"]
Scorer = BuiltinScorer | Annotated[str, Field(pattern=r"^plugin:[A-Za-z0-9_.-]{1,100}$")]
"""How answers are scored. ``auto`` decides for each row: by its ``check``, its ``choices``, or else the judge.

``plugin:NAME`` is an entry point of an installed package (:mod:`ftgate.scoring.plugins`).
"""
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, slots=True)
class JudgeValidation:
    """How well a judge separates good answers from bad ones, and whether that is enough to count.

    ``unparseable`` is the share of first replies without a grade; ``kinds`` the mean grade of each kind of probe.
    ``known_answers`` counts the known answers of built-in suites; 0 and no ``known_auroc`` if the policy left them out.
    ``floor`` and ``floor_variance`` are of the ``worthless`` ones among the ``canaries`` (None: of all).
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
    known_answers: int = 0
    known_auroc: float | None = None
    known_auroc_low: float | None = None
    worthless: int | None = None
    kinds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The input of a comparison: ``judge_validation`` for judged scores, ``tail`` for the tail measurement only."""

    pairs: tuple[Pair, ...]
    scored: PairedScores
    alpha: float
    """One-sided error of this look."""
    draws: int
    tail: TailMap | None = None
    judge_validation: JudgeValidation | None = None
    overall_alpha: float | None = None
    """One-sided error of all looks together, if there are several; the same at each look."""
    last: bool = True
    """Whether no look comes after this one."""
    not_asked: int = 0
    """Rows of the suite, up to this look, that were left out because they decide nothing."""
    labelled: LabelledItems | None = None
    """People's grades of answers in ``pairs``, if the policy names some."""
    shared: tuple[float, float] | None = None
    """Where slices gate: the levels of the lower bounds of the whole and of each of them."""
    early: bool = False
    """Whether planned items are left to ask."""

    @property
    def whole_alpha(self) -> float:
        """The one-sided error of all looks together."""
        return self.overall_alpha or self.alpha

    def least_items(self, limit: float) -> int:
        """The least number of items with which a collapse on a share ``limit`` is seen (methods: section 1)."""
        return evidence_floor(limit, self.whole_alpha)


class ChecklistLine(NamedTuple):
    """One line of the report's checklist: the requirement, whether it is met, and the evidence."""

    item: str
    ok: bool | None
    evidence: str


class DistanceSettings(Section):
    """Settings for the distance of queries from the training data: the embedding, and the data to compare with."""

    embedding: Literal["hidden_states", "tfidf"] | Source
    max_train_rows: int
    query_log: str | None
    query_log_columns: Columns | None = None

    @property
    def embedding_kind(self) -> str:
        """`hidden_states`, `tfidf`, or `encoder` for a model of its own."""
        return self.embedding if isinstance(self.embedding, str) else "encoder"


class AnyMeasurement(Section, ABC):
    """One dimension along which a candidate can gain or lose. The fields are its section of the policy.

    The class variables describe its kind. A policy may hold several of one kind, each with a ``name`` of its own. It
    either asks questions (:class:`Measurement`) or is decided on the answers that the others asked for
    (:class:`DerivedMeasurement`). Reports show it in the order of ``registry.MEASUREMENTS``, then of ``DERIVED``.
    """

    kind: ClassVar[str]
    """The key of its section in the policy, unless that has a name of its own and says ``kind:``."""
    title: ClassVar[str]
    """The heading in a report."""
    question: ClassVar[str]
    """What it measures, as a question."""
    subject: ClassVar[str]
    """What it is measured on, to follow "better on" or "worse on" in a sentence."""
    limit_field: ClassVar[str]
    """The field of the policy that holds the limit."""
    warn_field: ClassVar[str | None] = None
    """The field with the limit from which a pass is a warning."""
    worse: ClassVar[Literal["up", "down"]] = "up"
    """Which direction of its change is harm: ``up`` for drops and rising errors, ``down`` for gains."""
    part: ClassVar[str] = "that decide"
    part_tag: ClassVar[str] = ""
    """Which of its rows decide, to follow "rows", where not all do; and the tag that tells them, if one does."""
    more_rows: ClassVar[str] = ""
    """How else than by more rows it gets enough that decide, to follow "or"."""
    remedy: ClassVar[str] = ""
    """The advice for when it blocks: a key of ``report.advice.remedies.REMEDIES``, or empty for none."""
    relative: ClassVar[bool] = True
    """Whether its tolerance is a share of the base's score rather than an absolute difference."""
    span: ClassVar[float] = 1.0
    """How much the measurement's result changes when every :meth:`per_item` number changes by 1."""

    tier: Tier = "blocking"
    """What a loss beyond the limit does: `blocking` blocks, `supporting` holds, `advisory` is shown only. An undecided
    result holds in the first two."""

    _name: str = PrivateAttr("")

    @property
    def name(self) -> str:
        """The key of its section in the policy and of its part of the report: its kind, or a name of its own."""
        return self._name or self.kind

    def named(self, name: str) -> Self:
        """The same measurement under another name."""
        copy = self.model_copy()
        copy._name = "" if name == self.kind else name
        return copy

    @abstractmethod
    def compare(self, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """The estimate from the answers, before the decision. All randomness comes from ``rng``."""

    def with_details(self, estimate: Estimate, evidence: Evidence, rng: np.random.Generator) -> Estimate:  # noqa: ARG002
        """``estimate``, the result of :meth:`compare` on the same evidence, with slices and details for the report.

        No decision rests on what is added here, so it is computed once, for the last look.
        """
        return estimate

    @property
    @abstractmethod
    def tolerance(self) -> float:
        """The size of a change that matters. The base against itself must stay within a quarter of it."""

    @property
    def limit(self) -> float:
        """The limit that its change must stay on the good side of."""
        return float(getattr(self, self.limit_field))

    def limit_of(self, unit: str) -> float:  # noqa: ARG002
        """The limit on a change in ``unit``: one that shows the worst of several parts may have one for each."""
        return self.limit

    @property
    def warn_limit(self) -> float | None:
        """The limit from which a pass is a warning; None without one."""
        return None if self.warn_field is None else float(getattr(self, self.warn_field))

    @classmethod
    def checklist(cls, estimate: Estimate | None) -> ChecklistLine | None:  # noqa: ARG003
        """Its checklist line, or None for no line. ``estimate`` is None if the policy does not have the measurement."""
        return None

    def per_item(self, pairs: Sequence[Pair], scored: PairedScores) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002
        """For either model a number in [0, 1] per item, shape (n,), whose mean follows the measurement's result.

        A difference of ``1 / span`` is one whole item. The A/A test compares these numbers.
        """
        return scored.base, scored.candidate

    def sampling_details(self) -> dict[str, Any]:
        """For the report's details: how answers were sampled; empty if they were not."""
        return {}

    def corrupt(self, pair: Pair, other: Pair) -> tuple[Answer, ...]:
        """Answers to the item of ``pair`` that it must find bad; what another item was answered may serve."""
        return bad_answers(pair, other)


class Measurement(AnyMeasurement):
    """A measurement with a suite: it asks both models questions about its items."""

    as_trained: ClassVar[bool] = False
    """Whether its suite comes from the training distribution, so that it must be held out of the training data."""
    takes_tasks: ClassVar[bool] = False
    """Whether its suite may be a task of the lm-evaluation-harness, which brings its own questions."""
    clustered: ClassVar[bool] = True
    """Whether its statistics account for clusters of items."""
    cut_on_purpose: ClassVar[bool] = False
    """Whether it asks for the beginning of an answer only."""

    dataset: str = Field(min_length=1)
    """The suite: a file relative to the policy, a reference such as `hf://datasets/…`, or `builtin:general-200`."""
    columns: Columns | None = None
    """Which fields of the file hold what a row needs, for a file of no known shape."""
    max_tokens: int = Field(default=64, ge=1, le=32_768)
    """Longest free-form answer, in tokens."""
    n: int | None = Field(default=None, ge=1)
    """Ask a random sample of this many items, fixed by the seed; by default all."""
    n_max: int | None = Field(default=None, ge=1)
    """If `n` items settle nothing, continue up to this many; needs `n`."""

    @model_validator(mode="after")
    def _extend_upwards(self) -> Self:
        if self.n_max is not None and (self.n is None or self.n_max < self.n):
            raise ValueError(f"n_max {self.n_max} needs an n that is no larger (n: {self.n})")
        return self

    @model_validator(mode="after")
    def _no_task(self) -> Self:
        if is_task(self.dataset) and not self.takes_tasks:
            raise ValueError(
                f"{self.dataset}: {self.kind} does not take tasks of the lm-evaluation-harness; ask them in a section "
                "of kind target, forgetting or tail"
            )
        return self

    @property
    def task_settings(self) -> LmEvalSettings | None:
        """How a task of the lm-evaluation-harness is asked, where it differs from what the task says."""
        return None

    @property
    @abstractmethod
    def answer_scorer(self) -> Scorer:
        """How answers are scored, which determines the fields that each row needs."""

    def unusable(self, item: Item) -> str:  # noqa: ARG002
        """Why it has no use for a row of its suite, as a phrase about the row; empty if it has."""
        return ""

    @property
    def distances(self) -> DistanceSettings | None:
        """How to measure each query's distance from the training data; None if the measurement does not use it."""
        return None

    def power_facts(self) -> PowerFacts:
        """What a power simulation needs to know; by default that of a drop."""
        return PowerFacts("drop", self.limit, self.limit)

    def decides(self, items: Sequence[Item], tail: TailMap | None) -> BoolArray:  # noqa: ARG002
        """Whether the decision rests on each of ``items``, shape (n,); of the others only a sample is asked."""
        return np.ones(len(items), dtype=np.bool_)

    def items_that_decide(self, items: Sequence[Item], *, trained: bool) -> int:  # noqa: ARG002
        """About how many of ``items`` the decision will rest on. ``trained``: the manifest names training data."""
        return len(items)

    def share_that_decided(self, details: Mapping[str, Any]) -> float | None:  # noqa: ARG002
        """From a report's ``details``, the share of items that the decision rested on; None if it was all of them."""
        return None

    def scored_by(self, item: Item) -> str:
        """The scorer of one item: the measurement's or, if that is ``auto``, the one that fits the row.

        A document of a harness's task has its own.
        """
        if item.request is not None:
            return scorer_of(item.request)
        if self.answer_scorer != "auto":
            return self.answer_scorer
        if item.check is not None:
            return "check"
        return CHOICE if item.choices and item.answer is not None else JUDGE

    @property
    def answer_counts(self) -> tuple[int, int]:
        """How many answers to a free-form item are averaged: of the base, and of the candidate."""
        return 1, 1

    def flip_scores(self, pairs: Sequence[Pair], scored: PairedScores) -> tuple[FloatArray, FloatArray]:  # noqa: ARG002
        """For either model a score in [0, 1] per item, shape (n,), whose fall is what a reader should see as a loss."""
        return scored.base, scored.candidate

    def answer_text(self, item: Item, answers: Sequence[Answer]) -> str:  # noqa: ARG002
        """What a reader should see as the answer, where the first one is not it; empty otherwise."""
        return ""

    def averages(self, items: Iterable[Item]) -> bool:
        """Whether several answers to any of ``items`` are averaged."""
        return self.answer_counts != (1, 1) and any(self.asks_text(item) for item in items)

    def asks_text(self, item: Item) -> bool:
        """Whether ``item`` is answered with a text, and not by the probabilities of options."""
        return not facts_of(self.scored_by(item)).options

    def scored_part(self, pair: Pair) -> Pair:
        """The answers that :meth:`scored_by` scores; an item's score is the mean over them."""
        return pair

    def grader(self, items: Iterable[Item]) -> str:
        """What gives one of ``items`` scores between 0 and 1: a scorer, or a task's metric; empty if nothing does."""
        graded = (item for item in items if gives_grades(self.scored_by(item), item))
        first = next(graded, None)
        return "" if first is None else self.scored_by(first) if first.request is None else first.request.metric

    def judges(self, items: Iterable[Item]) -> bool:
        """Whether a judge must grade any of ``items``."""
        return any(self.scored_by(item) in JUDGED for item in items)

    def plan(self, item: Item, side: Side = "base") -> tuple[Question, ...]:  # noqa: ARG002
        """The questions about one item for the base or the candidate; both are asked the same ones.

        Where several answers are averaged, one of the two models may be asked only the first ones.
        """
        if item.request is not None:
            return (task_question(self.name, item, item.request),)
        if self.scored_by(item) == CHOICE:
            return (Question(self.name, item.id, choice_messages(item), options=letters_for(item)),)
        return (Question(self.name, item.id, item.messages, max_tokens=self.max_tokens, tools=item.tools),)


def failures(pair: Pair) -> list[str]:
    """Why answers to one item are unusable; empty if all are usable."""
    return [reason for answer in (*pair.base, *pair.candidate) if (reason := failure_of(answer)) is not None]


def too_many_failed(evidence: Evidence) -> str | None:
    """Why an estimate is invalid because more than 1 % of the items failed, or None."""
    failed = [reasons[0] for pair in evidence.pairs if (reasons := failures(pair))]
    if len(failed) <= 0.01 * len(evidence.pairs):
        return None
    return f"{len(failed)} of {len(evidence.pairs)} items failed; the first failure: {failed[0]}"


def too_many_unknown(scored: PairedScores) -> str | None:
    """Why an estimate is invalid because more than 1 % of its scores are unknown, or None.

    An unknown score enters the estimate as the middle of what it could be. With ``rule: point``, which ignores the
    interval, many unknown scores could pass if there were no such bound.
    """
    unknown = [item.id for item, is_known in zip(scored.items, scored.is_exact, strict=True) if not is_known]
    if len(unknown) <= 0.01 * len(scored.items):
        return None
    return (
        f"{len(unknown)} of {len(scored.items)} items have no score: no answer, no readable grade, or a rule that "
        f"could not decide; the first is {unknown[0]!r}"
    )


def judge_unfit(judge_validation: JudgeValidation | None) -> str | None:
    """Why a judged estimate is invalid; None if the judge is fit or nothing was judged."""
    return (
        f"judge unfit: {judge_validation.reason}" if judge_validation is not None and not judge_validation.fit else None
    )


def first_reason(*reasons: str | None) -> str | None:
    """The first of ``reasons`` that is not None or empty; None if there is none."""
    return next((reason for reason in reasons if reason), None)


def why_invalid(evidence: Evidence, scored: PairedScores) -> str | None:
    """Why an estimate from ``scored`` is invalid: the judge, failed answers or unknown scores; None if it is not."""
    return first_reason(judge_unfit(evidence.judge_validation), too_many_failed(evidence), too_many_unknown(scored))
