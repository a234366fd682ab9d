"""Models whose weights are not those that their config.json describes, and what check says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.world import World, write_full
from support.zoo import adapting, put

from ftgate.jobs.prepare import load_all
from ftgate.models.dimensions import why_unloadable
from ftgate.preflight import architecture
from ftgate.preflight.check import preflight
from ftgate.preflight.findings import Preflight
from ftgate.preflight.hardware import Machine

Check = Callable[[World], Preflight]
Tensors = dict[str, np.ndarray]


def candidate(world: World, kind: str, change: Callable[[Tensors], Tensors] = dict, **fields: Any) -> Path:
    """Full weights as candidate, with other tensors or fields of config.json."""
    world.policy["engine"] = {"kind": kind}
    world.manifest["candidate"] = {"source": "models/x"}
    folder = write_full(world.root / "models" / "x", seed=5)
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    put("config.json", fields)(folder)
    return folder


def messages(result: Preflight) -> list[str]:
    assert all(problem.exit_code == 2 and problem.hint for problem in result.problems)
    return [problem.message for problem in result.problems]


def with_norm(tensors: Tensors) -> Tensors:
    return {**tensors, "model.layers.0.self_attn.q_norm.weight": np.ones(8, np.float32)}


def with_layer(tensors: Tensors) -> Tensors:
    more = {name.replace("layers.0", "layers.1"): value for name, value in tensors.items() if "layers.0" in name}
    return {**tensors, **more}


def with_bias(tensors: Tensors) -> Tensors:
    return {**tensors, "model.layers.0.self_attn.q_proj.bias": np.ones(8, np.float32)}


def without_norms(tensors: Tensors) -> Tensors:
    return {name: value * np.float32("norm" not in name) for name, value in tensors.items()}


@pytest.mark.parametrize(
    ("kind", "change", "fields", "problem"),
    [
        (
            "vllm",
            dict,
            {"hidden_act": "gelx"},
            "config.json: hidden_act is 'gelx': transformers has nothing of that name",
        ),
        (
            "transformers",
            dict,
            {"eos_token_id": "</s>"},
            "config.json: eos_token_id is '</s>': Field 'eos_token_id' with value '</s>'",
        ),
        (
            "vllm",
            with_norm,
            {},
            "model.layers.0.self_attn.q_norm.weight has no place in LlamaForCausalLM with this config",
        ),
        (
            "transformers",
            with_layer,
            {},
            "config.json says num_hidden_layers 1, and its weights have model.layers.1, as in",
        ),
        (
            "vllm",
            dict,
            {"attention_bias": True},
            "its weights lack 4 tensors that LlamaForCausalLM with this config.json needs",
        ),
        ("vllm", without_norms, {}, "model.norm.weight is all zeros, and so is what the model makes of any prompt"),
    ],
)
def test_weights_and_configuration_that_are_not_one_model_are_refused(
    kind: str, change: Callable[[Tensors], Tensors], fields: dict[str, Any], problem: str, world: World, checked: Check
) -> None:
    candidate(world, kind, change, **fields)
    (message,) = messages(checked(world))
    assert message.startswith(f"models/x: {problem}")


def test_surplus_tensors_and_another_model_type_are_warned_of(world: World, checked: Check) -> None:
    candidate(world, "vllm", with_bias)
    result = checked(world)
    assert messages(result) == []
    assert result.warnings[0].startswith("models/x: 1 of its tensors have no place in LlamaForCausalLM, such as model.")


def test_another_architecture_is_warned_of_with_vllm_and_refused_by_transformers(world: World, checked: Check) -> None:
    candidate(world, "vllm", model_type="bert")
    result = checked(world)
    assert messages(result) == []
    assert "config.json says model_type bert, and its architectures, LlamaForCausalLM" in result.warnings[0]
    world.policy["engine"] = {"kind": "transformers"}
    (message,) = messages(checked(world))
    assert message.startswith("models/x: its weights lack 28 tensors that BertLMHeadModel with this config.json needs")


def test_what_transformers_does_not_know_may_run_with_vllm(world: World, checked: Check) -> None:
    candidate(world, "vllm", model_type="newest", architectures=["NewestForCausalLM"])
    result = checked(world)
    assert messages(result) == []
    assert "transformers does not know model_type newest" in " ".join(result.notes)
    world.policy["engine"] = {"kind": "transformers"}
    assert messages(checked(world)) == [
        "models/x: config.json: transformers has no language model of model_type newest"
    ]


def test_values_that_vllm_alone_knows_pass_with_it(world: World, checked: Check) -> None:
    candidate(world, "vllm", hidden_act="geglu")
    assert messages(checked(world)) == []


def test_heads_that_do_not_share_their_keys_evenly_are_refused() -> None:
    config = {"model_type": "llama", "num_attention_heads": 4, "num_key_value_heads": 3}
    (reason,) = why_unloadable(config, by_architecture=False)
    assert reason == "num_attention_heads is 4, which num_key_value_heads 3 does not divide"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is NaN, and a number was expected"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps is -1.0, and a number of 0 or more was expected, such as 1e-6"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps is '1e-5', and a number of 0 or more was expected, such as 1e-6"),
        ({"rope_theta": 0}, "rope_theta is 0, and a number above 0 was expected, such as 10000"),
        (
            {"rope_parameters": {"rope_theta": -1}},
            "rope_parameters.rope_theta is -1, and a number above 0 was expected",
        ),
    ],
)
def test_impossible_numbers_are_refused_of_a_base(
    fields: dict[str, Any], problem: str, world: World, checked: Check
) -> None:
    world.policy["engine"] = {"kind": "transformers"}
    put("config.json", fields)(world.root / "models" / "base")
    assert any(f"models/base: config.json: {problem}" in message for message in messages(checked(world)))


def test_whole_numbers_are_refused_unless_a_quantisation_is_declared(world: World, checked: Check) -> None:
    candidate(world, "scripted", lambda tensors: {name: value.astype(np.int64) for name, value in tensors.items()})
    (message,) = messages(checked(world))
    assert message.startswith("models/x: 8 weight matrices hold whole numbers (I64), the first is model.embed_tokens")


def test_heads_that_vllm_does_not_run_on_a_cpu_are_refused(
    world: World, checked: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftgate.preflight.head_sizes.CPU_HEAD_SIZES", frozenset({32, 64}))
    world.policy["engine"] = {"kind": "vllm"}
    assert messages(checked(world))[0] == (
        "models/base: its attention heads have 8 numbers each, and vLLM on a CPU runs heads of 32, 64"
    )
    world.policy["engine"] = {"kind": "transformers"}
    assert messages(checked(world)) == []


def adapter(world: World, a: np.ndarray, b: np.ndarray, **fields: Any) -> None:
    folder = world.root / "models" / "bot"
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
    save_file({name.format("A"): a, name.format("B"): b}, folder / "adapter_model.safetensors")
    adapting(**fields)(folder)


ROWS = np.random.default_rng(0).normal(size=(2, 8)).astype(np.float32)
APART = (ROWS * [[1], [0]]).astype(np.float32), (ROWS * [[0], [1]]).T.astype(np.float32).copy()
CANCELLED = np.stack([ROWS[0], -ROWS[0]]), np.stack([ROWS[1], ROWS[1]], axis=1)


@pytest.mark.parametrize(("a", "b"), [APART, CANCELLED])
def test_matrices_whose_products_are_zero_change_nothing(
    a: np.ndarray, b: np.ndarray, world: World, checked: Check
) -> None:
    adapter(world, np.ascontiguousarray(a), np.ascontiguousarray(b))
    (message,) = messages(checked(world))
    assert message == (
        "models/bot: every product of lora_B and lora_A is zero, although neither of them is: the adapter changes "
        "nothing"
    )


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"alpha_pattern": {"q_proj": 0}}, "lora_alpha is 0 (alpha_pattern): the adapter changes nothing"),
        (
            {"r": 4, "rank_pattern": {"self_attn.q_proj": 2, "q_proj": 4}},
            "",
        ),
        (
            {"r": 2, "rank_pattern": {"q_proj": 4}},
            "model.layers.0.self_attn.q_proj has rank 2, and adapter_config.json gives it 4 (r, rank_pattern)",
        ),
        ({"r": 2, "rank_pattern": {"language_model.layers.0.self_attn.q_proj": 4}}, ""),
    ],
)
def test_patterns_are_read_as_peft_does(fields: dict[str, Any], problem: str, world: World, checked: Check) -> None:
    adapter(world, ROWS, np.ascontiguousarray(ROWS.T), **fields)
    found = messages(checked(world))
    assert [message.startswith(f"models/bot: {problem}") for message in found] == ([True] if problem else [])


def test_the_configuration_is_read_as_text_of_one_file(world: World) -> None:
    folder = candidate(world, "vllm", hidden_act="gelx")
    config = json.loads((folder / "config.json").read_text())
    assert dict(architecture._fields({"a": {"b": 1}})) == {"a": {"b": 1}, "a.b": 1}
    name, value = architecture._culprit({"kind": "KeyError", "text": "'gelx'", "key": "gelx"}, config)
    assert (name, value) == ("hidden_act", "gelx")


def test_a_process_of_its_own_builds_the_same(tmp_path: Path) -> None:
    """`check` builds apart, and a run in its own process."""
    config = (write_full(tmp_path / "x") / "config.json").read_text()
    whole = {"config": config, "by_architecture": True, "shapes": {"model.norm.weight": [3]}}
    requests = (json.dumps(whole), json.dumps({**whole, "config": '{"model_type": "newest"}'}))
    apart = architecture.built_apart(requests)
    assert apart == json.loads(json.dumps(architecture.built_here(requests)))
    assert [bool(result.get("mismatched")) for result in apart] == [True, False]


def test_a_model_that_cannot_be_built_is_noted_and_left_to_the_engine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_ = "no JSON"
    assert architecture.built_apart((request_,)) == []
    monkeypatch.setattr(architecture, "BUILD_SECONDS", 0.01)
    assert architecture.built_apart((request_, request_)) == []
    candidate(world, "vllm")
    world.save()
    draft = load_all(world.policy_path, world.manifest_path)
    result = preflight(draft, Machine((), 64 << 30), build=lambda _: [])
    assert messages(result) == []
    assert "weights were not compared with config.json" in " ".join(result.notes)


@pytest.mark.parametrize("fields", [{"intermediate_size": [64, 64]}, {"eos_token_id": {}}])
def test_fields_of_another_kind_are_named(fields: dict[str, Any], world: World, checked: Check) -> None:
    candidate(world, "vllm", **fields)
    (name,) = fields
    assert any(f"models/x: config.json: {name} is" in message for message in messages(checked(world)))


def test_weights_that_say_beside_config_json_how_they_are_packed_are_not_compared(world: World, checked: Check) -> None:
    folder = candidate(world, "vllm", with_norm)
    (folder / "hf_quant_config.json").write_text("{}")
    assert messages(checked(world)) == []


def test_a_failure_that_says_nothing_of_the_model_is_noted(
    world: World, checked: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr("ftgate.engines.skeleton._class_of", fail)
    architecture._built_here.cache_clear()
    candidate(world, "vllm")
    result = checked(world)
    architecture._built_here.cache_clear()
    assert messages(result) == []
    assert "transformers could not build it: " in " ".join(result.notes)


def test_a_rope_base_for_each_layer_is_no_mistake() -> None:
    config = {"model_type": "step3p5", "rope_theta": [10000.0, 5000000.0]}
    assert list(why_unloadable(config, by_architecture=False)) == []
    assert list(why_unloadable({**config, "rope_theta": [1e4, 0]}, by_architecture=False))


def test_more_layers_than_tensors_are_refused_and_not_built(world: World, checked: Check) -> None:
    candidate(world, "vllm", num_hidden_layers=10**9)
    expected = "models/x: config.json says num_hidden_layers 1,000,000,000, and there are 11 tensors"
    assert expected in messages(checked(world))
