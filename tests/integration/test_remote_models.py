"""Base and candidate behind a server: what is asked, kept and refused, and that nothing there is ever proven."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.chat_server import refusal
from support.model_server import ModelServer
from support.players import BASE, CAREFUL, FORGETFUL, Player
from support.world import World, write_rows

from ftgate.cli.main import main
from ftgate.config.manifest import read_manifest
from ftgate.config.policy import read_policy
from ftgate.errors import ConfigurationError, EngineError, FtgateError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.github.verify_report import manifest_mismatches
from ftgate.jobs.journal_lines import read_lines
from ftgate.jobs.prepare import load_job
from ftgate.jobs.report_checks import departures
from ftgate.progress import SilentProgress
from ftgate.report.reading import read_report
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")

KEY = "sk-Very-Secret-0123456789"
UNPROVEN = "weights not proven: base and bot were asked at an endpoint, which does not show which weights answered"


def remote_world(root: Path, server: ModelServer) -> World:
    """A target read from letters and a suite of free answers, few items each; both models at ``server``."""
    made = World(root)
    shutil.rmtree(made.root / "models")
    rows = [json.loads(line) for line in (made.root / "evals" / "target.jsonl").read_text().splitlines()]
    write_rows(made.root / "evals" / "target.jsonl", rows[:80])
    made.policy["measurements"] = {
        "target": {"dataset": "evals/target.jsonl", "scorer": "choice"},
        "forgetting": {"dataset": "evals/general.jsonl", "scorer": "exact", "n": 80},
    }
    del made.policy["judge"]
    made.policy["engine"] = {"kind": "openai", "endpoint": {"address": server.url, "api_key_env": "MODELS_KEY"}}
    made.policy["artifacts"] = {"allow": ["endpoint://acme/*"]}
    made.manifest.update(base={"source": "endpoint://acme/origin"}, candidate={"source": "endpoint://acme/bot"})
    made.save()
    return made


def serving(candidate: Player, **options: Any) -> ModelServer:
    return ModelServer({"acme/origin": BASE, "acme/bot": candidate}, **options)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.setenv("MODELS_KEY", KEY)
    with serving(CAREFUL) as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, server: ModelServer) -> World:
    return remote_world(tmp_path, server)


def gate(world: World, **evidence: Any) -> Report:
    world.policy["evidence"].update(evidence)
    world.save()
    return evaluate(load_job(world.policy_path, world.manifest_path), world.root / "out", SilentProgress())


def refused(world: World) -> FtgateError:
    with pytest.raises(FtgateError) as caught:
        load_job(world.policy_path, world.manifest_path)
    assert caught.value.hint
    return caught.value


def checked(world: World, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as left:
        main(["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path), *more])
    shown = capsys.readouterr()
    return left.value.code, shown.out + shown.err


def test_what_is_not_proven_is_at_most_a_hold(world: World, server: ModelServer) -> None:
    report = gate(world)
    assert report.verdict == "hold"
    assert report.reasons[0] == UNPROVEN
    (line,) = [entry for entry in report.checklist if entry.item == "The weights are those that were judged"]
    assert (line.ok, server.url in line.evidence) == (False, True)
    assert not (world.root / "out" / "statement.json").exists()
    assert UNPROVEN in (world.root / "out" / "comment.md").read_text()
    assert server.keys == {f"Bearer {KEY}"}


def test_a_policy_may_accept_it_and_the_report_says_so_all_the_same(world: World) -> None:
    report = gate(world, allow_unproven_weights=True)
    assert report.verdict == "allow"
    assert UNPROVEN in report.reasons
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert (again.verdict, again.measurements) == ("allow", report.measurements)


def test_a_candidate_that_lost_is_blocked(world: World, server: ModelServer) -> None:
    server.players["acme/bot"] = FORGETFUL
    report = gate(world)
    assert report.verdict == "block"
    assert UNPROVEN in report.reasons
    forgetting = report.measurements["forgetting"]
    assert forgetting.status == "block"
    assert (forgetting.base, forgetting.candidate) == (pytest.approx(0.9, abs=0.08), pytest.approx(0.5, abs=0.12))


@pytest.fixture
def deployed(world: World, server: ModelServer) -> World:
    """A third model at the same server is the one that is deployed."""
    server.players["acme/v6"] = Player(target=0.9, forgetting=0.97)
    world.manifest["incumbent"] = "endpoint://acme/v6"
    world.policy["evidence"]["allow_unproven_weights"] = True
    world.save()
    return world


def test_a_deployed_model_behind_the_server_is_compared_too(deployed: World, server: ModelServer) -> None:
    """The candidate lost nothing of the base's general skills, and is worse than the model that it would replace."""
    server.players["acme/bot"] = Player(target=0.9, forgetting=0.8)
    server.players["acme/origin"] = Player(forgetting=0.8)
    report = gate(deployed)
    forgetting = report.measurements["forgetting"]
    assert (report.verdict, forgetting.status) == ("block", "pass")
    assert forgetting.incumbent is not None
    assert forgetting.incumbent.status == "block"
    assert forgetting.incumbent.score == pytest.approx(0.97, abs=0.04)
    served = report.controls["served_models"]
    assert (served["ok"], served["incumbent"]) == (True, ["acme/v6"])
    assert report.controls["incumbent_effect"]["largest_change"] > 0
    assert any("base, bot and incumbent were asked at an endpoint" in reason for reason in report.reasons)
    with gzip.open(deployed.root / "out" / "items.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    differing = [row for row in rows if row["measurement"] == "forgetting" and row["incumbent"] != row["candidate"]]
    assert len(differing) > 5
    asked = len(server.asked)
    again = decide_again(deployed.root / "out", None, deployed.root / "again", SilentProgress())
    assert (again.verdict, again.measurements) == ("block", report.measurements)
    assert len(server.asked) == asked
    assert not list(departures(report, read_policy(deployed.policy_path)))


def test_a_server_answers_for_a_deployed_model_only_where_the_policy_accepts_unproven_weights(deployed: World) -> None:
    deployed.policy["evidence"]["allow_unproven_weights"] = False
    deployed.save()
    error = refused(deployed)
    assert "what a server answers under a name need not be what is deployed" in error.message
    assert "evidence: {allow_unproven_weights: true}" in str(error.hint)


@pytest.mark.parametrize(
    ("incumbent", "problem"),
    [
        ("models/v6", "asks models at engine.endpoint and loads no weights"),
        ("endpoint://other/v6", "the policy does not allow it"),
        ({"source": "endpoint://acme/v6", "digest": "sha256:" + "0" * 64}, "which shows no files"),
    ],
)
def test_a_deployed_model_that_no_server_can_answer_for_is_refused(
    deployed: World, incumbent: object, problem: str
) -> None:
    deployed.manifest["incumbent"] = incumbent
    deployed.save()
    assert problem in str(refused(deployed))


def test_check_asks_the_server_for_the_deployed_model_too(deployed: World, capsys: pytest.CaptureFixture[str]) -> None:
    code, words = checked(deployed, capsys)
    assert not code
    assert "endpoint://acme/v6: not asked; `ftgate check --ask`" in " ".join(words.split())
    code, words = checked(deployed, capsys, "--ask")
    assert not code
    assert "endpoint://acme/v6: answers by" in " ".join(words.split())


def test_a_deployed_model_of_the_base_s_or_the_candidate_s_name_is_that_model(deployed: World) -> None:
    deployed.manifest["incumbent"] = "endpoint://acme/origin"
    deployed.save()
    job = load_job(deployed.policy_path, deployed.manifest_path)
    assert job.deployed.compared == job.base
    deployed.manifest["incumbent"] = "endpoint://acme/bot"
    deployed.save()
    job = load_job(deployed.policy_path, deployed.manifest_path)
    assert job.deployed.compared is None
    assert "the model deployed today is the candidate itself" in job.deployed.notes[0]


def test_the_report_says_where_each_was_asked_and_how(world: World, server: ModelServer) -> None:
    report = gate(world)
    for engine, name in (("engine", "acme/origin"), ("candidate_engine", "acme/bot")):
        facts = report.provenance[engine]
        assert (facts["kind"], facts["endpoint"], facts["model"]) == ("openai", server.url, name)
        assert facts["reads"] == "log-probabilities among the 20 likeliest tokens"
    assert report.provenance["candidate"]["reference"] == "endpoint://acme/bot"
    assert report.provenance["candidate"]["digest"] is None
    served = report.controls["served_models"]
    assert (served["ok"], served["base"], served["candidate"]) == (True, ["acme/origin"], ["acme/bot"])
    assert report.controls["adapter_effect"]["largest_change"] > 0.01


def test_answers_are_kept_at_once_and_asked_once(world: World, server: ModelServer) -> None:
    world.policy["engine"]["endpoint"]["request_budget"] = 150
    world.policy["engine"]["endpoint"]["max_retries"] = 0
    with pytest.raises(EngineError, match=r"model endpoint .* engine\.endpoint\.request_budget is used up"):
        gate(world)
    assert len(server.asked) == 150, "both models share the budget of their server"
    kept = [r for r in read_lines(world.root / "out" / "answers.jsonl")[0] if r["type"] == "answer"]
    assert len(kept) > 100
    world.policy["engine"]["endpoint"]["request_budget"] = None
    report = gate(world)
    first = len(server.asked)
    assert gate(world).measurements == report.measurements
    assert len(server.asked) == first


def test_the_key_is_in_no_file_of_a_run(world: World, server: ModelServer) -> None:
    talk = server.talk
    server.talk = lambda body: refusal(400, f"not with {KEY}") if len(server.asked) % 50 == 0 else talk(body)
    gate(world)
    files = [path for path in (world.root / "out").rglob("*") if path.is_file()]
    texts = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in files]
    assert len(texts) > 5
    assert not [text for text in texts if KEY.encode() in text]


