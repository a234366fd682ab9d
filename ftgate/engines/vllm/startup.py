"""Starting and stopping vLLM: its environment, its arguments, and the lifetime of its engines."""

from __future__ import annotations

import gc
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.isolation import take_secrets
from ftgate.engines.renderers import Renderers
from ftgate.engines.template_files import read_object
from ftgate.errors import ArtifactError, ConfigurationError

VISIBLE = "CUDA_VISIBLE_DEVICES"
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
MAX_LOGPROBS = 128
BATCH_INVARIANT_CAPABILITY = 90
CPU_KV_BYTES = 256 << 20
CPU_MAX_NUM_SEQS = 64
CPU_MAX_NUM_BATCHED_TOKENS = 1024
CPU_BLOCK_SIZE = 32
"""Tokens in a block of the prefix cache, of which only whole blocks are reused: vLLM's 128 on CPUs are longer than most
prompts have in common, and its kernels ask for multiples of 32."""

_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "INFO",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
}
_CPU_ENVIRONMENT = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # starts in a second instead of half a minute
    "TORCH_COMPILE_DISABLE": "1",  # eager anyway; a sampler helper would need a C++ compiler
}


@dataclass(frozen=True, slots=True)
class AdapterRoom:
    """What adapters an engine has room for: ``slots`` at a time of ``adapters``, by path."""

    slots: int = 0
    adapters: Mapping[Path, Model] = field(default_factory=dict)

    def with_group(self, adapters: Mapping[Path, Model]) -> AdapterRoom:
        """Room for these, all at a time, too."""
        return AdapterRoom(max(self.slots, len(adapters)), {**self.adapters, **adapters})

    def holds(self, adapters: Mapping[Path, Model]) -> bool:
        """Whether there is room for these at a time."""
        return len(adapters) <= self.slots and adapters.keys() <= self.adapters.keys()


@dataclass(slots=True)
class RunningEngine:
    """A ``vllm.LLM`` with full weights, and a LoRA request for each adapter that is loaded, by path.

    ``numbers`` are those of the adapters to come: none is given twice, as vLLM knows an adapter by it.
    """

    llm: Any
    renderers: Renderers
    base: Model
    room: AdapterRoom = AdapterRoom()
    memory_share: float = 0.0
    lora_requests: dict[Path, Any] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=partial(count, 1))


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """Full weights with all adapters required on them, by path: what one engine serves."""

    base: Model
    adapters: dict[Path, Model]

    def row(self, model: Model) -> int:
        """The model's number in its engine: 0 for the base."""
        return [self.base.path, *self.adapters].index(model.path)


_in_process: list[Any] = []
"""All engines that run inside this process, open or closed.

vLLM keeps its process groups in module globals; an in-process engine that is garbage-collected destroys them for all
others ("pipeline model parallel group is not initialized"). So closed engines are kept until none is open.
"""
_open = 0
_frozen_before = False
"""Whether objects were hidden from garbage collection before the first engine: vLLM shows it all of them at the end."""


def on_cpu() -> bool:
    """Whether the installed vLLM is built for CPU. Imports nothing."""
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
    """Remove credentials from the environment, and set vLLM's variables unless the user has set them."""
    take_secrets()
    for name, value in (_ENVIRONMENT | (_CPU_ENVIRONMENT if on_cpu() else {})).items():
        os.environ.setdefault(name, value)
    if not on_cpu():
        _prefer_batch_invariance()


def batch_invariant() -> bool:
    """Whether kernels are used that give a prompt the same answer in any batch."""
    return os.environ.get("VLLM_BATCH_INVARIANT", "0") == "1"


def _prefer_batch_invariance() -> None:
    """Have kernels that give a prompt the same answer in any batch, on GPUs that have them, unless the user decided.

    vLLM has them for NVIDIA's compute capability 9.0 (Hopper) and above.
    """
    from vllm.platforms import current_platform

    if current_platform.is_cuda() and current_platform.has_device_capability(BATCH_INVARIANT_CAPABILITY):
        os.environ.setdefault("VLLM_BATCH_INVARIANT", "1")


