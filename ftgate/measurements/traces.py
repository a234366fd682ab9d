"""How many answers begin with a reasoning trace, and how many of these never end. For information and for `form`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftgate.domain import SIDES, Pair
from ftgate.scoring.trace import OPEN

MUCH = 0.2
"""The difference of two shares of answers that is named at the verdict."""
TraceCounts = Mapping[str, Mapping[str, int]]
"""For the base and the candidate: ``answers``, those that are ``reasoned``, and of these the ``unfinished`` ones."""


def count_traces(pairs: Sequence[Pair]) -> TraceCounts:
    """How many of the answers of either model have a trace; empty if none has.

    Answers by option letters count where either model thought before one.
    """
    counts: dict[str, dict[str, int]] = {}
    letters = any(a.option_logprobs and a.trace for pair in pairs for side in SIDES for a in getattr(pair, side))
    for side in SIDES:
        answered = [a for pair in pairs for a in getattr(pair, side) if a.error is None and not a.continued]
        answers = [a for a in answered if letters or not a.option_logprobs]
        counts[side] = {
            "answers": len(answers),
            "reasoned": sum(bool(answer.trace) for answer in answers),
            "unfinished": sum(answer.trace == OPEN for answer in answers),
        }
    return counts if any(count["reasoned"] for count in counts.values()) else {}


def traces_note(counts: TraceCounts) -> str:
    """The counts in a sentence; empty if no answer has a trace."""
    if not counts:
        return ""
    both = " and ".join(
        f"{count['reasoned']} of {count['answers']} answers of the {side} ({count['unfinished']} never ended)"
        for side, count in counts.items()
    )
    return f"a reasoning trace precedes {both}; what follows it is scored, and one that never ended counts as cut"


def thinking_notes(pairs: Sequence[Pair]) -> list[str]:
    """What a reader must know at the verdict: a candidate that started or stopped thinking, or never ends a thought."""
    counts = count_traces(pairs)
    if not counts or not all(counts[side]["answers"] for side in SIDES):
        return []
    base, candidate = (counts[side]["reasoned"] / counts[side]["answers"] for side in SIDES)
    notes = []
    if abs(candidate - base) >= MUCH:
        changed = "started thinking" if candidate > base else "stopped thinking"
        notes.append(
            f"the candidate {changed}: a reasoning trace precedes {_percent(candidate)} of its answers and "
            f"{_percent(base)} of the base's"
        )
    endless = [counts[side]["unfinished"] / max(1, counts[side]["reasoned"]) for side in SIDES]
    if endless[1] - endless[0] >= MUCH:
        notes.append(
            f"the candidate does not close its thoughts: {_percent(endless[1])} of its reasoning traces never end, and "
            f"{_percent(endless[0])} of the base's; such a trace leaves no answer"
        )
    return notes


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
