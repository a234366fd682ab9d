"""A whole run whose judge is behind an endpoint: what is asked, kept, told, and never told."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.chat_server import Body, ChatServer, Reply, listed, refusal, said
from support.players import CAREFUL, COMPARING_JUDGES, Player, honest_judge, script
from support.world import World, write_rows

from ftgate.cli.main import main
from ftgate.domain import Message, Model, Question
from ftgate.engines import registry
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError, EngineError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")

KEY = "sk-Very-Secret-0123456789"
JUDGE = Model("judge", Path(), "", kind="endpoint")


def grade(body: Body) -> list[float]:
    messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
    if len(messages) == 1:  # the question that finds out what the server can do
        return [0.01, 0.01, 0.01, 0.01, 0.96]
    return [math.exp(v) for v in honest_judge(JUDGE, Question("m", "i", messages)).option_logprobs]


def honest(body: Body) -> Reply:
    return listed({str(k): p for k, p in enumerate(grade(body), start=1)})


def compares(name: str) -> Callable[[Body], Reply]:
    """A server whose model is a script that compares the answer with the reference."""

    def talk(body: Body) -> Reply:
        if len(body["messages"]) == 1:
            return honest(body)
        question = Question("m", "i", tuple(Message(m["role"], m["content"]) for m in body["messages"]))
        digits = COMPARING_JUDGES[name](JUDGE, question).option_logprobs
        return listed({str(k): math.exp(v) for k, v in enumerate(digits, start=1)})

    return talk


def honest_without_log_probabilities(body: Body) -> Reply:
    digits = grade(body)
    return said(*[str(1 + digits.index(max(digits)))] * body.get("n", 1))


@dataclass(frozen=True)
class Run:
    """A run that came to its end, its server still there."""

    world: World
    server: ChatServer
    report: Report
    requests: int


def endpoint_world(root: Path, server: ChatServer) -> World:
    """Forgetting alone, on few items, judged at the endpoint."""
    made = World(root)
    rows = [{"id": f"g{i}", "prompt": f"spell {i}", "answer": f"word {i} of {i % 7}"} for i in range(45)]
    write_rows(made.root / "evals" / "general.jsonl", rows)
    made.policy["measurements"] = {"forgetting": made.policy["measurements"]["forgetting"]}
    made.policy["judge"] = {"endpoint": server.url, "model": "marker", "api_key_env": "JUDGE_KEY", "max_retries": 0}
    made.save()
    return made


def gate(world: World, models: ScriptedEngine | None = None, **judge: Any) -> Report:
    """A run with fields of the judge section changed."""
    world.policy["judge"].update(judge)
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    engine = models or ScriptedEngine(script(CAREFUL))
    return evaluate(job, world.root / "out", SilentProgress(), engine=engine)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch, ChatServer(honest) as server:
        patch.setenv("JUDGE_KEY", KEY)
        world = endpoint_world(tmp_path_factory.mktemp("run"), server)
        yield Run(world, server, gate(world), len(server.asked))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with ChatServer(honest) as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, server: ChatServer) -> World:
    return endpoint_world(tmp_path, server)


def test_a_judge_at_an_endpoint_grades_like_one_at_home(run: Run, world: World) -> None:
    world.policy["judge"] = {"source": "models/judge"}
    world.save()
    play = ScriptedEngine(script(CAREFUL))
    job = load_job(world.policy_path, world.manifest_path)
    local = evaluate(job, world.root / "local", SilentProgress(), engine=play, judge_engine=play)
    assert run.report.controls["judge_fitness"]["forgetting"]["fit"]
    one, other = run.report.measurements["forgetting"], local.measurements["forgetting"]
    assert (one.base, one.candidate, one.change) == pytest.approx((other.base, other.candidate, other.change))


def test_an_endpoint_that_answers_as_another_model_from_some_request_on_holds(world: World, server: ChatServer) -> None:
    """A gateway may route to another model, or roll out the next version, while a run is going on."""

    def talk(body: Body) -> Reply:
        reply = honest(body)
        return replace(reply, body={**reply.body, "model": "m" if len(server.asked) < 500 else "m-2"})

    server.talk = talk
    report = gate(world)
    forgetting = report.measurements["forgetting"]
    assert (report.verdict, forgetting.status) == ("hold", "inconclusive")
    assert forgetting.reason == ("control failed: the judge's endpoint answered as m, m-2: grades by two models differ")
    assert report.controls["judge_model"]["names"] == ["m", "m-2"]
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert again.measurements == report.measurements


def test_the_name_that_an_endpoint_answered_under_is_in_the_report(run: Run) -> None:
    assert run.report.controls["judge_model"] == {
        "ok": True,
        "reason": "the judge's endpoint answered as m",
        "names": ["m"],
    }


@pytest.mark.parametrize("name", ["equal", "word F1", "ROUGE-L"])
def test_a_script_that_compares_strings_earns_no_vote(world: World, server: ChatServer, name: str) -> None:
    """On a suite of one's own, of which no known answers exist: the built-in ones are part of every test."""
    server.talk = compares(name)
    report = gate(world)
    tested = report.controls["judge_fitness"]["forgetting"]
    assert not tested["fit"]
    assert tested["known_auroc"] < 0.6 < 0.8 < tested["auroc_low"]
    assert report.verdict == "hold"
    forgetting = report.measurements["forgetting"]
    assert forgetting.status == "inconclusive"
    assert forgetting.reason.startswith("judge unfit: AUROC of right answers in other words against subtly wrong ones")
    line = next(entry for entry in report.checklist if entry.item.startswith("The judge passed"))
    assert (line.ok, "on 120 known answers" in line.evidence) == (False, True)


