"""Checks on the experiment itself, before anything is said about the candidate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Answer, Finding, FloatArray, Item, Message, Model, Pair, Status, digest_of
from ftgate.engines.base import Ask
from ftgate.errors import ControlError
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.journal import engine_identity
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.gate.result import Result
from ftgate.jobs.prepare import Job
from ftgate.measurements.base import Measurement
from ftgate.measurements.corruption import bad_answers
from ftgate.stats.bootstrap import difference_bootstrap, relative_drop
from ftgate.stats.seeding import generator

CORRUPTED_SHARE = 0.3
"""This share of the base's answers is replaced by bad ones."""
LARGEST_TOLERANCE = 0.2
"""A policy that lets more than this go by cannot be expected to block the loss of ``CORRUPTED_SHARE``."""
FEW_CHANGES = 3
"""Items' worth of change between two turns of the base that is put down to chance."""
TOO_LENIENT: Mapping[str, Any] = {
    "ok": None,
    "reason": f"not tried: the limit may let more go by than "
    f"spoiling {100 * CORRUPTED_SHARE:.0f} % of the answers loses",
}
PROBES = 8
SMALLEST_EFFECT = 1e-5


def adapter_effect(models: CachedEngine, base: Model, candidate: Model, items: Sequence[Item]) -> dict[str, Any]:
    """Show that the candidate's weights are in force: its next-token log-probabilities differ from the base's.

    Eight prompts are put to the base twice, the second time in reverse order, and to the candidate once. The largest
    change of a log-probability that both report must exceed both ``SMALLEST_EFFECT`` and twice the base's own change
    between its two turns, which is the noise of the engine. Raises ControlError otherwise: an adapter whose modules
    do not match the base is loaded by engines without a word, and would be judged as a perfect copy of the base.
    """
    prompts = [item.messages for item in items[:PROBES]]
    shown = [[[m.role, m.content] for m in prompt] for prompt in prompts]
    key = digest_of(["adapter effect", base.digest, candidate.digest, engine_identity(models.info), shown])
    effect: dict[str, Any] = models.journal.fact(key, lambda: _measure(models, base, candidate, prompts))
    if effect["largest_change"] <= max(SMALLEST_EFFECT, 2 * effect["noise"]):
        raise ControlError(
            f"the adapter changed nothing: on {effect['prompts']} prompts {candidate.name} gives the base's next-token "
            f"probabilities (largest change {effect['largest_change']:.2g}, noise {effect['noise']:.2g})",
            hint="its tensors may be zero, or named for another architecture; check how it was trained and saved",
        )
    return effect


def compare_with_itself(
    first: FloatArray, again: FloatArray, measurement: Measurement, evidence: EvidenceSettings, seed: int
) -> dict[str, Any]:
    """What comparing the base with itself came to. It must not look like a change (methods: section 9).

    ``first`` and ``again`` have shape (n,): the measurement's number for each item, both times. Not ``ok`` when the
    mean moved by a quarter of the measurement's tolerance or more, or surely in one direction by a twentieth or more.
    Up to ``FEW_CHANGES`` items may change whatever share they are: an engine whose batches differ flips one now and
    then, and in a small sample one is a lot. The change is relative where the measurement's limit is.
    """
    absolute = measurement.span * float((first - again).mean())
    change = relative_drop(first, again) if measurement.relative else absolute
    moved = measurement.span * float(np.abs(first - again).sum())
    rng = generator(seed, "base against itself")
    found = difference_bootstrap(first, again, rng, alpha=evidence.alpha, draws=evidence.draws)
    large = abs(change) >= measurement.tolerance / 4 and moved > FEW_CHANGES
    steady = not found.low <= 0 <= found.high and abs(change) >= measurement.tolerance / 20
    unit = "%" if measurement.relative else "p.p."
    reason = f"the base against itself moved by {100 * abs(change):.1f} {unit} on {len(first)} items"
    return {"ok": not (large or steady), "reason": reason, "change": change, "items": len(first)}


def aa_test(job: Job, models: CachedEngine, runs: Sequence[MeasurementRun]) -> dict[str, Any]:
    """Ask the base some questions a second time, in other company and past the journal, and compare its two selves."""
    chosen = [(run, item) for run in runs for item in run.control_items()]
    first = [Ask(job.base, q) for run, item in chosen for q in run.questions(item)]
    again = [Ask(job.base, replace(ask.question, repeat=1)) for ask in first]
    once = iter(models.ask(first, "ask the base twice"))
    # Engines sort what they are asked at once: only other questions, asked apart, make another company.
    halves = [iter(models.ask(again[start::2], "ask the base twice")) for start in (0, 1)]
    twice = (next(halves[i % 2]) for i in range(len(again)))
    pairs: dict[str, list[Pair]] = {run.name: [] for run in runs}
    for run, item in chosen:
        size = len(run.questions(item))
        answers = [tuple(next(turn) for _ in range(size)) for turn in (once, twice)]
        pairs[run.name].append(Pair(item, *answers))
    # All of them together may raise a false alarm no more often than one would.
    rules = job.policy.evidence.model_copy(update={"alpha": job.policy.evidence.alpha / len(runs)})
    outcome = {}
    for run in runs:
        sides = run.measurement.per_item(pairs[run.name], run.score(pairs[run.name]))
        outcome[run.name] = compare_with_itself(*sides, run.measurement, rules, job.seed)
    return outcome


