"""Model folders in the shapes that trainers leave behind: tiny, written by the installed peft or as older ones wrote.

Not the zoo of docs/zoo.md, whose members are real fine-tunes, nor that of support/zoo.py, which are damaged artifacts.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.tiny import TEMPLATE, make_llama, make_tokenizer

NARROW: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
}
NEW_TOKENS = ["<|tool|>", "<|think|>"]
Write = Callable[[Path, Path], None]
"""Writes a folder, given that and the base's."""


@dataclass(frozen=True)
class TrainerFolder:
    """One shape. ``refused``: what `ftgate check` says, or empty for one that runs; ``named``: the part to name."""

    trainer: str
    shape: str
    write: Write
    refused: str = ""
    merged: bool = False
    named: str = "."
    note: str = ""


def write_base(folder: Path) -> None:
    """The base of all of them."""
    make_llama(folder, 8, make_tokenizer(folder), **NARROW)


def lora(*extras: Write, rows: int = 0, tokenizer: bool = True, tokens: bool = False, **config: Any) -> Write:
    """An adapter as peft saves it, then the ``extras``. ``tokens``: two more in the tokenizer; ``rows``: embeddings."""

    def write(folder: Path, base: Path) -> None:
        import torch
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.manual_seed(1)
        net = AutoModelForCausalLM.from_pretrained(base)
        words = AutoTokenizer.from_pretrained(base)
        if tokens:
            words.add_special_tokens({"additional_special_tokens": NEW_TOKENS})
        if rows:
            net.resize_token_embeddings(len(words) + rows - len(NEW_TOKENS), mean_resizing=False)
        chosen = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **config}
        model = get_peft_model(net, LoraConfig(**chosen))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "lora_A" not in name:
                parameter.data += 0.2 * torch.randn_like(parameter)
        model.save_pretrained(folder)
        if tokenizer:
            words.save_pretrained(folder)
        for extra in extras:
            extra(folder, base)

    return write


def full(*extras: Write, shards: bool = False) -> Write:
    """Full weights of another training."""

    def write(folder: Path, base: Path) -> None:
        from transformers import AutoModelForCausalLM

        make_llama(folder, 9, make_tokenizer(folder), **NARROW)
        if shards:
            net = AutoModelForCausalLM.from_pretrained(folder)
            (folder / "model.safetensors").unlink()
            net.save_pretrained(folder, max_shard_size="40KB")
        for extra in extras:
            extra(folder, base)

    return write


def files(**contents: Any) -> Write:
    """Files beside the model; ``_dot_`` in a name is a dot, ``__`` a slash. What is no text is pickled or JSON."""

    def write(folder: Path, _: Path) -> None:
        for name, content in contents.items():
            path = folder / name.replace("_dot_", ".").replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".bin", ".pt", ".pth"):
                path.write_bytes(pickle.dumps(content))
            else:
                path.write_text(content if isinstance(content, str) else json.dumps(content))

    return write


def config(name: str = "adapter_config.json", drop: tuple[str, ...] = (), **fields: Any) -> Write:
    """Change the fields of a JSON file."""

    def write(folder: Path, _: Path) -> None:
        path = folder / name
        known = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({key: value for key, value in (known | fields).items() if key not in drop}))

    return write


def beside(name: str) -> Write:
    """A file of the base's beside the adapter."""
    return lambda folder, base: (shutil.copyfile(base / name, folder / name), None)[1]


def within(part: str, write: Write, *extras: Write) -> Write:
    """A model in a folder of the folder."""

    def outer(folder: Path, base: Path) -> None:
        write(folder / part, base)
        for extra in extras:
            extra(folder, base)

    return outer


def prefixed(prefix: str, file: str = "adapter_model.safetensors") -> Write:
    """The tensors' names behind a prefix."""

    def write(folder: Path, _: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = {prefix + name: tensor for name, tensor in load_file(folder / file).items()}
        save_file(tensors, folder / file, metadata={"format": "pt"})

    return write


def pickled(folder: Path, _: Path) -> None:
    """Adapter weights as peft wrote them before 0.8."""
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({}))


PEFT_0_10 = [
    *("auto_mapping", "base_model_name_or_path", "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights"),
    *("layer_replication", "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_dropout"),
    *("megatron_config", "megatron_core", "modules_to_save", "peft_type", "r", "rank_pattern", "alpha_pattern"),
    *("revision", "target_modules", "task_type", "use_dora", "use_rslora"),
]
"""The fields of adapter_config.json in peft 0.10."""
PEFT_0_14 = [*PEFT_0_10, "eva_config", "exclude_modules", "lora_bias"]


