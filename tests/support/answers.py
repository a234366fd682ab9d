"""Answers as models give them, all of them well-formed: in many languages, and in layouts that look unlike prose."""

from __future__ import annotations

import json
from pathlib import Path

_ANSWERS = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
PROSE: dict[str, str] = _ANSWERS["prose"]
"""The same two sentences by language."""
LAYOUTS: dict[str, str] = _ANSWERS["layouts"]
"""Tables, code, data and verses by name."""
WELL_FORMED = {**PROSE, **LAYOUTS}
