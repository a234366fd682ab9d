"""Workflows, actions and Dockerfile under their own linters, the project's and those that `ftgate init` writes."""

from __future__ import annotations

import inspect
import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from ftgate.cli.init import NO_COMMIT, write_starter_files

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted(str(p) for p in (ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONS = [str(ROOT / name) for name in ("action.yml", "cpu/action.yml", "gpu/action.yml")]


def tool(name: str) -> str:
    """The program beside this Python, or on the path."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}") or shutil.which(name)
    if not found:
        pytest.fail(f"{name} is not installed: make install-dev")
    return found


def check(name: str, *arguments: str) -> None:
    done = subprocess.run([tool(name), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


PERSONAS = ("regular", "pedantic", "auditor")
PARAMETERS = inspect.signature(write_starter_files).parameters.values()
OPTIONS = tuple(parameter.name for parameter in PARAMETERS if parameter.kind is parameter.KEYWORD_ONLY)
SCRIPTS = [str(ROOT / ".ci" / "run"), str(ROOT / "entrypoint" / "docker.sh"), *map(str, ROOT.glob("scripts/*.sh"))]


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What `init` writes, with every combination of its options: a folder each."""
    folders = []
    for chosen in itertools.product(*(("", "my-app") if name == "app" else (False, True) for name in OPTIONS)):
        folders.append(tmp_path_factory.mktemp("start"))
        list(write_starter_files(folders[-1], NO_COMMIT, **dict(zip(OPTIONS, chosen, strict=True))))
    return folders


def test_there_is_something_to_check(started: list[Path]) -> None:
    assert {Path(w).name for w in WORKFLOWS} == {
        "ci.yml",
        "release.yml",
        "ftgate.yml",
        "ftgate-settle.yml",
        "ftgate-waive.yml",
        "gate.yml",
    }
    assert {"forks", "ledger", "waivers", "settle", "jobs", "app", "sign"} <= set(OPTIONS)
    assert len(started) == 2 ** len(OPTIONS)


def test_workflows_and_actions_have_the_platforms_shape() -> None:
    check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *WORKFLOWS)
    check("check-jsonschema", "--builtin-schema", "vendor.github-actions", *ACTIONS)


def test_expressions_in_workflows_mean_something_and_their_scripts_are_sound() -> None:
    check("jactionlint", f"--shellcheck={tool('shellcheck')}", *WORKFLOWS)
    check("shellcheck", *SCRIPTS)


def test_the_scripts_of_a_workflow_are_looked_at(tmp_path: Path) -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (tmp_path / "ci.yml").write_text(text.replace("bash .ci/run", "rm -rf $HOME/x $1"), encoding="utf-8")
    command = [tool("jactionlint"), f"--shellcheck={tool('shellcheck')}", str(tmp_path / "ci.yml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "SC2086" in done.stdout + done.stderr


@pytest.mark.parametrize("persona", PERSONAS)
def test_no_workflow_has_a_known_weakness(persona: str) -> None:
    check("zizmor", "--offline", "--quiet", "--no-progress", "--persona", persona, *WORKFLOWS, *ACTIONS)


def test_the_dockerfile_follows_good_practice() -> None:
    check("hadolint", str(ROOT / "Dockerfile"))


def distinct(paths: Iterable[Path]) -> list[str]:
    """One path of each name and content: many combinations of options write the same file."""
    return [str(path) for path in {(path.name, path.read_bytes()): path for path in paths}.values()]


def test_what_init_writes_is_as_clean(started: list[Path]) -> None:
    written = distinct(p for folder in started for p in (folder / ".github" / "workflows").glob("*.yml"))
    assert len(written) > 20
    check("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *written)
    check("jactionlint", f"--shellcheck={tool('shellcheck')}", *written)
    for persona in PERSONAS:
        check("zizmor", "--offline", "--quiet", "--no-progress", "--persona", persona, *written)


def test_policy_and_manifest_of_init_follow_their_schemas(started: list[Path]) -> None:
    for name, kind in ((".github/ftgate.yml", "policy"), ("models/my-model.yaml", "manifest")):
        files = distinct(folder / name for folder in started)
        check("check-jsonschema", "--schemafile", str(started[0] / f".ftgate/{kind}.schema.json"), *files)
