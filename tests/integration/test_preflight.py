"""``ftgate check``: everything that would stop a run, said at once, soon, and without any inference library."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.world import TEMPLATE, World, write_adapter, write_full, write_rows
from support.zoo import BAD_ADAPTERS, BAD_FULL, MERGED, Change, put

from ftgate.cli.main import main
from ftgate.preflight.findings import Prompts
from ftgate.preflight.unfit import unfit_suites

SECONDS = 2.0
ZOO: dict[str, tuple[Any, Change, list[str]]] = {
    **{f"full: {case}": (write_full, *found) for case, found in BAD_FULL.items()},
    **{f"adapter: {case}": (write_adapter, *found) for case, found in BAD_ADAPTERS.items()},
}


def submit(world: World, write: Any, change: Change) -> Path:
    folder: Path = write(world.root / "models" / "x", seed=5)
    change(folder)
    world.manifest["candidate"]["source"] = "models/x"
    world.save()
    return folder


def command(world: World) -> list[str]:
    return ["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)]


def check(world: World, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main([*command(world), *more])
    said = capsys.readouterr()
    return int(left.value.code or 0), said.err if not more else said.out


def main_output(world: World, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        main(command(world))
    return capsys.readouterr().out


def found(world: World, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    world.save()
    document: dict[str, Any] = json.loads(check(world, capsys, "--json")[1])
    return document


def test_the_zoo_is_large_enough() -> None:
    assert len(ZOO) >= 30


@pytest.fixture
def small(world: World) -> World:
    """The world with twenty rows in each suite: what is wrong with a model's files does not depend on them."""
    for path in (world.root / "evals").iterdir():
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:20]))
    return world


@pytest.mark.parametrize("case", ZOO)
def test_the_zoo_is_refused_soon_each_with_its_own_message(
    case: str, small: World, capsys: pytest.CaptureFixture[str]
) -> None:
    write, change, named = ZOO[case]
    submit(small, write, change)
    started = time.process_time()
    code, said = check(small, capsys)
    assert time.process_time() - started < SECONDS
    assert code == 2
    for part in named:
        assert part in " ".join(said.split()), said
    assert "what to do:" in said


SCRIPT = """
import sys, time
from ftgate.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as left:
    loaded = {"torch", "vllm", "transformers", "peft"} & set(sys.modules)
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print("\\n@", left.code, sorted(loaded), time.process_time(), int(peak.split()[1]) << 10)
"""


