"""A report that contradicts itself is refused: damaged, it must never read as an allow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from unit.report import samples, test_deployed
from unit.report.test_demo_comments import reports

from ftgate.cli.main import cli
from ftgate.errors import ConfigurationError
from ftgate.report.reading import contradictions, read_report
from ftgate.report.schema import Report, write_report
from ftgate.verdict import SMOKE_TEST


def stored(folder: Path, report: Report, **changes: Any) -> Path:
    """``report`` as a run leaves it in ``folder``, with top-level fields changed afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.json"
    write_report(report, path)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return path


def allowed_but(**changes: Any) -> Report:
    """An allow of which one measurement was changed afterwards."""
    report = samples.allowed()
    report.measurements["forgetting"] = report.measurements["forgetting"].model_copy(update=changes)
    return report


def test_no_report_of_a_run_contradicts_itself() -> None:
    compared = [test_deployed.compared(), test_deployed.compared("block", 0.2)]
    for report in [*reports().values(), *compared, samples.allowed(), samples.blocked(), samples.held()]:
        assert list(contradictions(report)) == [], report.name


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"status": "block"}, "verdict allow, and measurements.forgetting is block"),
        ({"status": "inconclusive"}, "verdict allow, and measurements.forgetting is inconclusive"),
        ({"status": "error", "tier": "supporting"}, "verdict allow, and measurements.forgetting is error"),
        ({"n": 0}, "measurements.forgetting: status pass, and it has no items"),
        ({"change": None}, "measurements.forgetting: status pass, and it has no change"),
        ({"limits": {}}, "measurements.forgetting: status pass, and it has no limit"),
        ({"change": 0.5}, "measurements.forgetting: status pass, and its change 0.5 is beyond its limit 0.1"),
        ({"interval": (float("nan"), 0.1)}, "measurements.forgetting: a number is not finite"),
    ],
)
def test_an_allow_that_its_numbers_do_not_carry_is_named(changes: dict[str, Any], problem: str) -> None:
    assert next(contradictions(allowed_but(**changes))) == problem


def test_an_advisory_measurement_may_say_anything() -> None:
    assert list(contradictions(allowed_but(status="inconclusive", tier="advisory"))) == []


def test_a_smoke_test_and_a_loss_against_the_deployed_model_allow_nothing() -> None:
    smoke = samples.allowed()
    smoke.notes = [SMOKE_TEST.format(20)]
    assert list(contradictions(smoke)) == ["verdict allow, and it was a smoke test"]
    worse = test_deployed.compared("block", 0.2).model_copy(update={"verdict": "allow"})
    assert "verdict allow, and measurements.forgetting.incumbent is block" in list(contradictions(worse))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"measurements": {}}, "verdict allow, and nothing was measured"),
        ({"measurements": {}, "verdict": "hold"}, "verdict hold, and nothing was measured"),
        ({"schema_version": "2.0"}, "schema_version '2.0', and this ftgate reads 1.0"),
        ({"verdict": "yes"}, "verdict: Input should be"),
        ({"measurements": None}, "measurements: Input should be"),
    ],
)
def test_a_damaged_report_is_refused_by_every_command_that_reads_one(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    path = stored(tmp_path / "damaged", samples.allowed(), **changes)
    stored(tmp_path / "whole", samples.blocked())
    with pytest.raises(ConfigurationError, match=r"damaged/report\.json") as refused:
        read_report(path)
    assert reason in refused.value.message
    commands = (["compare", str(tmp_path / "whole")], ["report"], ["export", "--to", "junit"])
    for command in commands:
        done = CliRunner().invoke(cli, [*command, str(path.parent)])
        assert isinstance(done.exception, ConfigurationError), (command, done.output)
    assert not (path.parent / "comment.md").exists()


def test_a_report_cut_short_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, samples.allowed())
    text = path.read_text(encoding="utf-8")
    for end in range(0, len(text), 997):
        path.write_text(text[:end], encoding="utf-8")
        with pytest.raises(ConfigurationError):
            read_report(path)
