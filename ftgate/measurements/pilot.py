"""What the base's first answers say about a suite: whether it can decide for this base, before the money is spent.

Pure. It looks at the base only, so that no decision depends on it and no error level is spent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ftgate.domain import Answer, FloatArray, Pair
from ftgate.measurements.base import Measurement
from ftgate.measurements.calibration import LEAST_LETTER_MASS
from ftgate.measurements.estimate import LEAST_BASE, mean
from ftgate.measurements.rejected import MOST_REJECTED, holds_reference
from ftgate.scoring.rules import failure_of
from ftgate.scoring.scorer_facts import JUDGED, facts_of
from ftgate.scoring.scores import PairedScores
from ftgate.scoring.trace import OPEN

PILOT_ITEMS = 20
LITTLE_ROOM = 0.05
"""A base this close to the ceiling leaves too little room for a gain, and one this close to chance may be guessing."""
LEAST_MASS = 0.5
"""Mean probability of all option letters together; below it the base would rather say something else."""
MOST_UNUSABLE = 0.5
"""Share of cut or of empty answers from which the suite's settings are named."""
EASIER = "an easier suite such as builtin:general-easy-200"
EXAMPLES = "examples in the prompt"


@dataclass(frozen=True, slots=True)
class Pilot:
    """The base's first answers on one suite.

    ``base`` is its mean score in [0, 1] on the items with a known score, None if there are none. ``warnings`` say why
    the suite may not be able to decide, and what to do. ``failure`` is the first failure if every answer failed.
    ``letter_mass`` is the mean probability of all option letters together, None if no answer has any.
    """

    measurement: str
    items: int
    base: float | None
    warnings: tuple[str, ...] = ()
    failure: str | None = None
    letter_mass: float | None = None


def read_pilot(
    measurement: Measurement, pairs: Sequence[Pair], scored: PairedScores, judge_unfit: str | None = None
) -> Pilot:
    """What the answers of the base in ``pairs`` say; ``scored`` are their scores, in the same order.

    Only the base's side of either is read. ``judge_unfit``: why the judge graded none of them.
    """
    is_known = scored.base_low == scored.base_high
    base = mean(scored.base[is_known]) if is_known.any() else None
    failure = common_failure(pairs)
    if failure is not None:
        return Pilot(measurement.name, len(pairs), None, failure=failure)
    usable = [i for i, pair in enumerate(pairs) if failure_of(pair.base[0]) is None]
    unread = [not is_known[i] for i in usable if measurement.scored_by(pairs[i].item) in JUDGED]
    mass = _letter_mass([answer for i in usable for answer in pairs[i].base])
    warnings = (
        *_about_score(measurement, pairs, scored, base),
        *_about_letters(mass),
        *((judge_unfit,) if judge_unfit else _about_judge(unread)),
        *_about_texts(measurement, [pairs[i] for i in usable], scored.base[usable]),
    )
    return Pilot(measurement.name, len(pairs), base, warnings, letter_mass=mass)


def common_failure(pairs: Sequence[Pair]) -> str | None:
    """Why the first of the base's answers in ``pairs`` failed, if all did; None otherwise."""
    failures = [failure_of(pair.base[0]) for pair in pairs]
    return failures[0] if pairs and None not in failures else None


def never_passes(measurement: Measurement, pilot: Pilot | None) -> str:
    """Why ``measurement`` can never pass if the base goes on as in ``pilot``; empty if it can."""
    mass = pilot.letter_mass if pilot is not None else None
    if mass is None or mass >= LEAST_LETTER_MASS or measurement.power_facts().change != "ece":
        return ""
    return (
        f"measurements.{measurement.name} can never pass: the base puts {100 * mass:.0f} % of its probability on the "
        f"option letters, and a pass needs {100 * LEAST_LETTER_MASS:.0f} %; use form: sampled, or {EXAMPLES}"
    )


