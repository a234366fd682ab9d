"""A zoo of artifacts: each bad one has its own message."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.world import base_tensors, write_adapter, write_full

from ftgate.artifacts.digest import take_snapshot
from ftgate.artifacts.open import memory_estimate, open_model, require_finite
from ftgate.domain import Model
from ftgate.errors import ArtifactError, ControlError

Change = Callable[[Path], object]


@pytest.fixture
def base(tmp_path: Path) -> Model:
    return open_model("base", take_snapshot(write_full(tmp_path / "base"), "models/base"), None)


def opened(folder: Path, base: Model | None) -> Model:
    return open_model("bot", take_snapshot(folder, "models/x"), base)


def refusal(folder: Path, base: Model | None) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        opened(folder, base)
    assert caught.value.message.startswith("models/x: ")
    assert caught.value.hint
    assert caught.value.exit_code == 2
    return caught.value


def put(name: str, content: bytes | str | dict[str, Any]) -> Change:
    """Write a file; JSON objects are merged into what is there."""

    def change(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(content, dict):
            known = json.loads(path.read_text()) if path.exists() else {}
            path.write_text(json.dumps(known | content))
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    return change


def drop(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def torch_zip(name: str, inside: str = "archive/data.pkl") -> Change:
    def change(folder: Path) -> None:
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(inside, "x")

    return change


def config_without(key: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != key}))

    return change


BAD_FULL: dict[str, tuple[Change, list[str]]] = {
    "pytorch weights": (put("pytorch_model.bin", b""), ["pytorch_model.bin", "can run code", "safetensors"]),
    "weights in capitals": (put("MODEL.PT", b""), ["MODEL.PT", "can run code"]),
    "left by the trainer": (put("training_args.bin", b""), ["training_args.bin (left by the trainer)"]),
    "deep checkpoint": (put("old/model.ckpt", b""), ["old/model.ckpt"]),
    "pickle by content": (put("weights.dat", pickle.dumps([1])), ["weights.dat: a pickle by its content"]),
    "pickle as text": (put("notes.txt", pickle.dumps({}, 2)), ["notes.txt: a pickle by its content"]),
    "pickle as safetensors": (put("model.safetensors", pickle.dumps([1] * 99)), ["a pickle by its content"]),
    "archive by content": (torch_zip("weights"), ["weights: a PyTorch archive by its content"]),
    "broken archive": (put("x.json", b"PK\x03\x04junk"), ["x.json: a damaged archive by its content"]),
    "python": (put("modeling_x.py", "x"), ["modeling_x.py: code in a model snapshot"]),
    "deep python": (put("a/b.PY", "x"), ["a/b.PY: code"]),
    "native library": (put("ops.so", "x"), ["ops.so: code"]),
    "remote code": (put("config.json", {"auto_map": {"AutoModel": "x.Y"}}), ["config.json: auto_map asks for code"]),
    "remote tokenizer": (put("tokenizer_config.json", {"auto_map": {"a": "b"}}), ["tokenizer_config.json: auto_map"]),
    "deep remote code": (put("config.json", {"a": [{"auto_map": {"x": 1}}]}), ["config.json: a.0.auto_map"]),
    "no config": (drop("config.json"), ["neither config.json nor adapter_config.json", "model.safetensors"]),
    "config that is a list": (put("config.json", "[]"), ["config.json: expected an object"]),
    "broken config": (put("config.json", "{"), ["config.json: not valid JSON"]),
    "no weights": (drop("model.safetensors"), ["full weights without model.safetensors"]),
    "no tensors": (lambda f: save_file({}, f / "model.safetensors"), ["hold no tensors"]),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1]),
        ["model.safetensors: not a whole safetensors file", "cut short"],
    ),
    "no tokenizer": (drop("tokenizer.json"), ["no tokenizer"]),
    "no template": (put("tokenizer_config.json", {"chat_template": None}), ["no chat template", "jinja"]),
    "no template at all": (drop("tokenizer_config.json"), ["no chat template"]),
}


@pytest.mark.parametrize("case", BAD_FULL)
def test_bad_full_weights(tmp_path: Path, case: str) -> None:
    change, named = BAD_FULL[case]
    folder = write_full(tmp_path / "x")
    change(folder)
    error = refusal(folder, None)
    for part in named:
        assert part in str(error)


def rewritten(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Change:
    def rewrite(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        save_file(change(load_file(path)), path)

    return rewrite


def renamed(old: str, new: str) -> Change:
    return rewritten(lambda tensors: {name.replace(old, new): value for name, value in tensors.items()})


def adapting(**fields: Any) -> Change:
    return put("adapter_config.json", fields)


PREFIX = "base_model.model."
LAYER = "model.layers.0.self_attn."
BAD_ADAPTERS: dict[str, tuple[Change, list[str]]] = {
    "another method": (adapting(peft_type="LOHA"), ["peft_type is 'LOHA', not LORA"]),
    "no method": (config_without("peft_type"), ["peft_type is None"]),
    "DoRA": (adapting(use_dora=True), ["use_dora"]),
    "DoRA by its tensors": (
        rewritten(lambda t: t | {f"{PREFIX}{LAYER}q_proj.lora_magnitude_vector": np.ones(8)}),
        ["lora_magnitude_vector: a magnitude of DoRA"],
    ),
    "LoRA bias": (adapting(lora_bias=True), ["lora_bias"]),
    "bias": (adapting(bias="all"), ["bias is 'all'"]),
    "modules to save": (adapting(modules_to_save=["lm_head"]), ["modules_to_save ['lm_head']"]),
    "layer replication": (adapting(layer_replication=[[0, 1]]), ["layer_replication"]),
    "tokens": (adapting(trainable_token_indices=[1]), ["trainable_token_indices"]),
    "parameters": (adapting(target_parameters=["experts.w"]), ["target_parameters ['experts.w']"]),
    "aLoRA": (adapting(alora_invocation_tokens=[1]), ["alora_invocation_tokens"]),
    "QALoRA": (adapting(use_qalora=True), ["use_qalora"]),
    "BD-LoRA": (adapting(use_bdlora={"a": 1}), ["use_bdlora"]),
    "KaSA": (adapting(kasa_config={"a": 1}), ["kasa_config"]),
    "Arrow": (adapting(arrow_config={"a": 1}), ["arrow_config"]),
    "MonteCLoRA": (adapting(monteclora_config={"a": 1}), ["monteclora_config"]),
    "PiSSA": (adapting(init_lora_weights="pissa"), ["init_lora_weights is 'pissa'"]),
    "fast PiSSA": (adapting(init_lora_weights="pissa_niter_16"), ["init_lora_weights is 'pissa_niter_16'"]),
    "OLoRA": (adapting(init_lora_weights="olora"), ["init_lora_weights is 'olora'"]),
    "CorDA": (adapting(init_lora_weights="corda"), ["init_lora_weights is 'corda'"]),
    "LoftQ": (adapting(init_lora_weights="loftq"), ["init_lora_weights is 'loftq'"]),
    "no rank": (config_without("r"), ["r is missing"]),
    "no alpha": (config_without("lora_alpha"), ["lora_alpha is missing"]),
    "alpha as text": (adapting(lora_alpha="x" * 500), [f"lora_alpha '{'x' * 79} is not a number"]),
    "alpha that is no number": (adapting(lora_alpha=float("nan")), ["lora_alpha nan is not a number"]),
    "endless alpha": (adapting(lora_alpha=10**400), ["is not a number"]),
    "no targets": (config_without("target_modules"), ["target_modules is missing"]),
    "rank zero": (adapting(r=0), ["rank 0 is not a whole number above 0"]),
    "rank as text": (adapting(r="8"), ["rank '8'"]),
    "huge rank": (adapting(r=1024), ["rank 1024 is above 512"]),
    "huge rank in places": (adapting(rank_pattern={"q_proj": 600}), ["rank 600 is above 512"]),
    "another rank in the weights": (adapting(r=16), ["q_proj has rank 2, but adapter_config.json says 16"]),
    "broken config": (put("adapter_config.json", "{"), ["adapter_config.json: not valid JSON"]),
    "pickled": (put("adapter_model.bin", b""), ["adapter_model.bin"]),
    "no weights": (drop("adapter_model.safetensors"), ["without safetensors weights"]),
    "no tensors": (rewritten(lambda _: {}), ["no tensors", "change nothing"]),
    "full weights beside it": (
        lambda f: save_file(base_tensors(1), f / "model.safetensors"),
        ["an adapter (adapter_config.json) and full weights (model.safetensors)"],
    ),
    "embeddings": (renamed("layers.0.self_attn.q_proj", "embed_tokens"), ["embed_tokens", "embeddings"]),
    "embedding matrices": (
        rewritten(lambda t: t | {f"{PREFIX}model.embed_tokens.lora_embedding_A": np.ones((2, 8))}),
        ["lora_embedding_A", "embeddings"],
    ),
    "output layer": (renamed("model.layers.0.self_attn.q_proj", "lm_head"), ["lm_head", "output layer"]),
    "a whole weight": (
        rewritten(lambda t: t | {f"{PREFIX}model.norm.weight": np.ones(8)}),
        ["model.norm.weight: not a LoRA matrix"],
    ),
    "only A": (rewritten(lambda t: {k: v for k, v in t.items() if "lora_A" in k}), ["q_proj has no lora_B"]),
    "only B": (rewritten(lambda t: {k: v for k, v in t.items() if "lora_B" in k}), ["q_proj has no lora_A"]),
    "A and B of different ranks": (
        rewritten(lambda t: {k: v if "lora_A" in k else np.ones((8, 3), np.float32) for k, v in t.items()}),
        ["lora_A [2, 8] and lora_B [8, 3] do not fit each other"],
    ),
    "vectors": (rewritten(lambda t: {k: v.reshape(-1) for k, v in t.items()}), ["do not fit each other"]),
    "another width": (
        rewritten(lambda t: {k: np.ones((2, 16) if "lora_A" in k else (16, 2), np.float32) for k in t}),
        ["another base", "q_proj.lora_A.weight has shape [2, 16]", f"{LAYER}q_proj.weight has [8, 8]", "models/base"],
    ),
    "another output": (
        rewritten(lambda t: {k: v if "lora_A" in k else np.ones((4, 2), np.float32) for k, v in t.items()}),
        ["another base", "q_proj.lora_B.weight has shape [4, 2]", "[8, 8]"],
    ),
    "more layers": (
        rewritten(lambda t: t | {k.replace("layers.0", "layers.7"): v for k, v in t.items()}),
        ["another base", "no module model.layers.7.self_attn.q_proj (1 of 2 are missing)", "it says base"],
    ),
    "another architecture": (
        renamed("self_attn.q_proj", "attention.query"),
        ["would change nothing", "none of its 1 modules", "attention.query", "nearest is layers.0.self_attn"],
    ),
    "a module that is no matrix": (
        renamed("self_attn.q_proj", "input_layernorm"),
        ["another base", "input_layernorm.weight has [8]"],
    ),
    "all zeros": (
        rewritten(lambda t: {k: v * ("lora_A" in k) for k, v in t.items()}),
        ["zero: the adapter changed nothing"],
    ),
}


@pytest.mark.parametrize("case", BAD_ADAPTERS)
def test_bad_adapters(tmp_path: Path, base: Model, case: str) -> None:
    change, named = BAD_ADAPTERS[case]
    folder = write_adapter(tmp_path / "x")
    change(folder)
    error = refusal(folder, base)
    for part in named:
        assert part in str(error)


def test_what_vllm_cannot_run_is_to_be_merged(tmp_path: Path, base: Model) -> None:
    for n, fields in enumerate([{"use_dora": True}, {"modules_to_save": ["a"]}, {"r": 1024}, {"peft_type": "VERA"}]):
        assert "merge" in refusal(write_adapter(tmp_path / f"x{n}", **{"rank": 2, **fields}), base).hint


FINE: dict[str, Change] = {
    "as it is": lambda _: None,
    "rank-stabilised": adapting(use_rslora=True),
    "patterns": adapting(r=8, rank_pattern={"q_proj": 2}, alpha_pattern={"q_proj": 3}),
    "harmless start": adapting(init_lora_weights="gaussian"),
    "no particular start": adapting(init_lora_weights=False),
    "all linear": adapting(target_modules="all-linear"),
    "what peft writes": adapting(
        auto_mapping={"a": "b"}, modules_to_save=None, layer_replication=None, loftq_config={}
    ),
    "a configuration of the base beside it": put("config.json", {"model_type": "llama"}),
    "its own tokenizer": put("tokenizer.json", {}),
    "an empty auto_map": put("config.json", {"auto_map": {}}),
    "a harmless archive": torch_zip("notes.zip", "readme.txt"),
    "names without prefix": renamed(PREFIX, ""),
    "another outer name": renamed("model.layers", "model.language_model.layers"),
    "fan in, fan out": adapting(fan_in_fan_out=True),
}


@pytest.mark.parametrize("case", FINE)
def test_good_adapters(tmp_path: Path, base: Model, case: str) -> None:
    folder = write_adapter(tmp_path / "x")
    FINE[case](folder)
    model = opened(folder, base)
    assert (model.kind, model.base, model.lora_rank) == ("adapter", base, 2)


def test_an_adapter_needs_full_weights_under_it(tmp_path: Path, base: Model) -> None:
    adapter = opened(write_adapter(tmp_path / "x"), base)
    for under in (None, adapter):
        assert "an adapter cannot be bot" in refusal(tmp_path / "x", under).message


def test_a_quantised_base_has_the_names_but_not_the_shapes(tmp_path: Path) -> None:
    folder = write_full(tmp_path / "packed")
    tensors = base_tensors(0)
    for name in [n for n in tensors if "_proj" in n]:
        del tensors[name]
        tensors[name.replace(".weight", ".qweight")] = np.zeros((1, 8), np.int32)
    save_file(tensors, folder / "model.safetensors")
    base = open_model("base", take_snapshot(folder, "packed"), None)
    assert opened(write_adapter(tmp_path / "x"), base).lora_rank == 2


def test_a_header_as_long_as_a_pickle_starts_is_no_pickle(tmp_path: Path) -> None:
    folder = write_full(tmp_path / "x")
    path = folder / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].rstrip().ljust(0x480)
    if len(header) != 0x480:
        header = content[8 : 8 + length].rstrip().ljust(0x580)
    assert len(header) in (0x480, 0x580)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    assert opened(folder, None).kind == "full"


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.json"])
def test_the_template_may_lie_in_a_file_of_its_own(tmp_path: Path, name: str) -> None:
    folder = write_full(tmp_path / "x")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / name).write_text("{}")
    assert opened(folder, None).kind == "full"


def test_a_folder_too_high_up_is_told_where_to_look(tmp_path: Path, base: Model) -> None:
    write_adapter(tmp_path / "x" / "checkpoint-500")
    assert "perhaps checkpoint-500" in refusal(tmp_path / "x", base).hint


def test_facts_and_memory(tmp_path: Path, base: Model) -> None:
    model = opened(write_adapter(tmp_path / "x"), base)
    parameters = sum(tensor.size for tensor in base_tensors(0).values())
    assert base.facts == {
        "architecture": "LlamaForCausalLM",
        "parameters": parameters,
        "weight_bytes": 4 * parameters,
    }
    assert model.facts == {"rank": 2, "alpha": 4, "targets": ["q_proj"], "parameters": 32, "weight_bytes": 128}
    assert memory_estimate(base) == 4 * parameters
    assert memory_estimate(model) == 4 * (parameters + 32)
    json.dumps([dict(base.facts), dict(model.facts)])
    assert (model.reference, model.digest) == ("models/x", take_snapshot(tmp_path / "x", "").digest)


def test_weights_that_are_no_numbers_are_named(tmp_path: Path, base: Model) -> None:
    folder = write_adapter(tmp_path / "x")
    require_finite(opened(folder, base))
    rewritten(lambda t: {k: v * (np.nan if "lora_B" in k else 1) for k, v in t.items()})(folder)
    with pytest.raises(ControlError, match=r"models/x: tensor .*lora_B.weight in adapter_model.safetensors"):
        require_finite(opened(folder, base))


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, ftgate.artifacts.open, ftgate.artifacts.resolve, ftgate.datasets\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "vllm", "transformers", "peft", "safetensors", "pyarrow"} & set(done.stdout.split())
