"""Engine settings that work on a machine, from what is known of its hardware and of the models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from ftgate.preflight.hardware import Machine
from ftgate.preflight.view import size_of
from ftgate.setup.model_folders import ModelFolder

Device = Literal["gpu", "cpu"]
LONGEST = 4096
"""Longest prompt plus answer in tokens, where the model's context is not shorter."""
_ROOM = 0.7
"""Share of a GPU's memory for weights: the rest is for the KV cache and work space."""
_FEW_BYTES = 0.3
"""Share of a machine's memory that weights in float32 may take."""
_WITHOUT_BFLOAT16 = re.compile(r"\b(?:T4|V100|P100|P40|P4|K80|M60|TITAN|GTX|RTX 20\d\d|Quadro RTX)\b")
"""GPUs older than Ampere, which do not compute in bfloat16."""


def machine_in_words(machine: Machine) -> str:
    """GPUs and memory in a few words."""
    memory = f"{size_of(machine.memory)} of memory"
    if not machine.gpus:
        return f"no GPU, {memory}"
    first = machine.gpus[0]
    same = all(gpu == first for gpu in machine.gpus)
    names = (
        f"{len(machine.gpus)} × {first.name} ({size_of(first.memory)})"
        if same and len(machine.gpus) > 1
        else ", ".join(f"{gpu.name} ({size_of(gpu.memory)})" for gpu in machine.gpus)
    )
    return f"{names}, {memory}"


def engine_for(device: Device, machine: Machine, base: ModelFolder | None, *, has_vllm: bool) -> Mapping[str, Any]:
    """The section ``engine``: on ``device``, with the dimensions of ``base`` if it is here.

    On GPUs the weights are split across as few as hold them. On a CPU it is vLLM if it is installed, else transformers.
    """
    dimensions = base.dimensions if base is not None else None
    context = dimensions.context if dimensions is not None and dimensions.context else LONGEST
    length = {"max_model_len": min(LONGEST, context)}
    size = base.size if base is not None else 0
    if device == "cpu":
        stored = 4 if dimensions is not None and dimensions.dtype == "float32" else 2
        dtype = "float32" if size / stored * 4 <= _FEW_BYTES * machine.memory else "bfloat16"
        return {"kind": "vllm" if has_vllm else "transformers", "dtype": dtype, **length}
    old = any(_WITHOUT_BFLOAT16.search(gpu.name) for gpu in machine.gpus)
    engine: dict[str, Any] = {"kind": "vllm", "dtype": "float16" if old else "bfloat16", **length}
    if machine.gpus:
        room = _ROOM * min(gpu.memory for gpu in machine.gpus)
        splits = [1 << power for power in range(10) if 1 << power <= len(machine.gpus)]
        split = next((number for number in splits if size <= room * number), splits[-1])
        engine |= {"tensor_parallel_size": split} if split > 1 else {}
    return engine
