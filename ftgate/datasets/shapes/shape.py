"""What a shape of rows is: its name, the fields that tell it, and how its rows become ftgate's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ftgate.datasets.problems import BadRowError, kind_of
from ftgate.datasets.shapes.turns import ends_with_reply, is_conversation, turns_of, whole_text
from ftgate.datasets.tools import calls_of_reply, reference_calls

Fields = Mapping[str, Any]
"""The fields of a row, by name."""
CARRIED = ("id", "tags", "cluster", "check", "tools")
"""Fields of ftgate's own that a row of any shape may have."""
LEFT_OUT = "left out"
"""The key under which a converted row says why it cannot be a row of a suite, without being wrong."""
SYSTEMS = ("system", "system_prompt")
"""Fields with a system text beside a question."""
CONTEXTS = ("context", "contexts", "passage", "article", "paragraph", "narrative", "story", "body")
"""Fields with the text that a question is about."""
ONE_SHAPE = "give every row of a file the same shape, or name the fields with `columns`"


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of rows that trainers, benchmarks or servers write.

    ``convert`` gives the fields of ftgate (``id``, ``prompt`` or ``messages``, ``choices``, ``answer``, ``tags``,
    ``cluster``, ``check``) and raises BadRowError for a row that has no place in them. A value may be a BadRowError:
    what is wrong with a row of a suite, and no fault of training data, of which only the text is read.
    """

    name: str
    """What people call such rows, to follow "read as"."""
    needs: tuple[str, ...]
    """The fields that every row has."""
    convert: Callable[[Fields], dict[str, Any]]
    becomes: str
    """What a row becomes, for the documentation."""
    uses: tuple[str, ...] = ()
    """Other fields that are read, or that mean nothing here."""
    marks: Callable[[Fields], bool] = field(default=lambda _: True)
    """What else tells the shape."""
    unlike: str = ""
    """What is wrong with a suite's row that has the fields but not the marks; empty if it is read all the same."""
    reads: Callable[[str], bool] = field(default=lambda _: False)
    """Which more fields are read, by their name."""
    whole: bool = False
    """Whether a field with the name of a context or of a reference must be read: its rows are questions of a test."""
    one_of: tuple[str, ...] = ()
    """Fields of which only the first with a value is read."""
    suites: bool = True
    """Whether a suite may have it; otherwise training data and query logs only."""

    def missing(self, fields: Fields) -> list[str]:
        """The needed fields that a row does not have."""
        return [name for name in self.needs if absent(fields.get(name))]

    def fault(self, fields: Fields) -> tuple[str, str] | None:
        """Why a row is not of this shape, and what to do; None if it has all needed fields."""
        missing = self.missing(fields)
        if not missing:
            return None
        if empty := [name for name in missing if name in fields]:
            names = ", ".join(f"`{name}`" for name in empty)
            return f"{names} is empty, and the file is read as {self.name}", "fill it in, or remove the row"
        names = " and no ".join(f"`{name}`" for name in missing)
        return f"no {names}, and the file is read as {self.name}", ONE_SHAPE

    def fits(self, fields: Fields) -> bool:
        """Whether a row looks like this shape."""
        return not self.missing(fields) and self.marks(fields)

    def converted(self, fields: Fields) -> dict[str, Any]:
        """The row's fields of ftgate. Raises BadRowError."""
        row = self.convert(fields)
        for name in CARRIED:
            if name in fields and name not in row:
                row[name] = fields[name]
        if "check" in fields and not absent(fields["check"]):  # before the one that the reference makes
            row["check"] = fields["check"]
        if "functions" in fields and "tools" not in fields:
            row["tools"] = fields["functions"]
        return row


def absent(value: Any) -> bool:
    """Whether a field has no value: in tables every row has all columns."""
    return value is None or (isinstance(value, str) and not value.strip())


