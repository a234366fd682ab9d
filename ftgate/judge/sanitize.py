"""Sanitising untrusted text for the judge: it can neither close its fence nor open a turn of the conversation.

Ordinary text is unchanged: prose in any script, HTML, code, arrows and comparison signs. Changed text stays readable: a
space after the first character breaks each marker. Engines that know the judge's tokenizer break its remaining control
tokens themselves (``Question.untrusted``).
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_CHARACTERS = 8_000
"""The judge sees at most this much of an answer, about 2000 tokens of English: half of the default context."""
RETRY_CHARACTERS = 1_000
"""After an unreadable reply, prompt, reference and answer are truncated to this for the second question."""

_OPENING, _CLOSING = r"\[［﹇【", r"\]］﹈】"
_DOUBLE = str.maketrans({"⟦": "[[", "〚": "[[", "⟧": "]]", "〛": "]]"})
_FENCE = re.compile(rf"(?<=[{_OPENING}])(?=[{_OPENING}])|(?<=[{_CLOSING}])(?=[{_CLOSING}])")

# Invisible characters could hide inside a marker. Joiners and variation selectors are part of some scripts and of
# emoji, but never after a sign of ASCII or a bracket.
_HIDDEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_JOINING = "\u200c\u200d\ufe00-\ufe0f"
_INVISIBLE = re.compile(f"[{_HIDDEN}]+|(?<=[\0-\x7f{_OPENING}{_CLOSING}＜｜{_HIDDEN}])[{_JOINING}]+")
_UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# Control tokens of the known chat model families: <|im_end|>, <|turn> and the like, also with full-width and
# small signs; tags by name, since any other tag may be part of an answer; [INST], [|assistant|],
# <<SYS>> and ]~b].
_TAGS = (
    r"s|bos|eos|pad|unk|mask|sep|cls|endoftext|think\w*|thought|tools?|tool_\w+|function_\w+|im_\w+|image|image_\w+|"
    r"(?:start|end|begin|beginning)_\w+|fim_\w+|unused_?\d+|extra_id_\d+|special_\d+|reserved_\w+|[segc]op|"
    r"assistant|human|bot"
)
_BRACKETED = (
    r"INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_\w+|CALL_ID|ARGS|THINK|MODEL_SETTINGS|IMG\w*|(?:BEGIN_)?AUDIO|"
    r"PREFIX|MIDDLE|SUFFIX|CLS|SEP|PAD|MASK|UNK|BOS|EOS|[gs]MASK|control_\d+"
)
_CONTROL = re.compile(
    rf"[<＜﹤](?=[|｜][^\s|｜>＞﹥=]|/?[\w▁]+[|｜][>＞﹥]|/?(?i:{_TAGS})[>＞﹥]|</?SYS>>)"
    rf"|[\[［](?=/?(?:{_BRACKETED})[\]］]|[|｜]\w+[|｜][\]］]|e~\[)|\](?=~!?b[\[\]])"
)


@lru_cache(maxsize=64)  # every text is used in six prompts in a row, and may be long
def sanitize(text: str) -> str:
    """``text`` with fences and control tokens broken by a space, and invisible characters removed.

    Zero-width characters are dropped; control characters and lone surrogates become U+FFFD, since the judge should see
    broken output. Idempotent.
    """
    text = _UNPRINTABLE.sub("\ufffd", _INVISIBLE.sub("", text.translate(_DOUBLE)))
    return _CONTROL.sub(r"\g<0> ", _FENCE.sub(" ", text))


def truncate_middle(text: str, most: int) -> str:
    """``text``, or its first and last ``most // 2`` characters with a line between that counts what is missing."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n(… {len(text) - 2 * (most // 2):,} characters left out …)\n{text[-(most // 2) :]}"
