"""Tokenizer and chat template of a snapshot, and how those of two models differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")
_MAX_BYTES = 100_000_000
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """How a model reads text. ``vocabulary``: SHA-256 (hex) of the tokenizer's main file; ``template``: its text."""

    vocabulary: str = ""
    template: str = ""
    special: Mapping[str, str] = field(default_factory=dict)

    @property
    def template_digest(self) -> str:
        """SHA-256 (hex) of the chat template; empty if there is none."""
        return hashlib.sha256(self.template.encode("utf-8", "surrogatepass")).hexdigest() if self.template else ""


def read_tokenizer(folder: Path) -> TokenizerFacts:
    """The tokenizer facts of ``folder``. Unreadable files count as absent: whoever needs them reports it."""
    settings = _read_object(folder / "tokenizer_config.json")
    special = {**_read_object(folder / "special_tokens_map.json"), **settings}
    tokens = {role: _token_text(special.get(role)) for role in _ROLES}
    file = next((folder / name for name in _VOCABULARIES if (folder / name).is_file()), None)
    return TokenizerFacts(
        _sha256(file) if file is not None else "",
        _template(folder, settings),
        {role: token for role, token in tokens.items() if token},
    )


def differences(base: TokenizerFacts, other: TokenizerFacts) -> list[str]:
    """How ``other`` reads text differently from ``base``, in words. What ``other`` lacks is not a difference."""
    changes = []
    if other.vocabulary and base.vocabulary != other.vocabulary:
        changes.append(f"the tokenizer's files (sha256 {base.vocabulary[:12] or 'none'} and {other.vocabulary[:12]})")
    if other.template and base.template != other.template:
        digests = f"sha256 {base.template_digest[:12] or 'none'} and {other.template_digest[:12]}"
        changes.append(f"the chat template ({digests})")
    if other.special:
        for role in _ROLES:
            base_token, other_token = base.special.get(role, "none"), other.special.get(role, "none")
            if base_token != other_token:
                changes.append(f"{role} ({base_token!a:.40} and {other_token!a:.40})")
    return changes


def _template(folder: Path, settings: Mapping[str, Any]) -> str:
    file = folder / "chat_template.jinja"
    if file.is_file() and file.stat().st_size <= _MAX_BYTES:
        return file.read_text(encoding="utf-8", errors="replace")
    template = _read_object(folder / "chat_template.json").get("chat_template") or settings.get("chat_template")
    if isinstance(template, list):  # several named templates
        template = next(
            (e.get("template") for e in template if isinstance(e, dict) and e.get("name") == "default"), None
        )
    return template if isinstance(template, str) else ""


def _token_text(token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes()) if path.stat().st_size <= _MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
