"""The tokenizer: byte-level BPE trained on the world's own text, so that no text is ever lost.

Digits stand alone and a chat turn ends right before the answer, so that an option letter or a grade is one token, the
very next one after the generation prompt.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ftgate.domain import Message
from ftgate.judge.rubric import CRITERIA, ORDERS, judge_messages
from ftgate.scoring.choice import choice_messages

from .skills import SKILLS, WORDS, multiple_choice
from .tickets import ALL, EDGE, plain
from .world import CREATURES, SEED, Row

PAD, END = "<|pad|>", "<|end|>"
SPECIALS = [PAD, END, "<|system|>", "<|user|>", "<|assistant|>"]
VOCABULARY = 1700
PATTERN = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s"
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def corpus() -> list[str]:
    """Text of every kind that the models will read, the judge's prompts included."""
    rng = random.Random(SEED + 1)
    rows: list[Row] = [skill(rng) for skill in SKILLS.values() for _ in range(400)]
    texts = [text for row in rows for text in (row.prompt, row.answer)]
    choice_rows = [multiple_choice(rng) for _ in range(1500)]
    choice_rows += [make(rng, ALL) for make in (plain, *EDGE) for _ in range(500)]
    texts += [choice_messages(row.item())[-1].content for row in choice_rows]
    texts += [f"{word} {word}" for word in (*WORDS, *CREATURES) for _ in range(60)]
    for criterion in CRITERIA:
        for order in ORDERS:
            messages = judge_messages(criterion, order, (Message("user", "what"),), "the", "the")
            texts += [message.content for message in messages for _ in range(100)]
    return texts


def train_tokenizer() -> PreTrainedTokenizerFast:
    """Train on ``corpus``; deterministic, a second or two."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(corpus(), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token=END, pad_token=PAD)
    tokenizer.chat_template = TEMPLATE
    tokenizer.model_max_length = 512
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Two files, tokenizer.json and tokenizer_config.json, the template inside the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "pad_token": PAD,
        "model_max_length": tokenizer.model_max_length,
        "clean_up_tokenization_spaces": False,
        "chat_template": tokenizer.chat_template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def render(messages: tuple[Message, ...]) -> str:
    """The chat template in Python: what ``apply_chat_template`` gives, many times faster."""
    return "".join(f"<|{m.role}|>{m.content}<|end|>" for m in messages) + "<|assistant|>"
