"""Tiny encoders with random weights in the shapes of published ones, saved by sentence-transformers itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from engines.tiny import make_tokenizer

WIDTH = 32
_SMALL = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
_DECODER = {**_SMALL, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 128}
_RANDOM = {"initializer_range": 0.4}
_T5 = {"d_model": WIDTH, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "feed_forward_proj": "gated-gelu"}
BACKBONES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "bert": ("Bert", {**_SMALL, **_RANDOM, "max_position_embeddings": 64}),
    "mpnet": ("MPNet", {**_SMALL, **_RANDOM, "max_position_embeddings": 66, "pad_token_id": 1}),
    "xlm-roberta": ("XLMRoberta", {**_SMALL, **_RANDOM, "max_position_embeddings": 66, "pad_token_id": 1}),
    "distilbert": ("DistilBert", {"dim": WIDTH, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, **_RANDOM}),
    "modernbert": ("ModernBert", {**_SMALL, "max_position_embeddings": 128, "initializer_range": 0.2}),
    "t5": ("T5Encoder", {**_T5, "initializer_factor": 2.0}),
    "qwen3": ("Qwen3", {**_DECODER, "initializer_range": 0.2}),
    "gemma3": ("Gemma3Text", {**_DECODER, "initializer_range": 0.2, "use_bidirectional_attention": True}),
}
"""The name in transformers, and what its configuration is given."""


def make_backbone(folder: Path, kind: str) -> None:
    """A model and its tokenizer, as transformers saves them."""
    import torch
    import transformers

    name, settings = BACKBONES[kind]
    size = make_tokenizer(folder, template=None)
    configuration = getattr(transformers, f"{name.removesuffix('Encoder')}Config")
    model = getattr(transformers, f"{name}Model")
    torch.manual_seed(0)
    special = {"bos_token_id": 1, "eos_token_id": 2}
    model(configuration(vocab_size=size, **{"pad_token_id": 0, **special, **settings})).save_pretrained(folder)


def make_encoder(
    folder: Path,
    kind: str,
    pooling: str | tuple[str, ...],
    *more: str,
    include_prompt: bool = True,
    subfolder: bool = False,
    max_tokens: int | None = 48,
    **options: Any,
) -> None:
    """An encoder of ``kind`` with the modules ``more`` (``dense``, ``normalize``), saved by sentence-transformers.

    ``options`` go to the model: prompts, default_prompt_name, truncate_dim. With ``subfolder``, the transformer lies in
    ``0_Transformer``, as older versions saved it.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    plain = folder.with_name(f"{folder.name}-plain")
    make_backbone(plain, kind)
    text = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    transformer = Transformer(
        str(plain), modality_config=text, module_output_name="token_embeddings", max_seq_length=max_tokens
    )
    modules = [transformer, Pooling(WIDTH, pooling, include_prompt)]
    torch.manual_seed(1)
    width = modules[1].get_embedding_dimension()
    made: dict[str, Callable[[], torch.nn.Module]] = {
        "dense": lambda: Dense(width, 24),
        "linear": lambda: Dense(width, width, bias=False, activation_function=torch.nn.Identity()),
        "normalize": Normalize,
    }
    modules += [made[name]() for name in more]
    model = SentenceTransformer(modules=modules, device="cpu", **options)
    model.save(str(folder), create_model_card=False)
    if subfolder:
        _move_transformer(folder)


def make_static(folder: Path) -> None:
    """Word vectors and nothing else, as model2vec's."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer

    size = make_tokenizer(folder.with_name(f"{folder.name}-plain"))
    tokenizer = Tokenizer.from_file(str(folder.with_name(f"{folder.name}-plain") / "tokenizer.json"))
    torch.manual_seed(0)
    static = StaticEmbedding(tokenizer, embedding_weights=torch.randn(size, WIDTH))
    SentenceTransformer(modules=[static, Normalize()], device="cpu").save(str(folder), create_model_card=False)


def as_before(folder: Path) -> None:
    """Rewrite modules.json and pooling as versions before 5.0 did."""
    modules = json.loads((folder / "modules.json").read_text())
    for module in modules:
        module["type"] = f"sentence_transformers.models.{module['type'].rpartition('.')[2]}"
    (folder / "modules.json").write_text(json.dumps(modules))
    path = folder / "1_Pooling" / "config.json"
    config = json.loads(path.read_text())
    modes = config["pooling_mode"] if isinstance(config["pooling_mode"], list) else [config["pooling_mode"]]
    flags = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "lasttoken": "lasttoken"}
    old = {f"pooling_mode_{flag}": mode in modes for mode, flag in flags.items()}
    path.write_text(json.dumps({"word_embedding_dimension": WIDTH, **old}))
    path = folder / "sentence_bert_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({"max_seq_length": config.get("max_seq_length", 48), "do_lower_case": False}))


def _move_transformer(folder: Path) -> None:
    target = folder / "0_Transformer"
    target.mkdir()
    for path in folder.iterdir():
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json"):
            path.rename(target / path.name)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = target.name
    (folder / "modules.json").write_text(json.dumps(modules))


SHAPES: Mapping[str, Callable[[Path], None]] = {
    "all-MiniLM-L6-v2": lambda at: make_encoder(at, "bert", "mean", "normalize"),
    "all-mpnet-base-v2": lambda at: make_encoder(at, "mpnet", "mean", "normalize"),
    "bge-large-en": lambda at: make_encoder(at, "bert", "cls", "normalize"),
    "bge-m3": lambda at: make_encoder(at, "xlm-roberta", "cls", "normalize"),
    "multilingual-e5": lambda at: make_encoder(
        at, "xlm-roberta", "mean", "normalize", prompts={"query": "query: "}, default_prompt_name="query"
    ),
    "LaBSE": lambda at: make_encoder(at, "bert", "cls", "dense", "normalize"),
    "distiluse": lambda at: make_encoder(at, "distilbert", "mean", "dense"),
    "modernbert-embed": lambda at: make_encoder(at, "modernbert", "mean"),
    "sentence-t5": lambda at: make_encoder(at, "t5", "mean", "linear", "normalize"),
    "gtr-t5 in a subfolder": lambda at: make_encoder(at, "t5", "mean", "linear", "normalize", subfolder=True),
    "bert in a subfolder": lambda at: make_encoder(at, "bert", "mean", "normalize", subfolder=True),
    "instructor": lambda at: make_encoder(
        at,
        "t5",
        "mean",
        "linear",
        "normalize",
        include_prompt=False,
        prompts={"q": "in the cave:"},
        default_prompt_name="q",
    ),
    "Qwen3-Embedding": lambda at: make_encoder(at, "qwen3", "lasttoken", "normalize", max_tokens=None),
    "embeddinggemma": lambda at: make_encoder(at, "gemma3", "mean", "linear", "linear", "normalize"),
    "sgpt": lambda at: make_encoder(at, "qwen3", "weightedmean"),
    "cls, max and mean": lambda at: make_encoder(at, "bert", ("cls", "max", "mean")),
    "mean by the root": lambda at: make_encoder(at, "bert", "mean_sqrt_len_tokens"),
    "a shorter vector": lambda at: make_encoder(at, "bert", "mean", truncate_dim=16),
}
"""Named after the models whose shape they have."""
