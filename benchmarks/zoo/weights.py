"""Makes the copies of the zoo: the base's weights changed by arithmetic, and stored again as a whole model."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from benchmarks.zoo.data import SEED
from benchmarks.zoo.members import Copy

GROUP = 64
"""Weights of a row that share a scale, where a row has several."""


def make_copy(member: Copy, base: Path, out: Path) -> None:
    """Write the base to ``out`` with the member's change. Everything but the weights is copied as it is."""
    shutil.copytree(base, out, dirs_exist_ok=True)
    path = out / "model.safetensors"
    tensors = load_file(path)
    generator = torch.Generator().manual_seed(SEED)
    changed = {name: _changed(member, name, tensor, generator) for name, tensor in tensors.items()}
    path.unlink()
    save_file(changed, path, metadata={"format": "pt"})
    print(f"{member.name}: {sum(not torch.equal(changed[n], tensors[n]) for n in tensors)} tensors changed", flush=True)


def _changed(member: Copy, name: str, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if tensor.ndim != 2:
        return tensor
    if member.change == "drop_layer":  # without these two a layer adds nothing to what passes through it
        last = ("self_attn.o_proj.weight", "mlp.down_proj.weight")
        return torch.zeros_like(tensor) if name.endswith(last) and f"layers.{int(member.amount)}." in name else tensor
    values = tensor.float()
    if member.change == "noise":
        values = values + member.amount * values.std() * torch.randn(values.shape, generator=generator)
    else:
        steps, group = {"int8": (127, values.shape[1]), "int8_groups": (127, GROUP), "int4": (7, GROUP)}[member.change]
        values = round_weights(values, steps, group)
    return values.to(tensor.dtype)


def round_weights(values: torch.Tensor, steps: int, group: int) -> torch.Tensor:
    """Round to ``steps`` levels on each side of zero, with one scale for each ``group`` of a row's weights."""
    grouped = values.reshape(values.shape[0], -1, group)
    scale = grouped.abs().amax(dim=-1, keepdim=True).clamp(min=1e-12) / steps
    return (torch.round(grouped / scale) * scale).reshape(values.shape)
