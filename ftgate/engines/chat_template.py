"""From a question to token ids: chat template, option tokens, length. All that the real engines have in common."""

from __future__ import annotations

import json
import math
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from jinja2.exceptions import TemplateError

from ftgate.domain import Answer, Message, Model, Question
from ftgate.engines.base import root_of
from ftgate.errors import ArtifactError

TEMPLATE_SECONDS = 5.0
"""Processor time for one conversation: a chat template is a program that came with the model."""
TAIL_CHARACTERS = 64
_SENTINEL = "ftgate-probe-6b1f"
_MARKUP = re.compile(r"[<\[{(|｜].*[>\]})|｜]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A question as one model reads it. ``options`` holds, for each option, the tokens that may open it."""

    ids: list[int]
    options: tuple[tuple[int, ...], ...] = ()


class UnanswerableError(Exception):
    """One question cannot be put to the model; the message becomes the answer's error."""


class Renderer:
    """Renders conversations for one folder of full weights and for the adapters on it."""

    def __init__(self, model: Model, max_model_len: int) -> None:
        self.model = root_of(model)
        self.context = min(max_model_len, context_of(self.model.path) or max_model_len)
        self._tokenizer = load_tokenizer(self.model.path)
        if not self._tokenizer.chat_template:
            raise ArtifactError(
                f"{self.model.path}: no chat template",
                hint="ftgate asks through the chat template; save the tokenizer of a chat model with the weights",
            )
        self.stops = stop_tokens(self.model.path, self._tokenizer)
        self._controls = control_tokens(self._tokenizer)
        # Looking ahead, so that a mark which begins inside another one is found as well.
        self._control_starts = re.compile(f"(?=(?:{'|'.join(map(re.escape, self._controls.values()))})).", re.DOTALL)
        self._tails: dict[tuple[str, str], frozenset[int]] = {}
        self._usual_tail = self._find_tail()

    def prepare(self, question: Question) -> Prepared | Answer:
        """The question's tokens, or the answer that says why it cannot be asked."""
        try:
            messages = self._without_controls(question.messages) if question.untrusted else question.messages
            text = self._render(messages)
            ids = self._encode(text)
            room = self.context - max(1, question.max_tokens)
            if len(ids) > room:
                raise UnanswerableError(
                    f"the prompt has {len(ids)} tokens; with {max(1, question.max_tokens)} for the answer, "
                    f"a context of {self.context} holds {max(0, room)}"
                )
            return Prepared(ids, self._option_tokens(text, question.options))
        except UnanswerableError as problem:
            return failed(str(problem))

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of a conversation and of the mark that opens the answer. Raises ArtifactError if impossible."""
        try:
            return self._encode(self._render(messages))
        except UnanswerableError as problem:
            raise ArtifactError(f"{self.model.path}: {problem}", hint="check the chat template") from None

    def text(self, ids: Sequence[int]) -> str:
        """What was generated, without the stop token and other special tokens."""
        kept = ids[:-1] if ids and ids[-1] in self.stops else ids
        return str(self._tokenizer.decode(list(kept), skip_special_tokens=True))

    def _render(self, messages: Sequence[Message]) -> str:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            with time_limit(TEMPLATE_SECONDS):
                return str(
                    self._tokenizer.apply_chat_template(
                        turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
                    )
                )
        except (TemplateError, TimeoutError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise UnanswerableError(f"the chat template failed: {error}") from None

    def _encode(self, text: str) -> list[int]:
        """Token ids of rendered text, which carries its own beginning mark: none is added."""
        try:
            return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        except (TypeError, UnicodeError):
            raise UnanswerableError("the text is not valid Unicode") from None

    def _without_controls(self, messages: Sequence[Message]) -> list[Message]:
        """The messages, in words that hold no control token: a space is put into each text that reads as one."""
        found = []
        for message in messages:
            content = message.content
            if self._steers(content):
                content = self._control_starts.sub(r"\g<0> ", content)
                if self._steers(content):
                    raise UnanswerableError(
                        "the text to judge reads as a control token of this model that no space breaks"
                    )
            found.append(Message(message.role, content))
        return found

    def _steers(self, text: str) -> bool:
        return not self._controls.keys().isdisjoint(self._encode(text))

    def _find_tail(self) -> str | None:
        """What the template puts after the last turn, if that is the same for every conversation."""
        try:
            before, _, after = self._render([Message("user", _SENTINEL)]).rpartition(_SENTINEL)
        except UnanswerableError:
            return None
        return after if before and after else None

    def _option_tokens(self, text: str, options: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        usual = self._usual_tail
        tail = usual if usual is not None and text.endswith(usual) else text[-TAIL_CHARACTERS:]
        found = [self._openings(tail, option) for option in options]
        for i, (option, tokens) in enumerate(zip(options, found, strict=True)):
            if not tokens:
                raise UnanswerableError(f"option {option!r} is not one token of this model after the prompt")
            for j in range(i):
                if tokens & found[j]:
                    raise UnanswerableError(f"options {options[j]!r} and {option!r} begin with the same token")
        return tuple(tuple(sorted(tokens)) for tokens in found)

    def _openings(self, tail: str, option: str) -> frozenset[int]:
        """The single tokens that spell ``option``, bare or after a space, where the prompt's ``tail`` ends.

        Resolved in place: a tokenizer may write the first word of a turn differently from the same word elsewhere.
        """
        if not option.strip():
            return frozenset()
        key = (tail, option)
        if key not in self._tails:
            before = self._encode(tail)
            spelled = (self._encode(tail + variant) for variant in (option, " " + option))
            longer = (ids for ids in spelled if len(ids) == len(before) + 1 and ids[:-1] == before)
            self._tails[key] = frozenset(ids[-1] for ids in longer)
        return self._tails[key]


def failed(reason: str) -> Answer:
    """An answer that could not be had."""
    return Answer(finish="error", error=reason)


def log_sum(values: Sequence[float]) -> float:
    """The logarithm of a sum of probabilities, given their logarithms; minus infinity for no probability at all."""
    highest = max(values, default=-math.inf)
    return highest if math.isinf(highest) else highest + math.log(sum(math.exp(value - highest) for value in values))


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in ``folder``; nothing is fetched and no code of the folder runs."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever a library raises, the reader needs the same advice
        raise ArtifactError(
            f"{folder}: the tokenizer cannot be read: {error}",
            hint="the folder needs tokenizer.json and tokenizer_config.json beside the weights",
        ) from None


def control_tokens(tokenizer: Any) -> dict[int, str]:
    """The tokens that structure a conversation, by id: all special ones, and added ones that are written as markup.

    Left out: the unknown token, which stands for any character that the tokenizer lacks; single characters and white
    space; and added words, which are text like any other.
    """
    added = getattr(tokenizer, "added_tokens_decoder", {}).items()  # not every tokenizer that transformers loads has it
    found = {number: str(token) for number, token in added if token.special or _MARKUP.fullmatch(str(token))}
    found |= dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    if tokenizer.unk_token_id not in (tokenizer.eos_token_id, tokenizer.bos_token_id):
        found.pop(tokenizer.unk_token_id, None)
    return {number: text for number, text in found.items() if len(text.strip()) > 1}


def read_json(path: Path) -> dict[str, Any]:
    """The object in ``path``, or an empty one when there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def context_of(folder: Path) -> int | None:
    """The longest sequence that the model's config.json promises, if it says."""
    config = read_json(folder / "config.json")
    config = config.get("text_config") or config
    lengths = [config.get(name) for name in ("max_position_embeddings", "n_positions", "max_sequence_length")]
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


def stop_tokens(folder: Path, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's own and those of generation_config.json."""
    declared = read_json(folder / "generation_config.json").get("eos_token_id")
    ids = declared if isinstance(declared, list) else [declared]
    return frozenset(i for i in (*ids, tokenizer.eos_token_id) if isinstance(i, int))


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError when the body takes more processor time. Without effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGVTALRM"):
        yield
        return

    def expired(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"it took longer than {seconds:g} s")

    previous = signal.signal(signal.SIGVTALRM, expired)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)
