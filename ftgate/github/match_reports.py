"""From the folders that arrived to what is said of them: each changed manifest has one checked report, or an error."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ftgate.artifacts.file_names import choose
from ftgate.artifacts.snapshot import FileEntry, tree_digest
from ftgate.config.policy import Policy, read_policy
from ftgate.errors import ConfigurationError, PublishError
from ftgate.github.actions_runner import Annotation
from ftgate.github.audit.record import Change, ModelEntry
from ftgate.github.changed_manifests import ChangedManifest, changed_manifests, files_at
from ftgate.github.client import File, GitHubRepo, Pull
from ftgate.github.event import RunTarget
from ftgate.github.failure_file import read_failure
from ftgate.github.verify_report import Expected, UntrustedReport, digest_in, unlike_manifest, verify_report
from ftgate.report.explanation import explanation
from ftgate.report.schema import Report

SEVERITY = ("error", "block", "hold", "allow")
"""The run's verdict is the first of these that any model has."""
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize ([0-9]{1,18})\n")
"""What large file storage leaves in a file's place: its SHA-256 and size."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The base branch's policy, as text and as read, and where it stands in the repository."""

    text: str
    policy: Policy
    path: str
    commit: str
    """The base branch's tip, at which it was read."""


@dataclass(frozen=True, slots=True)
class JudgedModel:
    """One model with all that is known of it."""

    title: str
    untrusted: UntrustedReport | None
    changed: ChangedManifest | None
    problems: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The verdict that counts."""
        return "error" if self.problems or self.untrusted is None else self.untrusted.verdict

    @property
    def report(self) -> Report | None:
        """The report, if one arrived that can be read."""
        return self.untrusted.report if self.untrusted else None

    def entry(self) -> ModelEntry:
        """The model as the audit trail keeps it."""
        report = self.report
        numbers = report.measurements if report and self.verdict != "error" else {}
        return ModelEntry.model_validate(
            {
                "name": self.title,
                "manifest": self.changed.path if self.changed else "",
                "base": digest_in(report, "base") if report else "",
                "candidate": digest_in(report, "candidate") if report else "",
                "verdict": self.verdict,
                "numbers": {name: Change(change=m.change, unit=m.unit, status=m.status) for name, m in numbers.items()},
                "report": self.untrusted.sha256 if self.untrusted else "",
            }
        )


def locate(hub: GitHubRepo, place: RunTarget) -> tuple[RunTarget, Pull | None]:
    """The place with its pull request, as it now stands: its base branch, and by its head whether it moved on."""
    if place.branch is not None:
        pull = _only_pull(hub, *place.branch)
    elif place.pull_request is not None:
        pull = hub.pull(place.pull_request)
        if place.event.startswith("pull_request") and pull.base_ref != place.base_ref:
            # Else whoever opened it could have it judged under a weaker policy, and point it back.
            raise PublishError(
                f"#{pull.number} was pointed at {pull.base_ref} after this run for {place.base_ref} began",
                hint="push again, or start the workflow by hand, to have it judged for its new branch",
            )
    else:
        return place, None
    base = place.base_sha or pull.base
    return replace(place, branch=None, pull_request=pull.number, base_ref=pull.base_ref, base_sha=base), pull


def _only_pull(hub: GitHubRepo, owner: str, branch: str) -> Pull:
    """The open pull request from a branch. Of several nobody can tell which one a run was for: its event names none."""
    found = hub.pulls_of(owner, branch)
    if not found:
        raise PublishError(f"no open pull request from {owner}:{branch} is left", hint="reopen it, run the gate again")
    if len(found) > 1:
        named = ", ".join(f"#{p.number} into {p.base_ref}" for p in found)
        raise PublishError(
            f"{len(found)} pull requests are open from {owner}:{branch}, each under its own branch's policy: {named}",
            hint="close all but one, or judge them on pull_request_target, whose event names its own",
        )
    return found[0]


def read_rules(hub: GitHubRepo, place: RunTarget, path: str) -> Rules:
    """The policy at the tip of the base branch. Raises ConfigurationError where there is none that can be used."""
    commit = hub.tip(place.base_ref)
    text = hub.text_at(path, commit) if commit else None
    if text is None:
        raise ConfigurationError(
            f"there is no policy {path} on {place.base_ref}", hint="merge one first: a change cannot bring its own gate"
        )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / Path(path).name
        copy.write_text(text, encoding="utf-8")
        try:
            return Rules(text, read_policy(copy), path, commit or "")
        except ConfigurationError as error:
            said = error.message.replace(str(copy), f"{path} on {place.base_ref}")
            raise ConfigurationError(said, hint=error.hint) from None


def changed_paths(hub: GitHubRepo, place: RunTarget, pull: Pull | None) -> list[str] | None:
    """The paths that differ from the base; None where there is nothing to compare with.

    Of a pull request too the judged commit is compared with the branch that rules. What the platform lists for it is
    for its head, and for the branch that it is pointed at, in that moment: a push or a change of branch in between
    would hide a model.
    """
    if pull is None or pull.merged:  # what was merged is in the branch, and differs from it no more
        return hub.changed_between(place.base_sha, place.sha) if place.base_sha else None
    return hub.changed_between(place.base_ref, place.sha)


def manifests_of(hub: GitHubRepo, place: RunTarget, rules: Rules, paths: Sequence[str] | None) -> list[ChangedManifest]:
    """The manifests that the change touches, as they stand in the judged commit.

    Where there is nothing to compare with, as for a release, ``paths`` is None: then all manifests of the commit.
    """
    if paths is not None and not paths:
        return []
    tree = hub.tree(place.sha)
    return changed_manifests(rules.policy.manifests, tree, list(tree) if paths is None else paths, hub.blob)


def digest_beside(hub: GitHubRepo, tree: Mapping[str, File], skip: Sequence[str], path: str, source: str) -> str:
    """The tree digest of the folder in ``tree`` that ``source`` names in the manifest at ``path``; "" without one.

    What a run leaves aside, by itself or because ``skip`` says so, is left aside here too. Of a file in large file
    storage what its pointer says counts: whoever evaluates in a checkout has the file itself.
    """
    found = files_at(tree, path, source)
    files = {}
    for name in choose(found, skip)[0]:
        content = hub.blob(found[name].sha)
        kept = _POINTER.fullmatch(content)
        files[name] = (
            FileEntry(int(kept[2]), kept[1].decode())
            if kept
            else FileEntry(len(content), hashlib.sha256(content).hexdigest())
        )
    return tree_digest(files) if files else ""


def judge(folders: Sequence[Path], standard: Expected, changed: Sequence[ChangedManifest]) -> list[JudgedModel]:
    """Every manifest to judge with its report. One without a report, and a report without a manifest, is an error."""
    failures = {folder: failure for folder in folders if (failure := read_failure(folder))}
    reasons = {failure.manifest: failure.reason for failure in failures.values()}
    explained = {"", *(entry.path for entry in changed)}
    waiting = [
        verify_report(f, standard) for f in folders if f not in failures or failures[f].manifest not in explained
    ]
    found: dict[str, UntrustedReport] = {}
    for same in (_exactly, _belongs):  # manifests may share name and candidate, and differ in the base
        for entry in (e for e in changed if e.path not in found):
            if untrusted := next((d for d in waiting if same(d, entry)), None):
                waiting.remove(untrusted)
                found[entry.path] = untrusted
    judged = [
        _with_manifest(e, found.get(e.path), standard, reasons.get(e.path) or reasons.get("", "")) for e in changed
    ]
    return judged + [_alone(d, "it belongs to no manifest that is to be judged") for d in waiting]


def verdict_of(judged: Sequence[JudgedModel]) -> str:
    """The worst verdict of any model."""
    return next(word for word in SEVERITY if word in {j.verdict for j in judged})


def notes_on(judged: Sequence[JudgedModel]) -> list[Annotation]:
    """A note on the candidate's line of each manifest that was not allowed."""
    notes = []
    for j in judged:
        if j.changed is None or j.verdict == "allow":
            continue
        line = j.changed.line_of("candidate")
        if j.verdict == "error" or j.report is None:
            notes += [Annotation(j.changed.path, line, "ftgate could not judge", p, failure=True) for p in j.problems]
            continue
        notes.append(Annotation(j.changed.path, line, f"ftgate: {j.verdict}", explanation(j.report), failure=True))
        notes += [
            Annotation(j.changed.path, line, f"{name}: {m.status}", m.reason, failure=m.status == "block")
            for name, m in j.report.measurements.items()
            if m.status not in ("pass", "not_applicable")
        ]
    return notes


