"""Which manifests a change touches, and what they say at its head. Everything is read as data through the API.

A manifest is touched when its own file changes, or when a file changes in a folder of this repository that it names: a
change of weights that lie beside it is a change of the model. Links are not followed, so a manifest whose sources lead
through one always counts as touched.
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
from ftgate.github.client import File

LINK = "120000"
"""Git's file mode of a symbolic link."""


@dataclass(frozen=True, slots=True)
class ChangedManifest:
    """A manifest that a change touches. ``manifest`` is None where it cannot be used; ``problem`` says why."""

    path: str
    text: str = ""
    manifest: Manifest | None = None
    problem: str = ""
    sha256: str = ""
    """Of the file."""

    def line_of(self, field: str) -> int:
        """The line, from 1, on which the top-level ``field`` begins; 1 where there is none."""
        lines = self.text.splitlines()
        return next((n for n, line in enumerate(lines, 1) if line.startswith(f"{field}:")), 1)


@dataclass(frozen=True, slots=True)
class BaseChange:
    """A manifest that names another base than the base branch's manifest does: ``before`` and ``after``, in words."""

    path: str
    before: str
    after: str


def changed_manifests(
    globs: Sequence[str], tree: Mapping[str, File], changed: Sequence[str], read: Callable[[str], bytes]
) -> list[ChangedManifest]:
    """The manifests in ``tree`` (path to file) that ``changed`` paths touch. ``read`` gives the content of a hash."""
    found = []
    touched = frozenset(changed)
    for path in sorted(p for p in tree if _named(globs, p)):
        entry = _open(path, tree[path], read)
        if path in touched or (entry.manifest is not None and _sources_touched(path, entry.manifest, tree, touched)):
            found.append(entry)
    return found


def removed_manifests(globs: Sequence[str], changed: Sequence[str], left: Sequence[str]) -> list[str]:
    """The ``changed`` manifests that are not ``left``: deleted, or renamed to what the policy does not name."""
    return sorted(p for p in changed if p not in left and _named(globs, p))


def files_at(tree: Mapping[str, File], path: str, source: str) -> dict[str, File]:
    """The files of the folder in ``tree`` that ``source`` means in the manifest at ``path``, by their names in it."""
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), source)) + "/"
    return {p.removeprefix(place): file for p, file in tree.items() if p.startswith(place)}


def base_changes(
    changed: Sequence[ChangedManifest],
    removed: Sequence[str],
    tree: Mapping[str, File],
    earlier: Mapping[str, File],
    read: Callable[[str], bytes],
) -> list[BaseChange]:
    """Which of the ``changed`` manifests, as they stand in ``tree``, have another base than in the ``earlier`` one.

    What a manifest was before is what had its path, or else the ``removed`` one of its name.
    """
    paths = [p for p in (*(entry.path for entry in changed), *removed) if p in earlier]
    known = {p: _open(p, earlier[p], read) for p in paths}
    gone = {had.manifest.name: had for p in removed if (had := known.get(p)) and had.manifest}
    found = []
    for entry in changed:
        before = known.get(entry.path) or (gone.get(entry.manifest.name) if entry.manifest else None)
        if not (entry.manifest and before and before.manifest):
            continue
        old, new = before.manifest.base, entry.manifest.base
        ours, theirs = files_at(earlier, before.path, old.source), files_at(tree, entry.path, new.source)
        if _pinned(old) != _pinned(new) or ours != theirs:
            other = "" if _pinned(old) != _pinned(new) else " (other files)"
            found.append(BaseChange(entry.path, _pinned(old), f"{_pinned(new)}{other}"))
    return found


def _pinned(source: Source) -> str:
    return " ".join(part for part in (source.source, source.revision, source.digest) if part)


def _named(globs: Sequence[str], path: str) -> bool:
    return any(matches(glob.split("/"), path.split("/")) for glob in globs)


def _open(path: str, file: File, read: Callable[[str], bytes]) -> ChangedManifest:
    if file.mode == LINK:
        return ChangedManifest(path, problem="it is a link: a manifest must be a file of its own")
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
    """Whether a changed file lies in, or is, one of the places in this repository that the manifest names."""
    sources = [manifest.base, manifest.candidate, *([manifest.training_data] if manifest.training_data else [])]
    for source in sources:
        place = posixpath.normpath(posixpath.join(posixpath.dirname(path), source.source))
        parts = place.split("/")
        above = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
        if any(tree[p].mode == LINK for p in above if p in tree):
            return bool(touched)
        # A path above it is a folder no longer, or a submodule that now points elsewhere.
        if place == "." or touched & set(above) or any(p.startswith(f"{place}/") for p in touched):
            return bool(touched)
    return False
