"""What an adapter must be for vLLM to run it beside its base, and for it to belong to that base at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ftgate.artifacts.digest import Snapshot
from ftgate.artifacts.safetensors_header import Tensor, is_zero
from ftgate.errors import ArtifactError

MAX_RANK = 512
"""The largest rank that vLLM takes."""
_MERGE = "merge it into its base (peft: merge_and_unload) and give the merged full weights as candidate"
_PREFIX = "base_model.model."

Test = Callable[[Mapping[str, Any]], bool]

_REFUSED: tuple[tuple[Test, str], ...] = (
    (lambda c: c.get("peft_type", "LORA") != "LORA", "peft_type is {peft_type}, not LORA"),
    (lambda c: bool(c.get("use_dora")), "use_dora (DoRA): vLLM would ignore the magnitudes"),
    (lambda c: bool(c.get("lora_bias")), "lora_bias: vLLM would drop the biases"),
    (lambda c: c.get("bias", "none") != "none", "bias is {bias}: vLLM would drop the trained biases"),
    (lambda c: bool(c.get("modules_to_save")), "modules_to_save {modules_to_save}: vLLM would drop them"),
    (lambda c: bool(c.get("layer_replication")), "layer_replication changes the layers of the base"),
    (lambda c: bool(c.get("trainable_token_indices")), "trainable_token_indices: vLLM would drop the trained tokens"),
    (lambda c: bool(c.get("alora_invocation_tokens")), "activated LoRA applies to a part of the prompt only"),
    (
        lambda c: str(c.get("init_lora_weights", True)).lower().startswith(("pissa", "olora", "corda", "loftq", "eva")),
        "init_lora_weights {init_lora_weights} changes the base weights",
    ),
)


def check_adapter(snapshot: Snapshot, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> int:
    """The rank of an adapter that vLLM can run. Raises ArtifactError naming what stands in the way."""
    for refuses, reason in _REFUSED:
        if refuses(config):
            shown = reason.format_map({key: config.get(key) for key in config} | {"peft_type": config.get("peft_type")})
            raise ArtifactError(f"{snapshot.reference}: adapter_config.json: {shown}", hint=_MERGE)
    if not tensors:
        raise ArtifactError(
            f"{snapshot.reference}: an adapter without safetensors weights (adapter_model.safetensors)",
            hint="save it with safe_serialization=True",
        )
    for name in tensors:
        if "lora_embedding" in name or ".lm_head." in name or ".embed_tokens." in name:
            raise ArtifactError(f"{snapshot.reference}: {name}: vLLM would drop this tensor", hint=_MERGE)
        if not name.endswith((".lora_A.weight", ".lora_B.weight")):
            raise ArtifactError(f"{snapshot.reference}: {name}: not a LoRA matrix; vLLM would drop it", hint=_MERGE)
    rank = max(t.shape[0] for name, t in tensors.items() if name.endswith("lora_A.weight"))
    if rank > MAX_RANK:
        raise ArtifactError(f"{snapshot.reference}: rank {rank} is above {MAX_RANK}, vLLM's most", hint=_MERGE)
    return rank


def check_fits_base(
    snapshot: Snapshot, tensors: Mapping[str, Tensor], base: Mapping[str, Tensor], base_ref: str
) -> None:
    """Every pair of LoRA matrices must have a weight of the base that it fits. Raises ArtifactError otherwise."""
    for name, a in tensors.items():
        if not name.endswith(".lora_A.weight"):
            continue
        module = name.removesuffix(".lora_A.weight")
        b = tensors.get(f"{module}.lora_B.weight")
        if b is None or len(a.shape) != 2 or len(b.shape) != 2 or b.shape[1] != a.shape[0]:
            raise ArtifactError(
                f"{snapshot.reference}: {module}: lora_A {list(a.shape)} has no lora_B that fits",
                hint="the adapter is incomplete: save it again",
            )
        target = base.get(module.removeprefix(_PREFIX) + ".weight")
        if target is None:
            raise ArtifactError(
                f"{snapshot.reference}: the base {base_ref} has no module {module.removeprefix(_PREFIX)}",
                hint="the adapter was trained on another architecture: name the base it belongs to",
            )
        if (b.shape[0], a.shape[1]) != target.shape:
            raise ArtifactError(
                f"{snapshot.reference}: {module.removeprefix(_PREFIX)}: the adapter is for a weight of "
                f"{[b.shape[0], a.shape[1]]}, the base {base_ref} has {list(target.shape)}",
                hint="the adapter was trained on another base: name the one it belongs to",
            )


def check_not_zero(snapshot: Snapshot, tensors: Mapping[str, Tensor]) -> None:
    """An adapter whose every lora_B is zero is the base itself. Raises ArtifactError for one."""
    if all(is_zero(t) for name, t in tensors.items() if name.endswith(".lora_B.weight")):
        raise ArtifactError(
            f"{snapshot.reference}: every lora_B matrix is zero: the adapter changed nothing",
            hint="it was saved before training, or training did not reach it",
        )
