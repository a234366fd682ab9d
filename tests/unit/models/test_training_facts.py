"""What trainers leave behind, as they write it and as nobody should."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.world import write_adapter, write_full

from ftgate.artifacts.snapshot import take_snapshot
from ftgate.domain import Model
from ftgate.models import training_facts as module
from ftgate.models.open import open_model
from ftgate.models.training_facts import CARD, MAX_BYTES, RESULTS, SETTINGS, STATE, training_facts

LOG: list[dict[str, Any]] = [
    {"epoch": 0.5, "learning_rate": 1.9e-4, "loss": 2.0, "grad_norm": 1.2, "step": 10},
    {"epoch": 1.0, "learning_rate": 1.4e-4, "loss": 1.0, "step": 20},
    {"epoch": 1.0, "eval_loss": 0.9, "eval_runtime": 3.1, "step": 20},
    {"epoch": 2.0, "learning_rate": 0.0, "loss": 1.25, "step": 40},
    {"epoch": 2.0, "eval_loss": 1.1, "step": 40},
    {"epoch": 2.0, "train_loss": 1.4, "step": 40},
]
DONE = {"epoch": 2.0, "num_train_epochs": 3, "global_step": 40, "max_steps": 60, "log_history": LOG}
FROM_STATE = {
    "learning_rate": 1.9e-4,
    "epochs": 2.0,
    "epochs_planned": 3.0,
    "steps": 40.0,
    "steps_planned": 60.0,
    "loss_first": 2.0,
    "loss_lowest": 1.0,
    "loss_last": 1.25,
    "eval_loss_lowest": 0.9,
    "eval_loss_lowest_epoch": 1.0,
    "eval_loss_last": 1.1,
}
LLAMA_FACTORY = """\
cutoff_len: 2048
finetuning_type: lora
learning_rate: 5.0e-05
lora_rank: 8
num_train_epochs: 3.0
"""
LLAMA_BOARD = """\
top.model_name: Qwen3
train.learning_rate: 5e-5
train.num_train_epochs: '3.0'
"""
AXOLOTL = """\
datasets:
  - path: rows.jsonl
    learning_rate: 9
