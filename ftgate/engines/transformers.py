"""The reference engine: transformers and peft, plain forward passes. Slow, and easy to verify."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ftgate.config.engine import EngineSettings
from ftgate.domain import Answer, EngineInfo, Message, Model, Question
from ftgate.engines.base import Ask, base_of
from ftgate.engines.batching import Slot, make_batches
from ftgate.engines.chat_template import Renderer, TokenizedQuestion, read_scores
from ftgate.engines.isolation import Isolation
from ftgate.engines.renderers import Renderers
from ftgate.engines.sampling import shaped
from ftgate.engines.thought_budget import Thought, after, budget, text_answer, thought_before_options, without_option
from ftgate.errors import ArtifactError, EngineError

BATCH_ROWS = 32
RECENT_TOKENS = 24
"""The last tokens of a thought, in which the mark that closes it is looked for."""
MARGIN_TOKENS = 16
"""Tokens besides those of a stop text that are decoded to find it: special ones, and spaces that are not written."""


@dataclass(slots=True)
class LoadedBase:
    """A base in memory, wrapped by peft once it has an adapter. ``arguments``: parameters of its forward pass."""

    net: Any
    renderers: Renderers
    base: Model
    number: int
    arguments: frozenset[str]
    adapters: dict[Path, str] = field(default_factory=dict)

    def row(self, model: Model) -> int:
        """The model's number in this engine: 0 for the base."""
        return [self.base.path, *self.adapters].index(model.path)


