"""Engines load a folder that a trainer left as they load a clean one, and open none of the trainer's own files."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.tiny import TinyModels
from ftgate.artifacts.resolve import Resolver
from ftgate.config.engine import EngineSettings
from ftgate.config.policy import ArtifactSettings
from ftgate.domain import Message

pytestmark = pytest.mark.engine
LEFT = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "optimizer.bin")
PROMPT = [[Message("user", "red gold")]]


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("kind", ["transformers", "vllm"])
def test_no_engine_opens_what_trainers_keep(
    kind: str, tiny: TinyModels, settings: EngineSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "vllm":
        pytest.importorskip("vllm")
        from ftgate.engines.vllm.engine import VllmEngine as Engine
    else:
        from ftgate.engines.transformers import TransformersEngine as Engine  # type: ignore[assignment]
    monkeypatch.setenv("FTGATE_CACHE", str(tmp_path / "cache"))
    resolver = Resolver(ArtifactSettings(allow=("*",)), tmp_path)
    mark, models = tmp_path / "mark", []
    for given in (tiny.base, tiny.real):
        folder = tmp_path / given.name
        shutil.copytree(given.path, folder)
        for name in LEFT:
            (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
        shown = resolver.snapshot(given.name, relative_to=tmp_path)
        assert set(shown.ignored_files) == set(LEFT)
        base = models[0] if models else None
        models.append(replace(given, path=shown.path, digest=shown.digest, base=base))
    engine = Engine(settings)
    try:
        engine.require(models)
        first, second = (engine.probe(model, PROMPT)[0] for model in models)
    finally:
        engine.close()
    assert first
    assert first != second, "the adapter was found through its link"
    assert not mark.exists()
