"""A small training loop: draws examples, batches those of similar length, and computes the loss on the answer only."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedTokenizerFast

from ftgate.domain import Message
from ftgate.scoring.choice import choice_messages, letters_for

from .tokenizer import END, render
from .world import Row

Example = tuple[str, str]
Draw = Callable[[random.Random], Example]
IGNORED = -100
POOL = 8


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how hard to train. Linear warm-up over 3 %, then a cosine down to a twentieth."""

    steps: int
    rate: float
    batch: int = 64
    decay: float = 0.01
    seed: int = 0
    muon: bool = False

    def factor(self, step: int) -> float:
        """The share of the learning rate at a step."""
        warm = max(1, round(0.03 * self.steps))
        if step < warm:
            return (step + 1) / warm
        done = (step - warm) / max(1, self.steps - warm)
        return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))


def letter_of(row: Row) -> str:
    """The option letter of the right choice."""
    return letters_for(row.item())[row.choices.index(row.answer)]


def example(row: Row) -> Example:
    """A row as the rendered conversation and the text to learn: a letter if it has choices."""
    if row.choices:
        return render(choice_messages(row.item())), letter_of(row)
    return render((Message("user", row.prompt),)), row.answer


def encode(tokenizer: PreTrainedTokenizerFast, batch: Sequence[Example]) -> list[tuple[list[int], int]]:
    """Token ids of prompt, answer and end mark, with the length of the prompt."""
    prompts = tokenizer([prompt for prompt, _ in batch], add_special_tokens=False)["input_ids"]
    answers = tokenizer([answer + END for _, answer in batch], add_special_tokens=False)["input_ids"]
    return [(p + a, len(p)) for p, a in zip(prompts, answers, strict=True)]


class Batch(NamedTuple):
    """Ids and labels of the rows, and the tokens that stand before every row, computed only once."""

    tokens: Tensor
    labels: Tensor
    prefix: Tensor | None = None


def pad(rows: Sequence[tuple[list[int], int]]) -> Batch:
    """Ids and labels, padded on the right: with causal attention the padding needs no mask."""
    width = max(len(ids) for ids, _ in rows)
    tokens = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED)
    for i, (ids, start) in enumerate(rows):
        tokens[i, : len(ids)] = torch.tensor(ids)
        labels[i, start : len(ids)] = tokens[i, start : len(ids)]
    return Batch(tokens, labels)


def batches(tokenizer: PreTrainedTokenizerFast, draw: Draw, plan: Schedule) -> Iterator[Batch]:
    """Endless batches; each pool of eight is sorted by length so that little padding is computed."""
    rng = random.Random(plan.seed)
    while True:
        rows = encode(tokenizer, [draw(rng) for _ in range(POOL * plan.batch)])
        rows.sort(key=lambda row: len(row[0]))
        groups = [rows[i : i + plan.batch] for i in range(0, len(rows), plan.batch)]
        rng.shuffle(groups)
        yield from (pad(group) for group in groups)


def answer_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy on the answer tokens; the vocabulary is only computed where it counts."""
    inner: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    cache = None
    if batch.prefix is not None:
        cache = DynamicCache()
        inner.model(input_ids=batch.prefix, past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(len(batch.tokens))
    output = inner.model(input_ids=batch.tokens, past_key_values=cache, use_cache=cache is not None)
    targets = batch.labels[:, 1:]
    where = targets != IGNORED
    return nn.functional.cross_entropy(inner.lm_head(output.last_hidden_state[:, :-1][where]), targets[where])


def train(model: nn.Module, tokenizer: PreTrainedTokenizerFast, draw: Draw, plan: Schedule, name: str) -> None:
    """Train on the answers of drawn examples."""
    fit(model, batches(tokenizer, draw, plan), plan, name)


def optimisers(model: nn.Module, plan: Schedule) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of a model trained in full, AdamW for the rest and for adapters."""
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    matrices = [p for name, p in trainable if p.ndim == 2 and "embed" not in name and plan.muon]
    muon_ids = {id(p) for p in matrices}
    rest = [p for _, p in trainable if id(p) not in muon_ids]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(rest, lr=plan.rate, weight_decay=plan.decay, betas=(0.9, 0.98))
    ]
    if matrices:
        optimizers.append(
            torch.optim.Muon(matrices, lr=plan.rate, weight_decay=plan.decay, adjust_lr_fn="match_rms_adamw")
        )
    return optimizers


def fit(model: nn.Module, data: Iterator[Batch], plan: Schedule, name: str) -> None:
    """Train the parameters that require a gradient, printing the loss some ten times."""
    torch.manual_seed(plan.seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    steppers = optimisers(model, plan)
    model.train()
    began, total = time.monotonic(), 0.0
    every = max(1, plan.steps // 20)
    for step, batch in zip(range(plan.steps), data, strict=False):
        for stepper in steppers:
            stepper.zero_grad(set_to_none=True)
            for group in stepper.param_groups:
                group["lr"] = plan.rate * plan.factor(step)
        loss = answer_loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for stepper in steppers:
            stepper.step()
        total += loss.item()
        if (step + 1) % every == 0:
            print(
                f"{name}: step {step + 1}/{plan.steps} loss {total / every:.4f} {time.monotonic() - began:.0f} s",
                flush=True,
            )
            total = 0.0
    model.eval()
