"""How many answers begin with a reasoning trace, and how many of these never end. For information and for `form`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftgate.domain import SIDES, Pair
from ftgate.scoring.trace import OPEN

TraceCounts = Mapping[str, Mapping[str, int]]
"""For the base and the candidate: ``answers``, those that are ``reasoned``, and of these the ``unfinished`` ones."""


def count_traces(pairs: Sequence[Pair]) -> TraceCounts:
    """How many of the free-form answers of either model have a trace; empty if none has."""
    counts: dict[str, dict[str, int]] = {}
    for side in SIDES:
        answers = [a for pair in pairs for a in getattr(pair, side) if a.error is None and not a.option_logprobs]
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
