"""What a reader of GitHub would get: Markdown rendered to tokens, and what in them could act.

``gfm-like`` rendering needs linkify-it; where it is not installed, text is searched for whatever it or GitHub's own
filters would turn into a link.
"""

from __future__ import annotations

import re
from importlib.util import find_spec

from markdown_it import MarkdownIt
from markdown_it.token import Token

LINKABLE = re.compile(
    r"@[\w-]"  # a mention, or the middle of an e-mail address
    r"|(?<!&)\#\w"  # an issue
    r"|\bgh-\d"
    r"|://|\bwww\.|(?<!\w)//\w"
    r"|\b\S+\.(?:com|org|net|io|de|dev|ai)\b"
    r"|\b(?:mailto|xmpp|javascript|data):[^\s\u200b]"
    r"|:[a-z0-9_+-]+:"  # an emoji short code
    r"|\$"  # a formula
    r"|\b[0-9a-f]{7,40}\b",  # a commit
    re.IGNORECASE,
)
COMMIT = re.compile(r"\b[0-9a-f]{7,40}\b")


def parser() -> MarkdownIt:
    linkify = find_spec("linkify_it") is not None
    found = MarkdownIt("gfm-like" if linkify else "commonmark", {"html": True, "linkify": linkify})
    return found.enable(["table", "strikethrough"])


def tokens(text: str) -> list[Token]:
    """All tokens, those inside paragraphs and cells included."""
    return [t for top in parser().parse(text) for t in (top, *(top.children or []))]


def kinds(text: str) -> list[str]:
    return [t.type for t in tokens(text) if t.type not in ("text", "inline", "text_special")]


def words(text: str) -> str:
    """The text that is neither code nor markup: what GitHub's filters would search."""
    return "\n".join(
        "".join(c.content if c.type in ("text", "text_special") else " " for c in t.children or [])
        for t in parser().parse(text)
        if t.type == "inline"
    )


def linkable(text: str) -> list[str]:
    """Whatever in the readable text would become a link, a mention, an emoji or a formula."""
    return [found for found in (m.group() for m in LINKABLE.finditer(words(text))) if not found.isdigit()]
