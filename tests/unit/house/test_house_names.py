"""Names: one class name means one thing, and a local variable is called what it holds."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted((ROOT / "ftgate").rglob("*.py"))

# Class names that stand in two modules, each with the reason why neither should have another name.
SHARED_CLASS_NAMES: dict[str, str] = {
    "Message": "one turn of a conversation, and _Message, the same in the reply of an OpenAI-compatible server",
}

VAGUE = frozenset({"found", "known", "said", "made", "told"})
"""Names that say how a value came about, not what it is."""


def relative(path: Path) -> str:
    return path.relative_to(ROOT / "ftgate").as_posix()


def modules_by_class() -> dict[str, set[str]]:
    """The modules that define each class; a leading underscore makes no other name."""
    modules: dict[str, set[str]] = defaultdict(set)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                modules[node.name.lstrip("_")].add(relative(path))
    return modules


def bound_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that a module binds, with its line: variables, parameters, and functions without underscores."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name.lstrip("_"), node.lineno
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs) and node.name:
            yield node.name, node.lineno


def vague_names(source: str) -> list[tuple[str, int]]:
    return [(name, line) for name, line in bound_names(ast.parse(source)) if name in VAGUE]


def test_no_class_name_stands_in_two_modules() -> None:
    shared = {name: sorted(where) for name, where in modules_by_class().items() if len(where) > 1}
    assert not {name: where for name, where in shared.items() if name not in SHARED_CLASS_NAMES}


def test_every_shared_class_name_is_still_shared() -> None:
    modules = modules_by_class()
    assert not [name for name in SHARED_CLASS_NAMES if len(modules[name]) < 2]


def test_names_say_what_a_value_is() -> None:
    # In stats/ a function computes one thing, and `found` is that thing.
    paths = [path for path in SOURCES if not relative(path).startswith("stats/")]
    vague = [f"{relative(path)}:{line} {name}" for path in paths for name, line in vague_names(path.read_text("utf-8"))]
    assert not vague


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "for known in (): pass",
        "[said for said in ()]",
        "def f(made): pass",
        "lambda told: told",
        "def _said(): pass",
        "if (found := 1): pass",
        "with open('x') as known: pass",
        "try: pass\nexcept ValueError as told: pass",
    ],
)
def test_a_vague_name_is_noticed_wherever_it_is_bound(source: str) -> None:
    assert vague_names(source)


def test_attributes_and_calls_of_others_are_no_concern() -> None:
    assert not vague_names("self.known = scores.known\nproblems.found.append(f(found=1))")
