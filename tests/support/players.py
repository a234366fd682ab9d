"""Scripted models with known faults, for tests of the flow. Each reply follows from the question alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

from ftgate.domain import Answer, Model, Question

Script = Callable[[Model, Question], Answer]


@dataclass(frozen=True)
class Player:
    """How well a scripted model does: the share it gets right by measurement, and how sure it sounds."""

    target: float = 0.6
    forgetting: float = 0.9
    tail: float = 0.7
    calibration: float = 0.75
    confidence: float = 0.75


BASE = Player()
CAREFUL = Player(target=0.9)


def luck(*parts: object) -> float:
    """A number in [0, 1) that is the same for the same parts."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


def script(candidate: Player, base: Player = BASE, judge: Script | None = None) -> Script:
    """A script for base, candidate and judge; the candidate errs where the base does and beyond."""

    def reply(model: Model, question: Question) -> Answer:
        if model.name == "judge":
            return (judge or honest_judge)(model, question)
        player = base if model.name == "base" else candidate
        return answer_of(player, question)

    return reply


def answer_of(player: Player, question: Question) -> Answer:
    """Right or wrong by the item's luck: two players with the same rate are right on the same items."""
    right = luck(question.measurement, question.item_id) < getattr(player, question.measurement)
    number = int(question.item_id[1:])
    if not question.options:
        return Answer(text=f"word {number} of {number % 7}" if right else "no idea", tokens=3)
    colours = ["red", "green", "blue", "grey"]
    wanted = colours[(number + (0 if right else 1)) % 4]
    shown = [line[3:] for line in question.messages[-1].content.splitlines()[1:5]]
    rest = (1 - player.confidence) / 3
    return Answer(option_logprobs=tuple(math.log(player.confidence if c == wanted else rest) for c in shown))


def honest_judge(model: Model, question: Question) -> Answer:
    """5 when the answer equals the reference, 1 otherwise."""
    content = question.messages[-1].content
    reference = content.split("[[reference]]\n")[1].split("\n[[answer]]")[0]
    said = content.split("[[answer]]\n")[1].split("\n[[end]]")[0]
    return digit(5 if said == reference else 1)


def digit(value: int) -> Answer:
    """A reply that puts nearly all probability on one digit."""
    return Answer(option_logprobs=tuple(math.log(0.96 if k == value else 0.01) for k in range(1, 6)))
