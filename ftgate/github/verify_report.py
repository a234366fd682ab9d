"""Verifies reports from the evaluation job, which are untrusted: that job may have written anything into its folders.

Everything that can be computed is computed again: each measurement is decided again from its numbers under the base
branch's policy, and the numbers are recomputed from the answers that every run stores. A report that disagrees, or that
cannot be recomputed, is an error.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ftgate.config.manifest import Manifest
from ftgate.config.policy import Policy
from ftgate.errors import FtgateError, PublishError
from ftgate.github.suite_check import label_mismatches, suite_mismatches
from ftgate.jobs.incumbent import LastAllowed
from ftgate.jobs.remote_models import is_remote
from ftgate.jobs.report_checks import departures, model_digest
from ftgate.report.schema import IncumbentReport, MeasurementReport, Report, mapping, parse_report

LARGEST = {"report.json": 50_000_000, "job.json": 50_000_000, "answers.jsonl": 1_000_000_000}
LARGEST_OTHER = 500_000_000
"""Size limits in bytes, for these files and for any other, such as a suite. Honest runs stay far below."""
BASE_BRANCH = "the base branch's"
"""Whose policy a report is checked against here."""
DecideAgain = Callable[[Path], Report]
"""Recomputes the report in a folder from its answers, under the base branch's policy."""
ReportVerdict = Literal["allow", "block", "hold", "error"]


@dataclass(frozen=True, slots=True)
class UntrustedReport:
    """One report as it arrived, and its problems. With any problem its verdict is ``error``."""

    folder: Path
    report: Report | None
    sha256: str
    problems: tuple[str, ...] = ()

    @property
    def verdict(self) -> ReportVerdict:
        """The report's verdict if there is no problem, else ``error``."""
        return "error" if self.problems or self.report is None else self.report.verdict

    def with_problems(self, *problems: str) -> UntrustedReport:
        """The same report with more problems."""
        return replace(self, problems=(*self.problems, *problems))


@dataclass(frozen=True, slots=True)
class Expected:
    """What a report is checked against: the base branch's policy, its suites' fingerprints, and a recomputed report."""

    policy: Policy
    suites: Mapping[str, str] = field(default_factory=dict)
    decide_again: DecideAgain | None = None
    source_digest: Callable[[str, str], str] | None = None
    """Given a manifest's path and one of its sources: the tree digest of these files in the commit, or ""."""
    last_allowed: Callable[[str], LastAllowed] | None = None
    """Given a manifest's path: its last allowed candidate, as the ledger has it. Raises FtgateError."""
    labels: str = ""
    """The SHA-256 of the base branch's grades by people, if it has any."""


def verify_report(folder: Path, expected: Expected) -> UntrustedReport:
    """The verified report in ``folder``. Never raises, whatever the folder contains."""
    try:
        _require_plain(folder)
        content = (folder / "report.json").read_bytes()
        report = parse_report(folder / "report.json")
    except (FtgateError, OSError) as error:
        reason = error.message if isinstance(error, FtgateError) else f"{folder.name}: {error.strerror}"
        return UntrustedReport(folder, None, "", (reason,))
    problems = (
        *departures(report, expected.policy, BASE_BRANCH),
        *suite_mismatches(report, expected.suites),
        *label_mismatches(report, expected.labels),
    )
    result = UntrustedReport(folder, report, hashlib.sha256(content).hexdigest(), problems)
    if result.problems or expected.decide_again is None:
        return result.with_problems(*_shown_by_answers_alone(report))
    # Every run writes answers.jsonl: if it is missing, it was removed, and the numbers cannot be recomputed.
    if not (folder / "answers.jsonl").is_file():
        return result.with_problems("answers.jsonl is missing, so the report could not be recomputed")
    try:
        recomputed = expected.decide_again(folder)
    except Exception as error:  # untrusted files can cause any error; all of them mean that it cannot be checked
        reason = error.message if isinstance(error, FtgateError) else f"{type(error).__name__}"
        return result.with_problems(f"the report could not be recomputed from the answers: {reason}")
    return result.with_problems(*_recomputed_mismatches(report, recomputed))


