"""A folder of files pinned by one digest: the same tree has the same digest wherever it is stored."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ftgate.artifacts.file_names import NOT_CONTENT, select_files
from ftgate.domain import digest_of
from ftgate.errors import ArtifactError
from ftgate.files import Stamp, folder_stamps, settled_stamps

THREADS = min(8, os.cpu_count() or 1)
PREFLIGHT_TREE_BYTES, PREFLIGHT_FILE_BYTES = 4 << 30, 64 << 20
"""A preflight hashes every file of a folder of up to 4 GiB; of a larger one only files of up to 64 MiB."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size in bytes and SHA-256 (hex) of one file; the SHA-256 is empty if a preflight did not hash the file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A local folder with pinned content: ``files`` by POSIX path relative to ``path``, and their tree digest.

    ``digest`` is empty if some files were not hashed. ``headers_only`` names files of which only the header was
    downloaded: the rest is zeros and must not be used. ``ignored_files`` names files at the source that are not part of
    the snapshot: see :func:`ftgate.artifacts.file_names.select_files`. ``stamps`` are those of the files,
    and of the folders that hold them, from before they were hashed.
    """

    path: Path
    reference: str
    files: Mapping[str, FileEntry]
    digest: str
    headers_only: frozenset[str] = frozenset()
    ignored_files: tuple[str, ...] = ()
    stamps: Mapping[str, Stamp] = field(default_factory=dict, compare=False)


def take_snapshot(
    folder: Path, reference: str, root: Path | None = None, *, skip_large: bool = False, skip: Sequence[str] = ()
) -> Snapshot:
    """Hash every file of ``folder``; the tree's digest is the SHA-256 of the sorted [path, size, sha256] of its files.

    Times, permissions and empty folders do not count. Links to files are followed if they stay inside ``root``: by
    default the folder itself, in a hub cache the repository, since its snapshots link to its blobs. Whoever pinned the
    folder does not control what lies outside it. Raises ArtifactError for a link that leaves the root, is broken or
    points to a folder, for special files, for a missing or empty folder, and for an unreadable file.

    ``skip_large`` leaves large files unhashed, so that a preflight is quick. Training state and files that the ``skip``
    globs match are ignored.
    """
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "no such folder"
        raise ArtifactError(
            f"{reference}: {kind}: {folder}",
            hint="name the folder that holds the weights: in a file relative to that file, on the command line "
            "relative to the current folder",
        )
    folder = folder.resolve()
    boundary = (root or _link_root(folder)).resolve()
    paths = {path.relative_to(folder).as_posix(): path for path in _walk(folder, folder, reference)}
    names, ignored_files = select_files(paths, skip)
    if not names:
        raise ArtifactError(f"{reference}: the folder {folder} is empty", hint="name the folder that holds the weights")
    for name in names:
        _require_file(name, paths[name], boundary, reference)
    large = skip_large and sum(paths[name].stat().st_size for name in names) > PREFLIGHT_TREE_BYTES
    unread = {name for name in names if large and paths[name].stat().st_size > PREFLIGHT_FILE_BYTES}
    stamps = folder_stamps(folder, names) | dict(zip(names, settled_stamps([paths[n] for n in names]), strict=True))
    with ThreadPoolExecutor(THREADS) as pool:
        entries = pool.map(lambda name: _file_entry(name, paths[name], reference, read=name not in unread), names)
        files = dict(zip(names, entries, strict=True))
    digest = "" if unread else tree_digest(files)
    return Snapshot(folder, reference, files, digest, ignored_files=tuple(ignored_files), stamps=stamps)


def tree_digest(files: Mapping[str, FileEntry]) -> str:
    """``sha256:`` and the SHA-256 of the sorted ``[path, size, sha256]`` lists as canonical JSON."""
    return "sha256:" + digest_of([[name, files[name].size, files[name].sha256] for name in sorted(files)])


def _link_root(folder: Path) -> Path:
    """In a hub cache the repository that ``folder`` is a snapshot of; otherwise the folder itself."""
    repository = folder.parent.parent
    return repository if folder.parent.name == "snapshots" and (repository / "blobs").is_dir() else folder


def _walk(folder: Path, top: Path, reference: str) -> Iterator[Path]:
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        raise ArtifactError(f"{reference}: cannot list {folder}: {error.strerror}", hint="check permissions") from None
    for path in paths:
        if folder == top and path.name in NOT_CONTENT:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, top, reference)
        else:
            yield path


def _require_file(name: str, path: Path, boundary: Path, reference: str) -> None:
    hint = "replace the link by a copy of the file"
    try:
        target = path.resolve(strict=True)
        mode = target.stat().st_mode
    except (OSError, RuntimeError):
        raise ArtifactError(f"{reference}: {name} is a broken link", hint=hint) from None
    if path.is_symlink() and not target.is_relative_to(boundary):
        raise ArtifactError(f"{reference}: {name} is a link to {target}, outside the folder", hint=hint)
    if stat.S_ISDIR(mode):
        raise ArtifactError(
            f"{reference}: {name} is a link to a folder", hint="replace the link by a copy of the folder"
        )
    if not stat.S_ISREG(mode):
        raise ArtifactError(f"{reference}: {name} is neither a file nor a folder", hint="remove it")


def _file_entry(name: str, path: Path, reference: str, *, read: bool) -> FileEntry:
    try:
        if not read:
            return FileEntry(path.stat().st_size, "")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return FileEntry(file.tell(), digest)
    except OSError as error:
        raise ArtifactError(f"{reference}: cannot read {name}: {error.strerror}", hint="check permissions") from None
