"""Which items got worse and better, and what a report shows of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ftgate.domain import Answer, FloatArray, Item, Pair
from ftgate.gate.result import Result
from ftgate.measurements.base import Measurement, failures
from ftgate.report.items import LEAST_FLIP, Outcome
from ftgate.report.schema import Changes, ExampleReport
from ftgate.scoring.choice import letters_for, sure
from ftgate.scoring.scores import PairedScores
from ftgate.scoring.trace import OPEN

SHOWN_EXAMPLES = 10
ANSWER_LIMIT = 2000


def changes_of(result: Result, measurement: Measurement | None = None) -> Changes:
    """The items that lost and gained most, largest change first, ties in suite order.

    ``measurement`` says what a loss is and shows the answers; None for one that is decided on the others' answers.
    """
    about, scored = result.finding.estimate.about, result.scored
    counts = np.array([about is None or pair.item.id in about for pair in result.pairs], dtype=np.bool_)
    flips = flip_scores(result.pairs, scored, measurement)
    change, flipped = (
        np.where(counts, candidate - base, 0.0) for base, candidate in ((scored.base, scored.candidate), flips)
    )
    worse, better = np.argsort(flipped, kind="stable"), np.argsort(-flipped, kind="stable")
    outcomes = [
        outcome_of(pair, change, exact=bool(exact))[0]
        for pair, change, exact in zip(result.pairs, flipped, scored.is_exact, strict=True)
    ]
    lost, gained = (np.array([o == name for o in outcomes], dtype=np.bool_) for name in ("worse", "better"))

    def example(i: int) -> ExampleReport:
        return _example(result.pairs[i], (float(flips[0][i]), float(flips[1][i])), scored.averaged, measurement)

    return Changes(
        regressed=int(np.sum(change < 0)),
        improved=int(np.sum(change > 0)),
        clearly_worse=int(np.sum(lost)),
        clearly_better=int(np.sum(gained)),
        regressions=[example(int(i)) for i in worse[:SHOWN_EXAMPLES] if lost[i]],
        improvements=[example(int(i)) for i in better[:SHOWN_EXAMPLES] if gained[i]],
    )


def flip_scores(
    pairs: Sequence[Pair], scored: PairedScores, measurement: Measurement | None
) -> tuple[FloatArray, FloatArray]:
    """For either model a score in [0, 1] per item, shape (n,), by which a reader sees a loss."""
    return (scored.base, scored.candidate) if measurement is None else measurement.flip_scores(pairs, scored)


def outcome_of(pair: Pair, change: float, *, exact: bool) -> tuple[Outcome, str]:
    """What a reader is told of one item, and why if it failed. ``exact``: both of its scores are known.

    This is the only definition of worse and better; comment, page and terminal count by it.
    """
    if (reasons := failures(pair)) or not exact:
        return "failed", reasons[0] if reasons else "an answer could not be scored"
    if abs(change) < LEAST_FLIP - 1e-9:
        return "same", ""
    return ("worse" if change < 0 else "better"), ""


def _example(pair: Pair, scores: tuple[float, float], averaged: bool, measurement: Measurement | None) -> ExampleReport:
    def shown(answers: Sequence[Answer]) -> str:
        own = measurement.answer_text(pair.item, answers) if measurement is not None else ""
        return _clip(own or _first_answer(pair.item, answers, averaged=averaged))

    return ExampleReport(
        item=pair.item.id,
        prompt=_clip(pair.item.user_text),
        reference=pair.item.answer,
        base_answer=shown(pair.base),
        candidate_answer=shown(pair.candidate),
        base_score=scores[0],
        candidate_score=scores[1],
        options=[_clip(option) for option in pair.item.choices or ()],
    )


def _first_answer(item: Item, answers: Sequence[Answer], *, averaged: bool) -> str:
    """The first answer's text and, if the score is the mean over several, how many there were."""
    text = _answer_text(item, answers[0])
    return f"(the first of {len(answers)} answers) {text}" if averaged and len(answers) > 1 else text


def _answer_text(item: Item, answer: Answer) -> str:
    """The text of an answer; for a multiple-choice item its most probable option, with the probability."""
    if answer.error is not None:
        return f"(no answer: {answer.error})"
    if answer.trace == OPEN:
        return "(no answer: its reasoning never ended)"
    if not answer.option_logprobs:
        return answer.text
    best = int(np.argmax(answer.option_logprobs))
    if answer.continued:
        return f"{item.choices[best]} (log-likelihood {answer.option_logprobs[best]:.2f})"
    return f"{letters_for(item)[best]}. {item.choices[best]} ({sure(float(np.exp(answer.option_logprobs[best])))})"


def _clip(text: str) -> str:
    return text if len(text) <= ANSWER_LIMIT else text[: ANSWER_LIMIT - 1] + "…"
