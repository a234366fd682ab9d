"""A zoo of artifacts that must be refused, each with what its message has to say, and of adapters that are merged."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from support.world import base_tensors

Change = Callable[[Path], object]


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
    "deep checkpoint": (put("old/model.ckpt", b""), ["old/model.ckpt"]),
    "pickle by content": (put("weights.dat", pickle.dumps([1])), ["weights.dat: a pickle by its content"]),
    "pickle as text": (put("notes.txt", pickle.dumps({}, 2)), ["notes.txt: a pickle by its content"]),
    "pickle as safetensors": (put("model.safetensors", pickle.dumps([1] * 99)), ["a pickle by its content"]),
    "pickle of protocol 0": (put("weights.dat", pickle.dumps(np.ones(3), 0)), ["weights.dat: a pickle by its content"]),
    "pickle of protocol 1": (put("weights", pickle.dumps(np.ones(3), 1)), ["weights: a pickle by its content"]),
    "pickle like safetensors": (put("x.dat", b"\x80\x02NJ\0\0\0\0{."), ["x.dat: a pickle by its content"]),
    "pickle that calls": (put("x.dat", b"cos\nsystem\n(S'true'\ntR."), ["x.dat: a pickle by its content"]),
    "pickle of an old class": (put("x.dat", b"(S'true'\nios\nsystem\n."), ["x.dat: a pickle by its content"]),
    "tar by content": (put("x.dat", bytes(257) + b"ustar\x0000"), ["x.dat: a tar archive by its content"]),
    "gzip by content": (put("x.dat", gzip.compress(b"x", mtime=0)), ["x.dat: a gzip file by its content"]),
    "xz by content": (put("x.dat", lzma.compress(b"x")), ["x.dat: an xz file by its content"]),
    "array by content": (put("x.dat", b"\x93NUMPY\x01\x00"), ["x.dat: a NumPy array by its content"]),
    "HDF5 by content": (put("x.dat", b"\x89HDF\r\n\x1a\n"), ["x.dat: an HDF5 file by its content"]),
    "archive by content": (torch_zip("weights"), ["weights: a zip archive by its content"]),
    "archive of anything": (torch_zip("notes.zip", "readme.txt"), ["notes.zip: a zip archive"]),
    "broken archive": (put("x.json", b"PK\x03\x04junk"), ["x.json: a zip archive"]),
    "archive behind something": (
        lambda f: (torch_zip("x.dat")(f), put("x.dat", b"GIF89a" * 20_000 + (f / "x.dat").read_bytes())(f)),
        ["x.dat: a zip archive"],
    ),
    "bzip2 by content": (put("x.dat", bz2.compress(b"x")), ["x.dat: a bzip2 file by its content"]),
    "empty bzip2": (put("x.dat", bz2.compress(b"")), ["x.dat: a bzip2 file by its content"]),
    "zlib by content": (put("x.dat", zlib.compress(b"x" * 99)), ["x.dat: a zlib file by its content"]),
    "lzma by content": (
        put("x.dat", lzma.compress(b"x", format=lzma.FORMAT_ALONE)),
        ["x.dat: an lzma file by its content"],
    ),
    "zstd by content": (put("x.dat", b"\x28\xb5\x2f\xfd\x24\x01"), ["x.dat: a zstd file by its content"]),
    "lz4 by content": (put("x.dat", b"\x04\x22\x4d\x18\x64\x40"), ["x.dat: an lz4 file by its content"]),
    "7z by content": (put("x.dat", b"7z\xbc\xaf\x27\x1c\0\4"), ["x.dat: a 7z archive by its content"]),
    "a program": (put("kernel", b"\x7fELF\2\1\1"), ["kernel: a program by its content"]),
    "pickle without its protocol": (
        put("x.dat", b"\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R."),
        ["x.dat: a pickle by its content"],
    ),
    "pickle that begins with much": (
        put("x.dat", b"V" + b"x" * 3_000_000 + b"\n0cos\nsystem\n(S'true'\ntR."),
        ["x.dat: a pickle by its content"],
    ),
    "pickle behind a long string": (
        put("x.dat", b"X\x00\x00\x20\x00" + b"x" * (2 << 20) + b"0cos\nsystem\n(S'true'\ntR."),
        ["x.dat: a pickle by its content"],
    ),
    "pickle without end": (put("x.dat", b"N0" * 4_000_000), ["x.dat: a pickle by its content"]),
    "GGUF": (put("bot.Q4_K_M.gguf", b""), ["gguf: GGUF found; only safetensors is supported"]),
    "GGUF by content": (put("x.dat", b"GGUF\3\0\0\0"), ["x.dat: a GGUF file by its content"]),
    "ONNX": (put("onnx/model.onnx", b""), ["onnx/model.onnx: ONNX found; only safetensors is supported"]),
    "TensorFlow Lite": (
        put("model.tflite", b""),
        ["model.tflite: TensorFlow Lite found; only safetensors is supported"],
    ),
    "TensorFlow Lite by content": (put("x.dat", b"\x1c\0\0\0TFL3"), ["x.dat: a TensorFlow Lite file by"]),
    "Keras": (put("tf_model.h5", b""), ["tf_model.h5: HDF5 (Keras) found; only safetensors is supported"]),
    "Flax": (
        put("flax_model.msgpack", b""),
        ["flax_model.msgpack: MessagePack (Flax) found; only safetensors is supported"],
    ),
    "Rust": (put("rust_model.ot", b""), ["rust_model.ot: rust-bert found; only safetensors is supported"]),
    "a pickle behind JSON": (put("x.json", b"{}" + pickle.dumps([1], 0)), ["x.json: not valid JSON"]),
    "JSON in another encoding": (put("x.json", "{}".encode("utf-16")), ["x.json: not valid JSON"]),
    "endless lists": (put("x.json", b"[[]," + b"[]," * 5_000_000 + b"0]"), ["x.json: more than 10,000,000 values"]),
    "nested lists": (put("x.json", b"[" * 100_000), ["x.json: not valid JSON"]),
    "text that is none": (put("notes.txt", b"x" * 100_000 + b"\0\1"), ["notes.txt: not text, as its name says"]),
    "words that are none": (put("vocab.txt", b"caf\xe9\n"), ["vocab.txt: not UTF-8 text"]),
    "tokenizer that was not pulled": (
        put("tokenizer.model", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        ["tokenizer.model: a Git LFS pointer"],
    ),
    "template that is none": (put("chat_template.jinja", b"\xff\xfe"), ["chat_template.jinja: not UTF-8 text"]),
    "tokens that are none": (put("x.tiktoken", b"IQ== 0\n\xff"), ["x.tiktoken: not UTF-8 text"]),
    "tokenizer that is none": (
        put("tokenizer.model", b"\x0a\x02ab\xff\xff"),
        ["tokenizer.model: neither a SentencePiece model nor a token list"],
    ),
    "python": (put("modeling_x.py", "x"), ["modeling_x.py: code in a model snapshot"]),
    "deep python": (put("a/b.PY", "x"), ["a/b.PY: code"]),
    "native library": (put("ops.so", "x"), ["ops.so: code"]),
    "remote code": (put("config.json", {"auto_map": {"AutoModel": "x.Y"}}), ["config.json: auto_map loads code"]),
    "remote tokenizer": (put("tokenizer_config.json", {"auto_map": {"a": "b"}}), ["tokenizer_config.json: auto_map"]),
    "deep remote code": (put("config.json", {"a": [{"auto_map": {"x": 1}}]}), ["config.json: a.0.auto_map"]),
    "attention from a hub": (
        put("config.json", {"attn_implementation": "someone/kernel"}),
        ["config.json: attn_implementation loads code from a hub"],
    ),
    "attention of a part from a hub": (
        put("config.json", {"text_config": {"_attn_implementation": {"": "sdpa", "vision": "someone/kernel@main"}}}),
        ["config.json: text_config._attn_implementation loads code from a hub"],
    ),
    "another model in its place": (
        put("config.json", {"speculators_config": {"verifier": {"name_or_path": "/models/base"}}}),
        ["config.json: speculators_config makes engines run another model"],
    ),
    "weights that no index names": (
        lambda f: (
            put("model.safetensors.index.json", {"weight_map": dict.fromkeys(base_tensors(0), "a.safetensors")})(f),
            (f / "model.safetensors").rename(f / "a.safetensors"),
            save_file(base_tensors(1), f / "consolidated.safetensors"),
        ),
        ["consolidated.safetensors not listed: engines disagree"],
    ),
    "no config": (drop("config.json"), ["neither config.json nor adapter_config.json", "model.safetensors"]),
    "config that is a list": (put("config.json", "[]"), ["config.json: expected an object"]),
    "broken config": (put("config.json", "{"), ["config.json: not valid JSON"]),
    "no weights": (drop("model.safetensors"), ["full weights without model.safetensors"]),
    "no tensors": (lambda f: save_file({}, f / "model.safetensors"), ["contain no tensors"]),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-1]),
        ["model.safetensors: not a valid safetensors file", "truncated"],
    ),
    "no tokenizer": (drop("tokenizer.json"), ["no tokenizer"]),
    "no template": (put("tokenizer_config.json", {"chat_template": None}), ["no chat template", "jinja"]),
    "no template at all": (drop("tokenizer_config.json"), ["no chat template"]),
}


def rewritten(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Change:
    def rewrite(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        save_file(change(load_file(path)), path)

    return rewrite


def renamed(old: str, new: str) -> Change:
    return rewritten(lambda tensors: {name.replace(old, new): value for name, value in tensors.items()})


def adapting(**fields: Any) -> Change:
    return put("adapter_config.json", fields)


def adding(fields: dict[str, Any], name: str, shape: tuple[int, ...]) -> Change:
    """Another tensor beside the matrices, and what the configuration says of it."""
    add = rewritten(lambda tensors: tensors | {name: np.ones(shape, np.float32)})
    return lambda folder: (adapting(**fields)(folder), add(folder))


PREFIX = "base_model.model."
LAYER = "model.layers.0.self_attn."
BAD_ADAPTERS: dict[str, tuple[Change, list[str]]] = {
    "another method": (adapting(peft_type="LOHA"), ["peft_type is 'LOHA', not LORA"]),
    "no method": (config_without("peft_type"), ["peft_type is None"]),
    "DoRA by its tensors alone": (
        rewritten(lambda t: t | {f"{PREFIX}{LAYER}q_proj.lora_magnitude_vector": np.ones(8)}),
        ["lora_magnitude_vector: a DoRA magnitude, but adapter_config.json does not set use_dora"],
    ),
    "layer replication": (adapting(layer_replication=[[0, 1]]), ["layer_replication"]),
    "parameters": (adapting(target_parameters=["experts.w"]), ["target_parameters ['experts.w']"]),
    "a pattern that never ends": (
        adapting(target_modules=r"((model|layers|\d|self_attn|\.|[a-z_.\d])+)+!"),
        ["adapter_config.json: matching its patterns with 11 module names takes over 1 s", "plain module names"],
    ),
    "a pattern that never ends when all must match": (
        adapting(target_modules=r"(([a-ik-z_.\d])+)+"),
        ["adapter_config.json: matching its patterns with 11 module names takes over 1 s"],
    ),
    "such a pattern for ranks": (
        adapting(rank_pattern={r"(([a-z_.\d])+)+!": 2}),
        ["adapter_config.json: matching its patterns with 11 module names takes over 1 s"],
    ),
    "such a pattern for saved modules": (
        adapting(modules_to_save=[r"(([a-z_.\d])+)+!"]),
        ["adapter_config.json: matching its patterns with 11 module names takes over 1 s"],
    ),
    "a pattern that is none": (adapting(target_modules="(q_proj"), ["invalid pattern"]),
    "layers chosen beside a pattern": (
        adapting(target_modules=r".*\.q_proj", layers_to_transform=[0]),
        ["layers_to_transform [0] beside target_modules as one text ('.*\\\\.q_proj')", "a list of names"],
    ),
    "a pattern of layers beside a pattern": (
        adapting(target_modules=r".*\.q_proj", layers_pattern="layers", layers_to_transform=None),
        ["layers_pattern 'layers' beside target_modules as one text"],
    ),
    "a pattern of layers and no layers": (
        adapting(layers_pattern=["layers"]),
        ["layers_pattern ['layers'] without layers_to_transform: peft refuses to load it"],
    ),
    "Megatron": (
        adapting(megatron_config={"a": 1}, megatron_core="antigravity"),
        ["megatron_config: peft would import a module named by the adapter"],
    ),
    "aLoRA": (adapting(alora_invocation_tokens=[1]), ["alora_invocation_tokens"]),
    "QALoRA": (adapting(use_qalora=True), ["use_qalora"]),
    "BD-LoRA": (adapting(use_bdlora={"a": 1}), ["use_bdlora"]),
    "KaSA": (adapting(kasa_config={"a": 1}), ["kasa_config"]),
    "Arrow": (adapting(arrow_config={"a": 1}), ["arrow_config"]),
    "MonteCLoRA": (adapting(monteclora_config={"a": 1}), ["monteclora_config"]),
    "fast PiSSA": (adapting(init_lora_weights="pissa_niter_16"), ["init_lora_weights is 'pissa_niter_16'"]),
    "CorDA": (adapting(init_lora_weights="corda"), ["init_lora_weights is 'corda'"]),
    "LoftQ": (adapting(init_lora_weights="loftq"), ["init_lora_weights is 'loftq'"]),
    "no rank": (config_without("r"), ["r is missing"]),
    "no alpha": (config_without("lora_alpha"), ["lora_alpha is missing"]),
    "alpha as text": (adapting(lora_alpha="x" * 500), [f"lora_alpha '{'x' * 79} is not a number"]),
    "alpha that is no number": (adapting(lora_alpha=float("nan")), ["lora_alpha nan is not a number"]),
    "endless alpha": (adapting(lora_alpha=10**400), ["is not a number"]),
    "no targets": (config_without("target_modules"), ["target_modules is missing"]),
    "rank zero": (adapting(r=0), ["rank 0 is not a positive integer"]),
    "rank as text": (adapting(r="8"), ["rank '8'"]),
    "another rank in the weights": (adapting(r=16), ["q_proj has rank 2, but adapter_config.json says 16"]),
    "broken config": (put("adapter_config.json", "{"), ["adapter_config.json: not valid JSON"]),
    "pickled": (put("adapter_model.bin", b""), ["adapter_model.bin"]),
    "no weights": (drop("adapter_model.safetensors"), ["without safetensors weights"]),
    "no tensors": (rewritten(lambda _: {}), ["no tensors", "change nothing"]),
    "full weights beside it": (
        lambda f: save_file(base_tensors(1), f / "model.safetensors"),
        ["an adapter (adapter_config.json) and full weights (model.safetensors)"],
    ),
    "a misfit for the embeddings": (
        renamed("layers.0.self_attn.q_proj", "embed_tokens"),
        ["another base", "[8, 8]", "embed_tokens.weight has [32, 8]"],
    ),
    "a misfit for the output layer": (
        renamed("model.layers.0.self_attn.q_proj", "lm_head"),
        ["another base", "[8, 8]", "embed_tokens.weight has [32, 8]"],
    ),
    "a saved module of another width": (
        adding({"modules_to_save": ["norm"]}, f"{PREFIX}model.norm.weight", (4,)),
        ["model.norm.weight has shape [4], but model.norm.weight has [8]"],
    ),
    "a saved module of nothing": (
        adding({"modules_to_save": ["score"]}, f"{PREFIX}score.weight", (4, 8)),
        ["score.weight matches no module of the base"],
    ),
    "a bias for a layer without": (
        adding({"lora_bias": True}, f"{PREFIX}{LAYER}q_proj.lora_B.bias", (8,)),
        ["lora_B.bias matches no bias"],
    ),
    "trained biases for layers without": (
        adding({"bias": "all"}, f"{PREFIX}{LAYER}q_proj.bias", (8,)),
        ["q_proj.bias matches no bias"],
    ),
    "a larger vocabulary without its tokenizer": (
        adding({"modules_to_save": ["embed_tokens"]}, f"{PREFIX}model.embed_tokens.weight", (40, 8)),
        ["no tokenizer"],
    ),
    "a whole weight": (
        rewritten(lambda t: t | {f"{PREFIX}model.norm.weight": np.ones(8)}),
        ["model.norm.weight: not a LoRA matrix"],
    ),
    "only A": (rewritten(lambda t: {k: v for k, v in t.items() if "lora_A" in k}), ["q_proj has no lora_B"]),
    "only B": (rewritten(lambda t: {k: v for k, v in t.items() if "lora_B" in k}), ["q_proj has no lora_A"]),
    "A and B of different ranks": (
        rewritten(lambda t: {k: v if "lora_A" in k else np.ones((8, 3), np.float32) for k, v in t.items()}),
        ["the shapes of lora_A [2, 8] and lora_B [8, 3] do not match"],
    ),
    "vectors": (rewritten(lambda t: {k: v.reshape(-1) for k, v in t.items()}), ["do not match"]),
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
        [
            "another base",
            "no module model.layers.7.self_attn.q_proj (1 of 2 are missing)",
            "its configuration says base",
        ],
    ),
    "another architecture": (
        renamed("self_attn.q_proj", "attention.query"),
        ["would change nothing", "none of its 1 modules", "attention.query", "nearest is layers.0.self_attn"],
    ),
    "a module that is no matrix": (
        renamed("self_attn.q_proj", "input_layernorm"),
        ["another base", "input_layernorm.weight has [8]"],
    ),
    "a module that the configuration does not name": (
        adapting(target_modules=["k_proj"]),
        [
            "adapter_config.json does not cover 1 of the 1 modules in the adapter's weights",
            "such as model.layers.0.self_attn.q_proj (target_modules: ['k_proj'])",
            "save the adapter again",
        ],
    ),
    "a pattern that is only a name": (adapting(target_modules="q_proj"), ["does not cover 1 of the 1 modules"]),
    "a pattern of other layers": (adapting(target_modules=r".*layers\.1\..*"), ["does not cover 1 of the 1 modules"]),
    "a layer that is not chosen": (adapting(layers_to_transform=[1]), ["layers_to_transform: [1]"]),
    "layers of another name": (
        adapting(layers_to_transform=0, layers_pattern="h"),
        ["layers_to_transform: 0; layers_pattern: 'h'"],
    ),
    "a module that is excluded": (adapting(exclude_modules=["self_attn.q_proj"]), ["exclude_modules: ['self_attn"]),
    "a pattern that excludes": (
        adapting(target_modules="all-linear", exclude_modules=r".*\.layers\.0\..*"),
        ["target_modules: 'all-linear'; exclude_modules: "],
    ),
    "all zeros": (
        rewritten(lambda t: {k: v * ("lora_A" in k) for k, v in t.items()}),
        ["zero: the adapter changes nothing"],
    ),
}


def of_rank(rank: int, **fields: Any) -> Change:
    """Matrices of another rank."""
    grow = rewritten(lambda t: {k: np.ones((rank, 8) if "lora_A" in k else (8, rank), np.float32) for k in t})
    return lambda folder: (adapting(**{"r": rank, **fields})(folder), grow(folder))


def targeting(module: str, matrices: dict[str, np.ndarray]) -> Change:
    """The matrices of one more module, which the configuration names."""
    add = rewritten(lambda tensors: tensors | matrices)
    return lambda folder: (adapting(target_modules=["q_proj", module])(folder), add(folder))


MERGED: dict[str, tuple[Change, str]] = {
    "DoRA": (adding({"use_dora": True}, f"{PREFIX}{LAYER}q_proj.lora_magnitude_vector", (8,)), "use_dora"),
    "modules to save": (
        adding({"modules_to_save": ["norm"]}, f"{PREFIX}model.norm.weight", (8,)),
        "modules_to_save ['norm']",
    ),
    "an output layer of its own": (
        adding({"modules_to_save": ["lm_head"]}, f"{PREFIX}lm_head.weight", (32, 8)),
        "modules_to_save ['lm_head']",
    ),
    "trained tokens": (
        adding(
            {"trainable_token_indices": [1]}, f"{PREFIX}model.embed_tokens.token_adapter.trainable_tokens_delta", (1, 8)
        ),
        "trainable_token_indices",
    ),
    "biases that are none": (adapting(bias="all"), "bias is 'all'"),
    "PiSSA": (adapting(init_lora_weights="pissa"), "init_lora_weights is 'pissa'"),
    "OLoRA": (adapting(init_lora_weights="OLoRA"), "init_lora_weights is 'OLoRA'"),
    "a rank beyond vLLM": (of_rank(600), "rank 600 is above 512"),
    "such a rank in places": (of_rank(600, r=8, rank_pattern={"q_proj": 600}), "rank 600 is above 512"),
    "embeddings": (
        targeting(
            "embed_tokens",
            {
                f"{PREFIX}model.embed_tokens.lora_embedding_A": np.ones((2, 32), np.float32),
                f"{PREFIX}model.embed_tokens.lora_embedding_B": np.ones((8, 2), np.float32),
            },
        ),
        "model.embed_tokens: vLLM ignores or only partly applies adapters on embeddings",
    ),
    "the output layer": (
        targeting(
            "lm_head",
            {
                f"{PREFIX}lm_head.lora_A.weight": np.ones((2, 8), np.float32),
                f"{PREFIX}lm_head.lora_B.weight": np.ones((32, 2), np.float32),
            },
        ),
        "lm_head: vLLM ignores or only partly applies adapters on embeddings",
    ),
    "whole embeddings": (
        rewritten(lambda t: t | {f"{PREFIX}model.embed_tokens.base_layer.weight": np.ones((32, 8), np.float32)}),
        "embed_tokens.base_layer.weight: vLLM ignores",
    ),
}
"""Adapters that vLLM cannot run, and the reason that is given for merging them."""
