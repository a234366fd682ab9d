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
from ftgate.jobs.checked_report import checked_report
from ftgate.jobs.report_checks import departures
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
    del raw["seal"]  # as in older reports
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
            "tail: it is advisory and of kind tail, but in the policy blocking and of kind tail",
        ),
        ({"limits": {"block": 0.4}}, "tail: its limits are block 0.4, but in the policy block 0.15"),
        ({"limits": {"block": 0.15, "warn": 0.2}}, "its limits are block 0.15, warn 0.2, but in the policy block 0.15"),
        ({"level": 0.6}, "tail: its interval has level 0.6, but the policy asks for more"),
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
    def problems(**evidence: Any) -> list[str]:
        rules = policy_of(**evidence)
        report.provenance["policy_sha256"] = rules.sha256()
        return list(departures(report, rules))

    report = decided(tmp_path, policy_of())
    assert problems() == []
    assert problems(smoke_test=20) == ["it says allow, but its measurements give hold"]
    report.provenance["candidate"]["kind"] = "endpoint"
    assert problems() == ["it says allow, but its measurements give hold"]
    assert problems(allow_unproven_weights=True) == []


def test_measurements_are_those_that_the_policy_asks_for_but_in_logs_of_another_program(tmp_path: Path) -> None:
    report = decided(tmp_path, policy_of(allow_unproven_weights=True))
    del report.measurements["tail"]
    rules = policy_of(allow_unproven_weights=True)
    asked = "calibration, forgetting, tail, target"
    named = f"it measures calibration, forgetting, target, but the policy asks for {asked}"
    assert list(departures(report, rules)) == [named]
    assert list(departures(report, rules, from_logs=True)) == []


def test_a_digest_that_is_not_that_of_the_job_beside_is_refused_and_both_are_named(tmp_path: Path) -> None:
    rules = policy_of()
    decided(tmp_path, rules)
    path = tmp_path / "report.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["provenance"]["policy_sha256"] = "0" * 64
    raw["checklist"][0]["evidence"] = f"policy sha256 `{'0' * 12}`"
    del raw["seal"]
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        checked_report(tmp_path)
    both = f"provenance.policy_sha256 is '{'0' * 64}', and {tmp_path / 'job.json'} beside it has '{rules.sha256()}'"
    assert both in refused.value.message
    raw["provenance"]["decided_at"] = "2026-01-01T00:00:00+00:00"  # by `ftgate decide --policy`, with that policy gone
    path.write_text(json.dumps(raw), encoding="utf-8")
    assert checked_report(tmp_path).policy is None


@pytest.mark.parametrize("role", ["base", "candidate"])
def test_another_run_s_job_beside_a_report_is_refused(tmp_path: Path, role: str) -> None:
    decided(tmp_path, policy_of())
    job = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))
    job["models"] = {role: {"digest": "sha256:" + "5" * 64}}
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"provenance.{role}.digest"):
        checked_report(tmp_path)
