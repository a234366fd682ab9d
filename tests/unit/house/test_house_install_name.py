"""Nobody is told to install another's program: on the package index, the name ftgate belongs to somebody else."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
COMMAND = "ftgate"

THEIRS = rf"(?<![\w./@-]){COMMAND}(?![\w./-])"
INSTALL = (
    r"\b(?:pip[\d.]*|pipx|uv|poetry|pdm|pixi|rye|hatch|conda|mamba|micromamba)\s(?:[^;&|`\n]*?\s)?"
    rf"(?:install|add|download|wheel|inject|upgrade|sync)\s[^;&|`\n]*?{THEIRS}"
)
RUN = (  # a program of the index without installing it; --from and --spec say which distribution has the command
    rf"\b(?:uvx|uv\s+tool\s+run|pipx\s+run)\s(?:(?:(?!--(?:from|spec)\b)[^;&|`\n])*?{THEIRS}"
    rf"|[^;&|`\n]*?--(?:from|spec)[\s=]+{THEIRS})"
)
REQUIREMENT = rf"(?<![\w./-]){COMMAND}\s?(?:\[\s*[a-z]|[=~<>!]=\s?\d|@ ?(?:git\+|https?:|file:))"
FORBIDDEN = re.compile(f"{INSTALL}|{RUN}|{REQUIREMENT}")


def instructions(text: str) -> list[tuple[int, str]]:
    """Line number and words of all that installs what is not ours; quotes, commas and line continuations aside."""
    plain = re.sub(r"[\"',(){}]", " ", text.replace("\\\n", "  "))  # of the same length
    return [(text[: m.start()].count("\n") + 1, text[m.start() : m.end()]) for m in FORBIDDEN.finditer(plain)]


def texts() -> dict[str, str]:
    """Every text that git knows, by its path."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    contents = {p.relative_to(ROOT).as_posix(): p.read_bytes() for p in paths if p.is_file()}
    return {name: content.decode("utf-8") for name, content in contents.items() if b"\0" not in content}


@pytest.mark.parametrize(
    "line",
    [
        "pip install {}",
        "pip3.12 install --upgrade {}",
        'pip install "{}[s3]"',
        "python3 -m pip install {}==0.1.0",
        "uv pip install --python .venv/bin/python {}",
        "uv tool install {}",
        "uv add '{}>=0.1'",
        "uvx {} demo",
        "uvx --python 3.12 {} demo",
        "uvx --from {} {} demo",
        "uv tool run {} demo",
        "pipx install {}",
        "pipx run {} demo",
        "poetry add {}",
        "pip install \\\n    {}",
        '["pip", "install", "{}"]',
        "install `{}[gpu]`",
        "{}==0.1.0",
        "{} >= 0.1",
        "{} @ git+https://git.example/models/{}",
    ],
)
def test_what_would_install_it_is_noticed(line: str) -> None:
    assert instructions("first line\n" + line.replace("{}", COMMAND))


@pytest.mark.parametrize(
    "line",
    [
        "pip install finetune-gate",
        'pip install "finetune-gate[s3]"',
        "pip install . && {} demo",
        "pip install dist/*.whl; {} demo",
        "`pip install .`, and then `{} demo`",
        "pip install git+https://git.example/models/{}",
        "pip install git+https://git.example/models/{}@v1",
        "pip install finetune_gate-0.1.0-py3-none-any.whl",
        "pip install -e ./{}",
        "pip uninstall {}",
        "uv run {} demo",
        "uvx --from finetune-gate {} demo",
        "pipx run --spec finetune-gate {} demo",
        "docker build -t {} .",
        "uses: models/{}@v1",
        "{} run --manifest bot.yaml",
    ],
)
def test_what_installs_ours_or_nothing_is_let_be(line: str) -> None:
    assert not instructions(line.replace("{}", COMMAND))


def test_no_text_tells_anyone_to_install_the_program_of_somebody_else() -> None:
    assert PROJECT["name"] != COMMAND
    told = [f"{name}:{number}: {words}" for name, text in texts().items() for number, words in instructions(text)]
    assert not told, f"the distribution is called {PROJECT['name']}:\n" + "\n".join(told)


def test_every_extra_that_a_text_names_exists() -> None:
    extras = {*PROJECT["optional-dependencies"]}
    asked = re.compile(rf"\b{PROJECT['name']}\[([a-z0-9, ]+)\]")
    named = {
        f"{name}: {extra.strip()}"
        for name, text in texts().items()
        for found in asked.findall(text)
        for extra in found.split(",")
        if extra.strip() not in extras
    }
    assert not named


def test_the_command_keeps_its_name() -> None:
    assert list(PROJECT["scripts"]) == [COMMAND]
