"""What must not be in a snapshot: code, weights in formats that run code or are not judged, and what hides its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftgate.artifacts.refused_names import SAFE_HINT, is_refused, refuse_names
from ftgate.artifacts.snapshot import Snapshot
from ftgate.errors import ArtifactError, Problems
from ftgate.models.declared_format import require_as_named
from ftgate.models.file_types import unsafe_kind

_ASKS = {
    "auto_map": (
        "asks for code from the snapshot",
        "remove it and use an architecture the engine knows; ftgate never trusts remote code",
    ),
    "speculators_config": (
        "has engines run another model in its place",
        "submit the model that answers; one that only drafts for it changes no answer",
    ),
}
"""Keys that make engines load something else than the weights beside them, wherever in a JSON file they stand."""
_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation")
"""Keys that name a way of computing: one of the library's own, or a repository of a hub, whose code is then run."""
_CODE_OF_A_HUB = ("asks for code from a hub", "remove it: the engine knows how to compute attention and experts")
_DEEPEST = 8
"""Levels of JSON: no library looks for any of these deeper than a part of a part of a configuration."""


def refuse_unsafe(snapshot: Snapshot) -> None:
    """Raise ArtifactError for code, a request for remote code, weights in other formats, and files of another kind.

    Names are judged, and contents where the name says nothing. Of a file that is not whole only its beginning is.
    """
    problems = Problems()
    with problems.noted():
        refuse_names(snapshot.files, snapshot.reference)
    for name in snapshot.files:
        with problems.noted():
            _refuse_content(snapshot, name)
    problems.raise_any()


def _refuse_content(snapshot: Snapshot, name: str) -> None:
    where = f"{snapshot.reference}: {name}"
    if is_refused(name):
        return  # its name said enough
    kind = unsafe_kind(snapshot.path / name)
    if kind is not None:
        raise ArtifactError(f"{where}: {kind} by its content, a kind that can run or hide code", hint=SAFE_HINT)
    if name not in snapshot.headers_only:
        _refuse_what_it_asks_for(where, require_as_named(snapshot.path / name, where))


def _refuse_what_it_asks_for(where: str, value: Any) -> None:
    found = _first_ask(value)
    if found is not None:
        place, (what, hint) = found
        raise ArtifactError(f"{where}: {place} {what}", hint=hint)


def _first_ask(value: Any, at: str = "", depth: int = 0) -> tuple[str, tuple[str, str]] | None:
    """The first key that asks for something else, by its place in ``value``, and what it asks for."""
    if depth > _DEEPEST or not isinstance(value, Mapping | list):
        return None
    for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
        here = f"{at}.{name}" if at else str(name)
        if name in _ASKS and inner and type(inner) not in (int, float):  # the number of a word in a vocabulary
            return here, _ASKS[name]
        if name in _KERNELS and any("/" in part for part in _texts(inner)):
            return here, _CODE_OF_A_HUB
        found = _first_ask(inner, here, depth + 1)
        if found is not None:
            return found
    return None


def _texts(value: Any) -> list[str]:
    return [str(part) for part in (value.values() if isinstance(value, Mapping) else [value])]
