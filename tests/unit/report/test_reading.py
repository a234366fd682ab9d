"""A report that contradicts itself is refused: damaged, it must never read as an allow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from unit.report import samples, test_deployed
from unit.report.test_demo_comments import reports

from ftgate.cli.main import cli
from ftgate.errors import ConfigurationError
from ftgate.planning.compare import compare_runs
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
        ({"status": "block"}, "measurements.forgetting: status block, and by its interval and limits it is pass"),
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


SWAPPED = {"name": "head", "n": 100, "base": 0.6, "candidate": 0.9, "change": -0.5, "interval": [0.0, -0.9]}


def _place(raw: dict[str, Any], path: str) -> tuple[Any, Any]:
    """The part of ``raw`` that holds ``path``, and the last key."""
    part: Any = raw
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("/"))
    for key in parents:
        part = part[key]
    return part, last


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Damage: ``value`` at ``path``, whose keys are separated by slashes."""

    def damage(raw: dict[str, Any]) -> None:
        part, last = _place(raw, path)
        part[last] = value

    return damage


def drop(path: str) -> Callable[[dict[str, Any]], None]:
    """Damage: nothing at ``path`` any more."""

    def damage(raw: dict[str, Any]) -> None:
        part, last = _place(raw, path)
        del part[last]

    return damage


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (put("controls/judge_fitness/forgetting/fit", False), "its judge is unfit"),
        (put("controls/a_a/tail/ok", False), "measurements.tail: status pass, and one of its controls failed"),
        (put("controls/positive_control/form/ok", False), "measurements.form: status pass, and one of its controls"),
        (put("controls/zero_delta", {"target": {"ok": False}}), "measurements.target: status pass, and one of its"),
        (put("controls/served_models", {"ok": False}), "status pass, and one of its controls failed"),
        (put("controls/judge_model", {"ok": False}), "measurements.forgetting: status pass, and one of its controls"),
        (put("controls/adapter_effect/largest_change", 0), "the weights had no effect"),
        (put("controls/adapter_effect/largest_change", False), "the weights had no effect"),
        (drop("controls/adapter_effect/largest_change"), "the weights had no effect"),
        (put("controls/adapter_effect/noise", 3.0), "the weights had no effect"),
        (put("controls/adapter_effect", False), "verdict allow, and controls.adapter_effect is missing"),
        (put("controls", {}), "verdict allow, and controls is empty"),
        (put("checklist", []), "verdict allow, and checklist is empty"),
        (put("provenance", {}), "verdict allow, and provenance is empty"),
        (drop("provenance/suites"), "verdict allow, and provenance names no suites"),
        (drop("controls/a_a/tail"), "verdict allow, and controls.a_a lacks tail"),
        (put("controls/positive_control", None), "verdict allow, and controls.positive_control lacks target"),
        (put("controls/judge_fitness", None), "controls.judge_fitness lacks forgetting, which a judge graded"),
        (drop("measurements/tail"), "measurements lacks tail, which provenance.suites has"),
        (drop("measurements/form"), "measurements lacks form, which stopping.looks has"),
        (drop("stopping/looks/form"), "stopping.looks lacks form, which was measured"),
        (put("measurements/tail/interval", [0.1, -0.6]), "measurements.tail: its interval is the wrong way round"),
        (put("measurements/tail/slices/0", SWAPPED), "measurements.tail: slice head: its interval is the wrong way"),
        (put("measurements/tail/interval", [0.01, 0.02]), "measurements.tail: its change -0.385417 is far outside"),
        (put("measurements/tail/interval", [-0.9, 0.4]), "status pass, and by its interval and limits it is inconcl"),
        (put("measurements/target/interval", [0.01, 0.4]), "status pass, and by its interval and limits it is incon"),
        (put("measurements/target/interval", [None, None]), "status pass, and by its interval and limits it is inc"),
        (put("measurements/forgetting/limits/warn", 0.01), "status pass, and by its interval and limits it is warn"),
        (put("measurements/forgetting/limits/block", 0.01), "and by its interval and limits it is inconclusive"),
        (drop("schema_version"), "schema_version is missing"),
    ],
)
def test_an_allow_of_the_demo_that_was_damaged_is_refused(
    tmp_path: Path, damage: Callable[[dict[str, Any]], None], problem: str
) -> None:
    path = stored(tmp_path, reports()["careful"])
    assert read_report(path).verdict == "allow"
    raw = json.loads(path.read_text(encoding="utf-8"))
    damage(raw)
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        read_report(path)
    assert problem in refused.value.message


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


def test_two_limits_under_one_policy_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever widens a limit in a report makes a pass of it that its policy does not give."""
    monkeypatch.chdir(tmp_path)  # where that policy is not at hand
    widened = reports()["halfway"].model_copy(deep=True)
    widened.measurements["tail"].limits["block"] = 0.4
    folders = [stored(tmp_path / name, r).parent for name, r in (("one", reports()["careful"]), ("two", widened))]
    with pytest.raises(ConfigurationError, match=r"two: measurements\.tail: its limits differ from those in .*one"):
        compare_runs(folders)
    stored(tmp_path / "two", reports()["halfway"])
    assert len(compare_runs(folders).contenders) == 2


def test_a_page_cannot_take_the_place_of_a_folder(tmp_path: Path) -> None:
    folders = [str(stored(tmp_path / name, reports()[name]).parent) for name in ("careful", "halfway")]
    done = CliRunner().invoke(cli, ["compare", *folders, "--html", str(tmp_path)])
    assert isinstance(done.exception, ConfigurationError)
    assert done.exception.hint == f"name the page: --html {tmp_path / 'compare.html'}"
