"""Which controls, as report.json has them, take a decision away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftgate.report.schema import mapping

SMALLEST_EFFECT = 1e-5
"""The weights of a candidate move a log-probability by more than this, or they do nothing."""


ALWAYS_MET = (
    "Limits were fixed before the run",
    "Base and candidate answered the same questions",
    "The candidate's weights took effect",
    "The incumbent's weights took effect",
    "The candidate was compared with",
)
"""How the lines of the checklist begin that a run meets, or does not check: otherwise there is no report."""
FIT_LINE = "The judge passed its validation on {}"
"""The line of the checklist on the judge of one measurement."""


def caught(status: str) -> bool | None:
    """Whether the positive control held, by what a corrupted base came to; None where that says nothing."""
    return {"block": True, "pass": False, "warn": False}.get(status)


def overruling(name: str, controls: Mapping[str, Any], *, judged: bool) -> list[Mapping[str, Any]]:
    """The failed controls with which nothing is decided on the measurement ``name``, the gravest first.

    They are the adapter of zeros, the A/A test, a model that changed at its endpoint and, where a judge graded
    (``judged``), a judge that did.
    """
    of_measurement = [mapping(mapping(controls.get(control)).get(name)) for control in ("zero_delta", "a_a")]
    of_run = [mapping(controls.get(control)) for control in ("served_models", *(["judge_model"] if judged else []))]
    return [outcome for outcome in (*of_measurement, *of_run) if outcome.get("ok") is False]


def passes_corrupted(name: str, controls: Mapping[str, Any]) -> bool:
    """Whether the positive control failed: a base with corrupted answers passed ``name``, so that no pass counts."""
    return mapping(mapping(controls.get("positive_control")).get(name)).get("ok") is False


def takes_effect(effect: Mapping[str, Any]) -> bool:
    """Whether the weights move log-probabilities by more than the engine's noise. NaN shows no effect either."""
    return bool(effect["largest_change"] > max(SMALLEST_EFFECT, 2 * effect["noise"]))
