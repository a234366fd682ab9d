"""Whether a file is what its name says, so that nothing else hides behind the name: JSON, text, a tokenizer's model."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

from ftgate.errors import ArtifactError

MOST_JSON = 100_000_000
"""Bytes of the longest JSON file that is read."""
_MOST_VALUES = 10_000_000
"""Values in it: a hundred million bytes of empty lists would take gigabytes of memory."""
_MOST_TEXT = 64 << 20
"""Bytes of a text that are looked at."""
_WORDS = (".jinja", ".jinja2", ".tiktoken", ".bpe", "vocab.txt", "merges.txt")
"""Texts that engines read, in UTF-8."""
_TEXTS = (".txt", ".md", ".yaml", ".yml", ".csv", ".tsv", ".jsonl", ".html")
"""Texts for people, in whatever encoding their editor had."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NO_LETTER = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f]")
"""What no encoding of one byte a letter has in a text."""
_MODELS = (".model", ".spm")
"""SentencePiece, or a list of tokens as tiktoken writes it."""
_FIXED = {1: 8, 5: 4}
"""Bytes of a protobuf field by its wire type."""
_AGAIN = "save it again, or remove it; where neither is yours to do, name it in artifacts.skip of the policy"
_POINTER = b"version https://git-lfs"


def require_as_named(path: Path, where: str) -> Any:
    """Raise ArtifactError, beginning with ``where``, unless the file is what its name says; what a JSON file holds.

    Names that say nothing of the content are let through.
    """
    name = path.name.lower()
    if name.endswith((".json", *_WORDS, *_MODELS)):
        _refuse_pointer(path, where)
    if name.endswith(".json"):
        return _json(path, where)
    if name.endswith(_WORDS) and not _is_text(path, "utf-8"):
        raise ArtifactError(f"{where}: not a text in UTF-8, as its name says", hint=_AGAIN)
    if name.endswith(_TEXTS) and not any(_is_text(path, encoding) for encoding in ("utf-8", "utf-16", "latin-1")):
        raise ArtifactError(f"{where}: not a text, as its name says", hint=_AGAIN)
    if name.endswith(_MODELS):
        with path.open("rb") as file:
            message = _is_message(file.read(_MOST_TEXT))
        if not message and not _is_text(path, "utf-8"):
            raise ArtifactError(f"{where}: neither a SentencePiece model nor a list of tokens", hint=_AGAIN)
    return None


def _refuse_pointer(path: Path, where: str) -> None:
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise ArtifactError(f"{where}: a Git LFS pointer instead of the file", hint="run git lfs pull")


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


def _is_text(path: Path, encoding: str) -> bool:
    """Whether the file is a text in ``encoding``: utf-8, utf-16 with its mark, or latin-1 for any other."""
    decoder = codecs.getincrementaldecoder(encoding)()
    none = _NO_LETTER if encoding == "latin-1" else re.compile("\0")
    left = _MOST_TEXT
    with path.open("rb") as file:
        if encoding == "utf-16" and file.read(2) not in _UTF16:
            return False
        file.seek(0)
        while left > 0 and (chunk := file.read(min(1 << 20, left))):
            left -= len(chunk)
            try:
                if none.search(decoder.decode(chunk)):
                    return False
            except UnicodeDecodeError:
                return False
    return True


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
