"""Answers that runs share: who is asked in the second run on a base, and what does not count."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.object_store import s3_server
from support.players import CAREFUL, FORGETFUL, Player, script
from support.world import World, write_adapter

from ftgate.artifacts.resolve import open_cache
from ftgate.config.policy import ArtifactSettings
from ftgate.domain import Answer, EngineInfo, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ChangedError, ConfigurationError, EngineError
from ftgate.gate.answer_store import DAYS, MOST_FILES, open_store
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")
QUESTION = Question("forgetting", "g1", ())
ADDRESSES = ("a1", "b2", "c3")


class RecordedEngine(ScriptedEngine):
    """Scripted answers by an engine that runs weights itself, whose answers may be shared."""

    def info(self) -> EngineInfo:
        return replace(super().info(), kind="transformers")

    def require(self, models: Sequence[Model]) -> None:
        """As real engines do, from here on without credentials in the environment."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "FTGATE_ANSWERS_KEY"):
            os.environ.pop(name, None)
        super().require(models)


class Notes(SilentProgress):
    """Keeps what a run notes."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("FTGATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FTGATE_ANSWERS", "write")
    return small_world(tmp_path / "world")


def small_world(root: Path) -> World:
    """Two measurements, one of them judged."""
    world = World(root)
    for name in ("tail", "calibration"):
        del world.policy["measurements"][name]
    world.policy["measurements"]["target"]["n"] = 100
    world.policy["judge"]["known_answers"] = False
    world.save()
    return world


def run(world: World, out: str, player: Player = CAREFUL, **how: Any) -> tuple[Report, RecordedEngine, list[str]]:
    engine, notes = RecordedEngine(script(player), **how), Notes()
    job = load_job(world.policy_path, world.manifest_path)
    report = evaluate(job, world.root / out, notes, engine=engine, judge_engine=engine)
    return report, engine, notes.lines


def asked(engine: ScriptedEngine) -> Counter[str]:
    """How many questions each model was asked for the first time, and how many again on purpose."""
    return Counter(ask.model.name + (" again" if ask.question.repeat else "") for ask in engine.asked)


def another_candidate(world: World) -> None:
    write_adapter(world.root / "models" / "second", seed=5)
    world.manifest["candidate"]["source"] = "models/second"
    world.save()


def numbers(report: Report) -> Any:
    return report.measurements


def stored(world: World) -> list[Path]:
    return sorted((world.root.parent / "cache" / "answers").rglob("*.jsonl.gz"))


def test_the_second_candidate_is_asked_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _, first, _ = run(world, "first")
    another_candidate(world)
    report, second, notes = run(world, "second", FORGETFUL)
    assert asked(second)["base"] == 0 < asked(first)["base"]
    assert asked(second)["bot"] == asked(first)["bot"]
    # The judge's test and its grades of the base are there; only what the second candidate says differently is new.
    assert 0 < asked(second)["judge"] < asked(first)["judge"] / 2
    assert asked(second)["base again"] == asked(first)["base again"] > 0, "the A/A test asks in every run"
    assert any("answers came from earlier runs" in note for note in notes)
    monkeypatch.setenv("FTGATE_ANSWERS", "off")
    alone, third, _ = run(world, "alone", FORGETFUL)
    assert asked(third)["base"] == asked(first)["base"]
    assert numbers(report) == numbers(alone), "shared answers give the same verdict"
    assert report.verdict == alone.verdict


def test_the_same_run_again_asks_only_the_controls(world: World) -> None:
    report, _, _ = run(world, "first")
    again, engine, _ = run(world, "second")
    assert set(asked(engine)) == {"base again", "judge again"}
    assert numbers(again) == numbers(report)


def test_a_base_that_changes_its_mind_fails_the_control(world: World) -> None:
    run(world, "first")
    another_candidate(world)
    engine = RecordedEngine(script(CAREFUL, base=Player(target=0.0, forgetting=0.0)))
    job = load_job(world.policy_path, world.manifest_path)
    report = evaluate(job, world.root / "second", SilentProgress(), engine=engine, judge_engine=engine)
    assert report.verdict != "allow", "stored answers are compared with this run's engine"
    assert report.controls["a_a"]["target"]["ok"] is False


def test_other_weights_engines_and_settings_share_nothing(world: World) -> None:
    run(world, "first")
    before = stored(world)
    tokenizer = world.root / "models" / "base" / "tokenizer_config.json"
    tokenizer.write_text(tokenizer.read_text().replace("}", "} ", 1))
    _, engine, _ = run(world, "second")
    assert asked(engine)["base"] > 0
    assert set(before) < set(stored(world))


def test_a_judge_that_is_asked_in_the_other_order_is_asked_everything_anew(world: World) -> None:
    first, before, _ = run(world, "first")
    world.policy["judge"]["prompt_order"] = "item_first"
    world.save()
    second, after, _ = run(world, "second")
    assert asked(after)["judge"] == asked(before)["judge"]
    assert asked(after)["base"] == 0
    turns = [{len(a.question.messages) for a in e.asked if a.model.name == "judge"} for e in (before, after)]
    assert turns == [{2}, {1}]
    assert second.verdict == first.verdict == "allow"
    assert second.controls["judge_fitness"] == first.controls["judge_fitness"]


def test_what_files_that_changed_gave_is_not_kept(world: World) -> None:
    def reply(model: Any, question: Question) -> Answer:
        if question.measurement == "forgetting":
            (world.root / "models" / "base" / "config.json").touch()
        return script(CAREFUL)(model, question)

    engine = RecordedEngine(reply)
    job = load_job(world.policy_path, world.manifest_path)
    with pytest.raises(ChangedError):
        evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=engine)
    assert stored(world) == []


def test_what_was_answered_before_a_failure_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match="stops after 700"):
        run(world, "first", fail_after=700)
    _, rest, _ = run(world, "second")
    monkeypatch.setenv("FTGATE_ANSWERS", "off")
    _, whole, _ = run(world, "third")
    again = sum(n for name, n in asked(whole).items() if "again" in name)
    assert sum(asked(whole).values()) - 700 <= sum(asked(rest).values()) <= sum(asked(whole).values()) - 700 + again


@pytest.mark.parametrize("mode", ["read", "off"])
def test_a_run_that_is_not_trusted_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("FTGATE_ANSWERS", mode)
    run(world, "first")
    assert stored(world) == []
    monkeypatch.setenv("FTGATE_ANSWERS", "write")
    run(world, "second")
    before = {path: path.read_bytes() for path in stored(world)}
    monkeypatch.setenv("FTGATE_ANSWERS", mode)
    another_candidate(world)
    _, engine, _ = run(world, "third")
    assert (asked(engine)["base"] == 0) is (mode == "read")
    assert {path: path.read_bytes() for path in stored(world)} == before


def test_an_unknown_mode_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTGATE_ANSWERS", "yes")
    with pytest.raises(ConfigurationError, match="FTGATE_ANSWERS=yes") as refusal:
        run(world, "out")
    assert "off" in str(refusal.value.hint)


def test_damaged_and_foreign_files_do_not_count(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run(world, "first")
    base = max(stored(world), key=lambda path: path.stat().st_size)
    base.write_bytes(base.read_bytes()[:-40])
    _, engine, notes = run(world, "second")
    assert sum(asked(engine).values()) > 100
    assert [note for note in notes if str(base) in note and "asked again" in note]
    monkeypatch.setenv("FTGATE_ANSWERS_KEY", "only trusted runners know it")
    _, engine, notes = run(world, "third")
    assert asked(engine)["base"] > 0, "without the key's seal nothing counts"
    monkeypatch.setenv("FTGATE_ANSWERS_KEY", "only trusted runners know it")
    _, engine, _ = run(world, "fourth")
    assert asked(engine)["base"] == 0


def answers(texts: dict[str, str]) -> dict[str, Answer]:
    return {key: Answer(text=text, tokens=len(text)) for key, text in texts.items()}


def store_in(folder: Path, monkeypatch: pytest.MonkeyPatch, notes: list[str] | None = None) -> Any:
    monkeypatch.setenv("FTGATE_CACHE", str(folder))
    monkeypatch.setenv("FTGATE_ANSWERS", "write")
    return open_store(ArtifactSettings(), (notes if notes is not None else []).append)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.booleans())
def test_no_flipped_bit_and_no_cut_is_believed(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, at: int, bit: int, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = store_in(folder, monkeypatch)
    for key, answer in answers(dict.fromkeys(ADDRESSES, "blue")).items():
        store.add("shelf", key, QUESTION, answer)
    store.save()
    (path,) = (folder / "answers").rglob("*.gz")
    content = bytearray(path.read_bytes())
    at %= len(content)
    if cut:
        del content[at:]
    else:
        content[at] ^= 1 << bit
    path.write_bytes(bytes(content))
    notes: list[str] = []
    assert store_in(folder, monkeypatch, notes).take("shelf", "a1", QUESTION) is None
    assert [note for note in notes if "do not count" in note]


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=5), st.lists(st.floats(max_value=0, allow_nan=False)))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_answer_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    texts: dict[str, str],
    logprobs: list[float],
) -> None:
    folder = tmp_path_factory.mktemp("store")
    question = replace(QUESTION, options=tuple(str(i) for i in range(len(logprobs))))
    given_answers = {key: replace(a, option_logprobs=tuple(logprobs)) for key, a in answers(texts).items()}
    store = store_in(folder, monkeypatch)
    for key, answer in given_answers.items():
        store.add("shelf", key, question, answer)
    store.save()
    read = store_in(folder, monkeypatch)
    assert {key: read.take("shelf", key, question) for key in texts} == given_answers
    assert read.take("shelf", "another", question) is None
    assert all(read.take("shelf", key, replace(question, repeat=1)) is None for key in texts)
    assert all(read.take("shelf", key, replace(question, options=("x",) * 99)) is None for key in texts)


def test_many_small_files_become_one_and_old_ones_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(MOST_FILES + 1):
        store = store_in(tmp_path, monkeypatch)
        assert store.take("shelf", "none", QUESTION) is None
        store.add("shelf", f"key {number}", QUESTION, Answer(text=str(number)))
        store.save()
    (path,) = (tmp_path / "answers").rglob("*.gz")
    read = store_in(tmp_path, monkeypatch)
    texts = [read.take("shelf", f"key {n}", QUESTION).text for n in range(MOST_FILES + 1)]
    assert texts == [str(n) for n in range(MOST_FILES + 1)]
    past = path.stat().st_mtime - (DAYS + 1) * 86_400
    os.utime(path, (past, past))
    read.add("shelf", "new", QUESTION, Answer(text="new"))
    read.save()
    assert path.exists(), "what was read is in use"
    os.utime(path, (past, past))
    other = store_in(tmp_path, monkeypatch)
    other.add("another", "new", QUESTION, Answer(text="new"))
    other.save()
    assert not path.exists()


def test_two_runs_at_once_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = store_in(tmp_path, monkeypatch), store_in(tmp_path, monkeypatch)
    one.add("shelf", "a1", QUESTION, Answer(text="one"))
    two.add("shelf", "a1", QUESTION, Answer(text="two"))
    two.add("shelf", "b2", QUESTION, Answer(text="two"))
    one.save()
    two.save()
    texts = [store_in(tmp_path, monkeypatch).take("shelf", key, QUESTION).text for key in ("a1", "b2")]
    assert texts[0] in ("one", "two")
    assert texts[1] == "two"
    assert [store_in(tmp_path, monkeypatch).take("shelf", "a1", QUESTION).text] == texts[:1], "always the same one"


def test_a_store_that_cannot_be_written_costs_no_verdict(world: World) -> None:
    cache = open_cache(ArtifactSettings()).root
    cache.mkdir(parents=True, exist_ok=True)
    (cache / "answers").write_text("a file where the folder should be")
    report, _, notes = run(world, "first")
    assert report.verdict == "allow"
    assert [note for note in notes if "cannot write" in note]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


def use_bucket(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """What a runner sets for each run."""
    settings = {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "MAX_ATTEMPTS": "1"}
    for name, value in {**settings, "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)


def test_runners_share_a_bucket(world: World, s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_bucket(monkeypatch, s3)
    client = boto3.client("s3", endpoint_url=s3)
    client.create_bucket(Bucket="answers")
    world.policy["artifacts"]["answers_store"] = "s3://answers/ftgate"
    world.save()
    run(world, "first")
    listed = client.list_objects_v2(Bucket="answers")["Contents"]
    assert len(listed) >= 3, "base, candidate and judge"
    assert all(entry["Key"].startswith("ftgate/") for entry in listed)
    monkeypatch.setenv("FTGATE_CACHE", str(tmp_path / "cache of another machine"))
    another_candidate(world)
    use_bucket(monkeypatch, s3)
    _, engine, _ = run(world, "second")
    assert asked(engine)["base"] == 0
    for key in (entry["Key"] for entry in listed):
        lines = gzip.decompress(client.get_object(Bucket="answers", Key=key)["Body"].read())
        client.put_object(Bucket="answers", Key=key, Body=gzip.compress(lines.replace(b'"stop"', b'"length"')))
    use_bucket(monkeypatch, s3)
    _, engine, notes = run(world, "third")
    assert len([note for note in notes if "do not count" in note]) == 2, "base and judge"
    assert asked(engine)["base"] > 0


def test_a_bucket_out_of_reach_costs_no_verdict(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use_bucket(monkeypatch, "http://127.0.0.1:9")
    world.policy["artifacts"]["answers_store"] = "s3://answers/ftgate"
    world.save()
    report, _, notes = run(world, "first")
    assert report.verdict == "allow"
    assert [note for note in notes if "no answers are taken from other runs" in note]
    assert [note for note in notes if "cannot write" in note]
