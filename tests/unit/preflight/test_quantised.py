"""Which engine loads which stored quantisation: what cannot be is refused before an engine starts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ftgate.config.engine import EngineSettings
from ftgate.preflight.quantised import AS_STORED, ON_LOADING, quantisation_problem, told_problem

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
        ("nonsense", "", "engine.candidate.quantization is nonsense, which vLLM does not take; it takes auto_awq, "),
        ("nonsense", "gptq", "engine.candidate.quantization is nonsense, which vLLM does not take"),
        ("bitsandbytes", "", "engine.candidate.quantization is bitsandbytes, which vLLM does not load"),
        ("gguf", "", "engine.candidate.quantization is gguf, which vLLM does not load"),
        *((name, "", f"quantization is {name}, which quantises nothing by itself") for name in sorted(AS_STORED)),
        ("gptq_marlin", "gptq", ""),
        *((name, "", "") for name in sorted(ON_LOADING)),
    ],
)
def test_vllm_is_told_of_a_quantisation_that_it_can_do(told: str, stored: str, said: str, tmp_path: Path) -> None:
    settings = EngineSettings.model_validate({"dtype": "bfloat16", "candidate": {"quantization": told}})
    assert told_problem(settings, "base", stored, tmp_path) is None
    problem = told_problem(settings, "candidate", stored, tmp_path)
    assert (problem is None) == (said == "")
    assert problem is None or said in problem[0]


def test_the_field_of_both_models_is_named_as_such(tmp_path: Path) -> None:
    settings = EngineSettings.model_validate({"dtype": "bfloat16", "quantization": "awq", "base": {"dtype": "float16"}})
    for side in ("base", "candidate"):
        problem = told_problem(settings, side, "", tmp_path)
        assert problem is not None
        assert problem[0].startswith("engine.quantization is awq")
    (tmp_path / "quant_config.json").write_text("{}")
    assert told_problem(settings, "base", "", tmp_path) is None, "vLLM reads it there"


def test_nothing_is_quantised_on_loading_in_float32(tmp_path: Path) -> None:
    settings = EngineSettings.model_validate({"dtype": "float32", "candidate": {"quantization": "fp8"}})
    problem = told_problem(settings, "candidate", "", tmp_path)
    assert problem is not None
    assert "engine.candidate.quantization is fp8, which vLLM does not do in float32" in problem[0]


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
