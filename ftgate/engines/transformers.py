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
from ftgate.engines.chat_template import Renderer, TokenizedQuestion, cut_at, read_scores
from ftgate.engines.isolation import Isolation
from ftgate.errors import ArtifactError, EngineError

BATCH_ROWS = 32


@dataclass(slots=True)
class LoadedBase:
    """A base in memory, wrapped by peft once it has an adapter. ``arguments``: parameters of its forward pass."""

    net: Any
    renderer: Renderer
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
            settings={"max_model_len": self._settings.max_model_len, "rows": self._rows()},
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

    def needs_swap(self, models: Sequence[Model]) -> bool:  # noqa: ARG002
        """Never: all models stay loaded."""
        return False

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer in batches of one model each."""
        for batch in make_batches(asks, self._slot_of, self._rows()):
            for _, indices in groupby(batch, key=lambda index: self._slot_of(asks[index].model)):
                yield from self._answer(asks, list(indices))

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[int, float]]:
        """The ``top`` next tokens from the full distribution after each prompt."""
        loaded = self._base_for(model)
        tables: list[Mapping[int, float]] = []
        for messages in prompts:
            values, tokens = self._next_token(loaded, model, [loaded.renderer.prompt(messages)])[0].topk(top)
            tables.append(dict(zip(tokens.tolist(), values.tolist(), strict=True)))
        return tables

    def close(self) -> None:
        """Free the weights."""
        self._loaded.clear()
        self.isolation.end()
        gc.collect()

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
        renderer = Renderer(base, self._settings.max_model_len)
        try:
            net = AutoModelForCausalLM.from_pretrained(
                str(base.path),
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
        self._starts += 1
        arguments = frozenset(inspect.signature(net.forward).parameters)
        self._loaded[base.path] = LoadedBase(net.to(self._device).eval(), renderer, base, self._starts, arguments)

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
            prepared = loaded.renderer.prepare(asks[index].question)
            if isinstance(prepared, Answer):
                yield index, prepared
            else:
                ready.append((index, prepared))
        if not ready:
            return
        prompts = [prepared.ids for _, prepared in ready]
        first = asks[batch[0]].question
        if not first.options:
            answers = self._generate(loaded, model, prompts, [asks[index].question for index, _ in ready])
        elif any(prepared.continuations for _, prepared in ready):
            answers = [self._continue(loaded, model, prepared) for _, prepared in ready]
        else:
            table = self._next_token(loaded, model, prompts)
            answers = [_read(row, prepared) for row, (_, prepared) in zip(table, ready, strict=True)]
        for (index, _), answer in zip(ready, answers, strict=True):
            yield index, replace(answer, continued=first.continued)

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
        self, loaded: LoadedBase, model: Model, prompts: Sequence[Sequence[int]], questions: Sequence[Question]
    ) -> list[Answer]:
        """Decode one token per row and step, greedily or sampled, until every row stops or reaches its limit."""
        generators = [torch.Generator().manual_seed(q.seed) if q.temperature else None for q in questions]
        temperatures = torch.tensor([q.temperature or 1.0 for q in questions], device=self._device).unsqueeze(1)
        tokens, mask = _padded(prompts, self._device)
        limits = [max(1, question.max_tokens) for question in questions]
        ends = [_Ending(loaded, question.stop) for question in questions]
        generated: list[list[int]] = [[] for _ in prompts]
        cache: Any = None
        with _activated(loaded, model):
            while True:
                output = _forward(loaded, tokens, mask, use_cache=True, past_key_values=cache)
                cache, tokens = output.past_key_values, _next(output.logits[:, -1].float() / temperatures, generators)
                for ids, token, limit, end in zip(generated, tokens[:, 0].tolist(), limits, ends, strict=True):
                    if len(ids) < limit and not end.reached:
                        ids.append(token)
                        end.look(ids)
                if all(
                    len(ids) == limit or end.reached for ids, limit, end in zip(generated, limits, ends, strict=True)
                ):
                    break
                mask = torch.cat([mask, torch.ones_like(tokens)], dim=1)
        return [
            Answer(
                cut_at(loaded.renderer.text(ids, prompt, tools=bool(question.tools)), end.stops),
                finish="stop" if end.reached else "length",
                tokens=len(ids),
            )
            for ids, prompt, end, question in zip(generated, prompts, ends, questions, strict=True)
        ]


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
    """Whether a generated text has ended: with a stop token, or with one of the texts ``stops``."""

    loaded: LoadedBase
    stops: tuple[str, ...]
    reached: bool = False

    def look(self, ids: Sequence[int]) -> None:
        """Look at the tokens so far, the last of which is new."""
        renderer = self.loaded.renderer
        self.reached = ids[-1] in renderer.stops or (
            bool(self.stops) and cut_at(text := renderer.text(ids), self.stops) != text
        )


def _read(logprobs: Tensor, prepared: TokenizedQuestion) -> Answer:
    """Each option's log-probability: the log of the summed probabilities of its tokens."""
    scores = [float(logprobs[list(variants)].logsumexp(dim=0)) for variants in prepared.options]
    return read_scores(scores)
