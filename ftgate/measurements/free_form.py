"""Measurements of free-form answers, which may average several sampled answers to an item."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from ftgate.config.lm_eval import LmEvalSettings, is_task
from ftgate.config.strict import Section
from ftgate.domain import Item, Question, Side
from ftgate.measurements.base import Measurement

MOST_ANSWERS = 64
Count = Annotated[int, Field(ge=1, le=MOST_ANSWERS)]


class AnswerCounts(Section):
    """How many answers to an item each model gives."""

    base: Count = 1
    """Answers of the base. A later run with the same base finds them with `--reuse`, so more of them cost little."""
    candidate: Count = 1
    """Answers of the candidate."""


class FreeFormMeasurement(Measurement):
    """A measurement of free-form answers; the score of an item is the mean over its sampled answers."""

    takes_tasks: ClassVar[bool] = True

    dataset: str = Field(min_length=1)
    """The suite: a file relative to the policy, a reference such as `hf://datasets/…`, `builtin:general-200`, or a task
    of the lm-evaluation-harness, `lm-eval:TASK` or a YAML file."""
    lm_eval: LmEvalSettings | None = None
    """How the task is asked, where `dataset` is one of the lm-evaluation-harness (`lm-eval:TASK`, or a YAML file)."""
    answers: Count | AnswerCounts = 1
    """Answers to each free-form item, by both models or as `{base: 8, candidate: 2}`. An item's score is the mean over
    them, so fewer items decide; more than 1 needs a `temperature`. Rows with choices are asked once."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Sampling temperature of the answers to free-form items; 0 is greedy decoding. Sampling draws from the whole
    distribution, with a seed for each item and answer."""

    @model_validator(mode="after")
    def _task_of_harness(self) -> Self:
        if not is_task(self.dataset):
            if self.lm_eval is not None:
                raise ValueError(f"lm_eval is for a task of the lm-evaluation-harness; dataset is {self.dataset!r}")
            return self
        own = {"scorer", "columns", "max_tokens"} & self.model_fields_set
        if own:
            raise ValueError(f"{self.dataset} brings its own prompts and metric: remove {', '.join(sorted(own))}")
        return self

    @property
    def task_settings(self) -> LmEvalSettings | None:
        """As the section `lm_eval` says."""
        return self.lm_eval

    @model_validator(mode="after")
    def _sample_what_varies(self) -> Self:
        if self.answer_scorer == "choice" and (self.answer_counts != (1, 1) or self.temperature):
            raise ValueError(
                "answers and temperature are not for scorer: choice, which reads probabilities instead of sampling: "
                "remove them, or choose a scorer of free-form answers"
            )
        if self.answer_counts != (1, 1) and not self.temperature:
            raise ValueError(
                f"answers: {max(self.answer_counts)} at temperature 0 would be the same answer over and over: set "
                "temperature, such as 0.7 or what the model is served with, or answers: 1"
            )
        return self

    @property
    def answer_counts(self) -> tuple[int, int]:
        """How many answers to a free-form item are averaged: of the base, and of the candidate."""
        counts = self.answers
        return (counts, counts) if isinstance(counts, int) else (counts.base, counts.candidate)

    def sampling_details(self) -> dict[str, Any]:
        """How many answers to an item were sampled, and at which temperature; empty for greedy answers."""
        base, candidate = self.answer_counts
        return (
            {"answers": {"base": base, "candidate": candidate, "temperature": self.temperature}}
            if self.temperature
            else {}
        )

    def plan(self, item: Item, side: Side = "base") -> tuple[Question, ...]:
        """One question or, with a temperature, one for each answer: they differ in their seeds only.

        Both models are asked with the same seeds, which makes their answers more alike and their difference less noisy.
        """
        (question,) = super().plan(item, side)
        if question.options or not self.temperature:
            return (question,)
        count = self.answer_counts[0 if side == "base" else 1]
        sampled = replace(question, temperature=self.temperature)
        return tuple(replace(sampled, part=f"answer {number}") for number in range(1, count + 1))
