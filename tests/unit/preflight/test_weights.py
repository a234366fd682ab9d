"""Weights and files of models that can be read, and that no run would end well with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.world import World, write_full
from support.zoo import adapting, put, rewritten

from ftgate.models import nan_scan
from ftgate.models.safetensors_header import read_header
from ftgate.preflight.findings import Preflight

Check = Callable[[World], Preflight]


def scaled(folder: Path, factor: float, part: str = "") -> None:
    """Multiply the tensors that have ``part`` in their names."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({name: value * np.float32(factor if part in name else 1) for name, value in tensors.items()}, path)


def full_candidate(world: World, seed: int = 5) -> Path:
    world.manifest["candidate"] = {"source": "models/x"}
    return write_full(world.root / "models" / "x", seed=seed)


def the_problem(result: Preflight) -> str:
    (problem,) = result.problems
    assert problem.exit_code == 2
    assert problem.hint
    return problem.message


@pytest.mark.parametrize("role", ["base", "judge", "x"])
@pytest.mark.parametrize(
    ("factor", "found"),
    [
        (float("nan"), "tensor model.embed_tokens.weight in model.safetensors and 10 more tensors contains NaN"),
        (float("inf"), "tensor model.embed_tokens.weight in model.safetensors and 10 more tensors contains NaN"),
        (0.0, "all 8 weight matrices are zero, the first is model.embed_tokens.weight"),
    ],
)
def test_numbers_that_are_none_and_zeros_are_found_in_every_model(
    role: str, factor: float, found: str, world: World, checked: Check
) -> None:
    full_candidate(world)
    scaled(world.root / "models" / role, factor)
    assert the_problem(checked(world)).startswith(f"models/{role}: {found}")


def test_a_matrix_of_zeros_that_the_base_has_not_is_warned_of(world: World, checked: Check) -> None:
    scaled(full_candidate(world), 0.0, "q_proj")
    (warning,) = checked(world).warnings
    assert warning.startswith("models/x: 1 of its weight matrices are all zeros, and not so in the base; the first is")
    scaled(world.root / "models" / "base", 0.0, "q_proj")
    assert checked(world).warnings == ()


