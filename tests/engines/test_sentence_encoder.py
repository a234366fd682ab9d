"""Embedding models give the vectors that their files say: real weights, against a computation of one text at a time.

The shapes of published models are made by sentence-transformers itself, and compared with its own vectors.
"""

from __future__ import annotations

import json
import math
import shutil
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.encoder_shapes import SHAPES, as_before, make_backbone, make_encoder, make_static
from engines.tiny import make_tokenizer
from ftgate.artifacts.snapshot import take_snapshot
from ftgate.domain import Model
from ftgate.embeddings.base import open_embedder
from ftgate.embeddings.sentence_encoder import SentenceEncoder
from ftgate.errors import ArtifactError, EngineError
from ftgate.models.encoder_files import KINDS, read_encoder
from ftgate.models.open import open_encoder

pytestmark = pytest.mark.engine
TEXTS = ["red", "the cave in the forest near the river", "", "blue gold " * 8, "What IS the home of a"]
Rows = NDArray[np.float64]
WAYS: Mapping[str, Callable[[Rows], Rows]] = {
    "cls": lambda states: states[0],
    "max": lambda states: states.max(axis=0),
    "mean": lambda states: states.mean(axis=0),
    "mean_sqrt_len_tokens": lambda states: states.sum(axis=0) / math.sqrt(len(states)),
    "weightedmean": lambda states: np.average(states, axis=0, weights=np.arange(1, len(states) + 1)),
    "lasttoken": lambda states: states[-1],
}
OLD_NAMES = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "weightedmean": "weightedmean_tokens"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers with random weights and a tokenizer that opens every text with a mark."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    size = make_tokenizer(folder, template=None)
    config = BertConfig(
        vocab_size=size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.4,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(weights: Path, tmp_path: Path) -> Path:
    for path in weights.iterdir():
        shutil.copy(path, tmp_path)
    return tmp_path


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


def dress(folder: Path, pooling: Mapping[str, Any], *more: str) -> None:
    """Write the files of sentence-transformers: pooling, then modules of the kinds ``more``."""
    kinds = ["Transformer", "Pooling", *more]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    write(folder / "modules.json", modules)
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **pooling})


def opened(folder: Path) -> Model:
    """The model as a run opens it, with every check of its files."""
    return open_encoder("encoder", take_snapshot(folder, "it"))


def embedded(folder: Path, texts: list[str] = TEXTS) -> NDArray[np.float64]:
    model = opened(folder)
    embedder = open_embedder("encoder", model, model)
    try:
        return embedder.embed(texts)
    finally:
        embedder.close()


def states_of(folder: Path, text: str, length: int = 60) -> NDArray[np.float64]:
    import torch
    from transformers import AutoTokenizer, BertModel

    net = BertModel.from_pretrained(folder).eval()
    ids = AutoTokenizer.from_pretrained(folder)(text)["input_ids"][:length]
    with torch.no_grad():
        return net(torch.tensor([ids])).last_hidden_state[0].double().numpy()


@pytest.mark.parametrize("mode", WAYS)
def test_each_mode_is_what_it_says(folder: Path, mode: str) -> None:
    dress(folder, {"pooling_mode": mode})
    expected = [WAYS[mode](states_of(folder, text)) for text in TEXTS]
    np.testing.assert_allclose(embedded(folder), expected, atol=2e-5)
    assert read_encoder(folder, "it").in_words == f"{mode}-pooled"


@pytest.mark.parametrize("mode", OLD_NAMES)
def test_the_flags_of_older_versions_say_the_same(folder: Path, mode: str) -> None:
    flags = {f"pooling_mode_{name}": other == mode for other, name in OLD_NAMES.items()}
    dress(folder, flags)
    assert read_encoder(folder, "it").in_words == f"{mode}-pooled"


def test_several_modes_stand_side_by_side(folder: Path) -> None:
    dress(folder, {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True})
    states = states_of(folder, TEXTS[1])
    expected = np.concatenate([WAYS["cls"](states), WAYS["mean"](states)])
    np.testing.assert_allclose(embedded(folder, TEXTS[1:2])[0], expected, atol=2e-5)


