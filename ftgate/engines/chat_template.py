"""From a question to token ids, for all local engines: chat template, option tokens, length limits."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ftgate.config.engine import Thinking
from ftgate.domain import Answer, Message, Model, Question
from ftgate.engines.base import base_of
from ftgate.engines.conversation import Conversations, Tools, Turns, failure
from ftgate.engines.template_files import Chat, ChatTemplates, read_object, read_templates
from ftgate.engines.template_limits import within_limits
from ftgate.engines.thoughts import closed_at_once, switches, template_thinks, thought_form
from ftgate.errors import ArtifactError
from ftgate.scoring.trace import opening_at_end, trace_tokens

TEMPLATE_SECONDS = 5.0
"""Processor time per conversation: a chat template is a program that came with the model."""
TAIL_CHARACTERS = 64
TAIL_TOKENS = 24
"""Tokens at the end of a prompt in which the mark that opens a reasoning trace is looked for."""
CHECKED_TEXTS = 4096
"""Texts of strangers that are known to hold control tokens or none: a judge reads each six times, rubric by rubric."""
_PLACEHOLDER = "ftgate-probe-6b1f"
_MARKUP = re.compile(r"[<\[{(|｜].*[>\]})|｜]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TokenizedQuestion:
    """A question as token ids. ``options`` holds, for each option, the tokens that may start it.

    Where options are continuations of several tokens there are ``continuations`` instead: for each option the token ids
    of the context and, apart, its own.
    """

    ids: list[int]
    options: tuple[tuple[int, ...], ...] = ()
    tools: bool = False
    """Whether the answer may call a tool."""
    continuations: tuple[tuple[list[int], list[int]], ...] = ()
    thinks_after: str = ""
    """The rendered prompt, where the model thinks first: options are then found once the thought has ended."""


class UnanswerableError(Exception):
    """A question that cannot be put to the model; the message becomes the answer's error."""


