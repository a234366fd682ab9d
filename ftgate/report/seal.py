"""The seal of report.json: a digest of each of its parts, and of the file of items, so that an edit of one is noticed.

It guards against damage and against edits by hand. Whoever writes a seal anew is not noticed here: `ftgate publish`,
which trusts no report, decides it again from the answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ftgate.domain import digest_of
from ftgate.report.items import ITEMS

SEAL = "seal"
_SPLIT = ("measurements", "controls", "provenance")
"""The parts whose entries are sealed one by one, so that the message can name them."""
_DIGITS = 16


def seal_of(document: Mapping[str, Any], items: bytes | None = None) -> dict[str, str]:
    """The digests of the parts of a report as JSON, by place, and of the content of its file of items."""
    parts: dict[str, Any] = {}
    for key, value in document.items():
        if key in _SPLIT and isinstance(value, Mapping):
            parts |= {f"{key}.{name}": part for name, part in value.items()}
        elif key != SEAL:
            parts[key] = value
    sealed = {place: digest_of(_rounded(part))[:_DIGITS] for place, part in parts.items()}
    return sealed if items is None else {**sealed, ITEMS: _digest(items)}


def seal_problems(document: Mapping[str, Any], folder: Path | None) -> Iterator[str]:
    """The parts of a report, and of its ``folder`` if given, that are not as sealed; older reports have no seal."""
    seal = document.get(SEAL)
    if seal is None:
        return
    if not isinstance(seal, Mapping):
        yield f"{SEAL} {seal!r:.40}: digests by place were expected"
        return
    parts = seal_of(document)
    for place in (*parts, *(place for place in seal if place not in parts and place != ITEMS)):
        if parts.get(place) != seal.get(place):
            yield f"{place} is not what the run wrote there (its digest in {SEAL} differs)"
    path = folder / ITEMS if folder is not None else None
    if path is not None and ITEMS in seal and path.is_file() and _digest(path.read_bytes()) != seal[ITEMS]:
        yield f"{ITEMS} beside it is another run's, or damaged (its digest in {SEAL} differs)"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_DIGITS]


def _rounded(value: Any) -> Any:
    """``value`` as any program that only formats JSON anew leaves it: numbers to twelve digits, 1.0 as 1."""
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    if isinstance(value, float) and value == value and abs(value) < 1e300:
        value = float(f"{value:.12g}")
        return int(value) if value.is_integer() else value
    return value
