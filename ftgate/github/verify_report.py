"""The folders that another job left behind. Whoever ran the models may have written anything into them.

So nothing is taken on trust that can be computed: each measurement is decided again from its numbers under the base
branch's policy, and the numbers are computed again from the answers that every run leaves. What disagrees, or cannot be
computed again, is no verdict.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ftgate.config.manifest import Manifest
from ftgate.config.policy import Policy
from ftgate.domain import Estimate, Finding, Status
from ftgate.errors import FtgateError, PublishError
from ftgate.github.suite_check import other_questions
from ftgate.measurements.base import AnyMeasurement
from ftgate.measurements.registry import read_derived, read_measurements
from ftgate.report.schema import MeasurementReport, Report, read_report
from ftgate.verdict import assess, decide

LARGEST = {"report.json": 50_000_000, "job.json": 50_000_000, "answers.jsonl": 1_000_000_000}
LARGEST_OTHER = 500_000_000
"""Bytes of a file that is still read: of these, and of any other, such as a suite. An honest run stays far below."""
CLOSE = 1e-9
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
Redo = Callable[[Path], Report]
"""Takes the decision in a folder again from its answers, under the base branch's policy."""
JudgedModel = Literal["allow", "block", "hold", "error"]


@dataclass(frozen=True, slots=True)
class UntrustedReport:
    """One report as it arrived, and what is wrong with it. With any problem its verdict is ``error``."""

    folder: Path
    report: Report | None
    sha256: str
    problems: tuple[str, ...] = ()

    @property
    def verdict(self) -> JudgedModel:
        """The verdict that stands after everything was checked."""
        return "error" if self.problems or self.report is None else self.report.verdict

    def but(self, *problems: str) -> UntrustedReport:
        """The same delivery with more problems."""
        return replace(self, problems=(*self.problems, *problems))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a report is held to: the base branch's policy, the fingerprints of its suites, and a second decision."""

    policy: Policy
    suites: Mapping[str, str] = field(default_factory=dict)
    redo: Redo | None = None
    beside: Callable[[str, str], str] | None = None
    """Given a manifest's path and a source that it names: the digest of the files there, if they lie in the commit."""


def verify_report(folder: Path, standard: Expected) -> UntrustedReport:
    """The report in ``folder``, checked. Never raises for what the folder holds."""
    try:
        _require_plain(folder)
        content = (folder / "report.json").read_bytes()
        report = read_report(folder / "report.json")
    except (FtgateError, OSError) as error:
        said = error.message if isinstance(error, FtgateError) else f"{folder.name}: {error.strerror}"
        return UntrustedReport(folder, None, "", (said,))
    problems = (*disagreements(report, standard.policy), *other_questions(report, standard.suites))
    found = UntrustedReport(folder, report, hashlib.sha256(content).hexdigest(), problems)
    if found.problems or standard.redo is None:
        return found.but(*_shown_by_answers_alone(report))
    # A run always writes them, so without them somebody took them away, and the numbers with them out of our reach.
    if not (folder / "answers.jsonl").is_file():
        return found.but("answers.jsonl is missing, so the decision could not be taken again")
    try:
        again = standard.redo(folder)
    except Exception as error:  # whatever a stranger's files can make go wrong means the same: it could not be checked
        said = error.message if isinstance(error, FtgateError) else f"{type(error).__name__}"
        return found.but(f"the decision could not be taken again from the answers: {said}")
    return found.but(*_differences(report, again))


def disagreements(report: Report, policy: Policy) -> Iterator[str]:
    """What in ``report`` does not follow from its own numbers under ``policy``."""
    asking = read_measurements(policy.measurements, "the policy")
    measurements = {m.name: m for m in (*asking, *read_derived(policy.measurements, "the policy"))}
    said = str(report.provenance.get("policy_sha256"))
    if said != policy.sha256():
        yield f"it was decided under policy {said[:12]}, but the base branch's is {policy.sha256()[:12]}"
    for role in ("base", "candidate"):
        if not DIGEST.fullmatch(digest_in(report, role)):
            yield f"it names no digest of the {role} (sha256: and 64 digits)"
    if set(report.measurements) != set(measurements):
        yield f"it measures {_listed(report.measurements)}, but the policy asks for {_listed(measurements)}"
        return
    findings = []
    for name, measurement in measurements.items():
        found = report.measurements[name]
        problem, finding = _decided_again(name, found, measurement, policy)
        findings.append(finding)
        if problem:
            yield f"{name}: {problem}"
    verdict, _ = decide(findings, policy.evidence)
    if verdict != report.verdict:
        yield f"it says {report.verdict}, but its measurements come to {verdict.value}"


