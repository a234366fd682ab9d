"""Tokenizer and chat template of a snapshot, and how those of two models differ."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftgate.engines.template_files import read_object, read_templates
from ftgate.scoring.trace import has_mark

_ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")
_ABOUT_THOUGHTS = re.compile(r"think|thought|reason|<\|channel|<\|start\|>assistant", re.IGNORECASE)
_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """How a model reads text. ``vocabulary``: SHA-256 (hex) of the tokenizer's main file; ``template``: its text.

    ``tool_template``: that for conversations with tools, where there is another one.
    """

    vocabulary: str = ""
    template: str = ""
    tool_template: str = ""
    special: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def template_digest(self) -> str:
        """SHA-256 (hex) of the chat templates, :func:`template_sha256`; empty if there is none."""
        return template_sha256(self.template, self.tool_template) if self.template else ""


def read_tokenizer(folder: Path) -> TokenizerFacts:
    """The tokenizer facts of ``folder``. Unreadable files count as absent: whoever needs them reports it."""
    settings, templates = read_object(folder / "tokenizer_config.json"), read_templates(folder)
    special = {**read_object(folder / "special_tokens_map.json"), **settings}
    tokens = {role: _token_text(special.get(role)) for role in _ROLES}
    file = next((folder / name for name in _VOCABULARIES if (folder / name).is_file()), None)
    return TokenizerFacts(
        _sha256(file) if file is not None else "",
        templates.default,
        templates.tool_use,
        {role: token for role, token in tokens.items() if token},
    )


def differences(base: TokenizerFacts, other: TokenizerFacts) -> list[str]:
    """How ``other`` reads text differently from ``base``, in words. What ``other`` lacks is not a difference."""
    changes = []
    if other.vocabulary and base.vocabulary != other.vocabulary:
        changes.append(f"the tokenizer's files (sha256 {base.vocabulary[:12] or 'none'} and {other.vocabulary[:12]})")
    if other.template and base.template_digest != other.template_digest:
        digests = f"sha256 {base.template_digest[:12] or 'none'} and {other.template_digest[:12]}"
        changes.append(f"the chat template ({digests})")
    if other.special:
        for role in _ROLES:
            base_token, other_token = base.special.get(role, "none"), other.special.get(role, "none")
            if base_token != other_token:
                changes.append(f"{role} ({base_token!a:.40} and {other_token!a:.40})")
    return changes


def template_sha256(template: str, tool_template: str = "") -> str:
    """SHA-256 (hex) of a chat template or, where conversations with tools have another one, of both."""
    text = template if not tool_template else json.dumps([template, tool_template])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def may_think(template: str) -> bool:
    """Whether a chat template says anything about thinking: a mark, a switch, or channels."""
    return _ABOUT_THOUGHTS.search(template) is not None or has_mark(template)


def _token_text(token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else ""


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
