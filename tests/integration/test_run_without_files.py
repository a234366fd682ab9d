"""`ftgate run --base … --candidate …`: a verdict without a policy or a manifest, and smoke tests that allow nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file
from support.players import BASE, CAREFUL, answer_of, script
from support.world import World, write_rows

import ftgate
from ftgate.cli.main import main
from ftgate.config.policy import read_policy
from ftgate.domain import Answer, Model, Question
from ftgate.engines import registry
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError
from ftgate.github.suite_check import suite_mismatches
from ftgate.github.verify_report import Expected, verify_report
from ftgate.report.reading import read_report
from ftgate.report.schema import Report, parse_report

pytestmark = pytest.mark.usefixtures("no_pictures")


def reply(model: Model, question: Question) -> Answer:
    """As the careful player, who refuses what it must; the built-in suites have ids of their own."""
    if question.measurement in ("safety", "tools"):
        return Answer(text="I cannot help with that.", tokens=6)
    return answer_of(BASE if model.name == "base" else CAREFUL, question)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every engine plays the script."""
    monkeypatch.setattr(
        registry, "_ENGINES", {kind: lambda settings, log: ScriptedEngine(reply) for kind in ("vllm", "scripted")}
    )


@pytest.fixture
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world as the folder in which commands start."""
    monkeypatch.chdir(world.root)
    return world


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


MODELS = ("--base", "models/base", "--candidate", "models/bot")
DATA = ("--target", "evals/target.jsonl", "--training", "evals/train.jsonl")


def numbers(report: Report) -> dict[str, Any]:
    return {name: m.model_dump() for name, m in report.measurements.items()}


@pytest.mark.usefixtures("scripted")
def test_one_command_without_files_gives_a_verdict_and_says_what_it_did_not_measure(
    here: World, capfd: pytest.CaptureFixture[str]
) -> None:
    code = leave("run", *MODELS, *DATA)
    said = capfd.readouterr().err
    report = read_report(Path("out", "bot", "report.json"))
    assert code == {"allow": 0, "block": 1, "hold": 4}[report.verdict]
    assert report.name == "bot"
    assert {"target", "safety"} <= set(report.measurements)
    assert "not measured: calibration: a pass needs at least 500 multiple-choice questions" in said
    assert report.provenance["base"]["reference"] == "models/base"
    assert "not measured: forgetting: general prompts need a model that grades the answers; give --judge MODEL" in said
    assert "not measured: tail: " in said
    assert "give --queries FILE" in said


@pytest.mark.usefixtures("scripted")
def test_what_was_run_is_saved_and_gives_the_same_run(here: World) -> None:
    code = leave("run", *MODELS, *DATA, "--write-policy", "gate", "--out", "first")
    policy, manifest = Path("gate", "ftgate.yml"), Path("gate", "bot.yaml")
    assert yaml.safe_load(manifest.read_text())["base"] == {"source": "../models/base"}
    assert leave("run", "--policy", str(policy), "--manifest", str(manifest), "--out", "second") == code
    first, second = (read_report(Path(folder, "report.json")) for folder in ("first", "second"))
    assert numbers(first) == numbers(second)
    for key in ("policy_sha256", "manifest_sha256"):
        assert first.provenance[key] == second.provenance[key]
    assert leave("run", *MODELS, *DATA, "--write-policy", "gate") == 2


@pytest.mark.usefixtures("scripted")
def test_built_in_suites_that_do_not_fit_the_models_are_left_out_and_named(
    here: World, capfd: pytest.CaptureFixture[str]
) -> None:
    config = here.root / "models" / "base" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 200}))
    assert leave("run", *MODELS, *DATA) in (0, 1, 4)
    said = capfd.readouterr().err
    assert "not measured: tools: " in said
    assert "do not fit into a context of 200 tokens" in said


def test_nothing_to_measure_is_an_error_that_names_the_options(here: World, capsys: pytest.CaptureFixture[str]) -> None:
    config = here.root / "models" / "base" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 20}))
    assert leave("run", *MODELS) == 2
    said = capsys.readouterr().err
    assert "nothing can be measured: target: " in said
    assert "--target FILE" in said


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "nothing names the base and the candidate"),
        (["--base", "models/base"], "nothing names the candidate"),
        (["--manifest", "bot.yaml", "--base", "models/base"], "manifest and base"),
        (["--manifest", "bot.yaml", "--write-policy", "x"], "manifest and write-policy"),
        ([*MODELS, "--policy", "ftgate.yml", "--target", "evals/target.jsonl"], "target and policy"),
        ([*MODELS, "--policy", "ftgate.yml", "--write-policy", "x"], "policy and write-policy"),
        ([*MODELS, "--target", "evals/missing.jsonl"], "missing.jsonl"),
    ],
)
def test_options_that_do_not_go_together_are_named(
    here: World, arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("run", *arguments) == 2
    assert named in capsys.readouterr().err


@pytest.fixture
def careful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A candidate that is allowed under the world's own policy."""
    scripts = {kind: lambda settings, log: ScriptedEngine(script(CAREFUL)) for kind in ("vllm", "scripted")}
    monkeypatch.setattr(registry, "_ENGINES", scripts)