@pytest.mark.parametrize(
    ("answers_as", "reason"),
    [
        ({"acme/bot": "acme/origin"}, "the candidate answered as acme/origin: one model may have answered as both"),
        ({}, "the candidate answered as acme/bot, acme/bot-2: answers of two models as the candidate do not compare"),
    ],
)
def test_a_server_that_answers_as_another_model_holds(
    world: World, server: ModelServer, answers_as: dict[str, str], reason: str
) -> None:
    server.answers_as = answers_as
    if not answers_as:
        talk = server.talk

        def changing(body: dict[str, Any]) -> Any:
            server.answers_as = {"acme/bot": "acme/bot-2"} if len(server.asked) % 3 else {}
            return talk(body)

        server.talk = changing
    report = gate(world, allow_unproven_weights=True)
    assert report.verdict == "hold"
    assert all(reason in m.reason for m in report.measurements.values() if m.n), report.reasons


def test_a_candidate_that_is_the_base_under_another_name_is_found(world: World, server: ModelServer) -> None:
    server.players["acme/bot"] = BASE
    with pytest.raises(FtgateError, match="training changed nothing"):
        gate(world)


def test_a_server_without_log_probabilities_answers_in_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(CAREFUL, logprobs=False) as server:
        world = remote_world(tmp_path, server)
        del world.policy["engine"]["endpoint"]["api_key_env"]
        world.save()
        code, shown = checked(world, capsys, "--ask")
        assert code == 2
        assert "measurements.target: acme/bot at" in " ".join(shown.split())
        asked = len(server.asked)
        with pytest.raises(FtgateError, match=r"measurements\.target: .* gives no log-probabilities"):
            gate(world)
        assert len(server.asked) - asked <= 10, "refused before any item is asked"
        del world.policy["measurements"]["target"]
        report = gate(world)
        assert report.measurements["forgetting"].status == "pass"
        (line,) = [entry for entry in report.checklist if entry.item == "The candidate's weights took effect"]
        assert (line.ok, "no log-probabilities" in line.evidence) == (None, True)


