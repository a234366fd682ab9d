"""The workflow that settles what was cut short: after which runs it looks, and what it leaves to the action."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).resolve().parents[3] / ".github" / "workflows" / "ftgate-settle.yml"
JOB: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["jobs"]["settle"]


def test_it_looks_after_every_run_that_may_have_left_a_status_pending() -> None:
    looked_after = json.loads(re.search(r"fromJSON\('(.*?)'\)", JOB["if"])[1])  # type: ignore[index]
    assert set(looked_after) == {"failure", "cancelled", "timed_out", "startup_failure"}


def test_host_token_and_context_are_the_actions_business() -> None:
    assert [step["with"] for step in JOB["steps"] if step.get("uses") == "./cpu"] == [{"mode": "settle"}]
    assert "gh " not in FILE.read_text(encoding="utf-8"), "it knows neither the server nor the status's name"
