"""Plans how a run's models are run on this machine, and whether they fit into its memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.vllm.memory import fit_together, needed_memory
from ftgate.engines.vllm.startup import CPU_KV_BYTES, lora_slots, on_cpu
from ftgate.errors import ConfigurationError
from ftgate.jobs.prepare import JobDraft
from ftgate.models.dimensions import Dimensions
from ftgate.models.tokenizer import TokenizerFacts
from ftgate.models.zero_adapter import has_own_path
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
    start_seconds,
)
from ftgate.preflight.view import size_of


class CheckState:
    """The state of a check: facts and dimensions of the models by role, and the notes and warnings so far.

    ``asked``: what each model is asked with, which may be another one's.
    """

    def __init__(self, draft: JobDraft, machine: Machine) -> None:
        self.draft, self.machine = draft, machine
        self.settings = draft.policy.engine
        self.cpu = not machine.gpus and (self.settings.kind == "transformers" or on_cpu())
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.never: list[str] = []
        """The measurements that can never pass; a warning says why."""
        self.hardly: list[str] = []
        """Those that pass only on a base that scores unusually low."""
        self.asked: dict[str, TokenizerFacts] = {}
        self.facts: dict[str, ModelFacts] = {}
        self.sizes: dict[str, Dimensions] = {}
        compared = draft.deployed.compared
        self.incumbent = compared if compared is not None and compared != draft.base else None
        """The deployed model, if it is asked: a model of its own."""

    def settings_of(self, role: str) -> EngineSettings:
        """How the model with this role is run."""
        judge = self.draft.policy.judge
        if role == "judge":
            return judge.engine if judge and judge.engine else self.settings.shared
        return self.settings.of("base" if role == "base" else "candidate")

    def section_of(self, role: str, field: str) -> str:
        """The section of the policy that sets an engine's field for the model with this role."""
        judge = self.draft.policy.judge
        if role == "judge":
            return "judge.engine" if judge and judge.engine else "engine"
        side = "base" if role == "base" else "candidate"
        own = getattr(self.settings, side)
        return f"engine.{side}" if own is not None and getattr(own, field) else "engine"

    def refuse(self, message: str, hint: str) -> None:
        """Add a problem, once: base and candidate may have the same one."""
        if all((other.message, other.hint) != (message, hint) for other in self.draft.problems.found):
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
        incumbent = self.state.incumbent
        tuned = [(role, m) for role, m in (("candidate", candidate), ("incumbent", incumbent)) if m is not None]
        adapters = self._slots(candidate, [model for _, model in tuned if _runs_as_adapter(model)])
        split = self.settings.differ
        engines = [self._engine_memory("base", base, [] if split else adapters)]
        if adapters and split:
            engines.append(self._engine_memory("base", base, adapters, served="candidate"))
        engines += [
            self._engine_memory("base" if model.merge else role, base if model.merge else model, [], served=role)
            for role, model in tuned
            if not _runs_as_adapter(model)
        ]
        judge = self.state.draft.judge
        judge_engines = (
            [self._engine_memory("judge", judge, [])] if judge is not None and "judge" in self.state.sizes else []
        )
        capacity = self._capacity()
        sharing = [] if self._judge_is_apart() else judge_engines
        together, all_fit = self._fit(engines, []), self._fit(engines, sharing)
        largest = max(engines, key=lambda engine: engine.total)
        at_once = [*engines, *sharing] if all_fit else engines if together else [largest]
        for role, engine in (("base", engines[0]), *(("judge", engine) for engine in judge_engines)):
            self._require_split(role, engine)
        plan = _plan(candidate, together=together, split=split)
        if incumbent is not None:
            more = "one adapter more" if _runs_as_adapter(incumbent) else "full weights in an engine of its own"
            plan = replace(plan, words=f"{plan.words}; the deployed model is {more}")
        if judge_engines:
            judged = (
                "runs beside them" if all_fit or not sharing else "takes their place once they have answered everything"
            )
            plan = replace(plan, words=f"{plan.words}; the judge {judged}")
        sizes = [engine.weights for engine in (*engines, *judge_engines)]
        plan = replace(plan, starts=len(sizes), start_seconds=sum(start_seconds(size, cpu=self.cpu) for size in sizes))
        return plan, self._total_memory(at_once, capacity)

    def _fit(self, engines: Sequence[EngineMemory], judges: Sequence[EngineMemory]) -> bool:
        """Whether all these run at once, each on its GPUs; as :mod:`ftgate.engines.vllm.memory` decides in a run."""
        if self.cpu or not self.machine.gpus:
            return self.cpu
        used = [(engine, self.settings) for engine in engines]
        used += [(judge, self.state.settings_of("judge")) for judge in judges]
        needs = [needed_memory(engine.weights, settings.gpus) for engine, settings in used]
        share = max(settings.gpu_memory_utilization for _, settings in used)
        return fit_together(needs, share * min(gpu.memory for gpu in self.machine.gpus))

    def _judge_is_apart(self) -> bool:
        """Whether the judge needs no memory of the models' GPUs."""
        settings = self.state.settings_of("judge")
        return not self.cpu and (settings.kind != "vllm" or not settings.used_devices & self.settings.used_devices)

    def _slots(self, candidate: Model, adapters: list[Model]) -> list[Model]:
        """The adapters that an engine has memory for: ``adapters``, that of zeros, and what vLLM adds.

        Each of vLLM's slots has room for the largest.
        """
        if self.settings.kind != "vllm" or not adapters:
            return adapters
        slots = len(adapters) + (_runs_as_adapter(candidate) and has_own_path(candidate, self.settings))
        return [max(adapters, key=lambda model: model.lora_rank)] * lora_slots(slots, cpu=self.cpu)

    def _engine_memory(self, role: str, model: Model, adapters: Sequence[Model], served: str = "") -> EngineMemory:
        """The memory of ``model``, which has the dimensions of ``role``, served as ``served`` (empty: as itself)."""
        settings, size = self.state.settings_of(served or role), self.state.sizes[role]
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
        devices = self.machine.gpus[: self.settings.gpus]
        return int(min(gpu.memory for gpu in devices) * len(devices) * self.settings.gpu_memory_utilization)

    def _total_memory(self, engines: Sequence[EngineMemory], capacity: int | None) -> Memory:
        """The memory of ``engines`` together. Only weights that do not fit are a problem; the rest is an estimate."""
        count, gpus = len(engines), self.machine.gpus
        split = 1 if self.cpu else self.settings.gpus
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
        settings, gpus = self.state.settings_of(role), len(self.machine.gpus)
        split, last = settings.tensor_parallel_size, max(settings.used_devices)
        if self.cpu and settings.kind != "vllm":
            return
        if self.cpu and settings.pipeline_parallel_size > 1:
            field = "pipeline_parallel_size"
            self.state.refuse(
                f"{self.state.section_of(role, field)}.{field} is {settings.pipeline_parallel_size}, which vLLM does "
                "not do on a CPU",
                "leave it out: a processor has all of this machine's memory",
            )
        if 0 < gpus <= last:
            stages = f" in {settings.pipeline_parallel_size} stages" * (settings.pipeline_parallel_size > 1)
            what = f"tensor_parallel_size is {split}{stages}" if settings.devices is None else f"devices names {last}"
            self.state.refuse(f"engine.{what}, and this machine has {gpus} GPUs", "lower it, or add GPUs")
        if engine.heads % split:
            self.state.refuse(
                f"{self.state.facts[role].reference}: engine.tensor_parallel_size {split} "
                f"does not divide its {engine.heads} attention heads",
                "choose a number that does",
            )


def _runs_as_adapter(model: Model) -> bool:
    return model.kind == "adapter" and not model.merge


def _plan(candidate: Model, *, together: bool, split: bool) -> EnginePlan:
    how = "side by side, each in its own engine" if together else "one after the other, each in its own engine"
    if candidate.kind == "adapter" and not candidate.merge and split:
        words = f"base and candidate (base and adapter) are served differently and run {how}"
        return EnginePlan("together" if together else "in_turn", words)
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
