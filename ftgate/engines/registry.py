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
from ftgate.domain import Model
from ftgate.engines.base import Engine
from ftgate.engines.openai.pace import Pace
from ftgate.engines.split import SplitEngine
from ftgate.errors import ConfigurationError

Remember = Callable[[str, Callable[[], Any]], Any]
"""Returns the cached JSON value for a key, computed by the function if missing."""
# Not the extra `cpu`: its PyTorch is not on the package index, and `make install` knows where it is.
_INSTALL = 'pip install "finetune-gate[gpu]" on a machine with a GPU; `make install` in a checkout on one without'


def open_engine(settings: EngineSettings, log_path: Path | None = None) -> Engine:
    """The engine for ``settings``, without models. Its library is imported here, not before."""
    return _ENGINES[settings.kind](settings, log_path)


def open_models(
    settings: EngineSettings, models: tuple[Model, Model, Model | None], log_path: Path, remember: Remember
) -> Engine:
    """The engine for base, candidate and incumbent: one for all, or the base's and the candidate's if they differ.

    They do where their settings differ or servers have them. The incumbent runs in the candidate's; at a server it is a
    model of its own. ``remember`` caches what was detected about a server. Raises ConfigurationError if an endpoint's
    key is missing.
    """
    if not settings.differ:
        return open_engine(settings.shared, log_path)
    base, candidate, incumbent = models
    paces: dict[str, Pace] = {}
    of_base = open_model(settings.of("base"), base, log_path, remember, paces)
    log_path = log_path.with_name(f"candidate-{log_path.name}")
    of_others = open_model(settings.of("candidate"), candidate, log_path, remember, paces)
    if incumbent is not None and incumbent.kind == "endpoint" and incumbent != base:
        of_incumbent = open_model(settings.of("candidate"), incumbent, log_path, remember, paces)
        of_others = SplitEngine(candidate, of_others, of_incumbent)
    return SplitEngine(base, of_base, of_others)


def open_model(
    settings: EngineSettings, model: Model, log_path: Path, remember: Remember, paces: dict[str, Pace] | None = None
) -> Engine:
    """The engine for ``model``. Those of one server share its pace, which ``paces`` holds by address."""
    endpoint = settings.endpoint
    if settings.kind != "openai" or endpoint is None:
        return open_engine(settings, log_path)
    from ftgate.engines.openai.engine import OpenAIEngine

    key = read_key(endpoint.api_key_env, os.environ, "engine.endpoint")
    pace = (paces if paces is not None else {}).setdefault(endpoint.address, Pace(endpoint))
    return OpenAIEngine(
        endpoint.address,
        str(model.facts["model"]),
        endpoint,
        key=key,
        remember=remember,
        pace=pace,
        thinking=(settings.thinking, settings.thinking_tokens),
    )


def open_judge(judge: JudgeSettings, engine: EngineSettings, log_path: Path, remember: Remember) -> Engine:
    """The judge's engine: its endpoint, its own engine settings, or else ``engine``.

    ``remember`` caches what was detected about a server. Raises ConfigurationError if the endpoint's key is missing.
    """
    if judge.endpoint is None or judge.model is None:
        # Its digit is read right after the prompt: a model that thinks first would not say it there.
        settings = (judge.engine or engine.shared).model_copy(update={"thinking": "off", "generation": None})
        return open_engine(settings, log_path)
    from ftgate.engines.openai.engine import OpenAIEngine

    key = read_key(judge.api_key_env, os.environ)
    return OpenAIEngine(judge.endpoint, judge.model, judge, key=key, remember=remember)


def read_key(name: str | None, environment: Mapping[str, str], section: str = "judge") -> str | None:
    """The key in variable ``name``; None if no key is needed. Errors name the variable, never its value."""
    address = "judge.endpoint" if section == "judge" else section
    if name is None:
        return None
    key = environment.get(name, "").strip()
    if not key:
        raise ConfigurationError(
            f"{section}.api_key_env: the environment variable {name} is not set or empty",
            hint=f"export {name} with the key of {address}; in CI, pass the secret to this step",
        )
    if not re.fullmatch(r"[!-~]+", key):
        raise ConfigurationError(
            f"{section}.api_key_env: {name} contains spaces, line breaks or non-ASCII characters",
            hint="a key is one line of ASCII: check how the secret was stored",
        )
    return key


def _vllm(settings: EngineSettings, log_path: Path | None) -> Engine:
    if find_spec("vllm") is None:
        raise ConfigurationError("engine.kind is vllm, but vLLM is not installed", hint=_INSTALL)
    if settings.uses_ray:
        from ftgate.engines.ray_cluster import RayEngine

        return RayEngine(settings, log_path=log_path)
    from ftgate.engines.vllm.engine import VllmEngine

    return VllmEngine(settings, log_path=log_path)


def _transformers(settings: EngineSettings, _: Path | None) -> Engine:
    if find_spec("torch") is None:
        raise ConfigurationError("engine.kind is transformers, but torch is not installed", hint=_INSTALL)
    from ftgate.engines.transformers import TransformersEngine

    return TransformersEngine(settings)


def _openai(settings: EngineSettings, _: Path | None) -> Engine:
    raise ConfigurationError(
        f"engine.kind {settings.kind} asks base and candidate, and loads no weights",
        hint="give the judge an endpoint of its own: judge.endpoint, or judge.engine: {kind: vllm}",
    )


def _scripted(settings: EngineSettings, _: Path | None) -> Engine:
    raise ConfigurationError(
        f"engine.kind {settings.kind} works in Python only",
        hint="create a ftgate.engines.scripted.ScriptedEngine and pass it to evaluate()",
    )


_ENGINES: Mapping[str, Callable[[EngineSettings, Path | None], Engine]] = {
    "vllm": _vllm,
    "transformers": _transformers,
    "openai": _openai,
    "scripted": _scripted,
}