def test_dense_and_normalize_follow(folder: Path) -> None:
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(5, 32)).astype(np.float32), rng.normal(size=5).astype(np.float32)
    dress(folder, {"pooling_mode": "cls"}, "Dense", "Normalize")
    given = {"in_features": 32, "out_features": 5, "bias": True}
    write(folder / "2_Dense" / "config.json", {**given, "activation_function": "torch.nn.modules.activation.Tanh"})
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "2_Dense" / "model.safetensors")
    plain = np.stack([np.tanh(weight @ states_of(folder, text)[0] + bias) for text in TEXTS])
    expected = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    np.testing.assert_allclose(embedded(folder), expected, atol=2e-5)
    assert SentenceEncoder(opened(folder)).name == "embedding model it, cls-pooled, dense, normalised"

    save_file({"linear.weight": weight[:, :7].copy()}, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"expected linear.weight \[5, 32\].* found linear.weight \[5, 7\]"):
        embedded(folder)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("mode", ["mean", "cls", "weightedmean"])
def test_a_prompt_stands_before_each_text_and_may_be_left_out_of_the_pool(
    folder: Path, include: bool, mode: str
) -> None:
    dress(folder, {"pooling_mode": mode, "include_prompt": include})
    prompt = "which home: "
    write(folder / "config_sentence_transformers.json", {"prompts": {"q": prompt}, "default_prompt_name": "q"})
    states = states_of(folder, f"{prompt}{TEXTS[1]}")
    skipped = 0 if include else tokens_of(folder, prompt)
    expected = WAYS[mode](states[skipped:])
    if mode == "weightedmean":
        expected = np.average(states[skipped:], axis=0, weights=np.arange(skipped + 1, len(states) + 1))
    np.testing.assert_allclose(embedded(folder, TEXTS[:2])[1], expected, atol=2e-5)
    assert read_encoder(folder, "it").in_words == f"{mode}-pooled {'with' if include else 'after'} its prompt"


def test_a_prompt_that_fills_the_context_leaves_its_last_token(folder: Path) -> None:
    dress(folder, {"pooling_mode": "mean", "include_prompt": False})
    write(folder / "config_sentence_transformers.json", {"prompts": {"q": "red " * 80}, "default_prompt_name": "q"})
    assert np.isfinite(embedded(folder)).all()


def tokens_of(folder: Path, text: str) -> int:
    from transformers import AutoTokenizer

    return len(AutoTokenizer.from_pretrained(folder)(text)["input_ids"])


def test_texts_are_cut_and_lowered_as_the_model_says(folder: Path) -> None:
    dress(folder, {"pooling_mode": "mean"})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 6, "do_lower_case": True})
    expected = [states_of(folder, text.lower(), 6).mean(axis=0) for text in TEXTS]
    np.testing.assert_allclose(embedded(folder), expected, atol=2e-5)


