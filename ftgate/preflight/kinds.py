"""Whether a model's chat template takes every kind of conversation that it will be asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import process_time
from typing import NamedTuple

from ftgate.config.generation import GenerationSettings
from ftgate.domain import Item, Message, Question, Role, Suite
from ftgate.engines.conversation import Conversations
from ftgate.judge.rubric import CRITERIA, DIGITS, ORDERS, judge_messages
from ftgate.measurements.base import Measurement
from ftgate.measurements.deployed import as_deployed
from ftgate.preflight.added_text import AddedText
from ftgate.preflight.rendering import reason_of

Kind = tuple[tuple[Role, ...], bool]
"""The roles of the turns, and whether there are tools."""
_KINDS = 100
"""Kinds of conversation of one suite that are rendered: enough for any regular file."""
_SECONDS = 10.0
"""Processor time for the conversations of one kind, after which the rest is taken to be like those rendered."""


class Unrendered(NamedTuple):
    """A kind of conversation that a template does not render as it should: the first such row, and how many there are.

    ``reason`` says what the template does. It fails, or else what it adds ``depends`` on what a row says.
    """

    measurement: str
    item: Item
    rows: int
    of: int
    kind: str
    reason: str
    depends: bool = False


def unrendered(
    model: Conversations,
    measurements: Iterable[Measurement],
    suites: Mapping[str, Suite],
    generation: GenerationSettings | None,
) -> Iterator[Unrendered]:
    """The kinds of conversation that the template of a model that answers fails on, every row being rendered.

    Also those to which it adds something that depends on what a row says (:mod:`.added_text`). They are asked as
    ``generation`` says: it may put a system turn before them. Two conversations are of one kind if their turns have the
    same roles and both have tools, or neither.
    """
    for m in measurements:
        if m.name in suites:
            items = suites[m.name].items
            asked = [(item, as_deployed(m.plan(item), generation)) for item in items]
            yield from _failing(model, m.name, asked, len(items), compares=True)


def unrendered_grading(
    judge: Conversations, measurements: Iterable[Measurement], suites: Mapping[str, Suite], *, item_first: bool
) -> Iterator[Unrendered]:
    """As :func:`unrendered`, for the judge: its own prompt about the first row of each suite that it grades."""
    for m in measurements:
        if m.name in suites and (item := next((i for i in suites[m.name].items if m.judges([i])), None)):
            shown = (item.messages, item.answer or "", item.answer)
            prompt = judge_messages(CRITERIA[0], ORDERS[0], *shown, item_first=item_first)
            yield from _failing(judge, m.name, [(item, [Question(m.name, item.id, prompt, options=DIGITS)])], 1)


def _failing(
    model: Conversations,
    name: str,
    asked: Sequence[tuple[Item, Sequence[Question]]],
    rows: int,
    *,
    compares: bool = False,
) -> Iterator[Unrendered]:
    of_kind: dict[Kind, dict[tuple[Message, ...], tuple[Item, Question]]] = {}
    for item, questions in asked:
        for question in questions:
            if not question.raw:
                kind = (tuple(message.role for message in question.messages), bool(question.tools))
                of_kind.setdefault(kind, {}).setdefault(question.messages, (item, question))
    for kind, conversations in list(of_kind.items())[:_KINDS]:
        failed, differing = _render_all(model, list(conversations.values()), compares=compares)
        for depends, faulty in ((False, failed), (True, differing)):
            if faulty.items:
                count = len({item.id for item in faulty.items})
                yield Unrendered(name, faulty.items[0], count, rows, _named(*kind), faulty.reason, depends)


@dataclass(slots=True)
class _Faulty:
    """The rows with one kind of fault, and what the template does to the first."""

    items: list[Item] = field(default_factory=list)
    reason: str = ""

    def add(self, item: Item, reason: str) -> None:
        self.items.append(item)
        self.reason = self.reason or reason


def _render_all(
    model: Conversations, asked: Sequence[tuple[Item, Question]], *, compares: bool
) -> tuple[_Faulty, _Faulty]:
    """The rows on which the template fails, and those to which it adds something else than to others.

    Where it is slow and fails on all, all fail.
    """
    failed, differing, until = _Faulty(), _Faulty(), process_time() + _SECONDS
    added = AddedText(model, [question.messages for _, question in asked]) if compares else None
    for number, (item, question) in enumerate(asked, start=1):
        try:
            text = model.render(question.messages, question.tools)
        except Exception as error:  # an untrusted template may raise anything
            failed.add(item, f"fails: {reason_of(error)}")
        else:
            if added is not None and (reason := added.difference(question.messages, question.tools, text)):
                differing.add(item, reason)
        if process_time() > until:
            if len(failed.items) == number:
                failed.items = [row for row, _ in asked]
            break
    return failed, differing


def _named(roles: Sequence[str], has_tools: bool) -> str:
    """The kind in words: ``system, user, assistant, user; with tools``."""
    shown = ", ".join(roles[:6]) + (f" and {len(roles) - 6} more turns" if len(roles) > 6 else "")
    return shown + ("; with tools" if has_tools else "")
