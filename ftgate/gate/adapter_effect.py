"""The control of the candidate's weights: they must change what the base computes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ftgate.domain import EngineInfo, Item, Message, Model, digest_of
from ftgate.engines.base import Engine, UnprobedError
from ftgate.engines.chat_template import chat_of
from ftgate.engines.split import SplitEngine
from ftgate.errors import ControlError
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.journal import engine_identity
from ftgate.models.dimensions import read_dimensions
from ftgate.report.failed_controls import SMALLEST_EFFECT, takes_effect

CHANGED_NOTHING: Mapping[str, tuple[str, str]] = {
    "adapter": (
        "the adapter",
        "its tensors may be zero, or named for another architecture; check how it was trained and saved",
    ),
    "weights": (
        "training",
        "the candidate computes what the base does: check that the manifest names the fine-tuned weights, "
        "and that they were saved after training",
    ),
}
"""What had no effect, and what to do: for an adapter, and for a candidate with weights of its own."""
STEADY: Mapping[str, str] = {
    "endpoint": "have the server answer alike each time (vllm serve with VLLM_BATCH_INVARIANT=1), or ask it less at "
    "once: engine.endpoint.concurrency: 1",
    "engine": "run it where the engine repeats itself: VLLM_BATCH_INVARIANT=1 on a GPU that can, or dtype: float32",
}
"""What makes noise smaller, at an endpoint and in an engine of one's own."""
PROBES = 8
NOTHING_SHARED = 1e9
"""Stands for the change of log-probabilities where none can be compared; never shown as a number."""
APART = "the most likely next tokens of the two models have none in common"


def adapter_effect(models: CachedEngine, base: Model, candidate: Model, items: Sequence[Item]) -> dict[str, Any]:
    """Check that the candidate's weights take effect: its next-token log-probabilities differ from the base's.

    The base answers eight prompts twice, the second time in reverse order, the candidate once. The largest change of a
    log-probability between base and candidate must exceed both ``SMALLEST_EFFECT`` and twice the change between the
    base's two passes, which is the engine's noise. Both are asked in the base's template. An adapter on an engine of
    its own is compared with its base on that engine, as another form changes log-probabilities by itself; where full
    weights have another form than the base, ``forms`` says so, and the change proves nothing about training. Raises
    ControlError otherwise: engines silently ignore an adapter whose modules do not match the base, and the gate would
    then compare the base with itself.
    """
    prompts = [item.messages for item in items[:PROBES]]
    texts = [[m.key for m in prompt] for prompt in prompts]
    # Only the weights may differ: another template would hide that they do nothing.
    if candidate.kind == "adapter":
        candidate = replace(candidate, chat=base.chat)
    elif candidate.facts.get("chat", {}).get("template") == "its own":
        candidate = replace(candidate, chat=chat_of(base)._replace(tokenizer=chat_of(candidate).tokenizer))
    engines = [models.info_of(candidate)]
    if candidate.kind != "adapter" and engines[0] != models.info:
        engines.insert(0, models.info)
    identities = [engine_identity(info) for info in engines]
    key = digest_of(["adapter effect", base.digest, candidate.digest, *identities, texts])
    effect: dict[str, Any] = models.journal.fact(key, lambda: _measure_effect(models, base, candidate, prompts))
    if effect["prompts"] == 0 and candidate.kind == "endpoint":
        return effect
    if not takes_effect(effect):
        raise _no_effect(effect, candidate)
    return effect


def _no_effect(effect: Mapping[str, Any], candidate: Model) -> ControlError:
    """What to say of a change that is none, or that is within the engine's noise."""
    what, hint = CHANGED_NOTHING["weights" if candidate.base is None else "adapter"]
    change, noise, prompts = effect["largest_change"], effect["noise"], effect["prompts"]
    if change > SMALLEST_EFFECT:
        return ControlError(
            f"noise hides what {what} changed: on {prompts} prompts {candidate.name} moves next-token "
            f"log-probabilities by up to {change:.2g}, and the base its own by up to {noise:.2g} if it is asked again",
            hint=STEADY["endpoint" if candidate.kind == "endpoint" else "engine"],
        )
    return ControlError(
        f"{what} changed nothing: on {prompts} prompts {candidate.name} gives the base's next-token "
        f"probabilities (largest change {change:.2g}, noise {noise:.2g})",
        hint=hint,
    )


