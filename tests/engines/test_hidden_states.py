"""Hidden states as vectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines.tiny import TinyModels
from ftgate.embeddings.hidden_states import HiddenStateEmbedder
from ftgate.errors import ArtifactError

pytestmark = pytest.mark.engine
TEXTS = ["red", "the cave in the forest near the river", "", "blue gold " * 20, "red", "what is the home of a"]


@pytest.fixture(scope="module")
def embedder(tiny: TinyModels) -> Iterator[HiddenStateEmbedder]:
    made = HiddenStateEmbedder(tiny.base.path)
    yield made
    made.close()


def test_one_finite_row_a_text_and_the_same_for_the_same_text(embedder: HiddenStateEmbedder) -> None:
    seen: list[int] = []
    table = embedder.embed(TEXTS, seen.append)
    assert table.shape == (6, 128)
    assert np.isfinite(table).all()
    assert sum(seen) == len(TEXTS)
    np.testing.assert_allclose(table[0], table[4], atol=1e-5)
    assert np.abs(table[0] - table[1]).max() > 0.01


def test_neighbours_and_padding_do_not_matter(embedder: HiddenStateEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    together = embedder.embed(TEXTS)
    monkeypatch.setattr("ftgate.embeddings.hidden_states.BATCH_TOKENS", 1)
    np.testing.assert_allclose(embedder.embed(TEXTS), together, atol=1e-4)


def test_it_is_the_mean_of_the_middle_layer(embedder: HiddenStateEmbedder, tiny: TinyModels) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert embedder.name == "hidden states, layer 2 of 4, mean-pooled"
    net = AutoModelForCausalLM.from_pretrained(tiny.base.path)
    tokenizer = AutoTokenizer.from_pretrained(tiny.base.path)
    ids = tokenizer(TEXTS[1], add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        states = net(ids, output_hidden_states=True).hidden_states[2][0]
    np.testing.assert_allclose(embedder.embed([TEXTS[1]])[0], states.mean(dim=0).numpy(), atol=1e-5)


def test_long_texts_are_cut(tiny: TinyModels) -> None:
    short = HiddenStateEmbedder(tiny.base.path, max_tokens=4)
    table = short.embed(["red red red red", "red red red red blue"])
    np.testing.assert_allclose(table[0], table[1], atol=1e-5)
    short.close()
    short.close()


def test_no_texts_no_rows(embedder: HiddenStateEmbedder) -> None:
    assert len(embedder.embed([])) == 0


def test_a_folder_without_layers_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="num_hidden_layers"):
        HiddenStateEmbedder(tmp_path)


HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
SMALL = {"hidden_size": 32, "num_hidden_layers": 4, "vocab_size": 64} | HEADS
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
"""As many experts as layers, so that both are lists of four."""


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        *((kind, {"intermediate_size": 48}) for kind in ("llama", "gemma2", "phi3", "gpt_neox", "recurrent_gemma")),
        *((kind, {"intermediate_size": 48} | EXPERTS) for kind in ("mixtral", "qwen3_moe", "jamba")),
        *((kind, {}) for kind in ("gpt2", "bloom", "mpt", "mamba", "bert")),
    ],
)
def test_layers_after_the_middle_are_dropped_and_change_nothing(
    tmp_path: Path, kind: str, fields: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit what the whole model says of its middle layer, from fewer weights."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModel

    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**SMALL | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2} | fields)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    monkeypatch.setattr("ftgate.embeddings.hidden_states.load_tokenizer", lambda folder: None)
    rows = [[5, 6, 7, 8, 9], [11, 12, 13]]
    halved = HiddenStateEmbedder(tmp_path)
    halved._load()
    vectors, kept = halved._pool(rows), sum(weight.numel() for weight in halved._net.parameters())
    halved.close()
    monkeypatch.setattr(HiddenStateEmbedder, "_drop_later_layers", lambda self, net: None)
    whole = HiddenStateEmbedder(tmp_path)
    whole._load()
    np.testing.assert_array_equal(vectors, whole._pool(rows))
    assert kept < sum(weight.numel() for weight in whole._net.parameters())
    whole.close()
