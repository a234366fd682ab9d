"""Which manifests a change touches, and their content at its head. Everything is read as data through the API.

A manifest is touched when its own file changes, or when a file changes in a folder of the repository that it names:
changing the weights changes the model. Links are not followed, so a manifest with a link in the path of a source always
counts as touched.
"""

from __future__ import annotations

import hashlib
import posixpath
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ftgate.artifacts.glob import matches
from ftgate.config.manifest import Manifest, Source, read_manifest
from ftgate.config.strict import MOST_BYTES
from ftgate.errors import ConfigurationError
from ftgate.github.client import File, GitHubRepo

LINK = "120000"
"""Git's file mode of a symbolic link."""


@dataclass(frozen=True, slots=True)
class ChangedManifest:
    """A manifest that a change touches. ``manifest`` is None if it cannot be used; ``problem`` says why."""

    path: str
    text: str = ""
    manifest: Manifest | None = None
    problem: str = ""
    sha256: str = ""
    """SHA-256 of the file, in hex."""

    def line_of(self, field: str) -> int:
        """The line, counted from 1, on which the top-level ``field`` begins; 1 if there is no such field."""
        lines = self.text.splitlines()
        return next((n for n, line in enumerate(lines, 1) if line.startswith(f"{field}:")), 1)


@dataclass(frozen=True, slots=True)
class BaseChange:
    """A manifest whose base model differs from the one on the base branch: ``before`` and ``after``, as text."""

    path: str
    before: str
    after: str


def changed_manifests(
    globs: Sequence[str],
    tree: Mapping[str, File],
    changed: Sequence[str],
    read: Callable[[str], bytes],
    prefetch: Callable[[Sequence[str]], None],
) -> list[ChangedManifest]:
    """The manifests in ``tree`` (path to file) that ``changed`` paths touch.

    ``read`` returns the content of a hash. ``prefetch`` is told first which hashes will be read: all manifests, because
    an unchanged one may name a folder in which something changed.
    """
    manifests = []
    touched = frozenset(changed)
    paths = sorted(p for p in tree if _matches_any(globs, p))
    prefetch([tree[p].sha for p in paths if tree[p].mode != LINK])
    for path in paths:
        entry = _read_entry(path, tree[path], read)
        if path in touched or (entry.manifest is not None and _sources_touched(path, entry.manifest, tree, touched)):
            manifests.append(entry)
    return manifests


def removed_manifests(globs: Sequence[str], changed: Sequence[str], left: Sequence[str]) -> list[str]:
    """The ``changed`` manifests that are not ``left``: deleted, or renamed to a path outside the policy's globs."""
    return sorted(p for p in changed if p not in left and _matches_any(globs, p))


def files_at(tree: Mapping[str, File], path: str, source: str) -> dict[str, File]:
    """The files in ``tree`` below the folder that the manifest at ``path`` calls ``source``, by their names in it."""
    folder = posixpath.normpath(posixpath.join(posixpath.dirname(path), source)) + "/"
    return {p.removeprefix(folder): file for p, file in tree.items() if p.startswith(folder)}


def base_changes(
    changed: Sequence[ChangedManifest],
    removed: Sequence[str],
    tree: Mapping[str, File],
    earlier: Mapping[str, File],
    read: Callable[[str], bytes],
) -> list[BaseChange]:
    """The ``changed`` manifests whose base model in ``tree`` differs from the one in the ``earlier`` tree.

    A manifest's earlier version is the one at its path, or else the ``removed`` one of the same name.
    """
    paths = [p for p in (*(entry.path for entry in changed), *removed) if p in earlier]
    earlier_manifests = {p: _read_entry(p, earlier[p], read) for p in paths}
    removed_by_name = {
        entry_before.manifest.name: entry_before
        for p in removed
        if (entry_before := earlier_manifests.get(p)) and entry_before.manifest
    }
    changes = []
    for entry in changed:
        earlier_entry = earlier_manifests.get(entry.path) or (
            removed_by_name.get(entry.manifest.name) if entry.manifest else None
        )
        if not (entry.manifest and earlier_entry and earlier_entry.manifest):
            continue
        old, new = earlier_entry.manifest.base, entry.manifest.base
        base_files, head_files = (
            files_at(earlier, earlier_entry.path, old.source),
            files_at(tree, entry.path, new.source),
        )
        if _pinned(old) != _pinned(new) or base_files != head_files:
            other = "" if _pinned(old) != _pinned(new) else " (other files)"
            changes.append(BaseChange(entry.path, _pinned(old), f"{_pinned(new)}{other}"))
    return changes


def sources_of(manifest: Manifest) -> list[Source]:
    """Everything that a manifest names: models and training data."""
    others = (manifest.incumbent, manifest.training_data)
    return [manifest.base, manifest.candidate, *(source for source in others if isinstance(source, Source))]


def candidate_at(repo: GitHubRepo, commit: str, path: str) -> Source | None:
    """The candidate that the manifest at ``path`` names in ``commit``; None if there is no usable one."""
    file = repo.tree(commit).get(path)
    entry = _read_entry(path, file, repo.blob) if file is not None else None
    return entry.manifest.candidate if entry is not None and entry.manifest is not None else None


def _pinned(source: Source) -> str:
    return " ".join(part for part in (source.source, source.revision, source.digest) if part)


def _matches_any(globs: Sequence[str], path: str) -> bool:
    return any(matches(glob.split("/"), path.split("/")) for glob in globs)


def _read_entry(path: str, file: File, read: Callable[[str], bytes]) -> ChangedManifest:
    if file.mode == LINK:
        return ChangedManifest(path, problem="it is a link: a manifest must be a regular file")
    content = read(file.sha)
    if len(content) > MOST_BYTES:
        return ChangedManifest(path, problem=f"it is longer than {MOST_BYTES:,} bytes")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "manifest.yaml"
        copy.write_bytes(content)
        try:
            manifest, problem = read_manifest(copy), ""
        except ConfigurationError as error:
            manifest, problem = None, error.message.replace(str(copy), path)
    text, digest = content.decode("utf-8", "replace"), hashlib.sha256(content).hexdigest()
    return ChangedManifest(path, text, manifest, problem, digest)


def _sources_touched(path: str, manifest: Manifest, tree: Mapping[str, File], touched: frozenset[str]) -> bool:
    """Whether a changed file is, or lies below, a path of this repository that the manifest names."""
    for source in sources_of(manifest):
        source_path = posixpath.normpath(posixpath.join(posixpath.dirname(path), source.source))
        parts = source_path.split("/")
        prefixes = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        if any(tree[p].mode == LINK for p in prefixes if p in tree):
            return bool(touched)
        # A folder above it was replaced by a file, or is a submodule that now points to another commit.
        if source_path == "." or touched & set(prefixes) or any(p.startswith(f"{source_path}/") for p in touched):
            return bool(touched)
    return False
