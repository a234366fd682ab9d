"""Several candidates in one process: what each alone would get, for one start of the engines and one of the judge."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from support.chat_server import Body, ChatServer, Reply, listed
from support.players import CAREFUL, FORGETFUL, Player, answer_of, honest_judge
from support.world import World, write_adapter, write_full, write_rows

from entrypoint.modes import LISTING, run_mode
from ftgate.cli.main import main
from ftgate.cli.run import WORST_FIRST
from ftgate.domain import Answer, Message, Model, Question, canonical
from ftgate.engines import registry
from ftgate.engines.base import Ask
from ftgate.engines.isolation import take_secrets
from ftgate.engines.scripted import ScriptedDevice, ScriptedEngine
from ftgate.errors import EngineError, ExitCode
from ftgate.gate.together import Candidate, Outcome, evaluate_together
from ftgate.github.failure_file import Failure, read_failure
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.reading import read_report
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")
PLAYERS = {"careful": CAREFUL, "forgetful": FORGETFUL, "modest": Player(target=0.75), "base": Player()}


def reply(model: Model, question: Question) -> Answer:
    if question.measurement in ("safety", "tools"):  # the built-in suites have ids of their own
        return Answer(text="I cannot help with that.", tokens=6)
    return (
        honest_judge(model, question)
        if model.name == "judge"
        else answer_of(PLAYERS.get(model.name, PLAYERS["base"]), question)
    )


class Engines:
    """Every engine that is opened, by whom it is for; ``broken`` raises when that candidate is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, device: bool = False, broken: Exception | None = None):
        self.of_models: list[ScriptedEngine] = []
        self.of_judge: list[ScriptedEngine] = []
        self.broken, self.answers_before_it_breaks = broken, 40
        self._device = ScriptedDevice() if device else None
        monkeypatch.setattr(registry, "_ENGINES", {"scripted": self._open})

    def _open(self, _: object, log: Path | None) -> ScriptedEngine:
        device = self._device
        engine = ScriptedEngine(self._reply, one_at_a_time=device is not None, device=device)
        (self.of_judge if log is not None and "judge" in log.name else self.of_models).append(engine)
        return engine

    def _reply(self, model: Model, question: Question) -> Answer:
        if model.name == "forgetful" and self.broken is not None:
            self.answers_before_it_breaks -= 1
            if self.answers_before_it_breaks < 0:
                raise self.broken
        return reply(model, question)

    @property
    def starts(self) -> tuple[int, int]:
        return sum(e.starts for e in self.of_models), sum(e.starts for e in self.of_judge)

    def asked(self, name: str) -> list[Ask]:
        return [ask for engine in (*self.of_models, *self.of_judge) for ask in engine.asked if ask.model.name == name]


@pytest.fixture
def manifests(world: World) -> list[Path]:
    """Three adapters on one base, each with a manifest."""
    world.policy["evidence"]["early_stopping"] = "obrien_fleming"
    for measurement in ("tail", "calibration"):
        world.policy["measurements"].pop(measurement)
    world.save()
    shutil.rmtree(world.root / "models" / "bot")
    paths = []
    for seed, name in enumerate(("careful", "forgetful", "modest"), start=1):
        write_adapter(world.root / "models" / name, seed=seed)
        paths.append(world.root / f"{name}.yaml")
        manifest = {**world.manifest, "name": name, "candidate": {"source": f"models/{name}"}}
        paths[-1].write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return paths


def judged(world: World, manifests: list[Path], out: Path) -> list[Outcome]:
    candidates = [Candidate(load_job(world.policy_path, path), out / path.stem) for path in manifests]
    return list(evaluate_together(candidates, SilentProgress()))


def reports(outcomes: list[Outcome]) -> list[Report]:
    return [outcome.report for outcome in outcomes if outcome.report is not None]


def alike(one: Report, other: Report) -> bool:
    return (one.verdict, one.reasons, one.measurements) == (other.verdict, other.reasons, other.measurements)


def full_weights(world: World, manifests: list[Path]) -> None:
    for seed, path in enumerate(manifests[1:], start=5):
        shutil.rmtree(world.root / "models" / path.stem)
        write_full(world.root / "models" / path.stem, seed=seed)


