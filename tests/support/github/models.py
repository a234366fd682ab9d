"""Bodies checked against the platform's own description, as githubkit's generated models hold it."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

AVAILABLE = find_spec("githubkit_schemas") is not None
"""Without it nothing is checked, and the tests about it say so."""


def require(kind: str, body: Any) -> None:
    """Raise pydantic's ValidationError if ``body`` is no ``kind`` (a model's name; ``[Kind]`` for a list of them)."""
    if not AVAILABLE:
        return
    if kind.startswith("["):
        for entry in body:
            _model(kind[1:-1]).model_validate(entry)
    else:
        _model(kind).model_validate(body)


@cache
def _model(name: str) -> Any:
    from githubkit_schemas.v2022_11_28 import models

    return getattr(models, name)
