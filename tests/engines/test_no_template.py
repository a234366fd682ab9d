"""Adapters on a base that has no chat template: the base is asked in the adapter's, and so is the adapter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engines.test_new_tokens import NARROW, opened
from engines.tiny import make_adapter, make_llama, make_tokenizer, question
from ftgate.artifacts.cache import Cache
from ftgate.artifacts.snapshot import take_snapshot
from ftgate.domain import Model
from ftgate.engines.chat_template import Renderer, TokenizedQuestion
from ftgate.engines.renderers import Renderers
from ftgate.models.chat import with_chats
from ftgate.models.merge import merged_model
from ftgate.models.open import open_model

pytestmark = pytest.mark.engine


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Model, Model]:
    """A base without a template, and an adapter with one; the tokenizers are the same."""
    tokens = make_tokenizer(tmp_path / "base", None)
    make_llama(tmp_path / "base", 8, tokens, **NARROW)
    make_adapter(tmp_path / "bot", tmp_path / "base", 1)
    make_tokenizer(tmp_path / "bot")
    base = open_model("base", take_snapshot(tmp_path / "base", "base"), None, needs_template=False)
    return with_chats(base, opened(tmp_path / "bot", base), "candidate")


def test_an_adapter_with_the_base_s_tokenizer_is_asked_in_the_template_that_the_base_is_asked_in(
    pair: tuple[Model, Model],
) -> None:
    renderers = Renderers(pair[0], 256)
    asked = [renderers.of(model).prepare(question("blue")) for model in pair]
    assert all(isinstance(each, TokenizedQuestion) for each in asked)
    assert asked[0] == asked[1]
    assert renderers.of(pair[0]) is renderers.of(pair[1])


def test_merged_it_is_asked_so_too(pair: tuple[Model, Model], tmp_path: Path) -> None:
    base, adapter = pair
    adapter = replace(adapter, merge=("it is served merged: engine.served",))
    merged = merged_model(adapter, Cache(tmp_path / "cache", 10**9), tmp_path / "merge.log", print)
    assert merged.kind == "full"
    assert Renderer(merged, 256).prepare(question("blue")) == Renderer(base, 256).prepare(question("blue"))
