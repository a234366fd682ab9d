"""Which engine settings are written for a machine, and which models are taken for what."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.world import write_adapter, write_full

from ftgate.config.engine import EngineSettings
from ftgate.preflight.hardware import Gpu, Machine
from ftgate.setup.contents import look_into
from ftgate.setup.draft import default_answers
from ftgate.setup.engine import engine_for, machine_in_words
from ftgate.setup.model_folders import read_model_folder

GIB = 1 << 30
CPU = Machine((), 64 * GIB)


def model(folder: Path, *, gib: float = 0.001, context: int = 32768, dtype: str = "bfloat16") -> Path:
    folder.mkdir(parents=True)
    config = {"model_type": "llama", "max_position_embeddings": context, "dtype": dtype}
    (folder / "config.json").write_text(json.dumps(config))
    size = int(gib * GIB)
    header = json.dumps({"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)  # sparse
    return folder


def adapter(folder: Path, base: str, changed: float) -> Path:
    write_adapter(folder, base_model_name_or_path=base)
    os.utime(folder / "adapter_config.json", (changed, changed))
    return folder


@pytest.mark.parametrize(
    ("gpus", "gib", "expected"),
    [
        ([("NVIDIA H100 80GB HBM3", 80)], 15, {"dtype": "bfloat16"}),
        ([("NVIDIA L4", 24)] * 2, 15, {"dtype": "bfloat16"}),
        ([("NVIDIA L4", 24)] * 8, 60, {"dtype": "bfloat16", "tensor_parallel_size": 4}),
        ([("NVIDIA L4", 24)] * 3, 60, {"dtype": "bfloat16", "tensor_parallel_size": 2}),
        ([("Tesla T4", 16)], 3, {"dtype": "float16"}),
        ([], 15, {"dtype": "bfloat16"}),
    ],
)
def test_weights_are_split_across_as_few_gpus_as_hold_them(
    tmp_path: Path, gpus: list[tuple[str, int]], gib: float, expected: dict
) -> None:
    machine = Machine(tuple(Gpu(name, memory * GIB) for name, memory in gpus), 64 * GIB)
    base = read_model_folder(model(tmp_path / "base", gib=gib))
    engine = engine_for("gpu", machine, base, has_vllm=True)
    assert engine == {"kind": "vllm", "max_model_len": 4096, **expected}
    EngineSettings.model_validate(engine)


@pytest.mark.parametrize(
    ("has_vllm", "gib", "expected"),
    [
        (True, 1, {"kind": "vllm", "dtype": "float32"}),
        (False, 1, {"kind": "transformers", "dtype": "float32"}),
        (True, 15, {"kind": "vllm", "dtype": "bfloat16"}),
    ],
)
def test_a_cpu_gets_settings_that_it_has_the_memory_for(
    tmp_path: Path, has_vllm: bool, gib: float, expected: dict
) -> None:
    base = read_model_folder(model(tmp_path / "base", gib=gib, context=2048))
    assert engine_for("cpu", CPU, base, has_vllm=has_vllm) == {**expected, "max_model_len": 2048}


def test_the_machine_is_named_in_a_few_words() -> None:
    gpu = Gpu("NVIDIA H200", 141_000_000_000)
    assert machine_in_words(Machine((gpu, gpu), 10**12)) == "2 × NVIDIA H200 (141.0 GB), 1.0 TB of memory"
    assert machine_in_words(Machine((gpu, Gpu("NVIDIA L4", 24 * 10**9)), 10**12)).startswith(
        "NVIDIA H200 (141.0 GB), N"
    )
    assert machine_in_words(Machine((), 10**9)) == "no GPU, 1.0 GB of memory"


def test_the_newest_adapter_of_the_base_is_the_candidate_and_a_name_tells_the_judge(tmp_path: Path) -> None:
    write_full(tmp_path / "base-7b")
    for name in ("other", "judge"):
        model(tmp_path / name)
    adapter(tmp_path / "run" / "checkpoint-1000", "acme/base-7b", 100)
    adapter(tmp_path / "run" / "checkpoint-900", "acme/base-7b", 100)
    adapter(tmp_path / "run" / "old", "acme/base-7b", 50)
    answers = default_answers(look_into(tmp_path), CPU)
    taken = [Path(path).name for path in (answers.base, answers.candidate, answers.judge)]
    assert taken == ["base-7b", "checkpoint-1000", "judge"]
    assert (answers.name, answers.device) == ("run-checkpoint-1000", "cpu")
    write_adapter(tmp_path / "run" / "wide", hidden=64, base_model_name_or_path="acme/base-7b")  # newer, and no fit
    contents = look_into(tmp_path)
    assert Path(default_answers(contents, CPU).candidate).name == "checkpoint-1000"
    assert [path.name for path in contents.passed_over] == ["wide"]


def test_an_adapter_whose_base_is_elsewhere_is_a_candidate_and_has_no_base(tmp_path: Path) -> None:
    adapter(tmp_path / "bot", "acme/base-7b", 1)
    answers = default_answers(look_into(tmp_path), CPU)
    assert (answers.base, Path(answers.candidate).name, answers.has_models) == ("", "bot", False)


def test_of_two_models_none_is_taken_for_the_base(tmp_path: Path) -> None:
    model(tmp_path / "one")
    model(tmp_path / "two")
    assert default_answers(look_into(tmp_path), CPU).base == ""
