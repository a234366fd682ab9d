"""The chat templates that a tokenizer's folder holds: one, or several with names."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_MAX_BYTES = 100_000_000
_DEFAULT, _TOOLS = "default", "tool_use"
"""The names by which transformers chooses among several templates."""


class Chat(NamedTuple):
    """What a model is asked with, :attr:`ftgate.domain.Model.chat`.

    The folder of its tokenizer, its chat template, and the one for conversations with tools, empty if there is none.
    Templates are texts: what was read once is asked, whatever happens to the file.
    """

    tokenizer: Path
    template: str
    tool_template: str = ""


@dataclass(frozen=True, slots=True)
class ChatTemplates:
    """The template for conversations and, where there is another one for those with tools, that one.

    ``names``: all named templates of the folder. Where there are several and none is called ``default``, it is unknown
    which one is meant, and both templates are empty.
    """

    default: str = ""
    tool_use: str = ""
    names: tuple[str, ...] = ()

    def named(self, *, tools: bool) -> str:
        """The template for a conversation with or without tools."""
        return self.tool_use if tools and self.tool_use else self.default


def read_templates(folder: Path) -> ChatTemplates:
    """The chat templates in ``folder``, by the precedence of transformers: a file of its own comes first.

    Files that cannot be read count as absent.
    """
    settings = read_object(folder / "tokenizer_config.json").get("chat_template")
    templates = _by_name(read_object(folder / "chat_template.json").get("chat_template") or settings)
    if (own := _text(folder / "chat_template.jinja")) is not None:
        templates = {_DEFAULT: own}
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        if (text := _text(path)) is not None:
            templates[path.stem] = text
    default = templates.get(_DEFAULT) or (next(iter(templates.values())) if len(templates) == 1 else "")
    return ChatTemplates(default, templates.get(_TOOLS, "") if default else "", tuple(sorted(templates)))


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; empty if there is none."""
    try:
        value = json.loads(path.read_bytes()) if path.stat().st_size <= _MAX_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _by_name(value: Any) -> dict[str, str]:
    if isinstance(value, str):
        return {_DEFAULT: value} if value else {}
    if isinstance(value, list):
        value = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, dict)}
    if not isinstance(value, dict):
        return {}
    return {name: text for name, text in value.items() if isinstance(name, str) and isinstance(text, str) and text}


def _text(path: Path) -> str | None:
    try:
        if path.stat().st_size > _MAX_BYTES:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
