"""Shapes of questions with a reference answer, or with the right option apart from the wrong ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ftgate.datasets.problems import BadRowError, quoted
from ftgate.datasets.references import lettered
from ftgate.datasets.shapes.conversations import replied
from ftgate.datasets.shapes.shape import (
    CONTEXTS,
    SYSTEMS,
    Fields,
    Shape,
    absent,
    asked,
    in_context,
    labelled,
    reply_text,
    system_of,
)
from ftgate.datasets.shapes.turns import is_conversation, turns_of
from ftgate.datasets.tools import decoded_json

_REPLIES = (
    *("ground_truth", "answer", "answers", "response", "best_answer", "correct_answer", "possible_answers"),
    *("reference", "reference_answer", "answer_number", "solution"),
)
_LISTS = ("possible_answers", "answers")
"""References that are lists, also as JSON text."""
_WRONG = re.compile(r"(?:distractor|incorrect_answer|wrong_answer)s?_?\d*")


def _either(fields: Fields, name: str) -> dict[str, Any]:
    """An input with a target: one text, or several of which any is right."""
    return {**asked(fields["input"]), **_references(fields[name])}


def _references(target: Any) -> dict[str, Any]:
    """The answer of a row: one text, or several of which any is right, in a list or as TriviaQA's aliases."""
    if isinstance(target, Mapping) and isinstance(target.get("aliases"), list):
        target = [target.get("value"), *target["aliases"]]
    texts = [text for text in target if isinstance(text, str)] if isinstance(target, list) else []
    several = list(dict.fromkeys(text for text in texts if not absent(text)))
    if len(several) > 1:
        return {"answer": several[0], "check": {"contains": several}}
    if target == []:
        return {"answer": None}
    return {"answer": several[0] if several else reply_text(target)}


def _question(fields: Fields) -> dict[str, Any]:
    name = next((name for name in _REPLIES if not absent(fields.get(name))), "")
    answer = decoded_json(fields[name]) if name in _LISTS else fields.get(name)
    asks = in_context(fields["question"], fields)
    return {**asks, "prompt": None, **asked(asks["prompt"], system_of(fields)), **_references(answer)}


def _inspect(fields: Fields) -> dict[str, Any]:
    row, choices = _either(fields, "target"), fields.get("choices")
    if isinstance(choices, list) and choices:
        row |= {"choices": choices, "answer": lettered(row["answer"], choices)}
    return row


def _problem(fields: Fields) -> dict[str, Any]:
    answer = fields.get("answer")
    return {**asked(fields["problem"]), "answer": reply_text(fields.get("solution") if absent(answer) else answer)}


def _wrong_options(fields: Fields) -> list[Any]:
    values = [value for name, value in fields.items() if _WRONG.fullmatch(name) and not absent(value)]
    return [text for value in values for text in (value if isinstance(value, list) else [value])]


def _is_apart(fields: Fields) -> bool:
    return isinstance(fields["correct_answer"], str) and bool(_wrong_options(fields))


def _apart(fields: Fields) -> dict[str, Any]:
    right, wrong = fields["correct_answer"], _wrong_options(fields)
    subject = next((fields[name] for name in _SUBJECTS if not absent(fields.get(name))), None)
    return {
        **in_context(fields["question"], fields),
        "choices": _in_order([right, *wrong]),
        "answer": right,
        "tags": labelled(subject),
    }


def _in_order(options: list[Any]) -> list[Any]:
    """Options by their text: the file has the right one always first, and a model may prefer the first letter."""
    return sorted(options, key=str)


_SUBJECTS = ("subject", "category", "subdomain")


def _truthful(fields: Fields) -> dict[str, Any]:
    options = fields["mc1_targets"] if isinstance(fields["mc1_targets"], Mapping) else {}
    texts, labels = (options.get(name) or [] for name in ("choices", "labels"))
    right = [text for text, label in zip(texts, labels, strict=False) if label == 1]
    answer: Any = right[0] if len(right) == 1 else None
    if len(right) > 1 or len(texts) != len(labels):
        answer = BadRowError(f"mc1_targets has {len(right)} right choices: {quoted(labels)}", "mark one with 1")
    return {"prompt": fields["question"], "choices": _in_order(texts), "answer": answer}


def _verifiable(fields: Fields) -> dict[str, Any]:
    turns = fields.get("prompt") if absent(fields.get("messages")) else fields["messages"]
    row = {"messages": turns_of(turns)} if is_conversation(turns) else asked(turns, system_of(fields))
    return {**row, **_references(decoded_json(fields["ground_truth"]))}


APART = (
    Shape(
        "rows with the right option apart",
        ("question", "correct_answer"),
        _apart,
        "prompt `question`, choices: `correct_answer` and the wrong ones (`distractor1`, `incorrect_answers`, …), "
        "in the order of their texts",
        (*_SUBJECTS, "support", *CONTEXTS),
        _is_apart,
        "no wrong options",
        reads=lambda name: _WRONG.fullmatch(name) is not None,
        whole=True,
    ),
    Shape(
        "TruthfulQA rows",
        ("question", "mc1_targets"),
        _truthful,
        "prompt `question`, choices `mc1_targets.choices` in the order of their texts, answer: the one labelled 1",
        ("mc2_targets",),
        lambda fields: isinstance(fields["mc1_targets"], Mapping),
        "mc1_targets is no object with choices and labels",
        whole=True,
    ),
)
"""Shapes that name the right option before the wrong ones."""


def _paired(prompt: str, reply: str) -> Shape:
    return Shape(
        f"{prompt} and {reply} rows",
        (prompt, reply),
        lambda fields: {**asked(fields[prompt], system_of(fields)), **_references(fields[reply])},
        f"prompt `{prompt}`, answer `{reply}`: of several any may be contained",
        SYSTEMS,
        whole=True,
    )


_PAIRS = (("inputs", "targets"), ("input_text", "output_text"), ("user_input", "reference"))
"""Names that FLAN and its like, tuning of older models of Google, and Ragas have for a prompt and its reply."""

QUESTIONS = (
    Shape(
        "OpenAI evals rows",
        ("input", "ideal"),
        lambda fields: _either(fields, "ideal"),
        "prompt or messages `input`, answer `ideal`; of several ideals any may be contained",
    ),
    Shape(
        "inspect samples",
        ("input", "target"),
        _inspect,
        "prompt or messages `input`, answer `target` (with `choices` its letter); of several any may be contained",
        ("choices", "metadata"),
    ),
    replied("input and output rows", "input", "output"),
    Shape(
        "problem and solution rows",
        ("problem",),
        _problem,
        "prompt `problem`, answer `answer` or else `solution`",
        ("solution", "answer"),
        whole=True,
    ),
    Shape(
        "question and answer rows",
        ("question",),
        _question,
        "prompt `question`, after `context` if there is one; answer `answer`: of several any may be contained",
        (*_REPLIES, *CONTEXTS, *SYSTEMS),
        whole=True,
        one_of=_REPLIES,
    ),
    Shape(
        "rows with a ground truth",
        ("ground_truth",),
        _verifiable,
        "prompt `prompt` or `messages`, answer `ground_truth`: of several any may be contained",
        ("prompt", "messages", *SYSTEMS),
        lambda fields: not (absent(fields.get("prompt")) and absent(fields.get("messages"))),
        "neither prompt nor messages",
    ),
    *(_paired(prompt, reply) for prompt, reply in _PAIRS),
)
"""Shapes of questions with an answer."""