class TransformersEngine:
    """Runs models with transformers and unmerged adapters with peft, in batches padded on the left."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._loaded: dict[Path, LoadedBase] = {}
        self._starts = 0
        self.isolation = Isolation()

    @property
    def starts(self) -> int:
        """How many folders of full weights were loaded."""
        return self._starts

    def info(self) -> EngineInfo:
        """Versions, device and settings."""
        return EngineInfo(
            kind="transformers",
            versions={name: version(name) for name in ("torch", "transformers", "peft", "tokenizers")},
            device=torch.cuda.get_device_name() if self._device == "cuda" else "cpu",
            dtype=self._dtype(),
            settings={"max_model_len": self._settings.max_model_len, "rows": self._rows(), **self._thinking()},
        )

    def require(self, models: Sequence[Model]) -> None:
        """Load each base once, then its adapters onto it."""
        for model in models:
            base = base_of(model)
            if base.kind == "adapter":
                raise ArtifactError(f"adapter {model.name} ({model.path}) names no base", hint="set its base model")
            if base.path not in self._loaded:
                self._load_base(base)
            loaded = self._loaded[base.path]
            if model.kind == "adapter" and model.path not in loaded.adapters:
                _load_adapter(loaded, model)

    @property
    def yields_device(self) -> bool:
        """Never: its models stay loaded."""
        return False

    @property
    def runs_ahead(self) -> bool:
        """Never: it answers batch by batch in this process."""
        return False

    def reserve(self, models: Sequence[Model]) -> None:
        """There is nothing to share, and room for all."""

    release = reserve

    def needs_swap(self, models: Sequence[Model]) -> bool:  # noqa: ARG002
        """Never: all models stay loaded."""
        return False

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer in batches of one model each."""
        thought = max((loaded.renderers.thinking_tokens for loaded in self._loaded.values()), default=0)
        for batch in make_batches(asks, self._slot_of, self._rows(), thought):
            for _, indices in groupby(batch, key=lambda index: self._slot_of(asks[index].model)):
                yield from self._answer(asks, list(indices))

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[int, float]]:
        """The ``top`` next tokens from the full distribution after each prompt."""
        loaded = self._base_for(model)
        tables: list[Mapping[int, float]] = []
        for messages in prompts:
            values, tokens = self._next_token(loaded, model, [loaded.renderers.of(model).prompt(messages)])[0].topk(top)
            tables.append(dict(zip(tokens.tolist(), values.tolist(), strict=True)))
        return tables

    def close(self) -> None:
        """Free the weights."""
        self._loaded.clear()
        self.isolation.end()
        gc.collect()

    def _thinking(self) -> dict[str, Any]:
        return self._settings.model_dump(include={"thinking", "thinking_tokens"})

    def _rows(self) -> int:
        return self._settings.max_num_seqs or BATCH_ROWS

    def _dtype(self) -> str:
        is_auto_on_cpu = self._settings.dtype == "auto" and self._device == "cpu"
        return "float32" if is_auto_on_cpu else self._settings.dtype

    def _load_base(self, base: Model) -> None:
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging

        self.isolation.begin()
        logging.disable_progress_bar()
        thinking = (self._settings.thinking, self._settings.thinking_tokens)
        renderers = Renderers(base, self._settings.max_model_len, *thinking)
        # Quantised weights are put on the device as they are loaded, and cannot be moved afterwards.
        quantised = "quantisation" in base.facts
        placed = {"device_map": self._device} if quantised else {}
        try:
            net, loading = AutoModelForCausalLM.from_pretrained(
                str(base.path),
                **placed,
                output_loading_info=True,
                dtype=self._dtype(),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
        except Exception as error:
            raise EngineError(
                f"transformers could not load {base.name} ({base.path}): {type(error).__name__}: {error}",
                hint="check that the folder holds a causal language model in safetensors",
            ) from error
        if (missing := sorted(loading["missing_keys"])) and not quantised:
            raise ArtifactError(
                f"{base.name} ({base.reference or base.path}): {len(missing)} tensors that the model needs are not in "
                f"its weights, the first is {missing[0]}: transformers fills them at random",
                hint="save the model again, whole (save_pretrained)",
            )
        self._starts += 1
        arguments = frozenset(inspect.signature(net.forward).parameters)
        net = net if quantised else net.to(self._device)
        self._loaded[base.path] = LoadedBase(net.eval(), renderers, base, self._starts, arguments)

    def _base_for(self, model: Model) -> LoadedBase:
        base = base_of(model)
        loaded = self._loaded.get(base.path)
        if loaded is None or (model.kind == "adapter" and model.path not in loaded.adapters):
            raise EngineError(f"model {model.name} ({model.path}) is not loaded", hint="call require() first")
        return loaded

    def _slot_of(self, model: Model) -> Slot:
        loaded = self._base_for(model)
        return Slot(loaded.number, loaded.row(model))

    def _answer(self, asks: Sequence[Ask], batch: Sequence[int]) -> Iterator[tuple[int, Answer]]:
        """Answer asks for one model and of one kind: all with options, or all without."""
        model = asks[batch[0]].model
        loaded = self._base_for(model)
        ready: list[tuple[int, TokenizedQuestion]] = []
        for index in batch:
            prepared = loaded.renderers.of(model).prepare(asks[index].question)
            if isinstance(prepared, Answer):
                yield index, prepared
            else:
                ready.append((index, prepared))
        if not ready:
            return
        questions = [asks[index].question for index, _ in ready]
        prepared_questions = [prepared for _, prepared in ready]
        if not questions[0].options:
            answers = self._texts(loaded, model, prepared_questions, questions)
        elif any(prepared.continuations for prepared in prepared_questions):
            answers = [self._continue(loaded, model, prepared) for prepared in prepared_questions]
        elif loaded.renderers.of(model).thinks:
            answers = self._read_after_thoughts(loaded, model, prepared_questions, questions)
        else:
            answers = self._read_options(loaded, model, prepared_questions)
        for (index, _), answer in zip(ready, answers, strict=True):
            yield index, replace(answer, continued=questions[0].continued)

    def _texts(
        self, loaded: LoadedBase, model: Model, prepared: Sequence[TokenizedQuestion], questions: Sequence[Question]
    ) -> list[Answer]:
        generated = self._generate(loaded, model, prepared, questions)
        return [
            text_answer(loaded.renderers.of(model), question, one, ids, ended=ended)
            for question, one, (ids, ended) in zip(questions, prepared, generated, strict=True)
        ]

    def _read_options(self, loaded: LoadedBase, model: Model, prepared: Sequence[TokenizedQuestion]) -> list[Answer]:
        table = self._next_token(loaded, model, [one.ids for one in prepared])
        return [_read(row, one) for row, one in zip(table, prepared, strict=True)]

    def _read_after_thoughts(
        self, loaded: LoadedBase, model: Model, prepared: Sequence[TokenizedQuestion], questions: Sequence[Question]
    ) -> list[Answer]:
        """Each question's options once the model has thought; those to a raw text, which it does not think about."""
        thinking = [(one, question) for one, question in zip(prepared, questions, strict=True) if one.thinks_after]
        generated = (
            iter(self._generate(loaded, model, *map(list, zip(*thinking, strict=True)))) if thinking else iter(())
        )
        thoughts = [
            thought_before_options(loaded.renderers.of(model), question, one, next(generated)[0])
            if one.thinks_after
            else Thought("", 0, one)
            for one, question in zip(prepared, questions, strict=True)
        ]
        readable = [one.question for one in thoughts if isinstance(one.question, TokenizedQuestion)]
        read = iter(self._read_options(loaded, model, readable) if readable else ())
        return [
            after(one, next(read)) if isinstance(one.question, TokenizedQuestion) else without_option(one, question)
            for one, question in zip(thoughts, questions, strict=True)
        ]

    @torch.inference_mode()
    def _continue(self, loaded: LoadedBase, model: Model, prepared: TokenizedQuestion) -> Answer:
        """The log-probability of each continuation: the sum over its tokens, each given all before it."""
        pairs = prepared.continuations or tuple((prepared.ids, [token]) for (token,) in prepared.options)
        scores: list[float] = []
        for start in range(0, len(pairs), self._rows()):
            part = pairs[start : start + self._rows()]
            tokens, mask = _padded([context + own for context, own in part], self._device)
            longest = max(len(own) for _, own in part)
            with _activated(loaded, model):
                output = _forward(loaded, tokens, mask, use_cache=False, logits_to_keep=longest + 1)
            # Rows end together; the logits at a position are about the token after it.
            table = output.logits[:, -longest - 1 : -1].float().log_softmax(dim=-1)
            own_tokens = tokens[:, -longest:].unsqueeze(-1)
            values = table.gather(2, own_tokens).squeeze(-1)
            scores += [float(row[-len(own) :].sum()) for row, (_, own) in zip(values, part, strict=True)]
        return read_scores(scores)

    @torch.inference_mode()
    def _next_token(self, loaded: LoadedBase, model: Model, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Log-probabilities of the next token after each prompt, shape (prompts, vocabulary), in float32."""
        tokens, mask = _padded(prompts, self._device)
        with _activated(loaded, model):
            output = _forward(loaded, tokens, mask, use_cache=False)
        logits: Tensor = output.logits[:, -1]
        return logits.float().log_softmax(dim=-1)

    @torch.inference_mode()
    def _generate(
        self, loaded: LoadedBase, model: Model, prepared: Sequence[TokenizedQuestion], questions: Sequence[Question]
    ) -> list[tuple[list[int], bool]]:
        """Decode one token per row and step, greedily or sampled, until every row stops or reaches its limit.

        The tokens of each row, and whether it stopped by itself.
        """
        generators = [torch.Generator().manual_seed(q.seed) if q.temperature else None for q in questions]
        renderer = loaded.renderers.of(model)
        tokens, mask = _padded([one.ids for one in prepared], self._device)
        limits = [budget(renderer, question, one) for question, one in zip(questions, prepared, strict=True)]
        ends = [_Ending(renderer, question, one) for question, one in zip(questions, prepared, strict=True)]
        generated: list[list[int]] = [[] for _ in prepared]
        cache: Any = None
        with _activated(loaded, model):
            while True:
                output = _forward(loaded, tokens, mask, use_cache=True, past_key_values=cache)
                logits = output.logits[:, -1].float()
                for row, (question, one, ids) in enumerate(zip(questions, prepared, generated, strict=True)):
                    logits[row] = shaped(logits[row], question, one.ids, ids)
                cache, tokens = output.past_key_values, _next(logits, generators)
                for ids, token, limit, end in zip(generated, tokens[:, 0].tolist(), limits, ends, strict=True):
                    if len(ids) < limit and not end.reached:
                        ids.append(token)
                        end.look(ids)
                if all(
                    len(ids) == limit or end.reached for ids, limit, end in zip(generated, limits, ends, strict=True)
                ):
                    break
                mask = torch.cat([mask, torch.ones_like(tokens)], dim=1)
        return [(ids, end.reached) for ids, end in zip(generated, ends, strict=True)]


def _next(logits: Tensor, generators: Sequence[torch.Generator | None]) -> Tensor:
    """The likeliest token of each row or, if it has a generator, one sampled from the full distribution."""
    tokens = logits.argmax(dim=-1, keepdim=True)
    for row, generator in enumerate(generators):
        if generator is not None:
            # Sampled row by row: other questions in the batch must not affect the result.
            tokens[row] = torch.multinomial(logits[row].softmax(dim=-1).cpu(), 1, generator=generator)
    return tokens


def _load_adapter(loaded: LoadedBase, adapter: Model) -> None:
    from peft import PeftModel

    name = f"adapter{len(loaded.adapters)}"
    try:
        if loaded.adapters:
            loaded.net.load_adapter(str(adapter.path), adapter_name=name)
        else:
            loaded.net = PeftModel.from_pretrained(loaded.net, str(adapter.path), adapter_name=name).eval()
    except Exception as error:
        raise ArtifactError(
            f"adapter {adapter.name} ({adapter.path}) does not load onto {loaded.base.name}: "
            f"{type(error).__name__}: {error}",
            hint="check that it was trained on this base",
        ) from error
    loaded.adapters[adapter.path] = name


def _activated(loaded: LoadedBase, model: Model) -> Any:
    """A context in which ``loaded.net`` is ``model``: the base with adapters disabled, or one adapter enabled."""
    if not loaded.adapters:
        return nullcontext()
    if model.kind == "full":
        return loaded.net.disable_adapter()
    loaded.net.set_adapter(loaded.adapters[model.path])
    return nullcontext()


def _forward(loaded: LoadedBase, tokens: Tensor, mask: Tensor, **options: Any) -> Any:
    """One pass over ``tokens``, the last columns of ``mask``; positions do not count padding."""
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    optional = {"position_ids": positions, "logits_to_keep": 1, **options}
    supported = {name: value for name, value in optional.items() if name in loaded.arguments}
    return loaded.net(input_ids=tokens, attention_mask=mask, **supported)


def _padded(prompts: Sequence[Sequence[int]], device: str) -> tuple[Tensor, Tensor]:
    """Token ids and mask of shape (prompts, longest), padded on the left so that every row ends with its last token."""
    width = max(len(ids) for ids in prompts)
    tokens = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, ids in enumerate(prompts):
        tokens[row, width - len(ids) :] = torch.tensor(ids)
        mask[row, width - len(ids) :] = 1
    return tokens.to(device), mask.to(device)


@dataclass(slots=True)
class _Ending:
    """Whether a generated text has ended: with a stop token, one of the question's stop texts, or its thought."""

    renderer: Renderer
    question: Question
    prepared: TokenizedQuestion
    reached: bool = False

    def look(self, ids: Sequence[int]) -> None:
        """Look at the tokens so far, the last of which is new."""
        renderer, question = self.renderer, self.question
        self.reached = ids[-1] in renderer.stops
        if self.prepared.thinks_after:  # a text that ends an answer may occur in the thought before it
            if question.options:
                recent = renderer.whole_text(ids[-RECENT_TOKENS:])
                self.reached = self.reached or any(closing in recent for closing in renderer.thoughts.closings)
        elif question.stop:  # nearly always the end shows that there is none; decoding all each time is quadratic
            self.reached = self.reached or (
                self._stopped(renderer.text(ids[-self._width() :])) and self._stopped(renderer.text(ids))
            )

    def _width(self) -> int:
        """How many tokens may hold a stop that the last one completes: each has a byte of it, or is a special one."""
        sizes = (len(stop.encode("utf-8", "surrogatepass")) for stop in self.question.stop)
        return MARGIN_TOKENS + max(sizes, default=0)

    def _stopped(self, text: str) -> bool:
        return any(stop in text for stop in self.question.stop if stop)


def _read(logprobs: Tensor, prepared: TokenizedQuestion) -> Answer:
    """Each option's log-probability: the log of the summed probabilities of its tokens."""
    scores = [float(logprobs[list(variants)].logsumexp(dim=0)) for variants in prepared.options]
    return read_scores(scores)
