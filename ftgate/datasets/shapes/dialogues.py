"""Shapes of conversations without roles: questions in a row, texts by turns, and one message a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftgate.datasets.problems import BadRowError
from ftgate.datasets.shapes.shape import LEFT_OUT, Fields, Shape, absent, labelled, question_and_reply
from ftgate.datasets.shapes.turns import ROLES, is_paired, turns_of

_MESSAGE_ROLES = frozenset((*ROLES, "user", "assistant", "system"))


def _question_field(fields: Fields) -> str:
    """The field with questions that one model is to be asked after each other, as MT-Bench has them."""
    names = ("turns", "prompt") if "reference" in fields else ("turns",)
    return next((name for name in names if _questions(fields.get(name))), "")


def _questions(value: Any) -> list[Any]:
    """The texts of a list of them, or of objects with nothing but a content; empty for anything else."""
    entries = value if isinstance(value, list) else []
    texts = [entry.get("content") if isinstance(entry, Mapping) and "role" not in entry else entry for entry in entries]
    return texts if all(isinstance(text, str) for text in texts) else []


def _asked_in_turn(fields: Fields) -> dict[str, Any]:
    name = _question_field(fields)
    texts, references = _questions(fields.get(name)), fields.get("reference")
    row: dict[str, Any] = {
        "messages": [{"role": "user", "content": text} for text in texts],
        "answer": references[0] if len(texts) == 1 and isinstance(references, list) and references else None,
        "tags": labelled(fields.get("category")),
    }
    if not absent(fields.get("question_id")):
        row["id"] = fields["question_id"]
    if len(texts) > 1:
        first = f"{name}[0].content" if isinstance(fields[name][0], Mapping) else f"{name}[0]"
        row["turns"] = BadRowError(
            f"{name} holds {len(texts)} questions, of which the later ones follow replies that are not in the file",
            f'ask the first alone: columns: {{prompt: "{{{{ {first} }}}}"}}',
        )
    return row


def _is_by_turns(fields: Fields) -> bool:
    texts = fields["conversations"]
    return isinstance(texts, list) and bool(texts) and all(isinstance(text, str) for text in texts)


def _by_turns(fields: Fields) -> dict[str, Any]:
    roles, texts = ("user", "assistant"), fields["conversations"] if _is_by_turns(fields) else ()
    return question_and_reply([{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)])


def _message_text(fields: Fields) -> Any:
    return fields.get("content") if absent(fields.get("text")) else fields["text"]


def _is_message(fields: Fields) -> bool:
    role = fields["role"]
    return isinstance(role, str) and role.lower() in _MESSAGE_ROLES and isinstance(_message_text(fields), str)


def _message(fields: Fields) -> dict[str, Any]:
    row: dict[str, Any] = {"messages": turns_of([{"role": fields["role"], "content": _message_text(fields)}])}
    if not absent(fields.get("message_id")):
        row["id"] = fields["message_id"]
    if row["messages"][0]["role"] != "user" or not absent(fields.get("parent_id")):
        row[LEFT_OUT] = "a row is one message, and this one goes on with a conversation or is a reply"
    return row


DIALOGUES = (
    Shape(
        "MT-Bench rows",
        (),
        _asked_in_turn,
        "the question in `turns`; rows with several, of which later ones follow a reply, are refused for a suite",
        ("turns", "prompt", "reference", "category", "question_id"),
        lambda fields: bool(_question_field(fields)),
        "no list of questions",
    ),
    Shape(
        "LIMA rows",
        ("conversations",),
        _by_turns,
        "`conversations`, texts of user and assistant by turns; the last reply is the reference",
        marks=lambda fields: (
            isinstance(fields["conversations"], list) and all(isinstance(text, str) for text in fields["conversations"])
        ),
        unlike="conversations is no list of texts",
    ),
    Shape(
        "XTuner rows",
        ("conversation",),
        lambda fields: question_and_reply(fields["conversation"]),
        "`conversation`, pairs of `input` and `output` (also `human` and `assistant`); the last reply is the reference",
        marks=lambda fields: is_paired(fields["conversation"]),
        unlike="conversation is no list of pairs",
    ),
    Shape(
        "OpenAssistant messages",
        ("role",),
        _message,
        "a user's first message `text`, id `message_id`; replies and what follows them are left out and named",
        ("text", "content", "message_id", "parent_id"),
        _is_message,
        "no message of a known role",
    ),
)
"""Shapes that are told by the kind of their fields."""
