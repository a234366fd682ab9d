from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ftgate.errors import ArtifactError
from ftgate.models.safetensors_header import read_header
from ftgate.models.weights import full_weights


def write(path: Path, header: Any, data: bytes = b"") -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def entry(start: int, end: int, shape: list[Any] | None = None, dtype: Any = "U8") -> dict[str, Any]:
    return {"dtype": dtype, "shape": [end - start] if shape is None else shape, "data_offsets": [start, end]}


DAMAGED: dict[str, tuple[Any, bytes, str]] = {
    "not JSON": (b"{oops", b"", "its header is not JSON"),
    "not UTF-8": (b'{"\xff":1}', b"", "its header is not JSON"),
    "a list": ([], b"", "its header is not an object"),
    "a name twice": (b'{"a":1,"a":2}', b"", "duplicate name"),
    "an entry that is no object": ({"a": 1}, b"", "'a' has an invalid entry"),
    "no shape": ({"a": {"dtype": "U8", "data_offsets": [0, 1]}}, b"x", "'a' has an invalid entry"),
    "negative shape": ({"a": entry(0, 1, [-1])}, b"x", "'a' has an invalid entry"),
    "shape of truth values": ({"a": entry(0, 1, [True])}, b"x", "'a' has an invalid entry"),
    "three offsets": ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 2]}}, b"x", "offsets"),
    "unknown type": ({"a": entry(0, 1, dtype="F7")}, b"x", "data type 'F7'"),
    "type that is a list": ({"a": entry(0, 1, dtype=[])}, b"x", "data type []"),
    "wrong size": ({"a": entry(0, 4, [2], "F32")}, b"xxxx", "F32 [2] does not fit 4 bytes"),
    "overlap": ({"a": entry(0, 4), "b": entry(2, 6)}, b"x" * 6, "tensor b overlaps another"),
    "gap": ({"a": entry(0, 2), "b": entry(4, 6)}, b"x" * 6, "tensor b follows a gap"),
    "cut short": ({"a": entry(0, 9)}, b"x" * 6, "tensor a ends at byte"),
    "too long": ({"a": entry(0, 2)}, b"x" * 6, "4 bytes follow its last tensor"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_named_with_its_problem(tmp_path: Path, case: str) -> None:
    header, data, named = DAMAGED[case]
    with pytest.raises(ArtifactError) as caught:
        read_header(write(tmp_path / "m", header, data), "models/x: m")
    assert caught.value.message.startswith("models/x: m: not a valid safetensors file")
    assert named in caught.value.message
    with pytest.raises(SafetensorError), safe_open(tmp_path / "m", "np") as file:
        file.keys()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "it ends after 0 bytes"),
        (b"\x08\0\0", "it ends after 3 bytes"),
        (b"\xff" * 8, "a header of 18,446,744,073,709,551,615 bytes"),
        (struct.pack("<Q", 100) + b"{}", "a header of 100 bytes in a file of 10"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n", "git lfs pull"),
    ],
)
def test_what_is_no_safetensors_file(tmp_path: Path, content: bytes, named: str) -> None:
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(ArtifactError, match=named):
        read_header(tmp_path / "m", "m")
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_header(tmp_path / "none", "none")


shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
kinds = st.sampled_from(["float64", "float32", "float16", "int64", "int8", "bool"])


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.tuples(shapes, kinds), max_size=5))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_the_header_says_what_the_library_reads(tmp_path: Path, tensors: dict[str, tuple[Any, str]]) -> None:
    tensors.pop("__metadata__", None)
    save_file({name: np.ones(shape, kind) for name, (shape, kind) in tensors.items()}, tmp_path / "m", {"format": "np"})
    found = read_header(tmp_path / "m", "m")
    with safe_open(tmp_path / "m", "np") as file:
        assert set(found) == set(file.keys())
        for name, tensor in found.items():
            loaded = file.get_tensor(name)
            assert tensor.shape == loaded.shape
            assert (tensor.size, tensor.numbers) == (loaded.nbytes, loaded.size)
            assert (tmp_path / "m").read_bytes()[tensor.start : tensor.start + tensor.size] == loaded.tobytes()


@given(st.data())
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_damage_raises_anything_else(tmp_path: Path, data: st.DataObject) -> None:
    save_file({"a": np.ones((2, 3), np.float32), "b": np.ones(2)}, tmp_path / "m")
    content = bytearray((tmp_path / "m").read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    (tmp_path / "m").write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        read_header(tmp_path / "m", "m")
    except ArtifactError as error:
        str(error).encode()


def shards(folder: Path) -> Path:
    """Two shards of one tensor each, and their index."""
    for number, name in enumerate("ab", 1):
        save_file({name: np.ones(number, np.float32)}, folder / f"model-{number}.safetensors")
    places = {"a": "model-1.safetensors", "b": "model-2.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def index(places: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def test_shards_are_read_as_one(tmp_path: Path) -> None:
    found = full_weights(shards(tmp_path), "r")
    assert {name: (t.shape, t.file.name) for name, t in found.items()} == {
        "a": ((1,), "model-1.safetensors"),
        "b": ((2,), "model-2.safetensors"),
    }


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda f: (f / "model-2.safetensors").unlink(), "model-2.safetensors is listed but missing"),
        (lambda f: save_file({"a": np.ones(1)}, f / "model-2.safetensors"), "tensor a is in model-1.* and in model-2"),
        (lambda f: save_file({"c": np.ones(1)}, f / "model-2.safetensors"), "tensor b is listed in model-2"),
        (lambda f: (f / "model-1.safetensors").write_bytes(b"x"), "r: model-1.safetensors: not a valid"),
        (lambda f: save_file({"a": np.ones(1)}, f / "model.safetensors"), "both model.safetensors and"),
        (index({}), "weight_map is missing or empty"),
        (index(["a"]), "weight_map is missing or empty"),
        (index({"a": "../model-1.safetensors"}), r"'\.\./model-1.safetensors' is not the name"),
        (index({"a": "/etc/passwd"}), "is not the name"),
        (index({"a": 1}), "1 is not the name"),
        (lambda f: (f / "model.safetensors.index.json").write_text("[]"), "expected an object"),
        (lambda f: (f / "model.safetensors.index.json").write_text("{"), "not valid JSON"),
    ],
)
def test_shards_and_index_must_agree(tmp_path: Path, change: Callable[[Path], object], named: str) -> None:
    change(shards(tmp_path))
    with pytest.raises(ArtifactError, match=named):
        full_weights(tmp_path, "r")


def test_weights_that_engines_would_find_differently_are_refused(tmp_path: Path) -> None:
    save_file({"a": np.ones(1)}, tmp_path / "consolidated.safetensors")
    with pytest.raises(ArtifactError, match=r"without model.safetensors or .*found: consolidated.safetensors"):
        full_weights(tmp_path, "r")
    save_file({"a": np.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError, match="without an index") as caught:
        full_weights(tmp_path, "r")
    assert "artifacts.skip" in caught.value.hint
