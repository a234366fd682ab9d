"""The bundle: one folder with everything that an evaluation needs from the repository, without a token or a checkout.

The policy and the files that it names (suites, judge) come from the base branch, the manifests and the files that they
name from the change. Everything is read as data through the API: no code of the change runs, links are not followed,
and no file of the change can replace one that belongs to the policy. The folder has the repository's layout, so
relative paths keep working.
"""

from __future__ import annotations

import json
import posixpath
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ftgate.config.lm_eval import PREFIX
from ftgate.config.manifest import Manifest
from ftgate.config.policy import Policy
from ftgate.errors import ConfigurationError
from ftgate.github.changed_manifests import LINK, ChangedManifest, candidate_at, sources_of
from ftgate.github.client import File, GitHubRepo
from ftgate.github.event import RunTarget
from ftgate.github.incumbent import asks_ledger, ledger_of
from ftgate.github.installing import NoPolicyError, installs_policy
from ftgate.github.match_reports import (
    BasePolicy,
    changed_paths,
    digest_in_commit,
    manifests_to_judge,
    read_base_policy,
    resolve_target,
)
from ftgate.github.suite_check import measurements_of_data
from ftgate.jobs.incumbent import LastAllowed

LISTING = "ftgate-job.json"
"""In the bundle: the path of the policy, and the manifests to judge under it."""
LFS = b"version https://git-lfs.github.com/spec/"
"""The first bytes of a Git LFS pointer."""


def write_bundle(repo: GitHubRepo, target: RunTarget, policy_path: str, out: Path) -> list[str]:
    """Write the bundle of the change at ``target`` into ``out``. Returns the paths of the manifests that it touches.

    Without a base to compare with, as for a release, these are all manifests of the commit. A manifest that cannot be
    used is returned but not listed for evaluation; the report step says why. Raises ConfigurationError for what cannot
    be evaluated (a link, an LFS pointer, a path outside the repository) and PublishError when GitHub fails.
    """
    _clear(out)
    target, pull = resolve_target(repo, target)
    try:
        base_policy = read_base_policy(repo, target, policy_path)
    except NoPolicyError:
        if not installs_policy(repo, target, policy_path):
            raise
        _write_listing(out, {"policy": policy_path, "sha": target.sha, "manifests": []})
        return []
    head = repo.tree(target.sha)
    paths = changed_paths(repo, target, pull)
    changed = manifests_to_judge(repo, target, base_policy, paths)
    globs = base_policy.policy.manifests
    if paths is None and not changed:
        raise ConfigurationError(
            f"no file of {target.sha[:7]} matches the policy's manifests: {', '.join(globs) or 'none'}",
            hint="list the manifests in the policy, or do not run the gate on commits without a model",
        )
    policy_paths = _policy_paths(base_policy.policy, policy_path)
    usable = [entry for entry in changed if entry.manifest is not None and not _is_within(entry.path, policy_paths)]
    incumbents = _last_allowed(repo, target, base_policy, usable)
    if usable:
        deployed_paths = {path for name in incumbents for path in _deployed_paths(name, incumbents[name])}
        manifest_paths = deployed_paths | {
            target for e in usable if e.manifest for target in (e.path, *_manifest_paths(e.path, e.manifest))
        }
        base = repo.tree(base_policy.commit)
        policy_files = {path: base[path] for path in base if _is_within(path, policy_paths)}
        repo.prefetch([file.sha for file in policy_files.values() if file.mode != LINK])
        _write_files(repo, policy_files, out)
        others = {p for p in head if _is_within(p, manifest_paths) and not _is_within(p, policy_paths)}
        _write_files(repo, {path: head[path] for path in head if path in others}, out)
    listing: dict[str, Any] = {"policy": policy_path, "sha": target.sha, "manifests": [entry.path for entry in usable]}
    if incumbents:
        listing["incumbents"] = {name: last.model_dump(mode="json") for name, last in incumbents.items()}
    _write_listing(out, listing)
    return [entry.path for entry in changed]


def _write_listing(out: Path, listing: Mapping[str, Any]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / LISTING).write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")


