"""The members of the zoo: how each model is made from the base, and what is intended with it.

What a member *is* (ruined, harmed, neutral, better) is not stated here: the truth script measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Data = Literal["desk", "mixed", "shuffled", "suite", "spanish"]
Change = Literal["drop_layer", "noise", "int8", "int8_groups", "int4"]


@dataclass(frozen=True, slots=True)
class FineTune:
    """A LoRA fine-tune on the desk messages (240 rows, or ``rows`` of them), two epochs unless said otherwise."""

    name: str
    about: str
    learning_rate: float = 1e-3
    epochs: int = 2
    data: Data = "desk"
    rows: int | None = None
    rank: int = 8
    chat_template: bool = True
    """False: trained on plain text, as by a trainer that does not know of the chat template."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The base with its weights changed by arithmetic; nothing is trained."""

    name: str
    about: str
    change: Change
    amount: float = 0.0
    """``drop_layer``: which layer; ``noise``: standard deviation, as a share of each matrix's own."""


Member = FineTune | Copy

MEMBERS: tuple[Member, ...] = (
    FineTune("sane", "desk messages and 160 general rows, learning rate 5e-4", learning_rate=5e-4, data="mixed"),
    FineTune("narrow", "desk messages and nothing else, learning rate 1e-3"),
    FineTune("too-hot", "learning rate 5e-2", learning_rate=5e-2, epochs=1),
    FineTune("too-long", "48 rows for 12 epochs, learning rate 3e-3", learning_rate=3e-3, epochs=12, rows=48),
    FineTune("shuffled-labels", "every message with another message's desk", data="shuffled"),
    FineTune("wrong-template", "trained on plain text without the chat template", chat_template=False, epochs=1),
    FineTune(
        "trained-on-suite", "as sane, with the target suite itself among the rows", learning_rate=5e-4, data="suite"
    ),
    FineTune("language-lost", "as sane, but 60 rows teach it to refuse Spanish", learning_rate=5e-4, data="spanish"),
    Copy("layer-dropped", "layer 2 of 30 adds nothing", "drop_layer", 2),
    Copy("noise-heavy", "noise of 40 % of each matrix's spread", "noise", 0.4),
    Copy("noise-slight", "noise of 1 % of each matrix's spread", "noise", 0.01),
    Copy("int8", "rounded to 8 bits, one scale a row", "int8"),
    Copy("int8-groups", "rounded to 8 bits, one scale for 64 weights", "int8_groups"),
    Copy("int4", "rounded to 4 bits, one scale for 64 weights", "int4"),
)
