"""One engine of each kind for the whole run, all with the same tiny models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from engines.tiny import TinyModels, make_adapter, make_llama, make_tokenizer, model_at, plausible
from ftgate.config.engine import EngineSettings
from ftgate.engines.scripted import ScriptedEngine

if TYPE_CHECKING:
    from ftgate.engines.transformers import TransformersEngine
    from ftgate.engines.vllm.engine import VllmEngine


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """The family, made once for the whole run."""
    root = tmp_path_factory.mktemp("tiny")
    for name, seed in (("base", 1), ("full", 2)):
        size = make_tokenizer(root / name)
        make_llama(root / name, seed, size)
    make_adapter(root / "real", root / "base", 3)
    make_adapter(root / "other", root / "base", 4, rank=4, target_modules=["q_proj", "v_proj"])
    make_adapter(root / "idle", root / "base", 5, scale=0.0)
    base = model_at(root / "base")
    return TinyModels(
        base,
        model_at(root / "real", base, 8),
        model_at(root / "other", base, 4),
        model_at(root / "idle", base, 8),
        model_at(root / "full"),
    )


@pytest.fixture(scope="session")
def settings() -> EngineSettings:
    """Engines of the tests share one short context."""
    return EngineSettings(max_model_len=256)


@pytest.fixture(scope="session")
def vllm_engine(
    tiny: TinyModels, settings: EngineSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmEngine]:
    """One vLLM for the base and its three adapters and one for the other full model, kept for the whole run."""
    pytest.importorskip("vllm")
    from ftgate.engines.vllm.engine import VllmEngine

    engine = VllmEngine(settings, log_path=tmp_path_factory.mktemp("log") / "engine.log")
    engine.require(tiny.runnable)
    engine.isolation.end()  # in this process others ask a hub meanwhile: tests of downloads
    yield engine
    engine.close()
    engine.close()


@pytest.fixture(scope="session")
def transformers_engine(tiny: TinyModels, settings: EngineSettings) -> Iterator[TransformersEngine]:
    """The reference with the same models."""
    from ftgate.engines.transformers import TransformersEngine

    engine = TransformersEngine(settings)
    engine.require(tiny.runnable)
    engine.isolation.end()  # as above
    yield engine
    engine.close()
    engine.close()


@pytest.fixture(scope="session")
def scripted_engine(tiny: TinyModels) -> Iterator[ScriptedEngine]:
    """The fake with a script that behaves as the contract asks."""
    engine = ScriptedEngine(plausible)
    engine.require(tiny.runnable)
    yield engine
    engine.close()
    engine.close()
