"""Checks whether a run would start and estimates what it needs, from configurations and headers alone; needs no GPU."""

from __future__ import annotations

from collections.abc import Iterator

from ftgate.artifacts.resolve import open_cache
from ftgate.artifacts.snapshot import PREFLIGHT_TREE_BYTES
from ftgate.datasets.suites import repeats_text
from ftgate.domain import Model
from ftgate.engines.base import base_of
from ftgate.jobs.prepare import JobDraft
from ftgate.measurements.shortage import shortage
from ftgate.models.dimensions import read_dimensions
from ftgate.models.open import require_finite
from ftgate.models.tokenizer import TokenizerFacts, differences, read_tokenizer
from ftgate.preflight.findings import Data, Disk, ModelFacts, Preflight, Problem, Prompts
from ftgate.preflight.fit import CheckState, fit_engines
from ftgate.preflight.hardware import Machine, free_disk
from ftgate.preflight.memory import CPU_OVERHEAD
from ftgate.preflight.prompt_lengths import PromptLengths, opened_trace, prompt_lengths, tools_unseen
from ftgate.preflight.view import size_of

TOO_LONG = 0.01
"""The share of a suite's prompts that may be too long; with more, every measurement on it would be invalid."""


def preflight(draft: JobDraft, machine: Machine) -> Preflight:
    """Everything that can be checked about a run before any weights are loaded."""
    checks = _ModelChecks(draft, machine)
    checks.check_weights()
    checks.check_rows()
    checks.note_rows()
    plan, memory = fit_engines(checks)
    prompts = tuple(checks.check_prompts())
    checks.warnings += _unseen(draft)
    problems = [Problem(p.message, p.hint, p.exit_code) for p in draft.problems.found]
    return Preflight(
        name=draft.name,
        problems=tuple(problems),
        notes=tuple(checks.notes),
        warnings=tuple(checks.warnings),
        models=checks.facts,
        plan=plan,
        memory=memory,
        disk=checks.disk,
        prompts=prompts,
        data=tuple(_data(draft)),
    )


def require_preflight(draft: JobDraft, machine: Machine) -> Preflight:
    """As :func:`preflight`. Raises every problem at once."""
    result = preflight(draft, machine)
    draft.problems.raise_any()
    return result