def unlike_manifest(
    report: Report, manifest: Manifest, sha256: str, digests: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """How what ``report`` judged differs from what ``manifest``, a file with this ``sha256``, names.

    ``digests`` are those of base and candidate where they lie beside the manifest in the judged commit.
    """
    said = str(report.provenance.get("manifest_sha256") or "")
    if said != sha256:
        yield f"it is for another manifest: one of SHA-256 {said[:12] or 'unknown'}, here it is {sha256[:12]}"
    for role in ("base", "candidate"):
        source = getattr(manifest, role)
        judged = _mapping(report.provenance.get(role))
        if judged.get("reference") != source.source:
            yield f"it judged the {role} {judged.get('reference')!r}, but the manifest names {source.source!r}"
        if source.digest and judged.get("digest") != source.digest:
            yield f"it judged a {role} with digest {judged.get('digest')!r}, but the manifest pins {source.digest}"
        if digests.get(role) and judged.get("digest") != digests[role]:
            yield f"it judged a {role} with digest {judged.get('digest')!r}, but here its files have {digests[role]}"
    data, used = manifest.training_data, _mapping(report.provenance.get("training_data"))
    if data is not None and not used:
        yield "it judged without the training data that the manifest names"
    elif data is not None and data.digest not in (None, f"sha256:{used.get('sha256')}"):
        yield f"it judged with training data of SHA-256 {used.get('sha256')!r}, but the manifest pins {data.digest}"


def digest_in(report: Report, role: str) -> str:
    """The digest of the base or the candidate that the report names, or nothing."""
    return str(_mapping(report.provenance.get(role)).get("digest") or "")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _require_plain(folder: Path) -> None:
    """A link could give a secret of this machine the name of a report."""
    if folder.is_symlink() or not folder.is_dir():
        raise PublishError(
            f"no report: {folder.name or folder} is not a folder", hint="the evaluation left no artifact"
        )
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            found = (Path(place) / name).lstat()
            if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
                raise PublishError(f"{name!r} in {folder.name} is a link or a device", hint="reports are plain files")
            most = LARGEST.get(name, LARGEST_OTHER)
            if found.st_size > most:
                raise PublishError(
                    f"{name!r} in {folder.name} has {found.st_size:,} bytes, and at most {most:,} are read",
                    hint="ask about fewer items, or let the models answer in fewer tokens (max_tokens)",
                )


def _decided_again(
    name: str, found: MeasurementReport, measurement: AnyMeasurement, policy: Policy
) -> tuple[str, Finding]:
    """What is wrong with a measurement's status, if anything, and the finding as reported.

    Doubts that the numbers do not show can turn any result into an inconclusive one. That there was nothing to decide
    they do not show either, only that nothing blocks; the answers do.
    """
    estimate = Estimate(
        measurement=name,
        base=_number(found.base),
        candidate=_number(found.candidate),
        change=_number(found.change),
        unit=found.unit,
        interval=(_number(found.interval[0]), _number(found.interval[1])),
        level=found.level,
        n=found.n,
        method=found.method,
        worse=measurement.worse,
        limit=measurement.limit,
        warn_limit=measurement.warn_limit,
    )
    reported = Finding(estimate, Status(found.status), found.reason)
    if policy.evidence.rule == "interval" and found.level < 1 - 2 * policy.evidence.alpha - CLOSE:
        return f"its interval has level {found.level:g}, but the policy asks for more", reported
    again = assess(estimate, policy.evidence).status
    if reported.status is Status.NOT_APPLICABLE and again is not Status.BLOCK:
        return "", reported
    if reported.status not in (again, Status.INCONCLUSIVE, Status.ERROR):
        return f"it says {found.status}, but its numbers come to {again.value}", reported
    return "", reported


def _shown_by_answers_alone(report: Report) -> Iterator[str]:
    """What cannot be believed without a second decision from the answers."""
    for name, m in report.measurements.items():
        if m.status == "not_applicable":
            yield f"{name}: it says not applicable, which could not be checked without a second decision"


def _differences(report: Report, again: Report) -> Iterator[str]:
    """What a second decision from the same answers came out differently on."""
    if report.verdict != again.verdict:
        yield f"it says {report.verdict}, but its answers come to {again.verdict}"
    for name, m in report.measurements.items():
        other = again.measurements.get(name)
        if other is None or (m.status, m.n) != (other.status, other.n) or not _close(_numbers(m), _numbers(other)):
            yield f"{name}: its numbers are not those that its answers come to"
    for role in ("base", "candidate"):
        if digest_in(report, role) != digest_in(again, role):
            yield f"the {role}'s digest is not the one that the answers were given by"


def _numbers(m: MeasurementReport) -> Sequence[float | None]:
    return (m.base, m.candidate, m.change, *m.interval)


def _close(some: Sequence[float | None], others: Sequence[float | None]) -> bool:
    pairs = zip(some, others, strict=True)
    return all(a == b or (a is not None and b is not None and math.isclose(a, b, abs_tol=1e-6)) for a, b in pairs)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(sorted(names)) or "nothing"
