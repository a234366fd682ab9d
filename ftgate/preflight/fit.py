"""Whether the models of a run fit what the machine has, and how they are run there."""

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
    least_split,
    load_of,
    number_bytes,
)
from ftgate.preflight.view import size_of


class Findings:
    """What is known of a run so far: its models by role, and what there is to say."""

    def __init__(self, parts: JobDraft, machine: Machine) -> None:
        self.parts, self.machine = parts, machine
        self.settings = parts.policy.engine
        self.cpu = not machine.gpus and (self.settings.kind == "transformers" or on_cpu())
        self.notes: list[str] = []
        self.facts: dict[str, ModelFacts] = {}
        self.sizes: dict[str, Dimensions] = {}

    def refuse(self, message: str, hint: str) -> None:
        """Note a problem."""
        self.parts.problems.found.append(ConfigurationError(message, hint=hint))


def fit(findings: Findings) -> tuple[EnginePlan | None, Memory | None]:
    """The plan and what it takes; nothing where a model could not be read. What does not fit is noted."""
    base, candidate = findings.parts.base, findings.parts.candidate
    if base is None or candidate is None or not {"base", "candidate"} <= findings.sizes.keys():
        return None, None
    return _Fitting(findings).fit(base, candidate)


class _Fitting:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.machine, self.cpu, self.settings = findings.machine, findings.cpu, findings.settings

    def fit(self, base: Model, candidate: Model) -> tuple[EnginePlan, Memory]:
        """How the models run on what this machine has, and whether they fit."""
        beside = [candidate] if candidate.kind == "adapter" and not candidate.merge else []
        loads = [self._load("base", base, beside)]
        if not beside:
            full = base if candidate.merge else candidate
            loads.append(self._load("base" if candidate.merge else "candidate", full, []))
        judge = self.findings.parts.judge
        judges = [self._load("judge", judge, [])] if judge is not None and "judge" in self.findings.sizes else []
        capacity = self._capacity()
        together = self.cpu or (capacity is not None and fit_together([load.weights for load in loads], capacity))
        at_once = [*loads, *judges] if self.cpu else loads if together else [max(loads, key=lambda load: load.whole)]
        for role, load in (("base", loads[0]), *(("judge", load) for load in judges)):
            if not self.cpu:
                self._require_split(role, load)
        return _plan(candidate, together=together), self._measure(at_once, capacity)

    def _settings(self, role: str) -> EngineSettings:
        judge = self.findings.parts.policy.judge
        return judge.engine if role == "judge" and judge and judge.engine else self.settings

    def _load(self, role: str, model: Model, adapters: Sequence[Model]) -> EngineMemory:
        settings, size = self._settings(role), self.findings.sizes[role]
        load = load_of(model, adapters, size, settings, cpu=self.cpu)
        if self.cpu and settings.kind == "vllm" and load.cache > CPU_KV_BYTES:
            each = size.cache_bytes(1, number_bytes(settings, cpu=True))
            message = (
                f"{model.reference}: on a CPU the engine's cache holds {CPU_KV_BYTES // each:,} tokens, "
                f"fewer than engine.max_model_len {settings.max_model_len:,}"
            )
            hint = f"set engine.max_model_len to at most {CPU_KV_BYTES // each // 128 * 128:,}"
            if size.windowed:
                self.findings.notes.append(
                    f"{message}, if no layer forgets what is far back; if it does not start, {hint}"
                )
            else:
                self.findings.refuse(message, hint)
        return load

    def _capacity(self) -> int | None:
        """Bytes that the engines may take in all, or None without a device to run on."""
        if self.cpu:
            return self.machine.memory
        if not self.machine.gpus:
            return None
        devices = self.machine.gpus[: self.settings.tensor_parallel_size]
        return int(min(gpu.memory for gpu in devices) * len(devices) * self.settings.gpu_memory_utilization)

    def _measure(self, loads: Sequence[EngineMemory], capacity: int | None) -> Memory:
        """What ``loads`` take at a time. Refused is only what is sure: weights that do not fit."""
        engines, gpus = len(loads), self.machine.gpus
        split = 1 if self.cpu else self.settings.tensor_parallel_size
        cache = CPU_KV_BYTES * engines if self.cpu and self.settings.kind == "vllm" else sum(x.cache for x in loads)
        overhead = CPU_OVERHEAD * engines if self.cpu else GPU_OVERHEAD * split
        memory = Memory(
            device=_device(self.machine, cpu=self.cpu, split=split),
            weights=sum(load.weights for load in loads),
            adapter=sum(load.adapter for load in loads),
            cache=cache,
            full_cache=sum(load.full_cache for load in loads),
            workspace=sum(load.workspace for load in loads) * split + overhead,
            available=capacity,
            tensor_parallel_size={
                str(size): self._least(loads, size * 10**9) for size in USUAL_GPUS if not self.cpu and not gpus
            },
        )
        if capacity is None or memory.needed <= capacity:
            return memory
        least = None if self.cpu else self._least(loads, min(gpu.memory for gpu in gpus))
        fix = "take a smaller model or a larger machine" if self.cpu else "take larger GPUs, or a quantised base"
        hint = f"engine.tensor_parallel_size {least} would fit" if least else f"{fix}, or lower engine.max_model_len"
        message = (
            f"the run needs about {size_of(memory.needed)} of memory ({size_of(memory.weights)} of weights), "
            f"and may take {size_of(capacity)} of {memory.device}"
        )
        if memory.weights > capacity:
            self.findings.refuse(message, hint)
        else:  # the rest is an estimate, and not good enough to refuse a run for
            self.findings.notes.append(f"{message}; {hint}")
        return memory

    def _least(self, loads: Sequence[EngineMemory], memory: int) -> int | None:
        return least_split(loads, memory * self.settings.gpu_memory_utilization)

    def _require_split(self, role: str, load: EngineMemory) -> None:
        split, gpus = self._settings(role).tensor_parallel_size, len(self.machine.gpus)
        if 0 < gpus < split:
            self.findings.refuse(
                f"engine.tensor_parallel_size is {split}, and this machine has {gpus} GPUs", "lower it, or add GPUs"
            )
        if load.heads % split:
            self.findings.refuse(
                f"{self.findings.facts[role].reference}: engine.tensor_parallel_size {split} "
                f"does not divide its {load.heads} attention heads",
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
