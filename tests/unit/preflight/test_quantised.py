"""Which engine loads which stored quantisation: what cannot be is refused before an engine starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.world import World

from ftgate.config.engine import EngineSettings
from ftgate.preflight.findings import Preflight
from ftgate.preflight.quantised import AS_STORED, NOT_ON_CPUS, ON_LOADING, quantisation_problem, told_problem

FIELD = "engine.quantization"
VLLM = EngineSettings()
TRANSFORMERS = EngineSettings(kind="transformers")


@pytest.mark.parametrize("method", ["compressed-tensors", "fp8", "awq", "gptq", "modelopt", "a method of next year"])
def test_vllm_loads_what_it_knows(method: str) -> None:
    assert quantisation_problem(method, VLLM, cpu=False) is None


def test_bitsandbytes_goes_through_transformers_on_a_gpu() -> None:
    problem = quantisation_problem("bitsandbytes", VLLM, cpu=False)
    assert problem is not None
    assert "which vLLM does not load" in problem[0]
    assert "engine: {kind: transformers} on a GPU" in problem[1]
    assert quantisation_problem("bitsandbytes", TRANSFORMERS, cpu=False, installed=lambda _: True) is None
    for cpu, installed, named in ((True, True, "needs a GPU"), (False, False, "accelerate is not installed")):
        problem = quantisation_problem("bitsandbytes", TRANSFORMERS, cpu=cpu, installed=lambda _, i=installed: i)
        assert problem is not None
        assert named in problem[0]


def test_what_transformers_does_not_run_is_sent_to_vllm() -> None:
    problem = quantisation_problem("awq", TRANSFORMERS, cpu=False, installed=lambda _: True)
    assert problem is not None
    assert "kind: vllm" in problem[1]


@pytest.mark.parametrize(
    ("told", "stored", "said"),
    [
        ("nonsense", "", "engine.quantization is nonsense, which vLLM does not take; it takes auto_awq, "),
        ("nonsense", "gptq", "engine.quantization is nonsense, which vLLM does not take"),
        ("bitsandbytes", "", "engine.quantization is bitsandbytes, which vLLM does not load"),
        ("gguf", "", "engine.quantization is gguf, which vLLM does not load"),
        *((name, "", f"quantization is {name}, which quantises nothing by itself") for name in sorted(AS_STORED)),
        ("gptq_marlin", "gptq", ""),
        *((name, "", "") for name in sorted(ON_LOADING)),
    ],
)
def test_vllm_is_told_of_a_quantisation_that_it_can_do(told: str, stored: str, said: str, tmp_path: Path) -> None:
    settings = EngineSettings(dtype="bfloat16", quantization=told)
    problem = told_problem(settings, FIELD, stored, tmp_path, cpu=False)
    assert (problem is None) == (said == "")
    assert problem is None or said in problem[0]


def test_nothing_is_quantised_where_the_policy_names_no_method(tmp_path: Path) -> None:
    assert told_problem(EngineSettings(), FIELD, "", tmp_path, cpu=True) is None


def test_weights_may_say_how_they_are_stored_beside_their_configuration(tmp_path: Path) -> None:
    settings = EngineSettings(dtype="bfloat16", quantization="awq")
    assert told_problem(settings, FIELD, "", tmp_path, cpu=False) is not None
    (tmp_path / "quant_config.json").write_text("{}")
    assert told_problem(settings, FIELD, "", tmp_path, cpu=False) is None, "vLLM reads it there"


@pytest.mark.parametrize("method", sorted(ON_LOADING))
def test_a_cpu_does_not_quantise_as_a_gpu_does(method: str, tmp_path: Path) -> None:
    settings = EngineSettings(dtype="bfloat16", quantization=method)
    problem = told_problem(settings, FIELD, "", tmp_path, cpu=True)
    assert (problem is not None) == (method in NOT_ON_CPUS)
    assert problem is None or problem[0] == f"engine.quantization is {method}, which vLLM does not do on a CPU"


@pytest.mark.parametrize(
    ("engine", "judge", "field"),
    [
        ({"quantization": "gguf", "base": {"dtype": "float16"}}, {}, "engine.quantization"),
        ({"candidate": {"quantization": "gguf"}}, {}, "engine.candidate.quantization"),
        ({}, {"engine": {"kind": "vllm", "quantization": "gguf"}}, "judge.engine.quantization"),
    ],
)
def test_the_field_that_is_wrong_is_named(
    world: World, checked: Callable[[World], Preflight], engine: Any, judge: Any, field: str
) -> None:
    world.policy["engine"] = {"kind": "vllm", "dtype": "bfloat16", **engine}
    world.policy["judge"] |= judge
    assert any(f": {field} is gguf, which vLLM does not load" in p.message for p in checked(world).problems)


def test_nothing_is_quantised_on_loading_in_float32(tmp_path: Path) -> None:
    settings = EngineSettings(dtype="float32", quantization="fp8")
    problem = told_problem(settings, FIELD, "", tmp_path, cpu=False)
    assert problem is not None
    assert "engine.quantization is fp8, which vLLM does not do in float32" in problem[0]


@pytest.mark.engine
def test_the_names_are_those_of_the_installed_vllm(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    import torch
    from vllm.config.quantization import resolve_quantization_config
    from vllm.model_executor.layers.quantization import DEPRECATED_QUANTIZATION_METHODS, QUANTIZATION_METHODS
    from vllm.model_executor.model_loader.weight_utils import get_quant_config

    assert {*QUANTIZATION_METHODS} - {*DEPRECATED_QUANTIZATION_METHODS} == ON_LOADING | AS_STORED
    for name in ON_LOADING | AS_STORED:
        plain = SimpleNamespace(hf_config=SimpleNamespace(), hf_overrides={}, model=str(tmp_path), revision=None)
        plain.quantization, plain.quantization_config = name, resolve_quantization_config(name, None)
        if name in AS_STORED:
            with pytest.raises((TypeError, ValueError)):
                get_quant_config(plain, SimpleNamespace(download_dir=None))
        else:
            config = get_quant_config(plain, SimpleNamespace(download_dir=None))
            assert torch.float32 not in config.get_supported_act_dtypes()
