"""Questions with a column for each option: ``A`` to ``D``, ``option_a``, ``opa``, ``answerA``, ``sol1``."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from ftgate.datasets.problems import BadRowError, quoted
from ftgate.datasets.references import named
from ftgate.datasets.shapes.shape import CONTEXTS, Fields, Shape, absent, in_context, labelled

_OPTION = re.compile(
    r"((?:option|opt|op|choice|answer)[ _]?)?([A-J]|[a-j])|"
    r"((?:option|opt|choice|sol|(?:mc_)?answer|ans|ending)[ _]?)([0-9])"
)
_QUESTIONS = ("question", "prompt", "sentence", "goal")
_ANSWERS = ("answer", "label", "cop", "answerKey", "answer_key", "correct_answer", "correct", "correct_answer_num")
_SUBJECTS = ("subject", "category", "subject_name")


def _is_option(name: str) -> bool:
    return _OPTION.fullmatch(name) is not None


def _options(fields: Fields) -> dict[str, Any]:
    """The options by what tells their columns apart, a letter or a digit; empty without two of one kind."""
    return {label: fields[name] for label, name in option_columns(fields).items()}


def option_columns(fields: Fields) -> dict[str, str]:
    """The columns of options by what tells them apart, a letter or a digit; empty without two of one kind."""
    kinds: dict[tuple[str, bool, bool], dict[str, str]] = {}
    for name, value in fields.items():
        if (match := _OPTION.fullmatch(name)) and not absent(value):
            label = match[2] or match[4]
            kinds.setdefault((match[1] or match[3] or "", label.isdigit(), label.isupper()), {})[label] = name
    for (name, *_), options in kinds.items():
        first = "Aa0" if name.startswith(("ans", "ending")) else "Aa01"  # answer1 and answer2 may both be right
        labels = sorted(options)
        if len(labels) > 1 and labels[0] in first and ord(labels[-1]) - ord(labels[0]) == len(labels) - 1:
            return {label: options[label] for label in labels}
    return {}


def _first(fields: Fields, names: tuple[str, ...]) -> Any:
    return next((fields[name] for name in names if not absent(fields.get(name))), None)


def _is_optioned(fields: Fields) -> bool:
    has_list = any(not absent(fields.get(name)) for name in ("choices", "options", "endings"))
    return not has_list and isinstance(_first(fields, _QUESTIONS), str) and bool(_options(fields))


def _right(answer: Any, options: dict[str, Any], columns: Collection[str]) -> Any:
    """The place of the option whose label ``answer`` is, or ``answer`` itself. The options are in ``columns``."""
    labels, texts = list(options), list(options.values())
    written = answer.strip() if isinstance(answer, str) else ""
    if not written:
        return answer
    if written.isdigit() and labels[0] == "1":
        if answer in texts:
            return answer
        return BadRowError(
            f"the answer {quoted(written)} can be the option numbered so, or a place counted from 0",
            f"map them: columns: {{prompt: FIELD, choices: [{', '.join(columns)}], "
            'answer: "{{ FIELD | int - 1 }}"} where it is counted from 1, without - 1 where it is from 0; a prompt of '
            'several fields is "{{ FIELD }} {{ FIELD }}"',
        )
    if (column := _OPTION.fullmatch(written)) and (column[1] or column[3]):
        written = column[2] or column[4]
    capitals = [label.upper() for label in labels]
    if written.upper() not in capitals:
        return answer
    return named(answer, capitals.index(written.upper()), texts)


def _optioned(fields: Fields) -> dict[str, Any]:
    options = _options(fields)
    return {
        **in_context(_first(fields, _QUESTIONS), fields),
        "choices": list(options.values()),
        "answer": _right(_first(fields, _ANSWERS), options, option_columns(fields).values()),
        "tags": fields.get("tags") or labelled(_first(fields, _SUBJECTS)),
    }


OPTIONS = Shape(
    "rows with a column for each option",
    (),
    _optioned,
    "prompt `question` (or `prompt`, `sentence`, `goal`), choices: the columns, answer: a letter, a text or a place",
    ("question", "A", "B", "option_a", "answer", "label", *_QUESTIONS[1:], *_ANSWERS[2:], *_SUBJECTS, *CONTEXTS),
    _is_optioned,
    "no question with two options or more",
    reads=_is_option,
    whole=True,
)