def _belongs(untrusted: UntrustedReport, entry: ChangedManifest) -> bool:
    """By name, and by what the candidate is called."""
    report = untrusted.report
    if report is None or entry.manifest is None or report.name != entry.manifest.name:
        return False
    candidate = report.provenance.get("candidate")
    reference = candidate.get("reference") if isinstance(candidate, dict) else None
    return bool(reference == entry.manifest.candidate.source)


def _exactly(untrusted: UntrustedReport, entry: ChangedManifest) -> bool:
    """By the manifest's file too. Whatever is of another one is told with what belongs to it otherwise."""
    return (
        _belongs(untrusted, entry)
        and untrusted.report is not None
        and untrusted.report.provenance.get("manifest_sha256") == entry.sha256
    )


def _with_manifest(
    entry: ChangedManifest, untrusted: UntrustedReport | None, standard: Expected, failure: str
) -> JudgedModel:
    title = entry.manifest.name if entry.manifest else entry.path
    if entry.manifest is None:
        return JudgedModel(title, untrusted, entry, (f"{entry.path}: {entry.problem}",))
    if lacking := standard.policy.lacking(entry.manifest):
        return JudgedModel(title, untrusted, entry, (f"{entry.path}: {lacking}",))
    if untrusted is None or untrusted.report is None:
        said = f"the evaluation failed: {failure}" if failure else f"{entry.path}: the evaluation left no report for it"
        return JudgedModel(title, untrusted, entry, (said,))
    sources = {role: getattr(entry.manifest, role).source for role in ("base", "candidate")}
    beside = standard.beside or (lambda _path, _source: "")
    digests = {role: beside(entry.path, source) for role, source in sources.items()}
    problems = (*untrusted.problems, *unlike_manifest(untrusted.report, entry.manifest, entry.sha256, digests))
    return JudgedModel(title, untrusted, entry, problems)


def _alone(untrusted: UntrustedReport, problem: str) -> JudgedModel:
    title = untrusted.report.name if untrusted.report else untrusted.folder.name
    return JudgedModel(title or "(no name)", untrusted, None, (*untrusted.problems, problem))
