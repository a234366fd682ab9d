"""Matches the evaluation's reports to the changed manifests: each manifest gets one verified report, or an error."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ftgate.artifacts.file_names import select_files
from ftgate.artifacts.snapshot import FileEntry, tree_digest
from ftgate.config.manifest import Manifest, Source
from ftgate.config.policy import Policy, read_policy
from ftgate.errors import ConfigurationError, FtgateError, PublishError
from ftgate.github.actions_runner import Annotation
from ftgate.github.audit.record import Change, ModelEntry
from ftgate.github.changed_manifests import ChangedManifest, changed_manifests, files_at
from ftgate.github.client import File, GitHubRepo, Pull
from ftgate.github.event import RunTarget
from ftgate.github.failure_file import read_failure
from ftgate.github.incumbent import incumbent_mismatches, is_candidate
from ftgate.github.installing import NoPolicyError
from ftgate.github.runner_paths import without_paths
from ftgate.github.verify_report import Expected, UntrustedReport, manifest_mismatches, verify_report
from ftgate.jobs.report_checks import model_digest
from ftgate.report import numbers
from ftgate.report.escape import without_code
from ftgate.report.explanation import explanation
from ftgate.report.schema import MeasurementReport, Number, Report

RECORDED_DIGITS = 5
"""Of the bounds of an interval in a record."""
SEVERITY = ("error", "block", "hold", "allow")
"""Verdicts, worst first. The run's verdict is the first of these that any model has."""
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n")
"""A Git LFS pointer: the SHA-256 and size of the file that it stands for."""


@dataclass(frozen=True, slots=True)
class BasePolicy:
    """The base branch's policy, as text and parsed, and its path in the repository."""

    text: str
    policy: Policy
    path: str
    commit: str
    """The tip of the base branch, from which it was read."""


@dataclass(frozen=True, slots=True)
class JudgedModel:
    """One model with its report, its manifest and the problems of either."""

    title: str
    untrusted: UntrustedReport | None
    changed: ChangedManifest | None
    problems: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The verdict on the model after verification; ``error`` with any problem."""
        return "error" if self.problems or self.untrusted is None else self.untrusted.verdict

    @property
    def report(self) -> Report | None:
        """The report, if a readable one arrived."""
        return self.untrusted.report if self.untrusted else None

    def entry(self) -> ModelEntry:
        """The model's entry for the audit trail."""
        report = self.report
        numbers = report.measurements if report and self.verdict != "error" else {}
        return ModelEntry.model_validate(
            {
                "name": self.title,
                "manifest": self.changed.path if self.changed else "",
                "base": model_digest(report, "base") if report else "",
                "candidate": model_digest(report, "candidate") if report else "",
                "incumbent": model_digest(report, "incumbent") if report else "",
                **self._place(),
                "verdict": self.verdict,
                "numbers": {name: recorded_change(m) for name, m in numbers.items()},
                "report": self.untrusted.sha256 if self.untrusted else "",
            }
        )

    def _place(self) -> dict[str, str]:
        """Where the candidate is stored, by which a later change finds the model that it replaces."""
        if self.changed is None or self.changed.manifest is None or self.verdict == "error":
            return {}
        candidate = self.changed.manifest.candidate
        return {"source": candidate.source, "revision": candidate.revision or ""}


def resolve_target(repo: GitHubRepo, target: RunTarget) -> tuple[RunTarget, Pull | None]:
    """The target with its pull request filled in, and the pull request in its current state (None if there is none).

    Raises PublishError if the pull request's base branch changed after the run began, or if no single open pull request
    belongs to the head branch.
    """
    if target.branch is not None:
        pull = _single_pull(repo, *target.branch)
    elif target.pull_request is not None:
        pull = repo.pull(target.pull_request)
        if target.event.startswith("pull_request") and pull.base_ref != target.base_ref:
            # Otherwise its author could have it judged under a weaker branch's policy and then change the base back.
            raise PublishError(
                f"#{pull.number} changed its base branch to {pull.base_ref} after this run for {target.base_ref} began",
                hint="push again, or start the workflow by hand, to judge it against the new base branch",
            )
        if target.event == "workflow_dispatch" and pull.base_ref != target.base_ref:
            _require_rules(repo, pull, target.base_ref)
    else:
        return target, None
    base = target.base_sha or pull.base
    return replace(target, branch=None, pull_request=pull.number, base_ref=pull.base_ref, base_sha=base), pull


def _require_rules(repo: GitHubRepo, pull: Pull, default: str) -> None:
    """Raise PublishError if nothing has to pass before a merge into the base branch of ``pull``.

    Whoever may push could otherwise have a commit judged by the policy of a branch of their own, and the result, which
    the protected branch's workflow posts, would count wherever that commit is merged.
    """
    if not repo.required_checks(pull.base_ref):
        raise PublishError(
            f"#{pull.number} goes into {pull.base_ref}, where no ruleset requires a status before a merge",
            hint=f"started by hand, the gate judges what goes into {default} or into branches that require a status",
        )


