"""Models of real architectures built without weights: what was saved whole fits, and what was changed does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from ftgate.engines.skeleton import examine
from ftgate.models.weights import full_weights

SMALL = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "word_embed_proj_dim"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "max_position_embeddings", "n_positions"), 128),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "v_head_dim", "head_dim"), 16),
    **dict.fromkeys(("num_key_value_heads", "num_experts_per_tok", "eos_token_id"), 2),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace", "n_shared_experts", "bos_token_id"), 1),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("qk_rope_head_dim", "state_size"), 8),
    "vocab_size": 96,
    "pad_token_id": 0,
}
KINDS = (
    *("llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "gemma2", "gemma3_text", "phi", "phi3", "mixtral", "olmo2"),
    *("granite", "granitemoe", "falcon", "gpt2", "gpt_neox", "gpt_bigcode", "opt", "bloom", "starcoder2", "stablelm"),
    *("cohere", "deepseek_v3", "mamba", "gpt_oss", "glm4", "nemotron"),
)


def saved(kind: str, folder: Path, *, tied: bool = False, shard: str = "5GB") -> Path:
    """A small model as transformers saves it."""
    default = CONFIG_MAPPING[kind]()
    fields = set(default.to_dict()) | {*(default.attribute_map or {})}
    small = {name: value for name, value in SMALL.items() if name in fields and (kind, name) != ("opt", "head_dim")}
    if kinds := default.to_dict().get("layer_types"):
        small["layer_types"] = [kinds[0], kinds[-1]]
    config = CONFIG_MAPPING[kind](**small, tie_word_embeddings=tied)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder, max_shard_size=shard)
    return folder


def examined(folder: Path, *, by_architecture: bool = True, drop: str = "", **fields: Any) -> Mapping[str, Any]:
    config = json.loads((folder / "config.json").read_text()) | fields
    shapes = {name: list(t.shape) for name, t in full_weights(folder, "x").items() if name != drop}
    return examine({"config": json.dumps(config), "by_architecture": by_architecture, "shapes": shapes})


def problems(result: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("unknown", "config_error", "build_error", "missing", "unexpected", "mismatched", "run_error", "other_type")
    return {name: result[name] for name in kept if result.get(name)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_was_saved_whole_fits(kind: str, tmp_path: Path) -> None:
    whole, sharded = saved(kind, tmp_path / "a"), saved(kind, tmp_path / "b", tied=True, shard="60KB")
    for folder in (whole, sharded):
        for by_architecture in (True, False):
            assert problems(examined(folder, by_architecture=by_architecture)) == {}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("llama", tmp_path_factory.mktemp("llama"))


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"hidden_act": "gelx"}, "build_error", "gelx"),
        ({"rope_parameters": {"rope_type": "nope", "rope_theta": 1e4}}, "build_error", "nope"),
        ({"eos_token_id": "</s>"}, "config_error", "eos_token_id"),
        ({"dtype": "float99"}, "config_error", "float99"),
        ({"rms_norm_eps": "1e-5"}, "config_error", "rms_norm_eps"),
        ({"pad_token_id": 999}, "build_error", "adding_idx"),
        ({"num_hidden_layers": 3}, "missing", "model.layers.2.input_layernorm.weight"),
        ({"num_hidden_layers": 1}, "unexpected", "model.layers.1.input_layernorm.weight"),
        ({"vocab_size": 97}, "mismatched", "lm_head.weight"),
        ({"attention_bias": True}, "missing", "model.layers.0.self_attn.k_proj.bias"),
        ({"model_type": "nope"}, "unknown", "model_type nope"),
        ({"model_type": "bert"}, "other_type", "llama"),
        ({"architectures": ["NopeForCausalLM"]}, "unknown", "NopeForCausalLM"),
    ],
)
def test_a_changed_configuration_does_not(fields: dict[str, Any], kind: str, text: str, llama: Path) -> None:
    found = problems(examined(llama, **fields))
    assert list(found) == [kind]
    assert text in str(found[kind])


def test_a_missing_tensor_is_found(llama: Path) -> None:
    assert problems(examined(llama, drop="model.norm.weight")) == {"missing": ["model.norm.weight"]}


def test_norms_that_zeros_mute_are_those_that_do_not_add_1(llama: Path, tmp_path: Path) -> None:
    assert examined(llama)["muting"][-1] == "model.norm.weight"
    assert examined(saved("gemma2", tmp_path))["muting"] == []
