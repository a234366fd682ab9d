"""Logs, models for vectors, and free-form calibration in whole runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.players import CAREFUL, luck, script
from support.world import World, write_full, write_rows

from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ArtifactError, ConfigurationError, DatasetError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FTGATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(world: World, play=script(CAREFUL)) -> Report:  # type: ignore[no-untyped-def] # noqa: B008
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    engine = ScriptedEngine(play)
    return evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=engine)


def with_log(world: World) -> World:
    hostile = "<script>alert(1)</script> [x](javascript:alert(1)) @everyone | galaxy"
    subjects = ["a refund of my order", "a change of my address", "the invoice for last month", "a parcel that is late"]
    training = [{"prompt": f"I write about {subjects[i % 4]}, number {i}"} for i in range(400)]
    write_rows(world.root / "evals" / "train.jsonl", training)
    log = [*training[:100], *({"prompt": f"{hostile} {i}"} for i in range(30))]
    write_rows(world.root / "evals" / "log.jsonl", log)
    world.policy["measurements"]["tail"]["query_log"] = "evals/log.jsonl"
    return world


def test_the_report_says_what_of_a_log_is_not_covered_and_shows_it_harmless(world: World, cache: Path) -> None:
    report = run(with_log(world))
    found = report.measurements["tail"].details["coverage"]
    assert found["log_queries"] == 130
    assert found["covered"] < 1
    assert "galaxy" in found["gaps"][0]["examples"][0]
    out = world.root / "out"
    comment, page = (out / "comment.md").read_text(), (out / "report.html").read_text()
    assert "add such queries" in comment
    assert "add such queries" in page
    assert "<script>alert" not in page
    assert page.count("<svg") >= 3
    assert {p.name for p in (out / "plots").iterdir()} == {
        f"{name}.{kind}" for name in ("distance", "reliability", "slices") for kind in ("png", "svg")
    }
    for live in ("<script>", "[x](javascript", " @everyone"):
        assert live not in comment
    assert list((cache / "vectors").glob("*.npy"))
    again = decide_again(out, None, world.root / "again", SilentProgress())
    assert again.measurements["tail"].details == report.measurements["tail"].details


def test_a_suite_from_tail_build_is_all_tail_and_passes_with_its_300_rows(world: World) -> None:
    row = {"choices": ["red", "green", "blue", "grey"], "answer": "red"}
    tags = [["tail", "topic:1"], ["tail", "topic:2"], ["unusual_format", "perturbed:case"]]
    rows = [{"id": f"c{4 * i}", "prompt": f"query {i}", "tags": tags[i % 3], **row} for i in range(300)]
    write_rows(world.root / "evals" / "queries.jsonl", rows)
    found = run(world).measurements["tail"]
    assert (found.status, found.n, found.rows) == ("pass", 300, 300), found.reason
    assert (found.details["chosen"], found.details["tagged"]) == (200, 100)


def test_of_the_head_a_hundred_rows_are_asked_and_the_report_counts_all(world: World) -> None:
    report = run(world)
    found = report.measurements["tail"]
    assert (found.n, found.rows) == (239, 400)
    assert (found.details["queries"], found.details["head_asked"]) == (400, 100)
    assert next(part.n for part in found.slices if part.name == "head") == 100
    lines = [json.loads(line) for line in (world.root / "out" / "answers.jsonl").read_text().splitlines()]
    asked = {line["item"] for line in lines if line["type"] == "answer" and line["measurement"] == "tail"}
    assert len(asked) == found.n + 100
    assert any("unusual queries: 339 items" in line.evidence for line in report.checklist), "those that were asked"
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements["tail"] == found


def test_vectors_go_to_the_output_where_the_cache_cannot_be_written(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("FTGATE_CACHE", str(tmp_path / "file" / "cache"))
    run(world)
    assert list((world.root / "out" / "vectors").glob("*.npy"))


def test_a_log_that_cannot_be_read_is_named_before_any_work(world: World) -> None:
    with_log(world)
    (world.root / "evals" / "log.jsonl").write_text("")
    with pytest.raises(DatasetError, match="query_log"):
        run(world)


def test_a_model_for_vectors_must_be_allowed_safe_and_not_the_candidate(world: World) -> None:
    write_full(world.root / "elsewhere", seed=3)
    tail = world.policy["measurements"]["tail"]
    tail["embedding"] = {"source": "elsewhere"}
    with pytest.raises(ArtifactError, match="elsewhere"):
        run(world)
    tail["embedding"] = {"source": "models/bot"}
    with pytest.raises(ConfigurationError, match=r"measurements\.tail\.embedding\.source .* is the candidate itself"):
        run(world)
    world.policy["measurements"]["queries"] = {**world.policy["measurements"].pop("tail"), "kind": "tail"}
    with pytest.raises(ConfigurationError, match=r"measurements\.queries\.embedding\.source"):
        run(world)
    world.policy["measurements"]["tail"] = tail
    del world.policy["measurements"]["queries"]
    (world.root / "models" / "empty").mkdir()
    (world.root / "models" / "empty" / "config.json").write_text("{}")
    tail["embedding"] = {"source": "models/empty"}
    with pytest.raises(ArtifactError, match="models/empty"):
        run(world)
    tail["embedding"] = "word2vec"
    with pytest.raises(ConfigurationError, match=r"measurements\.tail"):
        run(world)


@pytest.mark.engine
def test_a_model_for_vectors_is_used_and_named(world: World) -> None:
    write_full(world.root / "models" / "encoder", seed=3)
    train = [{"prompt": f"t{i % 31} t{i % 7} t{i % 11}"} for i in range(90)]
    write_rows(world.root / "evals" / "train.jsonl", train)
    world.policy["measurements"]["tail"]["embedding"] = {"source": "models/encoder"}
    found = run(world).measurements["tail"].details
    assert found["embedding"] == "embedding model models/encoder, mean-pooled"
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements["tail"].details == found
    world.policy["measurements"]["tail"]["embedding"] = {"source": "models/judge"}
    world.save()
    with pytest.raises(ConfigurationError, match="measures distance differently"):
        decide_again(world.root / "out", world.policy_path, world.root / "again", SilentProgress())


def free_form(agree: float):  # type: ignore[no-untyped-def]
    """Everyone is right three times in four; samples say the same as the greedy answer at a rate of the model's."""
    usual = script(CAREFUL)

    def play(model: Model, question: Question) -> Answer:
        if question.measurement != "calibration" or model.name == "judge":
            return usual(model, question)
        number = int(question.item_id[1:])
        said = f"word {number}" if luck(question.item_id) < 0.75 else "no idea"
        if question.temperature:
            rate = 0.75 if model.name == "base" else agree
            said = said if luck(question.seed, "sample") < rate else f"draw {question.seed}"
        return Answer(text=said, tokens=2)

    return play


