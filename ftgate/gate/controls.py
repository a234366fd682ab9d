"""Controls: checks that the experiment itself works, so that its results say something about the candidate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Answer, Finding, FloatArray, Item, Pair, Status
from ftgate.engines.base import Ask
from ftgate.errors import ConfigurationError
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.derived_run import DerivedRun
from ftgate.gate.measurement_run import MeasurementRun
from ftgate.gate.result import Result
from ftgate.jobs.prepare import Job
from ftgate.measurements.base import AnyMeasurement
from ftgate.measurements.corruption import bad_answers
from ftgate.report.failed_controls import caught, overruling, passes_corrupted
from ftgate.stats.bootstrap import relative_drop
from ftgate.stats.seeding import generator
from ftgate.stats.sign_flip import sign_flip_p

CORRUPTED_SHARE = 0.3
"""The positive control replaces this share of the base's answers by bad ones."""
LARGEST_TOLERANCE = 0.2
"""With a tolerance above this, a measurement need not block the loss of ``CORRUPTED_SHARE``; it is not tested."""
TOO_LENIENT: Mapping[str, Any] = {
    "ok": None,
    "reason": "not run: the limit may allow a larger loss than corrupting "
    f"{100 * CORRUPTED_SHARE:.0f} % of the answers causes",
}
UNJUDGED: dict[str, Any] = {"ok": None, "reason": "not run: the judge failed its test, so nothing was graded"}
NOTHING_READ: dict[str, Any] = {"ok": None, "reason": "not run: no answer was given in free form"}
NOT_NEEDED: Mapping[str, Any] = {
    "ok": None,
    "reason": "not run: only a pass could fall to it, and the judge would have to grade more answers",
}
UNGRADED: Mapping[str, Any] = {
    "ok": False,
    "reason": f"a base with {100 * CORRUPTED_SHARE:.0f} % of its answers corrupted was not graded in that run, "
    "which did not pass: run `ftgate run` again",
}
FEWER_PAIRS = 100
FEWER_SHARE = 0.1
"""A judge grades the corrupted answers among so many items first; they must block at this share of alpha."""
ITSELF = "base against itself"
"""The phase of the A/A test."""


def compare_with_itself(
    first: FloatArray, second: FloatArray, measurement: AnyMeasurement, evidence: EvidenceSettings, seed: int
) -> dict[str, Any]:
    """The result of comparing the base with itself, which must show no change (methods: section 9).

    ``first`` and ``second`` have shape (n,): the measurement's number for each item in either pass. Not ``ok`` if the
    mean moved by at least a quarter of the measurement's tolerance *and* the moves do not scatter around 0: the p of a
    sign-flip test (:func:`ftgate.stats.sign_flip.sign_flip_p`) is at most alpha. A base that answers some items anew
    each time moves by chance, in either direction, and is sound. The change is relative if the measurement's limit is.
    """
    changes = change_without_cause(first, second, measurement, seed)
    return change_outcome(measurement, evidence, "the base against itself changed by", **changes)


def change_without_cause(
    first: FloatArray, second: FloatArray, measurement: AnyMeasurement, seed: int
) -> dict[str, Any]:
    """How much a measurement's result moved between two passes that should agree, the p of that, and on how many items.

    The change is relative if the measurement's limit is.
    """
    absolute = measurement.span * float((first - second).mean())
    change = relative_drop(first, second) if measurement.relative else absolute
    p_value = sign_flip_p(first - second, generator(seed, f"{measurement.name} against itself"))
    return {"change": change, "items": len(first), "p_value": p_value}


def change_outcome(
    measurement: AnyMeasurement, evidence: EvidenceSettings, words: str, *, change: float, items: int, p_value: float
) -> dict[str, Any]:
    """The outcome of a control that found ``change``, which ``words`` introduce (:func:`compare_with_itself`)."""
    ok = abs(change) < measurement.tolerance / 4 or p_value > evidence.alpha
    unit = "%" if measurement.relative else "points"
    reason = f"{words} {100 * abs(change):.1f} {unit} on {items} items"
    return {"ok": ok, "reason": reason, "change": change, "items": items, "p_value": p_value}