def fields_of(names: list[str]) -> Write:
    """adapter_config.json with these fields alone."""

    def write(folder: Path, _: Path) -> None:
        path = folder / "adapter_config.json"
        known = json.loads(path.read_text())
        path.write_text(json.dumps({name: known.get(name) for name in names}))

    return write


README = "---\nbase_model: org/tiny-llama\nlibrary_name: peft\n---\n# Model Card\n"
STATE = {"best_metric": None, "epoch": 1.0, "global_step": 10, "log_history": [{"loss": 1.2, "step": 10}]}
TRAINER = files(training_args_dot_bin=[1])
CHECKPOINT = files(
    optimizer_dot_pt=[1],
    scheduler_dot_pt=[1],
    rng_state_dot_pth=[1],
    trainer_state_dot_json=STATE,
    README_dot_md=README,
)
MARKED = TEMPLATE.replace("{{ m['content'] }}", "{% generation %}{{ m['content'] }}{% endgeneration %}")
LLAMA_FACTORY = files(
    all_results_dot_json={"train_loss": 1.0},
    train_results_dot_json={"train_loss": 1.0},
    trainer_log_dot_jsonl='{"current_steps": 10, "loss": 1.0}\n',
    trainer_state_dot_json=STATE,
    README_dot_md=README,
)
UNSLOTH = {"auto_mapping": {"base_model_class": "LlamaForCausalLM", "parent_library": "x", "unsloth_fixed": True}}
AXOLOTL = files(
    README_dot_md=README.replace("peft", "axolotl"), config_dot_yml="base_model: org/tiny-llama\nadapter: lora\n"
)
SWIFT = files(
    args_dot_json={"model": "org/tiny", "train_type": "lora"},
    additional_config_dot_json={"lora_dtype": None, "lorap_lr_ratio": None},
)
SAVED = ["embed_tokens", "lm_head"]
MERGEKIT = files(mergekit_config_dot_yml="merge_method: slerp\nbase_model: a\n", README_dot_md=README)

