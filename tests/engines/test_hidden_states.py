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
