"""Files that change between hashing and verdict: never a verdict for what was not measured."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.players import CAREFUL, Player, script
from support.world import World, write_adapter, write_full

from ftgate.artifacts.snapshot import take_snapshot
from ftgate.domain import Answer, Model
from ftgate.engines.base import Ask
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ChangedError, ConfigurationError
from ftgate.files import CLOCK_TICK, file_stamp, settled_stamps
from ftgate.gate import cached_engine
from ftgate.gate import evaluate as evaluation
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import Job, load_job
from ftgate.jobs.unchanged import changed_files
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

Change = Callable[[Job], object]
MANY = 50
"""Answers before a change among them: not the first ones, and not the last."""


pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The world of the other tests with fewer rows: every change at every stage is a run."""
    made = World(tmp_path)
    for name, rows in (("target", 40), ("general", 40), ("queries", 80), ("choices", 40)):
        path = made.root / "evals" / f"{name}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:rows]))
    made.policy["judge"]["known_answers"] = False
    made.policy["evidence"]["draws"] = 200
    made.save()
    return made


class MeddledEngine(ScriptedEngine):
    """A scripted engine during whose work a file changes: before it loads, after it loaded, or after an answer."""

    def __init__(self, change: Callable[[], object], when: str) -> None:
        super().__init__(script(CAREFUL))
        self._change = change
        self._when = when

    def _at(self, moment: str) -> None:
        if moment == self._when:
            self._when = ""
            self._change()

    def require(self, models: Sequence[Model]) -> None:
        self._at("before loading")
        super().require(models)
        self._at("after loading")

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        for index, answer in super().ask(asks):
            yield index, answer
            if len(self.asked) > MANY:
                self._at("among the answers")


def written_over(folder: Path, write: Callable[[Path], object]) -> None:
    """As a trainer does that saves again into the same folder."""
    other = folder.with_name("just written")
    write(other)
    for path in other.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    shutil.rmtree(other)


def other_adapter(job: Job) -> None:
    written_over(job.candidate.path, lambda folder: write_adapter(folder, seed=9))


def other_base(job: Job) -> None:
    written_over(job.base.path, lambda folder: write_full(folder, 9))


def other_judge(job: Job) -> None:
    assert job.judge is not None
    written_over(job.judge.path, lambda folder: write_full(folder, 8))


def other_training_data(job: Job) -> None:
    assert job.training is not None
    (path,) = job.training.paths
    path.write_text(path.read_text().replace("a", "b", 1))


def the_same_size_and_times(job: Job) -> None:
    """As a tool leaves it that sets the times of what it copies."""
    path = next(job.candidate.path.glob("*.safetensors"))
    before, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swapped_folder(job: Job) -> None:
    other = write_adapter(job.candidate.path.with_name("other"), seed=9)
    job.candidate.path.rename(job.candidate.path.with_name("gone"))
    other.rename(job.candidate.path)


def new_template(job: Job) -> None:
    (job.candidate.path / "chat_template.jinja").write_text("{{ messages[-1].content }}")


def removed(job: Job) -> None:
    shutil.rmtree(job.candidate.path)


CHANGES = {
    other_adapter: "adapter_model.safetensors",
    other_base: "base",
    other_judge: "judge",
    other_training_data: "training data",
    the_same_size_and_times: "adapter_model.safetensors",
    swapped_folder: "adapter_model.safetensors",
    new_template: "chat_template.jinja",
    removed: "adapter_config.json",
}
STAGES = [
    "before the run",
    "before embedding",
    "before loading",
    "after loading",
    "among the answers",
    "while judging",
    "before the report",
]
MOMENTS = [
    *((change, stage) for change in (other_adapter, other_base, other_judge, other_training_data) for stage in STAGES),
    *((change, "before loading") for change in (the_same_size_and_times, swapped_folder, new_template, removed)),
]


