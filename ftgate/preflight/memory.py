"""How much memory a model takes, by its dimensions and the engine's settings: estimated before a GPU is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.vllm.startup import CPU_MAX_NUM_BATCHED_TOKENS, CPU_MAX_NUM_SEQS, allowed_rank
from ftgate.models.dimensions import BYTES, Dimensions

GPU_MAX_NUM_SEQS, GPU_MAX_NUM_BATCHED_TOKENS = 256, 8192
"""What vLLM takes on most GPUs where the policy leaves it open."""
GPU_OVERHEAD, CPU_OVERHEAD = 3 << 29, 1 << 29
"""The runtime itself and captured graphs; about."""
USUAL_GPUS = (24, 48, 80)
"""Gigabytes of common GPUs, for a machine that has none."""
_SPLITS = (1, 2, 4, 8, 16)


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """What one engine takes, in bytes. ``cache`` is that of one conversation of the full length."""

    weights: int
    adapter: int
    cache: int
    full_cache: int
    workspace: int
    heads: int

    @property
    def whole(self) -> int:
        """All of it, with the cache of one conversation."""
        return self.weights + self.adapter + self.cache + self.workspace

    def on_each_of(self, devices: int, overhead: int) -> int:
        """Bytes on each device when tensors are split over that many. Conversations are not."""
        return (self.weights + self.adapter + self.cache) // devices + self.workspace + overhead


def number_bytes(settings: EngineSettings, *, cpu: bool) -> int:
    """Bytes of one number as the engine computes. ``auto`` is float32 on a CPU, and 16 bits on a GPU in any case."""
    return BYTES.get(settings.dtype, 4 if cpu else 2)


def load_of(
    base: Model, adapters: Sequence[Model], size: Dimensions, settings: EngineSettings, *, cpu: bool
) -> EngineMemory:
    """What an engine with ``base`` and ``adapters`` takes."""
    number = number_bytes(settings, cpu=cpu)
    context = min(settings.max_model_len, size.context or settings.max_model_len)
    sequences = settings.max_num_seqs or (CPU_MAX_NUM_SEQS if cpu else GPU_MAX_NUM_SEQS)
    batch = settings.max_num_batched_tokens or (CPU_MAX_NUM_BATCHED_TOKENS if cpu else GPU_MAX_NUM_BATCHED_TOKENS)
    cache = size.cache_bytes(context, number)
    logits = sequences * size.vocabulary * 4 * 2
    return EngineMemory(
        weights=weights_of(base, size, number),
        # Every slot is as wide as the engine's smallest rank that holds them all.
        adapter=sum(a.facts["parameters"] * number * allowed_rank(a.lora_rank) // a.lora_rank for a in adapters),
        cache=cache,
        full_cache=cache * sequences,
        workspace=batch * (4 * size.hidden + 2 * size.intermediate) * number + logits,
        heads=size.heads,
    )


def weights_of(model: Model, size: Dimensions, number: int) -> int:
    """Bytes of the full weights: as they are stored when quantised, else in the engine's own numbers."""
    stored: int = model.facts["weight_bytes"]
    return stored if size.quantisation else model.facts["parameters"] * number


def least_split(loads: Sequence[EngineMemory], capacity: float) -> int | None:
    """The fewest devices of ``capacity`` bytes each over which every one of ``loads`` can be split, if any."""
    for devices in _SPLITS:
        whole = all(load.heads % devices == 0 for load in loads)
        if whole and all(load.on_each_of(devices, GPU_OVERHEAD) <= capacity for load in loads):
            return devices
    return None