def failed_aa(controls: Mapping[str, Any]) -> frozenset[str]:
    """The measurements in which the base disagreed with itself: nothing that they find will count."""
    return frozenset(name for name, found in controls["a_a"].items() if not found["ok"])


def positive_control(runs: Sequence[MeasurementRun], seed: int) -> dict[str, Any]:
    """Spoil some of the base's answers and see that each measurement would have blocked them."""
    outcome: dict[str, Any] = {}
    for run in runs:
        if run.measurement.tolerance > LARGEST_TOLERANCE:
            outcome[run.name] = TOO_LENIENT
            continue
        assert run.result is not None, "controls come after the last look"
        # Each measurement draws for itself, so that a change to one asks nothing new of the judge about another.
        rng = generator(seed, f"{run.name} positive control")
        pairs = corrupt_answers(run.result.pairs, rng, run.measurement.corrupt)
        outcome[run.name] = caught(run.corrupted(pairs).finding)
    return outcome


def caught(finding: Finding) -> dict[str, Any]:
    """Whether a spoilt base was found out: ``ok`` when it was blocked, None when it was at least not passed.

    Only a suite that passes the spoilt base is blind. One that can neither pass nor block it is thin for a loss of that
    size, and would have held a candidate as bad (docs/decisions/0006).
    """
    seen, ok = {
        Status.BLOCK: ("was blocked", True),
        Status.PASS: ("passed: this suite could not have seen such a loss", False),
        Status.WARN: ("passed: this suite could not have seen such a loss", False),
    }.get(finding.status, ("was held: this suite is thin for a loss of that size", None))
    reason = f"a base with {100 * CORRUPTED_SHARE:.0f} % of its answers spoilt {seen}"
    return {"ok": ok, "reason": reason, "change": finding.claim.change, "status": finding.status.value}


def apply_controls(runs: Sequence[MeasurementRun], controls: Mapping[str, Any]) -> dict[str, Result]:
    """The results by measurement, less what the controls forbid.

    Noise in the engine forbids any decision, blindness a pass.
    """
    kept = {}
    for run in runs:
        assert run.result is not None, "controls come after the last look"
        name, result, finding = run.name, run.result, run.result.finding
        noise, blind = controls["a_a"][name], controls["positive_control"][name]
        if not noise["ok"]:
            finding = replace(finding, status=Status.INCONCLUSIVE, reason=f"control failed: {noise['reason']}")
        elif blind["ok"] is False and finding.status in (Status.PASS, Status.WARN):
            finding = replace(finding, status=Status.INCONCLUSIVE, reason=f"control failed: {blind['reason']}")
        kept[name] = replace(result, finding=finding)
    return kept


def _measure(
    models: CachedEngine, base: Model, candidate: Model, prompts: Sequence[tuple[Message, ...]]
) -> dict[str, Any]:
    engine = models.loaded()
    first = engine.probe(base, prompts)
    second = list(reversed(engine.probe(base, list(reversed(prompts)))))
    changed = engine.probe(candidate, prompts)
    for model, tables in ((base, first), (base, second), (candidate, changed)):
        if any(math.isnan(value) for table in tables for value in table.values()):
            raise ControlError(
                f"{model.name} ({model.reference or model.path}) computes log-probabilities that are not numbers",
                hint="its weights overflow in this dtype or are damaged: check how they were saved",
            )
    return {
        "prompts": len(prompts),
        "largest_change": max(_distance(a, b) for a, b in zip(first, changed, strict=True)),
        "noise": max(_distance(a, b) for a, b in zip(first, second, strict=True)),
    }


def _distance(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    """Largest difference over tokens that both list; if they share none, the top tokens could not differ more."""
    shared = one.keys() & other.keys()
    return max((abs(one[token] - other[token]) for token in shared), default=1e9)


def corrupt_answers(
    pairs: Sequence[Pair], rng: np.random.Generator, corrupt: Callable[[Pair, Pair], tuple[Answer, ...]] = bad_answers
) -> tuple[Pair, ...]:
    """The base against itself with ``CORRUPTED_SHARE`` of its answers replaced (methods: section 9).

    ``corrupt`` gives bad answers to an item, and may take them from the next one. The same pairs and generator state
    give the same result.
    """
    chosen = set(rng.permutation(len(pairs))[: math.ceil(CORRUPTED_SHARE * len(pairs))].tolist())
    return tuple(
        replace(pair, candidate=corrupt(pair, pairs[(i + 1) % len(pairs)]) if i in chosen else pair.base)
        for i, pair in enumerate(pairs)
    )
