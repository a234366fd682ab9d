"""Merging an adapter into its base with peft, as a separate program, so that its memory is freed before engines start.

``python -P merge.py BASE ADAPTER OUT ROWS`` imports nothing of ftgate. It writes full weights to OUT and prints one
line of JSON: how far the log-probabilities of the reloaded weights are from those of base and adapter.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

PROBES, PROBE_TOKENS = 4, 24


def merge(base: Path, adapter: Path, out: Path, rows: int | None = None) -> dict[str, float]:
    """Merge, save, reload and compare.

    ``effect``: how much the adapter changes its base's log-probabilities. ``gap``: how much those of the merged weights
    differ from those of base and adapter. Both are absolute differences, averaged over tokens by their probability with
    the adapter, and over positions of fixed random texts. ``rows``: vocabulary size set by the adapter. Computed in
    float32, since 16-bit rounding would hide the gap and degrade the merge; saved in the base's data type.
    """
    from peft import PeftModel

    model = _load(base)
    probes = _probes(model)
    before = _logprobs(model, probes)
    if rows is not None:
        model.resize_token_embeddings(rows, mean_resizing=False)
    was_untied = _untie(model) if not _keeps_ties(adapter) else False
    adapted = PeftModel.from_pretrained(model, str(adapter), local_files_only=True).eval()
    _require_loaded(adapted, adapter)
    with_adapter = _logprobs(adapted, probes)
    merged = adapted.merge_and_unload(safe_merge=True)
    if was_untied:
        _tie_if_equal(merged)
    merged.to(_stored_dtype(base)).save_pretrained(out, safe_serialization=True)
    del model, adapted, merged
    gc.collect()
    reloaded = _logprobs(_load(out), probes)
    # Compare the columns that both have: the adapter may have added tokens.
    width = before.shape[-1]
    return {"effect": _distance(with_adapter[..., :width], before), "gap": _distance(with_adapter, reloaded)}


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        str(folder), dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
    ).eval()


def _stored_dtype(base: Path) -> torch.dtype:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(base), local_files_only=True, trust_remote_code=False)
    dtype = config.dtype or config.get_text_config().dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def _require_loaded(adapted: Any, adapter: Path) -> None:
    """Raise ValueError for an adapter tensor that peft ignored; peft only warns about it."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    loaded = get_peft_model_state_dict(adapted)
    for name, tensor in load_file(adapter / "adapter_model.safetensors").items():
        if name not in loaded or not torch.equal(loaded[name].to(tensor.dtype), tensor):
            raise ValueError(f"{name} has no counterpart in the base: target_modules does not include it")


def _keeps_ties(adapter: Path) -> bool:
    """Whether peft trains tied embeddings together, as asked or for single tokens, so that they must stay tied."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    return bool(config.get("trainable_token_indices") or config.get("ensure_weight_tying"))


def _untie(net: Any) -> bool:
    """Give the output layer its own weights, so that an adapter on one embedding does not change both."""
    embedding, head = net.get_input_embeddings(), net.get_output_embeddings()
    if head is None or head.weight is not embedding.weight:
        return False
    head.weight = nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
    _set_tied(net, tied=False)
    return True


def _tie_if_equal(net: Any) -> None:
    embedding, head = net.get_input_embeddings(), net.get_output_embeddings()
    if torch.equal(embedding.weight, head.weight):
        head.weight = embedding.weight
        _set_tied(net, tied=True)


def _set_tied(net: Any, *, tied: bool) -> None:
    net.config.tie_word_embeddings = tied
    inner = net.config.get_text_config()
    inner.tie_word_embeddings = tied


def _probes(net: Any) -> Tensor:
    """Fixed random token sequences."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = net.get_input_embeddings().weight.shape[0]
    return torch.randint(0, vocabulary, (PROBES, PROBE_TOKENS), generator=generator)


@torch.inference_mode()
def _logprobs(net: Any, tokens: Tensor) -> Tensor:
    """Shape (probes, tokens, vocabulary), float32."""
    logits: Tensor = net(input_ids=tokens, use_cache=False).logits
    return logits.float().log_softmax(dim=-1)


def _distance(one: Tensor, two: Tensor) -> float:
    """Mean absolute difference of two sets of log-probabilities, weighted by the probabilities of the first."""
    return float((one.exp() * (one - two).abs()).sum(dim=-1).mean())


def main(base: str, adapter: str, out: str, rows: str = "") -> None:
    """Entry point."""
    print(json.dumps(merge(Path(base), Path(adapter), Path(out), int(rows) if rows else None)))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
