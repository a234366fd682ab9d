"""Deciding a measurement, with contaminated items left out.

An item that occurs in the training data shows what the candidate memorised, not what it can do, so the decision rests
on the clean items. But the training data are named by the author of the change, so leaving items out must only make
the gate stricter: a pass must also hold with the contaminated items counted in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import PurePath
from typing import Any

from ftgate.config.profiles import COMPRESSION
from ftgate.contamination import Match, Overlap
from ftgate.contamination.scan import VERSION, scan_training_data
from ftgate.datasets.suites import repeats_text
from ftgate.domain import Estimate, Finding, Item, Slice, Status, digest_of
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.result import Result
from ftgate.jobs.prepare import Job
from ftgate.measurements.base import AnyMeasurement, Evidence, Measurement, judge_unfit
from ftgate.measurements.estimate import label_details
from ftgate.measurements.flips import with_flips
from ftgate.measurements.gated_slices import idle_notes
from ftgate.measurements.incumbent import Comparison
from ftgate.measurements.looks import Look, asked_items
from ftgate.measurements.tail_map import TailMap
from ftgate.measurements.traces import count_traces, traces_note
from ftgate.report import numbers
from ftgate.scoring.scorer_facts import JUDGED
from ftgate.stats.seeding import drawn_order, generator
from ftgate.verdict import assess

MOST_ASKED = 200
"""At most this many contaminated items of a suite are asked about, for information."""
MOST_REVIEWED = 200
_ALLOWS = (Status.PASS, Status.WARN, Status.NOT_APPLICABLE)
"""The outcomes that do not stand in the way of an allow."""


def find_overlaps(job: Job, models: CachedEngine) -> dict[str, Overlap]:
    """The items of each suite that occur in the training data; empty without training data. Cached in the journal.

    Raises ConfigurationError if the journal has no result and the training file is missing.
    """
    training, overlaps = job.training, dict[str, Overlap]()
    if training is None:
        return overlaps
    scanned: dict[str, Overlap] = {}

    def scan(name: str) -> Callable[[], dict[str, Any]]:
        def compute() -> dict[str, Any]:
            if not scanned:  # one pass over the training data serves every suite
                scanned.update(scan_training_data(job.suites, training, models.progress))
            return asdict(scanned[name])

        return compute

    for name, suite in job.suites.items():
        mapping = [] if training.columns is None else [training.columns.model_dump(mode="json")]
        key = digest_of(["contamination", VERSION, training.sha256, suite.sha256, *mapping])
        matches = models.journal.fact(key, scan(name))
        parts = ({i: Match(**match) for i, match in matches[part].items()} for part in ("contained", "alike"))
        overlaps[name] = Overlap(*parts)
    return overlaps


def exclude_contaminated(job: Job, overlaps: Mapping[str, Overlap]) -> Job:
    """The job with its contaminated items moved from the suites to ``excluded_items``.

    A suite without a single clean item stays as it is: it is shown, and nothing is decided on it.
    """
    suites, excluded_items = dict(job.suites), dict[str, tuple[Item, ...]]()
    for name, overlap in overlaps.items():
        clean = tuple(item for item in suites[name].items if item.id not in overlap.contained)
        if clean and overlap.contained:
            excluded_items[name] = tuple(item for item in suites[name].items if item.id in overlap.contained)
            suites[name] = replace(suites[name], items=clean)
    return replace(job, suites=suites, overlaps=overlaps, excluded_items=excluded_items)


def leave_out_head(job: Job, tail_map: TailMap | None) -> Job:
    """The job without most of the items that decide nothing (:func:`~ftgate.measurements.looks.asked_items`)."""
    suites, not_asked = dict(job.suites), dict[str, int]()
    for m in job.measurements:
        suite = suites[m.name]
        asked = asked_items(m, suite.items, tail_map if m.distances is not None else None, job.seed)
        if len(asked) < len(suite.items):
            suites[m.name] = replace(suite, items=asked)
            not_asked[m.name] = len(suite.items) - len(asked)
    return replace(job, suites=suites, not_asked=not_asked)


def excluded_sample(job: Job, name: str) -> tuple[Item, ...]:
    """The contaminated items that are asked about for information: all, or ``MOST_ASKED`` at random."""
    items = job.excluded_items.get(name, ())
    if len(items) <= MOST_ASKED:
        return items
    chosen = drawn_order(job.seed, f"{name} aside", [item.id for item in items])[:MOST_ASKED]
    return tuple(items[i] for i in sorted(chosen))


def decide_measurement(job: Job, measurement: Comparison, evidence: Evidence, look: Look) -> Result:
    """Decide a measurement on the clean items of ``evidence``. A pass must also hold on all items."""
    rules, overlap = job.policy.evidence, job.overlaps.get(measurement.name)
    clean, excluded = _split_evidence(job, measurement, evidence)
    finding = assess(_without_grades(measurement.compare(clean, generator(job.seed, measurement.name)), clean), rules)
    if overlap is not None:
        finding = _with_exclusion_reason(finding, job, overlap)
    if excluded.pairs and finding.status in _ALLOWS:
        estimate_of_all = measurement.compare(evidence, generator(job.seed, measurement.name))
        finding = _confirm_pass(finding, assess(estimate_of_all, rules), len(excluded.pairs))
    title = numbers.in_sentence(measurement.name)
    finding = replace(finding, kind=measurement.kind, tier=measurement.tier, title=title)
    return Result(look, clean.pairs, clean.scored, finding, evidence)


def _without_grades(estimate: Estimate, evidence: Evidence) -> Estimate:
    """``estimate`` without its numbers if the judge is unfit: nothing was graded."""
    if judge_unfit(evidence.judge_validation) is None:
        return estimate
    nan = math.nan
    return replace(estimate, base=nan, candidate=nan, change=nan, interval=(nan, nan), gates=(), needed_n=None)


def add_details(job: Job, measurement: AnyMeasurement, result: Result) -> Result:
    """``result`` with what the report shows beside the decision: slices, details and the contaminated items.

    Where an unfit judge graded nothing, that is what the items show that rules score.
    """
    clean, excluded = _split_evidence(job, measurement, result.evidence)
    rng = generator(job.seed, f"{measurement.name} details")
    if judge_unfit(clean.judge_validation) is not None:
        estimate, ruled = result.finding.estimate, _scored_by_rule(measurement, clean)
        estimate = measurement.with_details(estimate, ruled, rng) if ruled.pairs else estimate
        estimate = _with_data_details(estimate, job, measurement, clean)
        return replace(result, finding=replace(result.finding, estimate=estimate))
    estimate = measurement.with_details(result.finding.estimate, clean, rng)
    if sampling := measurement.sampling_details():
        estimate = replace(estimate, details={**estimate.details, **sampling})
    estimate = _with_data_details(estimate, job, measurement, clean)
    if clean.labelled is not None:
        about = estimate.about
        part = [i for i, item in enumerate(clean.scored.items) if about is None or item.id in about]
        people = label_details(clean.scored.subset(part), clean, estimate)
        if people and people["people"]["corrected"]:
            alone = _without_people(job, measurement, result)
            people["people"]["status_by_the_judge_alone"] = alone.status.value
            if alone.estimate.unit == estimate.unit:  # above the floor, which a corrected drop has none of
                people["people"]["by_the_judge_alone"] = alone.estimate.change
        estimate = replace(estimate, details={**estimate.details, **people})
    if job.policy.extends == COMPRESSION:
        estimate = replace(estimate, details=with_flips(estimate.details, clean.scored))
    if excluded.pairs:
        of_excluded = measurement.compare(excluded, generator(job.seed, measurement.name))
        of_all = measurement.compare(result.evidence, generator(job.seed, measurement.name))
        extra_slices = (
            _slice("contaminated items", of_excluded, estimate),
            _slice("clean and contaminated items", of_all, estimate),
        )
        estimate = replace(estimate, slices=(*estimate.slices, *(part for part in extra_slices if part is not None)))
    return replace(result, finding=replace(result.finding, estimate=estimate))


def _scored_by_rule(measurement: AnyMeasurement, evidence: Evidence) -> Evidence:
    """The evidence of the items that no judge scores."""
    assert isinstance(measurement, Measurement), "a judge grades nothing for a derived one"
    scorers = [measurement.scored_by(pair.item) for pair in evidence.pairs]
    return _subset(evidence, [i for i, scorer in enumerate(scorers) if scorer not in JUDGED])


def _with_data_details(estimate: Estimate, job: Job, measurement: AnyMeasurement, clean: Evidence) -> Estimate:
    """``estimate`` with the contaminated items, the reasoning traces, and what is odd about the suite."""
    overlap = job.overlaps.get(measurement.name)
    if overlap is not None and (overlap.contained or overlap.alike):
        estimate = _with_overlap_details(estimate, job, overlap)
    suite = job.suites.get(measurement.name)  # a derived measurement has none
    if suite is None:
        return estimate
    traces = count_traces(clean.pairs)
    more = [note for note in (traces_note(traces), repeats_text(suite), *idle_notes(estimate.gates)) if note]
    notes = {"notes": [*estimate.details.get("notes", ()), *more]} if more else {}
    return replace(estimate, details={**estimate.details, **({"traces": traces} if traces else {}), **notes})


def _without_people(job: Job, measurement: AnyMeasurement, result: Result) -> Finding:
    """What ``result`` would be by the judge alone."""
    alone = replace(result.evidence, labelled=None)
    return decide_measurement(job, measurement, alone, result.look).finding


def _split_evidence(job: Job, measurement: Comparison, evidence: Evidence) -> tuple[Evidence, Evidence]:
    """The evidence of the clean items, and of the contaminated ones."""
    excluded_ids = {item.id for item in job.excluded_items.get(measurement.name, ())}
    excluded = [i for i, pair in enumerate(evidence.pairs) if pair.item.id in excluded_ids]
    clean = [i for i, pair in enumerate(evidence.pairs) if pair.item.id not in excluded_ids]
    return _subset(evidence, clean), _subset(evidence, excluded)


def _subset(evidence: Evidence, index: Sequence[int]) -> Evidence:
    if len(index) == len(evidence.pairs):
        return evidence
    return replace(evidence, pairs=tuple(evidence.pairs[i] for i in index), scored=evidence.scored.subset(index))


def _slice(name: str, part: Estimate, whole: Estimate) -> Slice | None:
    """The result on some items as a slice; without a change if its unit differs from that of ``whole``."""
    if not part.n:
        return None
    change, interval = (part.change, part.interval) if part.unit == whole.unit else (float("nan"), None)
    return Slice(name, part.n, part.base, part.candidate, change, interval)


def _with_overlap_details(estimate: Estimate, job: Job, overlap: Overlap) -> Estimate:
    """``estimate`` with every contaminated item in its details, and the training row that it occurs in."""
    training = job.training
    file = PurePath(training.source).name if training is not None else ""
    total = job.suite_size(estimate.measurement)
    details = {
        "contaminated": len(overlap.contained),
        "of": total,
        "contaminated_items": [f"{i} ({file}:{s.line}, {s.by})" for i, s in overlap.contained.items()],
        "to_review": len(overlap.alike),
        "items_to_review": [
            f"{i} ({file}:{s.line}, {s.by}: {100 * s.likeness:.0f} %)"
            for i, s in list(overlap.alike.items())[:MOST_REVIEWED]
        ],
    }
    notes = list(estimate.details.get("notes", ()))
    if overlap.contained:
        notes.append(f"{_exclusion_note(overlap, total)}; see the slice `contaminated items`")
    return replace(estimate, details={**estimate.details, "contamination": details, "notes": notes})


def _exclusion_note(overlap: Overlap, total: int) -> str:
    one = len(overlap.contained) == 1
    items = f"{len(overlap.contained)} of the suite's {total} rows {'occurs' if one else 'occur'} in the training data"
    return f"{items} and {'does' if one else 'do'} not count"


def _with_exclusion_reason(finding: Finding, job: Job, overlap: Overlap) -> Finding:
    """An undecided finding with the number of items that were excluded added to its reason."""
    total = job.suite_size(finding.estimate.measurement)
    if overlap.contained and len(overlap.contained) == total:
        reason = f"all {total} items occur in the training data, so none is left to decide on"
        return Finding(replace(finding.estimate, invalid_reason=reason), Status.INCONCLUSIVE, reason)
    if overlap.contained and not finding.settled:
        return replace(finding, reason=f"{finding.reason}; {_exclusion_note(overlap, total)}")
    return finding


def _confirm_pass(finding: Finding, finding_on_all: Finding, n: int) -> Finding:
    """``finding``, which allows, if the contaminated items do not change that; inconclusive otherwise.

    Training on an item should only raise the candidate's score on it. If counting such items in loses the pass, then
    excluding them helped the candidate, and the training data may have been chosen for that.
    """
    if finding_on_all.status in _ALLOWS:
        return finding
    contrast = "it passes on the clean items, but not"
    if finding.status is Status.NOT_APPLICABLE:
        contrast = "it is not applicable on the clean items alone, but"
    reason = f"{contrast} with the {n} contaminated ones: {finding_on_all.reason}"
    return replace(finding, status=Status.INCONCLUSIVE, reason=reason, leaning=finding_on_all.leaning)
