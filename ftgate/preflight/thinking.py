"""Whether a model will think before it answers, as its chat template and the policy have it, and what follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ftgate.config.engine import EngineSettings
from ftgate.domain import Suite
from ftgate.engines.thoughts import (
    HARMONY_TURN,
    Rendering,
    closed_at_once,
    ignores_switch,
    opened_by,
    switches,
    template_thinks,
)
from ftgate.measurements.base import Measurement


@dataclass(frozen=True, slots=True)
class ThinkingFacts:
    """How one model's template has it: whether the model ``thinks``, and what a reader should know about that.

    ``warning`` says what may not be meant; ``problem`` is why nothing can be asked.
    """

    thinks: bool
    note: str = ""
    warning: str = ""
    problem: str = ""


def thinking_facts(render: Rendering, settings: EngineSettings) -> ThinkingFacts:
    """What a chat template, which ``render`` renders with some variables, does under ``settings``."""
    mode = settings.thinking
    try:
        opened, by_itself = opened_by(render(switches(mode))), template_thinks(render)
        ignored, unclosable = ignores_switch(render), closed_at_once(render(switches("off"))) is None
    except Exception:  # an untrusted template: that it fails is reported for the rows
        return ThinkingFacts(mode == "on")
    thinks = mode == "on" or (mode == "template" and by_itself)
    what = f"its chat template {_beginning(opened)}"
    if mode == "off" and unclosable:
        return ThinkingFacts(
            thinks=False, problem=f"engine.thinking is off, and {what}, which only the model can close"
        )
    if not thinks:
        closed = f"{what}; as engine.thinking is off, it is closed at once, empty"
        return ThinkingFacts(thinks=False, note=closed if opened else "")
    if ignored and not opened:
        return ThinkingFacts(
            thinks=True, warning="engine.thinking is on, which changes nothing in what its chat template renders"
        )
    budget = f"up to {settings.thinking_tokens:,} tokens, besides max_tokens of the answer"
    return ThinkingFacts(thinks=True, note=f"{what}: {budget}; option letters are read when the thought has ended")


def _beginning(opened: str) -> str:
    """How thoughts begin after a prompt that ends with ``opened``."""
    if opened == HARMONY_TURN:
        return "has the model name a channel, first that of its reasoning trace"
    return f"opens a reasoning trace ({opened}) before every answer" if opened else "lets the model think first"


def unread_after_thoughts(measurements: tuple[Measurement, ...], suites: Mapping[str, Suite]) -> Iterator[str]:
    """The measurements that compare continuations of a conversation, which are not read after a thought."""
    for m in measurements:
        items = suites[m.name].items if m.name in suites else ()
        if any(question.continued and not question.raw for item in items for question in m.plan(item)):
            yield f"measurements.{m.name}: continuations are compared, which are not read after a thought"
