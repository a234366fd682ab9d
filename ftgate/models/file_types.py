"""What a file is by its content, where that can run code when it is loaded, whatever its name."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
import zlib
from pathlib import Path

_TEXT = (".json", ".jsonl", ".txt", ".md", ".jinja", ".yaml", ".yml", ".csv", ".html")
"""Nobody loads these as a pickle, and a list of words may read like one."""
_PREFIX = 1 << 16
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
_NAMES = ("GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4")
_TUPLES = {"TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_CALLS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX"}
_GLOBAL = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")
_LONG = 1 << 20
_MOST_CODES = 200_000
"""No file that is none reads as a pickle for as long as this; a file that does need not be read any further."""


def unsafe_kind(path: Path) -> str | None:
    """What kind of file that can run code ``path`` is, None for any other.

    Of a pickle without a mark of its own, all is read, in bounded time and memory; of others the beginning, and of zip
    archives, which may have anything before them, the end. A safetensors file whose header happens to have the length
    that a pickle starts with is told apart by its name and what follows: the header's opening brace after eight bytes,
    the last four of them zero. A pickle can have those too.
    """
    with path.open("rb") as file:
        start = file.read(_PREFIX)
    if path.suffix == ".safetensors" and start[4:9] == b"\0\0\0\0{":
        return None
    if start[:1] == b"\x80" and start[1:2] <= b"\x05" and len(start) > 1:
        return "a pickle"
    if start.startswith(b"PK\x03\x04") or zipfile.is_zipfile(path):
        return "a zip archive"
    found = next((kind for kind, form in _MAGIC.items() if form.match(start)), None)
    if found is not None:
        return found
    if _is_zlib(start):
        return "a zlib file"
    return "a pickle" if path.suffix.lower() not in _TEXT and _calls(path) else None


def _is_zlib(start: bytes) -> bool:
    if start[:1] != b"\x78" or int.from_bytes(start[:2], "big") % 31:
        return False
    try:
        return bool(zlib.decompressobj().decompress(start, 1 << 10))
    except zlib.error:
        return False


def _calls(path: Path) -> bool:
    """Whether the file, read as a pickle that does not begin with its protocol, calls something that it names."""
    named = ready = marked = False
    try:
        with path.open("rb") as file:
            for number, (code, argument, _) in enumerate(pickletools.genops(_Sparing(file))):
                if code.name in _NAMES:
                    named = named or argument is None or bool(_GLOBAL.fullmatch(str(argument)))
                # What is called takes a tuple; a class of the old kind takes all since a mark.
                if named and ((ready and code.name in _CALLS) or (marked and code.name in ("INST", "OBJ"))):
                    return True
                if number > _MOST_CODES:
                    return True
                ready, marked = ready or code.name in _TUPLES, marked or code.name == "MARK"
    except Exception:  # anything that the bytes of a file which is no pickle may lead to
        return False
    return False


class _Sparing(io.BytesIO):
    """A file whose long strings are passed over: what pickletools needs of them is their length and their ends."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__()
        self._file = file
        self._end = file.seek(0, io.SEEK_END)
        file.seek(0)

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._file.tell()

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, or something that says it has as many."""
        wanted = self._end if size is None or size < 0 else size
        if wanted <= _LONG:
            return self._file.read(wanted)
        if wanted > self._end - self._file.tell():
            return b""
        self._file.seek(wanted, io.SEEK_CUR)
        return _Long(wanted)

    def readline(self, size: int | None = -1, /) -> bytes:  # noqa: ARG002 - as a file has it
        """A line; of a very long one the first and last two bytes."""
        line = part = self._file.readline(_LONG)
        while part and not part.endswith(b"\n"):
            part = self._file.readline(_LONG)
            line = line[:1] + (line[-1:] + part)[-2:]
        return line


class _Long(bytes):
    """Nothing, of a given length."""

    _length: int

    def __new__(cls, length: int) -> _Long:
        made = super().__new__(cls)
        made._length = length
        return made

    def __len__(self) -> int:
        return self._length
