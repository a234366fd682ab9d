"""vLLM's tool parsers, which read the calls in an answer as ``vllm serve`` does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ftgate.domain import Answer, Question
from ftgate.errors import ConfigurationError
from ftgate.scoring.tool_calls import BROKEN, call_of, calls_in
from ftgate.scoring.trace import final_answer


def require_parser(name: str | None, tokenizer: Any = None) -> None:
    """Raise ConfigurationError if vLLM has no tool parser ``name``, or it does not fit this ``tokenizer``."""
    if name is None:
        return
    from vllm.tool_parsers import ToolParserManager

    names = sorted(ToolParserManager.list_registered())
    if name not in names:
        raise ConfigurationError(
            f"engine.tool_parser: this vLLM has no parser {name!r}", hint=f"use one of {', '.join(names)}"
        )
    if tokenizer is None:
        return
    try:
        ToolParserManager.get_tool_parser(name)(tokenizer)
    except Exception as error:  # whatever it misses in the vocabulary
        raise ConfigurationError(
            f"engine.tool_parser: {name} does not fit this model: {error}",
            hint="name the parser of the model's family, or leave it out: common ways to write calls are read anyway",
        ) from None


def parsed(answer: Answer, name: str, tokenizer: Any, question: Question) -> Answer:
    """``answer``, to a question with tools, with the calls that parser ``name`` reads after its reasoning trace.

    A parser that fails has read a broken call. The text stays as it is.
    """
    if not question.tools or answer.error is not None:
        return answer
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.tool_parsers import ToolParserManager

    text = final_answer(answer.text).text
    fields = {"model": "", "messages": [], "tools": [dict(tool) for tool in question.tools]}
    request = ChatCompletionRequest.model_validate(fields)
    try:
        parser = ToolParserManager.get_tool_parser(name)(tokenizer, request.tools)
        calls = [call_of(call.model_dump()) for call in parser.extract_tool_calls(text, request).tool_calls]
    except Exception:  # whatever a parser does with what a model wrote
        calls = [BROKEN]
    # A parser finds no call in one that is broken, which is not the same as an answer without calls.
    return replace(answer, tool_calls=tuple(calls or [call for call in calls_in(text) if call == BROKEN]))
