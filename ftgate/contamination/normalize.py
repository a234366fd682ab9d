"""Text in the form in which it is compared."""

from __future__ import annotations

import unicodedata

import regex

_ASCII = {i: ord(chr(i).lower()) if chr(i).isalnum() else ord(" ") for i in range(128)}
_WORD = regex.compile(
    # Scripts that put no space between words are read character by character.
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*|"
    r"[[\p{L}\p{N}\p{M}]--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]+",
    regex.V1,
)
_UNSEEN = regex.compile(r"\p{Cf}+")
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
    """``text`` as compared: NFKC, lower case (folded), words without punctuation. One of signs alone is one word."""
    if text.isascii():
        return text.translate(_ASCII).split() or _signs(text)
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = _UNSEEN.sub("", folded)
    return _WORD.findall(seen) or _signs(seen)


def _signs(text: str) -> list[str]:
    bare = "".join(text.split())
    return [bare] if bare else []


def segments(text: str) -> list[str]:
    """``text`` cut where a chat template marks a turn, the marks left out."""
    if not ("<" in text or "[" in text or ":" in text):
        return [text]
    return [part for part in _TEMPLATE.split(text) if part and not part.isspace()]
