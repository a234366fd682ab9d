"""A report that somebody else's job left behind: whatever does not follow from its own numbers is found."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from support import reports

from ftgate.config.manifest import Manifest
from ftgate.github.verify_report import (
    LARGEST,
    LARGEST_OTHER,
    Expected,
    manifest_mismatches,
    verify_report,
)
from ftgate.jobs.report_checks import departures

_, POLICY = reports.policy()


def tampered(change) -> list[str]:
    found = reports.report(POLICY, "block")
    change(found)
    return list(departures(found, POLICY))


def loosen(found):
    found.measurements["forgetting"].limits["block"] = 0.9
    found.measurements["forgetting"].status = "pass"
    found.verdict = "allow"


def drop(found):
    del found.measurements["forgetting"]
    found.verdict = "allow"


def turn(found):
    found.measurements["forgetting"].worse = "down"
    found.measurements["forgetting"].status = "pass"
    found.verdict = "allow"


def widen(found):
    found.measurements["forgetting"].level = 0.5


TRICKS = {
    "verdict": lambda r: setattr(r, "verdict", "allow"),
    "status": lambda r: setattr(r.measurements["forgetting"], "status", "pass"),
    "warning": lambda r: setattr(r.measurements["forgetting"], "status", "warn"),
    "limits": loosen,
    "missing measurement": drop,
    "direction": turn,
    "level": widen,
    "tier": lambda r: setattr(r.measurements["forgetting"], "tier", "advisory"),
    "kind": lambda r: setattr(r.measurements["forgetting"], "kind", "calibration"),
    "policy": lambda r: r.provenance.update(policy_sha256="0" * 64),
    "no policy": lambda r: r.provenance.pop("policy_sha256"),
    "another measurement": lambda r: r.measurements.update(fifth=r.measurements["target"]),
    "interval": lambda r: setattr(r.measurements["forgetting"], "interval", (0.01, 0.02)),
    "no numbers": lambda r: setattr(r.measurements["forgetting"], "interval", (None, None)),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_whatever_was_changed_on_the_way_is_found(trick):
    assert tampered(TRICKS[trick])


@pytest.mark.parametrize("forgetting", ["pass", "warn", "block", "inconclusive"])
def test_a_report_as_the_gate_writes_it_agrees_with_itself(forgetting):
    assert list(departures(reports.report(POLICY, forgetting), POLICY)) == []


def test_a_warning_by_the_upper_bound_is_decided_alike():
    found = reports.report(POLICY, "warn")
    found.measurements["forgetting"].change, found.measurements["forgetting"].interval = 0.0, (-0.085, 0.085)
    assert list(departures(found, POLICY)) == []
    found.measurements["forgetting"].status = "pass"
    assert list(departures(found, POLICY)) == ["forgetting: it says pass, but its numbers give warn"]


def test_doubts_may_turn_a_pass_into_a_hold():
    found = reports.report(POLICY, "pass")
    found.measurements["forgetting"].status = "inconclusive"
    assert list(departures(found, POLICY)) == ["it says allow, but its measurements give hold"]
    found.verdict = "hold"
    assert list(departures(found, POLICY)) == []


def test_answers_that_come_to_something_else_are_an_error(tmp_path: Path):
    folder = reports.delivered(tmp_path / "out", reports.report(POLICY, "pass"))
    (folder / "answers.jsonl").write_text("")
    assert (
        verify_report(folder, Expected(POLICY, decide_again=lambda _: reports.report(POLICY, "pass"))).verdict
        == "allow"
    )
    assert (
        verify_report(folder, Expected(POLICY, decide_again=lambda _: reports.report(POLICY, "block"))).verdict
        == "error"
    )
    other = reports.report(POLICY, "pass")
    other.measurements["target"].change = 0.11
    assert "target" in verify_report(folder, Expected(POLICY, decide_again=lambda _: other)).problems[0]
    assert "ZeroDivisionError" in verify_report(folder, Expected(POLICY, decide_again=lambda _: 1 / 0)).problems[0]
    assert verify_report(folder, Expected(POLICY)).verdict == "allow"


def answered(tmp_path: Path, found) -> Path:
    folder = reports.delivered(tmp_path / "out", found)
    (folder / "answers.jsonl").write_text("")
    return folder


def shift(field: str, by: float):
    def change(m):
        setattr(m, field, getattr(m, field) + by)

    return change


def shift_bound(index: int, by: float):
    def change(m):
        bounds = list(m.interval)
        bounds[index] += by
        m.interval = tuple(bounds)

    return change


NUMBERS = {
    "base": shift("base", 0.001),
    "candidate": shift("candidate", 0.001),
    "change": shift("change", 0.001),
    "lower bound": shift_bound(0, 0.001),
    "upper bound": shift_bound(1, 0.001),
    "n": shift("n", 1),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("measurement", ["target", "forgetting"])
def test_a_number_that_was_altered_a_little_is_found(tmp_path: Path, measurement: str, name: str):
    """A tenth of a point, which changes no status: only the second decision from the answers can tell."""
    found = reports.report(POLICY, "pass")
    NUMBERS[name](found.measurements[measurement])
    expected = Expected(POLICY, decide_again=lambda _: reports.report(POLICY, "pass"))
    problems = verify_report(answered(tmp_path, found), expected).problems
    assert problems == (f"{measurement}: its numbers differ from those recomputed from its answers",)


def test_numbers_may_differ_by_rounding_alone(tmp_path: Path):
    found = reports.report(POLICY, "pass")
    for measurement in found.measurements.values():
        shift("base", 1e-8)(measurement)
        shift_bound(0, -1e-8)(measurement)
    expected = Expected(POLICY, decide_again=lambda _: reports.report(POLICY, "pass"))
    assert verify_report(answered(tmp_path, found), expected).problems == ()


@pytest.mark.parametrize("role", ["base", "candidate"])
def test_equal_numbers_of_another_model_are_an_error(tmp_path: Path, role: str):
    def another(_: Path):
        other = reports.report(POLICY, "pass")
        other.provenance[role]["digest"] = reports.digest("another")
        return other

    folder = answered(tmp_path, reports.report(POLICY, "pass"))
    problems = verify_report(folder, Expected(POLICY, decide_again=another)).problems
    assert problems == (f"the {role}'s digest is not that of the model that gave the answers",)


@pytest.mark.parametrize("field", ["status", "verdict"])
def test_a_status_or_verdict_that_the_answers_do_not_give_is_an_error(tmp_path: Path, field: str):
    def held(_: Path):
        other = reports.report(POLICY, "pass")
        if field == "status":
            other.measurements["forgetting"].status = "inconclusive"
        else:
            other.verdict = "hold"
        return other

    problems = verify_report(
        answered(tmp_path, reports.report(POLICY, "pass")), Expected(POLICY, decide_again=held)
    ).problems
    assert len(problems) == 1


def test_not_applicable_is_believed_from_the_answers_alone_and_never_where_the_numbers_block(tmp_path: Path):
    found = reports.report(POLICY, "pass")
    found.measurements["forgetting"].status = "not_applicable"
    assert list(departures(found, POLICY)) == []
    folder = reports.delivered(tmp_path / "out", found)
    (folder / "answers.jsonl").write_text("")
    assert "without a second decision" in verify_report(folder, Expected(POLICY)).problems[0]
    assert verify_report(folder, Expected(POLICY, decide_again=lambda _: found)).verdict == "allow"
    assert (
        verify_report(folder, Expected(POLICY, decide_again=lambda _: reports.report(POLICY, "pass"))).verdict
        == "error"
    )

    def hidden(report):
        report.measurements["forgetting"].status = "not_applicable"
        report.verdict = "allow"

    blocked = reports.report(POLICY, "block")
    hidden(blocked)
    assert list(departures(blocked, POLICY)) == ["forgetting: it says not_applicable, but its numbers give block"]


def test_form_alone_allows_nothing_here_either():
    found = reports.report(POLICY, "pass")
    for name in ("target", "forgetting"):
        found.measurements[name].status = "not_applicable"
    assert list(departures(found, POLICY)) == ["it says allow, but its measurements give hold"]
    found.verdict = "hold"
    assert list(departures(found, POLICY)) == []


def test_answers_that_were_taken_away_are_an_error(tmp_path: Path):
    folder = reports.delivered(tmp_path / "out", reports.report(POLICY, "pass"))
    found = verify_report(folder, Expected(POLICY, decide_again=lambda _: reports.report(POLICY, "pass")))
    assert found.verdict == "error"
    assert found.problems == ("answers.jsonl is missing, so the report could not be recomputed",)


@pytest.mark.parametrize("role", ["base", "candidate"])
@pytest.mark.parametrize("digest", [None, "", "none", "sha256:1", "sha256:" + "A" * 64, reports.digest("x") + "\n"])
def test_a_report_about_files_without_a_digest_is_an_error(role, digest):
    assert f"digest of the {role}" in tampered(lambda r: r.provenance[role].update(digest=digest))[0]


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", "null", "\x00", "[" * 10_000, '{"verdict": "allow"}', '{"verdict": 1e999}'],
    ids=range(8),
)
def test_what_is_no_report_is_an_error_and_no_crash(tmp_path: Path, content):
    (tmp_path / "report.json").write_text(content)
    assert verify_report(tmp_path, Expected(POLICY)).verdict == "error"


def test_provenance_of_any_shape_is_no_crash(tmp_path: Path):
    for value in ([], "x", None, {"candidate": [1]}, {"candidate": None, "base": 3}):
        text = json.loads(reports.report(POLICY, "pass").model_dump_json())
        text["provenance"] = value
        (tmp_path / "report.json").write_text(json.dumps(text))
        assert verify_report(tmp_path, Expected(POLICY)).verdict == "error"


def test_links_are_not_read(tmp_path: Path):
    folder = reports.delivered(tmp_path / "out", reports.report(POLICY, "pass"))
    (folder / "suites").mkdir()
    (folder / "suites" / "target.jsonl").symlink_to("/proc/self/environ")
    assert "link" in verify_report(folder, Expected(POLICY)).problems[0]
    (folder / "suites" / "target.jsonl").unlink()
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert verify_report(link, Expected(POLICY)).verdict == "error"


@pytest.mark.parametrize("name", ["report.json", "job.json", "answers.jsonl", "suites/target.jsonl"])
def test_a_file_that_is_too_large_is_named_with_its_size_and_not_read(tmp_path: Path, name):
    folder = reports.delivered(tmp_path / "out", reports.report(POLICY, "pass"))
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    most = LARGEST.get(path.name, LARGEST_OTHER)
    with path.open("wb") as file:
        file.truncate(most + 1)  # a hole: it takes no room on the disk
    found = verify_report(folder, Expected(POLICY, decide_again=lambda _: pytest.fail("it was read")))
    assert found.verdict == "error"
    assert found.problems == (f"{path.name!r} in out has {most + 1:,} bytes, and at most {most:,} are read",)


def judged_with(training: object, **manifest: object) -> list[str]:
    text = reports.manifest(**manifest)
    found = reports.report(POLICY, "pass", text=text)
    found.provenance["training_data"] = training
    named = Manifest.model_validate(yaml.safe_load(text))
    return list(manifest_mismatches(found, named, hashlib.sha256(text.encode()).hexdigest()))


def test_training_data_that_the_manifest_names_was_used():
    digest = reports.digest("train")
    data = {"source": "s3://acme/train.jsonl", "digest": digest}
    used = {"sha256": digest.removeprefix("sha256:"), "rows": 3}
    assert judged_with(used, training_data=data) == []
    assert judged_with(used, training_data={"source": "s3://acme/train.jsonl"}) == []
    assert "without the training data" in judged_with(None, training_data=data)[0]
    assert "but the manifest pins" in judged_with({"sha256": "1"}, training_data=data)[0]
    assert judged_with(None) == []


@pytest.mark.parametrize(("level", "enough"), [(0.9, True), (0.95, True), (0.9 - 1e-12, True), (0.8999, False)])
def test_an_interval_of_less_than_the_policys_level_decides_nothing(level: float, enough: bool):
    found = reports.report(POLICY, "pass")
    found.measurements["forgetting"].level = level
    wanted = [] if enough else ["forgetting: its interval has level 0.8999, but the policy asks for more"]
    assert list(departures(found, POLICY)) == wanted
    _, point = reports.policy(evidence={"rule": "point"})
    found.provenance["policy_sha256"] = point.sha256()
    assert list(departures(found, point)) == []


@pytest.mark.parametrize(
    ("unit", "problem"), [("rise in over-refusal", []), ("rise in compliance", ["its numbers give block"])]
)
def test_a_rise_is_held_to_the_limit_of_its_own_part(unit: str, problem: list[str]) -> None:
    """Seven points are within the limit of over-refusal, which is 10, and beyond that of compliance, which is 5."""
    measurements = {**reports.POLICY["measurements"], "safety": {"scorer": "rules"}}
    _, rules = reports.policy(measurements=measurements)
    found = reports.report(rules)
    part = reports.measured("form", "pass")
    part.unit, part.change, part.interval = unit, 0.07, (0.055, 0.09)
    part.limits = {"block": 0.05 if "compliance" in unit else 0.1}
    found.measurements = {"target": found.measurements["target"], "forgetting": found.measurements["forgetting"]} | {
        "safety": part,
        "form": found.measurements["form"],
    }
    problems = list(departures(found, rules))
    assert [text for text in problems if "safety" not in text] == []
    assert len(problems) == len(problem)
    assert all(wanted in text for wanted, text in zip(problem, problems, strict=True))
