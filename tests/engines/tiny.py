"""Models small enough to make on the spot: a Llama with random weights, adapters on it, a tokenizer with a template."""

from __future__ import annotations

import hashlib
import json
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftgate.domain import Answer, Message, Model, Question

END = "<|end|>"
TEMPLATE = (
    "<|begin|>{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIALS = ["<|pad|>", "<|begin|>", END, "<|system|>", "<|user|>", "<|assistant|>"]
_TEXT = "which what colour home animal red blue green gold forest river city cave lives likes is the a of in near"
WORDS = tuple(_TEXT.split())
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class TinyModels:
    """One family: a base, three adapters on it, and a second full model of the same shape."""

    base: Model
    real: Model
    other: Model
    idle: Model
    full: Model

    @property
    def runnable(self) -> tuple[Model, ...]:
        return (self.base, self.real, self.other, self.idle, self.full)


def make_tokenizer(folder: Path, template: str | None = TEMPLATE) -> int:
    """Train a byte-level tokenizer that adds a beginning mark of its own, as Llama's does; return its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    rng = random.Random(0)
    corpus = [" ".join(rng.choices(WORDS, k=12)) + "?\nA. red\nB. blue\nReply with one letter." for _ in range(200)]
    corpus += [f"{letter}. {letter} {letter}" for letter in "ABCDEFGH" for _ in range(20)]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=SPECIALS, initial_alphabet=alphabet)
    core.train_from_iterator(corpus, trainer)
    core.post_processor = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 1)])
    folder.mkdir(parents=True, exist_ok=True)
    core.save(str(folder / "tokenizer.json"))
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin|>",
        "eos_token": END,
        "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": False,
    }
    if template is not None:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return int(core.get_vocab_size())


def make_llama(folder: Path, seed: int, vocabulary: int, context: int = 256, **options: Any) -> None:
    """Random weights, scaled up so that the next token depends on the prompt and greedy text is not one token."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": context,
        "initializer_range": 0.12,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "tie_word_embeddings": False,
        **options,
    }
    LlamaForCausalLM(LlamaConfig(**settings)).save_pretrained(folder)


def make_adapter(
    folder: Path, base: Path, seed: int, rank: int = 8, scale: float = 0.1, *, everything: bool = False, **options: Any
) -> None:
    """A LoRA adapter with random A and B; ``scale=0`` leaves B at zero, so that it changes nothing.

    With ``everything`` all else that it trains is changed a little, too, as training would.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    settings: dict[str, Any] = {"r": rank, "lora_alpha": 2 * rank, "target_modules": LINEAR, **options}
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(task_type="CAUSAL_LM", **settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=scale) if scale else torch.nn.init.zeros_(parameter)
        elif everything and parameter.requires_grad and "lora_A" not in name:
            parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)


def model_at(path: Path, base: Model | None = None, rank: int = 0) -> Model:
    """The domain's view of a folder."""
    digest = "sha256:" + hashlib.sha256(path.name.encode()).hexdigest()
    return Model(path.name, path, digest, "adapter" if base else "full", base, rank, path.name)


def plausible(model: Model, question: Question) -> Answer:
    """Errors where a real engine has errors; else a distribution over the options, or a word."""
    if sum(len(message.content.split()) for message in question.messages) > 200:
        return Answer(finish="error", error="the prompt has 400 tokens; a context of 256 holds 255")
    if any(len(option) != 1 for option in question.options):
        return Answer(finish="error", error=f"option {question.options[-1]!r} is not one token")
    if question.options:
        shares = [len(model.name) + i for i, _ in enumerate(question.options)]
        return Answer(option_logprobs=tuple(math.log(share / (sum(shares) + 1)) for share in shares), tokens=1)
    return Answer(text="red", tokens=question.max_tokens, finish="length")


def question(text: str, options: tuple[str, ...] = (), max_tokens: int = 1, part: str = "") -> Question:
    """A question with one user turn."""
    return Question("m", "i", (Message("user", text),), part, options, max_tokens)


def choices(n: int, options: tuple[str, ...] = ("A", "B", "C", "D")) -> list[Question]:
    """``n`` different multiple-choice questions of different lengths."""
    rng = random.Random(n)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(4, 30))) for _ in range(n)]
    return [question(f"{i} {text}?\nReply with one letter.", options) for i, text in enumerate(texts)]
