"""Tools: does the candidate still call tools, and write structured output, as well as the base?"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from ftgate.config.lm_eval import LmEvalSettings
from ftgate.domain import Estimate, Item
from ftgate.measurements.base import Evidence, Scorer
from ftgate.measurements.estimate import ABSOLUTE, flip_details, judge_details
from ftgate.measurements.relative_drop import RelativeDrop
from ftgate.measurements.slices import tag_slices, worst_slice
from ftgate.scoring.scores import PairedScores

NO_RIGHT_CALLS = "requests right that want a tool call"
"""In the note on a base that makes no right call, so that none can be lost."""


class Tools(RelativeDrop):
    """Relative drop in the share of requests that are met by the right tool calls, or by JSON of the right form."""

    kind: ClassVar[str] = "tools"
    title: ClassVar[str] = "Tool calls"
    question: ClassVar[str] = "does it call tools worse?"
    subject: ClassVar[str] = "tool calls"
    remedy: ClassVar[str] = "lost tool calls"
    takes_tasks: ClassVar[bool] = False

    dataset: str = Field(default="builtin:tools-120", min_length=1)
    """The suite: rows with `tools` and a `tool_call` check, or with a `json_schema` check for structured output."""
    lm_eval: LmEvalSettings | None = None
    """Not for tools: a task of the lm-evaluation-harness asks for no tool calls."""
    scorer: Scorer = "auto"
    """How answers become scores: by each row's check."""
    max_tokens: int = Field(default=256, ge=1, le=32_768)
    """Longest answer, in tokens."""

    @field_validator("scorer")
    @classmethod
    def _no_choices(cls, value: Scorer) -> Scorer:
        if value == "choice":
            raise ValueError("options are no tool calls; score by each row's check (scorer: auto)")
        return value

    def unusable(self, item: Item) -> str:
        """That it asks neither for tool calls (or for none, of the tools that it has) nor for JSON of a given form."""
        check = item.check or {}
        if "json_schema" in check or (item.tools and "tool_call" in check):
            return ""
        needs = "needs tools and a tool_call check ([] where no call is wanted), or a json_schema check"
        return f"{needs}; ask other rows in a section of kind forgetting"

    @property
    def answer_scorer(self) -> Scorer:
        """The policy's scorer."""
        return self.scorer

    def with_details(self, estimate: Estimate, evidence: Evidence, rng: np.random.Generator) -> Estimate:
        """The estimate with a slice per kind of task, flips, and a note where the base calls no tools."""
        slices = tag_slices(evidence.scored, evidence, self.block_drop, rng, absolute=estimate.unit == ABSOLUTE)
        notes = [note] if (note := _without_calls(evidence.scored)) else []
        details = {**flip_details(evidence.scored), **judge_details(evidence), **worst_slice(slices), "notes": notes}
        return replace(estimate, slices=slices, details=details)


def _without_calls(scored: PairedScores) -> str:
    """That the base makes no right call where one is wanted, so that no loss of calls can show; empty if it does."""
    wanted = [i for i, item in enumerate(scored.items) if (item.check or {}).get("tool_call")]
    if not wanted or scored.base_high[wanted].any():
        return ""
    return (
        f"the base gets none of the {len(wanted)} {NO_RIGHT_CALLS}: only what needs no call is compared (does its chat "
        "template show tools?)"
    )
