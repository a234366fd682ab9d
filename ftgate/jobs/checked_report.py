"""A report that is read from a file: what one report shows by itself, and by its policy where that is at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ftgate.config.policy import Policy, fingerprint, read_policy
from ftgate.config.strict import validate
from ftgate.errors import ConfigurationError, FtgateError
from ftgate.jobs.report_checks import departures
from ftgate.measurements.registry import read_derived, read_measurements
from ftgate.report import reading
from ftgate.report.reading import NOT_PROVEN
from ftgate.report.schema import DECIDE_AGAIN, Report, mapping

JOB = "job.json"


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
    job = _job(folder)
    policy = _policy_at_hand(report, job, folder)
    logs = report.provenance.get("weights") == NOT_PROVEN
    problems = () if policy is None else departures(report, policy, from_logs=logs)
    own = _disagreements(report, job, folder) if job and reading.folder_of_run(path) else ()
    problem = next(chain(own, problems), "")
    if problem:
        raise ConfigurationError(
            f"{path}: {problem}: no run writes that, so the file is damaged or was edited",
            hint=DECIDE_AGAIN,
        )
    return CheckedReport(report, folder, policy)


def _disagreements(report: Report, job: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """How ``report`` is not that of the run whose ``job`` lies beside it, as far as that could be read."""
    own = report.provenance
    pairs: list[tuple[str, Any, Any]] = []
    # `ftgate decide --policy` leaves a report under another policy beside the job of the run.
    if (policy := mapping(job.get("policy"))) and "decided_at" not in own:
        pairs.append(("policy_sha256", own.get("policy_sha256"), fingerprint(policy)))
    for role in ("base", "candidate"):
        here, there = (mapping(each.get(role)).get("digest") for each in (own, mapping(job.get("models"))))
        pairs.append((f"{role}.digest", here, there))
    pairs.append(("manifest_sha256", own.get("manifest_sha256"), job.get("manifest_sha256")))
    for name, suite in mapping(job.get("suites")).items():
        reported = mapping(mapping(own.get("suites")).get(name)).get("sha256")
        if reported is None and "decided_at" in own:
            continue  # that policy may measure less
        pairs.append((f"suites.{name}.sha256", reported, mapping(suite).get("sha256")))
    for place, here, there in pairs:
        if there and here != there:
            yield f"provenance.{place} is {here!r:.80}, and {folder / JOB} beside it has {there!r:.80}"


def _policy_at_hand(report: Report, job: Mapping[str, Any], folder: Path) -> Policy | None:
    """The policy whose digest the report has; None if it is not at hand, or of another version of ftgate."""
    digest, named = report.provenance.get("policy_sha256"), report.provenance.get("policy")
    for policy in (_saved_policy(job, folder), _policy_in(named)):
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


def _job(folder: Path) -> Mapping[str, Any]:
    """The job that lies beside a report; empty if there is none that can be read."""
    try:
        return mapping(json.loads((folder / JOB).read_bytes()))
    except (OSError, ValueError, RecursionError):
        return {}


def _saved_policy(job: Mapping[str, Any], folder: Path) -> Policy | None:
    try:
        return validate(Policy, mapping(job.get("policy")), str(folder / JOB))
    except FtgateError:
        return None


def _policy_in(name: object) -> Policy | None:
    try:
        return read_policy(Path(name)) if isinstance(name, str) and name and Path(name).is_file() else None
    except (OSError, ValueError, FtgateError):
        return None
