"""Files are written whole, and an error of the operating system says what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ftgate.errors import StoreError
from ftgate.files import operating_system_error, remedy_for, write_whole


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_whole(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    write_whole(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    (tmp_path / "report.json.partial").mkdir()
    with pytest.raises(StoreError) as refused:
        write_whole(path, b"12345")
    assert refused.value.message == f"cannot write {path} (5 bytes): {os.strerror(errno.EISDIR)}"
    assert path.read_bytes() == b"\xff"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permissions"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EBADF, "check the disk"),
        (None, "check the disk"),
    ],
)
def test_what_to_do_about_an_error(number: int | None, words: str) -> None:
    error = OSError(number, "what happened") if number else OSError("what happened")
    assert words in remedy_for(error)
    assert words in operating_system_error(error).hint


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOENT, "no such file", "a"), "a: no such file"),
        (OSError(errno.EXDEV, "another disk", "a", None, b"b"), "a -> b: another disk"),
        (OSError(errno.EBADF, "bad descriptor", 7), "bad descriptor"),
        (OSError("what happened"), "what happened"),
        (TimeoutError(), "TimeoutError"),
    ],
    ids=str,
)
def test_the_files_and_the_reason_are_named(error: OSError, message: str) -> None:
    assert operating_system_error(error).message == message
