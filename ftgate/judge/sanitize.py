"""Text under judgement, made harmless: it can neither close its fence nor open a turn of the judge's conversation.

Ordinary text comes out as it went in: prose in any script, HTML, code, arrows and comparison signs. What is touched
stays readable: a space is put after the first sign of a mark, so that it is no mark any more. Engines that know the
judge's tokenizer break the rest of its control tokens themselves (``Question.untrusted``).
"""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 8_000
"""An answer is judged on at most this many characters, about 2000 tokens of English: half of the default context."""
SHORTEST = 1_000
"""Where a judge did not take a question, prompt, reference and answer are cut to this before it is asked once more."""

_OPENING, _CLOSING = r"\[［﹇【", r"\]］﹈】"
_DOUBLE = str.maketrans({"⟦": "[[", "〚": "[[", "⟧": "]]", "〛": "]]"})
_FENCE = re.compile(rf"(?<=[{_OPENING}])(?=[{_OPENING}])|(?<=[{_CLOSING}])(?=[{_CLOSING}])")

# Nobody sees these, so they could stand inside a mark. Joiners and variation selectors are part of some scripts and of
# emoji, but never after a sign of ASCII or a bracket.
_HIDDEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_JOINING = "\u200c\u200d\ufe00-\ufe0f"
_UNSEEN = re.compile(f"[{_HIDDEN}]+|(?<=[\0-\x7f{_OPENING}{_CLOSING}＜｜{_HIDDEN}])[{_JOINING}]+")
_UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

# Control tokens of the families of chat models that there are: <|im_end|> and <|turn> with all that is like them, with
# full-width and small signs as well; tags by name, since any other tag may be part of an answer; [INST], [|assistant|],
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


@lru_cache(maxsize=64)  # every text is asked about six times in a row, and may be long
def harmless(text: str) -> str:
    """``text`` with fences and control tokens broken by a space, and with nothing in it that cannot be seen.

    Zero-width characters are dropped; control characters and lone surrogates become U+FFFD, since broken output is
    damage that the judge should see. Applying it twice changes nothing more.
    """
    text = _UNPRINTABLE.sub("\ufffd", _UNSEEN.sub("", text.translate(_DOUBLE)))
    return _CONTROL.sub(r"\g<0> ", _FENCE.sub(" ", text))


def shortened(text: str, most: int) -> str:
    """``text`` itself, or its first and last ``most // 2`` characters and a line between that says how much is gone."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}\n(… {len(text) - 2 * (most // 2):,} characters left out …)\n{text[-(most // 2) :]}"