@pytest.mark.parametrize("weights", ["adapters", "full"])
@pytest.mark.parametrize("device", [False, True], ids=["beside", "in turns"])
def test_each_has_the_verdict_that_it_has_alone_and_nothing_starts_or_is_asked_twice(
    world: World, manifests: list[Path], monkeypatch: pytest.MonkeyPatch, weights: str, *, device: bool
) -> None:
    if weights == "full":
        full_weights(world, manifests)
    alone = []
    for path in manifests:
        Engines(monkeypatch)
        alone += judged(world, [path], world.root / "alone")
    engines = Engines(monkeypatch, device=device)
    together = judged(world, manifests, world.root / "together")
    assert [outcome.name for outcome in together] == ["careful", "forgetful", "modest"]
    assert [report.verdict for report in reports(alone)] == ["allow", "block", "allow"]
    assert all(map(alike, reports(together), reports(alone)))
    assert len(engines.of_models) == len(engines.of_judge) == 1
    assert engines.starts == (1 if weights == "adapters" else 3, 1)
    assert engines.of_models[0].closed == engines.of_judge[0].closed == 1
    for name in ("base", "judge"):
        repeated = Counter(canonical(ask.question.content()) for ask in engines.asked(name))
        assert max(repeated.values()) == 1, f"what the {name} answered is not asked again"


