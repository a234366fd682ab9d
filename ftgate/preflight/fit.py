"""Plans how a run's models are run on this machine, and whether they fit into its memory."""

from __future__ import annotations

from collections.abc import Sequence

from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.vllm.startup import CPU_KV_BYTES, fit_together, on_cpu
from ftgate.errors import ConfigurationError
from ftgate.jobs.prepare import JobDraft
from ftgate.models.dimensions import Dimensions
from ftgate.preflight.findings import EnginePlan, Memory, ModelFacts
from ftgate.preflight.hardware import Machine
from ftgate.preflight.memory import (
    CPU_OVERHEAD,
    GPU_OVERHEAD,
    USUAL_GPUS,
    EngineMemory,
    engine_memory,
    number_bytes,
    smallest_split,
)
from ftgate.preflight.view import size_of


class CheckState:
    """The state of a check: facts and dimensions of the models by role, and the notes so far."""

    def __init__(self, draft: JobDraft, machine: Machine) -> None:
        self.draft, self.machine = draft, machine
        self.settings = draft.policy.engine
        self.cpu = not machine.gpus and (self.settings.kind == "transformers" or on_cpu())
        self.notes: list[str] = []
        self.facts: dict[str, ModelFacts] = {}
        self.sizes: dict[str, Dimensions] = {}

    def refuse(self, message: str, hint: str) -> None:
        """Add a problem."""
        self.draft.problems.found.append(ConfigurationError(message, hint=hint))


def fit_engines(state: CheckState) -> tuple[EnginePlan | None, Memory | None]:
    """The plan and its memory; None if base or candidate could not be read. What does not fit becomes a problem."""
    base, candidate = state.draft.base, state.draft.candidate
    if base is None or candidate is None or not {"base", "candidate"} <= state.sizes.keys():
        return None, None
    return _EngineFit(state).fit(base, candidate)


