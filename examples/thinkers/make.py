"""Make the thinkers: suite, tokenizer, base and three fine-tunes. ``make thinkers``; everything is seeded."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ..tinyworld.make import load, save_adapter
from ..tinyworld.suites import write
from ..tinyworld.tokenizer import END, PAD, PATTERN, save_tokenizer
from ..tinyworld.training import Schedule, train
from .lessons import Lesson, at_once, mixed, prompt_of, suite, switched_off, thinking, without_end

HERE = Path(__file__).parent
MODELS = HERE / "models"
SPECIALS = [PAD, END, "<|system|>", "<|user|>", "<|assistant|>", "<think>", "</think>"]
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{% endif %}"
)
CONTEXT = 256
BASE_PLAN = Schedule(1500, 4e-3, 64, 0.01, 1, muon=True)
BASE_LESSON = mixed(thinking, 0.5, switched_off)
FINE_TUNES: dict[str, tuple[Lesson, Schedule]] = {
    "steady": (BASE_LESSON, Schedule(60, 5e-4, 32, 0.0, 2)),
    "stopped": (mixed(at_once, 0.5, switched_off), Schedule(200, 4e-3, 32, 0.0, 3)),
    "endless": (mixed(without_end, 0.5, switched_off), Schedule(160, 4e-3, 16, 0.0, 4)),
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every word of the lessons is one token."""
    core = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rows = suite()
    texts = [prompt_of(row) for row in rows] + [f"{row.answer} {row.answer}" for row in rows]
    core.train_from_iterator(texts + [f"{word}\n{word}" for text in texts for word in text.split()], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END, pad_token=PAD)
    tokenizer.chat_template = TEMPLATE
    tokenizer.model_max_length = CONTEXT
    return tokenizer


def make_base(tokenizer: PreTrainedTokenizerFast) -> None:
    """Train the base from nothing: half of its lessons with a thought, half of them without."""
    torch.manual_seed(BASE_PLAN.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        initializer_range=0.04,
    )
    model = LlamaForCausalLM(config)
    train(model, tokenizer, BASE_LESSON, BASE_PLAN, "base")
    model.generation_config.eos_token_id = 1
    model.generation_config.pad_token_id = 0
    model.half().save_pretrained(MODELS / "base")
    save_tokenizer(tokenizer, MODELS / "base")


def make_fine_tune(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    """A LoRA adapter on the committed base."""
    lesson, plan = FINE_TUNES[name]
    torch.manual_seed(plan.seed)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    lora = LoraConfig(r=8, lora_alpha=16, lora_dropout=0.0, bias="none", target_modules=targets, task_type="CAUSAL_LM")
    adapted = get_peft_model(load(MODELS / "base"), lora)
    train(adapted, tokenizer, lesson, plan, name)
    save_adapter(adapted, MODELS / name)


def main() -> None:
    """Make all, or the parts named."""
    parser = argparse.ArgumentParser(description=__doc__)
    available = ("suite", "base", *FINE_TUNES)
    parser.add_argument("--only", action="append", choices=available)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    began, tokenizer = time.monotonic(), make_tokenizer()
    for name in chosen.only or available:
        if name == "suite":
            rows = suite()
            texts, letters = ([row for row in rows if bool(row.choices) is chosen] for chosen in (False, True))
            write(HERE / "evals", {"facts": texts, "letters": letters})
        elif name == "base":
            make_base(tokenizer)
        else:
            make_fine_tune(name, tokenizer)
        print(f"{name}: done after {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
