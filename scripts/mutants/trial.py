"""Runs tests in forks of this process, on a copy of the working tree in which one module is mutated."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

PATIENCE = 60
"""What a mutant may take, in seconds, beyond four times the tests; then it is killed, as CI would be."""
TICK = 0.02
OWN = {"ftgate", "tests", "support", "conftest", "unit", "entrypoint", "examples", "scripts", "benchmarks", "__main__"}
"""Modules of the working tree, which each fork imports for itself."""
MARKS = "not slow and not container and not engine"


class Imported:
    """A pytest plugin that writes what the tests import from elsewhere to ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_sessionfinish(self) -> None:
        """The names of the modules, as JSON."""
        names = [name for name in sys.modules if name.split(".")[0] not in OWN]
        self._path.write_text(json.dumps(names), encoding="utf-8")


class Copy:
    """A copy of the working tree ``root`` below ``folder``."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._folder = folder.resolve()
        self._tree = self._folder / "tree"
        self._log = self._folder / "last.log"
        """What pytest said of the last mutant."""
        shutil.rmtree(self._tree, ignore_errors=True)
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        for name in subprocess.check_output(listed, cwd=root, text=True).split("\0"):
            if (root / name).is_file():
                (self._tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, self._tree / name)

    def rehearse(self, tests: Sequence[str]) -> float:
        """Run ``tests`` as they are, and import what they import. The seconds they took. Exits if one fails."""
        imported, begin = self._folder / "imported.json", time.monotonic()
        if self._fork(lambda: _pytest(tests, Imported(imported)), None) != 0:
            sys.exit(f"without any mutant a test fails: see {self._log}")
        seconds = time.monotonic() - begin
        for name in json.loads(imported.read_text(encoding="utf-8")):
            with contextlib.suppress(BaseException):
                importlib.import_module(name)
        return seconds

    def kills(self, path: str, source: str, tests: Sequence[str], seconds: float) -> bool:
        """Whether one of ``tests``, which take so long, fails or never ends when the file ``path`` is ``source``."""
        file = self._tree / path
        original = file.read_bytes()
        file.write_text(source, encoding="utf-8")
        # Compiled files are told apart by size and second, and a mutant may have both in common with the one before.
        for compiled in file.parent.glob(f"__pycache__/{file.stem}.*.pyc"):
            compiled.unlink()
        try:
            return self._fork(lambda: _pytest(["-x", *tests]), PATIENCE + 4 * seconds) != 0
        finally:
            file.write_bytes(original)

    def _fork(self, run: Callable[[], int], limit: float | None) -> int:
        """The exit code of ``run`` in a fork that lives in the copy; 1 if it had to be stopped."""
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                os.setsid()
                self._settle()
                code = run()
            os._exit(code)
        waited = 0.0  # not by the clock: a machine that sleeps, or a pass that is paused, kills no mutant
        try:
            while limit is None or waited < limit:
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    return os.waitstatus_to_exitcode(status)
                time.sleep(TICK)
                waited += TICK
            return 1
        finally:  # what the tests started, too
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)

    def _settle(self) -> None:
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(self._tree)
        for name in [name for name in sys.modules if name.split(".")[0] in OWN - {"__main__"}]:
            del sys.modules[name]
        places = [str(self._tree), str(self._tree / "tests")]
        sys.path[:0] = places
        sys.dont_write_bytecode = True
        os.environ |= {"PYTHONPATH": os.pathsep.join(places), "PYTHONDONTWRITEBYTECODE": "1"}
        os.environ["PYTEST_ADDOPTS"] = f"--basetemp={self._folder / 'tmp'}"  # shared with no other run of tests


def _pytest(options: Sequence[str], *plugins: object) -> int:
    import pytest
    from hypothesis import Phase, settings

    # The same examples every time, kept nowhere, and no time spent on making the failing one small.
    phases = (Phase.explicit, Phase.generate)
    settings.register_profile("mutants", database=None, deadline=None, derandomize=True, phases=phases)
    quiet = ["-q", "-p", "no:cacheprovider", "--hypothesis-profile=mutants", "-m", MARKS]
    return int(pytest.main([*options, *quiet], plugins=list(plugins)))