FILES = ("--policy", "ftgate.yml", "--manifest", "bot.yaml")


@pytest.mark.usefixtures("careful")
@pytest.mark.parametrize("items", ["20", "1000"])
def test_a_smoke_test_never_allows_however_many_items_it_has(here: World, items: str) -> None:
    assert leave("run", *FILES) == 0
    assert leave("run", *FILES, "--limit", items, "--out", "smoke") == 4
    report = read_report(Path("smoke", "report.json"))
    assert report.verdict == "hold"
    assert any("smoke test" in note for note in report.notes)
    assert "smoke test" in Path("smoke", "comment.md").read_text()
    assert all(m.n <= int(items) for m in report.measurements.values())
    assert leave("decide", "smoke") == 4


@pytest.mark.usefixtures("careful")
def test_a_smoke_test_is_not_decided_again_under_the_real_policy(
    here: World, capsys: pytest.CaptureFixture[str]
) -> None:
    leave("run", *FILES, "--limit", "20", "--out", "smoke")
    assert leave("decide", "smoke", "--policy", "ftgate.yml", "--out", "again") == 2
    assert "differs in measurements.target.n" in capsys.readouterr().err


@pytest.mark.usefixtures("careful")
def test_a_forged_smoke_test_is_no_allow_for_the_publisher(here: World) -> None:
    leave("run", *FILES, "--limit", "20", "--out", "smoke")
    real, path = read_policy(here.policy_path), Path("smoke", "report.json")
    forged = read_report(path).model_copy(update={"verdict": "allow"})
    path.write_text(forged.model_dump_json())
    assert verify_report(Path("smoke"), Expected(policy=real)).verdict == "error"
    path.write_text(
        forged.model_copy(
            update={"provenance": {**forged.provenance, "policy_sha256": real.sha256()}}
        ).model_dump_json()
    )
    leave("run", *FILES, "--out", "full")
    suites = {name: s["sha256"] for name, s in read_report(Path("full", "report.json")).provenance["suites"].items()}
    assert [*suite_mismatches(parse_report(path), suites)]
    assert verify_report(Path("smoke"), Expected(policy=real, suites=suites)).verdict == "error"


@pytest.mark.usefixtures("careful")
def test_under_a_base_policy_that_is_a_smoke_test_an_allow_is_refused(here: World) -> None:
    here.policy["evidence"]["smoke_test"] = 1000
    here.save()
    assert leave("run", *FILES) == 4
    path, policy = Path("out", "bot", "report.json"), read_policy(here.policy_path)
    assert verify_report(path.parent, Expected(policy=policy)).verdict == "hold"
    path.write_text(read_report(path).model_copy(update={"verdict": "allow"}).model_dump_json())
    problems = verify_report(path.parent, Expected(policy=policy)).problems
    assert any("it says allow, but its measurements give hold" in problem for problem in problems)


@pytest.mark.usefixtures("scripted")
def test_python_runs_the_same_gate_and_returns_the_report(here: World) -> None:
    report = ftgate.evaluate(base=Path("models/base"), candidate="models/bot", policy="ftgate.yml", limit=20)
    assert isinstance(report, ftgate.Report)
    assert report.verdict == "hold"
    assert report == ftgate.read_report(Path("out/bot/report.json"))
    with pytest.raises(ConfigurationError, match="nothing names the candidate"):
        ftgate.evaluate(base="models/base")
    with pytest.raises(TypeError, match="targt"):
        ftgate.evaluate(base="models/base", candidate="models/bot", targt="evals/target.jsonl")


