"""Mathematical expressions that are equal, by math-verify."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftgate.domain import Answer, Item, Message
from ftgate.errors import ConfigurationError
from ftgate.scoring.mathematics import is_expression, require_math_verify, same_value
from ftgate.scoring.rules import RULES, version_of
from ftgate.scoring.text import UnscorableError


@pytest.mark.parametrize(
    ("reference", "answer", "same"),
    [
        ("3/4", "\\boxed{0.75}", True),
        ("\\frac{\\pi}{4}", "So the answer is $\\pi/4$.", True),
        ("x^2+2x+1", "$(x+1)^2$", True),
        ("2\\sqrt{3}", "\\boxed{\\sqrt{12}}", True),
        ("[0,1)", "$[0, 1)$", True),
        ("1{,}250", "\\boxed{1,250}", True),
        ("５", "$5$", True),
        ("3/4", "\\boxed{4}", False),
        ("5", "no number", False),
        ("5", "\\boxed{4} wait, \\boxed{5}", True),
        ("4", "\\boxed{4} wait, \\boxed{5}", False),
        ("0.5", "50\\%", True),
        ("1.5e3", "\\boxed{1500}", True),
        ("2e-3", "\\boxed{2e - 3}", True),
        ("x^2", "$x²$", True),
        ("\\text{Evelyn}", "Evelyn", True),
        ("\\text{Evelyn}", "It is \\boxed{\\text{Evelyn}}.", True),
        ("\\text{Evelyn}", "The answer is **Evelyn**.", True),
        ("\\text{Evelyn}", "Evelyn or Bob", False),
        ("\\text{even}", "\\boxed{\\text{odd}}", False),
        ("A", "The answer is (A).", True),
        ("A", "The answer is (B).", False),
        ("\\$5", "\\boxed{5}", True),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\boxed{\\begin{pmatrix}1\\\\2\\end{pmatrix}}", True),
    ],
)
def test_equal_expressions_are_right(reference: str, answer: str, same: bool) -> None:
    assert same_value(reference, answer) is same


def test_a_cut_answer_is_a_step_on_the_way() -> None:
    item = Item("i", (Message("user", "q"),), answer="5")
    assert RULES["math"](item, Answer("$5$")) == 1
    assert RULES["math"](item, Answer("$5$", finish="length")) == 0


def test_a_reference_that_is_no_expression_is_told() -> None:
    assert is_expression("\\frac{1}{2}")
    assert not is_expression("")
    with pytest.raises(UnscorableError, match="reads no expression"):
        same_value("", "5")


@pytest.mark.parametrize("reference", ["north", "blue whale", "yes", "Nobody knows.", "no idea", "二十一人"])
def test_words_alone_are_no_expression(reference: str) -> None:
    assert not is_expression(reference)


@pytest.mark.parametrize(
    "reference",
    ["x", "xy", "pi", "sin x", "\\text{even}", "5 meters", "２", "x = a or x = b", "speed = way / time", "(a, b)"],
)
def test_expressions_may_hold_letters_and_units(reference: str) -> None:
    assert is_expression(reference)


def test_it_works_outside_the_main_thread() -> None:
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(same_value("1/2", "$0.5$")))
    thread.start()
    thread.join(20)
    assert results == [True]


@settings(max_examples=25, deadline=None)
@given(st.text(st.sampled_from("0123x^{}\\frac$+-/ ()"), max_size=20))
def test_any_answer_is_right_or_wrong(text: str) -> None:
    assert isinstance(same_value("2", text), bool)


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    require_math_verify()
    assert version_of("math").startswith("math-verify ")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="not installed") as error:
        require_math_verify()
    assert "finetune-gate[math]" in str(error.value.hint)


def test_words_with_the_same_letters_are_not_the_same() -> None:
    assert not same_value(r"\text{north}", r"\boxed{\text{thorn}}")
    assert same_value(r"\text{north}", r"\boxed{\text{North}}")