def _about_score(m: Measurement, pairs: Sequence[Pair], scored: PairedScores, base: float | None) -> Iterator[str]:
    """A base near 0, near chance or near 1, where that matters."""
    facts, n = m.power_facts(), len(pairs)
    if base is None:
        return
    score = f"the base scores {100 * base:.0f} % on {n} items"
    if facts.change == "gain" and facts.limit >= 0 and base >= 1 - facts.limit - LITTLE_ROOM:
        yield f"{score}, which leaves hardly any room for a gain above {100 * facts.limit:g} points: use a harder suite"
    if facts.change != "drop":
        return
    chosen = [i for i, pair in enumerate(pairs) if not m.asks_text(pair.item)]
    chance = float(np.mean([1 / len(pairs[i].item.choices) for i in chosen])) if chosen else 0.0
    if base < LEAST_BASE:
        unseen = f"so low that a loss of {100 * facts.limit:g} % could go unseen"
        yield f"{score}, {unseen}: use {EASIER}, another scorer, or {EXAMPLES}"
    elif chosen and mean(scored.base[chosen]) <= chance + LITTLE_ROOM:
        guesses = f"{100 * mean(scored.base[chosen]):.0f} % on {len(chosen)} multiple-choice items"
        yield (
            f"the base scores {guesses}, and guessing {100 * chance:.0f} %, so that hardly a loss can show: use "
            f"{EASIER}, a scorer that reads text, or {EXAMPLES}"
        )


def _letter_mass(answers: Sequence[Answer]) -> float | None:
    """The mean probability of all option letters together."""
    lettered = [answer for answer in answers if answer.option_logprobs and not answer.continued]
    masses = [math.fsum(map(math.exp, answer.option_logprobs)) for answer in lettered]
    return math.fsum(masses) / len(masses) if masses else None


def _about_letters(mass: float | None) -> Iterator[str]:
    """Little probability on the option letters."""
    if mass is not None and mass < LEAST_MASS:
        share = f"{100 * mass:.0f} %"
        yield (
            f"the base puts {share} of its probability on the option letters and would rather say something else: use "
            f"a scorer that reads text (exact, contains, judge), or {EXAMPLES}, and check the chat template"
        )


def _about_judge(unread: Sequence[bool]) -> Iterator[str]:
    """A judge that cannot be read: of each judged answer, whether it has no grade or label."""
    n, without = len(unread), sum(unread)
    if n and without >= MOST_UNUSABLE * n:
        yield (
            f"no reply of the judge can be read on {without} of {n} answers of the base, and such a judge fails its "
            "test: it must reply with one digit or letter; choose another model as judge, or check its chat template"
        )


def _about_texts(m: Measurement, pairs: Sequence[Pair], scores: FloatArray) -> Iterator[str]:
    """Answers that are cut, empty, or right but rejected."""
    texts = [(pair, score) for pair, score in zip(pairs, scores, strict=True) if not pair.base[0].option_logprobs]
    n = len(texts)
    empty = sum(not pair.base[0].text.strip() and pair.base[0].trace != OPEN for pair, _ in texts)
    cut = sum(pair.base[0].finish == "length" for pair, _ in texts)
    rejected = sum(score == 0 and _holds_reference(m, pair) for pair, score in texts)
    if n and empty >= MOST_UNUSABLE * n:
        yield f"{empty} of {n} answers of the base are empty: check the chat template, or use {EXAMPLES}"
    if n and cut >= MOST_UNUSABLE * n and not m.cut_on_purpose:
        request = texts[0][0].item.request
        limit = f"max_tokens {m.max_tokens}" if request is None else f"max_gen_toks {request.max_tokens}"
        more = (
            "raise max_tokens" if request is None else f"raise max_gen_toks in a task file that includes {request.task}"
        )
        yield f"{cut} of {n} answers of the base are cut at {limit}: {more}, or ask for short answers"
    if n and rejected >= MOST_REJECTED * n:
        yield (
            f"{rejected} of {n} answers of the base hold the right answer and are scored as wrong: use another scorer "
            f"(contains), ask for the bare answer, or use {EXAMPLES}"
        )


def _holds_reference(m: Measurement, pair: Pair) -> bool:
    """Whether an answer that a rule scored holds the reference, word for word."""
    return facts_of(m.scored_by(pair.item)).whole and holds_reference(pair)