num_epochs: 4  # enough
learning_rate: 2e-4
"""
TRAINER_CARD = """\
## Training hyperparameters
The following hyperparameters were used during training:
- learning_rate: 0.0002
- train_batch_size: 8
- optimizer: Use adamw_torch with betas=(0.9,0.999) and epsilon=1e-08
- num_epochs: 4.0
"""
AXOLOTL_CARD = f"<details><summary>See axolotl config</summary>\n\n```yaml\n{AXOLOTL}```\n\n</details>\n{TRAINER_CARD}"


def facts(folder: Path, **files: Any) -> dict[str, Any]:
    """What is found beside ``files``, whose names have two underscores for a full stop."""
    folder.mkdir(exist_ok=True)
    (folder / "weights").write_text("x")
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(text, encoding="utf-8")
    return training_facts(take_snapshot(folder, "models/x"))


def numbers(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "files"}


def test_the_state_of_the_trainer(tmp_path: Path) -> None:
    found = facts(tmp_path, trainer_state__json=DONE)
    assert numbers(found) == FROM_STATE
    assert found["files"] == {STATE: list(FROM_STATE)}


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("training_args__json", {"learning_rate": 2e-4, "num_train_epochs": 3.0, "max_steps": -1}, (2e-4, 3.0)),
        ("args__json", {"learning_rate": "1e-4", "num_train_epochs": 2}, (1e-4, 2.0)),
        ("training_args__yaml", LLAMA_FACTORY, (5e-5, 3.0)),
        ("llamaboard_config__yaml", LLAMA_BOARD, (5e-5, 3.0)),
        ("axolotl_config__yml", AXOLOTL, (2e-4, 4.0)),
        ("axolotl_config__yaml", AXOLOTL, (2e-4, 4.0)),
        ("README__md", TRAINER_CARD, (2e-4, 4.0)),
        ("README__md", AXOLOTL_CARD, (2e-4, 4.0)),
    ],
)
def test_what_was_asked_for(tmp_path: Path, file: str, content: Any, said: tuple[float, float]) -> None:
    found = facts(tmp_path, **{file: content})
    assert numbers(found) == dict(zip(("learning_rate", "epochs_planned"), said, strict=True))
    assert set(found["files"]) == {file.replace("__", ".")}


def test_other_settings(tmp_path: Path) -> None:
    asked = {"label_smoothing_factor": 0.0, "load_best_model_at_end": True, "max_steps": 100, "num_train_epochs": 3.0}
    found = facts(tmp_path, training_args__json=asked)
    assert numbers(found) == {"label_smoothing": 0.0, "best_kept": True, "steps_planned": 100.0}, (
        "steps override epochs"
    )
    assert "best_kept" in facts(tmp_path / "a", training_args__yaml="load_best_model_at_end: true\n")
    assert not facts(tmp_path / "b", training_args__yaml="load_best_model_at_end: false\n")
    assert facts(tmp_path / "c", trainer_state__json={"best_model_checkpoint": "out/checkpoint-20"})["best_kept"]
    assert facts(tmp_path / "d", train_results__json={"epoch": 2.5, "train_loss": 1.0})["epochs"] == 2.5


def test_a_log_with_gaps_does_not_hide_the_peak(tmp_path: Path) -> None:
    found = facts(tmp_path, trainer_state__json=DONE, README__md=TRAINER_CARD, training_args__json={"seed": 1})
    assert (found["learning_rate"], found["epochs_planned"]) == (2e-4, 3.0)
    assert found["files"][CARD] == ["learning_rate"]
    assert "learning_rate" not in found["files"][STATE]
    lower = facts(tmp_path, training_args__json={"learning_rate": 1e-5}, README__md="")
    assert lower["learning_rate"] == 1.9e-4, "what was done counts"


def test_a_trainers_output_folder_has_its_log_in_the_last_checkpoint(tmp_path: Path) -> None:
    for step, epoch in ((80, 1.0), (400, 5.0), (320, 4.0)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / STATE).write_text(json.dumps({**DONE, "epoch": epoch}), encoding="utf-8")
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "checkpoint-best" / STATE).write_text(json.dumps({**DONE, "epoch": 9.0}), encoding="utf-8")
    found = facts(tmp_path, README__md=TRAINER_CARD)
    assert found["epochs"] == 5.0
    assert found["learning_rate"] == 2e-4, "the higher rate of the card"
    assert f"checkpoint-400/{STATE}" in found["files"]
    assert facts(tmp_path, trainer_state__json={**DONE, "epoch": 3.0})["epochs"] == 3.0, "the folder's own comes first"


def test_settings_that_contradict_each_other_say_nothing(tmp_path: Path) -> None:
    assert not facts(tmp_path, README__md="- learning_rate: 7e-05\n\nSecond stage:\n- learning_rate: 0.001\n")


def test_losses_are_of_tenths_of_the_training(tmp_path: Path) -> None:
    log = [{"loss": 3.0 if i % 2 else 1.0} for i in range(400)] + [{"loss": 0.1}]
    found = facts(tmp_path, trainer_state__json={"log_history": log})
    assert found["loss_first"] == pytest.approx(2.0)
    assert found["loss_last"] == pytest.approx(2.0, abs=0.1), "one lucky step is no result"


def test_the_loss_of_reinforcement_learning_need_not_fall(tmp_path: Path) -> None:
    log = [{"loss": 0.0, "reward": 0.1}, {"loss": 0.2, "reward": 0.9}]
    assert not facts(tmp_path, trainer_state__json={"log_history": log})


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    assert not any(name.endswith((".bin", ".pt", ".pth")) for name in (STATE, *RESULTS, *SETTINGS, CARD))
    assert not facts(tmp_path, training_args__bin="learning_rate: 1\n")


def test_only_what_is_in_the_snapshot_is_read(tmp_path: Path) -> None:
    facts(tmp_path)
    snapshot = take_snapshot(tmp_path, "models/x")
    (tmp_path / STATE).write_text(json.dumps(DONE))
    assert not training_facts(snapshot)


def test_a_file_that_goes_away_is_left_out(tmp_path: Path) -> None:
    facts(tmp_path, trainer_state__json=DONE)
    snapshot = take_snapshot(tmp_path, "models/x")
    (tmp_path / STATE).unlink()
    assert not training_facts(snapshot)


def test_a_huge_file_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_BYTES == 20_000_000
    monkeypatch.setattr(module, "MAX_BYTES", 200)
    assert not facts(tmp_path, trainer_state__json=DONE, README__md=TRAINER_CARD * 2)


ODD: dict[str, Any] = {
    "empty": "",
    "not JSON": "{",
    "a list": "[1]",
    "nested": "[" * 200_000,
    "nested objects": '{"log_history": ' + '{"a":' * 100_000,
    "a number without end": '{"epoch": ' + "9" * 10_000 + "}",
    "a huge number": '{"epoch": ' + "9" * 4000 + "}",
    "infinite": '{"epoch": 1e999, "global_step": Infinity, "max_steps": -Infinity, "num_train_epochs": NaN}',
    "negative": {"epoch": -1, "global_step": -5},
    "other types": {"epoch": [], "global_step": {}, "max_steps": True, "num_train_epochs": None, "log_history": 3},
    "odd log": {"log_history": [None, 3, [], {"loss": "x"}, {"loss": {}}, {"learning_rate": [1e-4]}, {"eval_loss": 1}]},
    "impossible": {"log_history": [{"learning_rate": 1e9, "loss": 1e300}, {"loss": 1e300, "eval_loss": 1}] * 2},
    "long text for a number": {"epoch": "1" * 100},
    "half a character": {"epoch": "\ud800"},
    "null bytes": "\0" * 100,
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("file", [STATE, RESULTS[0], SETTINGS[0]])
def test_odd_files_say_nothing(tmp_path: Path, case: str, file: str) -> None:
    assert not facts(tmp_path, **{file: ODD[case]})


@pytest.mark.parametrize(
    "text",
    [
        "learning_rate: nan\n",
        "learning_rate: 1e999\n",
        "learning_rate: -1\n",
        "learning_rate: 50\n",
        "learning_rate: *a\n",
        "learning_rate:\n",
        "  learning_rate: 1e-4\n",
        "xlearning_rate: 1e-4\n",
        "num_epochs: 1e400\n",
        "learning_rate: " + "1" * 100 + "\n",
        "a: &a [x]\nb: &b [*a, *a]\n<<: *b\n",
        "\ufffd\u2028" * 100,
    ],
)
def test_odd_lines_say_nothing(tmp_path: Path, text: str) -> None:
    assert not facts(tmp_path, training_args__yaml=text, README__md=text)


def test_hostile_text_takes_no_time(tmp_path: Path) -> None:
    started = time.process_time()
    text = (
        "learning_rate" * 100_000 + "\n" + "- train.learning_rate:   \n" * 100_000 + "learning_rate: " + " " * 2_000_000
    )
    assert not facts(tmp_path, README__md=text, training_args__yaml=text)
    assert time.process_time() - started < 5


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3),
    max_leaves=5,
)
ENTRIES = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("epoch", "step", "loss", "learning_rate", "eval_loss", "reward"), VALUES)
)
FIELDS = (
    "epoch",
    "num_train_epochs",
    "global_step",
    "max_steps",
    "learning_rate",
    "num_epochs",
    "label_smoothing_factor",
)
STATES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys((*FIELDS, "load_best_model_at_end", "best_model_checkpoint"), VALUES),
        "log_history": st.lists(ENTRIES | VALUES, max_size=12) | VALUES,
    },
)
LINES = st.lists(
    st.tuples(st.sampled_from(["", "- ", "train.", "  "]), st.sampled_from([*FIELDS, "x"]), st.text(max_size=8)).map(
        lambda parts: f"{parts[0]}{parts[1]}: {parts[2]}"
    ),
    max_size=8,
).map("\n".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STATES, STATES, LINES | st.text())
def test_whatever_the_files_hold_facts_are_plain_numbers(
    tmp_path: Path, state: dict[str, Any], asked: dict[str, Any], text: str
) -> None:
    readable = text.encode("utf-8", "replace").decode()
    found = facts(
        tmp_path, trainer_state__json=state, train_results__json=state, training_args__json=asked,
        args__json=text.encode("utf-8", "replace").decode(), training_args__yaml=readable, README__md=readable,
    )  # fmt: skip
    assert len(json.dumps(found, allow_nan=False)) < 2000
    for name, value in numbers(found).items():
        assert value is True if name == "best_kept" else (math.isfinite(value) and value >= 0)
    assert sorted(numbers(found)) == sorted(fact for names in found.get("files", {}).values() for fact in names)


@pytest.fixture
def base(tmp_path: Path) -> Model:
    folder = write_full(tmp_path / "base")
    (folder / STATE).write_text(json.dumps(DONE))
    return open_model("base", take_snapshot(folder, "models/base"), None)


def test_a_candidate_knows_how_it_was_trained(tmp_path: Path, base: Model) -> None:
    adapter = write_adapter(tmp_path / "x", lora_dropout=0.05, use_rslora=True, target_modules=".*(q|k)_proj")
    (adapter / STATE).write_text(json.dumps(DONE))
    found = open_model("bot", take_snapshot(adapter, "models/x"), base).facts
    assert numbers(found["training"]) == FROM_STATE
    assert (found["dropout"], found["rslora"]) == (0.05, True)
    assert found["targets"] == ["q_proj"], "what the weights change, not the pattern that was asked for"
    full = write_full(tmp_path / "y", seed=3)
    (full / CARD).write_text(TRAINER_CARD)
    found = open_model("bot", take_snapshot(full, "models/y"), base).facts
    assert found["training"]["files"] == {CARD: ["learning_rate", "epochs_planned"]}
    assert "training" not in base.facts, "how the base was trained explains nothing that the candidate lost"
