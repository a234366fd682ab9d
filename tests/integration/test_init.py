"""`ftgate init` in a folder with models and data: what it asks, and that `ftgate check` passes what it writes."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file
from support.remote import Reply, serving
from support.terminal import play

from ftgate.artifacts.glob import matches_path
from ftgate.cli.common import Interrupted
from ftgate.cli.main import cli
from ftgate.cli.questions import ask_answers, name_value
from ftgate.cli.schema import schema_of
from ftgate.config.manifest import read_manifest
from ftgate.errors import ConfigurationError
from ftgate.preflight.hardware import Machine
from ftgate.setup.contents import look_into
from ftgate.setup.draft import default_answers

WORLD = Path(__file__).parents[2] / "examples" / "tinyworld"
WEIGHTS = "adapter_model.safetensors"
MANY = 5
"""Questions about models, where one is named as the candidate."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a newcomer has it: base, judge and one adapter, and data as JSON lines and CSV."""
    for name in ("base", "careful", "judge"):
        shutil.copytree(WORLD / "models" / name, tmp_path / "models" / name)
    for name in ("target", "train", "choices", "general"):
        (tmp_path / "evals").mkdir(exist_ok=True)
        shutil.copy(WORLD / "evals" / f"{name}.jsonl", tmp_path / "evals")
    lines = "".join(f'"My order {number} has not come, and the parcel is lost?"\n' for number in range(600))
    (tmp_path / "evals" / "queries.csv").write_text(f"prompt\n{lines}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def policy_in(folder: Path) -> dict:
    return yaml.safe_load((folder / ".github" / "ftgate.yml").read_text(encoding="utf-8"))


def written_lines(folder: Path) -> int:
    files = [folder / ".github/ftgate.yml", *(folder / "models").glob("*.yaml"), *folder.glob(".github/workflows/*")]
    return len([line for f in files for line in f.read_text().splitlines() if re.match(r"\s*[^#\s]", line)])


def test_with_every_default_check_passes_what_is_written(folder: Path) -> None:
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert done.exit_code == 0, done.output
    assert "taken: candidate models/careful, base models/base, judge models/judge, target evals/target.jsonl" in (
        done.output
    )
    assert re.search(r"evals/queries.csv +600 rows, read as .*: real queries", done.output)
    assert "next: ftgate check --manifest models/careful.yaml, then ftgate run" in done.output
    datasets = {name: m["dataset"] for name, m in policy_in(folder)["measurements"].items()}
    assert datasets == {
        "target": "../evals/target.jsonl",
        "forgetting": "../evals/general.jsonl",
        "tail": "../evals/queries.csv",
        "calibration": "../evals/choices.jsonl",
        "safety": "builtin:safety-250",
    }
    assert policy_in(folder)["measurements"]["forgetting"]["max_tokens"] < 512
    text = (folder / ".github" / "ftgate.yml").read_text()
    context = "a context of 512 tokens, which is the model's own"
    assert f"# Not yet: 100 of 120 prompts of builtin:tools-120 do not fit into {context}.\n" in text
    assert written_lines(folder) <= 40
    checked = CliRunner().invoke(cli, ["check", "--manifest", "models/careful.yaml"])
    assert checked.exit_code == 0, checked.output
    assert "careful: ready to run" in checked.output


def test_at_a_terminal_wrong_answers_are_asked_again_with_the_reason(folder: Path) -> None:
    typed = ["models/carefull", "evals", "models/careful", "", "", "-", "tpu", "cpu"]
    typed += ["evals/none.csv", "evals/queries.csv", "", "-", "", "-", "-"]
    said, code = play(["init"], typed, folder)
    assert code == 0, said
    for reason in (
        "Error: candidate 'models/carefull': no such folder; correct the path if it is a folder here",
        "Error: evals: neither full weights nor an adapter",
        "Error: 'tpu' is not one of 'gpu', 'cpu'",
        "Error: evals/none.csv: no such file",
        "Error: evals/queries.csv does not suit target: 600 rows, read as",
    ):
        assert reason in said
    policy = policy_in(folder)
    assert "judge" not in policy
    assert policy["measurements"].keys() == {"target", "safety"}
    assert policy["measurements"]["safety"]["scorer"] == "rules"
    assert "  # Not yet: no multiple-choice questions.\n" in ((folder / ".github" / "ftgate.yml").read_text())
    checked = CliRunner().invoke(cli, ["check", "--manifest", "models/careful.yaml"])
    assert checked.exit_code == 0, checked.output


def test_ctrl_c_writes_nothing(folder: Path) -> None:
    said, code = play(["init"], ["", "^C"], folder)
    assert code == 130, said
    assert "interrupted: nothing was written" in said
    assert "answers so far" not in said
    assert not (folder / ".github").exists()


def test_interrupted_while_it_writes_it_says_what_was_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ftgate.cli.init._write_schemas", stopped)
    done = CliRunner().invoke(cli, ["init", "--yes"], standalone_mode=False)
    assert isinstance(done.exception, Interrupted)
    policy, manifest, workflow = ".github/ftgate.yml", "models/careful.yaml", ".github/workflows/ftgate.yml"
    assert done.exception.text == f"interrupted: wrote {policy}, {manifest}, {workflow}, and no more"


def test_what_cannot_be_in_its_place_is_asked_again(folder: Path) -> None:
    """One model or file twice, an adapter as a base, something broken, a branch instead of a commit."""
    shutil.copytree(folder / "models" / "careful", folder / "models" / "broken")
    (folder / "models" / "broken" / "adapter_config.json").write_text("{}")
    typed = ["models/broken", "hf://acme/bot@main", "models/careful", "models/careful", "models/broken", ""]
    typed += ["", "models/base", "models/judge", "cpu", "evals/target.jsonl", "evals/target.jsonl", "-"]
    typed += ["./evals/target.jsonl", "-", "hf://datasets/acme/x@v1/x.jsonl", "http:/x", "-", "evals/target.jsonl"]
    said, code = play(["init"], typed, folder)
    assert code == 0, said
    for reason in (
        "Error: models/broken cannot be used: adapter_config.json: peft_type is None, not LORA",
        "Error: main is a branch or tag, which can move; for the repository on the Hugging Face Hub write "
        "hf://acme/bot@<commit>; `git ls-remote https://huggingface.co/acme/bot main` prints it",
        "Error: models/careful was named already: the base is another model",
        "Error: models/base was named already: the judge is another model",
        "Error: evals/target.jsonl is target already, and forgetting must be something else",
        "Error: ./evals/target.jsonl is target already, and training data must be something else",
        "Error: v1 is a branch or tag, which can move; ",
        "Error: 'http:/x': only one slash after http:; write http://",
    ):
        assert reason in said
    assert policy_in(folder)["measurements"].keys() >= {"target", "calibration"}


def test_no_default_is_offered_that_the_earlier_answers_rule_out(folder: Path) -> None:
    """The base as candidate is refused at once; without a base the candidate is asked again, until both are named."""
    typed = ["./models/base", "models/judge", "-", "models/judge", "models/base", "fine", "", ""]
    typed += ["evals/general.jsonl", "", "", "", ""]
    said, code = play(["init"], typed, folder)
    assert code == 0, said
    refused = "Error: ./models/base is the base here: the candidate is what was trained from it"
    assert said.index(refused) < said.index("Its base [models/base]")
    assert "A candidate is compared with its base: name both, or no candidate." in said
    assert "Judge, a third model that grades [-]" in said
    assert "was named already" not in said
    assert "judge" not in policy_in(folder)


def test_one_file_is_not_target_and_queries(folder: Path) -> None:
    typed = ["", "", "", "", "", "", "-", "-", "evals/target.jsonl", "", ""]
    said, code = play(["init"], typed, folder)
    assert code == 0, said
    assert "Error: evals/target.jsonl is target already, and real queries (tail) must be something else" in said


@pytest.mark.parametrize("character", ["\x01", "\x1b", "\x7f", "\x85"])
def test_a_name_has_no_control_characters(folder: Path, character: str) -> None:
    with pytest.raises(click.UsageError, match="a name has no control characters"):
        name_value(f"bot{character}")
    CliRunner().invoke(cli, ["init", "--yes"])
    manifest = folder / "models" / "careful.yaml"
    manifest.write_text(manifest.read_text().replace("name: careful", f'name: "bot\\x{ord(character):02x}"'))
    with pytest.raises(ConfigurationError, match="is a control character; leave it out"):
        read_manifest(manifest)


def test_what_check_would_refuse_is_said_at_once(folder: Path) -> None:
    """A target that is a copy of the training data, by content."""
    shutil.copy(folder / "evals" / "train.jsonl", folder / "evals" / "target.jsonl")
    said, code = play(["init", "--yes"], [], folder)
    assert code == 2, said
    wrong = "error: measurements.target: all of its 1,500 rows are in the training data (evals/train.jsonl)"
    assert said.index(wrong) > said.index("next: repair what is named below, then ftgate check --manifest models/")
    assert "what to do: name rows that the candidate was not trained on" in said.splitlines()[-2]
    assert said.endswith("more: ftgate docs configuration\n")
    assert "merge" not in said
    assert (folder / ".github" / "ftgate.yml").exists()
    assert CliRunner().invoke(cli, ["check", "--manifest", "models/careful.yaml"]).exception is not None


def test_data_that_are_too_few_are_declined_with_what_to_do(folder: Path) -> None:
    choices = folder / "evals" / "choices.jsonl"
    choices.write_text("".join(choices.read_text().splitlines(keepends=True)[:300]))
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert re.search(
        r"not measured: calibration: evals/choices\.jsonl: it has \d+ rows, and a pass needs at least 500; give it 500",
        done.output,
    )
    assert "calibration" not in policy_in(folder)["measurements"]
    assert "  # Not yet: evals/choices.jsonl: it has " in (folder / ".github" / "ftgate.yml").read_text()


@pytest.mark.parametrize(
    ("distinct", "said"),
    [
        (1, "not measured: target: evals/target.jsonl: measurements.target can neither pass nor block: it has 1 row, "),
        (30, "warning: measurements.target: evals/target.jsonl has 30 distinct rows; with fewer than 59, a loss on "),
    ],
)
def test_a_target_of_few_distinct_rows_is_declined_or_warned_of(folder: Path, distinct: int, said: str) -> None:
    rows = [f'{{"prompt": "Is parcel {i} lost?", "choices": ["yes", "no"], "answer": "yes"}}' for i in range(distinct)]
    (folder / "evals" / "target.jsonl").write_text("\n".join(rows * (300 // distinct)) + "\n")
    assert said in CliRunner().invoke(cli, ["init", "--yes"]).output


def test_without_a_target_what_to_add_is_said(folder: Path) -> None:
    (folder / "evals" / "target.jsonl").unlink()
    (folder / "evals" / "choices.jsonl").unlink()
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert "not measured: target: no questions about its task with answers; write about 200 that it was" in done.output


def test_what_can_be_used_is_listed_before_what_cannot(folder: Path) -> None:
    for number in range(10):
        (folder / "evals" / f"a{number}.jsonl").write_text("not JSON\n")
    (folder / "evals" / "queries.txt").write_text("Where is my parcel?\n")
    lines = CliRunner().invoke(cli, ["init", "--yes"]).output.splitlines()
    broken = [at for at, line in enumerate(lines) if "cannot be used" in line]
    usable = [at for at, line in enumerate(lines) if "read as" in line or "full weights" in line]
    assert max(usable) < min(broken)
    assert "  and 3 more that cannot be used" in lines
    assert "cannot be used: line 1: not valid JSON" in lines[broken[0]]


def test_without_a_terminal_nothing_is_asked_and_with_a_policy_nothing_is_looked_for(folder: Path) -> None:
    done = CliRunner().invoke(cli, ["init"], input="")
    assert done.exit_code == 0
    assert "Candidate, the fine-tuned model [" not in done.output
    said, code = play(["init"], [], folder)
    assert code == 0
    assert "kept      .github/ftgate.yml" in said
    assert "this machine" not in said


def test_models_that_are_elsewhere_leave_the_starters_models_and_fill_in_the_data(folder: Path) -> None:
    shutil.rmtree(folder / "models")
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert done.exit_code == 0, done.output
    policy = policy_in(folder)
    assert policy["measurements"]["tail"] == {
        "dataset": "../evals/queries.csv", "scorer": "auto", "block_drop": 0.15
    }  # fmt: skip
    assert (policy["judge"], policy["engine"]["dtype"]) == ({"source": "/models/judge"}, "bfloat16")
    manifest = yaml.safe_load((folder / "models" / "my-model.yaml").read_text())
    assert manifest["candidate"] == {"source": "/models/my-model"}
    assert manifest["training_data"] == {"source": "../evals/train.jsonl"}
    examples = "next: replace the examples (base and candidate in models/my-model.yaml, judge and artifacts.allow in "
    assert f"{examples}.github/ftgate.yml), then ftgate check --manifest models/my-model.yaml\n" in done.output


def test_what_is_answered_is_what_is_taken(folder: Path) -> None:
    contents = look_into(Path())
    defaults = default_answers(contents, Machine((), 1 << 34))

    def asked(*typed: str) -> str:
        ask = click.Command("ask", callback=lambda: click.echo(repr(ask_answers(defaults, contents))))
        done = CliRunner().invoke(ask, input="".join(f"{line}\n" for line in typed))
        assert done.exit_code == 0, done.output
        return done.output.splitlines()[-1]

    assert asked(*[""] * (MANY + 5)) == repr(defaults)
    nothing = asked("-", "builtin:general-200", "-", "-", "-", "lm-eval:mmlu")
    assert "candidate='', judge='', target='builtin:general-200', general=''" in nothing
    assert "choices='lm-eval:mmlu'" in nothing


def test_a_folder_with_nothing_to_measure_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("base", "careful"):
        shutil.copytree(WORLD / "models" / name, tmp_path / "models" / name)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert done.exit_code == 0, done.output
    assert list(policy_in(tmp_path)["measurements"]) == ["safety"]


def test_a_schema_of_an_older_version_is_refreshed(folder: Path) -> None:
    CliRunner().invoke(cli, ["init", "--yes"])
    schema = folder / ".ftgate" / "policy.schema.json"
    schema.write_text("{}\n", encoding="utf-8")
    assert CliRunner().invoke(cli, ["init"]).exit_code == 0
    assert schema.read_text(encoding="utf-8") == schema_of("policy") + "\n"


def test_files_of_many_rows_take_no_longer(folder: Path) -> None:
    for name in ("target", "train"):
        rows = (f'{{"prompt": "{name} question number {n}", "answer": "yes {n % 7}"}}\n' for n in range(60_000))
        (folder / "evals" / f"{name}.jsonl").write_text("".join(rows), encoding="utf-8")
    before = time.process_time()
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert time.process_time() - before < 6
    assert "about 60,000 rows with answers (by the first 2,000), read as ftgate rows: target" in done.output


def test_models_that_cannot_be_told_apart_are_said_to_be_so(folder: Path) -> None:
    shutil.copytree(folder / "models" / "base", folder / "models" / "one")
    (folder / "models" / "base").rename(folder / "models" / "two")
    shutil.rmtree(folder / "models" / "careful")
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert "note: which model is the base cannot be told: answer the questions of `ftgate init`" in done.output


def test_the_newest_candidate_that_fits_the_base_is_taken(folder: Path) -> None:
    """An adapter whose matrices are of another size would be refused by `ftgate check`."""
    wrong = folder / "models" / "wrong"
    shutil.copytree(folder / "models" / "careful", wrong)
    tensors = load_file(wrong / WEIGHTS)
    wider = {name: np.ones((*value.shape[:-1], value.shape[-1] + 8), "f4") for name, value in tensors.items()}
    save_file({name: wider[name] if "lora_A" in name else value for name, value in tensors.items()}, wrong / WEIGHTS)
    os.utime(wrong / "adapter_config.json", (2e9, 2e9))
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert "taken: candidate models/careful, base models/base" in done.output
    assert "not taken: models/wrong: an adapter for another base: " in done.output
    assert done.exit_code == 0, "of what was written, nothing is wrong"


def test_queries_that_nothing_can_grade_are_said_not_to_be_measured(folder: Path) -> None:
    shutil.rmtree(folder / "models" / "judge")
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert "not measured: tail: evals/queries.csv has rows without a reference answer; name a judge, a third" in (
        done.output
    )


def test_an_adapter_that_was_not_trained_is_no_candidate(folder: Path) -> None:
    """Its matrices B are zero, as before the first step. It is the newest, and refused at its question, too."""
    untrained = folder / "models" / "untrained"
    shutil.copytree(folder / "models" / "careful", untrained)
    tensors = load_file(untrained / WEIGHTS)
    save_file({n: np.zeros_like(v) if "lora_B" in n else v for n, v in tensors.items()}, untrained / WEIGHTS)
    os.utime(untrained / "adapter_config.json", (2e9, 2e9))
    said, code = play(["init"], ["models/untrained", "^D"], folder)
    assert code == 130, said
    reason = "all lora_B (or lora_A) matrices are zero: the adapter changes nothing"
    assert "Candidate, the fine-tuned model [models/careful]: models/untrained\n" in said
    assert f"Error: models/untrained cannot be used: {reason}\n" in said
    shutil.rmtree(folder / "models" / "careful")
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert re.search(rf"models/untrained +cannot be used: {re.escape(reason)}\n", done.output)
    assert "note: no model here can be a candidate for the base models/base: answer the questions" in done.output


def test_an_adapter_among_full_weights_is_no_candidate(folder: Path) -> None:
    for name in ("adapter_config.json", WEIGHTS):
        shutil.copy(folder / "models" / "careful" / name, folder / "models" / "base")
    done = CliRunner().invoke(cli, ["init", "--yes"])
    reason = "an adapter (adapter_config.json) and full weights (model.safetensors) in one folder"
    assert re.search(rf"models/base +cannot be used: {re.escape(reason)}\n", done.output)


def test_a_base_that_the_candidate_does_not_fit_is_refused_at_its_question(folder: Path) -> None:
    shutil.copytree(folder / "models" / "base", folder / "models" / "other")
    path = folder / "models" / "other" / "model.safetensors"
    save_file({n: np.ones((*v.shape[:-1], v.shape[-1] + 8), "f4") for n, v in load_file(path).items()}, path)
    said, code = play(["init"], ["", "models/other", "^C"], folder)
    assert code == 130, said
    assert "Error: models/other is not the base of models/careful: an adapter for another base: " in said


def test_multiple_choice_questions_whose_name_says_nothing_measure_calibration(folder: Path) -> None:
    """Beside a target without choices; of two such files neither is guessed, and both are named."""
    evals, plain = folder / "evals", '{"prompt": "Name number %d.", "answer": "number %d"}\n'
    (evals / "target.jsonl").write_text("".join(plain % (n, n) for n in range(200)))
    (evals / "choices.jsonl").rename(evals / "quiz.jsonl")
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert policy_in(folder)["measurements"]["calibration"]["dataset"] == "../evals/quiz.jsonl", done.output
    (folder / ".github" / "ftgate.yml").unlink()
    shutil.copy(evals / "quiz.jsonl", evals / "trivia.jsonl")
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert "calibration" not in policy_in(folder)["measurements"]
    assert (
        "not measured: calibration: no file was named for it, and evals/quiz.jsonl and evals/trivia.jsonl would suit; "
        "join them into one file, or name one in measurements.calibration of the policy\n"
    ) in done.output


def test_all_that_is_not_measured_is_said_with_what_to_do(folder: Path) -> None:
    shutil.rmtree(folder / "evals")
    done = CliRunner().invoke(cli, ["init", "--yes"])
    reasons = dict(re.findall(r"^not measured: (\w+): (.*)$", done.output, re.MULTILINE))
    assert list(reasons) == ["target", "forgetting", "tail", "calibration", "tools"]
    assert reasons["forgetting"].endswith("; name shorter rows of your own as measurements.forgetting.dataset")
    assert reasons["tail"].startswith("no real queries; write about 300 that users sent into evals/queries.jsonl")
    assert reasons["calibration"].startswith(
        "no multiple-choice questions; write at least 500 into evals/choices.jsonl"
    )


def test_data_that_cannot_be_fetched_cost_no_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    remote = f"hf://datasets/acme/x@{'b' * 40}/x.jsonl"
    said, code = play(["init"], ["", "", "", "-", "cpu", "builtin:nosuch", remote, "-", "", "", ""], folder)
    assert code == 0, said
    assert "Error: target: unknown built-in suite 'builtin:nosuch'; use one of builtin:general-200" in said
    assert f"not measured: target: {remote}: not in the cache, and HF_HUB_OFFLINE is set; name it in" in said
    assert "Multiple-choice questions (calibration) [evals/choices.jsonl]" in said


def test_the_end_of_input_at_any_question_writes_nothing(folder: Path) -> None:
    for number in (0, 4, 9):
        said, code = play(["init"], [*[""] * number, "^D"], folder)
        assert code == 130, said
        assert said.endswith("]: \nftgate: error: interrupted: nothing was written\n")
        assert not (folder / ".github").exists()


def test_manifests_that_are_here_are_matched_by_the_policy(folder: Path) -> None:
    place = folder / "models" / "team a [1]"
    place.mkdir()
    (place / "bot.yaml").write_text("name: bot\nbase: {source: ../base}\ncandidate: {source: ../careful}\n")
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert re.search(r"models/team a \[1\]/bot.yaml +manifest\n", done.output)
    first, second = policy_in(folder)["manifests"]
    assert first == "models/*.yaml"
    assert matches_path(second, "models/team a [1]/bot.yaml")


def test_where_the_models_are_to_run_elsewhere_it_is_said(folder: Path) -> None:
    said, code = play(["init"], ["", "", "", "", "gpu", "", "", "", "", ""], folder)
    assert code == 0, said
    assert ", then, on the machine with the GPUs, ftgate run --manifest models/careful.yaml\n" in said
    assert (
        play(["init"], [], folder)[0].count("next: ftgate check --manifest models/careful.yaml says whether a run") == 1
    )


def test_the_base_that_an_adapter_names_is_offered_at_its_newest_commit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(folder / "models" / "base")
    shutil.rmtree(folder / "models" / "judge")
    config = folder / "models" / "careful" / "adapter_config.json"
    config.write_text(config.read_text().replace("../base", "acme/base-7b"))
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert "note: the base, which the adapter says is acme/base-7b, is not in this folder: answer" in done.output
    (folder / ".github" / "ftgate.yml").unlink()
    answer = {"id": "acme/base-7b", "sha": "0123456789" * 4}
    with serving(lambda _: Reply(json.dumps(answer).encode(), headers={"Content-Type": "application/json"})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        said, code = play(["init"], ["", "^C"], folder)
    assert code == 130, said
    assert f"Its base (the adapter says acme/base-7b) [hf://acme/base-7b@{'0123456789' * 4}]: " in said


def test_nothing_is_warned_of_that_is_not_measured(folder: Path) -> None:
    """Multiple choice that is declined: the target has choices as well, and does not stand in for it."""
    for name, rows in (("choices", 3), ("target", 70)):
        path = folder / "evals" / f"{name}.jsonl"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:rows]))
    done = CliRunner().invoke(cli, ["init", "--yes"])
    assert "not measured: calibration: evals/choices.jsonl: it has 3 rows, and a pass needs at least 500" in done.output
    assert "measurements.calibration can never pass" not in done.output
