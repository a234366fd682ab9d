"""Archives at and above their limits: what is one byte or one file too much is refused, and nothing before."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from ftgate.artifacts.archive import ArchiveLimits, unpack
from ftgate.artifacts.download import Limits
from ftgate.errors import ArtifactError


def limits(files: int = 10, size: int = 1_000_000) -> ArchiveLimits:
    return ArchiveLimits(Limits(files, size), "https://host/a.tar", lambda names: (names, []), lambda size, _: None)


def tar(path: Path, *members: tuple[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("pack", [tar, zipped])
def test_content_up_to_the_limit_is_unpacked_and_a_byte_more_refused(tmp_path: Path, pack) -> None:
    path = pack(tmp_path / "a", ("one", b"1" * 60), ("two", b"2" * 40))
    entries, ignored = unpack(path, tmp_path / "out", limits(size=100))
    assert {name: entry.size for name, entry in entries.items()} == {"one": 60, "two": 40}
    assert ignored == []
    with pytest.raises(ArtifactError):
        unpack(path, tmp_path / "again", limits(size=99))


def test_a_tar_with_more_than_twice_the_files_is_refused(tmp_path: Path) -> None:
    path = tar(tmp_path / "a", *((f"f{i}", b"x") for i in range(9)))
    assert len(unpack(path, tmp_path / "out", limits(files=4))[0]) == 9, "the snapshot's own limit comes later"
    with pytest.raises(ArtifactError, match="files"):
        unpack(tar(tmp_path / "b", *((f"f{i}", b"x") for i in range(10))), tmp_path / "again", limits(files=4))


def test_a_sparse_file_is_refused_though_it_looks_regular(tmp_path: Path) -> None:
    """A header of a few bytes could stand for terabytes of zeros."""
    info = tarfile.TarInfo("model.safetensors")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    path = tmp_path / "a"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(info)
    with pytest.raises(ArtifactError, match="link or a device"):
        unpack(path, tmp_path / "out", limits())


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("model.safetensors")
    info.type, info.linkname = kind, "/etc/passwd"
    path = tmp_path / "a"
    with tarfile.open(path, "w") as archive:
        archive.addfile(info)
    with pytest.raises(ArtifactError, match="link or a device"):
        unpack(path, tmp_path / "out", limits())


def test_content_far_beyond_what_the_archive_weighs_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a", ("zeros", bytes(50_000_000)))
    with pytest.raises(ArtifactError, match="unpacks to more than"):
        unpack(path, tmp_path / "out", limits(size=10**12))
