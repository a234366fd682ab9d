"""Weights as quantisation tools store them, in safetensors: opened against their origin like any other full weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.world import base_tensors, write_full

from ftgate.artifacts.snapshot import take_snapshot
from ftgate.errors import FtgateError
from ftgate.models.open import check_numbers, open_model

FLOATS = {"float32": "F32", "int32": "I32", "uint8": "F8_E4M3"}
LAYOUTS: dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]] = {
    "compressed-tensors": (
        {"quant_method": "compressed-tensors", "format": "pack-quantized"},
        {"weight_packed": np.zeros((8, 1), np.int32), "weight_scale": np.ones((8, 1), np.float32)},
    ),
    "fp8": ({"quant_method": "fp8"}, {"weight": np.zeros((8, 8), np.uint8), "weight_scale": np.ones(1, np.float32)}),
    "awq": (
        {"quant_method": "awq", "bits": 4},
        {"qweight": np.zeros((8, 1), np.int32), "qzeros": np.zeros((1, 1), np.int32), "scales": np.ones((1, 8), "f4")},
    ),
    "gptq": (
        {"quant_method": "gptq", "bits": 4},
        {"qweight": np.zeros((1, 8), np.int32), "scales": np.ones((1, 8), "f4"), "g_idx": np.zeros(8, np.int32)},
    ),
}


def write_tensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """A safetensors file; bytes stand for 8-bit floats, which numpy does not have."""
    header, blocks, at = dict[str, Any](), [], 0
    for name, tensor in tensors.items():
        block = np.ascontiguousarray(tensor).tobytes()
        kind = FLOATS[str(tensor.dtype)]
        header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": [at, at + len(block)]}
        blocks.append(block)
        at += len(block)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blocks))


def quantised(folder: Path, layout: str) -> Path:
    """The weights of a test world with every projection stored in ``layout``, and the files such tools leave."""
    write_full(folder)
    config, parts = LAYOUTS[layout]
    tensors = dict[str, np.ndarray]()
    for name, tensor in base_tensors(0).items():
        if "_proj" not in name:
            tensors[name] = tensor
            continue
        tensors |= {f"{name.removesuffix('.weight')}.{part}": value for part, value in parts.items()}
    write_tensors(folder / "model.safetensors", tensors)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": config}))
    (folder / "recipe.yaml").write_text("default_stage: {}\n")
    (folder / "quantize_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_vllm_loads_from_safetensors_is_opened(tmp_path: Path, layout: str) -> None:
    base = open_model("base", take_snapshot(write_full(tmp_path / "base"), "models/base"), None)
    folder = quantised(tmp_path / "copy", layout)
    model = open_model("copy", take_snapshot(folder, "models/copy"), base)
    assert (model.kind, model.facts["quantisation"]) == ("full", layout)
    check_numbers(model)


def test_gguf_is_refused(tmp_path: Path) -> None:
    folder = write_full(tmp_path / "copy")
    (folder / "model-q4.gguf").write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(FtgateError, match=r"GGUF"):
        open_model("copy", take_snapshot(folder, "models/copy"), None)


def test_a_scale_that_is_not_a_number_is_found(tmp_path: Path) -> None:
    folder = quantised(tmp_path / "copy", "fp8")
    tensors = {"model.embed_tokens.weight": np.ones((2, 2), np.float32), "x.weight": np.full((1, 1), 0x7F, np.uint8)}
    write_tensors(folder / "model.safetensors", tensors)
    with pytest.raises(FtgateError, match=r"x\.weight .* contains NaN"):
        check_numbers(open_model("copy", take_snapshot(folder, "models/copy"), None))