def aa_test(
    job: Job, models: CachedEngine, runs: Sequence[MeasurementRun], derived: Sequence[DerivedRun] = ()
) -> dict[str, Any]:
    """Ask the base some questions twice, the second time in different batches, and compare the two passes."""
    chosen, passes = ask_twice(job, models, runs)
    pairs: dict[str, list[Pair]] = {run.name: [] for run in runs}
    for run, item in chosen:
        size = len(run.questions(item))
        answers = [tuple(next(answers_of) for _ in range(size)) for answers_of in passes]
        pairs[run.name].append(Pair(item, *answers))
    # Bonferroni: all measurements together have the false-alarm rate of one.
    tested = len(runs) + len(derived)
    rules = job.policy.evidence.model_copy(update={"alpha": job.policy.evidence.alpha / tested})
    outcome: dict[str, Any] = {}
    for run in runs:
        if run.judge_unfit:
            outcome[run.name] = UNJUDGED
            continue
        sides = run.measurement.per_item(pairs[run.name], run.score(pairs[run.name]))
        outcome[run.name] = compare_with_itself(*sides, run.measurement, rules, job.seed)
        if (invariant := models.info.settings.get("batch_invariant")) is not None:
            outcome[run.name]["reason"] += f", {'with' if invariant else 'without'} batch-invariant kernels"
    for other in derived:
        first, second = other.per_item([(run.measurement, pairs[run.name]) for run in runs])
        outcome[other.name] = (
            compare_with_itself(first, second, other.measurement, rules, job.seed) if len(first) else NOTHING_READ
        )
    return outcome


def ask_twice(
    job: Job, models: CachedEngine, runs: Sequence[MeasurementRun]
) -> tuple[list[tuple[MeasurementRun, Item]], tuple[Iterator[Answer], Iterator[Answer]]]:
    """The items of the A/A test, and the base's answers to their questions, in order, of the first and second pass."""
    chosen = [(run, item) for run in runs for item in run.control_items()]
    first_asks = [Ask(job.base, q) for run, item in chosen for q in run.questions(item)]
    second_asks = [Ask(job.base, replace(ask.question, repeat=1)) for ask in first_asks]
    with models.one_phase([*first_asks, *second_asks], ITSELF):
        first_answers = iter(models.ask(first_asks, ITSELF))
        # Engines sort the questions of one call, so only separate calls with other questions change the batches.
        halves = [iter(models.ask(second_asks[start::2], ITSELF)) for start in (0, 1)]
    second_answers = (next(halves[i % 2]) for i in range(len(second_asks)))
    return chosen, (first_answers, second_answers)


def failed_aa(controls: Mapping[str, Any]) -> frozenset[str]:
    """The measurements that failed the A/A test: their results do not count."""
    return frozenset(name for name, outcome in controls["a_a"].items() if outcome["ok"] is False)


def positive_control(runs: Sequence[MeasurementRun | DerivedRun], seed: int) -> dict[str, Any]:
    """Corrupt some of the base's answers and check that each measurement blocks the result.

    A judge grades them only where that can change the verdict, and no more of them than needed.
    """
    outcome: dict[str, Any] = {}
    blocked = any(run.result is not None and run.result.finding.blocks for run in runs)
    for run in runs:
        if run.measurement.tolerance > LARGEST_TOLERANCE:
            outcome[run.name] = TOO_LENIENT
            continue
        assert run.result is not None, "controls come after the last look"
        # A generator for each measurement: changing one leaves the corrupted answers of the others, and their grades.
        rng = generator(seed, f"{run.name} positive control")
        pairs = corrupt_answers(run.result.pairs, rng, run.measurement.corrupt)
        if run.result.evidence.judge_validation is None:
            outcome[run.name] = positive_control_outcome(run.corrupted(pairs).finding)
        elif blocked or run.result.finding.status not in (Status.PASS, Status.WARN):
            outcome[run.name] = NOT_NEEDED
        else:
            outcome[run.name] = _judged_control(run, pairs, rng)
    return outcome


