"""The mutation pass (make mutants): what it changes, and that what it accepts is still there."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from scripts.mutants.__main__ import accepted
from scripts.mutants.groups import GROUPS, all_mutants, drawn
from scripts.mutants.operators import mutants

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("x < 1", ["x < 1 -> x <= 1", "x < 1 -> x >= 1", "1 -> 2"]),
        ("x == y", ["x == y -> x != y"]),
        ("x and y", ["x and y -> x or y", "x and y -> y", "x and y -> x"]),
        ("not x", ["not x -> x"]),
        ("-x", ["-x -> x"]),
        ("x + 0.5", ["x + 0.5 -> x - 0.5", "0.5 -> 1.0"]),
        ("x + 'text'", []),
        ("x[0.0]", ["0.0 -> 1.0"]),
        ("x if y else z", ["x if y else z -> x if not y else z"]),
        ("max(x)", ["max(x) -> min(x)"]),
        ("abs(x)", ["abs(x) -> x"]),
        ("x.get('a')", ["'a' -> 'a~'"]),
        ("print('words')", []),
        ("fail(hint=1)", []),
        ("[x for x in y if x]", ["x -> True"]),
        ("('a', 'b')", ["('a', 'b') -> ('b',)", "('a', 'b') -> ('a',)"]),
        ("re.compile('ab')", ["re.compile('ab') -> re.compile('b')", "re.compile('ab') -> re.compile('a')"]),
    ],
)
def test_what_an_expression_becomes(code: str, changes: list[str]) -> None:
    assert [mutant.change for mutant in mutants(ast.parse(f"z = {code}"))] == changes


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("if x:\n  y", ["if x -> if False", "if x -> if True"]),
        ("call()", ["call() -> pass"]),
        ("x.y = z", ["x.y = z -> pass"]),
        ("x = z", []),
        ("x += y", ["x += y -> pass"]),
        ("raise E(1)", ["raise E(1) -> pass"]),
        ("while x:\n  break", ["break -> continue"]),
        ("def f(x: int = True) -> int:\n  'words'\n  return x", ["True -> False", "return x -> return None"]),
    ],
)
def test_what_a_statement_becomes(code: str, changes: list[str]) -> None:
    assert [mutant.change for mutant in mutants(ast.parse(code))] == changes


def test_a_mutant_has_one_change_and_leaves_the_tree_as_it_was() -> None:
    tree = ast.parse("class C:\n  def f(self):\n    return x < 1 and y")
    before = ast.unparse(tree)
    sources = [mutant.source(tree) for mutant in mutants(tree)]
    assert ast.unparse(tree) == before
    assert len(set(sources)) == len(sources) == 6
    assert {mutant.scope for mutant in mutants(tree)} == {"C.f"}


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_every_group_has_modules_and_tests(group) -> None:
    assert all(list(ROOT.glob(pattern)) for pattern in (*group.patterns, *group.tests))
    tests = group.tests_for(group.files(ROOT)[0], ROOT)
    assert len(set(tests)) == len(tests)
    assert all((ROOT / test).is_file() for test in tests)


def test_the_same_seed_draws_the_same_mutants() -> None:
    first, again, other = ([m.key for m in drawn(GROUPS[0], ROOT, 20, seed)] for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 20


def test_what_is_accepted_is_still_there() -> None:
    """Otherwise its reason speaks of other code."""
    paths = {key.partition(":")[0] for key in accepted()}
    there = {m.key for group in GROUPS for m in all_mutants(group, ROOT, paths)}
    assert set(accepted()) <= there
