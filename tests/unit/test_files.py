"""Files are written whole, and an error of the operating system says what to do."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from ftgate.errors import StoreError
from ftgate.files import (
    CLOCK_TICK,
    file_stamp,
    in_repository,
    operating_system_error,
    remedy_for,
    settled_stamps,
    write_whole,
)


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_whole(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    write_whole(path, b"\xff")
    assert path.read_bytes() == b"\xff"
    (tmp_path / "report.json.partial").mkdir()
    with pytest.raises(StoreError) as refused:
        write_whole(path, b"12345")
    assert refused.value.message == f"cannot write {path}.partial (5 bytes): {os.strerror(errno.EISDIR)}"
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


def test_what_is_no_file_has_no_stamp(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert [file_stamp(tmp_path / name) for name in ("", "file", "link")] == [(), (), ()]
    assert settled_stamps([tmp_path / "file"]) == [()]
    (tmp_path / "file").write_bytes(b"one")
    assert file_stamp(tmp_path / "file")
    assert settled_stamps([tmp_path / "link"]) == [file_stamp(tmp_path / "file")], "what a link leads to"


@pytest.mark.parametrize("fresh_first", [True, False])
def test_stamps_are_taken_when_the_clock_has_left_the_time_of_the_newest_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_first: bool
) -> None:
    old, fresh = tmp_path / "old", tmp_path / "fresh"
    old.write_bytes(b"one")
    time.sleep(2 * CLOCK_TICK)
    fresh.write_bytes(b"two")
    settled_stamps([fresh, old] if fresh_first else [old, fresh])
    assert time.time() - fresh.stat().st_ctime >= CLOCK_TICK
    monkeypatch.setattr(time, "sleep", pytest.fail)
    assert len(settled_stamps([old, fresh, tmp_path / "gone"])) == 3, "and nothing is waited for then"


def test_a_path_is_told_from_the_top_of_its_repository(tmp_path: Path) -> None:
    policy = tmp_path / "models" / ".github" / "ftgate.yml"
    assert in_repository(policy) == "ftgate.yml", "in no repository, and where it lies here says nothing elsewhere"
    assert in_repository(Path("policies/ftgate.yml")).endswith("policies/ftgate.yml")
    (tmp_path / "models" / ".git").mkdir(parents=True)
    assert in_repository(policy) == ".github/ftgate.yml"
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "ftgate-job.json").touch()
    assert in_repository(tmp_path / "bundle" / "models" / "bot.yaml") == "models/bot.yaml"
