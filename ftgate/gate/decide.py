"""Contamination: items that the training data holds, which say nothing about what a candidate can do by itself.

A verdict rests on clean items alone. Who names the training data is who wants the change, so leaving items out may only
make the gate stricter: a pass must also stand with the items that were left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import PurePath
from typing import Any

from ftgate.contamination import Match, Overlap
from ftgate.contamination.scan import VERSION, scan_training_data
from ftgate.domain import Estimate, Finding, Item, Slice, Status, digest_of
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.result import Result
from ftgate.jobs.prepare import Job
from ftgate.measurements.base import Evidence, Measurement
from ftgate.measurements.looks import Look
from ftgate.stats.seeding import drawn_order, generator
from ftgate.verdict import assess

MOST_ASKED = 200
"""Contaminated items of a suite that are asked about, to be shown beside the clean ones."""
MOST_REVIEWED = 200
_GOOD = (Status.PASS, Status.WARN)


def find_overlaps(job: Job, models: CachedEngine) -> dict[str, Overlap]:
    """What the training data holds of each suite; empty without training data. Known results come from the journal.

    Raises ConfigurationError where the journal does not hold them and the training file is not at hand.
    """
    training, found = job.training, dict[str, Overlap]()
    if training is None:
        return found
    scanned: dict[str, Overlap] = {}

    def scan(name: str) -> Callable[[], dict[str, Any]]:
        def compute() -> dict[str, Any]:
            if not scanned:  # one pass over the training data serves every suite
                scanned.update(scan_training_data(job.suites, training, models.progress))
            return asdict(scanned[name])

        return compute

    for name, suite in job.suites.items():
        key = digest_of(["contamination", VERSION, training.sha256, suite.sha256])
        known = models.journal.fact(key, scan(name))
        parts = ({i: Match(**seen) for i, seen in known[part].items()} for part in ("contained", "alike"))
        found[name] = Overlap(*parts)
    return found


def exclude_contaminated(job: Job, found: Mapping[str, Overlap]) -> Job:
    """The job with its contaminated items in ``excluded_items`` instead of its suites.

    A suite without one clean item stays as it is: there is nothing else to show, and nothing is decided on it.
    """
    suites, excluded_items = dict(job.suites), dict[str, tuple[Item, ...]]()
    for name, overlap in found.items():
        clean = tuple(item for item in suites[name].items if item.id not in overlap.contained)
        if clean and overlap.contained:
            excluded_items[name] = tuple(item for item in suites[name].items if item.id in overlap.contained)
            suites[name] = replace(suites[name], items=clean)
    return replace(job, suites=suites, overlaps=found, excluded_items=excluded_items)


def excluded_sample(job: Job, name: str) -> tuple[Item, ...]:
    """The contaminated items that are asked about for information: all, or a random ``MOST_ASKED`` of them."""
    items = job.excluded_items.get(name, ())
    if len(items) <= MOST_ASKED:
        return items
    chosen = drawn_order(job.seed, f"{name} aside", [item.id for item in items])[:MOST_ASKED]
    return tuple(items[i] for i in sorted(chosen))


def decide_measurement(job: Job, measurement: Measurement, evidence: Evidence, look: Look) -> Result:
    """Decide a measurement on the clean items of ``evidence``; a pass must stand with the others too."""
    rules, overlap = job.policy.evidence, job.overlaps.get(measurement.name)
    clean, excluded_items = _parted(job, measurement, evidence)
    finding = assess(measurement.compare(clean, generator(job.seed, measurement.name)), rules)
    if overlap is not None:
        finding = _explained(finding, job, overlap)
    if excluded_items.pairs and finding.status in _GOOD:
        everything = measurement.compare(evidence, generator(job.seed, measurement.name))
        finding = _confirmed(finding, assess(everything, rules), len(excluded_items.pairs))
    return Result(look, clean.pairs, clean.scored, finding, evidence)


def add_details(job: Job, measurement: Measurement, result: Result) -> Result:
    """The result with all that is shown beside its decision: slices, details, and what items left out would say."""
    overlap = job.overlaps.get(measurement.name)
    clean, excluded_items = _parted(job, measurement, result.evidence)
    claim = measurement.with_details(result.finding.claim, clean, generator(job.seed, f"{measurement.name} details"))
    if overlap is not None and (overlap.contained or overlap.alike):
        claim = _documented(claim, job, overlap)
    if excluded_items.pairs:
        apart = measurement.compare(excluded_items, generator(job.seed, measurement.name))
        everything = measurement.compare(result.evidence, generator(job.seed, measurement.name))
        shown = (_slice("contaminated items", apart, claim), _slice("clean and contaminated items", everything, claim))
        claim = replace(claim, slices=(*claim.slices, *(part for part in shown if part is not None)))
    return replace(result, finding=replace(result.finding, claim=claim))


def _parted(job: Job, measurement: Measurement, evidence: Evidence) -> tuple[Evidence, Evidence]:
    """The evidence of the items that count, and of those that the training data holds."""
    left_out = {item.id for item in job.excluded_items.get(measurement.name, ())}
    excluded_items = [i for i, pair in enumerate(evidence.pairs) if pair.item.id in left_out]
    clean = [i for i, pair in enumerate(evidence.pairs) if pair.item.id not in left_out]
    return _part(evidence, clean), _part(evidence, excluded_items)


def _part(evidence: Evidence, index: Sequence[int]) -> Evidence:
    if len(index) == len(evidence.pairs):
        return evidence
    return replace(evidence, pairs=tuple(evidence.pairs[i] for i in index), scored=evidence.scored.subset(index))


def _slice(name: str, part: Estimate, whole: Estimate) -> Slice | None:
    """What a part of the items says, in the unit of the whole; a change in another unit would not compare."""
    if not part.n:
        return None
    change, interval = (part.change, part.interval) if part.unit == whole.unit else (float("nan"), None)
    return Slice(name, part.n, part.base, part.candidate, change, interval)


def _documented(claim: Estimate, job: Job, overlap: Overlap) -> Estimate:
    """The claim with every contaminated item named, and where the training data holds it."""
    training = job.training
    file = PurePath(training.source).name if training is not None else ""
    total = job.suite_size(claim.measurement)
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
    notes = list(claim.details.get("notes", ()))
    if overlap.contained:
        notes.append(f'{_left_out(overlap, total)}; the slice "contaminated items" shows them apart')
    return replace(claim, details={**claim.details, "contamination": details, "notes": notes})


def _left_out(overlap: Overlap, total: int) -> str:
    return f"{len(overlap.contained)} of {total} items occur in the training data and do not count"


def _explained(finding: Finding, job: Job, overlap: Overlap) -> Finding:
    """A finding that is open, perhaps for want of clean items, says how many there would have been."""
    total = job.suite_size(finding.claim.measurement)
    if overlap.contained and len(overlap.contained) == total:
        reason = f"all {total} items occur in the training data: none is left to decide on"
        return Finding(replace(finding.claim, invalid_reason=reason), Status.INCONCLUSIVE, reason)
    if overlap.contained and not finding.settled:
        return replace(finding, reason=f"{finding.reason}; {_left_out(overlap, total)}")
    return finding


def _confirmed(finding: Finding, everything: Finding, n: int) -> Finding:
    """A pass, if it stands with the contaminated items too.

    An item that was trained on flatters the candidate if anything. If counting it in costs the pass, then leaving it
    out served the candidate, and the training data may have been named for that.
    """
    if everything.status in _GOOD:
        return finding
    reason = f"it passes on the clean items, but not with the {n} contaminated ones: {everything.reason}"
    return replace(finding, status=Status.INCONCLUSIVE, reason=reason, leaning=everything.leaning)
