"""An adapter of zeros: the shape of another one, and nothing in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from support.world import write_adapter, write_full

from ftgate.artifacts.snapshot import take_snapshot
from ftgate.models.open import open_model
from ftgate.models.zero_adapter import write_zero_adapter


def test_it_has_every_tensor_of_the_other_and_only_zeros(tmp_path: Path) -> None:
    base = open_model("base", take_snapshot(write_full(tmp_path / "base"), "base"), None)
    adapter = open_model("bot", take_snapshot(write_adapter(tmp_path / "bot", rank=4), "bot"), base)
    (tmp_path / "zeros").mkdir()
    zero = write_zero_adapter(adapter, tmp_path / "zeros")
    tensors, others = (load_file(m.path / "adapter_model.safetensors") for m in (zero, adapter))
    assert {name: t.shape for name, t in tensors.items()} == {name: t.shape for name, t in others.items()}
    assert not any(np.any(tensor) for tensor in tensors.values())
    assert all(np.any(tensor) for tensor in others.values())
    config = "adapter_config.json"
    assert (zero.path / config).read_bytes() == (adapter.path / config).read_bytes()
    assert (zero.kind, zero.base, zero.lora_rank) == ("adapter", base, 4)
    assert zero.digest not in (adapter.digest, base.digest)
