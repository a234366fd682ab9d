"""Folders in the shapes that trainers leave behind: each runs to a verdict, or `ftgate check` refuses it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from support.trainer_folders import FOLDERS, TrainerFolder, write_base
from support.world import write_rows

from engines.tiny import WORDS
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_all
from ftgate.preflight.check import preflight
from ftgate.preflight.findings import Preflight
from ftgate.preflight.hardware import Machine
from ftgate.progress import SilentProgress
from ftgate.report import render

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("no_pictures")]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "zoo.md"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, a suite and a policy for all of them."""
    root = tmp_path_factory.mktemp("trainers")
    write_base(root / "tiny-llama")
    rows = [
        {
            "id": f"r{i}",
            "messages": [{"role": "system", "content": "red"}, {"role": "user", "content": f"{WORDS[i % 20]} {i}"}],
            "choices": ["red", "blue"],
            "answer": "red",
        }
        for i in range(20)
    ]
    write_rows(root / "suite.jsonl", rows)
    policy = {
        "version": 1,
        "measurements": {"forgetting": {"dataset": "suite.jsonl", "scorer": "choice"}},
        "engine": {"kind": "transformers", "max_model_len": 256},
        "evidence": {"early_stopping": "none"},
        "artifacts": {"allow": ["*", "*/*"]},
    }
    (root / "ftgate.yml").write_text(yaml.safe_dump(policy))
    return root


def checked(place: Path, name: str, folder: TrainerFolder) -> Preflight:
    folder.write(place / name, place / "tiny-llama")
    source = f"{name}/{folder.named}".removesuffix("/.")
    manifest = {"name": name, "base": {"source": "tiny-llama"}, "candidate": {"source": source}}
    (place / f"{name}.yaml").write_text(yaml.safe_dump(manifest))
    return preflight(load_all(place / "ftgate.yml", place / f"{name}.yaml"), Machine((), 8 << 30))


@pytest.mark.parametrize("name", [name for name, folder in FOLDERS.items() if folder.refused])
def test_what_cannot_run_is_refused_before_an_engine_starts(name: str, place: Path) -> None:
    folder = FOLDERS[name]
    problems = checked(place, name, folder).problems
    assert problems
    assert any(folder.refused in f"{problem.message} {problem.hint}" for problem in problems), problems


@pytest.mark.parametrize("name", [name for name, folder in FOLDERS.items() if not folder.refused])
def test_what_check_calls_ready_runs_to_a_verdict(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTGATE_CACHE", str(place / "cache"))
    monkeypatch.setattr(render, "pictures", lambda report: {})
    folder = FOLDERS[name]
    result = checked(place, name, folder)
    assert result.problems == ()
    assert result.plan is not None
    assert (result.plan.kind == "merge") == folder.merged
    job = load_all(place / "ftgate.yml", place / f"{name}.yaml").job()
    report = evaluate(job, place / f"out-{name}", SilentProgress())
    assert report.verdict in ("allow", "block", "hold")
    assert report.measurements["forgetting"].n == 20
    assert folder.note in " ".join(report.notes)
    assert bool(report.notes) == bool(folder.note) or folder.merged or "tokens" in name


def test_the_page_lists_them_all() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Folders as trainers write them")[2]
    rows = re.findall(r"^\| (\S+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)[1:]
    shown = {
        name: (trainer, shape, end.partition(":")[0].strip()) for name, trainer, shape, end in rows if name[0] != "-"
    }
    ends = {True: "refused", False: "runs"}
    assert len(FOLDERS) >= 25
    assert shown == {
        name: (f.trainer, f.shape, "merged" if f.merged else ends[bool(f.refused)]) for name, f in FOLDERS.items()
    }
