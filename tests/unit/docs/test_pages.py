"""What the pages say about the project holds: examples, commands with their options, paths, links, layers."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

from ftgate.cli.init import NO_COMMIT, write_starter_files
from ftgate.cli.main import cli
from ftgate.config.manifest import Manifest
from ftgate.config.policy import Policy
from ftgate.errors import ExitCode
from ftgate.measurements.registry import NEVER_GATED, every_kind, read_measurements
from scripts import docs_site, reference

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
EXAMPLES = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)]
COMMAND = re.compile(r"(?:^\$ |`)ftgate ((?:judge |tail |suite )?[a-z]+)\b([^`\n#|]*)", re.MULTILINE)
FOLDERS = "ftgate|tests|scripts|docs|benchmarks|examples|entrypoint|requirements"
PATH = re.compile(rf"`((?!ftgate/verdict`)(?:{FOLDERS})/[\w./-]*\w/?|[\w./-]+\.(?:py|sh|toml|j2))`")
PLACES = ("", "ftgate", "ftgate/artifacts", "ftgate/artifacts/sources", "ftgate/report/templates")
"""What the paths on a page are relative to."""


def test_the_readme_takes_a_minute() -> None:
    assert len(README.splitlines()) <= 150


def test_the_policy_and_the_manifest_in_the_readme_are_valid() -> None:
    policy, manifest, _ = EXAMPLES
    read_measurements(Policy.model_validate(policy).measurements, "README")
    assert Manifest.model_validate(manifest).training_data is not None


def test_the_workflow_in_the_readme_is_the_one_that_init_writes(tmp_path: Path) -> None:
    list(write_starter_files(tmp_path, NO_COMMIT))
    written = (tmp_path / ".github" / "workflows" / "ftgate.yml").read_text(encoding="utf-8")
    assert EXAMPLES[2] == yaml.safe_load(written.replace("0" * 40, "<commit>"))


def test_the_readme_has_a_row_for_each_measurement() -> None:
    rows = re.findall(r"^\| (\w+) \| .*\? \| .* \|$", README, re.MULTILINE)
    assert rows == [measurement.kind for measurement in every_kind()]


def test_what_nothing_gates_is_explained_word_by_word() -> None:
    page = PAGES["docs/measurements.md"]
    rows = re.findall(r"^\| ([a-z ]+) \|", page.partition("| word | what may be lost unseen |")[2], re.MULTILINE)
    assert rows == list(NEVER_GATED)


def test_the_readme_names_every_command_and_exit_code() -> None:
    table = README.split("## Commands\n")[1].split("\n## ")[0]
    assert set(re.findall(r"`([a-z]+)(?: build)?`", table)) == set(cli.commands)
    (codes,) = re.findall(r"^\| exit code \| (.*) \|$", README, re.MULTILINE)
    assert [int(code) for code in codes.split(" | ")] == sorted(code.value for code in ExitCode)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_on_a_page_exists_with_its_options(page: str) -> None:
    for name, rest in COMMAND.findall(PAGES[page]):
        command: click.Command | None = cli
        for word in name.split():
            command = command.commands.get(word) if isinstance(command, click.Group) else None
        assert command is not None, f"{page}: ftgate {name}"
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"--[a-z][a-z-]*", rest)) <= known, f"{page}: ftgate {name}{rest}"


@pytest.mark.parametrize("page", PAGES)
def test_every_path_on_a_page_exists(page: str) -> None:
    found = {path for path in PATH.findall(PAGES[page]) if not re.search(r"yours|/X$", path)}
    assert not [path for path in found if not any((ROOT / place / path).exists() for place in PLACES)]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_leads_to_one(page: str) -> None:
    links = [link[3] for link in docs_site.LINK.finditer(PAGES[page]) if link[3]]
    assert not [link for link in links if not (ROOT / page).parent.joinpath(link).exists()]


def test_the_tree_in_the_guide_is_that_of_the_package() -> None:
    assert reference.guide() == GUIDE, "run `make reference`"


def test_the_table_of_shapes_is_that_of_the_readers() -> None:
    assert reference.suites_page() == PAGES["docs/suites.md"], "run `make reference`"


def test_the_architecture_has_a_phrase_for_each_folder() -> None:
    tree = ARCHITECTURE.split("ftgate/\n", 1)[1].split("```", 1)[0]
    named = set(re.findall(r"^  (\w+)/ +\w", tree, re.MULTILINE)) | set(re.findall(r"\b(\w+\.py)\b", tree))
    found = {
        path.name
        for path in (ROOT / "ftgate").iterdir()
        if not path.name.startswith("__") and (path.is_dir() or path.suffix == ".py")
    }
    assert named == found


def test_the_layers_on_the_page_are_those_that_are_checked() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = [c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    shown = ARCHITECTURE.split("## Layers", 1)[1].split("```\n", 1)[1].split("```", 1)[0].splitlines()
    assert shown == [layer for layer in contract["layers"] if not layer.startswith("__")]
