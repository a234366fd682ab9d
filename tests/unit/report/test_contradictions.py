"""An allow follows from its own numbers: whoever changes one is refused, or is on the list of what no report shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.report import samples, test_deployed
from unit.report.test_demo_comments import reports
from unit.report.test_reading import drop, put

from ftgate.errors import ConfigurationError
from ftgate.report.reading import contradictions, read_report
from ftgate.report.schema import Report, write_report

CAREFUL = json.loads(reports()["careful"].model_dump_json())
NOT_SHOWN: Mapping[str, str] = {
    "change": "a change that its interval and its scores carry",
    "interval": "a bound that stays on its side of the limit",
    "n": "a number of items between what a pass needs and what the suite has",
    "least_n": "a smaller number of items that a pass needs",
    "rows": "a number of rows between n and what the suite has",
    "level": "a level from 0.5 to 1",
    "limits": "a limit that the interval lies within, too",
    "base": "a score that the change does not follow from, as that of confidence",
    "candidate": "the same",
    "items": "on how many items a control was made, and how many a suite has",
    "change of a control": "a change that is small, or by chance",
    "judge": "numbers of a judge that is fit by them, too",
    "effect": "an effect above its noise",
}
"""What one report alone does not show of a changed number; `ftgate decide` does, from the answers."""
NUMBERS = st.one_of(
    st.floats(-2, 2), st.integers(-5, 2000), st.sampled_from([0, 0.0, 1, 1.0, 1.5, -1, 0.05, 0.1, 0.15, 59, 100, 500])
)


def numbers_of_the_verdict() -> Iterator[tuple[str, ...]]:
    """The places of the numbers that the verdict of careful rests on."""
    for name, m in CAREFUL["measurements"].items():
        fields = ["change", "n", "least_n", "level", "base", "candidate", *(["rows"] if m.get("rows") else [])]
        yield from (("measurements", name, field) for field in fields)
        yield from (("measurements", name, "interval", at) for at in "01")
        yield from (("measurements", name, "limits", key) for key in m["limits"])
    for control in ("a_a", "positive_control"):
        for name, outcome in CAREFUL["controls"][control].items():
            yield from (("controls", control, name, key) for key in ("change", "p_value", "items") if key in outcome)
    for name in CAREFUL["controls"]["judge_fitness"] or {}:
        keys = ("auroc_low", "gap", "retest_shift", "unparseable", "known_auroc_low")
        yield from (("controls", "judge_fitness", name, key) for key in keys)
    yield from (("controls", "adapter_effect", key) for key in ("largest_change", "noise", "prompts"))


PLACES = sorted(numbers_of_the_verdict())


def changed(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    raw = json.loads(json.dumps(CAREFUL))
    put("/".join(place), value)(raw)
    return raw


def problem_of(raw: dict[str, Any]) -> str:
    """Why a report is refused; empty if it is not."""
    try:
        return next(contradictions(Report.model_validate(raw)), "")
    except ValueError as error:
        return str(error)


def carries(raw: dict[str, Any], place: tuple[str, ...]) -> bool:
    """Whether the number at ``place`` leaves the verdict as it is, by rules that are written anew here."""
    if place[0] == "measurements":
        m = raw["measurements"][place[1]]
        sign, limit = (1, m["limits"]["block"]) if m["worse"] == "up" else (-1, m["limits"]["min_gain"])
        high = max(sign * bound for bound in m["interval"])
        within = high < sign * limit and sign * m["change"] <= sign * limit
        warns = "warn" in m["limits"] and high >= m["limits"]["warn"]
        counts = m["n"] >= 1 and m["n"] >= (m["least_n"] or 0) >= 0 and 0.5 <= m["level"] <= 1
        rows = m["n"] if m.get("rows") is None else m["rows"]
        suite = raw["provenance"]["suites"].get(place[1], {"items": rows})
        ordered = m["interval"][0] <= m["interval"][1] + 1e-9
        scores = all(-1e-9 <= m[side] <= 1 + 1e-9 for side in ("base", "candidate"))
        return within and not warns and counts and m["n"] <= rows <= suite["items"] and ordered and scores
    part = raw
    for key in place[:-1]:
        part = part[key]
    value, key = part[place[-1]], place[-1]
    if "judge_fitness" in place:
        least = {"auroc_low": 0.8, "gap": 0.5, "known_auroc_low": 0.7}
        return value >= least[key] if key in least else 0 <= value <= {"retest_shift": 0.02, "unparseable": 0.01}[key]
    if place[1] == "adapter_effect":
        return bool(part["prompts"]) and part["largest_change"] > max(1e-5, 2 * part["noise"])
    return bool(0 < value <= 1) if key == "p_value" else True


@settings(max_examples=600)
@given(st.sampled_from(PLACES), NUMBERS)
def test_a_changed_number_is_refused_or_carries_the_verdict_as_well(place: tuple[str, ...], value: float) -> None:
    raw = changed(place, value)
    if not problem_of(raw):
        assert carries(raw, place), (place, value)
        named = {"a_a": "change of a control", "positive_control": "change of a control", "judge_fitness": "judge"}
        shown = place[2] if place[0] == "measurements" else named.get(place[1], "effect")
        assert shown in NOT_SHOWN


@settings(max_examples=200)
@given(st.sampled_from(["change", "interval/0", "interval/1", "n", "limit", "level"]), NUMBERS)
def test_a_changed_number_against_the_deployed_model_is_refused_or_carries_the_verdict(key: str, value: float) -> None:
    report = test_deployed.compared()
    assert report.stopping is not None
    report.stopping.of = 4  # so it decided by intervals
    raw = json.loads(report.model_dump_json())
    put(f"measurements/tail/incumbent/{key}", value)(raw)
    part = raw["measurements"]["tail"]["incumbent"]
    if not problem_of(raw):
        assert part["interval"][0] <= part["interval"][1] + 1e-9
        assert part["interval"][1] < part["limit"], (key, value)
        assert part["n"] >= 1
        assert 0.5 <= part["level"] <= 1


@pytest.mark.parametrize("place", PLACES, ids="/".join)
def test_no_number_of_the_verdict_may_be_a_text(place: tuple[str, ...]) -> None:
    assert problem_of(changed(place, "many")) or place[-1] in ("items", "prompts")


TARGET = {"kind": "adapter", "reference": "hf://org/deployed", "digest": "sha256:" + "7c" * 32}


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (
            put("provenance/incumbent", TARGET),
            "target has no comparison with the incumbent, which provenance names",
        ),
        (put("measurements/tail/status", "not_applicable"), "a relative drop is measured where the base has something"),
        (put("measurements/form/status", "not_applicable"), "answers are enough to decide"),
        (put("measurements/target/status", "not_applicable"), "could lose more than the limit allows"),
        (put("measurements/target/interval", [-0.4, -0.3]), "its interval and limits it is block"),
        (
            put("controls/positive_control/tail/status", "pass"),
            "tail: ok is True, and the corrupted base came to 'pass'",
        ),
        (drop("controls/positive_control/tail/status"), "controls.positive_control.tail: ok, and it has no status"),
        (put("controls/positive_control/tail/change", -0.1), "the corrupted base was blocked, and its change is -0.1"),
        (put("controls/a_a/tail/p_value", 0), "controls.a_a.tail: p_value 0: a number above 0"),
        (drop("controls/a_a/tail/p_value"), "controls.a_a.tail: ok, and it has no p_value"),
        (put("controls/a_a/tail/ok", "false"), "controls.a_a.tail: ok is 'false': true, false or null was expected"),
        (put("controls/judge_fitness/forgetting/auroc_low", 0.4), "fit, and auroc_low is 0.4, not above 0.8"),
        (put("controls/judge_fitness/forgetting/gap", None), "fit, and gap is None, not at least 0.5"),
        (put("controls/judge_model", {"ok": True, "names": ["a", "b"]}), "the judge answered under several names"),
        (put("controls/served_models", {"ok": True, "base": ["a", "b"]}), "the base answered under several names"),
        (
            put("checklist/0/ok", False),
            "checklist: 'Limits were fixed before the run' is not met, and every run meets it",
        ),
        (put("provenance/policy_sha256", "f" * 64), "and provenance.policy_sha256 is 'ffffffffffff'"),
        (put("measurements/tail/level", 1.5), "less than or equal to 1"),
        (put("measurements/tail/n", 10), "it has 10 items of the 19 (least_n) that a pass needs"),
        (put("measurements/tail/rows", 100_000), "rows 100000 is more than its suite has"),
        (put("measurements/tail/kind", "target"), "worse 'up', and for target 'down' is worse"),
        (put("measurements/target/base", 1.2), "base 1.2: a score from 0 to 1 was expected"),
        (put("measurements/target/candidate", 0.7), "its change is 0.30384, and from"),
        (put("measurements/tail/cut_short_by", "target"), "cut_short_by 'target', which does not block"),
        (put("stopping", None), "verdict allow, and stopping is missing"),
        (
            put("stopping/rule", "whenever"),
            "stopping.rule 'whenever': one of none, obrien_fleming, pocock was expected",
        ),
        (put("stopping/looks/tail", 9), "stopping.looks.tail is 9, of"),
        (drop("provenance/candidate"), "verdict allow, and provenance.candidate is missing"),
        (put("provenance/candidate/digest", "sha256:1"), "provenance.candidate.digest 'sha256:1'"),
        (put("controls/adapter_effect/prompts", 0), "controls.adapter_effect: no prompt was asked"),
        (put("reasons", []), "verdict allow, and reasons is empty"),
        (put("reasons", ["tail: lost 71.9 % of what the base had"]), "measurements.tail is pass, and reasons name it"),
        (
            put("reasons", ["unusual queries: lost 71.9 % of what the base had"]),
            "measurements.tail is pass, and reasons name it",
        ),
        (put("name", " "), "name is empty"),
        (put("verdict", "block"), "verdict block, and its measurements give allow"),
    ],
)
def test_an_allow_that_contradicts_itself_is_refused(damage: Callable[[dict[str, Any]], None], problem: str) -> None:
    raw = json.loads(json.dumps(CAREFUL))
    damage(raw)
    assert problem in problem_of(raw)


def test_an_interval_without_width_is_refused_where_not_all_items_are_alike() -> None:
    for name, m in CAREFUL["measurements"].items():
        raw = json.loads(json.dumps(CAREFUL))
        raw["measurements"][name]["interval"] = [m["change"]] * 2
        assert "its interval has no width" in problem_of(raw) or m["change"] == 0, name


def test_base_and_candidate_are_two_models() -> None:
    raw = changed(("provenance", "candidate", "digest"), CAREFUL["provenance"]["base"]["digest"])
    assert "base and candidate have one digest" in problem_of(raw)


def test_a_comparison_with_the_deployed_model_follows_from_its_numbers() -> None:
    report = test_deployed.compared()
    assert list(contradictions(report)) == []
    part = report.measurements["forgetting"].incumbent
    assert part is not None
    assert report.stopping is not None
    report.stopping.of = 4  # so it decided by intervals
    part.interval = (-0.01, 0.2)
    assert next(contradictions(report)).endswith(
        "incumbent: status pass, and by its interval and limit it is inconclusive"
    )
    del report.provenance["incumbent"]
    part.interval = (-0.01, 0.03)
    assert "and provenance names no incumbent" in next(contradictions(report))


def test_a_block_does_not_read_as_a_hold() -> None:
    blocked = samples.blocked().model_copy(update={"verdict": "hold"})
    assert list(contradictions(blocked)) == ["verdict hold, and its measurements give block"]


def test_a_report_that_was_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_report(samples.allowed(), path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_report(tmp_path).verdict == "allow"
    path.write_text("{", encoding="utf-16")
    with pytest.raises(ConfigurationError, match=r"report\.json"):
        read_report(tmp_path)