def question_and_reply(conversation: Any, *, reference: bool = True) -> dict[str, Any]:
    """A conversation up to its last reply, which is the reference answer if ``reference``.

    A reply that calls tools makes a check that the same calls are made.
    """
    if not ends_with_reply(conversation):
        return {"messages": turns_of(conversation)}
    turns = turns_of(conversation)
    row: dict[str, Any] = {"messages": turns[:-1], "answer": turns[-1]["content"] if reference else None}
    try:
        calls = calls_of_reply(turns[-1]) if reference else ()
    except BadRowError as error:
        return {**row, "check": error}
    return {**row, **reference_calls(calls, turns[-1]["content"])} if calls else row


def asked(prompt: Any, system: Any = None, history: Any = None) -> dict[str, Any]:
    """The question of a row: a text or a conversation, after a ``system`` text and earlier pairs of turns, if any."""
    early: list[Any] = [] if absent(system) else [{"role": "system", "content": whole_text(system, "system")}]
    if is_conversation(history):
        early += turns_of(history)
    elif isinstance(history, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        for question, reply in history:
            early += [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    elif not absent(history) and history != "[]":
        fault = BadRowError("history is no list of pairs or turns", 'write [["question", "reply"]]')
        return {**asked(prompt, system), "history": fault}
    if is_conversation(prompt):
        return _joined(early, turns_of(prompt))
    return {"messages": [*early, {"role": "user", "content": prompt}]} if early else {"prompt": prompt}


def _joined(early: list[Any], turns: list[Any]) -> dict[str, Any]:
    """A conversation after what stands beside it; a system text that both have counts once."""
    if not early or early[0]["role"] != "system" or turns[0].get("role") != "system":
        return {"messages": [*early, *turns]}
    row: dict[str, Any] = {"messages": [*early, *turns[1:]]}
    if early[0]["content"] != turns[0]["content"]:
        row["system"] = BadRowError("two different system texts, one of them beside the conversation", "keep one")
    return row


def reply_text(reply: Any) -> Any:
    """The text of a reply that may be a turn or a conversation; None if it is empty."""
    if is_conversation(reply):
        reply = reply[-1]
    if isinstance(reply, Mapping) and ("content" in reply or "value" in reply):
        reply = whole_text(reply.get("content", reply.get("value")), "the reply")
    return None if absent(reply) else reply


def system_of(fields: Fields) -> Any:
    """The system text of a row that has one beside its question."""
    return next((fields[name] for name in SYSTEMS if not absent(fields.get(name))), None)


def in_context(question: Any, fields: Fields) -> dict[str, Any]:
    """The prompt of a question, after the text that it is about, if the row has one.

    A context that is no text is a fault, under its own key.
    """
    context = next((fields[name] for name in CONTEXTS if not absent(fields.get(name))), None)
    if isinstance(context, list) and all(isinstance(part, str) for part in context):
        context = "\n\n".join(context)
    if absent(context) or not isinstance(question, str):
        return {"prompt": question}
    if not isinstance(context, str):
        prompt = f"{{{{ {_text_in(context)} }}}} {{{{ question }}}}"
        fault = BadRowError(
            f"the question comes with a context that is {kind_of(context)}",
            f'name the text in it: columns: {{prompt: "{prompt}", answer: FIELD}}',
        )
        return {"prompt": question, "context": fault}
    return {"prompt": f"{context}\n\n{question}"}


def _text_in(context: Any) -> str:
    """An expression for the text in a context that is an object or a list, as a template has it."""
    name, value = "context", context
    if isinstance(context, Mapping):
        texts = {key: part for key, part in context.items() if isinstance(part, str | list) and part}
        key = max(texts, key=lambda key: len(str(texts[key])), default="NAME")
        name, value = f"context.{key}", texts.get(key)
    if isinstance(value, list) and value and all(isinstance(part, list) for part in value):
        return f"{name} | map('join', ' ') | join(' ')"
    return f"{name} | join(' ')" if isinstance(value, list) else name


def labelled(subject: Any) -> list[Any]:
    """The tag that a benchmark's subject or category makes; none without one."""
    return [] if absent(subject) else [subject]
