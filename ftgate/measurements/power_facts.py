"""What a plan needs to know about a measurement. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

ASSUMED_BASE = 0.8
"""The base's score in a plan, as long as nothing is known of it."""


class PowerFacts(NamedTuple):
    """What a power simulation needs to know about a measurement.

    ``change`` is ``gain``, ``rise`` (of what is unwanted, in points), ``drop`` (relative; absolute if the base scores
    low) or ``ece``, which is computed in ``bins``. The measurement passes with at least ``least_items`` items, and with
    enough to detect a total loss on a share ``floor`` of them (None: not required). A block has the part
    ``block_share`` of alpha. ``base`` is the base's score, as long as nothing is known of it. ``also`` says
    what else a pass needs.
    """

    change: Literal["gain", "rise", "drop", "ece"]
    limit: float
    floor: float | None
    least_items: int = 1
    bins: int = 10
    base: float = ASSUMED_BASE
    block_share: float = 1.0
    also: str = ""
