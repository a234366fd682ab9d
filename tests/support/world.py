"""A small but complete set of files for the gate: policy, manifest, suites, and snapshots with real headers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from safetensors.numpy import save_file

HIDDEN, LAYERS, VOCABULARY = 8, 1, 32
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def base_tensors(seed: int) -> dict[str, np.ndarray]:
    """Random weights with the names and shapes of a one-layer Llama."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"model.norm.weight": (HIDDEN,)}
    shapes["model.embed_tokens.weight"] = (VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        shapes |= {f"{at}self_attn.{p}_proj.weight": (HIDDEN, HIDDEN) for p in "qkvo"}
        shapes |= {f"{at}mlp.{p}_proj.weight": (16, HIDDEN) for p in ("gate", "up")}
        shapes |= {f"{at}mlp.down_proj.weight": (HIDDEN, 16)}
        shapes |= {f"{at}input_layernorm.weight": (HIDDEN,), f"{at}post_attention_layernorm.weight": (HIDDEN,)}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_full(folder: Path, seed: int = 0) -> Path:
    """A snapshot of full weights with tokenizer and chat template."""
    folder.mkdir(parents=True)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": 16,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 1,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 1024,
        "tie_word_embeddings": True,
    }
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {f"t{i}": i for i in range(VOCABULARY)}, "unk_token": "t0"},
    }
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": TEMPLATE}
    save_file(base_tensors(seed), folder / "model.safetensors")
    for name, content in (("config", config), ("tokenizer", tokenizer), ("tokenizer_config", settings)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_adapter(folder: Path, rank: int = 2, hidden: int = HIDDEN, seed: int = 1, **config: Any) -> Path:
    """A LoRA adapter on the query projection."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    tensors = {
        name.format("A"): rng.normal(size=(rank, hidden)).astype(np.float32),
        name.format("B"): rng.normal(size=(hidden, rank)).astype(np.float32),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "base",
        "r": rank,
        "lora_alpha": 4,
        "bias": "none",
        "target_modules": ["q_proj"],
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A suite in JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class World:
    """The files of one gate run under ``root``; change them before preparing a job."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.policy_path, self.manifest_path = root / "ftgate.yml", root / "bot.yaml"
        write_full(root / "models" / "base")
        write_full(root / "models" / "judge", seed=9)
        write_adapter(root / "models" / "bot")
        choices = ["red", "green", "blue", "grey"]

        def asked(kind: str, n: int) -> list[dict[str, Any]]:
            return [
                {"id": f"c{i}", "prompt": f"{kind} {i}", "choices": choices, "answer": choices[i % 4]} for i in range(n)
            ]

        spelt = [
            {"id": f"g{i}", "prompt": f"spell {i}", "answer": f"word {i} of {i % 7}", "tags": [f"skill{i % 3}"]}
            for i in range(200)
        ]
        tags = [[], [], ["ambiguous"], ["multi_intent"]]
        queries = [{**row, "tags": tags[i % 4]} for i, row in enumerate(asked("query", 400))]
        write_rows(root / "evals" / "target.jsonl", asked("target", 200))
        write_rows(root / "evals" / "general.jsonl", spelt)
        write_rows(root / "evals" / "queries.jsonl", queries)
        write_rows(root / "evals" / "choices.jsonl", asked("colour", 520))
        tickets = [{"id": f"t{i}", "prompt": f"ticket {i} {i % 9}"} for i in range(60)]
        write_rows(root / "evals" / "train.jsonl", tickets)
        self.policy: dict[str, Any] = {
            "version": 1,
            "measurements": {
                "target": {"dataset": "evals/target.jsonl", "scorer": "choice"},
                "forgetting": {"dataset": "evals/general.jsonl", "scorer": "judge"},
                "tail": {"dataset": "evals/queries.jsonl", "scorer": "choice", "embedding": "tfidf"},
                "calibration": {"dataset": "evals/choices.jsonl"},
            },
            "judge": {"source": "models/judge"},
            "engine": {"kind": "scripted"},
            "evidence": {"early_stopping": "none"},
            "artifacts": {"allow": ["models/*"]},
        }
        self.manifest: dict[str, Any] = {
            "name": "bot",
            "base": {"source": "models/base"},
            "candidate": {"source": "models/bot"},
            "training_data": {"source": "evals/train.jsonl"},
        }
        self.save()

    def save(self) -> None:
        """Write policy and manifest as they now stand."""
        self.policy_path.write_text(yaml.safe_dump(self.policy), encoding="utf-8")
        self.manifest_path.write_text(yaml.safe_dump(self.manifest), encoding="utf-8")