def _last_allowed(
    repo: GitHubRepo, target: RunTarget, base_policy: BasePolicy, usable: Sequence[ChangedManifest]
) -> dict[str, LastAllowed]:
    """What the ledger says of each manifest whose incumbent is its last allowed candidate; empty if there is none.

    Raises ConfigurationError without a ledger, and if the change put other files in the place of the deployed ones.
    """
    policy = base_policy.policy
    asking = [e for e in usable if e.manifest is not None and asks_ledger(policy, e.manifest)]
    if not asking:
        return {}
    head, deployed = repo.tree(target.sha), partial(candidate_at, repo, base_policy.commit)
    ledger, incumbents = ledger_of(repo, policy, target.pull_request, deployed), {}
    for entry in asking:
        last = ledger.last_allowed(entry.path)
        if last.source is not None and _deployed_paths(entry.path, last):
            here = digest_in_commit(repo, head, policy.artifacts.skip, entry.path, last.source.source)
            if here != last.source.digest:
                raise ConfigurationError(
                    f"{entry.path}: the deployed model {last.source.source!r} ({str(last.source.digest)[:19]}) is a "
                    "folder of the repository that has other files here, so that it cannot be compared with",
                    hint="store each release in a place of its own: a new folder, or hf:// with a revision",
                )
        incumbents[entry.path] = last
    return incumbents


def _clear(out: Path) -> None:
    """Remove an earlier bundle, which a self-hosted runner keeps in its workspace. Nothing else is removed."""
    if (out / LISTING).is_file():
        shutil.rmtree(out)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} already exists and is not a bundle", hint="name a new folder")


def _policy_paths(policy: Policy, path: str) -> set[str]:
    """The paths of the policy and of the files in the repository that it names."""
    sources = [m.dataset for m in measurements_of_data(policy, path)]
    if policy.judge is not None and policy.judge.source is not None:
        sources.append(policy.judge.source)
    if policy.judge is not None and policy.judge.labels is not None:
        sources.append(policy.judge.labels)
    return {path, *_paths_in_repository(path, sources)}


def _deployed_paths(manifest: str, last: LastAllowed) -> list[str]:
    """The folder of the repository that holds the deployed model; empty if it is stored elsewhere."""
    return list(_paths_in_repository(manifest, [last.source.source] if last.source is not None else []))


def _manifest_paths(path: str, manifest: Manifest) -> set[str]:
    return set(_paths_in_repository(path, [source.source for source in sources_of(manifest)]))


def _paths_in_repository(named_in: str, sources: Sequence[str]) -> Iterator[str]:
    """The repository paths that ``sources`` mean in the file ``named_in``; sources stored elsewhere are skipped.

    Raises ConfigurationError for a relative path that leaves the repository, and for the repository itself.
    """
    for source in sources:
        if "://" in source or source.startswith(("/", "builtin:", PREFIX)):
            continue
        path = posixpath.normpath(posixpath.join(posixpath.dirname(named_in), source))
        if path == "." or path == ".." or path.startswith("../"):
            raise ConfigurationError(
                f"{named_in}: {source!r} is not in the repository",
                hint="use a folder of the repository, an absolute path on the machine, or a reference such as hf://…",
            )
        yield path


def _is_within(path: str, paths: Collection[str]) -> bool:
    """Whether ``path`` is one of ``paths`` or lies below one."""
    parts = path.split("/")
    return any("/".join(parts[:n]) in paths for n in range(1, len(parts) + 1))


def _write_files(repo: GitHubRepo, files: Mapping[str, File], out: Path) -> None:
    for path, file in files.items():
        if file.mode == LINK:
            raise ConfigurationError(f"{path} is a link, and links are not followed", hint="commit the file itself")
        # GitHub has no such paths, but a compromised server could send them.
        if PurePosixPath(path).is_absolute() or {"", ".", "..", ".git"} & set(path.split("/")):
            raise ConfigurationError(f"{path!r} is not a valid path for a file", hint="rename it")
        content = repo.blob(file.sha)
        if content.startswith(LFS):
            raise ConfigurationError(
                f"{path} is in Git LFS, and the API returns only its pointer",
                hint="name the place where it is stored (hf://…, s3://…), or put it on the machine and give its path",
            )
        copy = out / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
