"""Encoders are pooled as their own files say: real weights against a computation of one text at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.tiny import make_tokenizer
from ftgate.embeddings.hidden_states import HiddenStateEmbedder
from ftgate.embeddings.st_config import read_pipeline
from ftgate.errors import ArtifactError

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
        (tmp_path / path.name).symlink_to(path)
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


def embedded(folder: Path, texts: list[str] = TEXTS) -> NDArray[np.float64]:
    embedder = HiddenStateEmbedder(folder, encoder="it")
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
    assert read_pipeline(folder).in_words == f"{mode}-pooled"


@pytest.mark.parametrize("mode", OLD_NAMES)
def test_the_flags_of_older_versions_say_the_same(folder: Path, mode: str) -> None:
    flags = {f"pooling_mode_{name}": other == mode for other, name in OLD_NAMES.items()}
    dress(folder, flags)
    assert read_pipeline(folder).pooling == (mode,)


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
    embedder = HiddenStateEmbedder(folder, encoder="it")
    assert embedder.name == "hidden states of it, layer 2 of 2, cls-pooled, dense, normalised"

    save_file({"linear.weight": weight[:, :7].copy()}, folder / "2_Dense" / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"expected linear.weight \[n, 32\], found linear.weight \[5, 7\]"):
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
    assert read_pipeline(folder).in_words == f"{mode}-pooled {'with' if include else 'after'} its prompt"


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
    assert HiddenStateEmbedder(folder, encoder="it").name == "hidden states of it, layer 2 of 2, mean-pooled"
