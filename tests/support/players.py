"""Scripted models with known faults, for tests of the flow. Each reply follows from the question alone."""

from __future__ import annotations

import functools
import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from ftgate.domain import Answer, Model, Question
from ftgate.judge.known_answers import known_answers
from ftgate.judge.sanitize import sanitize
from ftgate.scoring.text import contains_words, normalized, same_text

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


def script(
    candidate: Player, base: Player = BASE, judge: Script | None = None, incumbent: Player | None = None
) -> Script:
    """A script for all models; the candidate errs where the base does and beyond."""
    players = {"base": base, "incumbent": incumbent or candidate}

    def reply(model: Model, question: Question) -> Answer:
        if model.name == "judge":
            return (judge or honest_judge)(model, question)
        return answer_of(players.get(model.name, candidate), question)

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


@functools.cache
def known_right() -> frozenset[tuple[str, str]]:
    """Reference and answer, as a judge is shown them, of every known answer that is right."""
    return frozenset(
        (sanitize(known.item.answer or ""), sanitize(text))
        for known in known_answers("builtin:general-800")
        for text in known.right
    )


def honest_judge(model: Model, question: Question) -> Answer:
    """5 when the answer equals the reference or is known to be right, 1 otherwise."""
    reference, said = shown(question)
    return digit(5 if said == reference or (reference, said) in known_right() else 1)


def comparing_judge(likeness: Callable[[str, str], float]) -> Script:
    """A script in place of a judge: the more an answer is like the reference, the better; it knows nothing."""

    def reply(model: Model, question: Question) -> Answer:
        reference, said = shown(question)
        level, rest = divmod(4 * likeness(said, reference), 1)
        weights = [0.01 + (k == level) * (1 - rest) + (k == level + 1) * rest for k in range(5)]
        return Answer(option_logprobs=tuple(math.log(weight / sum(weights)) for weight in weights))

    return reply


def word_f1(said: str, reference: str) -> float:
    """F1 of the words that two texts share (Rajpurkar et al. 2016, SQuAD, section 6.1)."""
    one, other = Counter(normalized(said).split()), Counter(normalized(reference).split())
    return 2 * (one & other).total() / max(1, one.total() + other.total())


def rouge_l(said: str, reference: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004, ROUGE, section 3)."""
    one, other = re.findall(r"\w+", said.casefold()), re.findall(r"\w+", reference.casefold())
    common = longest_common(one, other)
    return 2 * common / (len(one) + len(other)) if common else 0.0


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence."""
    lengths = [0] * (len(other) + 1)
    for word in one:
        row = [0]
        for at, same in enumerate(other):
            row.append(lengths[at] + 1 if word == same else max(lengths[at + 1], row[at]))
        lengths = row
    return lengths[-1]


_LIKENESS: dict[str, Callable[[str, str], float]] = {
    "equal": lambda said, reference: float(said == reference),
    "equal after normalisation": lambda said, reference: float(same_text(reference, said)),
    "contains": lambda said, reference: float(contains_words(reference, said)),
    "word F1": word_f1,
    "ROUGE-L": rouge_l,
    "characters": lambda said, reference: SequenceMatcher(None, said, reference).ratio(),
}
LIKENESS = {name: functools.cache(likeness) for name, likeness in _LIKENESS.items()}  # each answer is graded six times
"""Ways to compare an answer with its reference, from 0 to 1."""
COMPARING_JUDGES = {name: comparing_judge(likeness) for name, likeness in LIKENESS.items()}
"""Scripts that compare strings: all of them tell references from nonsense, and none may earn a vote."""


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
