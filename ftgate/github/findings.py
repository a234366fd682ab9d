"""What `ftgate doctor` says about one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "missing", "unknown", "note"]


@dataclass(frozen=True, slots=True)
class SetupCheck:
    """One thing that was looked at. ``fix`` says what to do; empty if nothing. A ``note`` is no fault."""

    level: Level
    text: str
    fix: str = ""
