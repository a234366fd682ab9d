"""The independent reference: transformers and peft, one plain forward pass after another. Slow, and easy to check."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ftgate.config.engine import EngineSettings
from ftgate.domain import Answer, EngineInfo, Message, Model, Question
from ftgate.engines.base import Ask, root_of
from ftgate.engines.batching import Slot, portions
from ftgate.engines.chat_template import Prepared, Renderer, failed
from ftgate.engines.isolation import Isolation
from ftgate.errors import ArtifactError, EngineError

ROWS = 32


@dataclass(slots=True)
class Loaded:
    """A base in memory, wrapped by peft once it has an adapter. ``arguments`` are those its forward pass knows."""

    net: Any
    renderer: Renderer
    base: Model
    number: int
    arguments: frozenset[str]
    adapters: dict[Path, str] = field(default_factory=dict)

    def row(self, model: Model) -> int:
        """The model's number here: 0 for the base."""
        return [self.base.path, *self.adapters].index(model.path)


class TransformersEngine:
    """Runs models with transformers, adapters unmerged through peft, in batches padded on the left."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._loaded: dict[Path, Loaded] = {}
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
            base = root_of(model)
            if base.kind == "adapter":
                raise ArtifactError(f"adapter {model.name} ({model.path}) names no base", hint="give it a base model")
            if base.path not in self._loaded:
                self._load_base(base)
            loaded = self._loaded[base.path]
            if model.kind == "adapter" and model.path not in loaded.adapters:
                _load_adapter(loaded, model)

    def in_turn(self, models: Sequence[Model]) -> bool:  # noqa: ARG002
        """Never: all are kept."""
        return False

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer in batches of one model each."""
        for portion in portions(asks, self._place, self._rows()):
            for _, run in groupby(portion, key=lambda index: self._place(asks[index].model)):
                yield from self._answer(asks, list(run))

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[int, float]]:
        """The ``top`` of the whole distribution after each prompt."""
        loaded = self._of(model)
        found: list[Mapping[int, float]] = []
        for messages in prompts:
            values, tokens = self._next_token(loaded, model, [loaded.renderer.prompt(messages)])[0].topk(top)
            found.append(dict(zip(tokens.tolist(), values.tolist(), strict=True)))
        return found

    def close(self) -> None:
        """Drop the weights."""
        self._loaded.clear()
        self.isolation.end()
        gc.collect()

    def _rows(self) -> int:
        return self._settings.max_num_seqs or ROWS

    def _dtype(self) -> str:
        unsettled = self._settings.dtype == "auto" and self._device == "cpu"
        return "float32" if unsettled else self._settings.dtype

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
        self._loaded[base.path] = Loaded(net.to(self._device).eval(), renderer, base, self._starts, arguments)

    def _of(self, model: Model) -> Loaded:
        base = root_of(model)
        loaded = self._loaded.get(base.path)
        if loaded is None or (model.kind == "adapter" and model.path not in loaded.adapters):
            raise EngineError(f"model {model.name} ({model.path}) is not loaded", hint="require() it before asking")
        return loaded

    def _place(self, model: Model) -> Slot:
        loaded = self._of(model)
        return Slot(loaded.number, loaded.row(model))

    def _answer(self, asks: Sequence[Ask], run: Sequence[int]) -> Iterator[tuple[int, Answer]]:
        """Answer asks of one model and one family: all with options, or all without."""
        model = asks[run[0]].model
        loaded = self._of(model)
        ready: list[tuple[int, Prepared]] = []
        for index in run:
            prepared = loaded.renderer.prepare(asks[index].question)
            if isinstance(prepared, Answer):
                yield index, prepared
            else:
                ready.append((index, prepared))
        if not ready:
            return
        prompts = [prepared.ids for _, prepared in ready]
        if asks[run[0]].question.options:
            table = self._next_token(loaded, model, prompts)
            answers = [_read(row, prepared) for row, (_, prepared) in zip(table, ready, strict=True)]
        else:
            answers = self._generate(loaded, model, prompts, [asks[index].question for index, _ in ready])
        yield from zip((index for index, _ in ready), answers, strict=True)

    @torch.inference_mode()
    def _next_token(self, loaded: Loaded, model: Model, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Log-probabilities of the next token after each prompt, shape (prompts, vocabulary), in float32."""
        tokens, mask = _padded(prompts, self._device)
        with _as(loaded, model):
            out = _forward(loaded, tokens, mask, use_cache=False)
        logits: Tensor = out.logits[:, -1]
        return logits.float().log_softmax(dim=-1)

    @torch.inference_mode()
    def _generate(
        self, loaded: Loaded, model: Model, prompts: Sequence[Sequence[int]], questions: Sequence[Question]
    ) -> list[Answer]:
        """Decode one token of every row at a time, greedily or sampled, until each has stopped or is long enough."""
        draws = [torch.Generator().manual_seed(q.seed) if q.temperature else None for q in questions]
        heat = torch.tensor([q.temperature or 1.0 for q in questions], device=self._device).unsqueeze(1)
        tokens, mask = _padded(prompts, self._device)
        limits = [max(1, question.max_tokens) for question in questions]
        said: list[list[int]] = [[] for _ in prompts]
        cache: Any = None
        with _as(loaded, model):
            while True:
                out = _forward(loaded, tokens, mask, use_cache=True, past_key_values=cache)
                cache, tokens = out.past_key_values, _next(out.logits[:, -1].float() / heat, draws)
                for ids, token, limit in zip(said, tokens[:, 0].tolist(), limits, strict=True):
                    if len(ids) < limit and not _stopped(ids, loaded):
                        ids.append(token)
                if all(len(ids) == limit or _stopped(ids, loaded) for ids, limit in zip(said, limits, strict=True)):
                    break
                mask = torch.cat([mask, torch.ones_like(tokens)], dim=1)
        return [
            Answer(loaded.renderer.text(ids), finish="stop" if _stopped(ids, loaded) else "length", tokens=len(ids))
            for ids in said
        ]


def _next(logits: Tensor, draws: Sequence[torch.Generator | None]) -> Tensor:
    """The likeliest token of each row or, where it has a generator, one drawn from the whole distribution."""
    tokens = logits.argmax(dim=-1, keepdim=True)
    for row, draw in enumerate(draws):
        if draw is not None:
            # Drawn by row, not all at once: what others are asked in the same batch must not matter.
            tokens[row] = torch.multinomial(logits[row].softmax(dim=-1).cpu(), 1, generator=draw)
    return tokens


def _load_adapter(loaded: Loaded, adapter: Model) -> None:
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


def _as(loaded: Loaded, model: Model) -> Any:
    """A context in which ``loaded.net`` is ``model``: the base with every adapter off, or one adapter on."""
    if not loaded.adapters:
        return nullcontext()
    if model.kind == "full":
        return loaded.net.disable_adapter()
    loaded.net.set_adapter(loaded.adapters[model.path])
    return nullcontext()


def _forward(loaded: Loaded, tokens: Tensor, mask: Tensor, **more: Any) -> Any:
    """One pass over ``tokens``, the last columns of ``mask``; positions count only what is not padding."""
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    optional = {"position_ids": positions, "logits_to_keep": 1, **more}
    known = {name: value for name, value in optional.items() if name in loaded.arguments}
    return loaded.net(input_ids=tokens, attention_mask=mask, **known)


def _padded(prompts: Sequence[Sequence[int]], device: str) -> tuple[Tensor, Tensor]:
    """Token ids and mask of shape (prompts, longest), padded on the left so that every row ends at its last token."""
    width = max(len(ids) for ids in prompts)
    tokens = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, ids in enumerate(prompts):
        tokens[row, width - len(ids) :] = torch.tensor(ids)
        mask[row, width - len(ids) :] = 1
    return tokens.to(device), mask.to(device)


def _stopped(ids: Sequence[int], loaded: Loaded) -> bool:
    return bool(ids) and ids[-1] in loaded.renderer.stops


def _read(logprobs: Tensor, prepared: Prepared) -> Answer:
    """Each option's log-probability: the log of the summed probability of its tokens."""
    scores = [float(logprobs[list(variants)].logsumexp(dim=0)) for variants in prepared.options]
    if any(score != score for score in scores):  # NaN is the only number unlike itself
        return failed("not a number: the model's log-probabilities are undefined after this prompt")
    return Answer(option_logprobs=tuple(min(0.0, score) for score in scores), tokens=1)