def test_without_modules_the_mean_stays_and_is_named(folder: Path) -> None:
    expected = [states_of(folder, text).mean(axis=0) for text in TEXTS]
    np.testing.assert_allclose(embedded(folder), expected, atol=2e-5)
    assert SentenceEncoder(opened(folder)).name == "embedding model it, mean-pooled"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a shape, made once."""
    root = tmp_path_factory.mktemp("published")

    def folder(shape: str) -> Path:
        target = root / str(list(SHAPES).index(shape))
        if not target.exists():
            SHAPES[shape](target)
        return target

    return folder


def library_vectors(folder: Path) -> NDArray[np.float64]:
    """What sentence-transformers itself returns for each text alone."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return np.stack([model.encode([text])[0] for text in TEXTS]).astype(np.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shapes_of_published_models_give_the_vectors_of_their_library(
    published: Callable[[str], Path], shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = published(shape)
    expected = library_vectors(folder)

    def connect(*_: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", connect)
    vectors = embedded(folder)
    np.testing.assert_allclose(vectors, expected, atol=2e-5)
    assert np.abs(vectors - vectors[0]).max(axis=1)[1:].min() > 0.05, "every text has a vector of its own"


@pytest.mark.parametrize("shape", ["all-mpnet-base-v2", "LaBSE", "cls, max and mean"])
def test_files_of_older_versions_give_the_same_vectors(
    published: Callable[[str], Path], shape: str, tmp_path: Path
) -> None:
    shutil.copytree(published(shape), tmp_path / "old")
    as_before(tmp_path / "old")
    np.testing.assert_allclose(embedded(tmp_path / "old"), embedded(published(shape)), atol=1e-6)


def test_word_vectors_need_no_transformer(tmp_path: Path) -> None:
    make_static(tmp_path / "static")
    folder = tmp_path / "static"
    np.testing.assert_allclose(embedded(folder), library_vectors(folder), atol=1e-6)
    assert SentenceEncoder(opened(folder)).name == "embedding model it, word vectors, normalised"


def test_word_vectors_as_model2vec_saves_them(tmp_path: Path) -> None:
    folder = tmp_path / "static"
    make_static(folder)
    modules = json.loads((folder / "modules.json").read_text())
    nested = folder / modules[0]["path"]
    for path in nested.iterdir() if nested != folder else ():
        path.rename(folder / path.name)
    modules[0] |= {"path": ".", "type": "sentence_transformers.models.StaticEmbedding"}
    write(folder / "modules.json", modules)
    write(folder / "config.json", {"model_type": "model2vec", "architectures": ["StaticModel"]})
    assert embedded(folder).shape == (len(TEXTS), 32)


def test_a_text_of_no_tokens_has_a_vector(tmp_path: Path) -> None:
    make_encoder(tmp_path / "m", "qwen3", "lasttoken")
    for name, gone in (("tokenizer.json", "post_processor"), ("tokenizer_config.json", "pad_token")):
        content = json.loads((tmp_path / "m" / name).read_text())
        write(tmp_path / "m" / name, content | {gone: None})
    vectors = embedded(tmp_path / "m", ["", "red"])
    assert np.isfinite(vectors).all()
    assert np.abs(vectors[0]).max() > 0
    np.testing.assert_allclose(embedded(tmp_path / "m", [""])[0], vectors[0], atol=1e-5)


def test_texts_longer_than_the_position_table_are_cut(tmp_path: Path) -> None:
    make_backbone(tmp_path / "m", "xlm-roberta")
    assert np.isfinite(embedded(tmp_path / "m", ["red blue " * 400, "red"])).all()


def test_each_supported_type_is_the_class_of_that_name_in_the_library() -> None:
    from sentence_transformers.util import import_from_string

    for declared, kind in KINDS.items():
        found = import_from_string(declared)
        assert found.__name__ == kind
        assert found.__module__.startswith("sentence_transformers.")


def test_what_the_library_cannot_load_is_one_clear_error(tmp_path: Path) -> None:
    make_encoder(tmp_path / "m", "bert", "mean")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    write(tmp_path / "m" / "config.json", config | {"model_type": "newest"})
    with pytest.raises(EngineError, match=r"sentence-transformers could not load it: ValueError: .*newest") as caught:
        embedded(tmp_path / "m")
    assert "tfidf" in str(caught.value.hint)


def test_layers_that_would_be_filled_at_random_are_named(tmp_path: Path) -> None:
    make_encoder(tmp_path / "m", "bert", "mean")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    write(tmp_path / "m" / "config.json", config | {"num_hidden_layers": 3})
    with pytest.raises(ArtifactError, match="the weights have no layer 2: an engine would fill it at random"):
        opened(tmp_path / "m")


def test_an_adapter_beside_the_weights_is_refused_as_it_would_load_another_base(tmp_path: Path) -> None:
    make_encoder(tmp_path / "m", "bert", "mean", subfolder=True)
    write(tmp_path / "m" / "0_Transformer" / "adapter_config.json", {"base_model_name_or_path": "/elsewhere"})
    with pytest.raises(ArtifactError, match="it/0_Transformer: an adapter"):
        opened(tmp_path / "m")