@pytest.mark.parametrize(("generation", "code"), [({"temperature": 0.7}, 4), ({"repetition_penalty": 1.1}, 2)])
def test_settings_that_a_server_refuses_are_found_by_check(
    world: World, capsys: pytest.CaptureFixture[str], generation: dict[str, float], code: int
) -> None:
    """Otherwise each answer of the run would be refused."""
    world.policy["engine"]["generation"] = generation
    world.save()
    left, shown = checked(world, capsys, "--ask")
    assert left == code, shown
    words = " ".join(shown.split())
    assert ("the server refuses engine.generation: HTTP 400: unknown field repetition_penalty" in words) == (code == 2)
    assert "both models answer as deployed:" in words


@pytest.mark.parametrize(("most", "code"), [(5, 4), (3, 2), (2, 2)])
def test_a_server_that_lists_fewer_tokens_than_an_item_has_options_is_refused_by_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], most: int, code: int
) -> None:
    with serving(CAREFUL, most=most) as server:
        world = remote_world(tmp_path, server)
        del world.policy["engine"]["endpoint"]["api_key_env"]
        world.save()
        left, shown = checked(world, capsys, "--ask")
        words = " ".join(shown.split())
        assert left == code, shown
        if code == 2:
            assert f"lists the {most} likeliest tokens, and items have up to 4 options: letters that are not" in words
            assert "have the server list 20 (vllm serve --max-logprobs 20)" in words
            with pytest.raises(FtgateError, match=f"lists the {most} likeliest tokens"):
                gate(world)
        else:
            assert "answers by log-probabilities among the 5 likeliest tokens; a letter outside them fails" in words
            assert gate(world, allow_unproven_weights=True).verdict == "allow"


