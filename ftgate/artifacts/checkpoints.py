"""Checkpoints of an unfinished download whose source lists no hash: which of its bytes are still as they arrived.

A killed download goes on from the bytes that it left. Without a hash of the whole file nobody would notice that one of
them was damaged meanwhile. A line of the file beside the part says how many bytes had arrived, and their SHA-256.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO

STEP = 16_000_000
"""Bytes between two checkpoints: at most so many are fetched again after a kill."""


class Checkpoints:
    """The checkpoints of the part in ``path``; of no effect if a hash is ``listed``, which shows damage in the end."""

    def __init__(self, path: Path, *, listed: bool) -> None:
        self._listed = listed
        self._path = path.with_name(f"{path.name}.sums")
        self._last = 0

    def verified_length(self, part: BinaryIO) -> int:
        """How many bytes of ``part`` agree with the checkpoints; those of the others are forgotten."""
        if self._listed:
            return part.seek(0, os.SEEK_END)
        part.seek(0)
        digest, length, lines = hashlib.sha256(), 0, ""
        for size, expected in self._recorded():
            while chunk := part.read(min(1 << 20, size - part.tell())):
                digest.update(chunk)
            if part.tell() != size or digest.hexdigest() != expected:
                break
            length, lines = size, f"{lines}{size} {expected}\n"
        self._path.write_text(lines, encoding="ascii")
        self._last = length
        return length

    def add(self, part: BinaryIO, size: int, sha256: str) -> None:
        """Record that the first ``size`` bytes of ``part``, which are written, have this hash."""
        if size > self._last and not self._listed:
            part.flush()
            with self._path.open("a", encoding="ascii") as file:
                file.write(f"{size} {sha256}\n")
            self._last = size

    def is_due(self, size: int) -> bool:
        """Whether ``size`` bytes are a step more than at the last checkpoint."""
        return size - self._last >= STEP

    def _recorded(self) -> list[tuple[int, str]]:
        """Sizes and hashes, up to a line that is damaged or was cut short."""
        recorded: list[tuple[int, str]] = []
        try:
            lines = self._path.read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            return []
        for line in lines:
            size, _, sha256 = line.partition(" ")
            if not size.isdigit() or int(size) <= (recorded[-1][0] if recorded else 0):
                break
            recorded.append((int(size), sha256))
        return recorded