def test_of_large_weights_the_beginning_of_each_tensor_is_read(
    world: World, checked: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftgate.models.open.PREFLIGHT_TREE_BYTES", 1000)
    monkeypatch.setattr("ftgate.models.open.SAMPLE_BYTES", 64)
    scaled(full_candidate(world), float("nan"), "norm")
    assert "layernorm" in the_problem(checked(world))
    path = world.root / "models" / "x" / "model.safetensors"
    tensors = load_file(write_full(world.root / "models" / "y", seed=5) / "model.safetensors")
    tensors["model.embed_tokens.weight"][-1, -1] = np.nan
    save_file(tensors, path)
    result = checked(world)
    assert result.problems == ()
    assert any(note.startswith("models/x: only the first 64 KiB of each tensor were searched") for note in result.notes)


@pytest.mark.parametrize(
    ("factor", "fields", "found"),
    [
        (1e-12, {}, "its lora_B (or lora_A) matrices are nearly zero, and no weight changes by more than"),
        (1e-12, {"use_rslora": True}, "its lora_B (or lora_A) matrices are nearly zero"),
        (0.0, {}, "all lora_B (or lora_A) matrices are zero"),
        (1.0, {"lora_alpha": 0}, "lora_alpha is 0"),
        (1e-6, {}, ""),
        (1e-12, {"alpha_pattern": {"q_proj": 1e6}}, ""),
    ],
)
def test_an_adapter_that_is_next_to_zero_is_refused(
    factor: float, fields: dict[str, Any], found: str, world: World, checked: Check
) -> None:
    folder = world.root / "models" / "bot"
    shrink = rewritten(lambda t: {k: v * np.float32(factor if "lora_B" in k else 1) for k, v in t.items()})
    shrink(folder)
    adapting(**fields)(folder)
    result = checked(world)
    if found:
        assert found in the_problem(result)
        assert the_problem(result).endswith("the adapter changes nothing")
    else:
        assert result.problems == ()


def shard(folder: Path) -> None:
    """Split the weights into two files."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places = {name: f"model-{i % 2}.safetensors" for i, name in enumerate(tensors)}
    for file in set(places.values()):
        save_file({name: tensors[name] for name, place in places.items() if place == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def test_the_bases_weights_in_other_files_are_refused(world: World, checked: Check) -> None:
    folder = full_candidate(world, seed=0)
    shard(folder)
    assert the_problem(checked(world)).startswith("models/x: the same weights, config.json and tokenizer as the base")
    put("config.json", {"rope_theta": 5.0})(folder)
    result = checked(world)
    assert result.problems == ()
    assert result.warnings[0].startswith("models/x: the same weights as the base, byte for byte; only other files")


def test_weights_are_the_same_only_if_all_of_them_are(tmp_path: Path) -> None:
    tensors = {"a": np.zeros((2, nan_scan.SAMPLE_BYTES), np.float32)}
    save_file(tensors, tmp_path / "one")
    tensors["a"][-1, -1] = 1
    save_file(tensors, tmp_path / "other")
    one, other = (read_header(tmp_path / name, name) for name in ("one", "other"))
    assert nan_scan.same_numbers(one, one)
    assert not nan_scan.same_numbers(one, other)
    assert nan_scan.same_numbers(one, other, nan_scan.SAMPLE_BYTES)


def other_words(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"] |= {"vocab": {f"w{i}": i for i in range(32)}, "unk_token": "w0"}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def test_a_tokenizer_of_another_vocabulary_is_warned_of(world: World, checked: Check) -> None:
    other_words(full_candidate(world))
    (warning,) = checked(world).warnings
    assert warning.startswith(
        "models/x: its tokenizer has another vocabulary than the base's (0 of 32 tokens have the same id)"
    )
    adapter = world.root / "models" / "bot"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(world.root / "models" / "x" / name, adapter)
    world.manifest["candidate"] = {"source": "models/bot"}
    (warning,) = checked(world).warnings
    assert warning.startswith("models/bot: its tokenizer has another vocabulary")


def test_more_tokens_than_embeddings_are_refused_of_every_model_that_shares_the_tokenizer(
    world: World, checked: Check
) -> None:
    for folder in (world.root / "models" / "base", full_candidate(world)):
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        tokenizer["model"]["vocab"] = {f"t{i}": i for i in range(40)}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    said = "the tokenizer has 40 tokens, the model 32 embeddings"
    assert [p.message for p in checked(world).problems] == [f"models/base: {said}", f"models/x: {said}"]


def test_prompts_must_fit_the_candidate_too_if_only_its_context_is_smaller(world: World, checked: Check) -> None:
    path = full_candidate(world) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_position_embeddings": 24}))
    problems = [p.message for p in checked(world).problems]
    assert problems
    assert all("too long for a context of 24 tokens" in message for message in problems)


def test_a_judge_with_more_tokens_than_embeddings_is_refused(world: World, checked: Check) -> None:
    path = world.root / "models" / "judge" / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"] = {f"t{i}": i for i in range(40)}
    path.write_text(json.dumps(tokenizer))
    assert the_problem(checked(world)) == "models/judge: the tokenizer has 40 tokens, the model 32 embeddings"


@pytest.mark.parametrize("role", ["base", "judge", "x"])
@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"architectures": None}, "architectures is None, and vLLM needs a list with a class"),
        ({"architectures": []}, "architectures is [], and vLLM needs a list with a class"),
        ({"model_type": None}, "model_type is None, and engines need the name"),
        ({"max_position_embeddings": 0}, "max_position_embeddings is 0, and a number above 0 was expected"),
        ({"max_position_embeddings": "1024"}, "max_position_embeddings is '1024', and a number above 0"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0, and a number above 0 was expected"),
    ],
)
def test_a_configuration_that_no_engine_loads_is_refused(
    role: str, fields: dict[str, Any], found: str, world: World, checked: Check
) -> None:
    full_candidate(world)
    put("config.json", fields)(world.root / "models" / role)
    world.policy["engine"] = {"kind": "vllm"}
    assert the_problem(checked(world)).startswith(f"models/{role}: config.json: {found}")


def test_the_transformers_engine_needs_no_architectures(world: World, checked: Check) -> None:
    put("config.json", {"architectures": None})(full_candidate(world))
    world.policy["engine"] = {"kind": "transformers"}
    assert checked(world).problems == ()


def test_a_judge_in_a_form_that_its_engine_does_not_load_is_refused(world: World, checked: Check) -> None:
    quantised = {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}
    put("config.json", quantised)(world.root / "models" / "judge")
    world.policy["judge"]["engine"] = {"kind": "vllm"}
    found = the_problem(checked(world))
    assert found == "models/judge: its weights are quantised by bitsandbytes, which vLLM does not load"
