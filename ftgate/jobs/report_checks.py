"""Whether a report follows from the policy that it was decided under: one list of checks, for all who read reports.

`ftgate publish` has the base branch's policy, and trusts nothing else. Whoever reads a report from a folder has the
policy of its job.json, or the one that it names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ftgate.config.policy import Policy
from ftgate.domain import Estimate, Finding, Status
from ftgate.jobs.remote_models import UNPROVEN
from ftgate.measurements.base import AnyMeasurement
from ftgate.measurements.gated_slices import gated
from ftgate.measurements.incumbent import Limited, objections, retaining
from ftgate.measurements.registry import read_derived, read_measurements
from ftgate.report.control_numbers import DIGEST
from ftgate.report.plausible import CLOSE
from ftgate.report.recomputed import reported_comparison, reported_estimate, status_problem
from ftgate.report.schema import MeasurementReport, Report, mapping
from ftgate.verdict import capped, decide


@dataclass(frozen=True)
class Decided:
    """A report, and the policy that it should follow."""

    report: Report
    policy: Policy
    whose: str
    """Whose policy it is, for messages: ``the base branch's``."""
    from_logs: bool
    """Whether it may be one from another program's logs, which lack measurements and digests."""

    @cached_property
    def derived(self) -> list[str]:
        """The measurements that ask nothing of their own."""
        return [m.name for m in read_derived(self.policy.measurements, "the policy")]

    @cached_property
    def asked(self) -> Mapping[str, AnyMeasurement]:
        """What the policy asks for, by name."""
        readers = (read_measurements, read_derived)
        return {m.name: m for read in readers for m in read(self.policy.measurements, "the policy")}

    @property
    def pairs(self) -> Iterator[tuple[str, MeasurementReport, AnyMeasurement]]:
        """Name, report and policy of what both have, in the policy's order."""
        both = (name for name in self.asked if name in self.report.measurements)
        return ((name, self.report.measurements[name], self.asked[name]) for name in both)


def departures(
    report: Report, policy: Policy, whose: str = "the one at hand", *, from_logs: bool = False
) -> Iterator[str]:
    """How ``report`` does not follow from ``policy``: what it says, and what the policy or its numbers give.

    Raises ConfigurationError for a policy whose measurements are not known.
    """
    decided = Decided(report, policy, whose, from_logs)
    for check in CHECKS.values():
        yield from check(decided)


def model_digest(report: Report, role: str) -> str:
    """The digest of base, candidate or incumbent in the report, or an empty text."""
    return str(mapping(report.provenance.get(role)).get("digest") or "")


def _policy(it: Decided) -> Iterator[str]:
    named, wanted = str(it.report.provenance.get("policy_sha256")), it.policy.sha256()
    if named != wanted:
        yield f"it was decided under policy {named[:12]}, but {it.whose} is {wanted[:12]}"


def _models(it: Decided) -> Iterator[str]:
    for role in () if it.from_logs else ("base", "candidate"):
        if not _is_remote(it.report, role) and not DIGEST.fullmatch(model_digest(it.report, role)):
            yield f"it has no digest of the {role} (sha256: and 64 digits)"


def _measurements(it: Decided) -> Iterator[str]:
    measured, asked = it.report.measurements.keys(), it.asked.keys()
    if measured - asked or (asked - measured and not it.from_logs):
        names = (", ".join(sorted(each)) or "nothing" for each in (measured, asked))
        yield "it measures {}, but the policy asks for {}".format(*names)


def _tiers(it: Decided) -> Iterator[str]:
    for name, m, asked in it.pairs:
        if (m.kind or name, m.tier) != (asked.kind, asked.tier):
            here = f"{m.tier} and of kind {m.kind or name:.40}"
            yield f"{name}: it is {here}, but in the policy {asked.tier} and of kind {asked.kind}"