@dataclass
class Meddling:
    """A run during which ``change`` happens at one of the stages."""

    change: Callable[[], object]
    stage: str
    happened: bool = False

    def at(self, stage: str) -> None:
        if stage == self.stage and not self.happened:
            self.happened = True
            self.change()

    def run(self, job: Job, out: Path) -> Report:
        """Raises as evaluate does."""
        models = MeddledEngine(lambda: self.at(self.stage), self.stage)
        judge = MeddledEngine(lambda: self.at("while judging"), "among the answers")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                evaluation, "open_embedder", self._then("before embedding", evaluation.open_embedder, first=True)
            )
            patch.setattr(evaluation, "run_gate", self._then("before the report", evaluation.run_gate))
            self.at("before the run")
            return evaluate(job, out, SilentProgress(), engine=models, judge_engine=judge)

    def _then(self, stage: str, function: Callable[..., Any], *, first: bool = False) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            if first:
                self.at(stage)
            value = function(*arguments)
            self.at(stage)
            return value

        return wrapped


@pytest.mark.parametrize(("change", "stage"), MOMENTS)
def test_a_change_while_it_runs_gives_no_verdict_and_keeps_no_answer(world: World, change: Change, stage: str) -> None:
    job = load_job(world.policy_path, world.manifest_path)
    out = world.root / "out"
    meddling = Meddling(lambda: change(job), stage)
    with pytest.raises(ChangedError, match=CHANGES[change]) as raised:
        meddling.run(job, out)
    assert meddling.happened
    assert "run again" in raised.value.hint
    assert not (out / "report.json").exists()
    assert (out / "answers.jsonl").read_bytes().count(b"\n") == 1, "the header alone"


def other_suite(job: Job) -> None:
    assert job.training is not None
    path = job.training.paths[0].with_name("target.jsonl")
    path.write_text(path.read_text().replace('"answer": "red"', '"answer": "grey"'))


def other_policy(world: World) -> None:
    world.policy_path.write_text(world.policy_path.read_text().replace("draws: 200", "draws: 201"))


def other_manifest(world: World) -> None:
    world.manifest_path.write_text(world.manifest_path.read_text() + "# changed\n")


def told(report: Report) -> dict[str, Any]:
    """A report without its times."""
    value = report.model_dump(mode="json")
    del value["timing"], value["provenance"]["started"], value["provenance"]["finished"]
    return value


@pytest.mark.parametrize("stage", ["before the run", "among the answers", "before the report"])
def test_what_was_read_before_the_run_is_what_is_judged(world: World, stage: str) -> None:
    """Suites, policy and manifest are read once; digests, questions and answers are those of what was read."""
    job = load_job(world.policy_path, world.manifest_path)
    before = Meddling(lambda: None, "before the run").run(job, world.root / "before")

    def change() -> None:
        other_suite(job)
        other_policy(world)
        other_manifest(world)

    meddling = Meddling(change, stage)
    assert told(meddling.run(job, world.root / "out")) == told(before)
    assert meddling.happened
    again = load_job(world.policy_path, world.manifest_path)
    assert again.suites["target"].sha256 != job.suites["target"].sha256
    assert again.manifest_sha256 != job.manifest_sha256
    assert again.policy != job.policy
    saved = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert saved.measurements == before.measurements, "the run keeps a copy of the suites that it read"


@pytest.mark.parametrize(
    ("change", "asked_again"),
    [
        (other_judge, {"judge"}),
        (other_training_data, set()),
        (other_suite, set()),
    ],
)
def test_a_change_between_two_runs_is_another_thing_to_measure(
    world: World, change: Change, asked_again: set[str]
) -> None:
    """Answers under an earlier digest are not taken for those of what is there now."""
    out = world.root / "out"
    job = load_job(world.policy_path, world.manifest_path)
    Meddling(lambda: None, "").run(job, out)
    change(job)
    again, engine = load_job(world.policy_path, world.manifest_path), ScriptedEngine(script(CAREFUL))
    report = evaluate(again, out, SilentProgress(), engine=engine, judge_engine=engine)
    assert {ask.model.name for ask in engine.asked} == asked_again
    fresh = evaluate(again, world.root / "fresh", SilentProgress(), engine=engine, judge_engine=engine)
    assert told(report) == told(fresh) | {"engine_starts": report.engine_starts}


def test_a_copy_of_a_suite_that_changed_decides_nothing(world: World) -> None:
    """The answer keys are no part of a question: nothing else would tell that others decide now."""
    out = world.root / "out"
    Meddling(lambda: None, "").run(load_job(world.policy_path, world.manifest_path), out)
    path = out / "suites" / "target.jsonl"
    path.write_text(path.read_text().replace('"answer": "red"', '"answer": "grey"'))
    with pytest.raises(ConfigurationError, match=r"target\.jsonl: changed after the run"):
        decide_again(out, None, world.root / "again", SilentProgress())


