"""Shapes of benchmarks: questions with an answer, a choice, or a rule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ftgate.datasets.problems import BadRowError, quoted
from ftgate.datasets.references import ChoicePlace, lettered
from ftgate.datasets.shapes.ifeval import rule_of
from ftgate.datasets.shapes.shape import (
    CONTEXTS,
    LEFT_OUT,
    Fields,
    Shape,
    absent,
    in_context,
    labelled,
)
from ftgate.scoring.numbers import Number, read_two_ways, wanted_number

_YES, _NO = (True, 1, "true", "True", "1"), (False, 0, "false", "False", "0")
_FINAL = "####"
_GROUP = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def _options(value: Any) -> tuple[list[Any], list[Any]]:
    """Labels and texts of options: ``{"label": [...], "text": [...]}``, a list of pairs, or an object by label."""
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        return list(value.get("label") or range(len(value["text"]))), value["text"]
    if isinstance(value, Mapping):
        return list(value), list(value.values())
    if isinstance(value, list) and all(isinstance(option, Mapping) for option in value):
        return [option.get("label") for option in value], [option.get("text") for option in value]
    return [], value if isinstance(value, list) else []


def _right(key: Any, labels: Sequence[Any], name: str) -> ChoicePlace | BadRowError | None:
    """The place of the label ``key``; None without a key, and what is wrong if there is no such label."""
    if absent(key):
        return None
    try:
        return ChoicePlace([str(label) for label in labels].index(str(key)))
    except ValueError:
        return BadRowError(
            f"{name} {quoted(key)} is none of the labels {quoted(list(labels))}", "write the label of the right choice"
        )


def _arc_parts(fields: Fields) -> tuple[Any, Any]:
    """The question and the options."""
    question = fields.get("question", fields.get("question_stem"))
    if isinstance(question, Mapping):
        return question.get("stem"), question.get("choices")
    return question, fields.get("choices")


def _is_arc(fields: Fields) -> bool:
    question, options = _arc_parts(fields)
    return "answerKey" in fields and not absent(question) and bool(_options(options)[0])


def _arc(fields: Fields) -> dict[str, Any]:
    question, options = _arc_parts(fields)
    labels, texts = _options(options)
    return {
        "prompt": question,
        "choices": texts,
        "answer": _right(fields.get("answerKey"), labels, "answerKey"),
    }


def _boolq(fields: Fields) -> dict[str, Any]:
    value = fields.get("answer", fields.get("label"))
    answer = "yes" if value in _YES else "no" if value in _NO else None
    parts = (fields["passage"], fields["question"])
    text = "\n\n".join(parts) if all(isinstance(part, str) for part in parts) else fields["question"]
    return {
        "prompt": f"{text}?" if not str(text).rstrip().endswith("?") else text,
        "choices": ["no", "yes"],
        "answer": answer,
    }


def _squad(fields: Fields) -> dict[str, Any]:
    answers = fields["answers"]
    texts = answers.get("text") if isinstance(answers, Mapping) else [entry.get("text") for entry in answers]
    row = _read_in(fields["context"], fields["question"], texts)
    if fields.get("is_impossible") is True or texts == []:
        row[LEFT_OUT] = "the context does not answer the question, and no answer can be compared with that"
    return row


def _is_squad(fields: Fields) -> bool:
    answers = fields["answers"]
    if isinstance(answers, Mapping):
        return "text" in answers
    return isinstance(answers, list) and all(isinstance(entry, Mapping) and "text" in entry for entry in answers)


def _drop(fields: Fields) -> dict[str, Any]:
    spans = fields["answers_spans"]
    return _read_in(fields["passage"], fields["question"], spans.get("spans"))


def _read_in(context: Any, question: Any, answers: Any) -> dict[str, Any]:
    """A question about a text, with the answers that annotators gave: any of them may be contained."""
    texts = [text for text in answers if isinstance(text, str)] if isinstance(answers, list) else []
    several = list(dict.fromkeys(texts))
    prompt = f"{context}\n\n{question}" if isinstance(context, str) and isinstance(question, str) else question
    return {
        "prompt": prompt,
        "answer": several[0] if several else None,
        "check": {"contains": several} if len(several) > 1 else None,
    }


def _winogrande(fields: Fields) -> dict[str, Any]:
    answer = str(fields["answer"]).strip()
    return {
        "prompt": fields["sentence"],
        "choices": [fields["option1"], fields["option2"]],
        "answer": ChoicePlace(int(answer) - 1) if answer else None,
    }


def _is_boolq(fields: Fields) -> bool:
    value = fields.get("answer", fields.get("label"))
    return isinstance(value, bool) or value in (*_YES, *_NO, -1)


def _hellaswag(fields: Fields) -> dict[str, Any]:
    label = fields.get("label")
    place = int(label) if isinstance(label, str) and label.strip().isdecimal() else label
    return {
        "prompt": fields["ctx"],
        "choices": fields["endings"],
        "answer": None if absent(place) else place,
        "cluster": None if absent(fields.get("source_id")) else fields["source_id"],
    }


_ANSWERS = ("answer", "label", "answer_index", "correct")


def _answer(fields: Fields) -> Any:
    return next((fields[name] for name in _ANSWERS if not absent(fields.get(name))), None)


def _mmlu(fields: Fields) -> dict[str, Any]:
    return {
        **in_context(fields["question"], fields),
        "choices": fields["choices"],
        "answer": lettered(_answer(fields), fields["choices"]),
        "tags": labelled(fields.get("subject")),
    }


def _mmlu_pro(fields: Fields) -> dict[str, Any]:
    labels, texts = _options(fields["options"])
    place, letter, answer = fields.get("answer_index"), fields.get("answer_idx"), _answer(fields)
    if isinstance(place, int):
        answer = place
    elif not absent(letter):
        answer = _right(letter, labels, "answer_idx") if labels else lettered(letter, texts)
    elif answer in labels and answer not in texts:
        answer = _right(answer, labels, "answer")
    else:
        answer = lettered(answer, texts)
    name = {} if absent(fields.get("question_id")) else {"id": fields["question_id"]}
    return {
        **in_context(fields["question"], fields),
        "choices": texts,
        "answer": answer,
        "tags": labelled(fields.get("category")),
        **name,
    }


def _gsm8k(fields: Fields) -> dict[str, Any]:
    final = str(fields["answer"]).rpartition(_FINAL)[2].strip()
    number = wanted_number(final)
    if number is None or _FINAL not in str(fields["answer"]):
        fault = BadRowError(
            f"the answer ends with no number after {_FINAL}: {quoted(str(fields['answer'])[-40:])}",
            f"end it with a line such as {_FINAL} 42",
        )
        return {"prompt": fields["question"], "answer": fault}
    return {
        "prompt": fields["question"],
        "answer": _GROUP.sub("", final),
        "check": {"numeric": _with_unit(final, number)},
    }


def _with_unit(final: str, number: Number) -> float | str:
    """A number for a check, as text where it has a unit that says which number an answer may give instead."""
    return number.values[0] if number.unit == 1 or read_two_ways(final) is not None else final


def _ifeval(fields: Fields) -> dict[str, Any]:
    check, inexpressible = rule_of(fields["instruction_id_list"], fields.get("kwargs"))
    row = {"prompt": fields["prompt"], "check": check, **({} if absent(fields.get("key")) else {"id": fields["key"]})}
    if inexpressible:
        row[LEFT_OUT] = f"no check of ftgate can express {', '.join(inexpressible)}"
    return row


WINOGRANDE = Shape(
    "WinoGrande rows",
    ("sentence", "option1", "option2"),
    _winogrande,
    "prompt `sentence`, choices `option1` and `option2`, answer: 1 or 2, as text",
    ("answer",),
    lambda fields: isinstance(fields.get("answer"), str) and fields["answer"].strip() in ("", "1", "2"),
    "the answer is neither '1' nor '2'",
)
"""Told from other rows with a column for each option by an answer that is counted from 1."""

BENCHMARKS = (
    Shape(
        "IFEval rows",
        ("prompt", "instruction_id_list"),
        _ifeval,
        "prompt `prompt`, id `key`, check: the instructions; rows with one that no check covers are left out and named",
        ("kwargs", "key"),
    ),
    Shape(
        "ARC rows",
        (),
        _arc,
        "prompt `question`, choices `choices.text`, answer: the one labelled `answerKey`",
        ("answerKey", "question", "question_stem", "choices", "question_concept"),
        _is_arc,
        "no question with labelled choices",
    ),
    Shape(
        "BoolQ rows",
        ("question", "passage"),
        _boolq,
        "prompt `passage` and `question`, choices no and yes",
        ("answer", "label", "title"),
        _is_boolq,
    ),
    Shape(
        "SQuAD rows",
        ("question", "context", "answers"),
        _squad,
        "prompt `context` and `question`, answer: the first of `answers.text`; of several any may be contained; "
        "questions without an answer are left out and named",
        ("title", "is_impossible", "plausible_answers"),
        _is_squad,
    ),
    Shape(
        "DROP rows",
        ("question", "passage", "answers_spans"),
        _drop,
        "prompt `passage` and `question`, answer: the first of `answers_spans.spans`; of several any may be contained",
        ("section_id", "query_id"),
        lambda fields: isinstance(fields["answers_spans"], Mapping),
    ),
    Shape(
        "HellaSwag rows",
        ("ctx", "endings"),
        _hellaswag,
        "prompt `ctx`, choices `endings`, answer: the place `label`; cluster `source_id`",
        ("label", "ind", "ctx_a", "ctx_b", "activity_label", "source_id", "split", "split_type"),
    ),
    Shape(
        "MMLU rows",
        ("question", "choices"),
        _mmlu,
        "prompt `question`, choices `choices`, answer: the place `answer` from 0, or its letter; tag `subject`",
        (*_ANSWERS, "subject", *CONTEXTS),
        whole=True,
    ),
    Shape(
        "MMLU-Pro rows",
        ("question", "options"),
        _mmlu_pro,
        "prompt `question`, choices `options`, answer: `answer_index` or the letter `answer`; tag `category`",
        (*_ANSWERS, "answer_idx", "category", "question_id", "cot_content", "src", *CONTEXTS),
        whole=True,
    ),
    Shape(
        "GSM8K rows",
        ("question", "answer"),
        _gsm8k,
        "prompt `question`, answer and numeric check: the number after `####`",
        marks=lambda fields: isinstance(fields["answer"], str) and _FINAL in fields["answer"],
    ),
)
"""Shapes of benchmarks that no other shape can be taken for."""