def alone(world: World, *more: str) -> tuple[int, str, float, int, str]:
    """Exit code, inference libraries loaded, processor seconds, peak bytes and words of a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", SCRIPT, *command(world), *more]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    said, _, facts = done.stdout.rpartition("\n@ ")
    code, loaded, seconds, peak = facts.split()
    return int(code), loaded, float(seconds), int(peak), said + done.stderr


@pytest.mark.parametrize("case", ["full: pickle by content", "adapter: another width", "adapter: CorDA"])
def test_no_inference_library_is_loaded(case: str, world: World) -> None:
    write, change, named = ZOO[case]
    submit(world, write, change)
    code, loaded, seconds, _, said = alone(world)
    assert (code, loaded) == (2, "[]")
    assert seconds < SECONDS
    assert all(part in " ".join(said.split()) for part in named)


LLAMA_70B = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128_256,
    "max_position_embeddings": 131_072,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}


def write_70b(folder: Path) -> Path:
    """A repository of 70 billion parameters: true headers, and files of the true size with one number a tensor."""
    write_full(folder)
    (folder / "model.safetensors").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | LLAMA_70B))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] = {f"t{i}": i for i in range(128_256)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    places: dict[str, str] = {}
    shards: list[dict[str, list[int]]] = [
        {"model.embed_tokens.weight": [128_256, 8192], "lm_head.weight": [128_256, 8192]}
    ]
    for layer in range(80):
        at = f"model.layers.{layer}."
        shapes = {f"{at}self_attn.{p}_proj.weight": [8192 if p in "qo" else 1024, 8192] for p in "qkvo"}
        shapes |= {f"{at}mlp.{p}_proj.weight": [28672, 8192] for p in ("gate", "up")}
        shapes |= {f"{at}mlp.down_proj.weight": [8192, 28672], f"{at}input_layernorm.weight": [8192]}
        shapes |= {f"{at}post_attention_layernorm.weight": [8192]}
        if layer % 3 == 0:
            shards.append({})
        shards[-1] |= shapes
    shards[-1]["model.norm.weight"] = [8192]
    for number, shapes in enumerate(shards):
        name = f"model-{number:05}.safetensors"
        places |= dict.fromkeys(shapes, name)
        _sparse(folder / name, shapes)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


def _sparse(path: Path, shapes: dict[str, list[int]]) -> None:
    at, header = 0, {}
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for entry in header.values():
            file.seek(8 + len(text) + entry["data_offsets"][0])
            file.write(b"\x80\x3f")  # 1.0
        file.truncate(8 + len(text) + at)


def write_70b_adapter(folder: Path) -> Path:
    write_adapter(folder, rank=2)
    rng = np.random.default_rng(0)
    sizes = {"q": 8192, "k": 1024, "v": 1024, "o": 8192}
    tensors = {
        f"base_model.model.model.layers.{layer}.self_attn.{p}_proj.lora_{side}.weight": rng.normal(
            size=(2, 8192) if side == "A" else (out, 2)
        ).astype(np.float16)
        for layer in range(80)
        for p, out in sizes.items()
        for side in "AB"
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    config["target_modules"] = [f"{p}_proj" for p in sizes]
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_70_billion_parameters_are_looked_at_in_seconds_and_little_memory(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = write_70b(world.root / "models" / "large")
    write_70b_adapter(world.root / "models" / "x")
    with_gpus(monkeypatch, world.root, 80, 80, 80, 80)
    world.manifest |= {"base": {"source": "models/large"}, "candidate": {"source": "models/x"}}
    world.policy["engine"] = {"kind": "vllm", "tensor_parallel_size": 4}
    world.policy["judge"]["engine"] = {"kind": "scripted"}
    world.save()
    assert sum(path.stat().st_size for path in base.iterdir()) > 140 * 10**9
    code, loaded, seconds, peak, said = alone(world, "--json")
    document = json.loads(said)
    assert (code, loaded) == (0, "[]"), document["problems"]
    assert seconds < 5
    assert peak < 300 << 20
    assert document["models"]["base"]["parameters"] == 70_553_706_496
    assert document["models"]["base"]["digest"] == "", "140 GB are not read by a preflight"
    assert document["plan"]["kind"] == "one_engine"


@pytest.mark.parametrize("case", MERGED)
def test_what_is_merged_is_planned_and_said(case: str, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    change, reason = MERGED[case]
    submit(world, write_adapter, change)
    document = found(world, capsys)
    assert document["ok"], document["problems"]
    assert document["plan"]["kind"] == "merge"
    assert any(reason in said for said in document["plan"]["reasons"])
    assert document["disk"]["needed"] > document["models"]["base"]["weight_bytes"]


@pytest.mark.parametrize(
    ("allowed", "named", "refused"),
    [
        ([], ["LlamaForCausalLM"], False),
        (["Qwen*", "Llama*"], ["LlamaForCausalLM"], False),
        (["Qwen*"], ["LlamaForCausalLM"], True),
        (["Llama*LM"], ["LlamaForCausalLM", "MadeUpForCausalLM", "Other"], True),
        (["Llama*"], [], True),
    ],
)
def test_the_policy_says_which_architectures_may_run(
    world: World, capsys: pytest.CaptureFixture[str], allowed: list[str], named: list[str], refused: bool
) -> None:
    world.policy["artifacts"]["architectures"] = allowed
    submit(world, write_full, put("config.json", {"architectures": named}))
    said = [problem["message"] for problem in found(world, capsys)["problems"]]
    assert any("the policy does not allow the architecture" in message for message in said) is refused


def test_all_that_is_wrong_is_said_in_one_go(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    submit(world, write_adapter, ZOO["adapter: CorDA"][1])
    (world.root / "models" / "base" / "config.json").write_text("{")
    (world.root / "evals" / "target.jsonl").write_text("{")
    world.manifest["training_data"]["source"] = "evals/none.jsonl"
    del world.policy["judge"]
    world.save()
    code, said = check(world, capsys)
    assert code == 2
    for part in (
        "5 problems",
        "config.json: not valid JSON",
        "corda",
        "target.jsonl:1",
        "none.jsonl",
        "no judge section",
    ):
        assert part in said
    document = found(world, capsys)
    assert not document["ok"]
    assert len(document["problems"]) == 5
    assert all(problem["hint"] for problem in document["problems"])


def test_the_keys_of_the_json_are_stable(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    document = found(world, capsys)
    assert document["schema_version"] == "1.0"
    assert document["ok"]
    assert {
        "name",
        "problems",
        "notes",
        "warnings",
        "models",
        "plan",
        "memory",
        "disk",
        "prompts",
        "data",
    } <= document.keys()
    assert document["models"].keys() == {"base", "candidate", "judge"}
    assert {"reference", "kind", "digest", "parameters", "rank", "vocabulary", "template_sha256"} <= (
        document["models"]["base"].keys()
    )
    assert {"suite", "longest", "limit", "too_long", "items"} <= document["prompts"][0].keys()
    assert [d["name"] for d in document["data"]] == ["target", "forgetting", "tail", "calibration", "training data"]


def test_repeated_rows_are_counted(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = world.root / "evals" / "target.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()][:30]
    write_rows(path, [{**row, "id": f"{row['id']} {i}"} for i in range(4) for row in rows])
    document = found(world, capsys)
    data = document["data"][0]
    assert (data["name"], data["rows"], data["repeats"]) == ("target", 30, 90)
    (note,) = [note for note in document["notes"] if "repeat another one" in note]
    assert note.startswith("measurements.target: 90 rows repeat another one and are left out (lines 31, 32, 33 and 87")
    assert note.endswith(f"more of `{data['source']}`); 30 are asked")


def with_gpus(monkeypatch: pytest.MonkeyPatch, folder: Path, *gigabytes: int) -> None:
    """A driver's tool that reports such GPUs."""
    lines = "".join(f"{n}, GPU-{n}, NVIDIA H100, {size * 1024}\n" for n, size in enumerate(gigabytes))
    tool = folder / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    (folder / "bin" / "lines").write_text(lines)
    tool.write_text(f"#!/bin/sh\ncat {folder / 'bin' / 'lines'}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("gpus", "split", "problem"),
    [
        ((80,), 1, "engine.tensor_parallel_size 2 would fit"),
        ((80, 80, 80, 80), 4, ""),
        ((80, 80), 4, "engine.tensor_parallel_size is 4, and this machine has 2 GPUs"),
        ((80, 80, 80), 3, "does not divide its 64 attention heads"),
        ((8, 8), 2, "use larger GPUs"),
    ],
)
def test_memory_is_held_against_the_gpus(
    gpus: tuple[int, ...],
    split: int,
    problem: str,
    world: World,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_gpus(monkeypatch, world.root, *gpus)
    write_70b(world.root / "models" / "large")
    write_70b_adapter(world.root / "models" / "x")
    world.manifest |= {"base": {"source": "models/large"}, "candidate": {"source": "models/x"}}
    world.policy["engine"] = {"kind": "vllm", "tensor_parallel_size": split}
    world.policy["judge"]["engine"] = {"kind": "scripted"}
    document = found(world, capsys)
    said = " ".join(p["message"] + p["hint"] for p in document["problems"])
    assert problem in said if problem else not document["problems"]
    assert document["memory"]["weights"] == 2 * 70_553_706_496
    assert document["memory"]["cache"] == 2 * 80 * 8 * 128 * 2 * 4096
    adapter = document["models"]["candidate"]
    slots = 2  # the candidate's and that of zeros, each of the smallest rank that vLLM has
    assert document["memory"]["adapter"] == slots * adapter["parameters"] * 2 * 8 // adapter["rank"]
    assert document["memory"]["device"] == f"{min(split, len(gpus))} x NVIDIA H100"


def test_full_weights_take_turns_where_a_gpu_holds_one_of_them(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_gpus(monkeypatch, world.root, 160, 160)
    write_70b(world.root / "models" / "large")
    tuned = write_70b(world.root / "models" / "x")
    (tuned / "generation_config.json").write_text("{}")
    world.manifest |= {"base": {"source": "models/large"}, "candidate": {"source": "models/x"}}
    world.policy["engine"] = {"kind": "vllm", "tensor_parallel_size": 2}
    world.policy["judge"]["engine"] = {"kind": "scripted"}
    document = found(world, capsys)
    assert document["ok"], document["problems"]
    assert document["plan"]["kind"] == "in_turn"
    assert (document["plan"]["starts"], document["plan"]["words"].split("; ")[-1]) == (3, "the judge runs beside them")
    sampled = "models/x: only the first 64 KiB of each tensor were searched for NaN, infinity and zeros"
    assert any(sampled in note for note in document["notes"])


@pytest.mark.parametrize(
    ("gpus", "judge", "where"),
    [
        ((480,), {}, "the judge runs beside them"),
        ((240,), {}, "the judge takes their place once they have answered everything"),
        ((240, 240), {"devices": [1]}, "the judge runs beside them"),
    ],
)
def test_the_starts_of_a_run_are_said_with_about_how_long_they_take(
    world: World,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    gpus: tuple[int, ...],
    judge: dict[str, Any],
    where: str,
) -> None:
    with_gpus(monkeypatch, world.root, *gpus)
    tuned = write_70b(world.root / "models" / "grader")
    (tuned / "generation_config.json").write_text("{}")
    write_70b(world.root / "models" / "large")
    write_70b_adapter(world.root / "models" / "x")
    world.manifest |= {"base": {"source": "models/large"}, "candidate": {"source": "models/x"}}
    world.policy["engine"] = {"kind": "vllm"}
    world.policy["judge"] |= {"source": "models/grader", "allow_self": True, "engine": {"kind": "vllm", **judge}}
    document = found(world, capsys)
    assert document["plan"]["words"].endswith(where)
    assert document["plan"]["starts"] == 2
    assert document["plan"]["start_seconds"] == pytest.approx(120 + 4 * 70_553_706_496 / 2**30, abs=1)
    printed = " ".join(main_output(world, capsys).split())
    assert "starts: 2 engines, each once: about 6 min" in printed


def test_prompts_that_are_too_long_are_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = world.root / "evals" / "target.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[7]["prompt"] = "t1 " * 1200
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    document = found(world, capsys)
    assert document["ok"]
    (note,) = [note for note in document["notes"] if "too long" in note]
    assert "1 of 200 prompts" in note
    assert rows[7]["id"] in note
    for number, row in enumerate(rows[:20]):
        row["prompt"] = "t1 " * 1200 + f"t{number}"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (problem,) = found(world, capsys)["problems"]
    assert "measurements.target: 20 of 200 prompts are too long for a context of 1,024 tokens" in problem["message"]


@pytest.mark.parametrize(
    ("limit", "named"),
    [(None, "4,096 tokens (engine.max_model_len, the default)"), (3000, "3,000 tokens (engine.max_model_len)")],
)
def test_a_context_below_the_models_own_says_what_sets_it(
    limit: int | None, named: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    config = world.root / "models" / "base" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_position_embeddings": 8192}))
    rows = [{**row, "id": f"r{i}", "prompt": "t1 " * 5000 + f"t{i}"} for i, row in enumerate(ROWS[:200])]
    write_rows(world.root / "evals" / "target.jsonl", rows)
    world.policy["engine"] |= {"max_model_len": limit} if limit else {}
    (problem,) = found(world, capsys)["problems"]
    assert f"too long for a context of {named};" in problem["message"]
    assert "raise engine.max_model_len (at most 8,192, the model's own context)" in problem["hint"]
    prompts = Prompts("tools", "base", 5000, "r1", 4096, 23, 120, "engine.max_model_len, the default", 8192)
    assert unfit_suites({"tools": {"dataset": "builtin:tools-120"}}, {"tools": prompts}) == {
        "tools": "23 of 120 prompts of builtin:tools-120 do not fit into a context of 4,096 tokens "
        "(engine.max_model_len, the default); raise engine.max_model_len (at most 8,192, the model's own context)"
    }


def test_differences_in_how_text_is_read_are_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    folder = submit(world, write_full, lambda _: None)
    config = {"chat_template": f"hello {TEMPLATE}", "eos_token": {"content": "</s>"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["more"] = 32
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    document = found(world, capsys)
    notes = " ".join(document["notes"])
    for part in ("the tokenizer's files", "the chat template (sha256", "eos_token ('none' and '</s>')"):
        assert part in notes
    (problem,) = document["problems"]
    assert problem["message"] == "models/x: the tokenizer has 33 tokens, the model 32 embeddings"


def test_a_measurement_that_can_never_pass_is_warned_of_in_rows(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found(world, capsys)["warnings"] == []
    rows = [{"id": f"q{i}", "prompt": f"query {i}", "answer": "x"} for i in range(300)]
    write_rows(world.root / "evals" / "queries.jsonl", rows)
    world.policy["measurements"]["tail"] |= {"scorer": "judge"}
    world.policy["measurements"]["forgetting"] |= {"n": 90}
    document = found(world, capsys)
    assert document["ok"], "a run can still block"
    assert document["warnings"] == [
        "measurements.forgetting can never pass: it has 90 rows, and a pass needs at least 100 that a judge grades; "
        "raise n to 100",
        "measurements.tail can never pass: it has 60 of its 300 rows in the tail, and a pass needs at least 100 that a "
        "judge grades; give it 500 rows, or take the suite from `ftgate tail build`, whose rows all count as tail",
    ]
    assert main_output(world, capsys).count("warning:") == 2


@pytest.mark.parametrize(
    ("config", "noted"),
    [
        (
            {"target_modules": ["q_proj", "k_proj", "up_proj"]},
            "covers 2 modules of the base that the weights lack",
        ),
        ({"target_modules": "all-linear"}, "covers 6 modules of the base that the weights lack"),
        ({"target_modules": ["q_proj"]}, ""),
        ({"target_modules": ["q_proj", "k_proj"], "modules_to_save": ["k_proj"]}, ""),
    ],
)
def test_modules_that_an_adapter_says_it_has_and_lacks_are_noted(
    config: dict[str, Any], noted: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    path = world.root / "models" / "bot" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    document = found(world, capsys)
    assert not document["problems"]
    notes = [note for note in document["notes"] if "weights lack" in note]
    assert [noted in note for note in notes] == ([True] if noted else [])


def test_a_quantised_base_takes_no_merge(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    submit(world, write_adapter, MERGED["DoRA"][0])
    path = world.root / "models" / "base" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": {"quant_method": "gptq"}}))
    (problem,) = found(world, capsys)["problems"]
    assert "must be merged (use_dora" in problem["message"]
    assert "quantised (gptq)" in problem["message"]


def test_a_cache_too_small_for_one_prompt_is_named_on_a_cpu(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ftgate.preflight.fit.on_cpu", lambda: True)
    write_70b(world.root / "models" / "large")
    write_70b_adapter(world.root / "models" / "x")
    world.manifest |= {"base": {"source": "models/large"}, "candidate": {"source": "models/x"}}
    world.policy["engine"] = {"kind": "vllm"}
    document = found(world, capsys)
    (problem,) = [p for p in document["problems"] if "cache" in p["message"]]
    assert "engine's cache holds 409 tokens, less than engine.max_model_len 4,096" in problem["message"]
    adapter, slots = document["models"]["candidate"], 3  # with the one that vLLM has to spare on a CPU
    assert document["memory"]["adapter"] == slots * adapter["parameters"] * 4 * 8 // adapter["rank"]


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"tensor_parallel_size": 3}, "tensor_parallel_size 3 does not divide its"),
        ({"pipeline_parallel_size": 2}, "pipeline_parallel_size is 2, which vLLM does not do on a CPU"),
    ],
)
def test_what_vllm_cannot_split_on_a_cpu_is_refused_before_a_start(
    knobs: dict[str, int],
    words: str,
    world: World,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ftgate.preflight.fit.on_cpu", lambda: True)
    world.policy["engine"] = {"kind": "vllm", "max_model_len": 256, **knobs}
    world.policy["judge"]["engine"] = {"kind": "scripted"}
    messages = [problem["message"] for problem in found(world, capsys)["problems"]]
    assert [words in message for message in messages].count(True) == 1, messages


def test_no_tokenizer_that_can_be_read_is_a_note(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (world.root / "models" / "base" / "tokenizer.json").write_text("{}")
    document = found(world, capsys)
    assert any("prompts are not counted" in note for note in document["notes"])
    assert document["prompts"] == []


@pytest.mark.engine
def test_an_embedding_model_is_tried(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_full(world.root / "models" / "encoder", seed=3)
    world.policy["measurements"]["tail"]["embedding"] = {"source": "models/encoder"}
    assert found(world, capsys)["problems"] == []
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "newest"}))
    (problem,) = found(world, capsys)["problems"]
    assert problem["message"].startswith("sentence-transformers could not load models/encoder: ValueError: ")


ROWS = [{"prompt": f"ticket {i} of {i % 9}", "choices": ["a", "b"], "answer": "ab"[i % 2]} for i in range(520)]


@pytest.mark.parametrize("copied", [False, True], ids=["the same file", "the same rows in another form"])
def test_a_suite_that_was_trained_on_is_refused(world: World, copied: bool, capsys: pytest.CaptureFixture[str]) -> None:
    suite = write_rows(world.root / "evals" / "target.jsonl", ROWS)
    messages = [[{"role": "user", "content": row["prompt"].upper() + " "}] for row in ROWS]
    copy = write_rows(world.root / "evals" / "copy.jsonl", [{"messages": turns} for turns in messages])
    world.manifest["training_data"] = {"source": str((copy if copied else suite).relative_to(world.root))}
    world.save()
    code, said = check(world, capsys)
    words = " ".join(said.split())
    assert code == 2
    assert "measurements.target: all of its 520 rows are in the training data (evals/" in words
    assert "name rows that the candidate was not trained on" in words
    assert "measurements.calibration" not in words


def test_rows_that_were_trained_on_do_not_count_towards_the_least(world: World) -> None:
    write_rows(world.root / "evals" / "choices.jsonl", ROWS)
    write_rows(world.root / "evals" / "train.jsonl", [{"prompt": row["prompt"]} for row in ROWS[:60]])
    world.save()
    result = json.loads(alone(world, "--json")[4])
    (warning,) = [w for w in result["warnings"] if "in the training data" in w]
    assert warning.startswith(
        "measurements.calibration: 60 of its 520 rows are in the training data and do not count; without them: "
        "measurements.calibration can never pass: it has 460 rows, and a pass needs at least 500"
    )
    write_rows(world.root / "evals" / "train.jsonl", [{"prompt": row["prompt"]} for row in ROWS[:9]])
    result = json.loads(alone(world, "--json")[4])
    assert "measurements.calibration: 9 of its 520 rows are in the training data and do not count" in result["notes"]


def test_the_tasks_own_rows_do_not_show_what_was_forgotten(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.policy["measurements"]["forgetting"] = {**world.policy["measurements"]["target"], "block_drop": 0.1}
    world.policy["measurements"]["forgetting"].pop("min_gain", None)
    world.save()
    code, said = check(world, capsys)
    assert code == 2
    assert "measurements.forgetting asks the rows of measurements.target" in " ".join(said.split())


@pytest.mark.parametrize(("distinct", "code"), [(1, 2), (5, 0)])
def test_a_task_of_a_few_rows_is_not_called_ready(
    distinct: int, code: int, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{**ROWS[i % distinct], "id": f"row{i}"} for i in range(300 if distinct == 1 else distinct)]
    write_rows(world.root / "evals" / "target.jsonl", rows)
    with pytest.raises(SystemExit) as left:
        main(command(world))
    shown = capsys.readouterr()
    assert left.value.code == code
    if code:
        assert "measurements.target can neither pass nor block: it has 1 row" in " ".join(shown.err.split())
        return
    assert "measurements.target can hardly pass: it has 5 rows" in " ".join(shown.out.split())
    end = "bot: would run, and hardly allow: too few rows to pass: target; an allow would say nothing of safety, tools"
    assert " ".join(shown.out.split()).endswith(end)


def test_the_closing_line_names_of_what_an_allow_says_nothing(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    del world.policy["measurements"]["target"], world.policy["measurements"]["tail"]
    world.save()
    shown = " ".join(main_output(world, capsys).split())
    assert shown.endswith("bot: ready to run; an allow would say nothing of target, safety, tools, tail")


@pytest.mark.parametrize(("unread", "code"), [(3, 0), (4, 0), (59, 0), (61, 2)])
def test_training_data_that_are_mostly_unread_protect_nothing(
    unread: int, code: int, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": f"ticket {i}"} for i in range(60)] + [{"prompt": ""}] * unread
    write_rows(world.root / "evals" / "train.jsonl", rows)
    document = found(world, capsys)
    said = f"training data (evals/train.jsonl): {unread} of {60 + unread} rows have no user text"
    assert [said in problem["message"] for problem in document["problems"]] == [True] * (code > 0)
    assert any(said in warning for warning in document["warnings"]) == (unread in (4, 59))


def test_a_manifest_that_no_glob_of_the_policy_matches_is_warned_of(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    (world.root / ".git").mkdir()
    world.policy["manifests"] = ["other/*.yaml"]
    assert any(w.startswith("bot.yaml matches none") for w in chdired(world, capsys)), "it stands at the top"
    world.policy["manifests"] = ["other/*.yaml", "*.yaml"]
    assert chdired(world, capsys) == []


def chdired(world: World, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The warnings, as seen from the top of the repository."""
    with contextlib.chdir(world.root):
        warnings: list[str] = found(world, capsys)["warnings"]
    return warnings


def test_one_file_for_two_measurements_is_warned_of(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    queries = (world.root / "evals" / "queries.jsonl").read_text()
    (world.root / "evals" / "target.jsonl").write_text(queries)
    (warning,) = found(world, capsys)["warnings"]
    assert warning.startswith("measurements.target and measurements.tail ask the same rows (evals/target.jsonl)")


def test_weights_that_are_the_bases_are_warned_of(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_full(world.root / "models" / "x") / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "torch_dtype": "float32"}))
    world.manifest["candidate"]["source"] = "models/x"
    (warning,) = found(world, capsys)["warnings"]
    assert warning.startswith("models/x: the same weights as the base, byte for byte")
    write_full(world.root / "models" / "y", seed=5)
    world.manifest["candidate"]["source"] = "models/y"
    assert found(world, capsys)["warnings"] == []
