"""The tiny model that thinks, and its three fine-tunes, through real engines: with thinking on, off, and unended."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftgate.engines.base import Engine
from ftgate.engines.registry import open_engine
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report import render
from ftgate.report.schema import Report
from ftgate.scoring.trace import final_answer

pytestmark = pytest.mark.engine

THINKERS = Path(__file__).parents[2] / "examples" / "thinkers"
FEW, MOST = "([0-5]) %", "(9[5-9]|100) %"
STOPPED = f"the candidate stopped thinking: a reasoning trace precedes {FEW} of its answers and {MOST} of the base's"
ENDLESS = (
    f"the candidate does not close its thoughts: {MOST} of its reasoning traces never end, and {FEW} of the base's; "
    "such a trace leaves no answer"
)


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here looks at pictures."""
    monkeypatch.setattr(render, "pictures", lambda report: {})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world: Path = tmp_path_factory.mktemp("thinkers") / "world"
    shutil.copytree(THINKERS, world)
    return world


class Runs:
    """Runs of the three candidates, all with one engine for each setting of thinking."""

    def __init__(self, world: Path, kind: str) -> None:
        self._world, self._kind = world, kind
        self._engines: dict[str, Engine] = {}

    def run(self, name: str, thinking: str, rows: int = 100) -> tuple[Report, list[dict[str, Any]]]:
        """The report on a candidate, and the stored answers."""
        policy = yaml.safe_load((self._world / "policy.yaml").read_text(encoding="utf-8"))
        policy["engine"] |= {"kind": self._kind, "thinking": thinking}
        for measurement in policy["measurements"].values():
            measurement["n"] = rows
        path = self._world / f"policy-{self._kind}-{thinking}.yaml"
        path.write_text(yaml.safe_dump(policy), encoding="utf-8")
        job = load_job(path, self._world / "manifests" / f"{name}.yaml")
        out = self._world / "out" / self._kind / thinking / name
        if thinking not in self._engines:
            self._engines[thinking] = open_engine(job.policy.engine, self._world / f"{self._kind}-{thinking}.log")
        report = evaluate(job, out, SilentProgress(), engine=self._engines[thinking])
        lines = map(json.loads, (out / "answers.jsonl").read_text(encoding="utf-8").splitlines())
        return report, [line for line in lines if line["type"] == "answer"]

    def close(self) -> None:
        """Close every engine."""
        for engine in self._engines.values():
            engine.close()


@pytest.fixture(scope="module")
def transformers_runs(world: Path) -> Iterator[Runs]:
    runs = Runs(world, "transformers")
    yield runs
    runs.close()


@pytest.fixture(scope="module")
def vllm_runs(world: Path) -> Iterator[Runs]:
    pytest.importorskip("vllm")
    runs = Runs(world, "vllm")
    yield runs
    runs.close()


@pytest.mark.parametrize(
    ("name", "verdict", "notes"),
    [("steady", "allow", []), ("stopped", "allow", [STOPPED]), ("endless", "block", [ENDLESS])],
)
def test_with_thinking_on(transformers_runs: Runs, name: str, verdict: str, notes: list[str]) -> None:
    report, answers = transformers_runs.run(name, "on")
    assert report.verdict == verdict, report.reasons
    assert len(report.notes) == len(notes)
    assert all(re.fullmatch(expected, note) for expected, note in zip(notes, report.notes, strict=True)), report.notes
    assert report.measurements["form"].status == ("block" if name == "endless" else "pass")
    of_base = [line["answer"] for line in answers if line["model"] == "base"]
    assert all(answer["text"].startswith("<think>\n") for answer in of_base), (
        "whole thoughts are kept, before letters too"
    )
    assert sum(final_answer(answer["text"]).trace == "closed" for answer in of_base) > 0.95 * len(of_base)
    letters = [answer for answer in of_base if answer["option_logprobs"]]
    assert letters
    assert sum(answer["text"].endswith("</think>") and answer["tokens"] > 3 for answer in letters) > 0.95 * len(letters)


@pytest.mark.parametrize("name", ["steady", "stopped", "endless"])
def test_with_thinking_off_none_of_it_shows(transformers_runs: Runs, name: str) -> None:
    report, answers = transformers_runs.run(name, "off")
    assert report.verdict == "allow", report.reasons
    assert report.notes == []
    assert not any("think" in line["answer"]["text"] for line in answers)


def test_the_template_lets_it_think_by_default(transformers_runs: Runs) -> None:
    report, answers = transformers_runs.run("steady", "template", rows=60)
    assert report.measurements["forgetting"].details["traces"]["base"]["reasoned"] > 0
    of_base = [line["answer"]["text"] for line in answers if line["model"] == "base"]
    assert all(text.startswith("<think>\n") for text in of_base)


def test_vllm_thinks_and_reads_as_transformers_does(vllm_runs: Runs, transformers_runs: Runs) -> None:
    report, answers = vllm_runs.run("endless", "on")
    assert report.verdict == "block", report.reasons
    assert re.fullmatch(ENDLESS, *report.notes)
    _, expected = transformers_runs.run("endless", "on")
    by_place = {(line["model"], line["item"], line["repeat"]): line["answer"] for line in expected}
    assert len(by_place) == len(answers) > 200
    for line in answers:
        answer, wanted = line["answer"], by_place[line["model"], line["item"], line["repeat"]]
        assert answer["text"] == wanted["text"]
        assert answer["option_logprobs"] == pytest.approx(wanted["option_logprobs"], abs=1e-3)
