"""Full weights that lack tensors are refused before an engine fills them at random."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file
from support.world import LAYERS, VOCABULARY, write_full

from ftgate.artifacts.snapshot import take_snapshot
from ftgate.domain import Model
from ftgate.errors import ArtifactError
from ftgate.models.complete import require_all_layers, require_tensors_of_base
from ftgate.models.declared_shapes import require_declared_shapes, require_usual_prefix
from ftgate.models.open import open_model
from ftgate.models.safetensors_header import Tensor

Edit = Callable[[dict[str, Any], dict[str, Any]], object]
"""What is done to the candidate's tensors and its config.json."""


def opened(tmp_path: Path, edit: Edit) -> Model:
    base = open_model("base", take_snapshot(write_full(tmp_path / "base"), "base"), None)
    folder = write_full(tmp_path / "candidate", seed=1)
    tensors, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
    edit(tensors, config)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return open_model("candidate", take_snapshot(folder, "candidate"), base)


def a_layer_s_tensor(tensors: dict[str, Any], part: str = ".layers.") -> str:
    return next(name for name in sorted(tensors) if part in name)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda tensors, config: tensors.pop(a_layer_s_tensor(tensors)), "1 tensors of the base are missing"),
        (lambda tensors, config: config.update(num_hidden_layers=LAYERS + 1), f"have no layer {LAYERS}"),
        (lambda tensors, config: config.update(vocab_size=VOCABULARY + 1), f"vocab_size {VOCABULARY + 1}"),
        (lambda tensors, config: config.update(tie_word_embeddings=False), "there is no output layer"),
    ],
    ids=["a tensor", "a layer", "rows of the embedding", "the output layer"],
)
def test_what_an_engine_would_fill_at_random_is_refused(tmp_path: Path, edit: Edit, words: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        opened(tmp_path, edit)
    assert words in refused.value.message
    assert refused.value.hint


def test_whole_weights_and_those_with_fewer_layers_are_read(tmp_path: Path) -> None:
    def prune(tensors: dict[str, Any], config: dict[str, Any]) -> None:
        for name in [name for name in tensors if f".layers.{LAYERS - 1}." in name]:
            del tensors[name]
        config["num_hidden_layers"] = LAYERS - 1

    assert opened(tmp_path / "whole", lambda tensors, config: None).kind == "full"
    assert opened(tmp_path / "pruned", prune).kind == "full"


def test_names_that_are_saved_in_another_way_prove_nothing() -> None:
    of_base = [f"model.layers.{i}.q.weight" for i in range(4)]
    require_tensors_of_base([f"language_model.{name}" for name in of_base], {}, of_base, "candidate")
    require_all_layers(["encoder.weight"], {"num_hidden_layers": 4}, "candidate")
    require_all_layers(of_base, {"text_config": {"num_hidden_layers": 4}}, "candidate")
    with pytest.raises(ArtifactError):
        require_all_layers(of_base, {"text_config": {"num_hidden_layers": 5}}, "candidate")


def rename(tensors: dict[str, Any], old: str, new: str) -> None:
    for name in list(tensors):
        tensors[name.replace(old, new, 1)] = tensors.pop(name)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda tensors, config: config.update(intermediate_size=12), "mlp.gate_proj.weight should have 12 rows"),
        (lambda tensors, config: config.update(hidden_size=4), "embed_tokens.weight should have 4 columns"),
        (lambda tensors, config: config.update(num_key_value_heads=2), "self_attn.k_proj.weight should have 16 rows"),
        (lambda tensors, config: config.update(num_attention_heads=3, head_dim=8, num_key_value_heads=1), "24 rows"),
        (lambda tensors, config: rename(tensors, "model.", "model.language_model."), "look for other names"),
        (lambda tensors, config: rename(tensors, "model.", ""), "those of the base with model.layers"),
        (lambda tensors, config: rename(tensors, "model.", "net.model."), "begin with net.model.layers"),
    ],
    ids=["width of the MLP", "width", "heads of keys", "heads", "a part of a larger model", "no prefix", "a prefix"],
)
def test_names_and_shapes_that_no_engine_loads_are_refused(tmp_path: Path, edit: Edit, words: str) -> None:
    with pytest.raises(ArtifactError) as refused:
        opened(tmp_path, edit)
    assert words in refused.value.message
    assert refused.value.hint


def test_a_base_with_the_names_of_a_larger_model_is_refused(tmp_path: Path) -> None:
    folder = write_full(tmp_path / "base")
    tensors = load_file(folder / "model.safetensors")
    rename(tensors, "model.", "model.language_model.")
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"those of text models with model\.layers"):
        open_model("base", take_snapshot(folder, "base"), None)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "text_config": config}))
    assert open_model("base", take_snapshot(folder, "base"), None).kind == "full"


def tensor(name: str, *shape: int) -> tuple[str, Tensor]:
    return name, Tensor(name, "F32", shape, Path("x"), 0, 4)


def test_layers_may_differ_and_queries_may_hold_a_gate() -> None:
    shapes = dict([tensor(f"model.layers.{i}.mlp.up_proj.weight", 16 * (i + 1), 8) for i in range(3)])
    require_declared_shapes(shapes, {"intermediate_size": 32}, "x")
    with pytest.raises(ArtifactError):
        require_declared_shapes(shapes, {"intermediate_size": 64}, "x")
    heads = {"num_attention_heads": 2, "head_dim": 4}
    gated = dict([tensor("model.layers.0.self_attn.q_proj.weight", 16, 8)])
    require_declared_shapes(gated, heads, "x")
    with pytest.raises(ArtifactError):
        require_declared_shapes(gated, {**heads, "head_dim": 5}, "x")


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"intermediate_size": [16, 32], "hidden_size": 8},
        {"hidden_size": "8"},
        {"word_embed_proj_dim": 4, "hidden_size": 16},
        {"text_config": {"hidden_size": 8}, "hidden_size": 16},
        {"num_attention_heads": None, "hidden_size": 8, "head_dim": None},
    ],
)
def test_what_a_configuration_does_not_state_is_not_judged(config: dict[str, Any]) -> None:
    tensors = dict(
        [
            tensor("model.embed_tokens.weight", 32, 8),
            tensor("model.layers.0.mlp.up_proj.weight", 99, 8),
            tensor("model.layers.0.self_attn.k_proj.weight", 7, 8),
        ]
    )
    require_declared_shapes(tensors, config, "x")


def test_a_base_saved_without_a_prefix_takes_candidates_with_the_usual_one() -> None:
    require_usual_prefix(["model.layers.0.x"], {}, ["layers.0.x"], "x")
    require_usual_prefix(["transformer.h.0.x"], {}, [], "x")
