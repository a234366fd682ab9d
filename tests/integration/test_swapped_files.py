"""Files that change between hashing and verdict: never a verdict for what was not measured."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from support.players import CAREFUL, Player, script
from support.world import World, write_adapter, write_full

from ftgate.domain import Answer, Model
from ftgate.engines.base import Ask
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ChangedError
from ftgate.files import CLOCK_TICK, file_stamp, settled_stamps
from ftgate.gate import cached_engine
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import Job, load_job
from ftgate.jobs.unchanged import changed_files
from ftgate.progress import SilentProgress

Change = Callable[[Job], object]


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
            if len(self.asked) > 500:
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
    written_over(job.judge.path, lambda folder: write_full(folder, 9))


def other_training_data(job: Job) -> None:
    assert job.training is not None
    assert job.training.path is not None
    job.training.path.write_text(job.training.path.read_text().replace("a", "b", 1))


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


@pytest.mark.parametrize("when", ["before loading", "after loading", "among the answers"])
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (other_adapter, "adapter_model.safetensors"),
        (other_base, "base"),
        (other_judge, "judge"),
        (other_training_data, "training data"),
        (the_same_size_and_times, "adapter_model.safetensors"),
        (swapped_folder, "adapter_model.safetensors"),
        (new_template, "chat_template.jinja"),
        (removed, "adapter_config.json"),
    ],
)
def test_a_change_while_it_runs_gives_no_verdict_and_keeps_no_answer(
    world: World, change: Change, name: str, when: str
) -> None:
    job = load_job(world.policy_path, world.manifest_path)
    engine = MeddledEngine(lambda: change(job), when)
    out = world.root / "out"
    with pytest.raises(ChangedError, match=name) as raised:
        evaluate(job, out, SilentProgress(), engine=engine, judge_engine=ScriptedEngine(script(CAREFUL)))
    assert "run again" in raised.value.hint
    assert not (out / "report.json").exists()
    assert (out / "answers.jsonl").read_bytes().count(b"\n") == 1, "the header alone"


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
    assert len(engine.asked) == 502, "501 answers, and the one that was not stored"


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
