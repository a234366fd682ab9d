"""An adapter of zeros: the shape and configuration of another one, and no effect at all."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ftgate.artifacts.headers_only import ADAPTER
from ftgate.config.engine import EngineSettings
from ftgate.domain import Model

CONFIG = "adapter_config.json"


def has_own_path(candidate: Model, settings: EngineSettings) -> bool:
    """Whether an engine asks ``candidate`` beside its base by another path than that, which an adapter of zeros tests.

    A runtime LoRA on vLLM has one, on the engine of its base.
    """
    return candidate.kind == "adapter" and not candidate.merge and settings.kind == "vllm" and not settings.differ


def zero_model(candidate: Model, folder: Path) -> Model:
    """The adapter of zeros in the shape of ``candidate``, as it lies in ``folder`` once it is written.

    It is asked in its base's words, whatever the candidate is asked in: only the path of the numbers may differ.
    """
    name, base = f"{candidate.name}, all zeros", candidate.base
    assert base is not None, "an adapter has a base"
    facts = {key: value for key, value in candidate.facts.items() if key != "chat"}
    if "chat" in base.facts:
        facts["chat"] = base.facts["chat"]
    digest = f"zeros of {candidate.digest}"
    return replace(
        candidate, name=name, path=folder, digest=digest, reference=name, stamps={}, facts=facts, chat=base.chat
    )


def write_zero_adapter(candidate: Model, folder: Path) -> Model:
    """Write that adapter into ``folder``: the header of the weights as it is, and every number 0 (no disk is used)."""
    shutil.copyfile(candidate.path / CONFIG, folder / CONFIG)
    weights = candidate.path / ADAPTER
    with weights.open("rb") as stream:
        start = stream.read(8)
        header = stream.read(int.from_bytes(start, "little"))
    with (folder / ADAPTER).open("wb") as file:
        file.write(start + header)
        file.truncate(weights.stat().st_size)
    return zero_model(candidate, folder)