def test_a_policy_may_leave_the_known_answers_out_and_the_report_says_so(world: World, server: ChatServer) -> None:
    server.talk = compares("equal")
    report = gate(world, known_answers=False)
    tested = report.controls["judge_fitness"]["forgetting"]
    assert (tested["fit"], tested["known_answers"], tested["known_auroc"]) == (True, 0, None)
    line = next(entry for entry in report.checklist if entry.item.startswith("The judge passed"))
    assert "not tested on known answers (`judge.known_answers`), so it may only compare words" in line.evidence


def test_the_report_says_who_judged_and_how_its_replies_were_read(run: Run) -> None:
    judge = run.report.provenance["judge"]
    assert (judge["kind"], judge["endpoint"], judge["model"]) == ("endpoint", run.server.url, "marker")
    assert judge["reads"] == "log-probabilities among the 5 likeliest tokens"
    (line,) = [entry for entry in run.report.checklist if entry.item.startswith("The judge is neither")]
    assert line.ok is None
    assert "does not show its weights" in line.evidence
    assert "5 likeliest tokens" in (run.world.root / "out" / "report.html").read_text()


def test_a_finished_run_asks_nothing(run: Run) -> None:
    before = len(run.server.asked)
    assert gate(run.world).measurements == run.report.measurements
    assert len(run.server.asked) == before


def test_a_broken_run_asks_only_for_what_is_missing(run: Run, world: World, server: ChatServer) -> None:
    """Once its budget was spent, once its key was revoked half-way; then it comes to its end."""
    with pytest.raises(EngineError, match=r"judge\.request_budget"):
        gate(world, request_budget=200)
    assert len(server.asked) == 200
    calls = iter(range(10_000))
    server.talk = lambda body: honest(body) if next(calls) < 200 else refusal(401, "key revoked")
    with pytest.raises(EngineError, match="refused the key"):
        gate(world, request_budget=None)
    refused = len(server.asked) - 400
    assert 1 <= refused <= 8
    server.talk = honest
    report = gate(world)
    assert len(server.asked) == run.requests + refused
    assert report.measurements == run.report.measurements


def test_answers_of_another_judge_are_not_taken_for_this_ones(run: Run, world: World) -> None:
    shutil.copytree(run.world.root / "out", world.root / "out")
    with pytest.raises(EngineError, match="was sent 9 requests"):
        gate(world, endpoint=run.server.url, model="other", request_budget=9)


