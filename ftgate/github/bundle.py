"""What an evaluation needs of a repository, in one folder, so that it needs neither a token nor a checkout.

The policy and what it names (suites, judge) are the base branch's; the manifests and the files that they name are the
change's. All of it is data, read through the API: nothing of the change is executed, no link is followed, and no file
of the change takes the place of one that belongs to the policy. The folder mirrors the repository, so that paths that
are relative to a file stay true.
"""

from __future__ import annotations

import json
import posixpath
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ftgate.config.manifest import Manifest
from ftgate.config.policy import Policy
from ftgate.errors import ConfigurationError
from ftgate.github import match_reports as judging
from ftgate.github.changed_manifests import LINK
from ftgate.github.client import File, GitHubRepo
from ftgate.github.event import RunTarget
from ftgate.measurements.registry import read_measurements

LISTING = "ftgate-job.json"
"""In the folder: which policy, and which manifests are to be judged under it."""
LFS = b"version https://git-lfs.github.com/spec/"
"""What a file begins with whose content is kept elsewhere."""


def fetch(hub: GitHubRepo, place: RunTarget, policy_path: str, out: Path) -> list[str]:
    """Write the parcel of the change at ``place`` into ``out``. Returns the paths of the manifests that it touches.

    Where there is nothing to compare with, as for a release, these are all manifests of the commit. One that cannot be
    used is returned, but not listed for evaluation: the publisher says why. Raises ConfigurationError for what cannot
    be evaluated (a link, a file kept elsewhere, a path out of the repository) and PublishError for the platform.
    """
    _empty(out)
    place, pull = judging.locate(hub, place)
    rules = judging.read_rules(hub, place, policy_path)
    head = hub.tree(place.sha)
    paths = judging.changed_paths(hub, place, pull)
    changed = judging.manifests_of(hub, place, rules, paths)
    if paths is None and not changed:
        raise ConfigurationError(
            f"no file of {place.sha[:7]} matches the policy's manifests: {', '.join(rules.policy.manifests) or 'none'}",
            hint="name the manifests in the policy, or do not run the gate where there is no model",
        )
    ours = _policy_places(rules.policy, policy_path)
    usable = [entry for entry in changed if entry.manifest is not None and not _within(entry.path, ours)]
    if usable:
        base = hub.tree(rules.commit)
        _write(hub, {path: base[path] for path in base if _within(path, ours)}, out)
        theirs = {place for e in usable if e.manifest for place in (e.path, *_manifest_places(e.path, e.manifest))}
        _write(hub, {path: head[path] for path in head if _within(path, theirs) and not _within(path, ours)}, out)
    out.mkdir(parents=True, exist_ok=True)
    listing = {"policy": policy_path, "sha": place.sha, "manifests": [entry.path for entry in usable]}
    (out / LISTING).write_text(json.dumps(listing, indent=2) + "\n", encoding="utf-8")
    return [entry.path for entry in changed]


def _empty(out: Path) -> None:
    """An earlier parcel gives way: a machine of one's own keeps its workspace. Nothing else is removed."""
    if (out / LISTING).is_file():
        shutil.rmtree(out)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} is there already and is no parcel", hint="name a new folder")


def _policy_places(policy: Policy, path: str) -> set[str]:
    """Where the policy and the local files that it names lie in the repository."""
    named = [m.dataset for m in read_measurements(policy.measurements, f"policy {path}")]
    if policy.judge is not None and policy.judge.source is not None:
        named.append(policy.judge.source)
    return {path, *_inside(path, named)}


def _manifest_places(path: str, manifest: Manifest) -> set[str]:
    sources = [manifest.base, manifest.candidate, *([manifest.training_data] if manifest.training_data else [])]
    return set(_inside(path, [source.source for source in sources]))


def _inside(file: str, named: Sequence[str]) -> Iterator[str]:
    """The places in the repository that ``named`` mean in ``file``; what is not in it is left out."""
    for source in named:
        if "://" in source or source.startswith(("/", "builtin:")):
            continue
        place = posixpath.normpath(posixpath.join(posixpath.dirname(file), source))
        if place == "." or place == ".." or place.startswith("../"):
            raise ConfigurationError(
                f"{file}: {source!r} does not lie in the repository",
                hint="name a folder of the repository, an absolute path of the machine, or a reference such as hf://…",
            )
        yield place


def _within(path: str, places: Collection[str]) -> bool:
    """Whether ``path`` is one of ``places`` or lies in one."""
    parts = path.split("/")
    return any("/".join(parts[:n]) in places for n in range(1, len(parts) + 1))


def _write(hub: GitHubRepo, files: Mapping[str, File], out: Path) -> None:
    for path, file in files.items():
        if file.mode == LINK:
            raise ConfigurationError(f"{path} is a link, and links are not followed", hint="put the file in its place")
        # The platform has no such paths; whoever speaks for it might.
        if PurePosixPath(path).is_absolute() or {"", ".", "..", ".git"} & set(path.split("/")):
            raise ConfigurationError(f"{path!r} is no path for a file", hint="rename it")
        content = hub.blob(file.sha)
        if content.startswith(LFS):
            raise ConfigurationError(
                f"{path} is kept in Git LFS, of which the API shows only a pointer",
                hint="name it where it is stored (hf://…, s3://…), or put it on the machine and give its path",
            )
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