def engine_arguments(
    settings: EngineSettings, context: int, base: Model, adapters: Sequence[Model], slots: int | None = None
) -> dict[str, Any]:
    """The keyword arguments of ``vllm.LLM``, with room for ``slots`` of ``adapters`` at a time, or for all of them.

    ``float32`` on CPU, as ``auto`` would mean bfloat16. On CPU one LoRA slot more than adapters: without a free slot,
    vLLM's CPU kernels apply the last adapter to the base's rows.
    """
    arguments: dict[str, Any] = {
        "model": str(base.path),
        "tokenizer": str(base.path),
        "dtype": resolved_dtype(settings),
        "max_model_len": context,
        "seed": settings.seed,
        "load_format": "safetensors",
        "config_format": "hf",  # otherwise vLLM may read params.json instead of the checked config.json
        "trust_remote_code": False,
        "disable_log_stats": True,
        "max_logprobs": MAX_LOGPROBS,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "pipeline_parallel_size": settings.pipeline_parallel_size,
        "max_num_seqs": settings.max_num_seqs,
        "max_num_batched_tokens": settings.max_num_batched_tokens,
    }
    if settings.quantization is not None:
        arguments["quantization"] = settings.quantization
    if settings.kv_cache_dtype != "auto":
        arguments["kv_cache_dtype"] = settings.kv_cache_dtype
    if on_cpu():
        arguments["enforce_eager"] = True
        arguments["kv_cache_memory_bytes"] = CPU_KV_BYTES
        arguments["block_size"] = CPU_BLOCK_SIZE
        arguments["max_num_seqs"] = settings.max_num_seqs or CPU_MAX_NUM_SEQS
        tokens = settings.max_num_batched_tokens or CPU_MAX_NUM_BATCHED_TOKENS
        arguments["max_num_batched_tokens"] = max(tokens, arguments["max_num_seqs"])
    else:
        arguments["gpu_memory_utilization"] = settings.gpu_memory_utilization
        if settings.enforce_eager:
            arguments["enforce_eager"] = True
        if settings.compilation_level is not None:
            arguments["compilation_config"] = settings.compilation_level
    return arguments | (lora_arguments(adapters, slots) if adapters else {})


def lora_arguments(adapters: Sequence[Model], slots: int | None = None) -> dict[str, Any]:
    """LoRA settings for the adapters: slots, the smallest allowed rank and, on CPU, no idle LoRA layers."""
    arguments: dict[str, Any] = {
        "enable_lora": True,
        "max_loras": lora_slots(len(adapters) if slots is None else slots, cpu=on_cpu()),
        "max_lora_rank": allowed_rank(max(adapter.lora_rank or declared_rank(adapter.path) for adapter in adapters)),
    }
    if on_cpu():
        arguments["lora_target_modules"] = sorted(set().union(*(target_modules(a.path) for a in adapters))) or None
    return arguments


def lora_slots(adapters: int, *, cpu: bool) -> int:
    """How many adapters the engine has room for; on a CPU it has one to spare."""
    return adapters + (1 if cpu else 0)


def allowed_rank(rank: int) -> int:
    """The smallest ``max_lora_rank`` of vLLM that covers ``rank``. Raises ArtifactError above the largest."""
    fitting = [allowed for allowed in LORA_RANKS if allowed >= rank]
    if not fitting:
        raise ArtifactError(
            f"an adapter has rank {rank}; vLLM's maximum is {LORA_RANKS[-1]}",
            hint="merge the adapter into its base (peft: merge_and_unload) and submit the full weights",
        )
    return fitting[0]


def declared_rank(adapter: Path) -> int:
    """The highest rank in adapter_config.json."""
    config = read_object(adapter / "adapter_config.json")
    ranks = [config.get("r"), *dict(config.get("rank_pattern") or {}).values()]
    return max((rank for rank in ranks if isinstance(rank, int)), default=LORA_RANKS[1])


