"""Keys that make an engine load something else are found wherever a library would read them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ftgate.artifacts.refused_names import is_refused
from ftgate.artifacts.snapshot import take_snapshot
from ftgate.errors import ArtifactError, SeveralError
from ftgate.models.unsafe_files import refuse_unsafe

CODE = {"AutoModel": "x.Y"}


def refused(tmp_path: Path, value: Any, name: str = "config.json") -> str:
    """What is wrong with a folder that holds this file; empty if nothing."""
    (tmp_path / name).write_text(json.dumps(value))
    try:
        refuse_unsafe(take_snapshot(tmp_path, "models/x"))
    except ArtifactError as error:
        return error.message
    return ""


def nested(depth: int, value: Any) -> Any:
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("depth", range(9))
def test_code_is_found_down_to_the_eighth_level(tmp_path: Path, depth: int) -> None:
    """transformers reads no key from deeper levels than the parts of a part of a configuration."""
    path = "a." * depth + "auto_map"
    assert (
        refused(tmp_path, nested(depth, {"auto_map": CODE}))
        == f"models/x: config.json: {path} loads code from the snapshot"
    )
    assert refused(tmp_path, nested(8, {"b": {"auto_map": CODE}})) == ""


def test_lists_count_as_levels_and_what_stands_after_something_harmless_is_found_too(tmp_path: Path) -> None:
    assert "a.1.auto_map" in refused(tmp_path, {"a": [{"b": 1}, {"auto_map": CODE}]})
    assert "z.auto_map" in refused(tmp_path, {"a": {"b": {}}, "auto_map": None, "z": {"auto_map": CODE}})


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_an_implementation_from_a_hub_is_code_and_one_of_the_library_is_not(tmp_path: Path, key: str) -> None:
    for value in ("someone/kernel", {"": "sdpa", "vision": "someone/kernel"}):
        assert f"{key} loads code from a hub" in refused(tmp_path, {key: value})
        assert "loads code from a hub" in refused(tmp_path, {f"_{key.lstrip('_')}": value})
    for value in ("sdpa", {"": "sdpa", "vision": "eager"}, None):
        assert refused(tmp_path, {key: value}) == ""


@pytest.mark.parametrize("harmless", [None, {}, "", 0, 17, 1.5])
def test_a_key_that_names_nothing_or_a_token_of_that_name_is_harmless(tmp_path: Path, harmless: Any) -> None:
    assert refused(tmp_path, {"auto_map": harmless, "speculators_config": harmless}) == ""


def test_true_names_no_token(tmp_path: Path) -> None:
    assert "auto_map" in refused(tmp_path, {"auto_map": True})
    assert "speculators_config makes engines run another model" in refused(tmp_path, {"speculators_config": {"a": 1}})


def test_every_file_is_searched_and_every_problem_told(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text("x")
    (tmp_path / "weights.gguf").write_bytes(b"x")
    (tmp_path / "old.bin").write_bytes(b"x")
    (tmp_path / "a.json").write_text(json.dumps({"auto_map": CODE}))
    (tmp_path / "notes.txt").write_bytes(b"\x80\x04.")
    with pytest.raises(SeveralError) as caught:
        refuse_unsafe(take_snapshot(tmp_path, "models/x"))
    for part in (
        "run.py: code",
        "weights.gguf: GGUF",
        "old.bin: this format",
        "a.json: auto_map",
        "notes.txt: a pickle",
    ):
        assert part in str(caught.value)


def test_of_a_file_without_its_content_the_keys_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": CODE}))
    snapshot = take_snapshot(tmp_path, "models/x")
    refuse_unsafe(replace(snapshot, headers_only=frozenset({"config.json"})))
    with pytest.raises(ArtifactError):
        refuse_unsafe(snapshot)


CODE_NAMES = ["a.py", "a.pyc", "a.pyo", "a.pyd", "a.so", "a.dll", "a.dylib", "a.exe"]
PICKLES = [
    "a.bin",
    "a.pt",
    "a.pth",
    "a.ckpt",
    "a.pkl",
    "a.pickle",
    "a.joblib",
    "a.npy",
    "a.npz",
    "a.distcp",
    "a.nemo",
    "a.mar",
]
OTHERS = [
    *("a.gguf", "a.ggml", "a.llamafile", "a.onnx", "a.onnx_data", "a.tflite", "a.pb", "a.h5", "a.keras", "a.msgpack"),
    *("a.ot", "a.mlmodel", "a.pte", "a.engine", "a.plan"),
]


@pytest.mark.parametrize("name", [*CODE_NAMES, *PICKLES, *OTHERS])
def test_names_that_no_snapshot_may_hold(name: str) -> None:
    assert is_refused(name)
    assert is_refused(f"deep/{name.upper()}")
    assert not is_refused(f"{name}x")
    assert not is_refused(name.removeprefix("a."))
