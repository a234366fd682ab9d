from __future__ import annotations

import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from ftgate.errors import ControlError
from ftgate.models.nan_scan import is_zero, non_finite, require_finite_tensors
from ftgate.models.safetensors_header import read_header


def names_of_broken(path: Path) -> list[str]:
    return [tensor.name for tensor in non_finite(read_header(path, str(path)).values())]


def write_raw(path: Path, dtype: str, data: bytes, width: int) -> Path:
    shape = [len(data) // width]
    header = json.dumps({"t": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("at", [0, 4_999])
def test_each_is_found_wherever_it_stands(tmp_path: Path, kind: str, value: float, at: int) -> None:
    good, bad = np.full(5_000, np.finfo(kind).max, kind), np.zeros(5_000, kind)
    bad[at] = value
    save_file({"good": good, "bad": bad, "whole": np.full(3, -1)}, tmp_path / "m")
    assert names_of_broken(tmp_path / "m") == ["bad"]


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=20))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bfloat16_is_the_upper_half_of_float32(tmp_path: Path, bits: list[int]) -> None:
    path = write_raw(tmp_path / "m", "BF16", np.array(bits, "<u2").tobytes(), 2)
    floats = (np.array(bits, "<u4") << 16).view("<f4")
    assert bool(names_of_broken(path)) == (not np.isfinite(floats).all())
    assert is_zero(read_header(path, "m")["t"]) == (not floats[~np.isnan(floats)].any() and not np.isnan(floats).any())


@pytest.mark.parametrize(
    ("dtype", "byte", "broken"),
    [("F8_E4M3", 0x7F, True), ("F8_E4M3", 0xFF, True), ("F8_E4M3", 0x7E, False), ("F8_E5M2", 0x7C, True)],
)
def test_eight_bit_floats(tmp_path: Path, dtype: str, byte: int, broken: bool) -> None:
    assert bool(names_of_broken(write_raw(tmp_path / "m", dtype, bytes([0, byte]), 1))) is broken


def test_the_error_names_tensor_and_file(tmp_path: Path) -> None:
    save_file({"a": np.array([np.nan]), "b": np.array([np.inf]), "c": np.ones(1)}, tmp_path / "m.safetensors")
    with pytest.raises(ControlError, match=r"models/x: tensor a in m.safetensors and 1 more") as caught:
        require_finite_tensors(read_header(tmp_path / "m.safetensors", "m").values(), "models/x")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_minus_zero_is_zero(tmp_path: Path, kind: str) -> None:
    save_file({"zero": np.array([0, -0.0], kind), "tiny": np.array([0, np.finfo(kind).tiny], kind)}, tmp_path / "m")
    found = read_header(tmp_path / "m", "m")
    assert is_zero(found["zero"])
    assert not is_zero(found["tiny"])


def test_memory_stays_bounded(tmp_path: Path) -> None:
    save_file({"big": np.ones(50_000_000, np.float32)}, tmp_path / "m")
    tracemalloc.start()
    try:
        assert names_of_broken(tmp_path / "m") == []
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
