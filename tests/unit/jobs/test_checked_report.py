"""A report is checked against the policy that it names, where that is at hand, and says what was checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from support.reports import policy
from unit.report import samples

import ftgate
from ftgate.cli.main import cli
from ftgate.config.policy import Policy
from ftgate.errors import ConfigurationError
from ftgate.exports import export
from ftgate.jobs.checked_report import checked_report, departures
from ftgate.report.schema import Report, write_report

MEASURED = {
    "target": {"dataset": "evals/target.jsonl", "min_gain": 0.03},
    "forgetting": {"dataset": "evals/general.jsonl", "scorer": "exact"},
    "tail": {"dataset": "evals/queries.jsonl", "scorer": "exact"},
    "calibration": {"dataset": "evals/choices.jsonl"},
    "form": {"enabled": False},
}


def policy_of(**evidence: Any) -> Policy:
    _, rules = policy(measurements=MEASURED, evidence={"early_stopping": "none", **evidence})
    return rules


def decided(folder: Path, rules: Policy, *, saved: bool = True) -> Report:
    """The allowed sample as a run under ``rules`` leaves it, with or without the saved policy."""
    report = samples.allowed()
    report.provenance |= {"policy": "", "policy_sha256": rules.sha256()}
    report.checklist[0].evidence = f"policy sha256 `{rules.sha256()[:12]}`"
    folder.mkdir(exist_ok=True)
    write_report(report, folder / "report.json")
    if saved:
        (folder / "job.json").write_text(json.dumps({"policy": rules.model_dump(mode="json")}))
    return report


def edit(folder: Path, change: dict[str, Any], name: str = "tail") -> None:
    path = folder / "report.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["measurements"][name] |= change
    path.write_text(json.dumps(raw), encoding="utf-8")


def test_one_line_says_what_was_checked_and_what_was_not(tmp_path: Path) -> None:
    rules = policy_of()
    decided(tmp_path, rules)
    digest, decide = rules.sha256()[:12], f"the numbers against the answers (ftgate decide {tmp_path})."
    assert checked_report(tmp_path).line == (
        f"Checked: the verdict against its numbers, limits and tiers of policy {digest}. Not checked: {decide}"
    )
    (tmp_path / "job.json").unlink()
    assert checked_report(tmp_path / "report.json").line == (
        "Checked: the verdict against its numbers. "
        f"Not checked: limits and tiers (policy {digest} is not at hand), {decide}"
    )


def test_the_terminal_and_the_page_of_a_report_have_that_line(tmp_path: Path) -> None:
    decided(tmp_path, policy_of())
    done = CliRunner().invoke(cli, ["report", str(tmp_path)], catch_exceptions=False)
    line = checked_report(tmp_path).line
    assert done.output.splitlines()[-1] == line
    assert line in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"tier": "advisory"},
            "measurements.tail: advisory and of kind tail, and in its policy blocking and of kind tail",
        ),
        ({"limits": {"block": 0.4}}, "measurements.tail: limits block 0.4, and in its policy block 0.15"),
        ({"limits": {"block": 0.15, "warn": 0.2}}, "limits block 0.15, warn 0.2, and in its policy block 0.15"),
        ({"level": 0.6}, "measurements.tail: level 0.6, and its policy asks for 0.9"),
    ],
)
def test_an_edited_tier_or_limit_is_refused_by_every_reader_where_the_policy_is_at_hand(
    tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    folder = tmp_path / "run"
    decided(folder, policy_of())
    assert ftgate.read_report(folder).verdict == "allow"
    edit(folder, change)
    for read in (ftgate.read_report, lambda path: export(path, "junit")):
        with pytest.raises(ConfigurationError) as refused:
            read(folder)
        assert problem in refused.value.message
    (folder / "job.json").unlink()
    assert ftgate.read_report(folder).verdict == "allow", "one report alone does not show it"


def test_the_policy_file_that_a_report_names_serves_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = policy_of()
    report = decided(tmp_path / "run", rules, saved=False)
    report.provenance["policy"] = "ftgate.yml"
    write_report(report, tmp_path / "run" / "report.json")
    monkeypatch.chdir(tmp_path)
    assert checked_report(tmp_path / "run").policy is None
    Path("ftgate.yml").write_text(yaml.safe_dump(rules.model_dump(mode="json", exclude={"publish"})))
    checked = checked_report(tmp_path / "run").policy
    assert checked is not None
    assert checked.sha256() == rules.sha256()
    Path("ftgate.yml").write_text("version: 1")
    assert checked_report(tmp_path / "run").policy is None


def test_a_smoke_test_and_weights_that_are_not_proven_allow_nothing_by_the_policy(tmp_path: Path) -> None:
    report = decided(tmp_path, policy_of())
    assert list(departures(report, policy_of())) == []
    assert list(departures(report, policy_of(smoke_test=20))) == [
        "verdict allow, and its policy is that of a smoke test"
    ]
    report.provenance["candidate"]["kind"] = "endpoint"
    assert "which its policy does not accept" in next(departures(report, policy_of()))
    assert list(departures(report, policy_of(allow_unproven_weights=True))) == []


def test_measurements_are_those_that_the_policy_asks_for(tmp_path: Path) -> None:
    report = decided(tmp_path, policy_of())
    del report.measurements["tail"]
    assert list(departures(report, policy_of())) == ["measurements lacks tail, which its policy asks for"]
