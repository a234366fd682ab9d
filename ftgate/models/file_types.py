"""File types by content that can run or hide code when loaded, whatever the file's name."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
import zlib
from pathlib import Path

_TEXT = (".json", ".jsonl", ".txt", ".md", ".jinja", ".yaml", ".yml", ".csv", ".html")
"""Never loaded as a pickle; a word list may happen to parse as one."""
_PREFIX_BYTES = 1 << 16
_KINDS: dict[str, tuple[bytes, ...]] = {
    "a gzip file": (rb"\x1f\x8b",),
    "an xz file": (rb"\xfd7zXZ\0",),
    "an lzma file": (rb"\x5d\0\0.{3}",),
    "a bzip2 file": (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)",),
    "a zstd file": (rb"\x28\xb5\x2f\xfd", rb"[\x50-\x5f]\x2a\x4d\x18"),
    "an lz4 file": (rb"\x04\x22\x4d\x18", rb"\x02\x21\x4c\x18"),
    "a 7z archive": (rb"7z\xbc\xaf\x27\x1c",),
    "a rar archive": (rb"Rar!\x1a\x07",),
    "a compressed file": (rb"\x1f\x9d", rb"LZIP\x01", rb"\xff\x06\0\0sNaPpY", rb"MSCF\0\0\0\0"),
    "a tar archive": (rb".{257}ustar",),
    "a NumPy array": (rb"\x93NUMPY",),
    "an HDF5 file": (rb"\x89HDF\r\n\x1a\n",),
    "a GGUF file": (rb"GGUF[\x01-\x0f]\0\0\0",),
    "a TensorFlow Lite file": (rb".{4}TFL3",),
    "a program": (rb"\x7fELF", rb"\xfe\xed\xfa[\xce\xcf]", rb"[\xce\xcf]\xfa\xed\xfe", rb"\xca\xfe\xba\xbe", rb"\0asm"),
    "compiled Python": (rb".[\x0a-\x0f]\r\n[\0-\x03]\0\0\0",),
}
_MAGIC = {kind: re.compile(b"|".join(forms), re.DOTALL) for kind, forms in _KINDS.items()}
_IMPORT_OPCODES = ("GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4")
_TUPLE_OPCODES = {"TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_CALL_OPCODES = {"REDUCE", "NEWOBJ", "NEWOBJ_EX"}
_GLOBAL = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")
_LONG_STRING = 1 << 20
_MAX_OPCODES = 200_000
"""No other file parses as a pickle for this many opcodes; one that does is treated as a pickle."""


def unsafe_kind(path: Path) -> str | None:
    """The kind of a file that can run code, by its content; None for any other.

    A possible pickle without a magic number is read whole, in bounded time and memory; of other files the beginning is
    read, and of zip archives, which may have a prefix, the end. A safetensors file whose header length looks like a
    pickle's first bytes is recognised by its name and by what follows: bytes 4 to 7 are zero and byte 8 is the header's
    opening brace. A pickle could have those bytes too, hence the check of the name.
    """
    with path.open("rb") as file:
        start = file.read(_PREFIX_BYTES)
    if path.suffix == ".safetensors" and start[4:9] == b"\0\0\0\0{":
        return None
    if start[:1] == b"\x80" and start[1:2] <= b"\x05" and len(start) > 1:
        return "a pickle"
    if start.startswith(b"PK\x03\x04") or zipfile.is_zipfile(path):
        return "a zip archive"
    kind_by_magic = next((kind for kind, pattern in _MAGIC.items() if pattern.match(start)), None)
    if kind_by_magic is not None:
        return kind_by_magic
    if _is_zlib(start):
        return "a zlib file"
    return "a pickle" if path.suffix.lower() not in _TEXT and _is_calling_pickle(path) else None


def _is_zlib(start: bytes) -> bool:
    if start[:1] != b"\x78" or int.from_bytes(start[:2], "big") % 31:
        return False
    try:
        return bool(zlib.decompressobj().decompress(start, 1 << 10))
    except zlib.error:
        return False


def _is_calling_pickle(path: Path) -> bool:
    """Whether the file, parsed as a pickle without a protocol header, calls something that it imports."""
    imported = has_tuple = has_mark = False
    try:
        with path.open("rb") as file:
            for number, (code, argument, _) in enumerate(pickletools.genops(_SkippingReader(file))):
                if code.name in _IMPORT_OPCODES:
                    imported = imported or argument is None or bool(_GLOBAL.fullmatch(str(argument)))
                # A call takes a tuple; old-style classes take everything since a mark.
                if imported and (
                    (has_tuple and code.name in _CALL_OPCODES) or (has_mark and code.name in ("INST", "OBJ"))
                ):
                    return True
                if number > _MAX_OPCODES:
                    return True
                has_tuple, has_mark = has_tuple or code.name in _TUPLE_OPCODES, has_mark or code.name == "MARK"
    except Exception:  # parsing arbitrary bytes may raise anything
        return False
    return False


class _SkippingReader(io.BytesIO):
    """A file that skips over long strings: pickletools needs only their length and ends."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__()
        self._file = file
        self._end = file.seek(0, io.SEEK_END)
        file.seek(0)

    def tell(self) -> int:
        """The position of the next byte."""
        return self._file.tell()

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, or a placeholder of that length for a long string."""
        wanted = self._end if size is None or size < 0 else size
        if wanted <= _LONG_STRING:
            return self._file.read(wanted)
        if wanted > self._end - self._file.tell():
            return b""
        self._file.seek(wanted, io.SEEK_CUR)
        return _Placeholder(wanted)

    def readline(self, size: int | None = -1, /) -> bytes:  # noqa: ARG002 - the signature of a file
        """A line; of a very long one only the first byte and the last two."""
        line = part = self._file.readline(_LONG_STRING)
        while part and not part.endswith(b"\n"):
            part = self._file.readline(_LONG_STRING)
            line = line[:1] + (line[-1:] + part)[-2:]
        return line


class _Placeholder(bytes):
    """No content, but a given length."""

    _length: int

    def __new__(cls, length: int) -> _Placeholder:
        placeholder = super().__new__(cls)
        placeholder._length = length
        return placeholder

    def __len__(self) -> int:
        return self._length
