"""One digest for a folder of files: the same tree gives the same digest, wherever it lies."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ftgate.artifacts.file_names import NOT_CONTENT, choose
from ftgate.domain import digest_of
from ftgate.errors import ArtifactError

THREADS = min(8, os.cpu_count() or 1)
GLANCE, SMALL = 4 << 30, 64 << 20
"""A glance reads every file of a folder of up to 4 GiB, and files of up to 64 MiB in a larger one."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """Size in bytes and SHA-256 (hex) of one file; no SHA-256 where the file was too large for a glance."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A local folder whose content is pinned: ``files`` by POSIX path relative to ``path``, and their tree digest.

    ``digest`` is empty where files were left unread. ``headers_only`` names the files of which nothing but the header
    was fetched: the rest of them is holes, and none of their numbers may be used. ``aside`` names what lies at the
    source and is no part of the snapshot: see :func:`ftgate.artifacts.file_names.choose`.
    """

    path: Path
    reference: str
    files: Mapping[str, FileEntry]
    digest: str
    headers_only: frozenset[str] = frozenset()
    aside: tuple[str, ...] = ()


def take_snapshot(
    folder: Path, reference: str, root: Path | None = None, *, glance: bool = False, skip: Sequence[str] = ()
) -> Snapshot:
    """Read every file of ``folder`` and digest the tree: SHA-256 over the sorted [path, size, sha256] of its files.

    Times, permissions and empty folders do not count. Links to files are followed while they stay inside ``root``, by
    default the folder itself, in a hub cache the repository (its snapshots link to its blobs); what lies outside is not
    under the control of whoever pinned the folder. Raises ArtifactError for a link that leads out, nowhere or to a
    folder, for anything that is no file, for a missing or empty folder, and for a file that cannot be read.

    A ``glance`` leaves large files unread, so that whoever only wants to know whether a run would start need not wait.
    What trainers leave behind is left aside, and so is what ``skip`` matches.
    """
    if not folder.is_dir():
        kind = "a file" if folder.exists() else "no such folder"
        raise ArtifactError(
            f"{reference}: {kind}: {folder}",
            hint="name the folder that holds the weights: in a file its path is relative to that file, on the command "
            "line to where you are",
        )
    folder = folder.resolve()
    border = (root or _cache_of(folder)).resolve()
    found = {path.relative_to(folder).as_posix(): path for path in _files(folder, folder, reference)}
    names, aside = choose(found, skip)
    if not names:
        raise ArtifactError(f"{reference}: the folder {folder} is empty", hint="name the folder that holds the weights")
    for name in names:
        _require_file(name, found[name], border, reference)
    large = glance and sum(found[name].stat().st_size for name in names) > GLANCE
    unread = {name for name in names if large and found[name].stat().st_size > SMALL}
    with ThreadPoolExecutor(THREADS) as pool:
        entries = pool.map(lambda name: _entry(name, found[name], reference, read=name not in unread), names)
        files = dict(zip(names, entries, strict=True))
    return Snapshot(folder, reference, files, "" if unread else tree_digest(files), aside=tuple(aside))


def tree_digest(files: Mapping[str, FileEntry]) -> str:
    """``sha256:`` and the SHA-256 of the sorted ``[path, size, sha256]`` as canonical JSON."""
    return "sha256:" + digest_of([[name, files[name].size, files[name].sha256] for name in sorted(files)])


def _cache_of(folder: Path) -> Path:
    """The repository that ``folder`` is a snapshot of, if it lies in a hub cache; else the folder."""
    repository = folder.parent.parent
    return repository if folder.parent.name == "snapshots" and (repository / "blobs").is_dir() else folder


def _files(folder: Path, top: Path, reference: str) -> Iterator[Path]:
    try:
        found = list(folder.iterdir())
    except OSError as error:
        raise ArtifactError(f"{reference}: cannot list {folder}: {error.strerror}", hint="check permissions") from None
    for path in found:
        if folder == top and path.name in NOT_CONTENT:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path, top, reference)
        else:
            yield path


def _require_file(name: str, path: Path, border: Path, reference: str) -> None:
    hint = "copy the file in its place"
    try:
        target = path.resolve(strict=True)
        mode = target.stat().st_mode
    except (OSError, RuntimeError):
        raise ArtifactError(f"{reference}: {name} is a link that leads nowhere", hint=hint) from None
    if path.is_symlink() and not target.is_relative_to(border):
        raise ArtifactError(f"{reference}: {name} is a link that leads out of the folder, to {target}", hint=hint)
    if stat.S_ISDIR(mode):
        raise ArtifactError(f"{reference}: {name} is a link to a folder", hint="copy the folder in its place")
    if not stat.S_ISREG(mode):
        raise ArtifactError(f"{reference}: {name} is neither a file nor a folder", hint="remove it")


def _entry(name: str, path: Path, reference: str, *, read: bool) -> FileEntry:
    try:
        if not read:
            return FileEntry(path.stat().st_size, "")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return FileEntry(file.tell(), digest)
    except OSError as error:
        raise ArtifactError(f"{reference}: cannot read {name}: {error.strerror}", hint="check permissions") from None
