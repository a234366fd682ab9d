"""Which code the program exits with, whatever ends it: 0, 1 and 4 are verdicts, and nothing else may look like one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from ftgate import errors
from ftgate.cli.ending import Terminated, exit_code_of
from ftgate.cli.main import main
from ftgate.domain import Verdict


def several(*codes: type[errors.FtgateError]) -> errors.SeveralError:
    return errors.SeveralError([code("what was wrong") for code in codes])


ENDINGS: Sequence[tuple[BaseException, int]] = [
    (errors.ConfigurationError("x"), 2),
    (errors.DatasetError("x"), 2),
    (errors.ArtifactError("x"), 2),
    (errors.DownloadError("x"), 3),
    (errors.EngineError("x"), 3),
    (errors.ControlError("x"), 3),
    (errors.ChangedError("x"), 3),
    (errors.StoreError("x"), 3),
    (errors.PublishError("x"), 3),
    (several(errors.DownloadError, errors.ArtifactError), 2),
    (several(errors.DownloadError, errors.StoreError), 3),
    (click.UsageError("x"), 2),
    (click.FileError("x"), 2),
    (KeyboardInterrupt(), 130),
    (Terminated(), 143),
    (BrokenPipeError(), 141),
    (SystemExit(1), 141),
    (OSError("x"), 3),
    (MemoryError(), 3),
    (RuntimeError("x"), 3),
    (AssertionError(), 3),
]


@pytest.mark.parametrize(("ending", "code"), ENDINGS, ids=lambda value: repr(value)[:40])
def test_what_stops_a_command_is_no_verdict(ending: BaseException, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ending

    monkeypatch.setattr("ftgate.report.reading.read_report", fail)
    with pytest.raises(SystemExit) as left:
        main(["report", "out"])
    assert left.value.code == code


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (SystemExit(0), 0),
        (SystemExit(1), 1),
        (SystemExit(2), 2),
        (SystemExit(4), 4),
        (SystemExit(None), 3),
        (SystemExit("what was wrong"), 3),
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
        (OSError("while an error was shown"), 3),
        (MemoryError(), 3),
    ],
    ids=repr,
)
def test_the_program_ends_with_a_code_of_its_own(ending: BaseException, code: int) -> None:
    def stop() -> None:
        raise ending

    assert exit_code_of(stop) == code  # type: ignore[arg-type]  # it never returns


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("code", "left"), [(0, 3), (1, 1), (2, 2), (4, 4)])
def test_only_an_allow_needs_its_output_to_arrive(code: int, left: int) -> None:
    program = f"from ftgate.cli.ending import end; print('what was found'); end({code})"
    with Path("/dev/full").open("w") as full:
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        done = subprocess.run([sys.executable, "-c", program], stdout=full, check=False, env=buffered)
    assert done.returncode == left


@pytest.mark.parametrize("code", [0, 1, 2, 4])
def test_a_program_without_any_output_has_its_code_all_the_same(code: int) -> None:
    program = f"from ftgate.cli.ending import end; end({code})"
    done = subprocess.run(["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-c", program], check=False)
    assert done.returncode == code


def test_an_inference_library_that_hangs_at_exit_does_not_keep_the_program() -> None:
    program = (
        "import sys, threading, time; from ftgate.cli.ending import end; sys.modules['vllm'] = sys; "
        "threading.Thread(target=time.sleep, args=(60,)).start(); print('what was found'); end(4)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (4, "what was found\n")


def test_each_verdict_has_its_own_code() -> None:
    assert {verdict.value: int(verdict.exit_code) for verdict in Verdict} == {"allow": 0, "block": 1, "hold": 4}


def test_inference_libraries_end_without_a_word() -> None:
    pytest.importorskip("triton")
    program = "import ftgate.engines.transformers, triton._C.libtriton\nfrom ftgate.cli.ending import end\nend(4)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (4, "")
