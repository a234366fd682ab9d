"""One digest for a folder of files: the same tree gives the same digest, wherever it lies."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ftgate.domain import digest_of
from ftgate.errors import ArtifactError

_BLOCK = 1 << 20
_NOT_CONTENT = frozenset({".git", ".cache"})
"""Folders that tools leave behind; they are not part of a model."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size in bytes and SHA-256 (hex) of one file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A local folder whose content is pinned: ``files`` by POSIX path relative to ``path``, and their tree digest."""

    path: Path
    reference: str
    files: Mapping[str, FileEntry]
    digest: str


def take_snapshot(folder: Path, reference: str) -> Snapshot:
    """Read every file of ``folder`` and digest the tree: SHA-256 over the sorted [path, size, sha256] of its files.

    Links to files inside the folder are followed; one that leads out of it is refused, because its target is not under
    the control of whoever pinned the folder. Raises ArtifactError for such a link, a missing folder or a file that
    cannot be read.
    """
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "no such folder"
        raise ArtifactError(f"{reference}: {kind}: {folder}", hint="name the folder that holds the weights")
    root = folder.resolve()
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if _NOT_CONTENT.intersection(name.parts):
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise ArtifactError(
                f"{reference}: {name.as_posix()} is a link that leads out of the folder",
                hint="copy the file in its place",
            )
        if path.is_file():
            files[name.as_posix()] = _entry(path, reference)
    if not files:
        raise ArtifactError(f"{reference}: the folder {folder} is empty", hint="name the folder that holds the weights")
    tree = [[name, entry.size, entry.sha256] for name, entry in sorted(files.items())]
    return Snapshot(folder, reference, files, "sha256:" + digest_of(tree))


def _entry(path: Path, reference: str) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise ArtifactError(f"{reference}: cannot read {path.name}: {error}", hint="check the file") from None
    return FileEntry(size, digest.hexdigest())
