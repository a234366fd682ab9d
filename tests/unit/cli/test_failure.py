"""The reason of a failed command, as it leaves the machine: one line, and no credential in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.cli.failure import FILE, HIDDEN, LONGEST, FailureFile, safe_line, secrets_in
from ftgate.cli.main import main

SECRETS = {"JUDGE_API_KEY": "correct horse", "HF_TOKEN": "hf_abcdefghijklmnop", "INPUT_TOKEN": "hush-hush"}
PLAIN = {"INPUT_JOB": "ftgate-job", "PATH": "/usr/bin:/bin", "PYTHONPATH": "/source", "API_KEY_COUNT": "7"}


@given(st.text(max_size=50), st.sampled_from(sorted(SECRETS.values())), st.text(max_size=50))
def test_no_credential_of_the_environment_is_in_the_line(before, secret, after):
    line = safe_line(f"{before}{secret}{after}", secrets_in(SECRETS | PLAIN))
    assert secret not in line


@given(st.text(max_size=3000))
def test_the_line_is_one_and_bounded(text):
    line = safe_line(text)
    assert len(line) <= LONGEST + 40
    assert len(line.splitlines()) <= 1
    assert "::" not in line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("GET https://bob:pa55@host/x: 403", f"GET https://{HIDDEN}@host/x: 403"),
        ("GET https://host/x?X-Amz-Signature=1f&b=2 failed", f"GET https://host/x?{HIDDEN} failed"),
        ("Authorization: Bearer abc.def-123456", f"Authorization: Bearer {HIDDEN}"),
        ("Authorization: Basic Ym9iOnBhNTU=", f"Authorization: Basic {HIDDEN}"),
        ("config: api_key=0123456789abcdef", f"config: api_key= {HIDDEN}"),
        ("a token embedding of basic arithmetic", "a token embedding of basic arithmetic"),
        ("key sk-proj-abcdefghijklmn is not valid", f"key {HIDDEN} is not valid"),
        ("token ghp_abcdefghijklmnop123 expired", f"token {HIDDEN} expired"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", HIDDEN),
    ],
)
def test_what_looks_like_a_credential_is_hidden(text, line):
    assert safe_line(text) == line


def test_an_ordinary_reason_stays_as_it_is():
    said = "manifest ftgate-job/models/bot.yaml: hf://acme/base is not allowed: artifacts.allow lists s3://acme/*"
    assert safe_line(said, secrets_in(SECRETS | PLAIN)) == said


def test_a_command_that_fails_leaves_its_reason_where_it_is_asked_for(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv(FILE, str(tmp_path / "reason"))
    monkeypatch.setenv("JUDGE_API_KEY", "nowhere.yml")
    with pytest.raises(SystemExit):
        main(["check", "--policy", "nowhere.yml", "--manifest", "nothing.yaml"])
    said = (tmp_path / "reason").read_text(encoding="utf-8")
    assert f"policy: no such file: {HIDDEN}" in said
    assert "nothing.yaml" in said
    assert "nowhere.yml" in capsys.readouterr().err, "the log has it as it was"
    with pytest.raises(SystemExit):
        main(["check", "--nonsense"])
    assert "--nonsense" in (tmp_path / "reason").read_text(encoding="utf-8")


def test_a_reason_that_cannot_be_written_hides_nothing(tmp_path: Path):
    FailureFile({FILE: str(tmp_path)}).write("broken")
    FailureFile({}).write("broken")
    assert json.dumps(list(tmp_path.iterdir())) == "[]"