def differing_forms(models: CachedEngine, base: Model, candidate: Model) -> str:
    """In what form the candidate runs and the base does not, in words; empty if an effect can be but the weights'.

    An adapter is compared with its base in its own form. Of servers nothing is known but their addresses.
    """
    if candidate.kind == "adapter":
        return ""
    if candidate.kind == "endpoint":
        return "they are at two servers" if base.address != candidate.address else ""
    pairs = [
        ("stored quantisation", *(model.facts.get("quantisation", "none") for model in (base, candidate))),
        ("dtype", *(_dtype_of(models.info_of(model), model) for model in (base, candidate))),
        *(
            (name, *(models.info_of(model).settings.get(name) or "none" for model in (base, candidate)))
            for name in ("quantization", "kv_cache_dtype", "tensor_parallel_size")
        ),
    ]
    return ", ".join(f"{name} {one} and {other}" for name, one, other in pairs if one != other)


def _dtype_of(info: EngineInfo, model: Model) -> str:
    """The data type that ``model`` runs in: where the engine leaves that to config.json, the one there."""
    return info.dtype if info.dtype != "auto" else read_dimensions(model.path, model.reference).dtype


def _measure_effect(
    models: CachedEngine, base: Model, candidate: Model, prompts: Sequence[tuple[Message, ...]]
) -> dict[str, Any]:
    engine = models.loaded()
    if isinstance(engine, SplitEngine) and candidate.kind == "adapter":  # it has loaded the base, too
        engine = engine.loaded_for(candidate)
    try:
        first, second = _base_probes(models, engine, base, prompts)
        changed = engine.probe(candidate, prompts)
    except UnprobedError as problem:
        return {"ok": None, "reason": f"not checked: {problem.message}", "prompts": 0}
    for model, tables in ((base, first), (base, second), (candidate, changed)):
        if any(math.isnan(value) for table in tables for value in table.values()):
            raise ControlError(
                f"{model.name} ({model.reference or model.path}) computes NaN log-probabilities",
                hint="its weights overflow in this dtype or are damaged: check how they were saved",
            )
    forms = differing_forms(models, base, candidate)
    change = max(_largest_difference(a, b) for a, b in zip(first, changed, strict=True))
    return {
        **({"forms": forms} if forms else {}),
        **({"reason": f"{APART} ({len(prompts)} prompts)"} if change == NOTHING_SHARED else {}),
        "prompts": len(prompts),
        "largest_change": change,
        "noise": max(_largest_difference(a, b) for a, b in zip(first, second, strict=True)),
    }


def _base_probes(
    models: CachedEngine, engine: Engine, base: Model, prompts: Sequence[tuple[Message, ...]]
) -> list[Sequence[Mapping[Any, float]]]:
    """The base's tables of both passes, kept: two candidates may be compared with a base that has left the device."""
    key = (engine, base, digest_of([[m.key for m in prompt] for prompt in prompts]))
    if key not in models.probes:
        first = engine.probe(base, prompts)
        models.probes[key] = [first, list(reversed(engine.probe(base, list(reversed(prompts)))))]
    tables: list[Sequence[Mapping[Any, float]]] = models.probes[key]
    return tables


def _largest_difference(first: Mapping[int, float], second: Mapping[int, float]) -> float:
    """Largest difference over the tokens that both list; ``NOTHING_SHARED`` if there are none."""
    shared = first.keys() & second.keys()
    return max((abs(first[token] - second[token]) for token in shared), default=NOTHING_SHARED)
