"""Rules that rows carry: right answers in many forms, wrong ones that look alike, and rules that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.datasets import Needs, read_suite
from ftgate.measurements.base import BuiltinScorer
from ftgate.scoring.checks import KINDS, check_problem, meets
from ftgate.scoring.constraints import COUNTS, FORMS
from ftgate.scoring.json_values import MISSING, json_value
from ftgate.scoring.numbers import last_number
from ftgate.scoring.text import UnscorableError, search

BLANK = {"constraints": {"words": 0}}
SCHEMA = {
    "type": "object",
    "properties": {"city": {"const": "Oslo"}, "rooms": {"type": "integer", "minimum": 1}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        ({"numeric": 42}, ["42", "It is 42.", "6 * 7 = **42**", "$42", "42.0"], ["", "41", "42, or perhaps 43", "-42"]),
        ({"numeric": 1234.5}, ["1,234.50 euros", "1234.5"], ["1.234", "1,234.51"]),
        ({"numeric": -7}, ["x = -7", "−7"], ["3-7", "7"]),
        ({"numeric": 3.14, "tolerance": 0.01}, ["3.15", "3.13"], ["3.2"]),
        ({"exact": "Paris"}, ["paris.", " PARIS "], ["Paris, France", ""]),
        ({"exact": ["yes", "yep"]}, ["Yes!", "yep"], ["no"]),
        ({"contains": "red fox"}, ["The red\nfox ran."], ["redfox", "the foxy red fox-trot"[:12]]),
        (
            {"contains": "5"},
            ["5.", "It is 5, not 6", "3-5", "+5", "**5**", "(5)", "...5", "= 5\n", "about 5.", "- 5"],
            ["1.5", "-5", "−5", "It is (-5).", "5.1", "5,000", "1,5", "it is .5", ".5", "15", "5th"],
        ),
        ({"contains": "3"}, ["3"], ["3.14"]),
        ({"contains": "3"}, ["3 / 4 = x", "on 3/4/2020", "3: x", "3-4"], ["3/4", "1/3", "3:30", "x^3", "3^2"]),
        ({"contains": "2020"}, ["12/05/2020", "2020/21", "in 2020"], ["2020:30", "20201"]),
        ({"contains": "1/2"}, ["½ cup", "1/2 cup"], ["11/2", "1/20"]),
        ({"contains": "1000"}, ["1,000 people", "1000"], ["1,000,000", "11,000", "1.000,5"]),
        ({"contains": "1,000 people"}, ["1000 people", "1,000 people"], ["1 people"]),
        ({"contains": "15"}, ["١٥", "१५ kg"], ["١٥٠"]),
        ({"contains": "__init__"}, ["the `__init__` method"], ["the init method"]),
        ({"contains": ".5"}, [".5", "it is .5"], ["0.5", "5", "1.5"]),
        ({"contains": "7 days"}, ["in 7 days"], ["in 2.7 days"]),
        ({"exact": "5"}, ["5.", "...5", '"5"'], [".5", "-5", "5.0"]),
        ({"exact": ".5"}, [".5", "'.5'", ".5."], ["5", "0.5"]),
        ({"constraints": {"ordered": ["1", "2"]}}, ["1, 2", "1 < 2"], ["1.5, 2", "1, 2.5"]),
        ({"contains_all": ["oak", ["ash", "elm"]]}, ["elm and oak"], ["oak", "elm and ash"]),
        ({"regex": r"^def \w+\("}, ["def f(x):"], ["x = 1"]),
        ({"json_schema": SCHEMA}, ['```json\n{"city": "Oslo", "rooms": 2}\n```', '{"city": "Oslo"}'], ["Oslo", "{}"]),
        ({"json_schema": {"type": "integer"}}, [" 7 "], ["seven", "7.5"]),
        ({"json_schema": {"items": {"pattern": "^a+$"}}}, ['["a", 1, "aa"]'], ['["ab"]']),
        ({"constraints": {"words": [2, 3]}}, ["two words", "a - b c"], ["one", "one two three four"]),
        ({"constraints": {"words": 6}}, ["今天天气很好", "今天 very 很好 x"], ["今天天气好"]),
        ({"constraints": {"without_characters": ","}}, ["好"], ["好，好"]),
        ({"constraints": {"sentences": 2}}, ["It is 2.5. Good!"], ["Only one.", "A. B. C."]),
        ({"constraints": {"lines": 2}}, ["a\n\nb"], ["a"]),
        ({"constraints": {"paragraphs": 2}}, ["a\nb\n\nc"], ["a\nb"]),
        ({"constraints": {"bullets": 3}}, ["- a\n* b\n• c"], ["- a\n- b", "-a\n-b\n-c"]),
        ({"constraints": {"numbered": [2, None]}}, ["1. a\n2) b"], ["1. a"]),
        ({"constraints": {"characters": [None, 3]}}, [" abc "], ["abcd"]),
        ({"constraints": {"case": "lower"}}, ["abc 1"], ["Abc", "123"]),
        ({"constraints": {"case": "upper"}}, ["ABC 1"], ["ABc", ""]),
        ({"constraints": {"starts_with": "Dear", "ends_with": "!"}}, ["Dear me!\n"], ["dear me!", "Dear me"]),
        (
            {"constraints": {"starts_with": "Dear"}},
            ["**Dear** Bob", "# Dear"],
            ["My dear", "**dear** Bob", "“Dear Bob”"],
        ),
        (
            {"constraints": {"ends_with": "Regards"}},
            ["x **Regards**", "x\n*Regards*\n"],
            ["x Regards, Bob", "x\nRegards."],
        ),
        ({"constraints": {"ends_with": "Bye."}}, ["x **Bye.**", "Bye.\n"], ["Bye", "Bye!"]),
        (
            {"constraints": {"json": True}},
            ["{}", " [1]\n", "```json\n{}\n```", "3"],
            ["a {}", "{} b", "[1] a", "{NaN}", ""],
        ),
        ({"constraints": {"json": False}}, ["a {}"], ["{}"]),
        ({"constraints": {"words": 2}}, ["```python\nhello world\n```"], ["``` python hello world"]),
        ({"constraints": {"characters": 1}}, ["👩‍👩‍👧", "e\u0301", "é", "🇳🇴"], ["ab"]),
        ({"constraints": {"case": "upper"}}, ["ABC 東京"], ["東京", "5"]),
        ({"constraints": {"case": "lower"}}, ["abc 東京"], ["東京"]),
        ({"constraints": {"includes": ["tea", "milk"]}}, ["Milk in tea"], ["teapot, milk"]),
        ({"constraints": {"excludes": ["very"], "words": [1, None]}}, ["every day"], ["very good", ""]),
        ({"constraints": {"without_characters": ",e"}}, ["a dog"], ["one", "a, b", ""]),
        ({"constraints": {"ordered": ["one", "two"]}}, ["one, then two"], ["two, then one", "one"]),
        ({"constraints": {"only_lines": r"\d+: \w+"}}, ["1: a\n\n2: b"], ["1: a\nb", ""]),
        (
            {"constraints": {"patterns": [r"^oslo\b", "is (?:cold|not warm)"], "without_patterns": ["isn't"]}},
            ["**Oslo** is\u00a0cold", "In Norway:\nOSLO is *not* warm"],
            ["Oslo", "It is cold", "Oslo is cold, it isn’t warm", ""],
        ),
        ({"constraints": {"without_patterns": ["rain"]}}, ["sun"], ["rain", ""]),
        ({"constraints": {"each_line": {"words": [1, 2]}}}, ["a b\n\nc"], ["a b c\nd", ""]),
        (
            {"constraints": {"each_paragraph": {"sentences": [1, 2]}, "paragraphs": 2}},
            ["Ann. Ben.\n\nMrs. Cole is here. She went."],
            ["Ann. Ben. Cole.\n\nDee.", "Ann.\n\nBen.\n\nCole."],
        ),
    ],
)
def test_right_and_wrong(check: dict[str, Any], right: list[str], wrong: list[str]) -> None:
    assert check_problem(check) is None
    assert [text for text in right if not meets(check, text)] == []
    assert [text for text in wrong if meets(check, text)] == []


@pytest.mark.parametrize(
    ("check", "named"),
    [
        ([], "must be an object"),
        ({}, "no kind: give one of numeric"),
        ({"number": 1}, "unknown kind 'number'"),
        ({"numeric": 1, "exact": "a"}, "2 kinds at once"),
        ({"numeric": "1"}, "numeric must be a number, found '1'"),
        ({"numeric": True}, "must be a number"),
        ({"numeric": float("inf")}, "must be a number"),
        ({"numeric": 10**400}, "must be a number"),
        ({"numeric": 1, "tolerance": -1}, "tolerance must be a number of at least 0"),
        ({"exact": "a", "tolerance": 1}, "tolerance works with numeric only"),
        ({"exact": ""}, "exact must be a text"),
        ({"contains": []}, "must be a text or a list of texts"),
        ({"contains_all": "a"}, "must be a list of texts"),
        ({"contains_all": ["a", []]}, "must be a text or a list of texts"),
        ({"regex": "("}, "is not a valid pattern"),
        ({"json_schema": {"type": "thing"}}, "is not a valid JSON Schema"),
        ({"json_schema": {"items": {"$ref": "http://a/b"}}}, "only refer to itself"),
        ({"json_schema": {"items": {"patternProperties": {"a": {}}}}}, "must not use patternProperties"),
        ({"json_schema": {"items": {"pattern": "("}}}, "contains a pattern that is not a valid pattern"),
        ({"constraints": {}}, "must be an object"),
        ({"constraints": {"length": 3}}, "unknown rule 'length'"),
        ({"constraints": {"words": [5, 2]}}, "rule words must be"),
        ({"constraints": {"words": [None, None]}}, "rule words must be"),
        ({"constraints": {"case": "title"}}, "must be lower or upper"),
        ({"constraints": {"includes": ["."]}}, "must be a list of words"),
        ({"constraints": {"only_lines": "["}}, "is not a valid pattern"),
        ({"constraints": {"only_lines": 5}}, "must be a pattern"),
        ({"constraints": {"json": 1}}, "rule json must be true or false"),
        ({"constraints": {"starts_with": 3}}, "must be a text"),
        ({"constraints": {"patterns": "a"}}, "rule patterns must be a list of patterns"),
        ({"constraints": {"without_patterns": ["a", "("]}}, "rule without_patterns is not a valid pattern"),
        ({"constraints": {"each_line": {"length": 3}}}, "rule each_line has an unknown rule 'length'"),
    ],
)
def test_what_is_no_rule_is_named(check: object, named: str) -> None:
    problem = check_problem(check)
    assert problem is not None
    assert named in problem


def test_a_pattern_that_explodes_is_no_verdict() -> None:
    with pytest.raises(UnscorableError, match="took over 1 s"):
        search(r"^(a|aa|aaa|a*)*\d$(?<!b)\1", "a" * 40_000)


def test_a_pattern_in_a_schema_that_explodes_is_no_verdict() -> None:
    with pytest.raises(UnscorableError, match="took over 1 s"):
        meets({"json_schema": {"items": {"pattern": "(a|aa)+$"}}}, json.dumps(["a" * 60 + "b"]))


def test_json_is_not_looked_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftgate.scoring.json_values.MAX_JSON_CHARACTERS", 1000)
    assert json_value("[1, x " * 20 + '{"a": 1}') == {"a": 1}
    assert json_value("[1, x " * 400 + '{"a": 1}') is MISSING
    assert json_value('["' + "x" * 2000 + " {}") is MISSING
    assert json_value("[" * 900 + "1, " * 1000 + "{}") is MISSING


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('Sure [here it is]: {"a": [1, 2]} done', {"a": [1, 2]}),
        ("no json { here [", MISSING),
        ("[" * 100_000, MISSING),
        ('[1] first note\n```json\n{"a":1}\n```', {"a": 1}),
        ('In [2] tries: {"city":"Oslo"}', {"city": "Oslo"}),
        ("See [1], which says {}", {}),
        ("Step 1: [1]", [1]),
        ('{"a": 1, "b": "as in"}\n```\n[2]\n```', [2]),
        ('```json\n{"a": 1}\n```\nNo:\n```json\n{"a": 2}\n```', {"a": 2}),
        ('```python\nprint(1)\n```\n{"a": 1}', {"a": 1}),
        ('{"a": NaN}', MISSING),
        ('{"a": NaN, "b": {"c": 1}}', MISSING),
        ('{"a": NaN} or {"a": 1}', {"a": 1}),
        ('{"town": 1} or {"city": 2}', {"town": 1}),
    ],
)
def test_the_json_of_an_answer_is_found_wherever_it_stands(text: str, value: object) -> None:
    assert json_value(text) == value


JSON = st.recursive(st.none() | st.booleans() | st.integers(), lambda c: st.lists(c) | st.dictionaries(st.text(), c))


@given(st.dictionaries(st.text(), JSON, min_size=1), st.sampled_from(["{}", "Here [1]: {}", "```json\n{}\n```\n[2]"]))
def test_any_object_is_found_beside_footnotes(value: dict[str, object], frame: str) -> None:
    assert json_value(frame.replace("{}", json.dumps(value))) == value


CHECKS = st.sampled_from(
    [
        {"numeric": 42},
        {"exact": ["a", "b"]},
        {"contains": "a"},
        {"contains_all": ["a", ["b", "c"]]},
        {"regex": r"\d+\s*$"},
        {"json_schema": SCHEMA},
        {"constraints": {**{name: [0, 3] for name in COUNTS}, "case": "lower", "ordered": ["a"], "excludes": ["b"]}},
    ]
)


@given(CHECKS, st.text(max_size=200))
def test_any_text_is_right_or_wrong(check: dict[str, Any], text: str) -> None:
    assert isinstance(meets(check, text), bool)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_anything_is_a_rule_or_is_named(argument: object) -> None:
    for kind in KINDS:
        problem = check_problem({kind: argument})
        assert problem is None or problem.startswith(kind)
        if problem is None:
            assert isinstance(meets({kind: argument}, "42"), bool)  # type: ignore[dict-item]


@given(st.integers(-(10**12), 10**12), st.text(st.characters(categories=["L", "Zs"]), max_size=20))
def test_the_last_number_is_read_as_it_is_usually_written(value: int, before: str) -> None:
    assert last_number(f"{before} is {value:,}.") == value
    assert last_number(f"3 {before} {value}") == value


def test_an_empty_answer_meets_no_check_but_one_for_nothing() -> None:
    assert meets(BLANK, "")
    assert not meets({"contains": "a"}, "")


def test_the_examples_of_the_documentation_are_rows_and_every_kind_is_there(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "suites.md").read_text(encoding="utf-8")
    rows = text.split("```jsonl\n")[1].split("```")[0]
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    suite = read_suite("docs", tmp_path / "rows.jsonl", needs=Needs(check=True))
    assert {kind for item in suite.items for kind in item.check or {}} - {"tolerance"} == set(KINDS)
    table = text.split("## Checks")[1]
    for name in [*KINDS, *COUNTS, *FORMS]:
        assert f"`{name}`" in table, name
    for name in get_args(BuiltinScorer):
        assert f"| `{name}` |" in text, name
