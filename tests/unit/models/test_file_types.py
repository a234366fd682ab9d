"""What a file is by its content: pickles however they begin, and no alarm over anything that only looks odd."""

from __future__ import annotations

import pickle
import time
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftgate.errors import ArtifactError
from ftgate.models.declared_format import require_declared_format
from ftgate.models.file_types import unsafe_kind

JUNK = {
    "nothing": b"",
    "pops": b"N0" * 100,
    "a mark": b"(1",
    "a long text": b"V" + b"\xc3\xa9" * 200_000 + b"\n0",
    "long bytes": b"B\x40\x0d\x03\x00" + bytes(200_000) + b"0",
    "very long bytes": b"\x8e" + (3 << 20).to_bytes(8, "little") + bytes(3 << 20) + b"0",
    "a frame": b"\x95" + bytes(8),
}
"""What may stand before a pickle's own opcodes and changes nothing of what it does."""


class Caller:
    """Calls something when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return len, ((),)


def kind_of(path: Path, content: bytes) -> str | None:
    path.write_bytes(content)
    return unsafe_kind(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("before", JUNK)
def test_a_pickle_that_calls_is_one_whatever_its_protocol_and_whatever_stands_before(
    tmp_path: Path, before: str, protocol: int
) -> None:
    content = pickle.dumps({"weights": Caller()}, protocol)
    for mark in (content[:2], b"") if protocol >= 2 else (b"",):
        whole = JUNK[before] + mark + content.removeprefix(content[:2] if protocol >= 2 else b"")
        assert kind_of(tmp_path / "x.dat", whole) == "a pickle"
        assert pickle.loads(whole)["weights"] == 0, "it does load"


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_are_looked_at_without_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("x")
    kind_of(folder / "x.dat", content)
    for name in ("x.json", "x.model", "x.txt"):
        (folder / name).write_bytes(content)
        with suppress(ArtifactError):
            require_declared_format(folder / name, "x")


@given(st.text(alphabet="abcdefgh .()\n", min_size=1, max_size=400))
@settings(deadline=None)
def test_plain_words_are_no_pickle(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    assert kind_of(tmp_path_factory.mktemp("x") / "NOTES", text.encode()) is None


@pytest.mark.parametrize("unit", [b"N0", b"(", b"V\n", b"I1\n", b"U\x01x", b"\x8c\x01x", b"]", b"1"])
def test_a_file_that_could_be_read_for_hours_is_not(tmp_path: Path, unit: bytes) -> None:
    started = time.process_time()
    assert kind_of(tmp_path / "x.dat", unit * (30_000_000 // len(unit))) == "a pickle"
    assert time.process_time() - started < 2


def test_a_length_beyond_the_end_reads_nothing(tmp_path: Path) -> None:
    assert kind_of(tmp_path / "x.dat", b"\x8e" + (1 << 62).to_bytes(8, "little") + b"x") is None


SAMPLES = {
    "a gzip file": [b"\x1f\x8b\x08"],
    "an xz file": [b"\xfd7zXZ\0\0"],
    "an lzma file": [b"\x5d\0\0\x80\0\0"],
    "a bzip2 file": [b"BZh91AY&SY", b"BZh1\x17rE8P\x90"],
    "a zstd file": [b"\x28\xb5\x2f\xfd\0", b"\x50\x2a\x4d\x18", b"\x5f\x2a\x4d\x18"],
    "an lz4 file": [b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"],
    "a 7z archive": [b"7z\xbc\xaf\x27\x1c"],
    "a rar archive": [b"Rar!\x1a\x07\0"],
    "a compressed file": [b"\x1f\x9d\x90", b"LZIP\x01", b"\xff\x06\0\0sNaPpY", b"MSCF\0\0\0\0"],
    "a tar archive": [b"a" * 257 + b"ustar"],
    "a NumPy array": [b"\x93NUMPY\x01\0"],
    "an HDF5 file": [b"\x89HDF\r\n\x1a\n"],
    "a GGUF file": [b"GGUF\x03\0\0\0", b"GGUF\x01\0\0\0", b"GGUF\x0f\0\0\0"],
    "a TensorFlow Lite file": [b"\x1c\n\0\0TFL3"],
    "a program": [
        b"\x7fELF\x02",
        b"\xfe\xed\xfa\xce",
        b"\xfe\xed\xfa\xcf",
        b"\xcf\xfa\xed\xfe",
        b"\xca\xfe\xba\xbe",
        b"\0asm",
    ],
    "compiled Python": [b"\xa7\x0d\r\n\0\0\0\0", b"\xcb\x0d\r\n\x03\0\0\0"],
    "a zlib file": [zlib.compress(b"x" * 100), zlib.compress(b"x" * 100, 9)],
    "a zip archive": [b"PK\x03\x04"],
    "a pickle": [b"\x80\x00x", b"\x80\x05x"],
}


@pytest.mark.parametrize(("kind", "start"), [(kind, start) for kind, starts in SAMPLES.items() for start in starts])
def test_what_a_file_begins_with_says_what_it_is_whatever_its_name(tmp_path: Path, kind: str, start: bytes) -> None:
    for name in ("x.dat", "config.json", "notes.txt"):
        (tmp_path / name).write_bytes(start + b"\0" * 300)
        assert unsafe_kind(tmp_path / name) == kind


@pytest.mark.parametrize(
    "start",
    [
        b"\x80",
        b"\x80\x06x",
        b"GGUF\0\0\0\0",
        b"GGUF\x10\0\0\0",
        b"BZh01AY&SY",
        b"\x60\x2a\x4d\x18",
        b"\x78\x9d",
        b"\x78\x9c!",
    ],
)
def test_what_only_begins_alike_is_none_of_these(tmp_path: Path, start: bytes) -> None:
    assert kind_of(tmp_path / "x.dat", start) is None


def test_a_zip_archive_is_one_behind_anything_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", "b")
    assert kind_of(tmp_path / "x.txt", b"words\n" + (tmp_path / "x.zip").read_bytes()) == "a zip archive"


@pytest.mark.parametrize("start", [b"\x80\x03\x01\x02\0\0\0\0{", b"\x1f\x8b\x01\x02\0\0\0\0{"])
def test_a_header_length_of_safetensors_may_look_like_anything(tmp_path: Path, start: bytes) -> None:
    for name, kind in (("x.safetensors", None), ("x.dat", "a pickle" if start[0] == 0x80 else "a gzip file")):
        assert kind_of(tmp_path / name, start + b"}") == kind
    assert kind_of(tmp_path / "x.safetensors", start[:8] + b"x") is not None
    assert kind_of(tmp_path / "x.safetensors", start[:7] + b"\1{") is not None


@pytest.mark.parametrize(
    "content",
    [
        b"N.",
        b"(I1\nI2\nl.",
        b"cos\nsystem\n.",
        b"(I1\nt.",
        b"(I1\ntR.",
        b"cnot a name!\nsystem\n(I1\ntR.",
        b")cos\nsystem\n.",
        b"I1\nI2\no.",
    ],
)
def test_a_pickle_that_calls_nothing_is_harmless(tmp_path: Path, content: bytes) -> None:
    assert kind_of(tmp_path / "x.dat", content) is None


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(I1\ntR.",
        b"cos\nsystem\n)R.",
        b"cos\nsystem\nI1\n\x85R.",
        b"cos\nsystem\n)\x81.",
        b"(cos\nsystem\nI1\no.",
        b"(I1\nios\nsystem\n.",
        b"cos\nsystem\nc1!\nx\n0(I1\ntR.",
    ],
)
def test_each_way_to_call_is_one_and_not_in_a_file_of_words(tmp_path: Path, content: bytes) -> None:
    assert kind_of(tmp_path / "x.dat", content) == "a pickle"
    for name in ("x.json", "x.jsonl", "x.txt", "x.MD", "x.jinja", "x.yaml", "x.yml", "x.csv", "x.html"):
        assert kind_of(tmp_path / name, content) is None