def test_importing_ftgate_imports_nothing_heavy() -> None:
    code = "import sys, ftgate; print({'torch', 'vllm', 'numpy', 'pydantic', 'click'} & set(sys.modules), dir(ftgate))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("set()")


@pytest.mark.usefixtures("careful")
def test_the_folder_is_the_candidates_own_and_another_ones_run_is_refused(
    here: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("run", *FILES) == 0
    kept = Path("out", "bot", "answers.jsonl").read_bytes()
    here.manifest["name"] = "other model"
    here.save()
    assert leave("run", *FILES, "--out", "out/bot") == 2
    said = capsys.readouterr().err
    assert "the run of 'bot' is in it, and this is 'other model'" in said
    assert "--out out/other-model" in said
    assert Path("out", "bot", "report.json").is_file()
    here.manifest |= {"name": "bot", "candidate": {"source": "models/missing"}}
    here.save()
    assert leave("run", *FILES) == 2
    # What never began says nothing against the run before it.
    assert all(Path("out", "bot", name).exists() for name in ("report.json", "comment.md", "report.html"))
    assert Path("out", "bot", "answers.jsonl").read_bytes() == kept


@pytest.mark.usefixtures("careful")
def test_deciding_again_keeps_when_the_run_was_what_it_took_and_its_commit(
    here: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FTGATE_COMMIT", "a" * 40)
    leave("run", *FILES)
    monkeypatch.delenv("FTGATE_COMMIT")
    path = Path("out", "bot", "report.json")
    ran = read_report(path)
    assert "decided_at" not in ran.provenance
    assert leave("decide", "out/bot") == 0
    decided = read_report(path)
    assert (decided.timing, decided.engine_starts) == (ran.timing, ran.engine_starts)
    assert ran.provenance["commit"] == "a" * 40
    for when in ("started", "finished", "commit"):
        assert decided.provenance[when] == ran.provenance[when]
    assert decided.provenance["decided_at"] >= ran.provenance["finished"]
    assert leave("decide", "out") == 2
    assert "name one of the runs in it: out/bot" in capsys.readouterr().err


def test_a_name_on_the_hub_is_answered_with_what_to_write(
    here: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    assert leave("run", "--base", "acme/base-7b", "--candidate", "models/bot") == 2
    said = capsys.readouterr().err
    assert "base 'acme/base-7b': no such folder" in said
    assert "hf://acme/base-7b@<commit>" in said
    assert "git ls-remote https://huggingface.co/acme/base-7b HEAD" in said
    here.manifest["base"] = "acme/base-7b"
    here.save()
    assert leave("run", *FILES) == 2
    assert "hf://acme/base-7b@<commit>" in capsys.readouterr().err


def test_the_newest_commit_is_named_if_the_hub_can_be_asked(
    here: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ftgate.artifacts.hub_names.newest_commit", lambda *_: "0123456789" * 4)
    assert leave("run", "--base", "acme/base-7b", "--candidate", "models/bot") == 2
    assert f"write hf://acme/base-7b@{'0123456789' * 4}, its newest commit" in capsys.readouterr().err


@pytest.mark.usefixtures("careful")
def test_a_manifest_may_name_its_models_as_plain_texts(here: World) -> None:
    here.manifest |= {"base": "models/base", "candidate": "models/bot", "training_data": "evals/train.jsonl"}
    here.save()
    assert leave("run", *FILES) == 0


def test_prompts_that_are_too_long_are_answered_with_a_number_for_max_tokens(
    here: World, capsys: pytest.CaptureFixture[str]
) -> None:
    here.policy["measurements"]["forgetting"] = {"dataset": "builtin:general-200", "scorer": "judge"}
    here.policy["engine"]["max_model_len"] = 512
    here.save()
    assert leave("run", *FILES) == 2
    assert "set measurements.forgetting.max_tokens to at most " in capsys.readouterr().err


@pytest.mark.usefixtures("careful")
def test_what_is_asked_is_named_once(here: World, capfd: pytest.CaptureFixture[str]) -> None:
    leave("run", *FILES)
    said = capfd.readouterr().err
    assert said.count("base against itself: started") == 1
    assert said.count("base against itself: done") == 1
    timing = read_report(Path("out", "bot", "report.json")).timing
    assert "base against itself" in timing


def test_check_takes_the_references_of_a_run(here: World, capfd: pytest.CaptureFixture[str]) -> None:
    assert leave("check", *MODELS, *DATA) == 0
    said = capfd.readouterr()
    words = " ".join(said.out.split())
    assert words.endswith("bot: ready to run; an allow would say nothing of forgetting, tools, tail, calibration")
    assert "not measured: tail: queries far from the training data cannot be found; give --queries FILE" in words
    assert "not measured: calibration: a pass needs at least 500 multiple-choice questions, and evals/target" in words
    prompts = r"not measured: tools: \d+ of 120 prompts of builtin:tools-120 do not fit into a context of 1,024 tokens"
    setting = r"set measurements\.tools\.max_tokens to at most \d+ \(now 256\) in a policy, which `ftgate run --write-p"
    assert re.search(f"{prompts}, which is the model's own; {setting}", words)
    assert leave("check", *MODELS, "--manifest", "bot.yaml") == 2
    assert "manifest and base: give one of them" in capfd.readouterr().err
    assert leave("check", "--base", "models/none", "--candidate", "models/bot") == 2
    assert "correct the path" in capfd.readouterr().err
    assert not (here.root / "out").exists()


@pytest.mark.usefixtures("scripted")
def test_without_a_target_check_and_run_say_that_an_allow_says_nothing_of_it(
    here: World, capfd: pytest.CaptureFixture[str]
) -> None:
    assert leave("check", *MODELS) == 0
    words = " ".join(capfd.readouterr().out.split())
    assert "not measured: target: no questions about its task; give --target FILE" in words
    assert "bot: ready to run; an allow would say nothing of target, " in words
    assert leave("run", *MODELS) in (0, 1, 4)
    assert "not measured: target: no questions about its task; give --target FILE" in capfd.readouterr().err


@pytest.mark.usefixtures("careful")
def test_what_can_never_pass_is_a_hold_at_best_in_check_and_run(here: World, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": f"g{i}", "prompt": f"query {i}", "answer": f"word {i}", "tags": ["tail"]} for i in range(8)]
    write_rows(here.root / "evals" / "queries.jsonl", rows)
    here.policy["measurements"]["tail"] |= {"scorer": "judge"}
    here.save()
    assert leave("check", *FILES) == 4
    words = " ".join(capfd.readouterr().out.split())
    assert words.endswith("bot: would run, and cannot allow: at best a hold: tail can never pass")
    assert leave("run", *FILES) in (1, 4)
    said = capfd.readouterr().err
    assert "warning: at best a hold: tail can never pass" in said
    assert "warning: measurements.tail can never pass: it has 8 rows" in said


@pytest.mark.parametrize("role", ["bot", "judge"])
def test_weights_that_are_no_numbers_end_check_and_run_with_the_same_code(
    role: str, here: World, capfd: pytest.CaptureFixture[str]
) -> None:
    file = "adapter_model.safetensors" if role == "bot" else "model.safetensors"
    path = here.root / "models" / role / file
    save_file({name: np.full_like(value, np.nan) for name, value in load_file(path).items()}, path)
    for command in ("check", "run"):
        assert leave(command, *FILES) == 2
        assert f"models/{role}: tensor " in capfd.readouterr().err


def test_without_an_option_the_only_manifest_is_taken_and_several_are_named(
    here: World, capfd: pytest.CaptureFixture[str]
) -> None:
    policy = {**here.policy, "manifests": ["manifests/*.yaml"]}
    places = Path(".github", "ftgate.yml"), Path("manifests", "bot.yaml")
    for path, content in zip(places, (policy, here.manifest), strict=True):
        path.parent.mkdir(exist_ok=True)
        text = json.dumps(content).replace('"evals/', '"../evals/').replace('"models/', '"../models/')
        path.write_text(text, encoding="utf-8")
    assert leave("check") == 0
    said = capfd.readouterr()
    assert "manifest: manifests/bot.yaml, the only one" in said.err
    assert "bot: ready to run" in said.out
    shutil.copy(places[1], places[1].with_name("other.yaml"))
    for command in ("check", "run"):
        assert leave(command) == 2
        problem = " ".join(capfd.readouterr().err.split())
        assert "and there are 2 manifests: manifests/bot.yaml, manifests/other.yaml" in problem
        assert "give --manifest manifests/bot.yaml" in problem
    shutil.rmtree(places[1].parent)
    assert leave("check") == 2
    assert "and no file here matches the policy's manifests: manifests/*.yaml" in capfd.readouterr().err
