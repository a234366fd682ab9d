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

from ftgate.errors import ArtifactError
from ftgate.models.nan_scan import SAMPLE_BYTES, is_zero, largest, require_finite_tensors, scan, zero_matrices
from ftgate.models.safetensors_header import read_header


def names_of_broken(path: Path) -> list[str]:
    return [each.tensor.name for each in scan(read_header(path, str(path)).values()) if not each.finite]


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
    with pytest.raises(ArtifactError, match=r"models/x: tensor a in m.safetensors and 1 more") as caught:
        require_finite_tensors(read_header(tmp_path / "m.safetensors", "m").values(), "models/x")
    assert caught.value.exit_code == 2


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


def test_of_a_sample_only_the_beginning_is_read(tmp_path: Path) -> None:
    numbers = np.zeros((2, SAMPLE_BYTES), np.float32)
    numbers[1, 0] = np.nan
    save_file({"t": numbers}, tmp_path / "m")
    tensors = read_header(tmp_path / "m", "m").values()
    assert [each.finite for each in scan(tensors)] == [False]
    assert [(each.finite, each.zero) for each in scan(tensors, SAMPLE_BYTES)] == [(True, True)]


def test_matrices_of_zeros_are_named_and_nothing_but_those_is_refused(tmp_path: Path) -> None:
    zeros, ones = np.zeros((3, 3), np.float32), np.ones((3, 3), np.float32)
    save_file({"a": zeros, "b": ones, "bias": np.zeros(3, np.float32)}, tmp_path / "m")
    assert zero_matrices(scan(read_header(tmp_path / "m", "m").values()), "m") == ["a"]
    save_file({"a": zeros, "b": -zeros, "norm": np.ones(3, np.float32)}, tmp_path / "m")
    with pytest.raises(ArtifactError, match="models/x: all 2 weight matrices are zero, the first is a") as caught:
        zero_matrices(scan(read_header(tmp_path / "m", "m").values()), "models/x")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_the_largest_number_is_that_of_either_sign(tmp_path: Path, kind: str) -> None:
    numbers = {"t": [0.5, -3, 1], "zero": [0, -0.0], "endless": [1, np.inf]}
    save_file({name: np.array(values, kind) for name, values in numbers.items()}, tmp_path / "m")
    tensors = read_header(tmp_path / "m", "m")
    assert [largest(tensors[name]) for name in numbers] == [3.0, 0.0, np.inf]


def test_the_largest_number_in_16_and_8_bits(tmp_path: Path) -> None:
    brain = np.array([0.5, -3, 1], "<f4").view("<u4") >> 16
    path = write_raw(tmp_path / "m", "BF16", brain.astype("<u2").tobytes(), 2)
    assert largest(read_header(path, "m")["t"]) == 3.0
    path = write_raw(tmp_path / "m", "F8_E4M3", bytes([0, 1]), 1)
    assert largest(read_header(path, "m")["t"]) == np.inf
