"""Estimates the memory that a model needs from its dimensions and the engine's settings; no GPU needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.vllm.startup import CPU_MAX_NUM_BATCHED_TOKENS, CPU_MAX_NUM_SEQS, allowed_rank
from ftgate.models.dimensions import BYTES, Dimensions

GPU_MAX_NUM_SEQS, GPU_MAX_NUM_BATCHED_TOKENS = 256, 8192
"""vLLM's defaults on most GPUs, for settings that the policy leaves out."""
GPU_OVERHEAD, CPU_OVERHEAD = 3 << 29, 1 << 29
"""Approximate bytes for the runtime and CUDA graphs."""
GPU_START_SECONDS, CPU_START_SECONDS = 60.0, 10.0
"""About how long an engine takes to start, without reading its weights: on a GPU it compiles and captures graphs."""
READ_BYTES = 1 << 30
"""About how many bytes of weights are read each second."""
USUAL_GPUS = (24, 48, 80)
"""Gigabytes of common GPUs, for a machine without one."""
_SPLITS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """The memory of one engine, in bytes. ``cache`` is for one conversation of the full length."""

    weights: int
    adapter: int
    cache: int
    full_cache: int
    workspace: int
    heads: int

    @property
    def total(self) -> int:
        """The sum, with the cache of one conversation."""
        return self.weights + self.adapter + self.cache + self.workspace

    def per_device(self, devices: int, overhead: int) -> int:
        """Bytes on each device if tensors are split across ``devices``; the workspace is not split."""
        return (self.weights + self.adapter + self.cache) // devices + self.workspace + overhead


def number_bytes(settings: EngineSettings, *, cpu: bool) -> int:
    """Bytes per number in the engine's data type. ``auto`` is float32 on a CPU and 16 bits on a GPU."""
    return BYTES.get(settings.dtype, 4 if cpu else 2)


def engine_memory(
    base: Model, adapters: Sequence[Model], size: Dimensions, settings: EngineSettings, *, cpu: bool
) -> EngineMemory:
    """The memory of an engine with ``base`` and ``adapters``."""
    number = number_bytes(settings, cpu=cpu)
    context = min(settings.max_model_len, size.context or settings.max_model_len)
    sequences = settings.max_num_seqs or (CPU_MAX_NUM_SEQS if cpu else GPU_MAX_NUM_SEQS)
    batch = settings.max_num_batched_tokens or (CPU_MAX_NUM_BATCHED_TOKENS if cpu else GPU_MAX_NUM_BATCHED_TOKENS)
    cache = size.cache_bytes(context, number)
    logits = sequences * size.vocabulary * 4 * 2
    return EngineMemory(
        weights=weight_memory(base, size, number),
        # Every adapter slot has the engine's smallest supported rank that is large enough.
        adapter=sum(a.facts["parameters"] * number * allowed_rank(a.lora_rank) // a.lora_rank for a in adapters),
        cache=cache,
        full_cache=cache * sequences,
        workspace=batch * (4 * size.hidden + 2 * size.intermediate) * number + logits,
        heads=size.heads,
    )


def weight_memory(model: Model, size: Dimensions, number: int) -> int:
    """Bytes of the full weights: as stored if quantised, else in the engine's data type."""
    stored: int = model.facts["weight_bytes"]
    return stored if size.quantisation else model.facts["parameters"] * number


def start_seconds(weights: int, *, cpu: bool) -> float:
    """About how many seconds an engine with ``weights`` bytes takes to start."""
    return (CPU_START_SECONDS if cpu else GPU_START_SECONDS) + weights / READ_BYTES


def smallest_split(engines: Sequence[EngineMemory], capacity: float) -> int | None:
    """The fewest devices of ``capacity`` bytes each that all ``engines`` can be split across; None if none fits."""
    for devices in _SPLITS:
        divisible = all(engine.heads % devices == 0 for engine in engines)
        if divisible and all(engine.per_device(devices, GPU_OVERHEAD) <= capacity for engine in engines):
            return devices
    return None
