"""What vLLM is started with, and the LoRA sums on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engines.test_vllm import answers
from engines.tiny import TinyModels, choices
from ftgate.config.engine import EngineSettings
from ftgate.engines.base import Ask
from ftgate.errors import ArtifactError, ConfigurationError

if TYPE_CHECKING:
    from ftgate.engines.vllm.engine import VllmEngine

pytestmark = pytest.mark.engine


def test_trap_1_a_slot_stays_free_on_cpu(tiny: TinyModels) -> None:
    from ftgate.engines.vllm.startup import lora_arguments, on_cpu

    arguments = lora_arguments([tiny.real, tiny.other])
    assert arguments["max_loras"] == (3 if on_cpu() else 2)
    assert arguments["max_lora_rank"] == 8


def test_the_form_that_is_served_is_what_vllm_is_told(tiny: TinyModels) -> None:
    from ftgate.engines.vllm.startup import engine_arguments

    plain = engine_arguments(EngineSettings(), 256, tiny.base, [])
    assert not {"quantization", "kv_cache_dtype"} & plain.keys(), "vLLM's own defaults, with whatever it adds to them"
    settings = EngineSettings.model_validate({"candidate": {"quantization": "fp8", "kv_cache_dtype": "fp8_e5m2"}})
    told = engine_arguments(settings.of("candidate"), 256, tiny.base, [])
    assert (told["quantization"], told["kv_cache_dtype"]) == ("fp8", "fp8_e5m2")


@pytest.mark.parametrize(
    ("capability", "given", "expected"), [(90, None, "1"), (100, None, "1"), (89, None, None), (90, "0", "0")]
)
def test_batch_invariant_kernels_are_on_where_a_gpu_has_them(
    monkeypatch: pytest.MonkeyPatch, capability: int, given: str | None, expected: str | None
) -> None:
    """With a stand-in for the GPU, which the machine of the tests does not have."""
    import vllm.platforms

    from ftgate.engines.vllm import startup

    class Hopper:
        def is_cuda(self) -> bool:
            return True

        def has_device_capability(self, least: int) -> bool:
            return capability >= least

    monkeypatch.setattr(startup, "on_cpu", lambda: False)
    monkeypatch.setattr(vllm.platforms, "current_platform", Hopper(), raising=False)
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "")
    monkeypatch.delenv("VLLM_BATCH_INVARIANT")
    if given is not None:
        monkeypatch.setenv("VLLM_BATCH_INVARIANT", given)
    startup.prepare_environment()
    assert os.environ.get("VLLM_BATCH_INVARIANT") == expected
    assert startup.batch_invariant() == (expected == "1")


def test_trap_10_settings_on_a_cpu(tiny: TinyModels, vllm_engine: VllmEngine) -> None:
    from ftgate.engines.vllm.startup import engine_arguments, on_cpu

    if not on_cpu():
        pytest.skip("a GPU build of vLLM")
    arguments = engine_arguments(EngineSettings(), 256, tiny.base, [])
    assert arguments["dtype"] == "float32"
    assert arguments["enforce_eager"] is True
    assert arguments["kv_cache_memory_bytes"] == 256 << 20
    assert arguments["block_size"] == 32
    assert arguments["load_format"] == "safetensors"
    assert arguments["trust_remote_code"] is False
    assert os.environ["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"
    config = vllm_engine._running[tiny.base.path].llm.llm_engine.vllm_config
    assert str(config.model_config.dtype) == "torch.float32"
    assert vllm_engine.info().dtype == "float32"


def test_on_a_gpu_memory_is_shared_and_compilation_left_on(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftgate.engines.vllm import startup

    monkeypatch.setattr(startup, "on_cpu", lambda: False)
    arguments = startup.engine_arguments(EngineSettings(), 4096, tiny.base, [tiny.real])
    assert arguments["dtype"] == "auto"
    assert arguments["gpu_memory_utilization"] == 0.9
    assert arguments["max_loras"] == 1
    assert "enforce_eager" not in arguments
    assert "block_size" not in arguments
    assert "lora_target_modules" not in arguments


def test_the_knobs_of_vllm_are_what_it_is_told(tiny: TinyModels, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftgate.engines.vllm import startup

    monkeypatch.setattr(startup, "on_cpu", lambda: False)
    plain = startup.engine_arguments(EngineSettings(), 256, tiny.base, [])
    assert not {"enforce_eager", "compilation_config"} & plain.keys()
    assert plain["pipeline_parallel_size"] == 1
    knobs = {"compilation_level": 2, "pipeline_parallel_size": 2, "devices": [2, 3]}
    told = startup.engine_arguments(EngineSettings.model_validate(knobs), 256, tiny.base, [])
    assert (told["compilation_config"], told["pipeline_parallel_size"]) == (2, 2)
    assert startup.engine_arguments(EngineSettings(enforce_eager=True), 256, tiny.base, [])["enforce_eager"] is True


@pytest.mark.parametrize(
    ("before", "seen"), [(None, "2,3"), ("4,5,6,7", "6,7"), ("GPU-a,GPU-b,GPU-c,GPU-d", "GPU-c,GPU-d")]
)
def test_an_engine_sees_its_own_gpus_and_the_next_one_all(
    monkeypatch: pytest.MonkeyPatch, before: str | None, seen: str
) -> None:
    from ftgate.engines.vllm import startup

    monkeypatch.setattr(startup, "on_cpu", lambda: False)
    monkeypatch.setenv(startup.VISIBLE, before or "")
    if before is None:
        monkeypatch.delenv(startup.VISIBLE)
    with startup._visible((2, 3)):
        assert os.environ[startup.VISIBLE] == seen
    assert os.environ.get(startup.VISIBLE) == before
    monkeypatch.setenv(startup.VISIBLE, "0,1")
    with pytest.raises(ConfigurationError, match=r"may use 2 GPUs"), startup._visible((2, 3)):
        pass


@pytest.mark.parametrize(("rank", "allowed"), [(1, 1), (2, 8), (16, 16), (17, 32), (300, 320), (512, 512)])
def test_the_smallest_rank_that_fits_is_chosen(rank: int, allowed: int) -> None:
    from ftgate.engines.vllm.startup import allowed_rank

    assert allowed_rank(rank) == allowed


def test_a_rank_beyond_the_engine_is_refused_with_the_way_out() -> None:
    from ftgate.engines.vllm.startup import allowed_rank

    with pytest.raises(ArtifactError, match="rank 513") as caught:
        allowed_rank(513)
    assert "merge" in caught.value.hint


def test_what_an_adapter_declares_is_read_from_its_files(tiny: TinyModels, tmp_path: Path) -> None:
    from ftgate.engines.vllm.startup import declared_rank, target_modules

    assert declared_rank(tiny.other.path) == 4
    assert target_modules(tiny.other.path) == {"q_proj", "v_proj"}
    assert len(target_modules(tiny.real.path)) == 7
    with pytest.raises(ArtifactError, match="cannot be read"):
        target_modules(tmp_path)


def test_lora_run_by_run_equals_the_kernels_of_vllm(vllm_engine: VllmEngine) -> None:
    """The same sums with tokens of no adapter, of one and of another in turn, and slices of different widths."""
    import torch
    from vllm.lora.layers import LoRAMapping
    from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

    from ftgate.engines.vllm.cpu_lora import RunwiseLora

    torch.manual_seed(0)
    slots, rank, wide = 3, 8, (32, 16, 16)
    a = tuple(torch.randn(slots, 1, rank, 24) for _ in wide)
    b = tuple(torch.randn(slots, 1, width, rank) for width in wide)
    for table in (*a, *b):
        table[-1] = 0  # the free slot, which vLLM's kernels use for tokens without an adapter
    rows = (0, 0, 7, 7, 7, 9, 0, 7)
    x, y = torch.randn(len(rows), 24), torch.randn(len(rows), sum(wide))
    results = []
    for wrapper_class in (PunicaWrapperCPU, RunwiseLora):
        wrapper = wrapper_class(64, 16, torch.device("cpu"))
        wrapper.update_metadata(LoRAMapping(rows, rows, is_prefill=True), [7, 9, None], slots, 100)
        out = y.clone()
        wrapper.add_lora_linear(out, x, a, b, 0.5, wide)
        results.append(out)
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
    assert torch.equal(results[1][0], y[0]), "a token without an adapter is left untouched"
    assert not torch.equal(results[1][2], y[2])


COLLECTIONS = """
import gc, sys, weakref
from pathlib import Path
from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.vllm.engine import VllmEngine

