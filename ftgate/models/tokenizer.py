"""Tokenizer and chat template of a snapshot, and in what those of two models differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")
_MOST = 100_000_000
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """How a model reads text. ``vocabulary`` is the SHA-256 (hex) of the tokenizer's own file, ``template`` a text."""

    vocabulary: str = ""
    template: str = ""
    special: Mapping[str, str] = field(default_factory=dict)

    @property
    def template_digest(self) -> str:
        """SHA-256 (hex) of the chat template, or nothing where there is none."""
        return hashlib.sha256(self.template.encode("utf-8", "surrogatepass")).hexdigest() if self.template else ""


def read_words(folder: Path) -> TokenizerFacts:
    """What ``folder`` holds of them. What cannot be read counts as absent: whoever needs it says so."""
    settings = _object(folder / "tokenizer_config.json")
    special = {**_object(folder / "special_tokens_map.json"), **settings}
    named = {role: _content(special.get(role)) for role in _ROLES}
    file = next((folder / name for name in _VOCABULARIES if (folder / name).is_file()), None)
    return TokenizerFacts(
        _sha256(file) if file is not None else "",
        _template(folder, settings),
        {role: token for role, token in named.items() if token},
    )


def differences(base: TokenizerFacts, other: TokenizerFacts) -> list[str]:
    """In what ``other`` reads text otherwise than ``base``, in words; what it does not have is no difference."""
    found = []
    if other.vocabulary and base.vocabulary != other.vocabulary:
        found.append(f"the tokenizer's files (sha256 {base.vocabulary[:12] or 'none'} and {other.vocabulary[:12]})")
    if other.template and base.template != other.template:
        digests = f"sha256 {base.template_digest[:12] or 'none'} and {other.template_digest[:12]}"
        found.append(f"the chat template ({digests})")
    if other.special:
        for role in _ROLES:
            one, two = base.special.get(role, "none"), other.special.get(role, "none")
            if one != two:
                found.append(f"{role} ({one!a:.40} and {two!a:.40})")
    return found


def _template(folder: Path, settings: Mapping[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file() and file.stat().st_size <= _MOST:
        return file.read_text(encoding="utf-8", errors="replace")
    found = _object(folder / "chat_template.json").get("chat_template") or settings.get("chat_template")
    if isinstance(found, list):  # several, by name
        found = next((e.get("template") for e in found if isinstance(e, dict) and e.get("name") == "default"), None)
    return found if isinstance(found, str) else ""


def _content(token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes()) if path.stat().st_size <= _MOST else None
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
