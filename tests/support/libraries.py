"""Inference libraries: which are installed, told without an import of seconds, and what vLLM compiled before."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

COMPILED = {"VLLM_CACHE_ROOT": os.environ.get("VLLM_CACHE_ROOT", str(Path.home() / ".cache" / "vllm"))}
"""For a process with an environment of its own: an empty cache costs it half a minute of processor time."""


def needs(library: str) -> pytest.MarkDecorator:
    """Skips tests where ``library`` is not installed; the tests themselves import it, if they run."""
    return pytest.mark.skipif(find_spec(library) is None, reason=f"{library} is not installed")