class Renderer:
    """Renders conversations for a model, with what :func:`chat_of` says.

    With ``thinking`` the model may think for up to ``thinking_tokens`` before it answers.
    """

    def __init__(self, model: Model, max_model_len: int, thinking: Thinking = "off", thinking_tokens: int = 0) -> None:
        self.model = base_of(model)
        self.context = min(max_model_len, context_of(self.model.path) or max_model_len)
        chat = chat_of(model)
        self._tokenizer = load_tokenizer(chat.tokenizer)
        if not chat.template:
            raise ArtifactError(
                f"{self.model.path}: no chat template",
                hint="ftgate needs a chat template: save a chat model's tokenizer with the weights",
            )
        self._switches: Mapping[str, bool] = switches(thinking)
        self._conversations = Conversations(ChatTemplates(chat.template, chat.tool_template), self._fill)
        self.stops = stop_tokens(self.model.path, self._tokenizer)
        begin, end = self._tokenizer.bos_token_id, self._tokenizer.eos_token_id
        self._begin = end if begin is None else begin
        self._begin_text = "" if self._begin is None else str(self._tokenizer.decode([self._begin]))
        self._control_tokens = control_tokens(self._tokenizer)
        # A lookahead also finds a token that starts inside another one.
        self._control_pattern = re.compile(
            f"(?=(?:{'|'.join(map(re.escape, self._control_tokens.values()))})).", re.DOTALL
        )
        self._special = frozenset(self._tokenizer.all_special_ids) | {
            token_id
            for token_id, token in getattr(self._tokenizer, "added_tokens_decoder", {}).items()
            if token.special
        }
        marks = trace_tokens(self._control_tokens.values())
        self._hidden_marks = self._special & {i for i, text in self._control_tokens.items() if text in marks}
        self._has_control_tokens = lru_cache(CHECKED_TEXTS)(self._contains_control_tokens)
        self._option_tokens_by_tail: dict[tuple[str, str], frozenset[int]] = {}
        self.thinks = thinking == "on" or (thinking == "template" and self._template_thinks())
        self.thinking_tokens = thinking_tokens if self.thinks else 0
        self.thoughts = thought_form(
            self._short(self._switches), self._short(switches("off")), self._control_tokens.values()
        )
        tail = self._find_tail()
        try:
            self._constant_tail = tail and without_open_trace(tail)
        except UnanswerableError:  # so is every question with options
            self._constant_tail = None

    def prepare(self, question: Question) -> TokenizedQuestion | Answer:
        """The tokenized question, or a failed answer with the reason why it cannot be asked."""
        try:
            messages = self._without_controls(question.messages) if question.untrusted else question.messages
            text = messages[0].content if question.raw else self._render(messages, question.tools)
            thinks = self.thinks and not question.raw
            if thinks and question.continued:
                raise UnanswerableError("continuations are not read after a thought: set engine.thinking to off")
            if not thinks and (question.options or not question.raw):
                text = without_open_trace(text)
            if question.continued:
                return self._continued(text, question)
            ids = self._encode(text, begins=question.raw)
            self._require_fit(len(ids), max(1, question.max_tokens) + (self.thinking_tokens if thinks else 0))
            if thinks:
                return TokenizedQuestion(ids, tools=bool(question.tools), thinks_after=text)
            return TokenizedQuestion(ids, self._option_tokens(text, question.options), bool(question.tools))
        except UnanswerableError as problem:
            return failed_answer(str(problem))

    def after_thought(self, prompt: str, thought: str, question: Question) -> TokenizedQuestion | Answer:
        """A question with options whose thought has ended, or was none: its options are read after both texts."""
        text = self.thoughts.answer_prompt(prompt, thought) if thought else prompt
        try:
            if not thought:
                text = without_open_trace(text)
            ids = self._encode(text)
            self._require_fit(len(ids), 1)
            return TokenizedQuestion(ids, self._option_tokens(text, question.options))
        except UnanswerableError as problem:
            return failed_answer(str(problem))

    def _continued(self, text: str, question: Question) -> TokenizedQuestion:
        """The options as continuations; where each is one token after one context, a plain read of that token."""
        contexts = question.contexts or (text,) * len(question.options)
        pairs = tuple(self._split(*pair, raw=question.raw) for pair in zip(contexts, question.options, strict=True))
        for context, continuation in pairs:
            self._require_fit(len(context) + len(continuation), 1)
        first = pairs[0][0]
        if all(context == first and len(continuation) == 1 for context, continuation in pairs):
            return TokenizedQuestion(first, tuple((continuation[0],) for _, continuation in pairs))
        return TokenizedQuestion(first, continuations=pairs)

    def _split(self, context: str, continuation: str, *, raw: bool) -> tuple[list[int], list[int]]:
        """Token ids of both, split as the lm-evaluation-harness does (``TemplateLM._encode_pair``).

        They are encoded together, as a tokenizer may merge letters on either side; white space that ends the context
        begins the continuation. An empty context is the token that begins a text.
        """
        if not context:
            ids, begin = self._encode(continuation), self._begin
            if begin is not None and ids and ids[0] != begin:
                return [begin], ids
            before, after = ids[:1], ids[1:]
        else:
            spaces = len(context) - len(context.rstrip())
            if spaces:
                context, continuation = context[:-spaces], context[-spaces:] + continuation
            before, whole = (self._encode(t, begins=raw) for t in (context, context + continuation))
            after = whole[len(before) :]
        if not before or not after:
            raise UnanswerableError(f"the continuation {continuation!r} has no token of its own after its context")
        return before, after

    def _require_fit(self, tokens: int, answer: int) -> None:
        limit = self.context - answer
        if tokens > limit:
            raise UnanswerableError(
                f"the prompt has {tokens} tokens; a context of {self.context} leaves {max(0, limit)} "
                f"with {answer} for the answer"
            )

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation up to the start of the answer. Raises ArtifactError if it cannot be rendered."""
        try:
            return self._encode(self._render(messages))
        except UnanswerableError as problem:
            raise ArtifactError(f"{self.model.path}: {problem}", hint="check the chat template") from None

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of transformers."""
        return self._tokenizer

    def text(self, ids: Sequence[int], prompt: Sequence[int] = (), *, tools: bool = False) -> str:
        """The generated text, without stop token and other special tokens but those that mark a reasoning trace.

        Where the ``prompt`` ends with the mark that opens a trace, the text begins with it. With ``tools`` all special
        tokens stay: some mark calls.
        """
        kept = list(ids[:-1] if ids and ids[-1] in self.stops else ids)
        opening = opening_at_end(str(self._tokenizer.decode(list(prompt[-TAIL_TOKENS:])))) if prompt else ""
        if tools:
            return opening + str(self._tokenizer.decode(kept, skip_special_tokens=False))
        if self._hidden_marks.isdisjoint(kept):
            return opening + str(self._tokenizer.decode(kept, skip_special_tokens=True))
        shown = [token for token in kept if token in self._hidden_marks or token not in self._special]
        return opening + str(self._tokenizer.decode(shown, skip_special_tokens=False))

    def whole_text(self, ids: Sequence[int]) -> str:
        """The generated text with its special tokens, but for the stop token."""
        return str(self._tokenizer.decode(list(ids[:-1] if ids and ids[-1] in self.stops else ids)))

    def _template_thinks(self) -> bool:
        return template_thinks(self._short)

    def _short(self, given: Mapping[str, bool]) -> str:
        """A short conversation with these variables of the template; empty if it fails."""
        before, self._switches = self._switches, given
        try:
            return self._render([Message("user", _PLACEHOLDER)])
        except UnanswerableError:
            return ""
        finally:
            self._switches = before

    def _render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> str:
        try:
            return self._conversations.render(messages, tools)
        except Exception as error:  # an untrusted template may raise anything
            raise UnanswerableError(f"the chat template failed: {failure(error)}") from None

    def _fill(self, template: str, turns: Turns, tools: Tools, *, generation_prompt: bool) -> str:
        given: dict[str, Any] = {"tools": [dict(tool) for tool in tools]} if tools else {}

        def render() -> str:
            return str(
                self._tokenizer.apply_chat_template(
                    [dict(turn) for turn in turns],
                    chat_template=template,
                    tokenize=False,
                    add_generation_prompt=generation_prompt,
                    **self._switches,
                    **given,
                )
            )

        return within_limits(render, TEMPLATE_SECONDS)

    def _encode(self, text: str, *, begins: bool = False) -> list[int]:
        """Token ids of rendered text, which already includes a beginning-of-text token: none is added.

        A raw text ``begins`` without one: it gets what the tokenizer adds to a text, unless it is written there.
        """
        add = begins and not (self._begin_text and text.startswith(self._begin_text))
        try:
            return list(self._tokenizer(text, add_special_tokens=add)["input_ids"])
        except (TypeError, UnicodeError):
            raise UnanswerableError("the text is not valid Unicode") from None

    def _without_controls(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with control tokens broken by a space."""
        safe_messages = []
        for message in messages:
            content = message.content
            if self._has_control_tokens(content):
                content = self._control_pattern.sub(r"\g<0> ", content)
                if self._has_control_tokens(content):
                    raise UnanswerableError(
                        "the text to judge contains a control token of this model that a space does not break"
                    )
            safe_messages.append(replace(message, content=content))
        return safe_messages

    def _contains_control_tokens(self, text: str) -> bool:
        return not self._control_tokens.keys().isdisjoint(self._encode(text))

    def _find_tail(self) -> str | None:
        """What the template puts after the last turn, if it is the same for every conversation."""
        try:
            before, _, after = self._render([Message("user", _PLACEHOLDER)]).rpartition(_PLACEHOLDER)
        except UnanswerableError:
            return None
        return after if before and after else None

    def _option_tokens(self, text: str, options: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        constant_tail = self._constant_tail
        tail = constant_tail if constant_tail is not None and text.endswith(constant_tail) else text[-TAIL_CHARACTERS:]
        tokens_of = [self._tokens_of_option(tail, option) for option in options]
        for i, (option, tokens) in enumerate(zip(options, tokens_of, strict=True)):
            if not tokens:
                raise UnanswerableError(f"option {option!r} is not one token of this model after the prompt")
            for j in range(i):
                if tokens & tokens_of[j]:
                    raise UnanswerableError(f"options {options[j]!r} and {option!r} begin with the same token")
        return tuple(tuple(sorted(tokens)) for tokens in tokens_of)

    def _tokens_of_option(self, tail: str, option: str) -> frozenset[int]:
        """The single tokens that spell ``option``, bare or after a space, at the end of the prompt's ``tail``.

        Looked up in context: a tokenizer may encode the first word of a turn differently from the same word elsewhere.
        """
        if not option.strip():
            return frozenset()
        key = (tail, option)
        if key not in self._option_tokens_by_tail:
            tail_ids = self._encode(tail)
            spelled = (self._encode(tail + variant) for variant in (option, " " + option))
            extended = (ids for ids in spelled if len(ids) == len(tail_ids) + 1 and ids[:-1] == tail_ids)
            self._option_tokens_by_tail[key] = frozenset(ids[-1] for ids in extended)
        return self._option_tokens_by_tail[key]


def without_open_trace(prompt: str) -> str:
    """A rendered prompt in which a reasoning trace that its template opens is closed, empty.

    What is read next would otherwise be read as the first word of the thought. Raises UnanswerableError where it is
    unknown how such a trace is closed.
    """
    closed = closed_at_once(prompt)
    if closed is None:
        raise UnanswerableError(
            f"the chat template opens a reasoning trace ({opening_at_end(prompt)}) that only the model can close, and "
            "nothing is read inside one"
        )
    return closed


def cut_at(text: str, stops: Sequence[str]) -> str:
    """``text`` up to the first of ``stops`` in it."""
    return text[: min((at for stop in stops if stop and (at := text.find(stop)) >= 0), default=len(text))]


def failed_answer(reason: str) -> Answer:
    """An answer that the model did not give, with the reason."""
    return Answer(finish="error", error=reason)


def read_scores(scores: Sequence[float]) -> Answer:
    """The answer to an option read. NaN is an error, not a score."""
    if any(map(math.isnan, scores)):
        return failed_answer("not a number: the model's log-probabilities are undefined after this prompt")
    return Answer(option_logprobs=tuple(min(0.0, score) for score in scores), tokens=1)


def log_sum(values: Sequence[float]) -> float:
    """The log of a sum of probabilities, given their logs; minus infinity for an empty sum."""
    maximum = max(values, default=-math.inf)
    return maximum if math.isinf(maximum) else maximum + math.log(sum(math.exp(value - maximum) for value in values))


def chat_in(folder: Path) -> Chat:
    """The tokenizer and the chat templates in ``folder``."""
    templates = read_templates(folder)
    return Chat(folder, templates.default, templates.tool_use)


def chat_of(model: Model) -> Chat:
    """What ``model`` is asked with: its :class:`Chat`, or else what lies beside the full weights."""
    return chat_in(base_of(model).path) if model.chat is None else Chat(*model.chat)


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in ``folder``, without downloads and without running code from the folder."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever the library raises, the advice is the same
        raise ArtifactError(
            f"{folder}: the tokenizer cannot be read: {error}",
            hint="the folder needs tokenizer.json and tokenizer_config.json beside the weights",
        ) from None


def control_tokens(tokenizer: Any) -> dict[int, str]:
    """The tokens that structure a conversation, by id: all special tokens, and added tokens written as markup.

    Not included: the unknown token, which stands for any unsupported character; single characters and white space; and
    added words, which are ordinary text.
    """
    added = getattr(tokenizer, "added_tokens_decoder", {}).items()  # not every tokenizer of transformers has it
    controls = {token_id: str(token) for token_id, token in added if token.special or _MARKUP.fullmatch(str(token))}
    controls |= dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    if tokenizer.unk_token_id not in (tokenizer.eos_token_id, tokenizer.bos_token_id):
        controls.pop(tokenizer.unk_token_id, None)
    return {token_id: text for token_id, text in controls.items() if len(text.strip()) > 1}


def context_of(folder: Path) -> int | None:
    """The context length in the model's config.json, if stated."""
    config = read_object(folder / "config.json")
    config = config.get("text_config") or config
    lengths = [config.get(name) for name in ("max_position_embeddings", "n_positions", "max_sequence_length")]
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


def stop_tokens(folder: Path, tokenizer: Any) -> frozenset[int]:
    """All tokens that end an answer: the tokenizer's own and those of generation_config.json."""
    declared = read_object(folder / "generation_config.json").get("eos_token_id")
    ids = declared if isinstance(declared, list) else [declared]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if isinstance(i, int))
