"""Tools: the relative drop in right calls, by kind of task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from support.evidence import decided, described, evidence_of, items, right_or_wrong

from ftgate.config.policy import Policy
from ftgate.domain import Item, Message, Status
from ftgate.errors import DatasetError
from ftgate.jobs.prepare import local_resolver, suite_of
from ftgate.measurements.gated_slices import WAITS
from ftgate.measurements.tools import Tools
from ftgate.scoring.scores import PairedScores

TOOLS = Tools()


@pytest.mark.parametrize(
    ("cells", "status"),
    [
        ((100, 0, 0, 20), Status.PASS),
        ((98, 1, 5, 16), Status.WARN),
        ((90, 0, 10, 20), Status.INCONCLUSIVE),
        ((40, 0, 60, 20), Status.BLOCK),
        ((0, 0, 0, 120), Status.NOT_APPLICABLE),
    ],
)
def test_what_passes_blocks_and_is_held(cells: tuple[int, int, int, int], status: Status) -> None:
    scored = PairedScores.exact(items(sum(cells)), *right_or_wrong(*cells), binary=True)
    assert decided(TOOLS, evidence_of(scored)).status is status


def test_each_kind_of_task_is_a_slice() -> None:
    tags = [("choose",)] * 60 + [("none",)] * 60
    scored = PairedScores.exact(items(120, tags=tags), *right_or_wrong(60, 0, 60, 0), binary=True)
    estimate = described(TOOLS, evidence_of(scored))
    assert {part.name: part.change for part in estimate.slices} == {"choose": 0.0, "none": 1.0}
    assert estimate.details["worse"] == 60


def test_a_slice_may_gate() -> None:
    """All of 30 requests that want no call are lost: of 400 requests 7.5 %, which alone would be a warning."""
    tags = [("none",)] * 30 + [("choose",)] * 370
    scored = PairedScores.exact(items(400, tags=tags), np.ones(400), np.array([0.0] * 30 + [1.0] * 370), binary=True)
    gating = Tools.model_validate({"gate_slices": {"none": {"block_drop": 0.2}}})
    assert decided(TOOLS, evidence_of(scored)).status is Status.WARN
    finding = decided(gating, evidence_of(scored))
    assert finding.status is Status.BLOCK
    assert "slice none: lost 100.0 % of what the base had" in finding.reason
    early = replace(evidence_of(PairedScores.exact(items(400), np.ones(400), np.ones(400), binary=True)), early=True)
    assert gating.compare(early, np.random.default_rng(0)).cannot_pass == (WAITS,)
    assert TOOLS.compare(early, np.random.default_rng(0)).cannot_pass == ()


def test_a_base_that_calls_no_tools_is_noted() -> None:
    """It can still pass: what needs no call is kept. But nobody should read that as tool calls that were kept."""
    checks: list[dict[str, object]] = [{"tool_call": [{"name": "f"}]}] * 60 + [{"tool_call": []}] * 60
    rows = tuple(replace(item, check=check) for item, check in zip(items(120), checks, strict=True))
    none, one = np.array([0.0] * 60 + [1.0] * 60), np.array([1.0] + [0.0] * 59 + [1.0] * 60)
    for base, notes in ((none, 1), (one, 0)):
        estimate = described(TOOLS, evidence_of(PairedScores.exact(rows, base, base, binary=True)))
        assert len(estimate.details["notes"]) == notes
    noted = described(TOOLS, evidence_of(PairedScores.exact(rows, none, none, binary=True))).details["notes"][0]
    assert noted.startswith("the base gets none of the 60 requests right that want a tool call")


@pytest.mark.parametrize("check", [{"tool_call": []}, {"json_schema": {"type": "object"}}])
def test_rows_are_scored_by_their_check(check: Mapping[str, object]) -> None:
    assert TOOLS.scored_by(Item("x", (Message("user", "a"),), check=check)) == "check"


def test_the_warning_comes_before_the_block() -> None:
    with pytest.raises(ValidationError, match=r"warn_drop 0\.2 is above block_drop 0\.1"):
        Tools.model_validate({"warn_drop": 0.2})


WEATHER = {"type": "function", "function": {"name": "weather"}}


@pytest.mark.parametrize(
    ("check", "tools", "usable"),
    [
        ({"tool_call": {"name": "weather"}}, (WEATHER,), True),
        ({"tool_call": []}, (WEATHER,), True),
        ({"json_schema": {"type": "object"}}, (), True),
        ({"tool_call": []}, (), False),
        ({"exact": "4"}, (WEATHER,), False),
        (None, (), False),
    ],
)
def test_rows_that_ask_for_neither_calls_nor_json_are_no_use(
    check: Mapping[str, object] | None, tools: tuple[Mapping[str, object], ...], usable: bool
) -> None:
    reason = TOOLS.unusable(Item("i", (Message("user", "q"),), answer="4", check=check, tools=tools))
    assert (reason == "") is usable
    assert usable or "needs tools and a tool_call check" in reason


def test_a_suite_of_other_rows_is_refused_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "general.jsonl").write_text('{"id": "a", "prompt": "2 + 2?", "answer": "4"}\n', encoding="utf-8")
    policy = Policy.model_validate({"version": 1, "measurements": {"tools": {}}})
    with pytest.raises(DatasetError, match=r"general\.jsonl: line 1: 'a' needs tools and a tool_call check"):
        suite_of(Tools(dataset="general.jsonl"), local_resolver(policy, tmp_path))


def test_options_are_no_tool_calls() -> None:
    with pytest.raises(ValidationError, match="options are no tool calls"):
        Tools(scorer="choice")
