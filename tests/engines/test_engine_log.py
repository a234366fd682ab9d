"""Redirection of the file descriptors, and the search for the first exception in a log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from ftgate.config.generation import GenerationSettings
from ftgate.engines.engine_log import cause_of, first_exception, redirected, size_of


def test_everything_written_to_both_descriptors_lands_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = f"""
import os, subprocess, sys
from pathlib import Path
from ftgate.engines.engine_log import redirected
with redirected(Path({str(log)!r})):
    print("from python")
    os.write(2, b"from a library\\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    print("still buffered")
print("outside")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("outside\n", "")
    assert sorted(log.read_text().splitlines()) == ["from a child", "from a library", "from python", "still buffered"]


def test_redirections_nest_and_survive_exceptions(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "inner"

    def fail() -> None:
        with redirected(inner):
            os.write(1, b"one\n")
            raise ValueError("boom")

    with redirected(outer):
        with pytest.raises(ValueError, match="boom"):
            fail()
        os.write(2, b"two\n")
    os.write(1, b"three\n")
    assert (inner.read_text(), outer.read_text(), capfd.readouterr().out) == ("one\n", "two\n", "three\n")


def test_no_descriptor_leaks(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with redirected(tmp_path / "log"):
            pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


LOG = """\
INFO 01-31 12:00:00 [core.py:12] Starting
(EngineCore pid=7) ERROR 01-31 12:00:01 [core.py:99] EngineCore failed to start.
(EngineCore pid=7) ERROR 01-31 12:00:01 [core.py:99] Traceback (most recent call last):
(EngineCore pid=7) ERROR 01-31 12:00:01 [core.py:99] torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB
(EngineCore pid=7) ValueError: later
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


def test_the_first_exception_is_found_under_the_prefixes_of_a_child(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert first_exception(log) is None
    assert size_of(log) == 0
    log.write_text(LOG)
    assert first_exception(log) == "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 9 GiB"
    assert first_exception(log, LOG.index("(EngineCore pid=7) ValueError")) == "ValueError: later"
    assert first_exception(log, len(LOG)) is None


def test_a_generic_error_is_replaced_by_its_cause(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(LOG)
    generic = RuntimeError("Engine core initialization failed. See root cause above.")
    assert cause_of(generic, log).startswith("torch.OutOfMemoryError")
    assert cause_of(generic, log, len(LOG)).startswith("RuntimeError: Engine core")
    assert cause_of(KeyError("x"), log) == "KeyError: 'x'"


def test_settings_that_vllm_refuses_are_told_without_pydantic(tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        GenerationSettings(top_p=0.5)
    told = cause_of(caught.value, tmp_path / "engine.log")
    assert told == "top_p: does nothing without temperature, which is 0 unless it is given"