FOLDERS: dict[str, TrainerFolder] = {
    "trl-sft": TrainerFolder("TRL", "adapter, tokenizer and model card", lora(TRAINER, files(README_dot_md=README))),
    "trl-checkpoint": TrainerFolder(
        "TRL", "`checkpoint-10` with the state of optimizer and trainer", lora(CHECKPOINT, TRAINER)
    ),
    "trl-only-checkpoints": TrainerFolder(
        "TRL",
        "a folder that holds checkpoints alone",
        within("checkpoint-10", lora(CHECKPOINT)),
        refused="perhaps checkpoint-10",
    ),
    "trl-last-and-checkpoints": TrainerFolder(
        "TRL",
        "the last adapter, with checkpoints beneath it",
        lora(lambda f, b: lora(CHECKPOINT)(f / "checkpoint-5", b)),
    ),
    "trl-dpo-full": TrainerFolder("TRL", "full weights after DPO", full(TRAINER, CHECKPOINT)),
    "trl-own-template": TrainerFolder(
        "TRL",
        "a chat template with the tag `generation`",
        lora(files(chat_template_dot_jinja=MARKED)),
        note="asked in its own chat template",
    ),
    "trl-gkd": TrainerFolder("TRL", "distilled full weights, in shards", full(TRAINER, shards=True)),
    "peft-0.10": TrainerFolder("peft 0.10", "its fields of adapter_config.json", lora(fields_of(PEFT_0_10))),
    "peft-0.14": TrainerFolder("peft 0.14", "its fields of adapter_config.json", lora(fields_of(PEFT_0_14))),
    "peft-0.21": TrainerFolder("peft 0.21", "as it is saved", lora(tokenizer=False)),
    "peft-later": TrainerFolder("peft", "a field of a later version, not in use", lora(config(later_method=None))),
    "peft-bin": TrainerFolder("peft", "`adapter_model.bin`", lora(pickled), refused="adapter_model.bin"),
    "peft-dora": TrainerFolder("peft", "DoRA", lora(use_dora=True), merged=True),
    "peft-rslora": TrainerFolder(
        "peft",
        "rsLoRA with rank pattern",
        lora(use_rslora=True, rank_pattern={"q_proj": 2}, alpha_pattern={"q_proj": 4}),
    ),
    "peft-saved": TrainerFolder(
        "peft",
        "`modules_to_save` with a resized vocabulary",
        lora(rows=2, tokens=True, modules_to_save=SAVED),
        merged=True,
    ),
    "peft-tokens": TrainerFolder(
        "peft", "`trainable_token_indices`", lora(trainable_token_indices=[7, 8]), merged=True
    ),
    "peft-ia3": TrainerFolder("peft", "IA3", lora(config(peft_type="IA3")), refused="peft_type is 'IA3', not LORA"),
    "peft-named": TrainerFolder(
        "peft", "an adapter with a name, in a folder of its own", within("math", lora()), named="math"
    ),
    "axolotl-lora": TrainerFolder(
        "axolotl", "adapter, the base's config.json, config.yml", lora(AXOLOTL, beside("config.json"))
    ),
    "axolotl-bin": TrainerFolder(
        "axolotl", "`adapter_model.bin` beside the rest", lora(AXOLOTL, pickled), refused="adapter_model.bin"
    ),
    "axolotl-merged": TrainerFolder(
        "axolotl", "`merged`, in shards", within("merged", full(shards=True), AXOLOTL), named="merged"
    ),
    "axolotl-compiled": TrainerFolder(
        "axolotl",
        "full weights of a compiled model",
        full(prefixed("_orig_mod.", "model.safetensors")),
        refused="saved from within a wrapper",
    ),
    "axolotl-compiled-lora": TrainerFolder(
        "axolotl", "adapter of a compiled model", lora(AXOLOTL, prefixed("_orig_mod."))
    ),
    "llama-factory-lora": TrainerFolder("LLaMA-Factory", "adapter with results and logs", lora(LLAMA_FACTORY, TRAINER)),
    "llama-factory-tokens": TrainerFolder(
        "LLaMA-Factory",
        "`add_tokens`, vocabulary resized to a multiple",
        lora(LLAMA_FACTORY, rows=40, tokens=True, modules_to_save=SAVED),
        merged=True,
    ),
    "llama-factory-export": TrainerFolder(
        "LLaMA-Factory", "exported full weights with a Modelfile", full(files(Modelfile="FROM .\n"), shards=True)
    ),
    "llama-factory-pissa": TrainerFolder(
        "LLaMA-Factory", "PiSSA", lora(LLAMA_FACTORY, init_lora_weights="pissa"), merged=True
    ),
    "unsloth-lora": TrainerFolder(
        "unsloth",
        "adapter with `unsloth_fixed`, on a 4-bit copy of the base",
        lora(config(**UNSLOTH, base_model_name_or_path="unsloth/tiny-llama-bnb-4bit")),
        note="it was trained on unsloth/tiny-llama-bnb-4bit",
    ),
    "unsloth-pattern": TrainerFolder(
        "unsloth",
        "`target_modules` as a pattern",
        lora(config(**UNSLOTH), target_modules=r"(?:.*?(?:model).*?(?:self_attn|attention).*?(?:q_proj|v_proj).*?)"),
    ),
    "unsloth-pad": TrainerFolder(
        "unsloth", "tokens added to the tokenizer alone", lora(config(**UNSLOTH), tokens=True)
    ),
    "unsloth-merged": TrainerFolder(
        "unsloth", "`save_pretrained_merged`", full(config("config.json", unsloth_fixed=True, unsloth_version="2026.1"))
    ),
    "unsloth-gguf": TrainerFolder(
        "unsloth", "GGUF beside full weights", full(files(tiny_dot_Q4_K_M_dot_gguf="GGUF")), refused="GGUF found"
    ),
    "ms-swift-lora": TrainerFolder("ms-swift", "`checkpoint-10` with args.json", lora(SWIFT, CHECKPOINT, TRAINER)),
    "ms-swift-full": TrainerFolder("ms-swift", "full weights with args.json", full(SWIFT)),
    "ms-swift-both": TrainerFolder(
        "ms-swift",
        "adapter and merged weights in one folder",
        lora(SWIFT, beside("model.safetensors")),
        refused="an adapter (adapter_config.json) and full weights",
    ),
    "mergekit": TrainerFolder(
        "mergekit", "merged weights in shards, with mergekit_config.yml", full(MERGEKIT, shards=True)
    ),
    "mergekit-no-template": TrainerFolder(
        "mergekit",
        "the same without a chat template",
        full(MERGEKIT, config("tokenizer_config.json", drop=("chat_template",)), shards=True),
        refused="the tokenizer has no chat template",
    ),
    "deepspeed": TrainerFolder(
        "DeepSpeed",
        "a checkpoint with zero_to_fp32.py",
        lora(CHECKPOINT, files(zero_to_fp32_dot_py="print(1)", latest="global_step10")),
        refused="zero_to_fp32.py: code",
    ),
}
