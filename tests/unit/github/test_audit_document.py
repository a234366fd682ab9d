"""The steps in docs/audit.md that sign a verdict: only what the report step checked, and only an allow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from support import reports

from ftgate.report.statement import statement, write_statement

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "audit.md").read_text(encoding="utf-8")
STEPS = yaml.safe_load(DOCUMENT.split("## Sign the statement", 1)[1].split("```yaml\n", 1)[1].split("```", 1)[0])


def test_nothing_is_signed_that_only_came_in_an_artifact() -> None:
    assert all(step["if"] == "steps.ftgate.outputs.verdict == 'allow'" for step in STEPS)
    assert "statement.json" not in json.dumps(STEPS)
    assert STEPS[0]["env"] == {"STATEMENT": "${{ steps.ftgate.outputs.statement }}"}


@pytest.mark.parametrize(("forgetting", "result"), [("pass", "PASSED"), ("warn", "WARNED")])
def test_what_is_signed_is_the_statement(tmp_path: Path, forgetting: str, result: str) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    found = reports.report(reports.policy()[1], forgetting)
    write_statement(found, tmp_path)
    env = {**os.environ, "STATEMENT": str(tmp_path / "statement.json"), "GITHUB_OUTPUT": str(tmp_path / "output")}
    subprocess.run(["bash", "-e", "-c", STEPS[0]["run"]], env=env, cwd=tmp_path, check=True)
    predicate = json.loads((tmp_path / "predicate.json").read_text(encoding="utf-8"))
    wanted = statement(found)
    assert predicate == wanted["predicate"]
    assert predicate["result"] == result
    digest = (tmp_path / "output").read_text(encoding="utf-8")
    assert digest == f"digest=sha256:{wanted['subject'][0]['digest']['sha256']}\n"
