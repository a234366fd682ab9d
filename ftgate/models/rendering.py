"""Renders conversations with a model's chat template as an engine would, without any inference library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ftgate.domain import Message, Model
from ftgate.engines.chat_template import TEMPLATE_SECONDS, chat_of
from ftgate.engines.conversation import Conversations, Tools, Turns
from ftgate.engines.template_files import ChatTemplates
from ftgate.engines.template_limits import within_limits
from ftgate.engines.thoughts import opened_by, switches
from ftgate.models.tokenizer import TokenizerFacts, may_think, read_tokenizer

FOLDS, APPENDS, MAY_THINK = "folds system turns", "appends the header of an answer", "may think"
PARTS = "takes contents in parts"
"""What is done for a chat template that cannot do it, and whether it may have its model think."""
LONGEST_NUMBER = 1_000_000
"""Bits of a number that a template may compute."""


class _Generation(Extension):
    """The tag ``generation``, by which trainers mark what the assistant says; here its content alone."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Refuses products and powers of numbers that take long: the time limit cannot interrupt a single one."""

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length()
            if (bits * right if operator == "**" else bits + right.bit_length()) > LONGEST_NUMBER:
                raise OverflowError(f"it computes a number of more than {LONGEST_NUMBER:,} bits")
        return super().call_binop(context, operator, left, right)


class _Program:
    """The chat templates of one tokenizer, each compiled once, with one clock for all that is rendered.

    ``given_up``: why they are not tried any more, :attr:`Conversations.given_up`.
    """

    def __init__(self, facts: TokenizerFacts) -> None:
        self.facts, self.given_up, self._now = facts, "", datetime.now()
        self._environment = _Sandbox(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
        )
        self._environment.filters["tojson"] = lambda value, indent=None, **_: json.dumps(
            value, ensure_ascii=False, indent=indent
        )
        self._environment.globals["raise_exception"] = _raise
        self._compiled: dict[str, Template | Exception] = {}

    def conversations(self, given: Mapping[str, bool], now: datetime | None = None) -> Conversations:
        """What renders conversations with these variables, at the time ``now``."""
        time = now or self._now
        variables = {**self.facts.special, "documents": None, **given, "strftime_now": time.strftime}

        def fill(template: str, turns: Turns, tools: Tools, *, generation_prompt: bool) -> str:
            def render() -> str:
                return self._compile(template).render(
                    **variables,
                    messages=[dict(turn) for turn in turns],
                    tools=[dict(tool) for tool in tools] or None,
                    add_generation_prompt=generation_prompt,
                )

            return within_limits(render, TEMPLATE_SECONDS)

        templates = ChatTemplates(self.facts.template, self.facts.tool_template)
        result = Conversations(templates, fill, self.given_up)
        self.given_up = result.given_up
        return result

    def _compile(self, text: str) -> Template:
        if text not in self._compiled:
            try:
                self._compiled[text] = self._environment.from_string(text)
            except MemoryError:  # what Python's parser raises where its own stack is full
                self._compiled[text] = RecursionError()
            except Exception as error:  # an untrusted template may raise anything
                self._compiled[text] = error
        compiled = self._compiled[text]
        if isinstance(compiled, Exception):
            raise compiled
        return compiled


_program = lru_cache(maxsize=8)(_Program)


@lru_cache(maxsize=32)
def _conversations(facts: TokenizerFacts, given: tuple[tuple[str, bool], ...]) -> Conversations:
    return _program(facts).conversations(dict(given))


def conversations(
    tokenizer_facts: TokenizerFacts, given: Mapping[str, bool] | None = None, now: datetime | None = None
) -> Conversations:
    """What renders conversations with the templates, in a sandbox and with limits on time and memory.

    The templates are ``given`` these variables; by default thinking is switched off. ``now`` is the time that they may
    write, by default one that stays the same: rendered again, a conversation is the same text unless the template
    draws at random. What was found out about a template is kept: one that is given up once is not tried again.
    """
    given = switches("off") if given is None else given
    if now is not None:
        return _program(tokenizer_facts).conversations(given, now)
    return _conversations(tokenizer_facts, tuple(sorted(given.items())))


def asked_facts(model: Model) -> TokenizerFacts:
    """The tokenizer and the chat templates that ``model`` is asked with."""
    chat = chat_of(model)
    return replace(read_tokenizer(chat.tokenizer), template=chat.template, tool_template=chat.tool_template)


def with_rendering(model: Model) -> Model:
    """``model`` with what its prompts depend on besides its files, the fact ``rendering``; without it if on nothing.

    It decides which answers of older versions are found again, which asked every template as it was, thinking off.
    """
    if model.kind == "endpoint":
        return model
    facts = asked_facts(model)
    asked = conversations(facts, {})
    applies = {
        FOLDS: asked.folds_system,
        APPENDS: bool(asked.answer_start),
        PARTS: asked.takes_parts,
        MAY_THINK: may_think(facts.template) or may_think(facts.tool_template) or _opens_thought(asked),
    }
    rendering = [what for what, does in applies.items() if does]
    return replace(model, facts={**model.facts, "rendering": rendering}) if rendering else model


def _opens_thought(asked: Conversations) -> bool:
    try:
        return bool(opened_by(asked.render([Message("user", "x")])))
    except Exception:  # an untrusted template may raise anything; what it does not render is reported when asked
        return False


def _raise(reason: Any) -> NoReturn:
    raise TemplateError(str(reason))
