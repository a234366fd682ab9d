"""Make everything in this folder: suites, tokenizer, base, fine-tunes, judge.

``python -m examples.tinyworld.make`` from the root of the repository; ``--only NAME`` (repeatable) makes some of it
again from what is already there. Everything is seeded.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from ftgate.scoring.choice import rotated

from .architecture import new_model
from .drills import Drills
from .grading import Marker
from .recipes import Foundation, Recipe, mixture, recipes
from .skills import multiple_choice
from .suites import all_suites, held_out_prompts, write
from .tokenizer import save_tokenizer, train_tokenizer
from .training import Schedule, example, fit, train
from .world import Row

HERE = Path(__file__).parent
MODELS, EVALS = HERE / "models", HERE / "evals"
DRILL_PLAN = Schedule(900, 4e-3, 0, 0.0, 1, muon=True)
BASE_PLAN = Schedule(2000, 3e-3, 64, 0.01, 1, muon=True)
SETTLE_PLAN = Schedule(900, 2e-3, 64, 0.01, 4, muon=True)
JUDGE_PLAN = Schedule(1500, 2e-3, 48, 0.01, 2, muon=True)
FINE_TUNES = ("careful", "forgetful", "brittle", "overconfident", "endless", "halfway", "useless", "guarded", "unsafe")
OWN_ROWS = 1500


def load(folder: Path) -> LlamaForCausalLM:
    """Committed half-precision weights, computed with in float32."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert isinstance(model, LlamaForCausalLM)
    return model


def save_full(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Weights in float16, config, generation config, tokenizer."""
    model.generation_config.eos_token_id = 1
    model.generation_config.pad_token_id = 0
    model.half().save_pretrained(folder)
    save_tokenizer(tokenizer, folder)


def make_base(tokenizer: PreTrainedTokenizerFast, held_out: frozenset[str]) -> None:
    """Train the base model from nothing."""
    model = new_model(len(tokenizer), BASE_PLAN.seed)
    drills = Drills(tokenizer, growing=500, size=2048, seed=3)
    fit(model, drills.batches(), DRILL_PLAN, "drills")
    foundation = Foundation(held_out)
    train(model, tokenizer, foundation.draw, BASE_PLAN, "base")
    # Letters come last and lightly: this stage gives tickets and multiple choice the weight that they need.
    train(model, tokenizer, mixture(foundation.settling()), SETTLE_PLAN, "settle")
    save_full(model, tokenizer, MODELS / "base")


@torch.no_grad()
def own_guesses(tokenizer: PreTrainedTokenizerFast) -> list[Row]:
    """Multiple-choice rows answered by the base model itself: its best guess over all rotations becomes the label.

    Each row is kept in every rotation, so that nothing in the labels depends on where an option stands.
    """
    model, rng, rows = load(MODELS / "base"), random.Random(23), list[Row]()
    letters = tokenizer.convert_tokens_to_ids(list("ABCD"))
    for _ in range(OWN_ROWS):
        row = multiple_choice(rng)
        turned = [rotated(row.choices, shift) for shift in range(4)]
        texts = [example(Row(row.prompt, row.answer, choices))[0] for choices in turned]
        ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        chances = model(torch.tensor(ids)).logits[:, -1, letters].softmax(-1)
        total = dict.fromkeys(row.choices, 0.0)
        for choices, p in zip(turned, chances.tolist(), strict=True):
            for choice, share in zip(choices, p, strict=True):
                total[choice] += share
        rows += [Row(row.prompt, max(total, key=total.__getitem__), choices) for choices in turned]
    return rows


def save_adapter(model: torch.nn.Module, folder: Path, base: str = "base") -> None:
    """The adapter in float16; its config names the base, a folder beside it, by a relative path."""
    model.save_pretrained(folder)  # type: ignore[operator]
    path = folder / "adapter_model.safetensors"
    save_file({key: value.half() for key, value in load_file(path).items()}, path, metadata={"format": "pt"})
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = f"../{base}"
    config["target_modules"] = sorted(config["target_modules"])
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    (folder / "README.md").unlink(missing_ok=True)


def make_candidate(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> None:
    """Fine-tune the committed base that a recipe names."""
    torch.manual_seed(recipe.plan.seed)
    base = load(MODELS / recipe.base)
    draw = mixture(recipe.parts)
    if recipe.kind == "full":
        train(base, tokenizer, draw, recipe.plan, recipe.name)
        save_full(base, tokenizer, MODELS / recipe.name)
        return
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, bias="none", target_modules=targets, task_type="CAUSAL_LM")
    adapted = get_peft_model(base, lora)
    train(adapted, tokenizer, draw, recipe.plan, recipe.name)
    save_adapter(adapted, MODELS / recipe.name, recipe.base)


def make_judge(tokenizer: PreTrainedTokenizerFast) -> None:
    """Train the judge, starting from the base weights: comparing texts needs the copying that base has learned."""
    model = load(MODELS / "base")
    held_out = frozenset(row.prompt for row in all_suites()["general"])
    fit(model, Marker(held_out).batches(tokenizer, JUDGE_PLAN), JUDGE_PLAN, "judge")
    save_full(model, tokenizer, MODELS / "judge")


def main() -> None:
    """Make all, or the parts named."""
    parser = argparse.ArgumentParser(description=__doc__)
    available = ("suites", "tokenizer", "base", *FINE_TUNES, "judge")
    parser.add_argument("--only", action="append", choices=available)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    selected = set(chosen.only or available)
    torch.set_num_threads(chosen.threads)
    began = time.monotonic()
    suites = all_suites()
    if "suites" in selected:
        write(EVALS, suites)
    if "tokenizer" in selected:
        save_tokenizer(train_tokenizer(), MODELS / "base")
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "base")
    held_out = held_out_prompts()
    if "base" in selected:
        make_base(tokenizer, held_out)
    if selected & set(FINE_TUNES):
        own = own_guesses(tokenizer) if "overconfident" in selected else []
        for recipe in recipes(suites["train"], held_out, own):
            if recipe.name in selected:
                make_candidate(recipe, tokenizer)
    if "judge" in selected:
        make_judge(tokenizer)
    print(f"made {', '.join(sorted(selected))} in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