def _judged_control(
    run: MeasurementRun | DerivedRun, pairs: Sequence[Pair], rng: np.random.Generator
) -> Mapping[str, Any]:
    """The outcome on the ``FEWER_PAIRS`` that come first in a random order or, unless they block, on all.

    A loss that is detected among fewer items is detected among all of them. Each of the two tries may block by chance:
    the first at ``FEWER_SHARE`` of the error level, so that both together do hardly more often than the second alone.
    """
    try:
        if len(pairs) > FEWER_PAIRS:
            some = sorted(rng.permutation(len(pairs))[:FEWER_PAIRS].tolist())
            finding = run.corrupted([pairs[i] for i in some], FEWER_SHARE).finding
            if finding.status is Status.BLOCK:
                return positive_control_outcome(finding)
        return positive_control_outcome(run.corrupted(pairs).finding)
    except ConfigurationError:  # deciding again, without an engine, what was decided otherwise: nothing was graded then
        return UNGRADED


def positive_control_outcome(finding: Finding) -> dict[str, Any]:
    """Whether the corrupted base was detected: ``ok`` if it was blocked, False if it passed, None otherwise.

    Not run where a policy that allows a loss meets a base that has no more to lose: a pass says nothing against the
    suite then. A suite that passes the corrupted base cannot detect such a loss. One that holds it has too few items
    for a loss of that size, but would hold a candidate that bad as well (docs/decisions/0006).
    """
    if finding.status is Status.NOT_APPLICABLE:
        return {"ok": None, "reason": f"not run: {finding.reason}"}
    estimate = finding.estimate
    if estimate.worse == "down" and CORRUPTED_SHARE * estimate.base <= -estimate.limit:
        costs = f"corrupting {100 * CORRUPTED_SHARE:.0f} % of its answers costs no more than the limit allows"
        return {"ok": None, "reason": f"not run: the base scores {100 * estimate.base:.1f} of 100, and {costs}"}
    ok = caught(finding.status.value)
    happened = {
        True: "was blocked",
        False: "passed: this suite cannot detect such a loss",
        None: "was held: this suite has too few items for a loss of that size",
    }[ok]
    reason = f"a base with {100 * CORRUPTED_SHARE:.0f} % of its answers corrupted {happened}"
    return {"ok": ok, "reason": reason, "change": finding.estimate.change, "status": finding.status.value}


def judge_model(judge: CachedEngine | None) -> dict[str, Any]:
    """Whether one model graded everything, by the name that the judge's endpoint gives with each reply.

    Empty for a judge without such names. An endpoint may switch to another model while a run is going on, or between
    two runs whose answers are combined; grades by two judges do not compare.
    """
    names = sorted(set().union(*judge.served.values())) if judge is not None else []
    if not names:
        return {}
    one = len(names) == 1
    reason = f"the judge's endpoint answered as {', '.join(names)}" + ("" if one else ": grades by two models differ")
    return {"judge_model": {"ok": one, "reason": reason, "names": names}}


def apply_controls(runs: Sequence[MeasurementRun | DerivedRun], controls: Mapping[str, Any]) -> dict[str, Result]:
    """The results by measurement, with those that a failed control overrules made inconclusive.

    A failed A/A test overrules any decision. So do what an adapter of zeros changes, a model that changed at its
    endpoint, and a judge that did, where it graded; a failed positive control overrules only a pass.
    """
    results = {}
    for run in runs:
        assert run.result is not None, "controls come after the last look"
        name, result, finding = run.name, run.result, run.result.finding
        judged = result.evidence.judge_validation is not None
        if failing := overruling(name, controls, judged=judged):
            results[name] = _overruled(result, failing[0])
            continue
        if passes_corrupted(name, controls) and finding.status in (Status.PASS, Status.WARN):
            reason = f"control failed: {controls['positive_control'][name]['reason']}"
            finding = replace(finding, status=Status.INCONCLUSIVE, reason=reason)
        results[name] = replace(result, finding=finding)
    return results


def _overruled(result: Result, control: Mapping[str, Any]) -> Result:
    """``result`` with every comparison inconclusive, because ``control`` failed."""
    reason = f"control failed: {control['reason']}"
    finding = replace(result.finding, status=Status.INCONCLUSIVE, reason=reason)
    rival = result.incumbent and _overruled(result.incumbent, control)
    return replace(result, finding=finding, incumbent=rival)


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
