"""Scripted runs give the reports, and ask the questions, that are kept in golden.json.

A change of structure leaves every line there as it is. A change of behaviour writes the file again with
`python tests/integration/test_golden.py`, in a commit that says what changed and why.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.players import CAREFUL, FORGETFUL, UNFIT_JUDGES, Player, Script, script
from support.world import World

from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress

pytestmark = pytest.mark.usefixtures("no_pictures")

GOLDEN = Path(__file__).with_name("golden.json")


def looks_early(world: World) -> None:
    world.policy["evidence"] = {"early_stopping": "obrien_fleming"}


def samples_first(world: World) -> None:
    looks_early(world)
    world.policy["measurements"]["forgetting"] |= {"n": 120, "n_max": 200}
    world.policy["measurements"]["tail"] |= {"n": 200}


def leaks(world: World) -> None:
    """Some items of two suites stand in the training data."""
    rows = [{"id": f"t{i}", "prompt": f"ticket {i} {i % 9}"} for i in range(60)]
    rows += [{"id": f"l{i}", "prompt": f"{kind} {i}"} for kind in ("spell", "target") for i in range(0, 60, 2)]
    (world.root / "evals" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def scored_by_rule(world: World) -> None:
    world.policy["measurements"]["forgetting"] |= {"scorer": "exact"}
    world.policy["evidence"] = {"early_stopping": "none", "rule": "point"}


def without_training_data(world: World) -> None:
    del world.manifest["training_data"]
    del world.policy["measurements"]["tail"]


def as_it_is(world: World) -> None:
    """Change nothing."""


RUNS: dict[str, tuple[Script, Callable[[World], None]]] = {
    "careful": (script(CAREFUL), as_it_is),
    "forgetful": (script(FORGETFUL), as_it_is),
    "bad tail": (script(Player(target=0.9, tail=0.3)), as_it_is),
    "overconfident": (script(Player(target=0.9, confidence=0.98)), as_it_is),
    "useless": (script(Player(target=0.4)), as_it_is),
    "careful, stopping early": (script(CAREFUL), looks_early),
    "forgetful, stopping early": (script(FORGETFUL), looks_early),
    "careful, on samples": (script(CAREFUL), samples_first),
    "careful, on leaked items": (script(CAREFUL), leaks),
    "somewhat forgetful, by the point rule": (script(Player(target=0.9, forgetting=0.82)), scored_by_rule),
    "no training data": (script(CAREFUL), without_training_data),
    "a judge that is constant": (script(CAREFUL, judge=UNFIT_JUDGES["constant"][0]), as_it_is),
}
"""Each fault, each way of stopping, and each thing that changes what is asked."""


def rounded(value: Any) -> Any:
    """Numbers to nine digits: the last ones depend on the processor."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(rounded(value), sort_keys=True).encode()).hexdigest()


def play(name: str, folder: Path) -> tuple[dict[str, Any], list[Any]]:
    """The report of one run without clocks, versions and paths, and every question in the order it was asked."""
    world = World(folder)
    players, change = RUNS[name]
    change(world)
    world.save()
    engine, judge = ScriptedEngine(players), ScriptedEngine(players)
    job = load_job(world.policy_path, world.manifest_path)
    report = evaluate(job, folder / "out", SilentProgress(), engine=engine, judge_engine=judge)
    text = json.dumps(report.model_dump(mode="json"))
    data = json.loads(text.replace(str(folder), "WORLD"))
    for clock in ("started", "finished", "versions", "device"):
        data["provenance"].pop(clock)
    data.pop("timing")
    asked = [
        [side, a.model.name, a.question.measurement, a.question.item_id, a.question.part, a.question.repeat]
        for side, e in (("models", engine), ("judge", judge))
        for a in e.asked
    ]
    return data, asked


def summary(name: str, folder: Path) -> dict[str, Any]:
    """What is kept of a run: its main numbers to read, and digests that notice any other change."""
    report, asked = play(name, folder)
    return {
        "verdict": report["verdict"],
        "measurements": {
            key: [m["status"], m["change"] if m["change"] is None else round(m["change"], 6), m["n"]]
            for key, m in report["measurements"].items()
        },
        "questions": len(asked),
        "questions_sha256": digest(asked),
        "report_sha256": digest(report),
    }


@pytest.mark.parametrize("name", RUNS)
def test_a_scripted_run_is_what_it_was(name: str, tmp_path: Path) -> None:
    assert summary(name, tmp_path) == json.loads(GOLDEN.read_text(encoding="utf-8"))[name]


if __name__ == "__main__":
    results = {}
    for run in RUNS:
        with tempfile.TemporaryDirectory() as place:
            results[run] = summary(run, Path(place))
    GOLDEN.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
