"""Archives at and above their limits: what is one byte or one file too much is refused, and nothing before."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from ftgate.artifacts.archive import ArchiveLimits, is_archive, unpack
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


@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_common_top_folder_is_stripped_and_no_other(tmp_path: Path, pack) -> None:
    for i, (names, found) in enumerate(
        [
            (("m/a", "m/d/b"), {"a", "d/b"}),
            (("m/a", "n/b"), {"m/a", "n/b"}),
            (("m/a", "b"), {"m/a", "b"}),
            (("a",), {"a"}),
        ]
    ):
        path = pack(tmp_path / f"{i}", *((name, name.encode()) for name in names))
        entries, _ = unpack(path, tmp_path / f"out{i}", limits())
        assert set(entries) == found
        for name, entry in entries.items():
            content = (tmp_path / f"out{i}" / name).read_bytes()
            assert content.decode() in names
            assert (entry.size, entry.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_what_is_not_wanted_is_not_written_and_does_not_count(tmp_path: Path) -> None:
    rooms: list[tuple[int, str]] = []
    chosen = ArchiveLimits(Limits(10, 100), "ref", lambda names: (["a"], ["b"]), lambda *room: rooms.append(room))
    path = zipped(tmp_path / "x", ("a", b"1" * 100), ("b", b"2" * 100))
    entries, ignored = unpack(path, tmp_path / "out", chosen)
    assert (set(entries), ignored, rooms) == ({"a"}, ["b"], [(100, "ref")])
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a"]


@pytest.mark.parametrize(("files", "read"), [(1, True), (128, True), (129, True), (127, True)])
def test_a_directory_for_the_allowed_number_of_files_is_read(tmp_path: Path, files: int, read: bool) -> None:
    path = zipped(tmp_path / "x", *((f"{'n' * 200}{i}", b"") for i in range(400)))
    entries, _ = unpack(path, tmp_path / "out", limits(files=files))
    assert len(entries) == 400


@pytest.mark.parametrize(("files", "refused"), [(100, True), (300, True), (800, False)])
def test_a_longer_directory_is_not(tmp_path: Path, files: int, refused: bool) -> None:
    """1,500 entries of 246 bytes each and more."""
    path = zipped(tmp_path / "x", *((f"{'n' * 200}{i}", b"") for i in range(1500)))
    if not refused:
        assert len(unpack(path, tmp_path / "out", limits(files=files))[0]) == 1500
        return
    with pytest.raises(ArtifactError, match=f"more than {files} files") as caught:
        unpack(path, tmp_path / "out", limits(files=files))
    assert "artifacts.max_files" in str(caught.value.hint)


def test_a_tar_header_with_a_negative_size_is_damage(tmp_path: Path) -> None:
    """In base 256, which the format allows for large files."""
    info = tarfile.TarInfo("a")
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\x00"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "x"
    path.write_bytes(bytes(header) + bytes(10_240))
    with pytest.raises(ArtifactError, match="a damaged archive"):
        unpack(path, tmp_path / "out", limits())


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_metadata_may_not_be_longer_than_any_name(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, (1 << 24) + 1
    path = tmp_path / "x"
    path.write_bytes(info.tobuf() + bytes(10_240))
    with pytest.raises(ArtifactError, match=r"a damaged archive \(ReadError\)") as caught:
        unpack(path, tmp_path / "out", limits(size=1 << 40))
    assert caught.value.hint == "build the archive again, from plain files only"


def test_folders_in_an_archive_need_clean_names_too(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for name in ("..", "a/../../b"):
        info = tarfile.TarInfo(name)
        info.type = tarfile.DIRTYPE
        with tarfile.open(path, "w") as archive:
            archive.addfile(info)
        with pytest.raises(ArtifactError, match=r"a path with '\.\.'"):
            unpack(path, tmp_path / "out", limits())
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}/", b"")
        with pytest.raises(ArtifactError, match=r"a path with '\.\.'"):
            unpack(path, tmp_path / "out", limits())


def test_a_dot_for_the_folder_itself_is_no_name(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with tarfile.open(path, "w") as archive:
        for name in (".", "./"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
        info = tarfile.TarInfo("./a")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    assert set(unpack(path, tmp_path / "out", limits())[0]) == {"a"}


@pytest.mark.parametrize("name", ["a.zip", "a.TAR", "a.tar.gz", "a.tgz"])
def test_archives_are_told_by_their_names(name: str) -> None:
    assert is_archive(name)
    assert not is_archive(f"{name}x")
    assert not is_archive("safetensors")


def test_what_is_left_out_of_a_tar_counts_too_because_it_is_unpacked_to_be_skipped(tmp_path: Path) -> None:
    chosen = ArchiveLimits(Limits(10, 100), "ref", lambda names: (["a"], ["b"]), lambda *_: None)
    path = tar(tmp_path / "x", ("a", b"1"), ("b", b"2" * 100))
    with pytest.raises(ArtifactError, match="ref: "):
        unpack(path, tmp_path / "out", chosen)
    assert set(unpack(tar(tmp_path / "y", ("a", b"1"), ("b", b"2" * 99)), tmp_path / "out2", chosen)[0]) == {"a"}
