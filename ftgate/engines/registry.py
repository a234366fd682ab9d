"""All engines by kind. To add one, write its module and add a line here."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ftgate.config.engine import EngineSettings
from ftgate.config.policy import JudgeSettings
from ftgate.engines.base import Engine
from ftgate.errors import ConfigurationError

# Not the extra `cpu`: its PyTorch is not on the package index, and `make install` knows where it is.
_INSTALL = 'pip install "finetune-gate[gpu]" on a machine with a GPU; `make install` in a checkout on one without'


def open_engine(settings: EngineSettings, log_path: Path | None = None) -> Engine:
    """The engine for ``settings``, without models. Its library is imported here, not before."""
    return _ENGINES[settings.kind](settings, log_path)


def open_judge(
    judge: JudgeSettings, engine: EngineSettings, log_path: Path, remember: Callable[[str, Callable[[], Any]], Any]
) -> Engine:
    """The judge's engine: its endpoint, its own engine settings, or else ``engine``.

    ``remember`` caches what was detected about a server. Raises ConfigurationError if the endpoint's key is missing.
    """
    if judge.endpoint is None or judge.model is None:
        return open_engine(judge.engine or engine, log_path)
    from ftgate.engines.openai.engine import OpenAIEngine

    key = read_key(judge.api_key_env, os.environ)
    return OpenAIEngine(judge.endpoint, judge.model, judge, key=key, remember=remember)


def read_key(name: str | None, environment: Mapping[str, str]) -> str | None:
    """The key in variable ``name``; None if no key is needed. Errors name the variable, never its value."""
    if name is None:
        return None
    key = environment.get(name, "").strip()
    if not key:
        raise ConfigurationError(
            f"judge.api_key_env: the environment variable {name} is not set or empty",
            hint=f"export {name} with the key of judge.endpoint; in CI, pass the secret to this step",
        )
    if not re.fullmatch(r"[!-~]+", key):
        raise ConfigurationError(
            f"judge.api_key_env: {name} contains spaces, line breaks or non-ASCII characters",
            hint="a key is one line of ASCII: check how the secret was stored",
        )
    return key


def _vllm(settings: EngineSettings, log_path: Path | None) -> Engine:
    if find_spec("vllm") is None:
        raise ConfigurationError("engine.kind is vllm, but vLLM is not installed", hint=_INSTALL)
    from ftgate.engines.vllm.engine import VllmEngine

    return VllmEngine(settings, log_path=log_path)


def _transformers(settings: EngineSettings, _: Path | None) -> Engine:
    if find_spec("torch") is None:
        raise ConfigurationError("engine.kind is transformers, but torch is not installed", hint=_INSTALL)
    from ftgate.engines.transformers import TransformersEngine

    return TransformersEngine(settings)


def _scripted(settings: EngineSettings, _: Path | None) -> Engine:
    raise ConfigurationError(
        f"engine.kind {settings.kind} works in Python only",
        hint="create a ftgate.engines.scripted.ScriptedEngine and pass it to evaluate()",
    )


_ENGINES: Mapping[str, Callable[[EngineSettings, Path | None], Engine]] = {
    "vllm": _vllm,
    "transformers": _transformers,
    "scripted": _scripted,
}