def test_what_an_earlier_run_kept_stays(world: World) -> None:
    out = world.root / "out"
    engine = ScriptedEngine(script(CAREFUL))
    job = load_job(world.policy_path, world.manifest_path)
    evaluate(job, out, SilentProgress(), engine=engine, judge_engine=engine)
    before = (out / "answers.jsonl").read_bytes()
    world.policy["evidence"] = {**world.policy.get("evidence", {}), "seed": 77}
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    meddled = MeddledEngine(lambda: other_adapter(job), "before loading")
    with pytest.raises(ChangedError):
        evaluate(job, out, SilentProgress(), engine=meddled, judge_engine=meddled)
    assert meddled.loaded, "the new seed asks new questions"
    assert (out / "answers.jsonl").read_bytes() == before


def test_the_next_run_judges_what_is_there_under_its_own_digest(world: World) -> None:
    job = load_job(world.policy_path, world.manifest_path)
    out = world.root / "out"
    meddled = MeddledEngine(lambda: other_adapter(job), "before loading")
    with pytest.raises(ChangedError):
        evaluate(job, out, SilentProgress(), engine=meddled, judge_engine=meddled)
    engine = ScriptedEngine(script(Player(target=0.9, forgetting=0.6)))
    again = load_job(world.policy_path, world.manifest_path)
    report = evaluate(again, out, SilentProgress(), engine=engine, judge_engine=engine)
    assert report.verdict == "block"
    digest = json.loads((out / "report.json").read_text())["provenance"]["candidate"]["digest"]
    assert digest == again.candidate.digest != job.candidate.digest


def test_files_are_looked_at_again_while_answers_arrive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed run must not leave answers of weights that changed meanwhile: the next answer is not even stored."""
    monkeypatch.setattr(cached_engine, "VERIFY_SECONDS", 0.0)
    job = load_job(world.policy_path, world.manifest_path)
    engine = MeddledEngine(lambda: other_adapter(job), "among the answers")
    with pytest.raises(ChangedError):
        evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=engine)
    assert len(engine.asked) == MANY + 2, "those before the change, and the one that was not stored"


def test_a_write_right_after_the_hashing_leaves_another_stamp(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for _ in range(20):
        path.write_bytes(b"one")
        (stamp,) = settled_stamps([path])
        path.write_bytes(b"two")
        assert file_stamp(path) != stamp
    assert 0 < CLOCK_TICK < 1


def test_links_are_followed_and_folders_of_the_repository_ignored(tmp_path: Path) -> None:
    folder, target = tmp_path / "folder", tmp_path / "target"
    folder.mkdir()
    target.write_bytes(b"one")
    (folder / "link").symlink_to(target)
    stamps = dict(zip(["link"], settled_stamps([folder / "link"]), strict=True))
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_bytes(b"ref")
    assert changed_files(folder, stamps) == []
    target.write_bytes(b"three")
    assert changed_files(folder, stamps) == ["link"]
    target.unlink()
    assert changed_files(folder, stamps) == ["link"]


def test_a_folder_that_was_moved_away_and_back_is_named(tmp_path: Path) -> None:
    """What was read in its place meanwhile was not what had been hashed."""
    folder, other = tmp_path / "model", tmp_path / "other"
    for at in (folder, other):
        (at / "encoder").mkdir(parents=True)
        (at / "config.json").write_bytes(b"{}")
        (at / "encoder" / "config.json").write_bytes(b"{}")
    stamps = take_snapshot(folder, "model").stamps
    assert changed_files(folder, stamps) == []
    (folder / "encoder" / "config.json").read_bytes()
    assert changed_files(folder, stamps) == [], "reading is no change"
    time.sleep(CLOCK_TICK)
    folder.rename(tmp_path / "away")
    other.rename(folder)
    folder.rename(other)
    (tmp_path / "away").rename(folder)
    assert changed_files(folder, stamps) == [f"{folder.resolve()}/"]
    stamps = take_snapshot(folder, "model").stamps
    time.sleep(CLOCK_TICK)
    (folder / "encoder").rename(folder / "away")
    (folder / "away").rename(folder / "encoder")
    assert f"{folder.resolve()}/encoder/" in changed_files(folder, stamps)
