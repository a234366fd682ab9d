"""Text normalisation for comparison."""

from __future__ import annotations

import unicodedata

import regex

_ASCII = {i: ord(chr(i).lower()) if chr(i).isalnum() else ord(" ") for i in range(128)}
_WORD = regex.compile(
    # Scripts without spaces between words are compared character by character.
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*|"
    r"[[\p{L}\p{N}\p{M}]--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]+",
    regex.V1,
)
_INVISIBLE = regex.compile(r"\p{Cf}+")
_ROLE = r"(?:system|user|assistant|human|model|tool|ipython)"
_TEMPLATE = regex.compile(
    rf"<\|start_header_id\|>\s*{_ROLE}\s*<\|end_header_id\|>"
    rf"|<\|im_start\|>[ \t]*{_ROLE}?\b"
    rf"|<start_of_turn>[ \t]*{_ROLE}?\b"
    r"|<[|｜][^<>|｜\n]{1,40}[|｜]>"
    r"|</?s>|<(?:bos|eos|pad|unk|end_of_turn)>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS)\]|<</?SYS>>"
    rf"|^[ \t]*(?:\#\#\#[ \t]*(?:instruction|input|response|{_ROLE})|{_ROLE})[ \t]*:",
    regex.IGNORECASE | regex.MULTILINE,
)


def words(text: str) -> list[str]:
    """Normalised words of ``text``: NFKC, case-folded, no punctuation. Text of symbols alone is one word."""
    if text.isascii():
        return text.translate(_ASCII).split() or _symbols(text)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    visible = _INVISIBLE.sub("", folded)
    return _WORD.findall(visible) or _symbols(visible)


def _symbols(text: str) -> list[str]:
    bare = "".join(text.split())
    return [bare] if bare else []


def segments(text: str) -> list[str]:
    """``text`` split at the turn markers of chat templates, without the markers."""
    if not ("<" in text or "[" in text or ":" in text):
        return [text]
    return [part for part in _TEMPLATE.split(text) if part and not part.isspace()]


def words_of(text: str) -> list[str]:
    """The normalised words of ``text`` without the turn markers of chat templates."""
    return [word for part in segments(text) for word in words(part)]
