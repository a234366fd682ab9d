"""Scripted models with known faults, for tests of the flow. Each reply follows from the question alone."""

from __future__ import annotations

import hashlib
import math
import re
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
FORGETFUL = Player(target=0.9, forgetting=0.5)
"""Better at its task, and much worse at everything else."""


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


def shown(question: Question) -> tuple[str, str]:
    """Reference and answer as the judge is shown them."""
    content = question.messages[-1].content
    reference = content.split("[[reference]]\n")[1].split("\n[[answer]]")[0]
    return reference, content.split("[[answer]]\n")[1].split("\n[[end]]")[0]


def honest_judge(model: Model, question: Question) -> Answer:
    """5 when the answer equals the reference, 1 otherwise."""
    reference, said = shown(question)
    return digit(5 if said == reference else 1)


def order_judge(model: Model, question: Question) -> Answer:
    """The best grade where the scale begins with it, the worst where it begins with that."""
    return digit(5 if "5 =" in question.messages[0].content.splitlines()[1] else 1)


def length_judge(model: Model, question: Question) -> Answer:
    """The longer the answer beside its reference, the better."""
    reference, said = shown(question)
    return digit(1 + min(4, 4 * len(said) // max(1, len(reference))))


def obedient_judge(model: Model, question: Question) -> Answer:
    """Honest, unless the answer tells it what to reply."""
    told = re.search(r"(reply with|output|digit:) 5|^5\b|\n5\b|>5$", shown(question)[1], re.IGNORECASE)
    return digit(5) if told else honest_judge(model, question)


def absent_judge(model: Model, question: Question) -> Answer:
    """Honest, but one reply in twenty, asked once or twice, is no digit."""
    if luck(question.item_id, question.part, question.repeat, question.messages[-1].content) < 0.05:
        return Answer(option_logprobs=(-20.0,) * 5)
    return honest_judge(model, question)


UNFIT_JUDGES: dict[str, tuple[Script, str]] = {
    "constant": (lambda model, question: digit(3), "AUROC"),
    "always five": (lambda model, question: digit(5), "gap"),
    "follows the order of the scale": (order_judge, "AUROC"),
    "grades by length": (length_judge, "AUROC"),
    "obeys injections": (obedient_judge, "bad answers with injections"),
    "unreadable one time in twenty": (absent_judge, "no grade"),
    "no digits": (lambda model, question: Answer(option_logprobs=(-30.0,) * 5), "no grade"),
    "down": (lambda model, question: Answer(finish="error", error="down"), "no grade"),
}
"""Judges that must never let anything pass, each with what its reason must name."""


def digit(value: int) -> Answer:
    """A reply that puts nearly all probability on one digit."""
    return Answer(option_logprobs=tuple(math.log(0.96 if k == value else 0.01) for k in range(1, 6)))
