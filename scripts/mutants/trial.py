"""Runs tests in forks of this process, on a copy of the working tree, and notes which lines each test runs."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

SECONDS = 60
"""A mutant gets at most tests that took so long together, the quickest first."""
PATIENCE = 60
"""What a mutant may take beyond three times its tests; then it counts as noticed, because CI would notice."""


@dataclass(slots=True)
class Recorded:
    """What a run of all tests showed."""

    seconds: dict[str, float] = field(default_factory=dict)
    """How long each test that passed took, setup included."""
    lines: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """For each file and line, the tests that ran it."""
    modules: list[str] = field(default_factory=list)
    """What the tests import from elsewhere: imported once, before the forks."""

    def tests_of(self, path: str, lines: Sequence[int]) -> list[str]:
        """The tests that ran one of ``lines``, or any line of the file if there are none; the quickest first."""
        of_file = self.lines.get(path, {})
        names = {name for line in lines or of_file for name in of_file.get(line, ())} & set(self.seconds)
        return sorted(names, key=lambda name: (self.seconds[name], name))

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Recorded:
        """Read what ``save`` wrote."""
        data = json.loads(path.read_text(encoding="utf-8"))
        lines = {name: {int(n): tests for n, tests in of.items()} for name, of in data["lines"].items()}
        return cls(data["seconds"], lines, data["modules"])


class Recorder:
    """A pytest plugin that fills ``recorded``; ``files`` are the absolute paths whose lines count."""

    def __init__(self, files: set[str], root: Path) -> None:
        self.recorded = Recorded()
        self._files = files
        self._root = root
        self._lines: dict[str, set[int]] = defaultdict(set)
        self._start = 0.0

    def pytest_runtest_logstart(self) -> None:
        """Begin a test."""
        self._start = time.process_time()
        self._lines.clear()
        threading.settrace(self._call)
        sys.settrace(self._call)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A test that failed or was skipped can notice nothing."""
        if report.when == "call" and report.passed:
            self.recorded.seconds[report.nodeid] = time.process_time() - self._start

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """End a test."""
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        for name, lines in self._lines.items():
            of_file = self.recorded.lines.setdefault(Path(name).relative_to(self._root).as_posix(), {})
            for line in lines:
                of_file.setdefault(line, []).append(nodeid)

    def pytest_sessionfinish(self) -> None:
        """Note what was imported."""
        own = {"ftgate", "tests", "support", "conftest", "entrypoint", "examples", "scripts", "benchmarks", "__main__"}
        self.recorded.modules = [name for name in sys.modules if name.split(".")[0] not in own]

    def _call(self, frame: FrameType, _event: str, _argument: object) -> Any:
        return self._line if frame.f_code.co_filename in self._files else None

    def _line(self, frame: FrameType, _event: str, _argument: object) -> Any:
        self._lines[frame.f_code.co_filename].add(frame.f_lineno)
        return self._line


class Chosen:
    """A pytest plugin that runs these tests alone, in this order."""

    def __init__(self, names: Sequence[str]) -> None:
        self._rank = {name: i for i, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Drop and sort."""
        items[:] = sorted((i for i in items if i.nodeid in self._rank), key=lambda i: self._rank[i.nodeid])


class Copy:
    """A copy of the working tree, in which one module at a time is another."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder.resolve()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        for name in subprocess.check_output(listed, cwd=root, text=True).split("\0"):
            if (root / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, folder / name)

    def record(self, files: Sequence[str], tests: Sequence[str], out: Path) -> Recorded:
        """Run all ``tests`` and record the lines of ``files``."""
        options = [*tests, "-m", "not slow and not container and not engine"]

        def run() -> int:
            recorder = Recorder({str(self.folder / name) for name in files}, self.folder)
            code = _pytest(options, recorder)
            recorder.recorded.save(out)
            return code

        self._fork(run, out.with_suffix(".log"), None)
        return Recorded.read(out)

    def notices(self, path: str, source: str, tests: Sequence[str], seconds: float, log: Path) -> bool:
        """Whether one of ``tests`` fails, or never ends, when the file ``path`` is ``source``."""
        file = self.folder / path
        original = file.read_bytes()
        file.write_text(source, encoding="utf-8")
        # Compiled files are told apart by size and second, and a mutant may have both in common with the one before.
        for compiled in file.parent.glob(f"__pycache__/{file.stem}.*.pyc"):
            compiled.unlink()
        names = list(dict.fromkeys(name.split("::")[0] for name in tests))
        try:
            return self._fork(lambda: _pytest([*names, "-x"], Chosen(tests)), log, PATIENCE + 3 * seconds) != 0
        finally:
            file.write_bytes(original)

    def _fork(self, run: Callable[[], int], log: Path, limit: float | None) -> int:
        """The exit code of ``run`` in a fork that lives in the copy; 1 if it had to be stopped."""
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                os.setsid()
                self._settle(log)
                code = int(run())
            os._exit(code)
        end = time.monotonic() + (limit or 1e9)
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return 1

    def _settle(self, log: Path) -> None:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(self.folder)
        places = [str(self.folder), str(self.folder / "tests")]
        sys.path[:0] = places
        for name in [name for name in sys.modules if name.split(".")[0] in ("scripts", "ftgate")]:
            del sys.modules[name]
        sys.dont_write_bytecode = True
        os.environ |= {"PYTHONPATH": os.pathsep.join(places), "PYTHONDONTWRITEBYTECODE": "1"}


def warm(modules: Sequence[str]) -> None:
    """Import what the forks will need, but nothing that is mutated."""
    for name in modules:
        with contextlib.suppress(BaseException):
            importlib.import_module(name)


def _pytest(options: Sequence[str], plugin: object) -> int:
    import pytest
    from hypothesis import Phase, settings

    # The same examples every time, kept nowhere, and no time spent on making the failing one small.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutants", database=None, deadline=None, derandomize=True, phases=phases)
    quiet = ["-q", "-p", "no:cacheprovider", "-o", "tmp_path_retention_policy=none", "--hypothesis-profile=mutants"]
    return int(pytest.main([*options, *quiet], plugins=[plugin]))