def _limits(it: Decided) -> Iterator[str]:
    for name, m, asked in it.pairs:
        limits = {"block" if asked.worse == "up" else "min_gain": asked.limit_of(m.unit)}
        limits |= {} if asked.warn_limit is None else {"warn": asked.warn_limit}
        if not _same(m.limits, limits):
            yield f"{name}: its limits are {_listed(m.limits)}, but in the policy {_listed(limits)}"
        if m.incumbent is not None:
            limit = retaining(asked, it.policy.incumbent.block_drop).limit_of(m.incumbent.unit)
            if not math.isclose(m.incumbent.limit, limit, abs_tol=CLOSE):
                here = f"{name}, against the deployed model: its limit is {m.incumbent.limit:g}"
                yield f"{here}, but in the policy {limit:g}"


def _slices(it: Decided) -> Iterator[str]:
    for name, m, asked in it.pairs:
        gates, wanted = {part.name: part.limit for part in m.slices if part.limit is not None}, gated(asked)
        if m.change is not None and not _same(gates, wanted):
            yield f"{name}: its slices that gate are {_listed(gates)}, but in the policy {_listed(wanted)}"


def _statuses(it: Decided) -> Iterator[str]:
    places = [("", _findings(it)), (", against the deployed model", _rivals(it))]
    for place, findings in places:
        for name, finding in findings.items():
            if problem := status_problem(finding, it.policy.evidence):
                yield f"{name}{place}: {problem}"


def _verdict(it: Decided) -> Iterator[str]:
    if it.asked.keys() != it.report.measurements.keys() and not it.from_logs:
        return  # named already
    findings = [*_findings(it).values(), *objections(_rivals(it))]
    remote = it.from_logs or any(_is_remote(it.report, role) for role in ("base", "candidate", "incumbent"))
    verdict, _ = capped(
        *decide(findings, it.policy.evidence, it.derived), UNPROVEN if remote else "", it.policy.evidence
    )
    if verdict != it.report.verdict:
        yield f"it says {it.report.verdict}, but its measurements give {verdict.value}"


CHECKS: Mapping[str, Callable[[Decided], Iterator[str]]] = {
    "policy": _policy,
    "models": _models,
    "measurements": _measurements,
    "tiers and kinds": _tiers,
    "limits": _limits,
    "slices that gate": _slices,
    "statuses": _statuses,
    "verdict": _verdict,
}
"""All checks, in the order in which their problems are named."""


def _findings(it: Decided) -> dict[str, Finding]:
    """Each measurement as reported, under the policy's limits."""
    findings = {}
    for name, m, asked in it.pairs:
        estimate, limit = reported_estimate(name, m, gated(asked)), asked.limit_of(m.unit)
        findings[name] = _finding(estimate, m.status, m.reason, asked, limit, asked.warn_limit)
    return findings


def _rivals(it: Decided) -> dict[str, Finding]:
    """Each comparison with the deployed model as reported, under the policy's limit."""
    rivals = {}
    for name, m, asked in it.pairs:
        if m.incumbent is not None:
            against = retaining(asked, it.policy.incumbent.block_drop)
            estimate = replace(reported_comparison(m.incumbent), measurement=name, worse=against.worse)
            limit = against.limit_of(m.incumbent.unit)
            rivals[name] = _finding(estimate, m.incumbent.status, m.incumbent.reason, against, limit, None)
    return rivals


def _finding(
    estimate: Estimate, status: str, reason: str, asked: Limited, limit: float, warn_limit: float | None
) -> Finding:
    estimate = replace(estimate, worse=asked.worse, limit=limit, warn_limit=warn_limit)
    return Finding(estimate, Status(status), reason, kind=asked.kind, tier=asked.tier)


def _is_remote(report: Report, role: str) -> bool:
    return mapping(report.provenance.get(role)).get("kind") == "endpoint"


def _same(some: Mapping[str, float], others: Mapping[str, float]) -> bool:
    return some.keys() == others.keys() and all(math.isclose(v, others[k], abs_tol=CLOSE) for k, v in some.items())


def _listed(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{name:.40} {value:g}" for name, value in limits.items()) or "none"