class _ModelChecks(CheckState):
    """Checks the models of a run, their weights, tokenizers and prompts; results are collected in the state."""

    def __init__(self, draft: JobDraft, machine: Machine) -> None:
        super().__init__(draft, machine)
        self.tokenizers: dict[str, TokenizerFacts] = {}
        self.disk: Disk | None = None
        self.warnings: list[str] = []
        for role, model in (("base", draft.base), ("candidate", draft.candidate), ("judge", draft.judge)):
            if model is not None:
                with draft.problems.noted():
                    self._add_model(role, model)

    def _add_model(self, role: str, model: Model) -> None:
        if model.kind == "endpoint":
            self.facts[role] = ModelFacts(model.reference, model.kind)
            return
        self.sizes[role] = size = read_dimensions(base_of(model).path, base_of(model).reference)
        self.tokenizers[role] = tokenizer = read_tokenizer(model.path)
        own = model.kind == "full"
        self.facts[role] = ModelFacts(
            reference=model.reference,
            kind=model.kind,
            digest=model.digest,
            architecture=str(base_of(model).facts.get("architecture", "")),
            parameters=model.facts["parameters"],
            weight_bytes=model.facts["weight_bytes"],
            rank=model.lora_rank,
            quantisation=size.quantisation if own else "",
            context=size.context or None,
            vocabulary=model.facts.get("vocabulary") or size.vocabulary or None,
            tokenizer_sha256=tokenizer.vocabulary,
            template_sha256=tokenizer.template_digest,
        )
        ignored = model.facts.get("left_aside")
        if ignored:
            names = ", ".join(ignored)
            self.notes.append(f"{model.reference}: ignored files, not digested and not shown to an engine: {names}")
        if not model.digest:
            self.notes.append(f"{model.reference}: files too large to hash in a preflight; a run reads and hashes them")
        if own and size.context and size.context < self.settings.max_model_len:
            limit = self.settings.max_model_len
            self.notes.append(
                f"{model.reference} has a context of {size.context:,} tokens, so max_model_len {limit:,} is cut to it"
            )

    def note_rows(self) -> None:
        """Note the rows of each suite that repeat another one, and what looks wrong with a file."""
        self.notes += [
            f"measurements.{name}: {repeats_text(suite)}; {len(suite.items):,} are asked"
            for name, suite in self.draft.suites.items()
            if suite.repeats
        ]
        for name, suite in self.draft.suites.items():
            self.notes += [f"measurements.{name}: {note}" for note in suite.notes]
        for what, data in (("training data", self.draft.training), ("query_log", self.draft.query_log)):
            if data is not None:
                self.notes.append(f"{what}: {data.reading()}")
        self.warnings += [
            f"measurements.{name}: {suite.source}: {warning}"
            for name, suite in self.draft.suites.items()
            for warning in suite.warnings
        ]

    def check_weights(self) -> None:
        """Compare the tokenizers, search small weights for NaN and infinity, and check disk and memory for a merge."""
        base, candidate = self.draft.base, self.draft.candidate
        if base is None or candidate is None or not {"base", "candidate"} <= self.sizes.keys():
            return
        self._compare_tokenizers(candidate)
        if candidate.facts["weight_bytes"] <= PREFLIGHT_TREE_BYTES and not candidate.headers_only:
            with self.draft.problems.noted():
                require_finite(candidate)
        else:
            self.notes.append(f"{candidate.reference}: not checked for NaN and infinity; a run does that")
        if not candidate.merge:
            return
        quantisation = self.sizes["base"].quantisation
        if quantisation:
            self.refuse(
                f"{candidate.reference}: must be merged ({candidate.merge[0]}), "
                f"but the base is quantised ({quantisation})",
                "use the base that is not quantised, or train an adapter that needs no merging",
            )
        cache = open_cache(self.draft.policy.artifacts).root
        needed = int(1.02 * base.facts["weight_bytes"]) + candidate.facts["weight_bytes"]
        memory = 4 * base.facts["parameters"] + candidate.facts["weight_bytes"] + CPU_OVERHEAD  # in float32
        self.disk = Disk(str(cache), needed, free_disk(cache), memory)
        if self.disk.needed > self.disk.free:
            self.refuse(
                f"the merged weights need {size_of(needed)}, and {cache} has {size_of(self.disk.free)} free",
                "free some disk space, or set FTGATE_CACHE to a folder on a larger disk",
            )
        if memory > self.machine.memory:
            self.refuse(
                f"merging needs about {size_of(self.disk.memory)} of memory, and this machine has "
                f"{size_of(self.machine.memory)}",
                "merge on a larger machine, and name the merged weights as candidate",
            )

    def _compare_tokenizers(self, candidate: Model) -> None:
        tokenizer_differences = differences(self.tokenizers["base"], self.tokenizers["candidate"])
        own = candidate.kind == "full" or "vocabulary" in candidate.facts
        usage = "each model uses its own" if own else "an adapter uses the base's"
        self.notes += [f"base and {candidate.reference} differ in {what}; {usage}" for what in tokenizer_differences]
        base_size, candidate_size = self.facts["base"].vocabulary, self.facts["candidate"].vocabulary
        if base_size != candidate_size:
            self.notes.append(
                f"base and {candidate.reference} differ in vocabulary size: {base_size} and {candidate_size}"
            )

    def check_rows(self) -> None:
        """Refuse a measurement that no row decides, and warn of one that can never pass with its rows."""
        draft = self.draft
        for m in draft.measurements:
            if m.name not in draft.suites:
                continue
            lacking = shortage(m, draft.suites[m.name].items, draft.policy.evidence.alpha, trained=draft.trained)
            if lacking is not None and lacking.total:
                self.refuse(lacking.reason, lacking.remedy)
            elif lacking is not None:
                self.warnings.append(str(lacking))

    def check_prompts(self) -> Iterator[Prompts]:
        """The longest prompt of each suite, for every model with a tokenizer of its own."""
        models = {"base": self.draft.base, "candidate": self.draft.candidate}
        seen: list[TokenizerFacts] = []
        for role, model in models.items():
            if model is None or role not in self.tokenizers or model.kind == "adapter" or self.tokenizers[role] in seen:
                continue
            seen.append(self.tokenizers[role])
            self._warn_of_tools(model, self.tokenizers[role])
            self._note_trace(model, self.tokenizers[role])
            try:
                counter = PromptLengths(model.path / "tokenizer.json", self.tokenizers[role])
            except ValueError as error:
                self.notes.append(f"{model.reference}: prompts are not counted: {error}")
                continue
            embeddings = self.sizes[role].vocabulary
            if 0 < embeddings < counter.rows:
                self.refuse(
                    f"{model.reference}: the tokenizer has {counter.rows} tokens, the model {embeddings} embeddings",
                    "tokenizer and weights belong to different models: save both again",
                )
            limit = min(self.settings.max_model_len, self.sizes[role].context or self.settings.max_model_len)
            for prompts in prompt_lengths(counter, role, self.draft.measurements, self.draft.suites, limit):
                yield prompts
                if prompts.too_long:
                    self._report_too_long(prompts)

    def _note_trace(self, model: Model, tokenizer: TokenizerFacts) -> None:
        """Note that options are read after an empty trace, where this model's chat template opens one."""
        if tokenizer.template and (opening := opened_trace(tokenizer)):
            self.notes.append(
                f"{model.reference}: its chat template opens a reasoning trace ({opening}) before every answer; option "
                "letters are read after an empty one, without reasoning"
            )

    def _warn_of_tools(self, model: Model, tokenizer: TokenizerFacts) -> None:
        """Warn of suites with tools that this model's chat template cannot show."""
        if not tokenizer.template:
            return
        for name, suite in self.draft.suites.items():
            item = next((item for item in suite.items if item.tools), None)
            if item is not None and (reason := tools_unseen(tokenizer, item)):
                self.warnings.append(
                    f"measurements.{name}: {model.reference} cannot be asked to call tools: {reason}; use weights "
                    f"whose template takes tools, or rows without tools (the first is line {item.line})"
                )

    def _report_too_long(self, prompts: Prompts) -> None:
        message = (
            f"measurements.{prompts.suite}: {prompts.too_long:,} of {prompts.items:,} prompts are too long for a "
            f"context of {prompts.limit:,} tokens; the longest, {prompts.item}, needs about {prompts.longest:,} with "
            "its answer"
        )
        if prompts.too_long > TOO_LONG * prompts.items:
            self.refuse(message, "raise engine.max_model_len, lower max_tokens, or remove these rows")
        else:
            self.notes.append(message)


def _unseen(draft: JobDraft) -> Iterator[str]:
    """What will not be measured, because no suite asks for the answers that would show it."""
    if len(draft.suites) < len(draft.measurements):
        return
    readable = {m.name: sum(m.asks_text(item) for item in draft.suites[m.name].items) for m in draft.measurements}
    for derived in draft.derived:
        if reason := derived.unseen(readable, draft.policy.evidence.alpha):
            hint = "score one of them by exact, contains, numeric, check or judge"
            yield f"measurements.{derived.name} will not be applicable: {reason}; {hint}"


def _data(draft: JobDraft) -> Iterator[Data]:
    for name, suite in draft.suites.items():
        yield Data(name, suite.source, len(suite.items), suite.sha256, len(suite.repeats))
    if draft.training is not None:
        yield Data("training data", draft.training.source, draft.training.rows, draft.training.sha256)