def test_check_says_what_a_run_would_find(
    world: World, server: ModelServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, shown = checked(world, capsys, "--ask")
    words = " ".join(shown.split())
    assert code == 4, shown
    assert f"{UNPROVEN}: at most a hold (evidence.allow_unproven_weights)" in words
    best = "at best a hold: nothing proves which weights answer at an endpoint (evidence.allow_unproven_weights)"
    assert words.endswith(f"bot: would run, and cannot allow: {best}")
    assert "endpoint://acme/bot: answers by log-probabilities among the 20 likeliest tokens" in words
    assert server.asked
    asked = len(server.asked)
    monkeypatch.delenv("MODELS_KEY")
    code, shown = checked(world, capsys, "--ask")
    assert (code, "not asked, as $MODELS_KEY is not set" in " ".join(shown.split())) == (4, True)
    assert len(server.asked) == asked
    assert checked(world, capsys, "--ask", "--offline")[0] == 2


def test_check_sends_the_key_nowhere_unless_it_is_told_to(
    world: World, server: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """The policy of a pull request's checkout may name any server."""
    for more in ([], ["--offline"]):
        code, shown = checked(world, capsys, *more)
        words = " ".join(shown.split())
        assert code == 4, shown
        assert f"{UNPROVEN}: at most a hold" in words
        assert f"endpoint://acme/bot: not asked; `ftgate check --ask` sends {server.url} a few questions" in words
    assert not server.asked
    assert not server.keys


@pytest.mark.parametrize("field", ["endpoint", "api_key_env", "engine"])
def test_a_manifest_names_no_server(world: World, server: ModelServer, field: str) -> None:
    world.manifest["candidate"][field] = "http://127.0.0.1:1/v1"
    world.save()
    assert f"candidate.{field}: a manifest comes with the change" in refused(world).message
    assert not server.asked


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"candidate": {"source": "models/bot"}}, "asks models at engine.endpoint and loads no weights"),
        ({"candidate": {"source": "endpoint://other/bot"}}, "the policy does not allow it"),
        ({"candidate": {"source": "endpoint://acme/bot", "digest": "sha256:" + "0" * 64}}, "which shows no files"),
        ({"candidate": {"source": "endpoint://acme/origin"}}, "base and candidate are the same model"),
        ({"training_data": {"source": "endpoint://acme/rows"}}, "endpoint"),
    ],
)
def test_what_a_manifest_may_not_say_is_refused(world: World, change: dict[str, Any], named: str) -> None:
    world.manifest.update(change)
    world.save()
    assert named in refused(world).message


def test_an_endpoint_is_no_place_for_weights_that_the_policy_loads(world: World) -> None:
    world.policy["engine"] = {"kind": "vllm"}
    world.save()
    with pytest.raises(FtgateError, match="loads weights and asks no server") as caught:
        load_job(world.policy_path, world.manifest_path)
    assert "name its weights" in str(caught.value)


def test_what_a_server_cannot_show_is_refused_by_check(world: World) -> None:
    world.policy["measurements"]["tail"] = {"dataset": "evals/queries.jsonl", "scorer": "choice"}
    world.save()
    assert "embedding is hidden_states: the base's, and a server does not show them" in refused(world).message
    world.policy["measurements"]["tail"]["embedding"] = "tfidf"
    world.save()
    assert load_job(world.policy_path, world.manifest_path).base.kind == "endpoint"