def _single_pull(repo: GitHubRepo, owner: str, branch: str) -> Pull:
    """The open pull request from a branch. Raises PublishError for several: the event does not say which one ran."""
    pulls = repo.pulls_of(owner, branch)
    if not pulls:
        raise PublishError(
            f"there is no open pull request from {owner}:{branch}", hint="reopen it, then run the gate again"
        )
    if len(pulls) > 1:
        listed = ", ".join(f"#{p.number} into {p.base_ref}" for p in pulls)
        raise PublishError(
            f"{len(pulls)} pull requests are open from {owner}:{branch}, each under its own branch's policy: {listed}",
            hint="close all but one, or run the gate on pull_request_target, whose event names its pull request",
        )
    return pulls[0]


def read_base_policy(repo: GitHubRepo, target: RunTarget, path: str) -> BasePolicy:
    """The policy at the tip of the base branch. Raises NoPolicyError without one, ConfigurationError if unusable."""
    return policy_on(repo, target.base_ref, path)


def policy_on(repo: GitHubRepo, branch: str, path: str) -> BasePolicy:
    """The policy at the tip of ``branch``. Raises NoPolicyError without one, ConfigurationError if unusable."""
    commit = repo.tip(branch)
    text = repo.text_at(path, commit) if commit else None
    if text is None:
        raise (NoPolicyError if commit else ConfigurationError)(
            f"there is no policy {path} on {branch}",
            hint="merge one first: a change cannot bring its own policy",
        )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        copy.write_text(text, encoding="utf-8")
        try:
            return BasePolicy(text, read_policy(copy), path, commit or "")
        except ConfigurationError as error:
            message = error.message.replace(str(copy), f"{path} on {branch}")
            raise ConfigurationError(message, hint=error.hint) from None


def changed_paths(repo: GitHubRepo, target: RunTarget, pull: Pull | None) -> list[str] | None:
    """The paths that differ from the base; None if there is nothing to compare with.

    For a pull request, too, the judged commit is compared with the branch whose policy applies. GitHub's own list is
    for the current head and base branch of the pull request: a push or a change of base in between would hide a model.
    """
    if pull is None or pull.merged:  # a merged change no longer differs from its branch
        return repo.changed_between(target.base_sha, target.sha) if target.base_sha else None
    return repo.changed_between(target.base_ref, target.sha)


def manifests_to_judge(
    repo: GitHubRepo, target: RunTarget, base_policy: BasePolicy, paths: Sequence[str] | None
) -> list[ChangedManifest]:
    """The manifests that the change touches, as of the judged commit.

    Without a base to compare with, as for a release, ``paths`` is None: then all manifests of the commit.
    """
    if paths is not None and not paths:
        return []
    tree = repo.tree(target.sha)
    changed = list(tree) if paths is None else paths
    return changed_manifests(base_policy.policy.manifests, tree, changed, repo.blob, repo.prefetch)


def digest_in_commit(repo: GitHubRepo, tree: Mapping[str, File], skip: Sequence[str], path: str, source: str) -> str:
    """The tree digest of the folder in ``tree`` that the manifest at ``path`` calls ``source``; "" if it has no files.

    Files that a run ignores, always or because of ``skip``, are ignored here too. A file in Git LFS counts with the
    SHA-256 and size in its pointer, because an evaluation in a checkout has the file itself.
    """
    entries = files_at(tree, path, source)
    files = {}
    for name in select_files(entries, skip)[0]:
        content = repo.blob(entries[name].sha)
        pointer = _POINTER.fullmatch(content)
        files[name] = (
            FileEntry(int(pointer[2]), pointer[1].decode())
            if pointer
            else FileEntry(len(content), hashlib.sha256(content).hexdigest())
        )
    return tree_digest(files) if files else ""


def match_reports(folders: Sequence[Path], expected: Expected, changed: Sequence[ChangedManifest]) -> list[JudgedModel]:
    """Each changed manifest with its report. A manifest or a report without the other is an error."""
    failures = {folder: failure for folder in folders if (failure := read_failure(folder))}
    reasons = {failure.manifest: failure.reason for failure in failures.values()}
    explained = {"", *(entry.path for entry in changed)}
    unmatched = [
        verify_report(f, expected) for f in folders if f not in failures or failures[f].manifest not in explained
    ]
    matched: dict[str, UntrustedReport] = {}
    for belongs in (_same_manifest, _same_candidate):  # two manifests may differ only in the base
        for entry in (e for e in changed if e.path not in matched):
            if untrusted := next((d for d in unmatched if belongs(d, entry)), None):
                unmatched.remove(untrusted)
                matched[entry.path] = untrusted
    judged = [
        _with_manifest(e, matched.get(e.path), expected, reasons.get(e.path) or reasons.get("", "")) for e in changed
    ]
    return judged + [_without_manifest(d, "it belongs to no manifest of this change") for d in unmatched]


def worst_verdict(judged: Sequence[JudgedModel]) -> str:
    """The worst verdict of any model."""
    return next(word for word in SEVERITY if word in {j.verdict for j in judged})


