"""A report that is read from a file: what one report shows by itself, and by its policy where that is at hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ftgate.config.policy import Policy, read_policy
from ftgate.config.strict import validate
from ftgate.errors import ConfigurationError, FtgateError
from ftgate.jobs.remote_models import UNPROVEN
from ftgate.measurements.base import AnyMeasurement
from ftgate.measurements.gated_slices import gated
from ftgate.measurements.incumbent import retaining
from ftgate.measurements.registry import read_derived, read_measurements
from ftgate.report import reading
from ftgate.report.plausible import CLOSE
from ftgate.report.reading import NOT_PROVEN
from ftgate.report.recomputed import incumbent_problems, measurement_problems
from ftgate.report.schema import MeasurementReport, Report, mapping


@dataclass(frozen=True, slots=True)
class CheckedReport:
    """A report that does not contradict itself, nor its policy, which is at hand or not."""

    report: Report
    folder: Path
    policy: Policy | None

    @property
    def line(self) -> str:
        """What was checked and what was not, in one line."""
        digest = str(self.report.provenance.get("policy_sha256") or "unknown")[:12]
        answers = f"the numbers against the answers (ftgate decide {self.folder})"
        if self.policy is None:
            missing = f"limits and tiers (policy {digest} is not at hand)"
            return f"Checked: the verdict against its numbers. Not checked: {missing}, {answers}."
        return f"Checked: the verdict against its numbers, limits and tiers of policy {digest}. Not checked: {answers}."


def read_report(path: Path | str) -> Report:
    """The report in ``path``, a file or the output folder of a run.

    Raises ConfigurationError if it is not valid, contradicts itself, or has other limits than its policy, where that is
    at hand.
    """
    return checked_report(path).report


def checked_report(path: Path | str) -> CheckedReport:
    """The report in ``path``, a file or the output folder of a run, and the policy that it was checked against.

    That policy is the one in the run's job.json, or else the file that the report names, if it has the report's digest.
    Raises ConfigurationError as :func:`read_report` does.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    report = reading.read_report(path)
    policy = _policy_at_hand(report, folder)
    problem = next(departures(report, policy), "") if policy is not None else ""
    if problem:
        raise ConfigurationError(
            f"{path}: {problem}: no run writes that, so the file is damaged or was edited",
            hint=reading.DECIDE_AGAIN,
        )
    return CheckedReport(report, folder, policy)


def departures(report: Report, policy: Policy) -> Iterator[str]:
    """How limits, tiers, statuses and verdict in ``report`` are not those of ``policy``, under which it was decided."""
    asking, derived = (read(policy.measurements, "the policy") for read in (read_measurements, read_derived))
    measurements: dict[str, AnyMeasurement] = {m.name: m for m in (*asking, *derived)}
    from_logs = report.provenance.get("weights") == NOT_PROVEN
    for name in report.measurements.keys() ^ measurements.keys():
        if name in report.measurements:
            yield f"measurements has {name}, which its policy does not ask for"
        elif not from_logs:
            yield f"measurements lacks {name}, which its policy asks for"
    for name, m in report.measurements.items():
        if name in measurements:
            problems = _departures(m, measurements[name], policy)
            yield from (f"measurements.{name}: {problem}" for problem in problems)
    if report.verdict != "allow":
        return
    if policy.evidence.smoke_test is not None:
        yield "verdict allow, and its policy is that of a smoke test"
    kinds = [mapping(report.provenance.get(role)).get("kind") for role in ("base", "candidate")]
    if (from_logs or "endpoint" in kinds) and not policy.evidence.allow_unproven_weights:
        yield f"verdict allow, and {UNPROVEN}, which its policy does not accept"


def _departures(m: MeasurementReport, measurement: AnyMeasurement, policy: Policy) -> Iterator[str]:
    rules = policy.evidence
    if (m.kind or measurement.kind, m.tier) != (measurement.kind, measurement.tier):
        here = f"{m.tier} and of kind {m.kind or measurement.kind:.40}"
        yield f"{here}, and in its policy {measurement.tier} and of kind {measurement.kind}"
    limits = {"block" if measurement.worse == "up" else "min_gain": measurement.limit_of(m.unit)}
    limits |= {} if measurement.warn_limit is None else {"warn": measurement.warn_limit}
    if not _same(m.limits, limits):
        yield f"limits {_listed(m.limits)}, and in its policy {_listed(limits)}"
    gates = {part.name: part.limit for part in m.slices if part.limit is not None}
    if not _same(gates, gated(measurement)) and m.change is not None:
        yield f"slices that gate: {_listed(gates) or 'none'}, and in its policy {_listed(gated(measurement)) or 'none'}"
    least_level = 1 - 2 * rules.alpha
    if rules.rule == "interval" and m.level < least_level - CLOSE:
        yield f"level {m.level:g}, and its policy asks for {least_level:g}"
    yield from measurement_problems(measurement.name, m, (rules,))
    part = m.incumbent
    if part is None:
        return
    limit = retaining(measurement, policy.incumbent.block_drop).limit_of(part.unit)
    if not math.isclose(part.limit, limit, abs_tol=CLOSE):
        yield f"incumbent: limit {part.limit:g}, and in its policy {limit:g}"
    yield from (f"incumbent: {problem}" for problem in incumbent_problems(part, (rules,)))


def _same(some: Mapping[str, float], others: Mapping[str, float]) -> bool:
    return some.keys() == others.keys() and all(math.isclose(v, others[k], abs_tol=CLOSE) for k, v in some.items())


def _listed(limits: Mapping[str, float]) -> str:
    return ", ".join(f"{name:.40} {value:g}" for name, value in limits.items())


def _policy_at_hand(report: Report, folder: Path) -> Policy | None:
    """The policy whose digest the report has; None if it is not at hand, or of another version of ftgate."""
    digest, named = report.provenance.get("policy_sha256"), report.provenance.get("policy")
    for policy in (_saved_policy(folder / "job.json"), _policy_in(named)):
        if policy is not None and policy.sha256() == digest and _readable(policy):
            return policy
    return None


def _readable(policy: Policy) -> bool:
    try:
        read_measurements(policy.measurements, "the policy")
        read_derived(policy.measurements, "the policy")
    except ConfigurationError:
        return False
    return True


def _saved_policy(path: Path) -> Policy | None:
    try:
        document = json.loads(path.read_bytes())
        return validate(Policy, mapping(mapping(document).get("policy")), str(path))
    except (OSError, ValueError, FtgateError):
        return None


def _policy_in(name: object) -> Policy | None:
    try:
        return read_policy(Path(name)) if isinstance(name, str) and name and Path(name).is_file() else None
    except (OSError, ValueError, FtgateError):
        return None