def manifest_mismatches(
    report: Report, manifest: Manifest, sha256: str, digests: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """How the models in ``report`` differ from those in ``manifest``, a file with this ``sha256``, as problems.

    ``digests`` are those of base and candidate if their files are in the judged commit.
    """
    judged_manifest = str(report.provenance.get("manifest_sha256") or "")
    if judged_manifest != sha256:
        yield f"it is for another manifest: its SHA-256 is {judged_manifest[:12] or 'unknown'}, not {sha256[:12]}"
    for role in ("base", "candidate"):
        source = getattr(manifest, role)
        judged = mapping(report.provenance.get(role))
        if is_remote(source.source) != (judged.get("kind") == "endpoint"):
            yield f"it judged {source.source!r} as {judged.get('kind')!r}: a model at an endpoint is named endpoint://NAME"
        if judged.get("reference") != source.source:
            yield f"it judged the {role} {judged.get('reference')!r}, but the manifest names {source.source!r}"
        if source.digest and judged.get("digest") != source.digest:
            yield f"it judged a {role} with digest {judged.get('digest')!r}, but the manifest pins {source.digest}"
        if digests.get(role) and judged.get("digest") != digests[role]:
            yield f"it judged a {role} with digest {judged.get('digest')!r}, but here its files have {digests[role]}"
    pinned, used = manifest.training_data, mapping(report.provenance.get("training_data"))
    if pinned is not None and not used:
        yield "it was made without the training data that the manifest names"
    elif pinned is not None and pinned.digest not in (None, f"sha256:{used.get('sha256')}"):
        yield f"it used training data with SHA-256 {used.get('sha256')!r}, but the manifest pins {pinned.digest}"


def _require_plain(folder: Path) -> None:
    """Raise PublishError for links, devices and oversized files: a link could expose a secret file as a report."""
    if folder.is_symlink() or not folder.is_dir():
        raise PublishError(
            f"no report: {folder.name or folder} is not a folder", hint="the evaluation left no artifact"
        )
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            status = (Path(root) / name).lstat()
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                raise PublishError(f"{name!r} in {folder.name} is a link or a device", hint="reports are regular files")
            limit = LARGEST.get(name, LARGEST_OTHER)
            if status.st_size > limit:
                raise PublishError(
                    f"{name!r} in {folder.name} has {status.st_size:,} bytes, and at most {limit:,} are read",
                    hint="use fewer items, or shorter answers (max_tokens)",
                )


def _shown_by_answers_alone(report: Report) -> Iterator[str]:
    """What cannot be believed without a second decision from the answers."""
    for name, m in report.measurements.items():
        if "not_applicable" in (m.status, m.incumbent.status if m.incumbent is not None else ""):
            yield f"{name}: it says not applicable, which could not be checked without a second decision"


def _recomputed_mismatches(report: Report, recomputed: Report) -> Iterator[str]:
    """How ``report`` differs from the one ``recomputed`` from the same answers, as problems."""
    if report.verdict != recomputed.verdict:
        yield f"it says {report.verdict}, but its answers give {recomputed.verdict}"
    for name, m in report.measurements.items():
        other = recomputed.measurements.get(name)
        if other is None or (m.status, m.n) != (other.status, other.n) or not _close(_numbers(m), _numbers(other)):
            yield f"{name}: its numbers differ from those recomputed from its answers"
        elif not _same_incumbent(m.incumbent, other.incumbent):
            yield f"{name}: its comparison with the deployed model differs from that recomputed from its answers"
    if report.provenance.get("judge_labels") != recomputed.provenance.get("judge_labels"):
        yield "people's grades of the judge are not those that it says it used"
    for role in ("base", "candidate", "incumbent"):
        if model_digest(report, role) != model_digest(recomputed, role):
            yield f"the {role}'s digest is not that of the model that gave the answers"


def _same_incumbent(some: IncumbentReport | None, other: IncumbentReport | None) -> bool:
    if some is None or other is None:
        return some is other
    numbers = ((part.score, part.candidate, part.change, *part.interval) for part in (some, other))
    return (some.status, some.n) == (other.status, other.n) and _close(*numbers)


def _numbers(m: MeasurementReport) -> Sequence[float | None]:
    return (m.base, m.candidate, m.change, *m.interval)


def _close(some: Sequence[float | None], others: Sequence[float | None]) -> bool:
    pairs = zip(some, others, strict=True)
    return all(a == b or (a is not None and b is not None and math.isclose(a, b, abs_tol=1e-6)) for a, b in pairs)
