"""What a file is by its content: pickles however they begin, and no alarm over anything that only looks odd."""

from __future__ import annotations

import pickle
import time
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
