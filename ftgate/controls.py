"""Checks on the experiment itself, before anything is said about the candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftgate.asking import Respondents
from ftgate.domain import Item, Message, Model, digest_of
from ftgate.errors import ControlError
from ftgate.store import engine_identity

PROBES = 8
SMALLEST_EFFECT = 1e-5


def adapter_effect(respondents: Respondents, base: Model, candidate: Model, items: Sequence[Item]) -> dict[str, Any]:
    """Show that the candidate's weights are in force: its next-token log-probabilities differ from the base's.

    Eight prompts are put to the base twice, the second time in reverse order, and to the candidate once. The largest
    change of a log-probability that both report must exceed both ``SMALLEST_EFFECT`` and twice the base's own change
    between its two turns, which is the noise of the engine. Raises ControlError otherwise: an adapter whose modules
    do not match the base is loaded by engines without a word, and would be judged as a perfect copy of the base.
    """
    prompts = [item.messages for item in items[:PROBES]]
    shown = [[[m.role, m.content] for m in prompt] for prompt in prompts]
    key = digest_of(["adapter effect", base.digest, candidate.digest, engine_identity(respondents.info), shown])
    effect: dict[str, Any] = respondents.journal.fact(key, lambda: _measure(respondents, base, candidate, prompts))
    if effect["largest_change"] <= max(SMALLEST_EFFECT, 2 * effect["noise"]):
        raise ControlError(
            f"the adapter changed nothing: on {effect['prompts']} prompts {candidate.name} gives the base's next-token "
            f"probabilities (largest change {effect['largest_change']:.2g}, noise {effect['noise']:.2g})",
            hint="its tensors may be zero, or named for another architecture; check how it was trained and saved",
        )
    return effect


def _measure(
    respondents: Respondents, base: Model, candidate: Model, prompts: Sequence[tuple[Message, ...]]
) -> dict[str, Any]:
    engine = respondents.loaded()
    first = engine.probe(base, prompts)
    second = list(reversed(engine.probe(base, list(reversed(prompts)))))
    changed = engine.probe(candidate, prompts)
    return {
        "prompts": len(prompts),
        "largest_change": max(_distance(a, b) for a, b in zip(first, changed, strict=True)),
        "noise": max(_distance(a, b) for a, b in zip(first, second, strict=True)),
    }


def _distance(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """Largest difference over tokens that both list; if they share none, the top tokens could not differ more."""
    shared = one.keys() & other.keys()
    return max((abs(one[token] - other[token]) for token in shared), default=1e9)
