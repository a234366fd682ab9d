"""Archives from strangers: only plain files inside the folder come out, and no more than was agreed."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ftgate.artifacts.download import Limits, too_large
from ftgate.artifacts.file_names import require_clean_names
from ftgate.artifacts.snapshot import FileEntry
from ftgate.errors import ArtifactError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_MOST_RATIO = 200
"""Weights hardly shrink; what grows two hundredfold is meant to fill the disk."""
_SMALL = 1 << 24
"""Bytes that are not worth a ratio."""
_ENTRY = 1 << 10
"""Bytes that the directory of a zip takes for one file at most: 46, its name, and a little more."""
_BEFORE_FILES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)
"""What the standard library raises for archives that are broken, or of a kind that it does not know."""
_AGAIN = "make the archive again, of plain files alone"


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What may come out of an archive.

    ``choose`` is given all names before anything is written; it raises for what must not be there, and says which are
    wanted and which are left aside. ``room`` is told how many bytes will be written.
    """

    limits: Limits
    reference: str
    choose: Callable[[list[str]], tuple[list[str], list[str]]]
    room: Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


def is_archive(name: str) -> bool:
    """Whether a single file of this name stands for the files in it."""
    return name.lower().endswith(ARCHIVES)


def unpack(archive: Path, folder: Path, terms: ArchiveLimits) -> tuple[dict[str, FileEntry], list[str]]:
    """Write the wanted files in ``archive`` into ``folder``; their sizes and digests by name, and what is left aside.

    One common folder above all files is left off. Raises ArtifactError for names that leave the folder or collide,
    links, devices, encryption, damage, and for more than the limits let in.
    """
    try:
        if zipfile.is_zipfile(archive):
            with _Directory(archive, terms) as file, zipfile.ZipFile(file) as opened:
                file.read_already = True
                return _write_all(list(_zipped(opened, terms.reference)), archive, folder, terms)
        with tarfile.open(archive, "r:*", tarinfo=_Header) as tape:
            return _write_all(list(_taped(tape, terms.limits, terms.reference)), archive, folder, terms)
    except _DAMAGE as error:
        raise ArtifactError(f"{terms.reference}: a damaged archive ({type(error).__name__})", hint=_AGAIN) from None


def _zipped(archive: zipfile.ZipFile, reference: str) -> Iterator[_Member]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        name = info.orig_filename  # the other one has been cut at NUL and had its backslashes turned
        if info.flag_bits & 1:
            raise ArtifactError(f"{reference}: {name!a} is encrypted", hint=_AGAIN)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArtifactError(f"{reference}: {name!a} is a link or a device", hint=_AGAIN)
        if info.is_dir():
            require_clean_names([name.rstrip("/")], reference)
        else:
            yield _Member(name, info.file_size, lambda info=info: archive.open(info))  # type: ignore[misc]


class _Directory(io.FileIO):
    """A zip of which no directory is read that is longer than the permitted number of files makes it.

    The standard library reads it at once, and makes an object of every entry, before anyone can count them.
    """

    def __init__(self, path: Path, terms: ArchiveLimits) -> None:
        super().__init__(path)
        self.read_already = False
        self._terms = terms

    def read(self, size: int | None = -1, /) -> bytes:
        """As a file does. Raises ArtifactError where a directory is asked for that no permitted archive has."""
        files = self._terms.limits.files
        if not self.read_already and size is not None and size > max(1 << 17, _ENTRY * files):
            raise ArtifactError(
                f"{self._terms.reference}: the archive's directory takes {size:,} bytes: more than {files:,} files",
                hint="send the files of one model, or raise artifacts.max_files",
            )
        return super().read(-1 if size is None else size) or b""


class _Header(tarfile.TarInfo):
    """A header of a tar that is not read whole when it claims to be longer than any name is."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        """As the standard library reads it, which takes what stands before a file into memory."""
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _BEFORE_FILES and info.size > _SMALL):
            raise tarfile.ReadError("a header of an impossible size")
        return info


def _taped(archive: tarfile.TarFile, limits: Limits, reference: str) -> Iterator[_Member]:
    total = 0
    for number, info in enumerate(archive):
        name = info.name.removeprefix("./")
        total += info.size  # reading on unpacks what is skipped
        if number > 2 * limits.files or total > limits.size:
            raise too_large(reference, limits)
        if info.isdir():
            require_clean_names([name] if name not in ("", ".") else [], reference)
        elif not info.isreg() or info.issparse():
            raise ArtifactError(f"{reference}: {name!a} is a link or a device", hint=_AGAIN)
        else:
            yield _Member(name, info.size, lambda info=info: archive.extractfile(info))  # type: ignore[misc]


def _write_all(
    members: list[_Member], archive: Path, folder: Path, terms: ArchiveLimits
) -> tuple[dict[str, FileEntry], list[str]]:
    limits, reference = terms.limits, terms.reference
    require_clean_names([member.name for member in members], reference)
    top = {member.name.partition("/")[0] for member in members if "/" in member.name}
    shared = f"{top.pop()}/" if len(top) == 1 and all("/" in member.name for member in members) else ""
    by_name = {member.name.removeprefix(shared): member for member in members}
    wanted, aside = terms.choose(list(by_name))
    most = min(limits.size, max(_SMALL, _MOST_RATIO * archive.stat().st_size))
    total = sum(by_name[name].size for name in wanted)
    if total > most:
        raise _bomb(reference, most)
    terms.room(total, reference)
    files: dict[str, FileEntry] = {}
    for name in wanted:
        files[name] = _write(by_name[name], folder / name, most - sum(f.size for f in files.values()), reference)
    return files, aside


def _write(member: _Member, path: Path, most: int, reference: str) -> FileEntry:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    content = member.open()
    assert content is not None  # only of links and devices there is none
    with content, path.open("xb") as file:
        while chunk := content.read(1 << 20):
            size += len(chunk)
            if size > most:
                raise _bomb(reference, most)
            digest.update(chunk)
            file.write(chunk)
    if size != member.size:
        raise ArtifactError(f"{reference}: {member.name!a} is not as long as the archive says", hint=_AGAIN)
    return FileEntry(size, digest.hexdigest())


def _bomb(reference: str, most: int) -> ArtifactError:
    return ArtifactError(
        f"{reference}: the archive unpacks to more than {most:,} bytes",
        hint=f"send the files themselves; at most artifacts.max_gb, and {_MOST_RATIO} times the archive's size",
    )
