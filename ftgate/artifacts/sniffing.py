"""What a file is by its content, where that can run code when it is loaded, whatever its name."""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path

_TEXT = (".json", ".jsonl", ".txt", ".md", ".jinja", ".yaml", ".yml", ".csv", ".html")
"""Nobody loads these as a pickle, and a list of words may read like one."""
_PREFIX = 1 << 16
_MAGIC = {
    b"\x1f\x8b": "a gzip file",
    b"\xfd7zXZ\0": "an xz file",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
}
_TUPLES = {"TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_CALLS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX"}
_GLOBAL = re.compile(r"[A-Za-z_][\w.]* [A-Za-z_][\w.]*")


def unsafe_kind(path: Path) -> str | None:
    """What kind of file that can run code ``path`` is, None for any other.

    A safetensors file whose header happens to have the length that a pickle starts with is told apart by its name and
    what follows: the header's opening brace after eight bytes, the last four of them zero. A pickle can have those too.
    """
    with path.open("rb") as file:
        start = file.read(_PREFIX)
    if path.suffix == ".safetensors" and start[4:9] == b"\0\0\0\0{":
        return None
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a pickle"
    if start.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(path) as archive:
                return "a PyTorch archive" if any(n.endswith(".pkl") for n in archive.namelist()) else None
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return "a damaged archive"
    if start[257:262] == b"ustar":
        return "a tar archive"
    found = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
    if found is None and path.suffix.lower() not in _TEXT and _calls(start):
        return "a pickle"
    return found


def _calls(start: bytes) -> bool:
    """Whether the bytes, as a pickle of protocol 0 or 1, which has no mark of its own, call something they name."""
    named = ready = False
    try:
        for code, argument, _ in pickletools.genops(start):
            if code.name in ("GLOBAL", "INST"):
                named = named or bool(_GLOBAL.fullmatch(str(argument)))
            # What is called takes a tuple; a class of the old kind takes all since a mark.
            if named and ((ready and code.name in _CALLS) or code.name in ("INST", "OBJ")):
                return True
            ready = ready or code.name in _TUPLES
    except Exception:  # anything that the bytes of a file which is no pickle may lead to
        return False
    return False