@pytest.mark.parametrize(("agree", "status"), [(0.75, "pass"), (0.97, "block")])
def test_free_form_calibration_in_a_run(world: World, agree: float, status: str) -> None:
    rows = [{"id": f"f{i}", "prompt": f"say word {i}", "answer": f"word {i}"} for i in range(600)]
    write_rows(world.root / "evals" / "free.jsonl", rows)
    world.policy["measurements"] = {
        "calibration": {"dataset": "evals/free.jsonl", "form": "sampled", "scorer": "exact", "max_tokens": 8}
    }
    report = run(world, free_form(agree))
    found = report.measurements["calibration"]
    assert found.status == status, found.reason
    assert "20 samples" in found.method
    assert report.controls["positive_control"]["calibration"]["ok"]
    lines = [json.loads(line) for line in (world.root / "out" / "answers.jsonl").read_text().splitlines()]
    asked = [line for line in lines if line["type"] == "answer" and line["measurement"] == "calibration"]
    assert {line.get("temperature") for line in asked if line["part"]} == {1.0}
    assert not any("seed" in line for line in asked if not line["part"])
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements["calibration"] == found


def test_a_training_file_that_was_sampled_says_of_how_many_rows(world: World) -> None:
    with_log(world)
    run(world)
    page = world.root / "out" / "report.html"
    assert "training_rows<" in page.read_text()
    assert "60 of 400" not in page.read_text()
    world.policy["measurements"]["tail"]["max_train_rows"] = 60
    found = run(world).measurements["tail"].details
    assert (found["training_rows"], found["training_rows_in_file"]) == (60, 400)
    assert "60 of 400" in page.read_text()
    assert "training_rows_in_file" not in page.read_text()


def test_a_model_for_vectors_that_pools_in_no_known_way_is_named_before_any_work(world: World) -> None:
    folder = write_full(world.root / "models" / "encoder", seed=3)
    (folder / "modules.json").write_text('[{"path": "", "type": "sentence_transformers.models.CLIPModel"}]')
    world.policy["measurements"]["tail"]["embedding"] = {"source": "models/encoder"}
    with pytest.raises(ArtifactError, match=r"models/encoder: modules\.json: unsupported modules CLIPModel"):
        run(world)
    assert not (world.root / "out").exists()
