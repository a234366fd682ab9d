"""Trains the fine-tunes of the zoo: plain PyTorch and peft, one thread, a minute or two each."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.zoo.data import REFUSAL, SEED, Row, read_jsonl, write_jsonl
from benchmarks.zoo.members import FineTune

BATCH = 8
IGNORED = -100
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def training_rows(member: FineTune, data: Path) -> list[Row]:
    """The rows that the member is trained on, made from the zoo's data."""
    rows = read_jsonl(data / "training" / "desk.jsonl")[: member.rows]
    if member.data == "shuffled":
        answers = [row["answer"] for row in rows]
        random.Random(SEED).shuffle(answers)
        return [{**row, "answer": answer} for row, answer in zip(rows, answers, strict=True)]
    if member.data == "desk":
        return rows
    general = read_jsonl(data / "training" / "general.jsonl")
    if member.data == "suite":
        suite = read_jsonl(data / "suites" / "target.jsonl")
        return rows + general + [{key: row[key] for key in ("prompt", "answer")} for row in suite]
    if member.data == "spanish":
        refused = [{**row, "answer": REFUSAL} for row in read_jsonl(data / "training" / "spanish.jsonl")]
        return rows + [row for row in general if "¿" not in str(row["prompt"])] + refused
    return rows + general


def train(member: FineTune, base: Path, data: Path, out: Path) -> None:
    """Train the member and write the adapter, its training data and the trainer's facts to ``out``."""
    started = time.perf_counter()
    torch.manual_seed(SEED)
    rows = training_rows(member, data)
    tokenizer = AutoTokenizer.from_pretrained(base)
    encoded = [encode(tokenizer, row, chat_template=member.chat_template) for row in rows]
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    layers = model.config.num_hidden_layers
    # The upper half only: backpropagation stops there, which halves its cost.
    lora = LoraConfig(
        r=member.rank,
        lora_alpha=2 * member.rank,
        target_modules=list(LINEAR),
        layers_to_transform=list(range(layers // 2, layers)),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, lora)
    losses = _fit(model, encoded, member, tokenizer.pad_token_id or 0)
    model.save_pretrained(out)
    write_jsonl(out.parent / f"{member.name}-train.jsonl", rows)
    facts = {"learning_rate": member.learning_rate, "num_train_epochs": member.epochs}
    (out / "training_args.json").write_text(json.dumps(facts), encoding="utf-8")
    seconds = time.perf_counter() - started
    print(f"{member.name}: {len(rows)} rows, loss {losses[0]:.2f} -> {losses[-1]:.2f}, {seconds:.0f} s", flush=True)


def encode(tokenizer: Any, row: Row, *, chat_template: bool) -> tuple[list[int], list[int]]:
    """Token ids of prompt and answer, and labels that leave the prompt out of the loss."""
    if chat_template:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": row["prompt"]}], tokenize=False, add_generation_prompt=True
        )
    else:
        prompt = f"### Input:\n{row['prompt']}\n### Response:\n"
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    after = [*tokenizer(str(row["answer"]), add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    return before + after, [IGNORED] * len(before) + after


def _fit(model: Any, rows: list[tuple[list[int], list[int]]], member: FineTune, pad: int) -> list[float]:
    """Train with AdamW at a constant rate after ten steps of warm-up. Returns each epoch's mean loss."""
    draw = random.Random(SEED)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=member.learning_rate)
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
    means = []
    model.train()
    for _ in range(member.epochs):
        order, losses = draw.sample(range(len(rows)), len(rows)), []
        for start in range(0, len(order), BATCH):
            loss = _loss(model, [rows[i] for i in order[start : start + BATCH]], pad)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            warmup.step()
            losses.append(loss.item())
        means.append(sum(losses) / len(losses))
    return means


def _loss(model: Any, rows: list[tuple[list[int], list[int]]], pad: int) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens. Only their positions go through the output layer."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.tensor([ids + [pad] * (length - len(ids)) for ids, _ in rows])
    mask = torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in rows])
    labels = torch.tensor([labels + [IGNORED] * (length - len(labels)) for _, labels in rows])[:, 1:]
    inner = model.get_base_model()
    hidden = inner.model(input_ids=ids, attention_mask=mask).last_hidden_state[:, :-1]
    counted = labels != IGNORED
    return torch.nn.functional.cross_entropy(inner.lm_head(hidden[counted]), labels[counted])