def test_sampled_digits_are_counted_and_the_report_says_so(world: World, server: ChatServer) -> None:
    server.talk = honest_without_log_probabilities
    report = gate(world, samples=12, model="bot", allow_self=True)
    assert report.controls["judge_fitness"]["forgetting"]["fit"]
    assert report.provenance["judge"]["reads"] == "12 sampled replies a question, counted"
    for line in (world.root / "out" / "answers.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    (line,) = [entry for entry in report.checklist if entry.item.startswith("The judge is neither")]
    assert line.ok is False
    assert "allow_self" in line.evidence


def test_decide_needs_neither_server_nor_key(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(run.world.root / "out", tmp_path / "out")
    monkeypatch.delenv("JUDGE_KEY")
    before = len(run.server.asked)
    again = decide_again(tmp_path / "out", None, tmp_path / "again", SilentProgress())
    assert again.measurements == run.report.measurements
    assert again.provenance["judge"] == run.report.provenance["judge"]
    assert len(run.server.asked) == before


def test_decide_lets_the_pace_change_and_not_the_judge(run: Run, world: World) -> None:
    judge = world.policy["judge"]
    judge.update(endpoint=run.server.url, timeout=5, concurrency=1, request_budget=1, api_key_env=None)
    world.save()
    decide_again(run.world.root / "out", world.policy_path, world.root / "again", SilentProgress())
    judge["model"] = "other"
    world.save()
    with pytest.raises(ConfigurationError, match="differs in judge"):
        decide_again(run.world.root / "out", world.policy_path, world.root / "again", SilentProgress())


def test_the_key_is_in_no_file_of_a_run(world: World, server: ChatServer) -> None:
    server.faults.extend([listed(dict.fromkeys("12345", 0.2)), refusal(400, f"not with {KEY}")])
    with pytest.raises(EngineError):
        gate(world, request_budget=100)
    assert server.keys == {f"Bearer {KEY}"}
    files = {path.name: path.read_text() for path in (world.root / "out").rglob("*") if path.is_file()}
    assert {"job.json", "answers.jsonl"} <= files.keys()
    assert not [name for name, text in files.items() if KEY in text]
    assert "not with [key]" in files["answers.jsonl"]


def test_a_missing_key_is_a_usage_error_before_any_work(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JUDGE_KEY")
    models = ScriptedEngine(script(CAREFUL))
    with pytest.raises(ConfigurationError, match="JUDGE_KEY"):
        gate(world, models=models)
    assert not models.asked
    with pytest.raises(SystemExit) as left:
        main(["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)])
    assert left.value.code == 4, "a check needs no key, and says only that the rows are too few for an allow"
    shown = capsys.readouterr().out
    assert "marker at" in shown
    assert "endpoint" in shown


def test_a_server_that_is_down_stops_the_run_before_any_work(world: World, server: ChatServer) -> None:
    server.stop()
    models = ScriptedEngine(script(CAREFUL))
    with pytest.raises(EngineError, match=r"judge endpoint .* could not be reached") as caught:
        gate(world, models=models)
    assert caught.value.exit_code == 3
    assert not models.asked


@pytest.mark.parametrize("model", ["base", "acme/BOT", "models/bot"])
def test_a_judge_with_the_name_of_a_judged_model_is_refused(world: World, model: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"judge\.model '{model}' has the name of"):
        gate(world, model=model)


def test_a_judge_that_always_says_five_never_allows(world: World, server: ChatServer) -> None:
    server.talk = lambda body: said(*"5" * body.get("n", 1))
    report = gate(world)
    assert report.verdict == "hold"
    assert "judge unfit" in report.measurements["forgetting"].reason


def test_a_pilot_is_graded_at_the_endpoint_and_asks_for_nothing_else(
    world: World, server: ChatServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ScriptedEngine(script(CAREFUL, base=Player(forgetting=0.0)))
    monkeypatch.setattr(registry, "_ENGINES", {"scripted": lambda *_: models})
    files = ["--policy", str(world.policy_path), "--manifest", str(world.manifest_path)]
    with pytest.raises(SystemExit) as left:
        main(["plan", *files, "--pilot", "5", "--json"])
    assert not left.value.code
    (found,) = json.loads(capsys.readouterr().out)["prospects"]
    assert (found["pilot"]["items"], found["pilot"]["base"]) == (5, pytest.approx(0.025))
    assert "could go unseen" in found["pilot"]["warnings"][0]
    assert found["base"] == pytest.approx(0.1), "half an item of the five"
    assert len(models.asked) == 5
    assert 5 <= len(server.asked) <= 5 * 6 + 2, "the grades of those five, and what the server can do"
