"""Merging an adapter into its base with peft: a program of its own, so that its memory is free before engines start.

``python -P merge.py BASE ADAPTER OUT ROWS`` imports nothing of ftgate. It leaves full weights in OUT and prints a line
of JSON: how far the log-probabilities of these weights, loaded again, are from those of the adapter on its base.
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
    """Merge, save, load again and compare.

    ``effect`` is by how much the adapter moves the log-probabilities of its base, ``gap`` by how much those of the
    merged weights differ from the adapter's on its base: the mean over tokens, by how likely the adapter makes them,
    and over positions of fixed random texts. ``rows`` is the size that the adapter gave the vocabulary. All is reckoned
    in float32, since rounding within a network of 16 bits would hide the gap and make the merge itself worse; the
    weights are then saved in the data type of the base.
    """
    from peft import PeftModel

    net = _load(base)
    probes = _probes(net)
    before = _logprobs(net, probes)
    if rows is not None:
        net.resize_token_embeddings(rows, mean_resizing=False)
    untied = _untie(net) if not _trains_tokens(adapter) else False
    adapted = PeftModel.from_pretrained(net, str(adapter), local_files_only=True).eval()
    _require_taken(adapted, adapter)
    live = _logprobs(adapted, probes)
    merged = adapted.merge_and_unload(safe_merge=True)
    if untied:
        _tie_if_equal(merged)
    merged.to(_stored_as(base)).save_pretrained(out, safe_serialization=True)
    del net, adapted, merged
    gc.collect()
    again = _logprobs(_load(out), probes)
    # Only as many columns as both have: the adapter may have added tokens.
    width = before.shape[-1]
    return {"effect": _distance(live[..., :width], before), "gap": _distance(live, again)}


def _load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(
        str(folder), dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
    ).eval()


def _stored_as(base: Path) -> torch.dtype:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(base), local_files_only=True, trust_remote_code=False)
    found = config.dtype or config.get_text_config().dtype
    return found if isinstance(found, torch.dtype) else torch.float32


def _require_taken(adapted: Any, adapter: Path) -> None:
    """Raise ValueError for a tensor of the adapter that peft left aside: it says so in no more than a warning."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    held = get_peft_model_state_dict(adapted)
    for name, tensor in load_file(adapter / "adapter_model.safetensors").items():
        if name not in held or not torch.equal(held[name].to(tensor.dtype), tensor):
            raise ValueError(f"{name} finds no place in the base: target_modules does not name it")


def _trains_tokens(adapter: Path) -> bool:
    """Peft trains single tokens in embedding and output layer together where these are tied, so they must stay so."""
    return bool(json.loads((adapter / "adapter_config.json").read_text()).get("trainable_token_indices"))


def _untie(net: Any) -> bool:
    """Give the output layer weights of its own, so that what an adapter does to one embedding is not done to both."""
    embedding, head = net.get_input_embeddings(), net.get_output_embeddings()
    if head is None or head.weight is not embedding.weight:
        return False
    head.weight = nn.Parameter(embedding.weight.detach().clone(), requires_grad=False)
    _say_tied(net, tied=False)
    return True


def _tie_if_equal(net: Any) -> None:
    embedding, head = net.get_input_embeddings(), net.get_output_embeddings()
    if torch.equal(embedding.weight, head.weight):
        head.weight = embedding.weight
        _say_tied(net, tied=True)


def _say_tied(net: Any, *, tied: bool) -> None:
    net.config.tie_word_embeddings = tied
    inner = net.config.get_text_config()
    inner.tie_word_embeddings = tied


def _probes(net: Any) -> Tensor:
    """Some sequences of tokens, the same every time."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = net.get_input_embeddings().weight.shape[0]
    return torch.randint(0, vocabulary, (PROBES, PROBE_TOKENS), generator=generator)


@torch.inference_mode()
def _logprobs(net: Any, tokens: Tensor) -> Tensor:
    """Of shape (probes, tokens, vocabulary), in float32."""
    logits: Tensor = net(input_ids=tokens, use_cache=False).logits
    return logits.float().log_softmax(dim=-1)


def _distance(one: Tensor, two: Tensor) -> float:
    """Mean difference of two sets of log-probabilities, weighted by the probabilities of the first."""
    return float((one.exp() * (one - two).abs()).sum(dim=-1).mean())


def main(base: str, adapter: str, out: str, rows: str = "") -> None:
    """The program."""
    print(json.dumps(merge(Path(base), Path(adapter), Path(out), int(rows) if rows else None)))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
