"""Whether an engine loads weights that are stored quantised, and whether vLLM can quantise them as the policy says."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from ftgate.config.engine import EngineSettings
from ftgate.engines.vllm.startup import resolved_dtype
from ftgate.models.dimensions import QUANTISED_BESIDE

NOT_IN_VLLM = frozenset({"bitsandbytes", "quanto", "hqq", "eetq", "aqlm", "vptq", "higgs", "spqr", "bitnet", "gguf"})
"""Methods of transformers that vLLM does not load, or no longer."""
IN_TRANSFORMERS = {
    "bitsandbytes": ("bitsandbytes", "accelerate"),
    "compressed-tensors": ("compressed_tensors", "accelerate"),
}
"""Methods that the transformers engine loads, and the modules that each needs."""
ON_GPU_ALONE = frozenset({"bitsandbytes"})
ON_LOADING = frozenset(
    {"fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "mxfp8", "mxfp4", "experts_int8", "humming"}
    | {"int8_per_channel_weight_only", "nvfp4_per_token", "gpt_oss_mxfp4", "deepseek_v4_fp8"}
)
"""Names that vLLM 0.32 takes for weights that are not stored quantised, all of them in 16 bits alone."""
NOT_ON_CPUS = frozenset({"fp8", "fp8_per_tensor", "fp8_per_block", "mxfp8", "mxfp4", "humming"})
"""Those with which vLLM 0.32 ends on a CPU while it starts; it runs fp8_per_channel, nvfp4_per_token and int8 there."""
AS_STORED = frozenset(
    {"awq", "auto_awq", "awq_marlin", "gptq", "auto_gptq", "gptq_marlin", "moe_wna16", "compressed-tensors", "quark"}
    | {"modelopt", "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed", "torchao", "inc", "online"}
)
"""Names that it takes and that quantise nothing: `online` needs a configuration, all others weights stored so."""


def _installed(module: str) -> bool:
    return find_spec(module) is not None


def quantisation_problem(
    method: str, settings: EngineSettings, *, cpu: bool, installed: Callable[[str], bool] = _installed
) -> tuple[str, str] | None:
    """Why the engine does not load weights quantised by ``method``, and what to do; None if it does.

    vLLM knows many methods, and more with each version: of one that is not known here it decides itself.
    """
    method = method.lower()
    if settings.kind == "vllm" and method in NOT_IN_VLLM:
        other = "engine: {kind: transformers} on a GPU, or " if method in IN_TRANSFORMERS else ""
        return (
            f"its weights are quantised by {method}, which vLLM does not load",
            f"use {other}weights in compressed-tensors, FP8, AWQ or GPTQ",
        )
    if settings.kind != "transformers":
        return None
    modules = IN_TRANSFORMERS.get(method)
    if modules is None:
        return f"its weights are quantised by {method}, which the transformers engine does not run", "use kind: vllm"
    if cpu and method in ON_GPU_ALONE:
        return f"its weights are quantised by {method}, which needs a GPU", "run on a machine with one"
    if missing := " and ".join(name.replace("_", "-") for name in modules if not installed(name)):
        return f"its weights are quantised by {method}, and {missing} is not installed", f"install {missing}"
    return None


def told_problem(
    settings: EngineSettings, field: str, stored: str, weights: Path, *, cpu: bool
) -> tuple[str, str] | None:
    """Why vLLM does not quantise the ``weights`` of a model as ``field`` of the policy says, and what to do.

    ``settings`` are the model's own; ``stored`` is the method that the weights' config.json names, or empty. None if
    there is nothing to object to.
    """
    method = settings.quantization
    if method is None:
        return None
    hint = f"leave {field} out, as weights that are stored quantised say it themselves, or quantise on loading: fp8"
    if method not in ON_LOADING | AS_STORED:
        what = "does not load" if method in NOT_IN_VLLM else "does not take"
        taken = ", ".join(sorted(ON_LOADING | AS_STORED))
        return f"{field} is {method}, which vLLM {what}; it takes {taken}", hint
    if stored:
        return None
    if cpu and method in NOT_ON_CPUS:
        return f"{field} is {method}, which vLLM does not do on a CPU", f"leave {field} out, or use a GPU"
    if method in AS_STORED and not any((weights / name).is_file() for name in QUANTISED_BESIDE):
        return f"{field} is {method}, which quantises nothing by itself, and the weights are not stored quantised", hint
    if method in ON_LOADING and resolved_dtype(settings) == "float32":
        return f"{field} is {method}, which vLLM does not do in float32", "set dtype: bfloat16 or float16 beside it"
    return None
