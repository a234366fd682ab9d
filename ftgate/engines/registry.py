"""The list of engines. A new one is its file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from ftgate.config.engine import EngineSettings
from ftgate.engines.base import Engine
from ftgate.errors import ConfigurationError

_INSTALL = 'pip install "ftgate[gpu]" on a machine with a GPU, "ftgate[cpu]" on one without'


def open_engine(settings: EngineSettings, log_path: Path | None = None) -> Engine:
    """The engine that ``settings`` name, without any model yet; its library is imported now, not before."""
    return _ENGINES[settings.kind](settings, log_path)


def _vllm(settings: EngineSettings, log_path: Path | None) -> Engine:
    if find_spec("vllm") is None:
        raise ConfigurationError("engine.kind is vllm, and vLLM is not installed", hint=_INSTALL)
    from ftgate.engines.vllm import VllmEngine

    return VllmEngine(settings, log_path=log_path)


def _transformers(settings: EngineSettings, _: Path | None) -> Engine:
    if find_spec("torch") is None:
        raise ConfigurationError("engine.kind is transformers, and torch is not installed", hint=_INSTALL)
    from ftgate.engines.transformers import TransformersEngine

    return TransformersEngine(settings)


def _scripted(settings: EngineSettings, _: Path | None) -> Engine:
    raise ConfigurationError(
        f"engine.kind {settings.kind} needs a script, which no policy can hold",
        hint="build ftgate.engines.scripted.ScriptedEngine in Python and pass it on",
    )


_ENGINES: Mapping[str, Callable[[EngineSettings, Path | None], Engine]] = {
    "vllm": _vllm,
    "transformers": _transformers,
    "scripted": _scripted,
}
