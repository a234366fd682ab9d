"""The house rules that no linter of ours knows: short files, short functions, docstrings, one clean direction."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = sorted((ROOT / "ftgate").rglob("*.py"))

LONGEST_FILE = 400
LONGEST_FUNCTION = 40

# Exceptions are written "path" or "path:function", each with the reason why splitting it would read worse.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}

INFERENCE = {"vllm", "torch", "transformers", "peft", "openai"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(parsed(path)) if isinstance(node, Function))


def code_lines(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function, clean=False) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def top_level_imports(path: Path) -> set[str]:
    """The top-level packages that a file imports anywhere, relative imports left out."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module)
    return names


MOST_LOOSE_MODULES = 8
"""Modules directly under the package: what every room shares, and no more."""


def test_every_module_has_a_room() -> None:
    loose = [path.name for path in SOURCES if path.parent == ROOT / "ftgate"]
    assert len(loose) <= MOST_LOOSE_MODULES, loose


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 10


def test_a_functions_docstring_is_not_counted() -> None:
    function = ast.parse('def f():\n    """One.\n\n    Two.\n    """\n    return 1\n').body[0]
    assert isinstance(function, Function)
    assert code_lines(function) == 2


def test_files_stay_short() -> None:
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    long = {name: n for name, n in lengths.items() if n > LONGEST_FILE and name not in LONG_FILES}
    assert not long, f"over {LONGEST_FILE} lines: {long}"


def test_functions_stay_short() -> None:
    lengths = {f"{relative(path)}:{f.name}": code_lines(f) for path in SOURCES for f in functions(path)}
    long = {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION and name not in LONG_FUNCTIONS}
    assert not long, f"over {LONGEST_FUNCTION} lines, docstring aside: {long}"


def test_every_exception_is_still_needed() -> None:
    files = {relative(path) for path in SOURCES if len(path.read_text().splitlines()) > LONGEST_FILE}
    longer = {f"{relative(p)}:{f.name}" for p in SOURCES for f in functions(p) if code_lines(f) > LONGEST_FUNCTION}
    assert set(LONG_FILES) <= files
    assert set(LONG_FUNCTIONS) <= longer


def test_public_functions_and_classes_are_documented() -> None:
    missing = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in parsed(path).body
        if isinstance(node, Function | ast.ClassDef)
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
    ]
    assert not missing


def test_every_module_says_what_it_is() -> None:
    assert not [relative(path) for path in SOURCES if path.read_text().strip() and not ast.get_docstring(parsed(path))]


def test_statistics_import_numpy_and_the_standard_library_alone() -> None:
    allowed = {*sys.stdlib_module_names, "numpy"}
    foreign = {
        f"{relative(path)}: {name}"
        for path in SOURCES
        if path.is_relative_to(ROOT / "ftgate" / "stats")
        for name in top_level_imports(path)
        if name.split(".")[0] not in allowed and not name.startswith("ftgate.stats")
    }
    assert not foreign


def loaded_by(statement: str) -> set[str]:
    """The top-level packages in memory after a fresh interpreter ran ``statement``."""
    code = f"{statement}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_else() -> None:
    foreign = loaded_by("import ftgate") - loaded_by("pass") - sys.stdlib_module_names
    assert foreign == {"ftgate"}


@pytest.mark.parametrize("module", ["ftgate.cli.main", "ftgate.gate.flow"])
def test_the_inference_libraries_load_only_when_an_engine_starts(module: str) -> None:
    assert not loaded_by(f"import {module}") & INFERENCE