def target_modules(adapter: Path) -> frozenset[str]:
    """The last name part of every layer with adapter weights, from the header of its safetensors file."""
    file = adapter / "adapter_model.safetensors"
    try:
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    except (OSError, ValueError, OverflowError, MemoryError) as error:
        raise ArtifactError(
            f"{file}: cannot be read: {error}", hint="save the adapter with peft 0.18 or newer"
        ) from None
    matches = (re.search(r"([^.]+)\.lora_(?:embedding_)?[AB](?:\.|$)", name) for name in header)
    return frozenset(match.group(1) for match in matches if match)


def resolved_dtype(settings: EngineSettings) -> str:
    """The requested data type; ``auto`` means float32 on CPU."""
    return "float32" if on_cpu() and settings.dtype == "auto" else settings.dtype


def start(arguments: dict[str, Any], devices: Sequence[int] | None = None) -> Any:
    """A new ``vllm.LLM``, on the GPUs with the numbers ``devices`` of those that this process may use."""
    global _frozen_before, _open
    from vllm import LLM

    if on_cpu():
        _tune_for_cpu()
    if on_cpu() and runs_in_process() and not _in_process:
        _frozen_before = gc.get_freeze_count() > 0
        gc.freeze()
    with _visible(devices), _own_collection():
        llm = LLM(**arguments)
    if runs_in_process():
        _in_process.append(llm)
        _open += 1
    return llm


@contextmanager
def _visible(devices: Sequence[int] | None) -> Iterator[None]:
    """Have the processes that start in the body see these GPUs only."""
    before = os.environ.get(VISIBLE)
    if devices is None or on_cpu():
        yield
        return
    allowed = before.split(",") if before else None
    try:
        names = [allowed[number].strip() if allowed else str(number) for number in devices]
    except IndexError:
        raise ConfigurationError(
            f"engine.devices {list(devices)}: this process may use {len(allowed or ())} GPUs ({VISIBLE}={before})",
            hint="count from 0 among those, or let it use more",
        ) from None
    os.environ[VISIBLE] = ",".join(names)
    try:
        yield
    finally:
        os.environ.pop(VISIBLE)
        if before is not None:
            os.environ[VISIBLE] = before


@contextmanager
def _own_collection() -> Iterator[None]:
    """Leave garbage to this module on a CPU: there vLLM collects three times to start and twice to stop an engine.

    Each time goes through a million objects, most of them of its libraries, and takes a third of a second. These are
    frozen here before the first engine starts, and one collection after the last one frees all engines. On a GPU
    collections free memory that vLLM measures.
    """
    if not on_cpu():
        yield
        return
    own = gc.collect, gc.freeze, gc.unfreeze
    gc.collect, gc.freeze, gc.unfreeze = (lambda *_: 0), (lambda: None), (lambda: None)
    try:
        yield
    finally:
        gc.collect, gc.freeze, gc.unfreeze = own


def _tune_for_cpu() -> None:
    import torch._dynamo.config
    from vllm.platforms import current_platform

    from ftgate.engines.vllm.cpu_lora import install

    torch._dynamo.config.disable = True  # torch may have been imported before the environment was set
    install(current_platform)


def stop(llm: Any) -> None:
    """Shut an engine down. In-process engines are freed together when the last one closes, their tensors at once."""
    global _open
    if not runs_in_process():
        llm.llm_engine.engine_core.shutdown()
        gc.collect()
        return
    _open -= 1
    if _open == 0:
        with _own_collection():
            while _in_process:
                _in_process.pop().llm_engine.engine_core.shutdown()
        gc.collect()
        gc.unfreeze()
        if _frozen_before:
            gc.freeze()
    else:
        _free_tensors(llm)


def _free_tensors(llm: Any) -> None:
    """Give back the memory of an engine's weights and cache while the engine itself has to stay (``_in_process``).

    Not of its buffers: vLLM shares those of rotary embeddings between engines.
    """
    worker = getattr(llm.llm_engine.engine_core.engine_core.model_executor, "driver_worker", None)
    if worker is None:  # its workers are processes of their own, and have ended
        return
    runner = worker.worker.model_runner
    for tensor in (*runner.model.parameters(), *runner.kv_caches):
        storage = tensor.untyped_storage()
        if storage.resizable():
            storage.resize_(0)


def runs_in_process() -> bool:
    """Whether vLLM runs inside this process rather than in a child process."""
    return os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING", "1") == "0"
