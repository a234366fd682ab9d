"""Unpacking untrusted archives: only plain files, inside the folder, and within limits."""

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
_MAX_RATIO = 200
"""Weights barely compress: an archive that grows two hundredfold is a decompression bomb."""
_SMALL_BYTES = 1 << 24
"""Below this size the ratio is not checked."""
_DIRECTORY_ENTRY = 1 << 10
"""Upper bound on the bytes of one file in a zip's central directory: 46, its name, and some extra."""
_METADATA_TYPES = (
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
"""What the standard library raises for broken or unsupported archives."""
_REBUILD_HINT = "build the archive again, from plain files only"


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """What may be unpacked from an archive.

    ``select`` gets all names before anything is written, raises for forbidden ones, and returns the wanted and the
    ignored names. ``make_room`` gets the number of bytes that will be written.
    """

    limits: Limits
    reference: str
    select: Callable[[list[str]], tuple[list[str], list[str]]]
    make_room: Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


def is_archive(name: str) -> bool:
    """Whether a file of this name is an archive that contains the files."""
    return name.lower().endswith(ARCHIVES)


def unpack(archive: Path, folder: Path, archive_limits: ArchiveLimits) -> tuple[dict[str, FileEntry], list[str]]:
    """Write the wanted files of ``archive`` into ``folder``. Returns their entries by name, and the ignored names.

    A single common top folder is stripped. Raises ArtifactError for names that leave the folder or collide, links,
    devices, encryption, damage, and for more content than the limits allow.
    """
    try:
        if zipfile.is_zipfile(archive):
            with _BoundedZipFile(archive, archive_limits) as file, zipfile.ZipFile(file) as zip_archive:
                file.directory_read = True
                members = list(_zip_members(zip_archive, archive_limits.reference))
                return _write_all(members, archive, folder, archive_limits)
        with tarfile.open(archive, "r:*", tarinfo=_BoundedTarInfo) as tar_archive:
            members = list(_tar_members(tar_archive, archive_limits.limits, archive_limits.reference))
            return _write_all(members, archive, folder, archive_limits)
    except _DAMAGE as error:
        raise ArtifactError(
            f"{archive_limits.reference}: a damaged archive ({type(error).__name__})", hint=_REBUILD_HINT
        ) from None


def _zip_members(archive: zipfile.ZipFile, reference: str) -> Iterator[_Member]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        name = info.orig_filename  # `filename` is already cut at NUL, with backslashes replaced
        if info.flag_bits & 1:
            raise ArtifactError(f"{reference}: {name!a} is encrypted", hint=_REBUILD_HINT)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ArtifactError(f"{reference}: {name!a} is a link or a device", hint=_REBUILD_HINT)
        if info.is_dir():
            require_clean_names([name.rstrip("/")], reference)
        else:
            yield _Member(name, info.file_size, lambda info=info: archive.open(info))  # type: ignore[misc]


class _BoundedZipFile(io.FileIO):
    """A zip file whose central directory is read only if it is not longer than the allowed number of files needs.

    The standard library reads the directory at once and creates an object for each entry before it can be counted.
    """

    def __init__(self, path: Path, archive_limits: ArchiveLimits) -> None:
        super().__init__(path)
        self.directory_read = False
        self._limits = archive_limits

    def read(self, size: int | None = -1, /) -> bytes:
        """Like a file's. Raises ArtifactError for a read as large as a directory with too many files."""
        files = self._limits.limits.files
        if not self.directory_read and size is not None and size > max(1 << 17, _DIRECTORY_ENTRY * files):
            raise ArtifactError(
                f"{self._limits.reference}: the archive's directory has {size:,} bytes: more than {files:,} files",
                hint="pack the files of a single model, or raise artifacts.max_files",
            )
        return super().read(-1 if size is None else size) or b""


class _BoundedTarInfo(tarfile.TarInfo):
    """A tar header that is rejected if it claims to be longer than any name is."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _BoundedTarInfo:
        """As in the standard library, which reads metadata before a file into memory."""
        info = super().frombuf(buf, encoding, errors)
        if info.size < 0 or (info.type in _METADATA_TYPES and info.size > _SMALL_BYTES):
            raise tarfile.ReadError("a header of an impossible size")
        return info


def _tar_members(archive: tarfile.TarFile, limits: Limits, reference: str) -> Iterator[_Member]:
    total = 0
    for number, info in enumerate(archive):
        name = info.name.removeprefix("./")
        total += info.size  # skipped members are decompressed too
        if number > 2 * limits.files or total > limits.size:
            raise too_large(reference, limits)
        if info.isdir():
            require_clean_names([name] if name not in ("", ".") else [], reference)
        elif not info.isreg() or info.issparse():
            raise ArtifactError(f"{reference}: {name!a} is a link or a device", hint=_REBUILD_HINT)
        else:
            yield _Member(name, info.size, lambda info=info: archive.extractfile(info))  # type: ignore[misc]


def _write_all(
    members: list[_Member], archive: Path, folder: Path, archive_limits: ArchiveLimits
) -> tuple[dict[str, FileEntry], list[str]]:
    limits, reference = archive_limits.limits, archive_limits.reference
    require_clean_names([member.name for member in members], reference)
    top_folders = {member.name.partition("/")[0] for member in members if "/" in member.name}
    prefix = f"{top_folders.pop()}/" if len(top_folders) == 1 and all("/" in member.name for member in members) else ""
    by_name = {member.name.removeprefix(prefix): member for member in members}
    wanted, ignored = archive_limits.select(list(by_name))
    max_bytes = min(limits.size, max(_SMALL_BYTES, _MAX_RATIO * archive.stat().st_size))
    total = sum(by_name[name].size for name in wanted)
    if total > max_bytes:
        raise _too_much_content(reference, max_bytes)
    archive_limits.make_room(total, reference)
    files: dict[str, FileEntry] = {}
    for name in wanted:
        files[name] = _write(by_name[name], folder / name, max_bytes - sum(f.size for f in files.values()), reference)
    return files, ignored


def _write(member: _Member, path: Path, max_bytes: int, reference: str) -> FileEntry:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    content = member.open()
    assert content is not None  # None only for links and devices
    with content, path.open("xb") as file:
        while chunk := content.read(1 << 20):
            size += len(chunk)
            if size > max_bytes:
                raise _too_much_content(reference, max_bytes)
            digest.update(chunk)
            file.write(chunk)
    if size != member.size:
        raise ArtifactError(
            f"{reference}: {member.name!a} does not have the size that the archive declares", hint=_REBUILD_HINT
        )
    return FileEntry(size, digest.hexdigest())


def _too_much_content(reference: str, max_bytes: int) -> ArtifactError:
    return ArtifactError(
        f"{reference}: the archive unpacks to more than {max_bytes:,} bytes",
        hint=f"publish the files unpacked; limits: artifacts.max_gb, and {_MAX_RATIO} times the archive's size",
    )