engine = VllmEngine(EngineSettings(max_model_len=256))
engine.require([Model("base", Path(sys.argv[1]), "sha256:0", "full")])
(running,) = engine._running.values()
worker = running.llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker
weights, collected = weakref.ref(worker.model_runner.model), []
del running, worker
gc.callbacks.append(lambda phase, info: collected.append(info["generation"]) if phase == "start" else None)
engine.close()
print(weights() is None, collected.count(2), gc.get_freeze_count())
"""


def test_on_a_cpu_one_collection_frees_what_the_last_engine_held(tiny: TinyModels) -> None:
    """In a process of its own, as others of these tests keep an engine. vLLM alone goes through all modules twice."""
    from ftgate.engines.vllm import startup

    if not startup.on_cpu():
        pytest.skip("a GPU build of vLLM")
    command = [sys.executable, "-c", COLLECTIONS, str(tiny.base.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "1", "0"]


def test_on_a_cpu_an_engine_that_is_closed_beside_another_leaves_no_weights_and_no_cache(
    vllm_engine: VllmEngine, tiny: TinyModels, settings: EngineSettings, tmp_path: Path
) -> None:
    """Its object stays until all are closed; many candidates with weights of their own would fill the memory."""
    from ftgate.engines.vllm import startup
    from ftgate.engines.vllm.engine import VllmEngine

    if not startup.on_cpu():
        pytest.skip("a GPU build of vLLM")
    asks = [Ask(model, q) for q in choices(4) for model in (tiny.base, tiny.full)]
    before = answers(vllm_engine, asks)
    engine = VllmEngine(settings, log_path=tmp_path / "engine.log")
    engine.require([tiny.full])
    assert answers(engine, asks[1::2]) == before[1::2]
    (running,) = engine._running.values()
    runner = running.llm.llm_engine.engine_core.engine_core.model_executor.driver_worker.worker.model_runner
    tensors = [*runner.model.parameters(), *runner.kv_caches]
    assert sum(tensor.untyped_storage().nbytes() for tensor in tensors) > startup.CPU_KV_BYTES
    engine.close()
    assert sum(tensor.untyped_storage().nbytes() for tensor in tensors) == 0
    assert answers(vllm_engine, asks) == before, "the other one goes on"
