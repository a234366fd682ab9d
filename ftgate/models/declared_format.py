"""Whether a file's content has the format that its name declares: JSON, text, or a tokenizer model."""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

from ftgate.errors import ArtifactError

MAX_JSON_BYTES = 100_000_000
"""Largest JSON file that is read."""
_MAX_JSON_VALUES = 10_000_000
"""Most values in it: 100 MB of empty lists would take gigabytes of memory."""
_MAX_TEXT_BYTES = 64 << 20
"""Bytes of a text file that are checked."""
_ENGINE_TEXTS = (".jinja", ".jinja2", ".tiktoken", ".bpe", "vocab.txt", "merges.txt")
"""Text files that engines read, in UTF-8."""
_HUMAN_TEXTS = (".txt", ".md", ".yaml", ".yml", ".csv", ".tsv", ".jsonl", ".html")
"""Text files for people, in any encoding."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_CONTROL_CHARACTERS = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f]")
"""Control characters that no text in a single-byte encoding contains."""
_TOKENIZER_MODELS = (".model", ".spm")
"""SentencePiece models, or token lists in tiktoken's format."""
_FIXED_SIZES = {1: 8, 5: 4}
"""Size in bytes of fixed-width protobuf fields by wire type."""
_SAVE_AGAIN = "save it again or remove it; if you cannot, name it in artifacts.skip of the policy"
_POINTER = b"version https://git-lfs"


def require_declared_format(path: Path, where: str) -> Any:
    """The content of a JSON file; None for other formats.

    Raises ArtifactError, with ``where`` in front, if the content does not have the format that the file's name
    declares. Names that declare no format are accepted.
    """
    name = path.name.lower()
    if name.endswith((".json", *_ENGINE_TEXTS, *_TOKENIZER_MODELS)):
        _refuse_pointer(path, where)
    if name.endswith(".json"):
        return _json(path, where)
    if name.endswith(_ENGINE_TEXTS) and not _is_text(path, "utf-8"):
        raise ArtifactError(f"{where}: not UTF-8 text, as its name says", hint=_SAVE_AGAIN)
    if name.endswith(_HUMAN_TEXTS) and not any(_is_text(path, encoding) for encoding in ("utf-8", "utf-16", "latin-1")):
        raise ArtifactError(f"{where}: not text, as its name says", hint=_SAVE_AGAIN)
    if name.endswith(_TOKENIZER_MODELS):
        with path.open("rb") as file:
            is_protobuf = _is_protobuf(file.read(_MAX_TEXT_BYTES))
        if not is_protobuf and not _is_text(path, "utf-8"):
            raise ArtifactError(f"{where}: neither a SentencePiece model nor a token list", hint=_SAVE_AGAIN)
    return None


def _refuse_pointer(path: Path, where: str) -> None:
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise ArtifactError(f"{where}: a Git LFS pointer, not the file itself", hint="run git lfs pull")


def _json(path: Path, where: str) -> Any:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ArtifactError(f"{where}: larger than {MAX_JSON_BYTES:,} bytes", hint=_SAVE_AGAIN)
    content = path.read_bytes()
    if content.count(b",") + content.count(b"[") + content.count(b"{") > _MAX_JSON_VALUES:
        raise ArtifactError(f"{where}: more than {_MAX_JSON_VALUES:,} values", hint=_SAVE_AGAIN)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where}: not valid JSON: {error}", hint=_SAVE_AGAIN) from None


def _is_text(path: Path, encoding: str) -> bool:
    """Whether the file is text in ``encoding``: utf-8, utf-16 with a byte order mark, or latin-1 for any other."""
    decoder = codecs.getincrementaldecoder(encoding)()
    forbidden = _CONTROL_CHARACTERS if encoding == "latin-1" else re.compile("\0")
    remaining = _MAX_TEXT_BYTES
    with path.open("rb") as file:
        if encoding == "utf-16" and file.read(2) not in _UTF16:
            return False
        file.seek(0)
        while remaining > 0 and (chunk := file.read(min(1 << 20, remaining))):
            remaining -= len(chunk)
            try:
                if forbidden.search(decoder.decode(chunk)):
                    return False
            except UnicodeDecodeError:
                return False
    return True


def _is_protobuf(content: bytes) -> bool:
    """Whether ``content`` is one protobuf message that starts with a length-delimited field numbered below 16."""
    position, end = 0, len(content)
    if not content or content[0] & 7 != 2 or not 0 < content[0] >> 3 < 16:
        return False
    while position < end:
        tag, position = _varint(content, position)
        wire_type = tag & 7
        if wire_type in _FIXED_SIZES:
            position += _FIXED_SIZES[wire_type]
        elif wire_type in (0, 2):
            value, position = _varint(content, position)
            position += value if wire_type == 2 else 0
        else:
            return False
    return position == end


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """The varint at ``at`` and the position after it; a position beyond the end if it is truncated or too long."""
    value = 0
    for number, byte in enumerate(content[at : at + 10]):
        value |= (byte & 127) << (7 * number)
        if byte < 128:
            return value, at + number + 1
    return 0, len(content) + 1
