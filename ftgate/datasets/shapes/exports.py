"""Shapes of exports: what tools that observe and evaluate models write of their data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftgate.datasets.problems import BadRowError, kind_of
from ftgate.datasets.shapes.shape import Fields, Shape, asked, reply_text
from ftgate.datasets.shapes.turns import ends_with_reply, is_conversation
from ftgate.datasets.tools import decoded_json

_LANGFUSE = (
    *("datasetId", "datasetName", "traceId", "sourceTraceId", "sessionId", "userId", "observations", "environment"),
    *("dataset_id", "trace_id", "session_id", "bookmarked", "projectId", "observationId", "traceName"),
)
"""Fields by which an export of Langfuse is told from other rows with an input and an output."""


def _is_langfuse(fields: Fields) -> bool:
    if isinstance(fields["input"], Mapping) and is_conversation(fields["input"].get("messages")):
        return True
    return any(name in fields for name in ("expectedOutput", "expected_output", *_LANGFUSE))


def _parsed(value: Any) -> Any:
    """A value of an export: its tables hold JSON, of texts too."""
    return decoded_json(value, ("{", "[", '"'))


def _langfuse(fields: Fields) -> dict[str, Any]:
    question = _parsed(fields["input"])
    if isinstance(question, Mapping):
        texts = [question[name] for name in ("messages", "prompt", "question", "query", "input") if name in question]
        if not texts:
            raise BadRowError(
                "input is an object without messages, prompt, question, query or input",
                'name the part that is asked: columns: {prompt: "{{ input.NAME }}"}',
            )
        question = texts[0]
    if ends_with_reply(question):
        question = question[:-1]
    answer = reply_text(_parsed(fields.get("expectedOutput", fields.get("expected_output"))))
    if isinstance(answer, Mapping) and len(answer) == 1:
        (answer,) = answer.values()
    if isinstance(answer, Mapping):
        raise BadRowError(
            f"the expected output is {kind_of(answer)}",
            'name the part that is the reference: columns: {answer: "{{ expectedOutput.NAME }}"}',
        )
    return {**asked(question), "answer": answer}


def _exported(fields: Fields, question: str, reply: str) -> dict[str, Any]:
    """A row of an export that has the names of Langfuse's under others."""
    expected = fields.get(reply)
    if isinstance(expected, Mapping):
        expected = next((expected[name] for name in _REPLY_PARTS if name in expected), expected)
    return _langfuse({"input": _only(fields[question]), "expectedOutput": expected})


def _only(value: Any) -> Any:
    """The one text in an object that holds nothing else."""
    texts = list(value.values()) if isinstance(value, Mapping) else []
    return texts[0] if len(texts) == 1 else value


_REPLY_PARTS = ("answer", "output", "response", "expected", "content", "text")

LANGFUSE = Shape(
    "Langfuse export",
    ("input",),
    _langfuse,
    "prompt or messages `input`, answer `expectedOutput`; `output` is a model's and no reference",
    ("expectedOutput", "expected_output", "output", "metadata", "name", *_LANGFUSE),
    _is_langfuse,
)
"""Told late: its fields are common ones."""

EXPORTS = (
    Shape(
        "Braintrust export",
        ("input", "expected"),
        lambda fields: _exported(fields, "input", "expected"),
        "prompt or messages `input`, answer `expected`; `output` is a model's and no reference",
        ("output", "metadata", "created", "scores", "metrics", "span_id", "root_span_id", "dataset_id", "project_id"),
    ),
    Shape(
        "LangSmith export",
        ("inputs", "outputs"),
        lambda fields: _exported(fields, "inputs", "outputs"),
        "prompt or messages in `inputs`, answer in `outputs`",
        ("metadata", "dataset_id", "created_at", "split", "source_run_id"),
    ),
)
"""Shapes with fields that no other has."""