class _EngineFit:
    def __init__(self, state: CheckState) -> None:
        self.state = state
        self.machine, self.cpu, self.settings = state.machine, state.cpu, state.settings

    def fit(self, base: Model, candidate: Model) -> tuple[EnginePlan, Memory]:
        """The plan and its memory for this machine."""
        adapters = [candidate] if candidate.kind == "adapter" and not candidate.merge else []
        engines = [self._engine_memory("base", base, adapters)]
        if not adapters:
            full = base if candidate.merge else candidate
            engines.append(self._engine_memory("base" if candidate.merge else "candidate", full, []))
        judge = self.state.draft.judge
        judge_engines = (
            [self._engine_memory("judge", judge, [])] if judge is not None and "judge" in self.state.sizes else []
        )
        capacity = self._capacity()
        together = self.cpu or (capacity is not None and fit_together([engine.weights for engine in engines], capacity))
        largest = max(engines, key=lambda engine: engine.total)
        at_once = [*engines, *judge_engines] if self.cpu else engines if together else [largest]
        for role, engine in (("base", engines[0]), *(("judge", engine) for engine in judge_engines)):
            if not self.cpu:
                self._require_split(role, engine)
        return _plan(candidate, together=together), self._total_memory(at_once, capacity)

    def _settings(self, role: str) -> EngineSettings:
        judge = self.state.draft.policy.judge
        return judge.engine if role == "judge" and judge and judge.engine else self.settings

    def _engine_memory(self, role: str, model: Model, adapters: Sequence[Model]) -> EngineMemory:
        settings, size = self._settings(role), self.state.sizes[role]
        engine = engine_memory(model, adapters, size, settings, cpu=self.cpu)
        if self.cpu and settings.kind == "vllm" and engine.cache > CPU_KV_BYTES:
            each = size.cache_bytes(1, number_bytes(settings, cpu=True))
            message = (
                f"{model.reference}: on a CPU the engine's cache holds {CPU_KV_BYTES // each:,} tokens, "
                f"less than engine.max_model_len {settings.max_model_len:,}"
            )
            hint = f"set engine.max_model_len to at most {CPU_KV_BYTES // each // 128 * 128:,}"
            if size.windowed:
                self.state.notes.append(
                    f"{message}, unless sliding-window layers need less; if it does not start, {hint}"
                )
            else:
                self.state.refuse(message, hint)
        return engine

    def _capacity(self) -> int | None:
        """Total bytes that the engines may use, or None without a device to run on."""
        if self.cpu:
            return self.machine.memory
        if not self.machine.gpus:
            return None
        devices = self.machine.gpus[: self.settings.tensor_parallel_size]
        return int(min(gpu.memory for gpu in devices) * len(devices) * self.settings.gpu_memory_utilization)

    def _total_memory(self, engines: Sequence[EngineMemory], capacity: int | None) -> Memory:
        """The memory of ``engines`` together. Only weights that do not fit are a problem; the rest is an estimate."""
        count, gpus = len(engines), self.machine.gpus
        split = 1 if self.cpu else self.settings.tensor_parallel_size
        cache = CPU_KV_BYTES * count if self.cpu and self.settings.kind == "vllm" else sum(x.cache for x in engines)
        overhead = CPU_OVERHEAD * count if self.cpu else GPU_OVERHEAD * split
        memory = Memory(
            device=_device(self.machine, cpu=self.cpu, split=split),
            weights=sum(engine.weights for engine in engines),
            adapter=sum(engine.adapter for engine in engines),
            cache=cache,
            full_cache=sum(engine.full_cache for engine in engines),
            workspace=sum(engine.workspace for engine in engines) * split + overhead,
            available=capacity,
            tensor_parallel_size={
                str(size): self._smallest_split(engines, size * 10**9)
                for size in USUAL_GPUS
                if not self.cpu and not gpus
            },
        )
        if capacity is None or memory.needed <= capacity:
            return memory
        smallest = None if self.cpu else self._smallest_split(engines, min(gpu.memory for gpu in gpus))
        fix = "use a smaller model or a larger machine" if self.cpu else "use larger GPUs, or a quantised base"
        hint = (
            f"engine.tensor_parallel_size {smallest} would fit" if smallest else f"{fix}, or lower engine.max_model_len"
        )
        message = (
            f"the run needs about {size_of(memory.needed)} of memory ({size_of(memory.weights)} of weights), "
            f"and may use {size_of(capacity)} of {memory.device}"
        )
        if memory.weights > capacity:
            self.state.refuse(message, hint)
        else:  # an estimate, not certain enough to refuse a run
            self.state.notes.append(f"{message}; {hint}")
        return memory

    def _smallest_split(self, engines: Sequence[EngineMemory], memory: int) -> int | None:
        return smallest_split(engines, memory * self.settings.gpu_memory_utilization)

    def _require_split(self, role: str, engine: EngineMemory) -> None:
        split, gpus = self._settings(role).tensor_parallel_size, len(self.machine.gpus)
        if 0 < gpus < split:
            self.state.refuse(
                f"engine.tensor_parallel_size is {split}, and this machine has {gpus} GPUs", "lower it, or add GPUs"
            )
        if engine.heads % split:
            self.state.refuse(
                f"{self.state.facts[role].reference}: engine.tensor_parallel_size {split} "
                f"does not divide its {engine.heads} attention heads",
                "choose a number that does",
            )


def _plan(candidate: Model, *, together: bool) -> EnginePlan:
    how = "side by side, each in its own engine" if together else "one after the other, each in its own engine"
    if candidate.kind == "adapter" and not candidate.merge:
        return EnginePlan("one_engine", "one engine runs base and adapter, in the same batches")
    if candidate.merge:
        words = f"the adapter is merged into its base (peft, on the CPU); base and merged weights run {how}"
        return EnginePlan("merge", words, candidate.merge)
    return EnginePlan("together" if together else "in_turn", f"base and candidate are full weights and run {how}")


def _device(machine: Machine, *, cpu: bool, split: int) -> str:
    if cpu:
        return "this machine's memory"
    if not machine.gpus:
        return "a GPU"
    return f"{min(split, len(machine.gpus))} x {machine.gpus[0].name}"
