"""What the locked transformers really leaves beside an adapter is understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.tiny import TinyModels
from ftgate.artifacts.snapshot import take_snapshot
from ftgate.models.training_facts import CARD, RESULTS, STATE, training_facts

pytestmark = pytest.mark.engine


def test_a_real_training(tiny: TinyModels, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    base = AutoModelForCausalLM.from_pretrained(tiny.base.path)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    rows = [{"input_ids": [i + 1, i + 2, i + 3], "labels": [i + 1, i + 2, i + 3]} for i in range(8)]
    asked = TrainingArguments(
        output_dir=str(tmp_path),
        learning_rate=2e-3,
        num_train_epochs=2,
        per_device_train_batch_size=2,
        logging_steps=2,
        eval_strategy="epoch",
        save_strategy="no",
        label_smoothing_factor=0.1,
        report_to=[],
        use_cpu=True,
    )
    trainer = Trainer(model=model, args=asked, train_dataset=rows, eval_dataset=rows)
    done = trainer.train()
    trainer.save_model()
    trainer.save_state()
    trainer.save_metrics("train", done.metrics)
    trainer.create_model_card()

    found = training_facts(take_snapshot(tmp_path, "models/x"))
    assert (found["epochs"], found["epochs_planned"], found["steps"], found["steps_planned"]) == (2, 2, 8, 8)
    assert found["learning_rate"] == 2e-3
    assert found["label_smoothing"] == 0.1
    log = trainer.state.log_history
    assert found["loss_first"] == next(entry["loss"] for entry in log if "loss" in entry)
    assert found["eval_loss_last"] == [entry["eval_loss"] for entry in log if "eval_loss" in entry][-1]
    assert found["files"][CARD] == ["learning_rate", "label_smoothing"], "the decaying log shows less than the peak"
    assert set(found["files"]) == {STATE, CARD}
    (tmp_path / STATE).unlink()
    (tmp_path / CARD).unlink()
    again = training_facts(take_snapshot(tmp_path, "models/x"))
    assert (again["epochs"], set(again["files"])) == (2, {RESULTS[0]})
