"""IFEval's instructions as checks: the same answers follow them as by the rules of the paper's own code."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.datasets.shapes.ifeval import rule_of
from ftgate.scoring.checks import check_problem, meets


def follows(instruction: str, answer: str, **arguments: Any) -> bool:
    check, inexpressible = rule_of([instruction], [arguments])
    assert check is not None, inexpressible
    assert check_problem(check) is None
    return meets(check, answer)


@pytest.mark.parametrize(
    ("instruction", "arguments", "followed", "not_followed"),
    [
        (
            "detectable_format:number_highlighted_sections",
            {"num_highlights": 2},
            ["**a** and **b**", "*a* *b*", "*a* and **b**", "**a**\n**b**", "3 * 4 * 5 * 6 * 7"],
            ["**a** and nothing", "**a b** c **d", "* one\n* two\n* three", "**** ** **"],
        ),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 3}, ["*a* *b* *c*"], ["**a** and **b**"]),
        (
            "detectable_format:json_format",
            {},
            ['{"a": 1}', "```json\n[1]\n```"],
            ["Sure! [1] is it", '{"a":1}\nHope this helps', 'Here you go: {"a": 1}', ""],
        ),
        ("punctuation:no_comma", {}, ["a，b", "ab"], ["a, b", "", " "]),
        (
            "detectable_content:postscript",
            {"postscript_marker": "P.S."},
            ["x P.S. hi", "x\n\n**p. s.** hi"],
            ["PS: hi"],
        ),
        ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["x P.P.S hi", "p. p. s."], ["P.S. hi"]),
        ("detectable_format:title", {}, ["<<t>>\nx", "<< a b >>"], ["<< >>", "<<<>>>", "<t>"]),
        (
            "detectable_format:number_bullet_lists",
            {"num_bullets": 2},
            ["* a\n* b", "- a\n  - b", "x\n\n* a\n- b\ny"],
            ["• a\n• b", "* a", "* a\n* b\n* c", "**a**\n**b**"],
        ),
        ("startend:quotation", {}, ['"x"', ' "a\n\nb" '], ["“x”", '"x', "'x'"]),
    ],
)
def test_instructions_are_followed_as_the_paper_counts(
    instruction: str, arguments: dict[str, Any], followed: list[str], not_followed: list[str]
) -> None:
    assert [answer for answer in followed if not follows(instruction, answer, **arguments)] == []
    assert [answer for answer in not_followed if follows(instruction, answer, **arguments)] == []


@given(st.text(st.sampled_from("ab* \n"), max_size=30), st.integers(0, 4))
def test_highlights_are_counted_between_single_and_between_double_asterisks(answer: str, count: int) -> None:
    single = [part for part in re.findall(r"\*([^\n*]*)\*", answer) if part.strip()]
    double = [part for part in re.findall(r"\*\*([^\n*]*)\*\*", answer) if part.strip()]
    found = follows("detectable_format:number_highlighted_sections", answer, num_highlights=count)
    assert found is (len(single) + len(double) >= count)


def test_json_can_be_asked_for_beside_other_instructions() -> None:
    check, _ = rule_of(["detectable_format:json_format", "punctuation:no_comma"], [{}, {}])
    assert check is not None
    assert meets(check, '{"a": 1}')
    assert not meets(check, json.dumps({"a": 1, "b": 2}))
    assert not meets(check, "no commas")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["*a ", "**a ", "*", "* ", "a\n", "- a\n"])
def test_long_answers_take_no_long_time(part: str) -> None:
    for instruction, argument in (
        ("number_highlighted_sections", "num_highlights"),
        ("number_bullet_lists", "num_bullets"),
    ):
        assert isinstance(follows(f"detectable_format:{instruction}", part * 5000, **{argument: 4}), bool)
