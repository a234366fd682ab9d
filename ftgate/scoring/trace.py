"""Reasoning traces: what a model writes before its answer, and where the answer begins. Pure.

The marks are those of the models that vLLM has reasoning parsers for, and those that fine-tuning recipes teach. They
are recognised by their form, so that a tokenizer's own (``<my:think>``) need no entry here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import regex

from ftgate.domain import Answer

Trace = Literal["", "open", "closed"]
OPEN: Trace = "open"
CLOSED: Trace = "closed"
"""The values of :attr:`ftgate.domain.Answer.trace` for an answer with a trace."""

LONGEST_LINE = 1000
"""Characters before and after a mark in which the ends of inline code are looked for."""
_QUOTE_BEFORE = regex.compile(r"(?:\A|[\s(\[{=,:])[\"'“‘«「]\Z")
_CLOSING_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "「": "」"}
_THOUGHT = r"(?:think(?:ing)?(?:_fast(?:er)?)?|longcat_think|thoughts?|reasoning)"
_BAR, _JOINT = r"[|｜]?", "[_▁ ]"
# [Reasoning] with one capital is a heading, which nothing closes.
_OPENING = (
    rf"<{_BAR}(?:[\w-]+[:|])?(?i:{_THOUGHT})(?::[\w-]+)?{_BAR}>|\[(?!\p{{Lu}}\p{{Ll}})(?i:{_THOUGHT})\]|◁think▷|<start_working_out>|<unused94>"
    rf"|<{_BAR}(?:\w+:)?(?i:(?:begin|start){_JOINT}(?:of{_JOINT})?{_THOUGHT}|{_THOUGHT}{_JOINT}(?:begin|start))(?::\w+)?{_BAR}>"
    r"|<\|channel>|<\|open\|>think<\|sep\|>"
)
_CLOSING = (
    rf"</(?:[\w-]+[:|])?(?i:{_THOUGHT})(?::[\w-]+)?>|<{_BAR}/(?i:{_THOUGHT}){_BAR}>|\[/(?i:{_THOUGHT})\]|◁/think▷"
    rf"|<{_BAR}(?:\w+:)?(?i:end{_JOINT}(?:of{_JOINT})?{_THOUGHT}|{_THOUGHT}{_JOINT}end)(?::\w+)?{_BAR}>"
    r"|<end_working_out>|<unused95>|<channel\|>|<\|close\|>think<\|sep\|>|\[BEGIN FINAL RESPONSE\]"
)
_LOOSE = r"(?i:scratchpad|reflection|analysis)"
_LOOSE_TRACE = regex.compile(rf"(?s)\s*+<(?P<name>{_LOOSE})>(?:.*(?P<closing></(?P=name)>)\s*\S|(?!.*</(?P=name)>))")
"""Tags that an answer may have for other reasons: they hold a trace if it begins with one and goes on after it."""
_MARK = regex.compile(f"(?P<opening>{_OPENING})|(?P<closing>{_CLOSING})")
_OPENING_AT_START = regex.compile(rf"\s*+(?:{_OPENING})")
_OPENING_AT_END = regex.compile(rf"({_OPENING})\s*\Z")
_ENDS = {
    "start_working": "end_working",
    "unused94": "unused95",
    "begin": "end",
    "BEGIN": "END",
    "start": "end",
    "START": "END",
    "<|open|>": "<|close|>",
    "<|channel>": "<channel|>",
}
"""What opening marks have where closing ones have something else than a stroke."""
_FENCE = regex.compile(r"(?m)^[ \t]*(?:```|~~~)")
_IN_WORDS = regex.compile(
    r"\A\s*Here(?: i|')s my thought process:(?P<answer>.*?Here(?: i|')s my response:)?", regex.DOTALL
)
"""The marks of Granite 3, which are sentences."""

_CHANNEL = regex.compile(
    r"(?:<\|channel\|>(?:(?P<final>final)|analysis|commentary)|to=(?:(?P<final>user)|self))[^<]{0,200}"
    r"(?:<\|constrain\|>[^<]{0,200})?<\|message\|>"
)
"""The header of a message in harmony (gpt-oss) and formats like it, which name the channel of each."""
_TOOL = "to=functions."
"""What names the tool that a message calls; such a message is on no channel for the user."""
_CHANNEL_END = regex.compile(r"<\|(?:end|return|call|eom|eot|start)\|>")
_BARE_CHANNELS = regex.compile(r"\Aanalysis(?:.*assistantfinal|(?=\p{Lu}))", regex.DOTALL)
"""The same where a server has removed the control tokens."""
_CHANNEL_TOKENS = frozenset(["<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>", "<|eom|>"])

_ANSWER = regex.compile(
    r"\s*+(?:<(?P<tag>answer|response|SOLUTION)>(?P<text>.*?)(?:</(?P=tag)>.*)?"
    r"|<\|(?:START_RESPONSE|begin_of_solution)\|>(?P<text>.*?)(?:<\|(?:END_RESPONSE|end_of_solution)\|>\s*)?"
    r"|<\|open\|>response<\|sep\|>(?P<text>.*?)(?:<\|close\|>.*)?|(?P<text>.*?)\[END FINAL RESPONSE\].*)\Z",
    regex.DOTALL,
)
"""Marks around the whole answer that follows a trace."""


class FinalAnswer(NamedTuple):
    """What a text answers. ``trace`` says whether there was a trace before: OPEN, CLOSED, or empty for none."""

    text: str
    trace: Trace = ""


def final_answer(text: str) -> FinalAnswer:
    """What follows the last closing mark of a reasoning trace; the whole ``text`` where there is no trace.

    Only the closing mark needs to be there: many chat templates put the opening one into the prompt. A trace that began
    and never closed leaves no answer. Marks within quotes and code are part of a text, but for those in a fence of a
    text that begins with a trace and has no others: traces often leave a fence open.
    """
    if (channels := _by_channel(text)) is not None:
        return channels
    if (words := _IN_WORDS.match(text)) is not None:
        return FinalAnswer(text[words.end() :].strip(), CLOSED) if words["answer"] else FinalAnswer("", OPEN)
    if (loose := _LOOSE_TRACE.match(text)) is not None:
        answer = text[loose.end("closing") :].lstrip()
        return FinalAnswer(_unwrapped(answer), CLOSED) if loose["closing"] else FinalAnswer("", OPEN)
    marks = [mark for mark in _MARK.finditer(text) if not _is_quoted(text, mark)]
    if not marks:
        return FinalAnswer(text)
    starts_with_trace = _OPENING_AT_START.match(text) is not None
    fences = [fence.start() for fence in _FENCE.finditer(text)]
    closing = [mark for mark in marks if mark["closing"]]
    outside = [mark for mark in closing if not _in_fence(mark.start(), fences)]
    last = next(reversed(outside or (closing if starts_with_trace else [])), None)
    answer = text if last is None else text[last.end() :].lstrip()
    begun = (mark for mark in marks if mark["opening"] and (last is None or mark.start() >= last.end()))
    if any(_begins_line(text, mark, last) and not _in_fence(mark.start(), fences) for mark in begun):
        return FinalAnswer("", OPEN)
    return FinalAnswer(answer) if last is None else FinalAnswer(_unwrapped(answer), CLOSED)


def end_of_trace(text: str) -> int | None:
    """Where the first trace in ``text`` has ended: after its closing mark, or after the header of the final channel.

    None if none has.
    """
    if (final := next((header for header in _CHANNEL.finditer(text) if header["final"]), None)) is not None:
        return final.end()
    marks = (mark for mark in _MARK.finditer(text) if mark["closing"] and not _is_quoted(text, mark))
    return next((mark.end() for mark in marks), None)


def begins_trace(text: str) -> bool:
    """Whether ``text`` begins with a trace, ended or not."""
    header = _CHANNEL.match(text.removeprefix("<|start|>assistant")) if "<|message|>" in text else None
    if header is not None or text.startswith("<|channel|>analysis"):
        return header is None or not header["final"]
    return _OPENING_AT_START.match(text) is not None or _IN_WORDS.match(text) is not None


def has_mark(text: str) -> bool:
    """Whether a mark that opens or closes a trace stands anywhere in ``text``."""
    return _MARK.search(text) is not None


def is_closing(mark: str) -> bool:
    """Whether ``mark`` is one that closes a trace."""
    match = _MARK.fullmatch(mark)
    return match is not None and match["closing"] is not None


def without_trace(answer: Answer) -> Answer:
    """The answer as it is scored: its text without a trace. One whose trace never closed counts as cut off.

    The text of an answer by options is the trace before them.
    """
    if answer.error is not None or answer.trace or not answer.text:
        return answer
    text, trace = final_answer(answer.text)
    if answer.option_logprobs:
        text = ""
    return replace(answer, text=text, trace=trace, finish="length" if trace == OPEN else answer.finish)


def opening_at_end(prompt: str) -> str:
    """The opening mark that a rendered prompt ends with; empty if it ends with none."""
    match = _OPENING_AT_END.search(prompt[-100:])
    return match[1] if match is not None else ""


def closing_of(opening: str) -> str:
    """The mark that closes a trace which ``opening`` begins; empty where its kind has none of its own."""
    candidates = [f"{opening[:1]}/{opening[1:]}", f"{opening[:2]}/{opening[2:]}"] + [
        opening.replace(begins, ends) for begins, ends in _ENDS.items() if begins in opening
    ]
    return next((mark for mark in candidates if is_closing(mark)), "")


def trace_tokens(tokens: Iterable[str]) -> frozenset[str]:
    """Those of a tokenizer's ``tokens`` that mark traces, and so must stay in an answer's text."""
    names = frozenset(tokens)
    channels = _CHANNEL_TOKENS & names if "<|channel|>" in names or "<|eom|>" in names else frozenset[str]()
    parts = {"<|open|>", "<|close|>", "<|sep|>"} & names if "<|sep|>" in names else set[str]()
    return channels | parts | {name for name in names if _MARK.fullmatch(name) or _ANSWER_TOKEN.fullmatch(name)}


_ANSWER_TOKEN = regex.compile(r"<\|(?:START_RESPONSE|END_RESPONSE|begin_of_solution|end_of_solution)\|>")


def _by_channel(text: str) -> FinalAnswer | None:
    """The last message on the channel for the user; None if the text names no channels.

    Only what another channel says before it, or before a call of a tool, is a trace.
    """
    headers = list(_CHANNEL.finditer(text)) if "<|message|>" in text else []
    if headers:
        final = next((header for header in reversed(headers) if header["final"]), None)
        if final is None:
            call = text.find(_TOOL)
            return FinalAnswer("", OPEN) if call < 0 else FinalAnswer(text[call:], _trace_before(call, headers))
        end = _CHANNEL_END.search(text, final.end())
        answer = text[final.end() : end.start() if end else len(text)].strip()
        return FinalAnswer(answer, _trace_before(final.start(), [each for each in headers if not each["final"]]))
    bare = _BARE_CHANNELS.match(text)
    if bare is None:
        return None
    return FinalAnswer(text[bare.end() :].strip(), CLOSED) if bare.end() > len("analysis") else FinalAnswer("", OPEN)


def _trace_before(position: int, headers: Sequence[regex.Match[str]]) -> Trace:
    return CLOSED if any(header.end() <= position for header in headers) else ""


def _unwrapped(answer: str) -> str:
    match = _ANSWER.match(answer)
    return match["text"].strip() if match is not None else answer


def _in_fence(position: int, fences: list[int]) -> bool:
    """Whether a position is within fenced code: after an odd number of fences, and before another."""
    before = bisect_left(fences, position)
    return before % 2 == 1 and before < len(fences)


def _is_quoted(text: str, mark: regex.Match[str]) -> bool:
    """Whether a mark stands between quotes that nothing else is in, or in inline code: ``split("</think>")``."""
    before = text[max(0, mark.start() - LONGEST_LINE) : mark.start()].rpartition("\n")[2]
    after = text[mark.end() : mark.end() + LONGEST_LINE].partition("\n")[0]
    if _QUOTE_BEFORE.search(before) is not None and after[:1] in _CLOSING_QUOTES.get(before[-1], ""):
        return True
    return before.count("`") % 2 == 1 and "`" in after


def _begins_line(text: str, mark: regex.Match[str], last: regex.Match[str] | None) -> bool:
    start = max(text.rfind("\n", 0, mark.start()) + 1, last.end() if last is not None else 0)
    return not text[start : mark.start()].strip()