def annotations_for(judged: Sequence[JudgedModel]) -> list[Annotation]:
    """Annotations on the candidate's line of each manifest that was not allowed."""
    annotations = []
    for j in judged:
        if j.changed is None or j.verdict == "allow":
            continue
        line = j.changed.line_of("candidate")
        if j.verdict == "error" or j.report is None:
            annotations += [
                Annotation(j.changed.path, line, "ftgate could not judge", without_paths(p), failure=True)
                for p in j.problems
            ]
            continue
        annotations.append(
            Annotation(j.changed.path, line, f"ftgate: {j.verdict}", without_code(explanation(j.report)), failure=True)
        )
        annotations += [
            Annotation(
                j.changed.path, line, f"{numbers.title(name, m.kind)}: {status_of(m)}", m.reason, failure=m.blocks
            )
            for name, m in j.report.measurements.items()
            if m.status not in ("pass", "not_applicable")
        ]
    return annotations


def recorded_change(m: MeasurementReport) -> Change:
    """A measurement's result for the audit trail, with that against the deployed model, if there is one."""
    part = m.incumbent
    against = None
    if part is not None:
        against = Change(
            change=part.change, unit=part.unit, status=part.status, interval=_rounded(part.interval), level=part.level
        )
    interval, status = _rounded(m.interval), status_of(m)
    return Change(change=m.change, unit=m.unit, status=status, interval=interval, level=m.level, incumbent=against)


def _rounded(interval: tuple[Number, Number]) -> tuple[Number, Number]:
    """An interval in few digits: every record is in every later comment of its pull request."""
    low, high = (None if bound is None else round(bound, RECORDED_DIGITS) for bound in interval)
    return low, high


def status_of(m: MeasurementReport) -> str:
    """A measurement's status, with its tier unless it is blocking."""
    return m.status if m.tier == "blocking" else f"{m.status} ({m.tier})"


def _same_candidate(untrusted: UntrustedReport, entry: ChangedManifest) -> bool:
    """Whether name and candidate reference agree."""
    report = untrusted.report
    if report is None or entry.manifest is None or report.name != entry.manifest.name:
        return False
    candidate = report.provenance.get("candidate")
    reference = candidate.get("reference") if isinstance(candidate, dict) else None
    return bool(reference == entry.manifest.candidate.source)


def _same_manifest(untrusted: UntrustedReport, entry: ChangedManifest) -> bool:
    """Whether the SHA-256 of the manifest's file agrees as well."""
    return (
        _same_candidate(untrusted, entry)
        and untrusted.report is not None
        and untrusted.report.provenance.get("manifest_sha256") == entry.sha256
    )


def _with_manifest(
    entry: ChangedManifest, untrusted: UntrustedReport | None, expected: Expected, failure: str
) -> JudgedModel:
    title = entry.manifest.name if entry.manifest else entry.path
    if entry.manifest is None:
        return JudgedModel(title, untrusted, entry, (f"{entry.path}: {entry.problem}",))
    if lacking := expected.policy.lacking(entry.manifest):
        return JudgedModel(title, untrusted, entry, (f"{entry.path}: {lacking}",))
    if untrusted is None or untrusted.report is None:
        problem = (
            f"the evaluation failed: {failure}" if failure else f"{entry.path}: the evaluation left no report for it"
        )
        return JudgedModel(title, untrusted, entry, (problem,))
    sources = {role: getattr(entry.manifest, role).source for role in ("base", "candidate")}
    source_digest = expected.source_digest or (lambda _path, _source: "")
    digests = {role: source_digest(entry.path, source) for role, source in sources.items()}
    problems = (
        *untrusted.problems,
        *manifest_mismatches(untrusted.report, entry.manifest, entry.sha256, digests),
        *_incumbent_problems(untrusted.report, entry.path, entry.manifest, expected),
    )
    return JudgedModel(title, untrusted, entry, problems)


def _incumbent_problems(report: Report, path: str, manifest: Manifest, expected: Expected) -> Iterator[str]:
    """Whether the report compares with the model that manifest or ledger name as deployed."""
    wanted = expected.policy.incumbent_of(manifest)
    source_digest = expected.source_digest or (lambda _path, _source: "")
    if isinstance(wanted, Source):
        yield from incumbent_mismatches(report, wanted, "the manifest", source_digest(path, wanted.source))
        if expected.policy.incumbent.required and is_candidate(report):
            yield (
                f"its incumbent {wanted.source!r} is the candidate itself, which leaves nothing to compare, and the "
                "policy requires an incumbent (incumbent.required)"
            )
    elif wanted is not None and expected.last_allowed is not None:
        try:
            yield from incumbent_mismatches(report, expected.last_allowed(path).source, "the ledger")
        except FtgateError as error:
            yield error.message


def _without_manifest(untrusted: UntrustedReport, problem: str) -> JudgedModel:
    title = untrusted.report.name if untrusted.report else untrusted.folder.name
    return JudgedModel(title or "(no name)", untrusted, None, (*untrusted.problems, problem))
