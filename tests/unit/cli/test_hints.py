"""Commands that are asked in the wrong way or place answer with what they need."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from ftgate.cli.main import main
from ftgate.config.manifest import Manifest, how_to_pin
from ftgate.config.policy import JudgeSettings


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def test_schema_without_an_argument_lists_the_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("schema") == 0
    assert [line.split()[:3] for line in capsys.readouterr().out.splitlines()] == [
        ["ftgate", "schema", kind] for kind in ("policy", "manifest", "report", "ledger")
    ]


@pytest.mark.parametrize("command", [("publish", "out"), ("fetch", "job")])
def test_what_reports_on_a_workflow_says_so_outside_one(
    command: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("GITHUB_EVENT_PATH", "GITHUB_EVENT_NAME", "GITHUB_REPOSITORY", "GITHUB_SHA", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert leave(*command) == 2
    said = capsys.readouterr().err
    assert "GitHub Actions, which sets GITHUB_EVENT_PATH, GITHUB_EVENT_NAME, GITHUB_REPOSITORY" in said
    assert "ftgate report DIRECTORY" in said


@pytest.mark.parametrize("revision", ["main", "v1.0", "0123abc"])
def test_a_branch_is_answered_with_how_to_pin_it(revision: str) -> None:
    asked = f"git ls-remote https://huggingface.co/acme/base-7b {revision}"
    base = {"source": "hf://acme/base-7b", "revision": revision}
    with pytest.raises(ValidationError, match="a branch or tag can move") as manifest:
        Manifest.model_validate({"name": "bot", "base": base, "candidate": "bot"})
    with pytest.raises(ValidationError, match="a branch or tag can move") as judge:
        JudgeSettings.model_validate(base)
    assert asked in str(manifest.value)
    assert asked in str(judge.value)


@pytest.mark.parametrize(
    ("source", "revision", "address"),
    [
        ("hf://acme/bot", "HEAD", "https://huggingface.co/acme/bot HEAD"),
        ("hf://acme/bot@main", "main", "https://huggingface.co/acme/bot main"),
        ("hf://datasets/acme/rows/test.jsonl", "main", "https://huggingface.co/datasets/acme/rows main"),
        ("hf://acme/bot", "$(rm -r x)", "https://huggingface.co/OWNER/NAME"),
        ("hf://acme", "main", "https://huggingface.co/OWNER/NAME"),
    ],
)
def test_the_command_that_prints_a_commit_holds_plain_names_alone(source: str, revision: str, address: str) -> None:
    assert how_to_pin(source, revision) == f"`git ls-remote {address}` prints it"


def test_a_reference_alone_stands_for_its_section(capsys: pytest.CaptureFixture[str]) -> None:
    plain = {"name": "bot", "base": "../weights/base", "candidate": "bot", "training_data": "train.jsonl"}
    whole = {name: value if name == "name" else {"source": value} for name, value in plain.items()}
    assert Manifest.model_validate(plain) == Manifest.model_validate(whole)
    assert Manifest.model_validate({**plain, "incumbent": "models/old"}).incumbent is not None
    assert Manifest.model_validate({**plain, "incumbent": "last-allowed"}).incumbent == "last-allowed"
    assert leave("schema", "manifest") == 0
    schema = json.loads(capsys.readouterr().out)
    for field in ("base", "candidate", "incumbent", "training_data"):
        assert {"type": "string"} in schema["properties"][field]["anyOf"], field


def test_a_shell_gets_its_completion_script_and_the_names_of_commands() -> None:
    def asked(**variables: str) -> subprocess.CompletedProcess[str]:
        program = "import sys; sys.argv = ['ftgate']; from ftgate.__main__ import entry; entry()"
        env = {**os.environ, **variables}
        return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)

    script = asked(_FTGATE_COMPLETE="zsh_source")
    assert (script.returncode, script.stdout.startswith("#compdef ftgate")) == (0, True)
    names = asked(_FTGATE_COMPLETE="bash_complete", COMP_WORDS="ftgate com", COMP_CWORD="1")
    assert (names.returncode, names.stdout) == (0, "plain,compare\n")
    assert asked(_FTGATE_COMPLETE="no_shell").returncode == 2
