"""In Docker's place where there is none: `docker run` starts the entrypoint here, in a folder laid out like its mounts.

Only the environment that is handed on reaches it, and only what is mounted lies in its workspace. What a container adds
(privileges, memory, GPUs) is written down in FTGATE_TEST_DOCKER, one command a line, for the test to look at.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

WORKSPACE = Path("/github/workspace")
ROOT = Path(__file__).resolve().parents[3]
FLAGS = {"--rm", "--init"}


def main() -> int:
    arguments = sys.argv[1:]
    with Path(os.environ["FTGATE_TEST_DOCKER"]).open("a", encoding="utf-8") as log:
        log.write(json.dumps(arguments) + "\n")
    if arguments[0] != "run":
        return 0
    pairs = list(options(arguments[1:]))
    env = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS", "VLLM_CACHE_ROOT")}
    for text in (text for option, text in pairs if option == "--env"):
        name, given, value = text.partition("=")
        # A name alone hands on the variable, if there is one.
        env |= {name: value} if given else {k: v for k, v in os.environ.items() if k == name}
    with tempfile.TemporaryDirectory() as folder:
        for source, target, *_ in (text.split(":") for option, text in pairs if option == "--volume"):
            place_mount(Path(folder), Path(source), Path(target))
        inside = Path(folder, "workspace")
        command = [sys.executable, "-P", "-m", "entrypoint"]
        return subprocess.run(command, env=env, cwd=inside, check=False).returncode


def options(arguments: list[str]):
    """Each option with its value, up to the image's name."""
    rest = list(arguments)
    while rest and rest[0].startswith("--"):
        option = rest.pop(0)
        yield option, "" if option in FLAGS else rest.pop(0)


def place_mount(folder: Path, source: Path, target: Path) -> None:
    """A mount below the workspace becomes a link; one at the same path as outside is there already."""
    inside = folder / "workspace"
    if target == WORKSPACE:
        inside.symlink_to(source)
    elif target.is_relative_to(WORKSPACE):
        inside.mkdir(exist_ok=True)
        (inside / target.relative_to(WORKSPACE)).symlink_to(source)


if __name__ == "__main__":
    sys.exit(main())
