"""What a reader of the repository relies on: documents that agree with the code, and nothing of anyone's machine."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import ftgate

ROOT = Path(__file__).resolve().parents[3]

DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *(p.relative_to(ROOT).as_posix() for p in sorted(ROOT.glob("docs/**/*.md"))),
]

# Paths of a developer's machine. Containers and hosted runners have such paths by contract; those files are listed.
MACHINE_PATH = re.compile(r"(?<![\w.~$}-])/(?:work|root|home|Users)/")
MAY_NAME_CONTAINER_PATHS = re.compile(r"(^|/)(Dockerfile|action\.ya?ml)$|^\.github/workflows/")


def tracked() -> list[Path]:
    """Every file that git knows."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_path_of_some_machine() -> None:
    found = []
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        content = path.read_bytes()
        if b"\0" in content or MAY_NAME_CONTAINER_PATHS.search(name) or path == Path(__file__).resolve():
            continue
        lines = content.decode("utf-8").splitlines()
        found += [f"{name}:{n}: {line.strip()[:80]}" for n, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]
    assert not found


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_names_the_commands(command: str) -> None:
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_in_the_documents_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    # In code only: prose may well "make sure".
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", (ROOT / document).read_text(encoding="utf-8"), re.DOTALL))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", code)) <= targets


def test_the_changelog_has_this_version() -> None:
    assert f"## [{ftgate.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_version_stands_in_one_form_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == ftgate.__version__


def test_the_license_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    for part in [
        "Version 2.0, January 2004",
        "1. Definitions.",
        "9. Accepting Warranty",
        "END OF TERMS AND CONDITIONS",
    ]:
        assert part in text


def test_decisions_are_numbered_without_gaps_or_doubles() -> None:
    files = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(f.name[:4]) for f in files] == list(range(1, len(files) + 1))
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert re.match(r"# \d+\. .+\n\nDate: \d{4}-\d{2}-\d{2}\n", text), file.name
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives"], file.name


def test_every_section_of_the_methods_that_the_code_cites_exists() -> None:
    headings = re.findall(r"^## (\d+)\. ", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), re.MULTILINE)
    cited = re.compile(r"[Mm]ethods[:,]\s+sections?\s+(\d+(?:(?:,| and|, and)\s+\d+)*)")
    folders = ("ftgate", "tests", "benchmarks", "examples", "scripts")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if path != Path(__file__).resolve()]
    missing, count = [], 0
    for path in sources:
        for found in cited.finditer(path.read_text(encoding="utf-8")):
            numbers = re.findall(r"\d+", found[1])
            count += len(numbers)
            missing += [f"{path.relative_to(ROOT)}: {found[0]!r}" for n in numbers if n not in headings]
    assert count > 10, "nothing was found: how the code cites the methods has changed"
    assert not missing
