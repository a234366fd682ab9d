"""Starting and stopping vLLM: its environment, its settings, and how long its engines must live."""

from __future__ import annotations

import gc
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.chat_template import Renderer, read_json
from ftgate.engines.isolation import take_secrets
from ftgate.errors import ArtifactError

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
MAX_LOGPROBS = 128
CPU_KV_BYTES = 256 << 20
CPU_MAX_NUM_SEQS = 64
CPU_MAX_NUM_BATCHED_TOKENS = 1024

_QUIET = {
    "VLLM_LOGGING_LEVEL": "INFO",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
}
_ON_CPU = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # a start takes a second rather than half a minute
    "TORCH_COMPILE_DISABLE": "1",  # eager anyway; else one helper of the sampler wants a C++ compiler
}


@dataclass(slots=True)
class RunningEngine:
    """One ``vllm.LLM`` and what it holds: a folder of full weights, and a request for each adapter by its path."""

    llm: Any
    renderer: Renderer
    base: Model
    taken: float = 0.0
    requests: dict[Path, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """Full weights that were asked for, with every adapter on them, by path: what one engine serves."""

    base: Model
    adapters: dict[Path, Model]

    def row(self, model: Model) -> int:
        """The model's number in its engine: 0 for the base."""
        return [self.base.path, *self.adapters].index(model.path)


class MemoryHolder(Protocol):
    """Whatever holds a share of the GPUs' memory, and can give it back."""

    @property
    def taken(self) -> float:
        """The share."""
        ...

    def unload(self) -> None:
        """Give it back."""
        ...


_holders: list[MemoryHolder] = []
"""Who has held memory of the GPUs in this process, longest ago first: the models' engines and the judge's."""
_in_process: list[Any] = []
"""Every engine that runs inside this process, open or closed.

vLLM keeps its process groups in module globals, and an in-process engine that is collected destroys them for all the
others ("pipeline model parallel group is not initialized"). So a closed engine is kept until none is open.
"""
_open = 0


def on_cpu() -> bool:
    """Whether the installed vLLM is built for the CPU. Imports nothing."""
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return "+cpu" in installed("vllm")
    return True


def installed(package: str) -> str:
    """The version of an installed package, or an empty string."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def prepare_environment() -> None:
    """Take credentials out of the environment, and set what vLLM reads from it where the user has not done so."""
    take_secrets()
    for name, value in (_QUIET | (_ON_CPU if on_cpu() else {})).items():
        os.environ.setdefault(name, value)


def engine_arguments(settings: EngineSettings, context: int, base: Model, adapters: Sequence[Model]) -> dict[str, Any]:
    """The keyword arguments of ``vllm.LLM``.

    ``float32`` on CPU because ``auto`` would fall to bfloat16. One LoRA slot more than there are adapters on CPU:
    without a free one, vLLM's CPU kernels apply the last adapter to the rows of the base.
    """
    arguments: dict[str, Any] = {
        "model": str(base.path),
        "tokenizer": str(base.path),
        "dtype": resolved_dtype(settings),
        "max_model_len": context,
        "seed": settings.seed,
        "load_format": "safetensors",
        "config_format": "hf",  # left to itself, vLLM may read params.json in place of what was checked
        "trust_remote_code": False,
        "disable_log_stats": True,
        "max_logprobs": MAX_LOGPROBS,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "max_num_seqs": settings.max_num_seqs,
        "max_num_batched_tokens": settings.max_num_batched_tokens,
    }
    if on_cpu():
        arguments["enforce_eager"] = True
        arguments["kv_cache_memory_bytes"] = CPU_KV_BYTES
        arguments["max_num_seqs"] = settings.max_num_seqs or CPU_MAX_NUM_SEQS
        tokens = settings.max_num_batched_tokens or CPU_MAX_NUM_BATCHED_TOKENS
        arguments["max_num_batched_tokens"] = max(tokens, arguments["max_num_seqs"])
    else:
        arguments["gpu_memory_utilization"] = settings.gpu_memory_utilization
    return arguments | (lora_arguments(adapters) if adapters else {})


def lora_arguments(adapters: Sequence[Model]) -> dict[str, Any]:
    """What the adapters need: slots, the smallest rank that vLLM allows and, on CPU, no idle LoRA layers."""
    arguments: dict[str, Any] = {
        "enable_lora": True,
        "max_loras": len(adapters) + (1 if on_cpu() else 0),
        "max_lora_rank": allowed_rank(max(adapter.lora_rank or declared_rank(adapter.path) for adapter in adapters)),
    }
    if on_cpu():
        arguments["lora_target_modules"] = sorted(set().union(*(target_modules(a.path) for a in adapters))) or None
    return arguments


def allowed_rank(rank: int) -> int:
    """The smallest LoRA rank of an engine that holds ``rank``."""
    fitting = [allowed for allowed in LORA_RANKS if allowed >= rank]
    if not fitting:
        raise ArtifactError(
            f"an adapter has rank {rank}; vLLM runs at most {LORA_RANKS[-1]}",
            hint="merge the adapter into its base (peft: merge_and_unload) and submit the full weights",
        )
    return fitting[0]


def declared_rank(adapter: Path) -> int:
    """The highest rank that adapter_config.json names."""
    config = read_json(adapter / "adapter_config.json")
    ranks = [config.get("r"), *dict(config.get("rank_pattern") or {}).values()]
    return max((rank for rank in ranks if isinstance(rank, int)), default=LORA_RANKS[1])


def target_modules(adapter: Path) -> frozenset[str]:
    """The last name of every layer that the adapter has weights for, from the header of its safetensors file."""
    file = adapter / "adapter_model.safetensors"
    try:
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        raise ArtifactError(
            f"{file}: cannot be read: {error}", hint="save the adapter with peft 0.18 or newer"
        ) from None
    found = (re.search(r"([^.]+)\.lora_(?:embedding_)?[AB](?:\.|$)", name) for name in header)
    return frozenset(match.group(1) for match in found if match)


def make_room(holder: MemoryHolder, share: float) -> None:
    """Make others give back memory of the GPUs, whoever asked for it longest ago first, until ``share`` is free."""
    if holder in _holders:
        _holders.remove(holder)
    for other in _holders:
        if holder.taken + sum(each.taken for each in _holders) + share > 1:
            other.unload()
    _holders[:] = [each for each in _holders if each.taken] + [holder]


def side_by_side(models: Sequence[Model], settings: EngineSettings) -> bool:
    """Whether engines for all these full weights may run at once: on a CPU, or where the GPUs hold them together."""
    if on_cpu():
        return True
    from vllm.platforms import current_platform

    weights = [int(model.facts.get("weight_bytes", 0)) for model in models]
    whole = current_platform.get_device_total_memory() * settings.tensor_parallel_size
    return all(weights) and fit_together(weights, whole * settings.gpu_memory_utilization)


def fit_together(weights: Sequence[int], capacity: float) -> bool:
    """Whether engines with so many bytes of weights fit side by side into ``capacity`` bytes of GPU memory.

    Each needs a gigabyte for itself, and a quarter of its weights again for its cache and what it computes with.
    """
    return sum(1.25 * size + (1 << 30) for size in weights) <= capacity


def resolved_dtype(settings: EngineSettings) -> str:
    """The number format that is asked for: ``auto`` means float32 on a CPU."""
    return "float32" if on_cpu() and settings.dtype == "auto" else settings.dtype


def start(arguments: dict[str, Any]) -> Any:
    """A new ``vllm.LLM``."""
    global _open
    from vllm import LLM

    if on_cpu():
        _tune_for_cpu()
    llm = LLM(**arguments)
    if runs_in_process():
        _in_process.append(llm)
        _open += 1
    return llm


def _tune_for_cpu() -> None:
    import torch._dynamo.config
    from vllm.platforms import current_platform

    from ftgate.engines.vllm.cpu_lora import install

    torch._dynamo.config.disable = True  # in case torch was imported before the environment was set
    install(current_platform)


def stop(llm: Any) -> None:
    """Shut an engine down; one that shares this process is freed together with the last of them."""
    global _open
    if not runs_in_process():
        llm.llm_engine.engine_core.shutdown()
        gc.collect()
        return
    _open -= 1
    if _open == 0:
        while _in_process:
            _in_process.pop().llm_engine.engine_core.shutdown()
        gc.collect()


def runs_in_process() -> bool:
    """Whether vLLM runs inside this process rather than in a child."""
    return os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING", "1") == "0"
