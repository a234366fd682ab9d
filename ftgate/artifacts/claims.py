"""Whether a file is what its name says, so that nothing else hides behind the name: JSON, text, a tokenizer's model."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from ftgate.errors import ArtifactError

MOST_JSON = 100_000_000
"""Bytes of the longest JSON file that is read."""
_MOST_VALUES = 10_000_000
"""Values in it: a hundred million bytes of empty lists would take gigabytes of memory."""
_MOST_TEXT = 64 << 20
"""Bytes of a text that are looked at."""
_TEXTS = (".txt", ".md", ".jinja", ".jinja2", ".yaml", ".yml", ".csv", ".tsv", ".jsonl", ".html", ".tiktoken", ".bpe")
_MODELS = (".model", ".spm")
"""SentencePiece, or a list of tokens as tiktoken writes it."""
_FIXED = {1: 8, 5: 4}
"""Bytes of a protobuf field by its wire type."""
_AGAIN = "save it again, or remove it"


def require_as_named(path: Path, where: str) -> Any:
    """Raise ArtifactError, beginning with ``where``, unless the file is what its name says; what a JSON file holds.

    Names that say nothing of the content are let through.
    """
    name = path.name.lower()
    if name.endswith(".json"):
        return _json(path, where)
    if name.endswith(_TEXTS):
        _require_text(path, where)
    elif name.endswith(_MODELS):
        with path.open("rb") as file:
            if not _is_message(file.read(_MOST_TEXT)):
                _require_text(path, where, "neither a SentencePiece model nor a list of tokens")
    return None


def _json(path: Path, where: str) -> Any:
    if path.stat().st_size > MOST_JSON:
        raise ArtifactError(f"{where}: larger than {MOST_JSON:,} bytes", hint=_AGAIN)
    content = path.read_bytes()
    if content.count(b",") + content.count(b"[") + content.count(b"{") > _MOST_VALUES:
        raise ArtifactError(f"{where}: more than {_MOST_VALUES:,} values", hint=_AGAIN)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: not valid JSON: {error}", hint=_AGAIN) from None


def _require_text(path: Path, where: str, problem: str = "not a text in UTF-8, as its name says") -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    left = _MOST_TEXT
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(1 << 20, left))):
            left -= len(chunk)
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                chunk = b"\0"
            if b"\0" in chunk:
                raise ArtifactError(f"{where}: {problem}", hint=_AGAIN)


def _is_message(content: bytes) -> bool:
    """Whether ``content`` is one protobuf message that begins with a field below 16, whatever the fields hold."""
    at, end = 0, len(content)
    if not content or content[0] & 7 != 2 or not 0 < content[0] >> 3 < 16:
        return False
    while at < end:
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind in _FIXED:
            at += _FIXED[kind]
        elif kind in (0, 2):
            value, at = _varint(content, at)
            at += value if kind == 2 else 0
        else:
            return False
    return at == end


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """The number at ``at`` and where it ends; beyond the end of ``content`` where it is cut or too long."""
    value = 0
    for number, byte in enumerate(content[at : at + 10]):
        value |= (byte & 127) << (7 * number)
        if byte < 128:
            return value, at + number + 1
    return 0, len(content) + 1
