"""What a run's checks render with a model's chat template."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ftgate.domain import Item, Message
from ftgate.engines.conversation import failure
from ftgate.models.rendering import conversations
from ftgate.models.tokenizer import TokenizerFacts

_TIMES = ("2001-02-03T04:05:06.000007", "2012-11-10T19:18:17.000016")
"""Two times that differ in every part."""


def tools_unseen(tokenizer_facts: TokenizerFacts, item: Item) -> str:
    """Why a model with this chat template cannot be asked a row with tools; empty if it can, or if it fails."""
    render = conversations(tokenizer_facts).render
    try:
        if render(item.messages, item.tools) == render(item.messages):
            return "its chat template does not show tools to the model"
    except Exception:  # an untrusted template: that it fails is reported for the row
        return ""
    return ""


def short_rendering(tokenizer_facts: TokenizerFacts, given: Mapping[str, bool]) -> str:
    """One short conversation, rendered with these variables of the template."""
    return conversations(tokenizer_facts, given).render([Message("user", "x")])


def depends_on_clock(tokenizer_facts: TokenizerFacts) -> bool:
    """Whether a prompt in this chat template is another one at another time."""
    if "strftime_now" not in tokenizer_facts.template:
        return False
    question = [Message("user", "x")]
    try:
        one, other = (conversations(tokenizer_facts, now=datetime.fromisoformat(t)).render(question) for t in _TIMES)
    except Exception:  # an untrusted template: that it fails is reported for the rows
        return False
    return one != other


def reason_of(error: Exception) -> str:
    """What a template raised, in one line."""
    return failure(error)[:200]
