"""Models that think, on a real server whose reasoning parser takes thoughts out of the text of an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.libraries import needs
from support.vllm_server import Serving, serve

from ftgate.errors import FtgateError
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report
from ftgate.scoring.trace import final_answer

pytestmark = [pytest.mark.engine, pytest.mark.server, needs("vllm"), pytest.mark.usefixtures("no_pictures")]

THINKERS = Path(__file__).parents[2] / "examples" / "thinkers"
CANDIDATES = ("steady", "stopped", "endless")
OPTIONS = {
    "--served-model-name": "base",
    "--max-model-len": "256",
    "--max-loras": "3",
    "--max-lora-rank": "8",
    "--reasoning-parser": "qwen3",
}
FORGETTING = {"dataset": str(THINKERS / "evals" / "facts.jsonl"), "scorer": "exact", "max_tokens": 8, "n": 60}
LETTERS = {"dataset": str(THINKERS / "evals" / "letters.jsonl"), "scorer": "choice", "n": 60}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    models = THINKERS / "models"
    adapters = [f"{name}={models / name}" for name in CANDIDATES]
    log = tmp_path_factory.mktemp("serve") / "serve.log"
    with serve(models / "base", log, OPTIONS, "--enable-lora", "--lora-modules", *adapters) as starting:
        yield starting


def run(folder: Path, name: str, address: str, measurements: dict[str, Any], thinking: str) -> Report:
    policy = {
        "version": 1,
        "measurements": measurements,
        "engine": {"kind": "openai", "endpoint": address, "thinking": thinking, "thinking_tokens": 32},
        "evidence": {"early_stopping": "none", "allow_unproven_weights": True},
        "artifacts": {"allow": ["endpoint://*"]},
    }
    manifest = {"name": name, "base": {"source": "endpoint://base"}, "candidate": {"source": f"endpoint://{name}"}}
    folder.mkdir(parents=True)
    for file, content in (("policy.yml", policy), ("manifest.yaml", manifest)):
        (folder / file).write_text(yaml.safe_dump(content), encoding="utf-8")
    return evaluate(load_job(folder / "policy.yml", folder / "manifest.yaml"), folder / "out", SilentProgress())


def test_thoughts_that_a_server_took_out_of_answers_are_seen(serving: Serving, tmp_path: Path) -> None:
    address = serving.ready()
    reports = {name: run(tmp_path / name, name, address, {"forgetting": FORGETTING}, "template") for name in CANDIDATES}
    assert (reports["steady"].verdict, reports["steady"].notes) == ("allow", []), reports["steady"].reasons
    # This parser takes an answer without a thought for a thought without an answer, and so do the server's users.
    for name in ("stopped", "endless"):
        assert reports[name].verdict == "block", reports[name].reasons
        assert re.match(r"the candidate does not close its thoughts: (9[5-9]|100) %", reports[name].notes[0])
    lines = map(json.loads, (tmp_path / "steady" / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines())
    texts = [line["answer"]["text"] for line in lines if line["type"] == "answer" and line["model"] == "base"]
    assert len(texts) >= 60
    assert sum(final_answer(text).trace == "closed" for text in texts) > 0.95 * len(texts)
    with pytest.raises(FtgateError, match=r"base at .* thinks before it answers, so that option letters"):
        run(tmp_path / "letters", "steady", address, {"target": LETTERS}, "template")
    off = run(tmp_path / "off", "endless", address, {"forgetting": FORGETTING, "target": LETTERS}, "off")
    assert off.measurements["forgetting"].status == "pass", off.reasons
    assert (off.notes, off.provenance["engine"]["scores"]) == ([], "tokens")
