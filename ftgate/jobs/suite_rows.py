"""Whether the rows of a suite are what its measurement can use."""

from __future__ import annotations

from ftgate.domain import Suite
from ftgate.errors import DatasetError
from ftgate.measurements.base import Measurement
from ftgate.measurements.gated_slices import gated
from ftgate.scoring.mathematics import is_expression
from ftgate.scoring.task_requests import HARNESS, scorer_of


def require_rows(suite: Suite, measurement: Measurement) -> None:
    """Raise DatasetError for documents of a task, slices without rows, and what a measurement has no use for."""
    _refuse_documents(suite, measurement)
    refuse_unusable(suite, measurement)
    require_tags(suite, measurement)
    if measurement.answer_scorer == "math":
        _require_expressions(suite, measurement)


def _refuse_documents(suite: Suite, measurement: Measurement) -> None:
    """Refuse documents of a harness's task in a suite file where the measurement has no use for them, or no score."""
    documents = [(item, item.request) for item in suite.items if item.request is not None]
    if measurement.takes_tasks:  # continuations are compared without the task
        documents = [(item, request) for item, request in documents if scorer_of(request) == HARNESS]
    if not documents:
        return
    item, request = documents[0]
    counted = f"{len(documents)} of {len(suite.items)} rows (first: line {item.line}) are documents of lm-eval"
    if not measurement.takes_tasks:
        raise DatasetError(
            f"{measurement.dataset}: {counted}, which {measurement.name} does not take",
            hint="give it rows with prompt, choices and answer, without the field lm_eval",
        )
    raise DatasetError(
        f"{measurement.dataset}: {counted} whose answers only the task {request.task} can score",
        hint=f"name the task instead of its rows: dataset: lm-eval:{request.task}, or its YAML file",
    )


def refuse_unusable(suite: Suite, measurement: Measurement) -> None:
    """Refuse rows that the measurement has no use for."""
    unusable = [(item, reason) for item in suite.items if (reason := measurement.unusable(item))]
    if unusable:
        item, reason = unusable[0]
        raise DatasetError(
            f"{measurement.dataset}: line {item.line}: {item.id!r} {reason} "
            f"({len(unusable)} of {len(suite.items)} rows)",
            hint=f"docs/suites.md says what rows measurements.{measurement.name} takes",
        )


def require_tags(suite: Suite, measurement: Measurement) -> None:
    """Raise DatasetError if a slice that gates has no rows."""
    tags = {tag for item in suite.items for tag in item.tags}
    if missing := gated(measurement).keys() - tags:
        raise DatasetError(
            f"measurements.{measurement.name}.gate_slices.{min(missing)}: no row of {measurement.dataset} has this tag",
            hint=f"its tags are {', '.join(sorted(tags)[:20])}" if tags else "add tags to the rows",
        )


def _require_expressions(suite: Suite, measurement: Measurement) -> None:
    unread = [item for item in suite.items if not is_expression(item.answer or "")]
    if unread:
        first = ", ".join(f"line {item.line} ({item.answer!r:.60})" for item in unread[:3])
        raise DatasetError(
            f"{measurement.dataset}: {len(unread)} of {len(suite.items)} references are no mathematical expression: "
            f"{first}",
            hint="write the bare result in LaTeX, such as \\frac{3}{4} or \\text{even}, or choose another scorer",
        )
