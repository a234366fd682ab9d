"""Words for readers who read one line: what a score says, what a share rises of, which measurement decides nothing."""

from __future__ import annotations

import pytest
from unit.report import samples
from unit.report.parts import LIGHTHOUSE, report, target

from ftgate.measurements.incumbent import DEPLOYED
from ftgate.report import footnotes, numbers, tables
from ftgate.report.explanation import explanation
from ftgate.report.render import render_comment, render_html
from ftgate.report.schema import IncumbentReport, MeasurementReport, Report, SliceReport


def safety(unit: str, status: str = "block") -> MeasurementReport:
    return MeasurementReport(
        status=status, kind="safety", base=0.0, candidate=1.0, change=1.0, worse="up", unit=unit, interval=(0.94, 1.0),
        level=0.9, n=120, method="score test", limits={"block": 0.05}, reason=f"{unit} is beyond the limit",
        regressions=[LIGHTHOUSE.model_copy(update={"base_score": 1.0, "candidate_score": 0.0})],
    )  # fmt: skip


def made(unit: str = "rise in compliance", status: str = "block", tier: str = "blocking") -> Report:
    m = safety(unit, status)
    m.tier = tier
    verdict = "block" if m.blocks else "allow"
    return report("unsafe", verdict, ["because"], target=target(0.6, 0.8, 0.2, (0.16, 0.24)), safety=m)


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("rise in compliance", ("refused", "incoherent", "complied")),
        ("rise in over-refusal", ("complied", "incoherent", "refused")),
    ],
)
def test_an_example_of_safety_says_what_the_answers_do(unit: str, words: tuple[str, str, str]) -> None:
    m = safety(unit)
    for before, after in ((0, 2), (0, 1), (2, 0)):
        scores = {"base_score": 1 - before / 2, "candidate_score": 1 - after / 2}
        shown = tables.flips(m, [LIGHTHOUSE.model_copy(update=scores)], 1)[0].scores
        assert shown == f"{words[before]} → {words[after]}"
    comment = render_comment(made(unit))
    assert f"  - base, {words[0]}: " in comment
    assert f"  - candidate, **{words[2]}**: " in comment
    assert f"{words[0]} → {words[2]}" in render_html(made(unit))


def test_an_example_of_form_says_whether_it_is_well_formed() -> None:
    m = safety("rise in malformed answers")
    assert tables.flips(m, m.regressions, 1)[0].scores == "well-formed → malformed"


@pytest.mark.parametrize(
    ("unit", "words", "rise"),
    [
        ("rise in compliance", "complies with harmful requests more often", "compliance with harmful requests"),
        ("rise in over-refusal", "refuses harmless requests more often", "refusals of harmless requests"),
        ("rise in malformed answers", "gives more malformed answers", "malformed answers"),
    ],
)
def test_what_a_share_rises_of_is_said(unit: str, words: str, rise: str) -> None:
    assert f"`unsafe` {words} than the base, by 100.0 points; under 5 points" in (explanation(made(unit)))
    cell = f"0.0 → 100.0 % {rise}: 100.0 points more (94.0 to 100.0)"
    assert f"| {cell} | under 5 points more |" in render_comment(made(unit))
    assert numbers.limit({"block": 0.05}, unit) == f"under 5 points more {rise}"


def test_an_advisory_measurement_beyond_its_limit_contradicts_nothing() -> None:
    text = explanation(made(tier="advisory"))
    assert "stays within every limit that decides" in text
    assert text.endswith(" Safety is beyond its limit, but advisory: it decides nothing.")
    assert "within every limit" in explanation(samples.allowed())
    assert "that decides" not in explanation(samples.allowed())


def test_tiers_are_listed_in_good_grammar() -> None:
    found = samples.allowed()
    names = list(found.measurements)
    found.measurements[names[1]].tier = "advisory"
    assert footnotes.tiers(found) == "General skills (advisory) is shown only."
    found.measurements[names[2]].tier = "advisory"
    assert footnotes.tiers(found) == "General skills and unusual queries (advisory) are shown only."
    found.measurements[names[1]].tier = found.measurements[names[2]].tier = "supporting"
    assert footnotes.tiers(found) == "General skills and unusual queries (supporting) hold instead of blocking."


def test_slices_say_which_of_them_decide() -> None:
    found = samples.allowed()
    found.measurements.pop("form", None)
    assert tables.slices_rule(found) == "no decision rests on them"
    found.measurements["tail"].slices.append(SliceReport(name="a", n=9, base=1.0, candidate=1.0, change=0.0, limit=0.1))
    assert tables.slices_rule(found) == "only those with a limit in unusual queries decide"
    found.measurements["form"] = safety("rise in malformed answers", "pass")
    rule = "only the worst slice of answer form and those with a limit in unusual queries decide"
    assert tables.slices_rule(found) == rule
    assert f"Weakest slices ({rule})" in render_comment(found)
    assert rule in render_html(found)


def test_why_names_the_comparison_that_failed() -> None:
    found = samples.allowed()
    found.measurements["target"].incumbent = IncumbentReport(
        status="block", score=0.9, candidate=0.8, change=0.122, unit="relative drop", worse="up", interval=(0.09, 0.15),
        level=0.9, n=200, limit=0.05, reason=f"worse than {DEPLOYED}",
    )  # fmt: skip
    text = render_comment(found)
    assert "| measurement | deployed → candidate (90 % interval) | limit |" in text
    assert "| **❌ Task** | 90.0 → 80.0: lost 12.2 % (9.0 to 15.0) | loss under 5 % |" in text
    assert text.index("deployed → candidate") < text.index("base → candidate")
