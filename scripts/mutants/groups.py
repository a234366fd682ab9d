"""Which modules are mutated, and which tests may notice."""

from __future__ import annotations

import ast
import hashlib
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.mutants.operators import Mutant, mutants


@dataclass(frozen=True, slots=True)
class Group:
    """Modules that are judged together, by the patterns of their paths, and the tests that may notice."""

    name: str
    patterns: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self, root: Path) -> list[str]:
        """The paths of the modules, relative to ``root``."""
        return sorted(path.relative_to(root).as_posix() for pattern in self.patterns for path in root.glob(pattern))

    def tests_for(self, path: str, root: Path) -> list[str]:
        """The group's test files; first those that are named for the module."""
        files = [f for test in self.tests for f in (sorted((root / test).glob("test_*.py")) or [root / test])]
        return [f.relative_to(root).as_posix() for f in sorted(files, key=lambda f: Path(path).stem not in f.stem)]


GROUPS = (
    Group("verdict", ("ftgate/verdict.py",), ("tests/unit/test_verdict.py",)),
    Group(
        "controls",
        ("ftgate/gate/controls.py", "ftgate/gate/adapter_effect.py", "ftgate/measurements/corruption.py"),
        ("tests/unit/gate",),
    ),
    Group(
        "reports on GitHub",
        (
            "ftgate/github/verify_report.py",
            "ftgate/github/match_reports.py",
            "ftgate/github/suite_check.py",
            "ftgate/jobs/report_checks.py",
            "ftgate/report/recomputed.py",
            "ftgate/report/plausible.py",
        ),
        (
            "tests/unit/github/test_verify_report.py",
            "tests/unit/jobs/test_checked_report.py",
            "tests/unit/github/test_match_reports.py",
            "tests/unit/github/test_suite_check.py",
            "tests/unit/report/test_contradictions.py",
            "tests/integration/github/test_publish.py",
        ),
    ),
    Group(
        "safety of artifacts",
        (
            "ftgate/artifacts/archive.py",
            "ftgate/artifacts/allow.py",
            "ftgate/artifacts/file_names.py",
            "ftgate/artifacts/refused_names.py",
            "ftgate/artifacts/snapshot.py",
            "ftgate/models/unsafe_files.py",
            "ftgate/models/file_types.py",
        ),
        (
            "tests/unit/models/test_file_types.py",
            "tests/unit/models/test_unsafe_files.py",
            "tests/unit/artifacts/test_archive_limits.py",
            "tests/unit/artifacts/test_file_names.py",
            "tests/unit/artifacts/test_references.py",
            "tests/unit/artifacts/test_resolve.py",
            "tests/unit/models/test_open.py",
            "tests/unit/artifacts/test_snapshot.py",
        ),
    ),
    Group("escaping", ("ftgate/report/escape.py",), ("tests/unit/report/test_escape.py",)),
    Group(
        "looks",
        ("ftgate/measurements/looks.py", "ftgate/stats/sequential.py"),
        ("tests/unit/measurements/test_looks.py", "tests/unit/stats/test_sequential.py"),
    ),
    Group("journal", ("ftgate/gate/journal.py", "ftgate/jobs/journal_lines.py"), ("tests/unit/gate/test_journal.py",)),
    Group(
        "isolation",
        ("ftgate/engines/isolation.py", "ftgate/credentials.py"),
        ("tests/unit/test_credentials.py", "tests/engines/test_isolation.py"),
    ),
    Group(
        "gate",
        (
            "ftgate/gate/decide.py",
            "ftgate/gate/derived_run.py",
            "ftgate/gate/evaluate.py",
            "ftgate/gate/flow.py",
            "ftgate/gate/measurement_run.py",
        ),
        (
            "tests/unit/gate/test_derived_look.py",
            "tests/integration/test_golden.py",
            "tests/integration/test_contamination.py",
            "tests/integration/test_run.py",
            "tests/integration/test_form.py",
            "tests/integration/test_turns.py",
            "tests/integration/test_answers.py",
            "tests/integration/test_run_edges.py",
            "tests/integration/test_swapped_files.py",
        ),
    ),
    Group(
        "exit codes",
        ("ftgate/__main__.py", "ftgate/cli/ending.py", "ftgate/cli/main.py", "ftgate/errors.py", "ftgate/files.py"),
        (
            "tests/unit/cli/test_exit_codes.py",
            "tests/unit/cli/test_failure.py",
            "tests/unit/test_files.py",
            "tests/integration/test_decide_logs.py",
            "tests/integration/test_bad_input.py",
            "tests/integration/test_pilot.py",
            "tests/integration/test_cli.py",
            "tests/integration/test_plan.py",
            "tests/integration/test_preflight.py",
            "tests/integration/test_ending.py",
        ),
    ),
    Group(
        "jobs",
        ("ftgate/jobs/prepare.py", "ftgate/jobs/saved.py", "ftgate/jobs/unchanged.py"),
        (
            "tests/unit/jobs",
            "tests/integration/test_bad_input.py",
            "tests/integration/test_swapped_files.py",
            "tests/integration/artifacts/test_jobs.py",
            "tests/integration/test_preflight.py",
            "tests/integration/test_pilot.py",
        ),
    ),
    Group(
        "publishing",
        ("ftgate/github/commit_status.py", "ftgate/github/pr_state.py", "ftgate/github/publish.py"),
        (
            "tests/integration/github/test_publish.py",
            "tests/unit/github/test_words.py",
            "tests/integration/github/test_audit.py",
            "tests/integration/github/test_faults.py",
            "tests/integration/github/test_commands.py",
        ),
    ),
    Group("grading", ("ftgate/judge/*.py",), ("tests/unit/judge",)),
    Group("contamination", ("ftgate/contamination/*.py",), ("tests/unit/contamination",)),
    Group("statistics", ("ftgate/stats/*.py",), ("tests/unit/stats",)),
)
"""Harm first."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A mutant in its file, whose syntax is ``tree``."""

    path: str
    mutant: Mutant
    tree: ast.Module

    @property
    def key(self) -> str:
        """What names it as long as the statement stays the same, wherever it moves in its file."""
        scope = f":{self.mutant.scope}" if self.mutant.scope else ""
        return f"{self.path}{scope}: {self.mutant.change}"

    @property
    def source(self) -> str:
        """The text of the mutated module."""
        return self.mutant.source(self.tree)

    @property
    def digest(self) -> str:
        """What names it as long as nothing in its file changes: the SHA-256 of path and text."""
        return hashlib.sha256(f"{self.path}\n{self.source}".encode(errors="surrogatepass")).hexdigest()


def all_mutants(group: Group, root: Path, only: Collection[str] | None = None) -> Iterator[Placed]:
    """Every mutant of a group, or of these files of it."""
    for path in group.files(root):
        if only is not None and path not in only:
            continue
        tree = ast.parse((root / path).read_text(encoding="utf-8"))
        yield from (Placed(path, mutant, tree) for mutant in mutants(tree))


def drawn(group: Group, root: Path, count: int, seed: int) -> list[Placed]:
    """At most ``count`` mutants of the group at random, in the order of the files and lines."""
    every = list(all_mutants(group, root))
    chosen = random.Random(f"{group.name} {seed}").sample(range(len(every)), min(count, len(every)))
    return [every[i] for i in sorted(chosen)]