def test_an_item_that_no_model_can_be_asked_is_asked_once_and_brings_no_engine_back(
    world: World, manifests: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM refuses a prompt that is too long each time, for one candidate as for the next."""

    def too_long(self: Engines, model: Model, question: Question) -> Answer:
        if model.name != "judge" and question.item_id == "g0":
            return Answer(finish="error", error="too long")
        return reply(model, question)

    info = ScriptedEngine.info
    monkeypatch.setattr(Engines, "_reply", too_long)
    monkeypatch.setattr(ScriptedEngine, "info", lambda self: replace(info(self), kind="vllm"))
    engines = Engines(monkeypatch, device=True)
    assert [outcome.error for outcome in judged(world, manifests, world.root / "out")] == [None] * 3
    assert engines.starts == (1, 1)
    assert sum(ask.question.item_id == "g0" and not ask.question.repeat for ask in engines.asked("base")) == 1


def test_an_adapter_leaves_the_engine_before_the_next_one_comes(
    world: World, manifests: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[set[str]] = []
    require = ScriptedEngine.require

    def noted(self: ScriptedEngine, models: list[Model]) -> None:
        require(self, models)
        loaded.append({model.name for model in self.loaded if model.kind == "adapter"})

    monkeypatch.setattr(ScriptedEngine, "require", noted)
    Engines(monkeypatch)
    judged(world, manifests, world.root / "out")
    assert [names for names in loaded if names] == [{"careful"}, {"forgetful"}, {"modest"}]


@pytest.mark.parametrize("device", [False, True], ids=["beside", "in turns"])
@pytest.mark.parametrize("error", [EngineError("the engine died"), RuntimeError("a bug")], ids=["engine", "bug"])
def test_a_crash_costs_one_candidate_its_verdict_and_the_others_nothing(
    world: World, manifests: list[Path], monkeypatch: pytest.MonkeyPatch, error: Exception, *, device: bool
) -> None:
    engines = Engines(monkeypatch, device=device, broken=error)
    first, second, third = judged(world, manifests, world.root / "out")
    assert second.error is error
    assert second.report is None
    assert not (world.root / "out" / "forgetful" / "report.json").exists()
    assert first.report is not None
    assert third.report is not None
    assert read_report(world.root / "out" / "modest" / "report.json").verdict == "allow"
    assert len(engines.of_models) == 2, "engines are opened anew: they may have been left in any state"
    first_pass = [ask for ask in engines.of_models[1].asked if ask.model.name == "base"]
    assert not first_pass, "the base's answers come from the first candidate's journal"
    Engines(monkeypatch)
    again = judged(world, manifests, world.root / "out")
    assert [outcome.error for outcome in again] == [None] * 3


def test_a_run_that_was_killed_asks_nothing_again_that_was_answered(
    world: World, manifests: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Engines(monkeypatch)
    expected = judged(world, manifests, world.root / "whole")
    killed = Engines(monkeypatch)
    killed.broken = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        judged(world, manifests, world.root / "out")
    rest = Engines(monkeypatch)
    resumed = judged(world, manifests, world.root / "out")
    assert all(map(alike, reports(resumed), reports(expected)))
    assert not rest.asked("base")
    assert not rest.asked("careful")
    first, second = len(killed.asked("forgetful")), len(rest.asked("forgetful"))
    # The question under way when it was killed had no answer yet.
    assert first - 1 + second == len(whole.asked("forgetful"))


def test_a_candidate_that_cannot_be_prepared_is_told_and_the_others_are_judged(
    world: World, manifests: list[Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Engines(monkeypatch)
    monkeypatch.chdir(world.root)
    (world.root / "models" / "careful" / "adapter_model.safetensors").write_bytes(b"broken")
    given = [word for path in manifests for word in ("--manifest", path.name)]
    assert leave("run", "--policy", "ftgate.yml", *given) == ExitCode.USAGE
    printed = capfd.readouterr()
    assert "ftgate: error: careful.yaml: " in printed.err
    assert "what to do: " in printed.err
    assert "careful.yaml: no verdict, see the error above" in printed.out
    assert not Path("out/careful/report.json").exists()
    assert {path.parent.name for path in Path("out").glob("*/report.json")} == {"forgetful", "modest"}
    assert "1 of 2 may merge: modest." in " ".join(printed.out.split())


def test_a_folder_that_cannot_be_used_costs_the_others_nothing(
    world: World, manifests: list[Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Engines(monkeypatch)
    monkeypatch.chdir(world.root)
    (world.root / "out" / "careful" / "report.json").mkdir(parents=True)
    given = [word for path in manifests for word in ("--manifest", path.name)]
    assert leave("run", "--policy", "ftgate.yml", *given) == ExitCode.GATE_FAILED
    printed = capfd.readouterr()
    assert "report.json" in printed.err
    assert "careful: no verdict, see the error above" in printed.out
    assert all(Path("out", name, "report.json").is_file() for name in ("forgetful", "modest"))


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def test_the_action_judges_the_manifests_of_a_change_together_and_says_why_one_has_no_verdict(
    world: World, manifests: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third is broken when the engine asks it, which takes the process with it; alone it fails for its reason."""
    engines = Engines(monkeypatch, broken=EngineError("the engine died"))
    monkeypatch.chdir(world.root)
    names = [path.name for path in manifests]
    Path(LISTING).write_text(json.dumps({"policy": "ftgate.yml", "sha": "a" * 40, "manifests": names}))
    calls: list[list[str]] = []

    def ftgate(arguments: Sequence[str], env: Mapping[str, str]) -> int:
        calls.append(list(arguments))
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", dict(env))
            return leave(*arguments)

    env = {"INPUT_MODE": "evaluate", "INPUT_JOB": ".", "INPUT_OUT": "results", "FTGATE_ANSWERS": "off"}
    assert run_mode(env, ftgate, lambda _: "") == ExitCode.GATE_FAILED
    assert [call.count("--manifest") for call in calls] == [3, 1]
    verdicts = {path.parent.name: read_report(path).verdict for path in Path("results").glob("*/report.json")}
    assert verdicts == {"001-careful": "allow", "003-modest": "allow"}
    assert read_failure(Path("results", "002-forgetful")) == Failure("forgetful.yaml", "the engine died")
    assert sum(ask.question.repeat == 0 for ask in engines.asked("base")) == len(
        {canonical(ask.question.content()) for ask in engines.asked("base") if ask.question.repeat == 0}
    ), "not even the process that runs again asks the base anything that was answered"


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every engine plays the script."""
    monkeypatch.setattr(
        registry, "_ENGINES", {kind: lambda settings, log: ScriptedEngine(reply) for kind in ("vllm", "scripted")}
    )


@pytest.mark.usefixtures("scripted", "manifests")
def test_candidates_without_files_are_compared_under_one_policy(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world.root)
    given = [word for name in ("careful", "forgetful") for word in ("--candidate", f"models/{name}")]
    code = leave(
        "run", "--base", "models/base", "--target", "evals/target.jsonl", *given, "--out", "sweep", "--limit", "30"
    )
    found = [read_report(Path("sweep", name, "report.json")) for name in ("careful", "forgetful")]
    assert code == ExitCode.HOLD
    assert {report.verdict for report in found} == {"hold"}
    assert found[0].provenance["policy_sha256"] == found[1].provenance["policy_sha256"]
    printed = capfd.readouterr()
    assert printed.err.count("not measured: tail: ") == 1
    assert "careful (1 of 2) is judged" in printed.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--manifest", "careful.yaml", "--manifest", "careful.yaml"), "two candidates are called careful"),
        (("--manifest", "careful.yaml", "--candidate", "a", "--candidate", "b"), "manifest and candidate: give one of"),
        (("--candidate", "a", "--candidate", "b", "--name", "c"), "--name is for one candidate, and 2 are given"),
        (("--candidate", "a", "--candidate", "b", "--write-policy", "c"), "--write-policy is for one candidate"),
        (
            (
                "--manifest",
                "careful.yaml",
                "--manifest",
                "modest.yaml",
                "--manifest",
                "forgetful.yaml",
                *("--out", "x") * 2,
            ),
            "--out is given 2 times for 3 candidates",
        ),
        (("--manifest", "careful.yaml", "--out", "x", "--out", "y"), "--out is given 2 times for one candidate"),
        (
            ("--manifest", "careful.yaml", "--manifest", "modest.yaml", "--out", "out", "--out", "models/../out"),
            "would write into",
        ),
        (
            ("--base", "models/base", "--base", "models/other", "--candidate", "models/careful"),
            "--base is given 2 times",
        ),
    ],
)
@pytest.mark.usefixtures("scripted", "manifests")
def test_what_cannot_be_meant_is_refused(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(world.root)
    assert leave("run", "--policy", "ftgate.yml", *options) == ExitCode.USAGE
    assert words in capfd.readouterr().err
    assert not Path("out").exists()


def test_every_exit_code_has_a_place_among_the_worst() -> None:
    assert set(WORST_FIRST) == set(ExitCode)


def test_a_judge_at_an_endpoint_is_opened_once_while_its_key_is_there(
    world: World, manifests: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine takes all credentials when it starts; after one that died, the judge goes on with its key."""
    require = ScriptedEngine.require

    def started(self: ScriptedEngine, models: Sequence[Model]) -> None:
        take_secrets()
        require(self, models)

    def honest(body: Body) -> Reply:
        messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
        if len(messages) == 1:  # the question that finds out what the server can do
            return listed({"5": 0.96, **{str(k): 0.01 for k in range(1, 5)}})
        judge = Model("judge", Path(), "", kind="endpoint")
        logprobs = honest_judge(judge, Question("m", "i", messages)).option_logprobs
        return listed({str(k): math.exp(value) for k, value in enumerate(logprobs, start=1)})

    monkeypatch.setattr(ScriptedEngine, "require", started)
    engines = Engines(monkeypatch, broken=EngineError("the engine died"))
    engines.answers_before_it_breaks = 5
    monkeypatch.setenv("JUDGE_KEY", "sk-Very-Secret-0123456789")
    rows = [{"id": f"g{i}", "prompt": f"spell {i}", "answer": f"word {i} of {i % 7}"} for i in range(45)]
    write_rows(world.root / "evals" / "general.jsonl", rows)
    with ChatServer(honest) as server:
        world.policy["judge"] = {"endpoint": server.url, "model": "marker", "api_key_env": "JUDGE_KEY"}
        world.policy["measurements"].pop("target")
        world.save()
        careful, forgetful, modest = judged(world, manifests, world.root / "out")
    assert "JUDGE_KEY" not in os.environ
    assert isinstance(forgetful.error, EngineError)
    assert (careful.error, modest.error) == (None, None)
    assert modest.report is not None
    assert modest.report.controls["judge_fitness"]
    assert len(engines.of_models) == 2
    asked = Counter(json.dumps(body["messages"]) for body in server.asked)
    assert max(asked.values()) <= 2, "the retest asks again, the next candidate does not"