def test_the_base_may_be_on_another_server_with_a_key_of_its_own(
    world: World, server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASE_KEY", "sk-of-the-base")
    with ModelServer({"acme/origin": BASE}) as other:
        world.policy["engine"]["base"] = {"endpoint": {"address": other.url, "api_key_env": "BASE_KEY"}}
        report = gate(world)
    assert (report.provenance["engine"]["endpoint"], server.keys) == (other.url, {f"Bearer {KEY}"})
    assert other.keys == {"Bearer sk-of-the-base"}
    assert {body["model"] for body in server.asked} == {"acme/bot"}


def test_the_pace_may_change_and_the_server_not(world: World) -> None:
    gate(world)
    endpoint = world.policy["engine"]["endpoint"]
    endpoint.update(timeout=5, concurrency=1, api_key_env=None)
    world.save()
    decide_again(world.root / "out", world.policy_path, world.root / "again", SilentProgress())
    endpoint["address"] = "https://other.example/v1"
    world.save()
    with pytest.raises(ConfigurationError, match="differs in engine"):
        decide_again(world.root / "out", world.policy_path, world.root / "again", SilentProgress())


def test_a_report_is_believed_without_digests_only_where_the_manifest_names_an_endpoint(world: World) -> None:
    gate(world)
    report = read_report(world.root / "out" / "report.json")
    policy = read_policy(world.policy_path)
    job = load_job(world.policy_path, world.manifest_path)
    manifest = read_manifest(world.manifest_path)
    assert list(departures(report, policy)) == []
    assert list(manifest_mismatches(report, manifest, job.manifest_sha256)) == []
    raised = report.model_copy(update={"verdict": "allow"})
    assert "it says allow, but its measurements give hold" in list(departures(raised, policy))
    files = manifest.model_copy(update={"candidate": manifest.candidate.model_copy(update={"source": "models/bot"})})
    assert any("as 'endpoint'" in p for p in manifest_mismatches(report, files, job.manifest_sha256))


def test_a_pilot_asks_the_base_alone(world: World, server: ModelServer, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--policy", str(world.policy_path), "--manifest", str(world.manifest_path)]
    with pytest.raises(SystemExit) as left:
        main(["plan", *files, "--pilot", "5", "--json"])
    assert not left.value.code
    prospects = json.loads(capsys.readouterr().out)["prospects"]
    assert {p["name"]: p["pilot"]["items"] for p in prospects} == {"target": 5, "forgetting": 5}
    assert {body["model"] for body in server.asked} == {"acme/origin"}


@pytest.mark.parametrize("name", ["bot", "base"])
def test_models_of_one_name_on_two_servers_are_two_models(world: World, server: ModelServer, name: str) -> None:
    """Whatever the manifest calls the candidate: it is asked at its own server, and its answers are its own."""
    server.players["acme/bot"] = FORGETFUL
    with ModelServer({"acme/bot": BASE}) as other:
        world.policy["engine"]["base"] = {"endpoint": other.url}
        world.manifest.update(name=name, base={"source": "endpoint://acme/bot"})
        report = gate(world, allow_unproven_weights=True)
        again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert len(other.asked) > 100
    assert len(server.asked) > 100
    assert (report.verdict, report.measurements["forgetting"].status) == ("block", "block")
    served = report.controls["served_models"]
    assert (served["ok"], served["base"], served["candidate"]) == (True, ["acme/bot"], ["acme/bot"])
    assert (again.verdict, again.measurements) == ("block", report.measurements)


@pytest.mark.parametrize("silent", ["base", "candidate"])
def test_either_server_may_give_no_log_probabilities(world: World, server: ModelServer, silent: str) -> None:
    del world.policy["measurements"]["target"]
    with ModelServer({"acme/origin": BASE}, logprobs=silent == "candidate") as other:
        server.logprobs = silent == "base"
        world.policy["engine"]["base"] = {"endpoint": other.url}
        report = gate(world, allow_unproven_weights=True)
    assert report.measurements["forgetting"].status == "pass"
    effect = report.controls["adapter_effect"]
    assert (effect["ok"], "gives no log-probabilities" in effect["reason"]) == (None, True)
