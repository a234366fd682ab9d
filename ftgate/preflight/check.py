"""Checks whether a run would start and estimates what it needs, from configurations and headers alone; needs no GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ftgate.artifacts.resolve import open_cache
from ftgate.config.engine import EngineSettings
from ftgate.config.generation import GenerationSettings
from ftgate.datasets.suites import repeats_text
from ftgate.domain import Item, Model
from ftgate.engines.base import base_of
from ftgate.engines.chat_template import chat_of
from ftgate.jobs.prepare import JobDraft
from ftgate.measurements.base import Measurement
from ftgate.measurements.gated_slices import slice_powers
from ftgate.measurements.shortage import hardly_passes, shortage
from ftgate.models.chat import origin_note, unused_tokens
from ftgate.models.dimensions import read_dimensions, why_unloadable
from ftgate.models.generation import generation_note, generation_of
from ftgate.models.rendering import asked_facts
from ftgate.models.tokenizer import TokenizerFacts, differences, read_tokenizer
from ftgate.models.weights import read_json
from ftgate.preflight.architecture import Builder, built_apart, built_here, check_architectures
from ftgate.preflight.best_verdict import best_verdict_of, not_measured
from ftgate.preflight.constant_answers import check_constant_answers
from ftgate.preflight.encoder import try_encoder
from ftgate.preflight.endpoints import check_endpoints
from ftgate.preflight.findings import Data, Disk, ModelFacts, Preflight, Problem, Prompts
from ftgate.preflight.fit import CheckState, fit_engines
from ftgate.preflight.hardware import Machine, free_disk
from ftgate.preflight.head_sizes import check_head_sizes
from ftgate.preflight.long_answers import check_long_answers
from ftgate.preflight.memory import CPU_OVERHEAD
from ftgate.preflight.mistaken_inputs import check_mistaken_inputs
from ftgate.preflight.prompt_lengths import LEAST_ANSWER, PromptLengths, prompt_lengths
from ftgate.preflight.quantised import quantisation_problem, told_problem
from ftgate.preflight.rendering import short_rendering, tools_unseen
from ftgate.preflight.repeated_rows import check_repeated_rows
from ftgate.preflight.templates import FEW, check_templates
from ftgate.preflight.thinking import thinking_facts, unread_after_thoughts
from ftgate.preflight.view import size_of
from ftgate.preflight.vocabularies import check_vocabularies
from ftgate.preflight.weight_numbers import check_numbers_of

_USUAL_TEMPLATES = "each model is asked in its own (`template: base` in the manifest asks both in the base's)"


def preflight(
    draft: JobDraft, machine: Machine, *, ask: bool = False, embed: bool = False, build: Builder = built_apart
) -> Preflight:
    """Everything that can be checked about a run before the models' weights are loaded.

    ``ask`` tries servers as well, ``embed`` the embedding model, and ``build`` builds models without their weights.
    """
    checks = _ModelChecks(draft, machine)
    checks.notes += check_endpoints(draft, ask=ask)
    if draft.candidate is not None and (generation := generation_note(draft.policy.engine, draft.candidate)):
        checks.notes.append(generation)
    check_numbers_of(checks)
    checks.check_weights()
    checks.check_rows()
    check_repeated_rows(checks)
    check_mistaken_inputs(checks)
    check_constant_answers(checks)
    checks.note_rows()
    plan, memory = fit_engines(checks)
    check_templates(checks, checks.generation)
    prompts = tuple(checks.check_prompts())
    check_vocabularies(checks, checks.vocabularies)
    checks.warnings += _unseen(draft)
    checks.notes += try_encoder(draft) if embed else []
    check_architectures(checks, build)
    check_head_sizes(checks)
    unmeasured = not_measured(draft)
    return Preflight(
        name=draft.name,
        problems=tuple(Problem(p.message, p.hint, p.exit_code) for p in draft.problems.found),
        notes=tuple(checks.notes),
        warnings=tuple(checks.warnings),
        models=checks.facts,
        plan=plan,
        memory=memory,
        disk=checks.disk,
        prompts=prompts,
        data=tuple(_data(draft)),
        too_few=tuple(dict.fromkeys((*checks.never, *checks.hardly))),
        hardly=tuple(checks.hardly),
        best_verdict=best_verdict_of(draft, checks.never),
        not_measured=tuple(unmeasured),
        reasons_not_measured={name: reason for name, reason in unmeasured.items() if reason},
    )


def require_preflight(draft: JobDraft, machine: Machine) -> Preflight:
    """As :func:`preflight`. Raises every problem at once."""
    result = preflight(draft, machine, build=built_here)
    draft.problems.raise_any()
    return result


class _ModelChecks(CheckState):
    """Checks the models of a run, their weights, tokenizers and prompts; results are collected in the state."""

    def __init__(self, draft: JobDraft, machine: Machine) -> None:
        super().__init__(draft, machine)
        self.tokenizers: dict[str, TokenizerFacts] = {}
        self.vocabularies: dict[str, Mapping[str, int]] = {}
        self.disk: Disk | None = None
        self.notes += draft.deployed.notes
        models = {"base": draft.base, "candidate": draft.candidate, "incumbent": self.incumbent, "judge": draft.judge}
        for role, model in models.items():
            if model is not None:
                with draft.problems.noted():
                    self._add_model(role, model)

    def _add_model(self, role: str, model: Model) -> None:
        if model.kind == "endpoint":
            self.facts[role] = ModelFacts(model.reference, model.kind)
            return
        self.sizes[role] = size = read_dimensions(base_of(model).path, base_of(model).reference)
        self.tokenizers[role] = tokenizer = read_tokenizer(model.path)
        self.asked[role] = asked_facts(model)
        own = model.kind == "full"
        if base_of(model) is model:  # of an adapter's base all is said with the base
            self._check_loadable(role, model, size.quantisation)
        self._check_told_quantisation(role, base_of(model), size.quantisation)
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

    def _check_loadable(self, role: str, weights: Model, stored: str) -> None:
        """Refuse weights that the engine does not load as they are stored, or as their config.json describes them."""
        settings = self.settings_of(role)
        if settings.kind == "scripted":
            return
        if stored and (problem := quantisation_problem(stored, settings, cpu=self.cpu)):
            self.refuse(f"{weights.reference}: {problem[0]}", problem[1])
        config = read_json(weights.path, "config.json", weights.reference)
        for reason in why_unloadable(config, by_architecture=settings.kind != "transformers"):
            self.refuse(f"{weights.reference}: config.json: {reason}", "save model and config.json again, together")

    def _check_told_quantisation(self, role: str, weights: Model, stored: str) -> None:
        """Refuse weights that the engine does not quantise as the policy says."""
        field = f"{self.section_of(role, 'quantization')}.quantization"
        if problem := told_problem(self.settings_of(role), field, stored, weights.path, cpu=self.cpu):
            self.refuse(f"{weights.reference}: {problem[0]}", problem[1])

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
        """Compare the tokenizers, and check disk and memory for a merge."""
        base, candidate = self.draft.base, self.draft.candidate
        if base is None or candidate is None or not {"base", "candidate"} <= self.sizes.keys():
            return
        self._compare_tokenizers(candidate)
        for model in (candidate, self.incumbent):
            if model is not None and model.merge:
                self._check_merge(model, base)

    def _check_merge(self, candidate: Model, base: Model) -> None:
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
        chat = candidate.facts.get("chat", {})
        own = candidate.kind == "full" or chat.get("tokenizer") == "its own"
        for what in differences(self.tokenizers["base"], self.tokenizers["candidate"]):
            if what.startswith("the chat template"):
                usage = "both are asked in the base's" if chat.get("template") == "base's" else _USUAL_TEMPLATES
            else:
                usage = "each model uses its own" if own else "an adapter uses the base's"
            self.notes.append(f"base and {candidate.reference} differ in {what}; {usage}")
        base = self.draft.base
        if base is not None and (trained_on := candidate.facts.get("trained_on")):
            self.notes.append(f"{candidate.reference}: {origin_note(trained_on, base)}")
        if renamed := candidate.facts.get("renamed"):
            self.notes.append(f"{candidate.reference}: {renamed:,} tensors are renamed as peft would name them")
        if unstored := candidate.facts.get("unstored"):
            self.notes.append(
                f"{candidate.reference}: adapter_config.json covers {unstored['modules']:,} modules of the base that "
                f"the weights lack, such as {unstored['first']}: they stay as in the base; if they were trained, save "
                "the adapter again"
            )
        if base is not None and (unused := unused_tokens(candidate, base)):
            self.notes.append(
                f"{candidate.reference}: {len(unused):,} tokens of its tokenizer ({', '.join(unused[:3])}) have no "
                "embeddings in the base and are not used"
            )
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
            rows, alpha = draft.suites[m.name].items, draft.policy.evidence.alpha
            lacking = shortage(m, rows, alpha, trained=draft.trained)
            hardly = hardly_passes(m, rows, alpha, trained=draft.trained)
            if lacking is not None and lacking.total and not self._few_on_purpose(m, rows):
                self.refuse(lacking.reason, lacking.remedy)
            elif lacking is not None:
                self.warnings.append(str(lacking))
                self.never.append(m.name)
            elif hardly is not None:
                self.warnings.append(hardly)
                self.hardly.append(m.name)
            for power in slice_powers(m, draft.suites[m.name].items, draft.policy.evidence, trained=draft.trained):
                (self.warnings if power.drop is None else self.notes).append(f"measurements.{m.name}: {power}")

    def _few_on_purpose(self, m: Measurement, rows: Sequence[Item]) -> bool:
        """Whether a smoke test cut the rows, which decide as far as they go."""
        smoke_test = self.draft.policy.evidence.smoke_test
        return smoke_test is not None and m.items_that_decide(rows, trained=self.draft.trained) > 0

    def check_prompts(self) -> Iterator[Prompts]:
        """The longest prompt of each suite, for every model that is asked with something of its own."""
        models = {"base": self.draft.base, "candidate": self.draft.candidate, "incumbent": self.incumbent}
        seen: list[tuple[TokenizerFacts, int]] = []
        for role, model in models.items():
            if model is None or role not in self.asked:
                continue
            alike = (self.asked[role], self.sizes[role].context)
            if alike in seen:
                continue
            seen.append(alike)
            self._warn_of_tools(model, self.asked[role])
            thought = self._check_thinking(model, self.asked[role])
            try:
                counter = PromptLengths(chat_of(model).tokenizer / "tokenizer.json", self.asked[role], thought)
            except ValueError as error:
                self.notes.append(f"{model.reference}: prompts are not counted: {error}")
                continue
            self.vocabularies[role] = counter.vocabulary
            if role == "base":
                check_long_answers(self, counter)
            limit = min(self.settings.max_model_len, self.sizes[role].context or self.settings.max_model_len)
            asked = (self.draft.measurements, self.draft.suites, self.generation)
            for prompts in prompt_lengths(counter, role, *asked, limit):
                prompts = replace(prompts, **self._limited(role))
                yield prompts
                if prompts.too_long:
                    self._report_too_long(prompts, thought)

    def _limited(self, role: str) -> dict[str, Any]:
        """What sets the context of the model with this role, as fields of :class:`Prompts`."""
        limit, context = self.settings.max_model_len, self.sizes[role].context or 0
        if 0 < context <= limit:
            return {"context": context}
        default = ", the default" * (limit == EngineSettings().max_model_len)
        return {"context": context, "setting": f"engine.max_model_len{default}"}

    def _check_thinking(self, model: Model, tokenizer: TokenizerFacts) -> int:
        """Say whether and how long this model thinks before it answers. The tokens that a thought may have."""
        if not tokenizer.template or self.settings.kind == "scripted":
            return 0
        facts = thinking_facts(partial(short_rendering, tokenizer), self.settings)
        self.notes += [f"{model.reference}: {facts.note}"] if facts.note else []
        self.warnings += [f"{model.reference}: {facts.warning}"] if facts.warning else []
        if facts.problem:
            self.refuse(f"{model.reference}: {facts.problem}", "set engine.thinking: template")
        if not facts.thinks:
            return 0
        for reason in unread_after_thoughts(self.draft.measurements, self.draft.suites):
            self.refuse(
                f"{reason}, and {model.reference} thinks",
                "set engine.thinking: off, or have the task score texts (generate_until)",
            )
        return self.settings.thinking_tokens

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

    @property
    def generation(self) -> GenerationSettings | None:
        """How both models are asked to generate; the candidate's own settings count as none where there is none."""
        candidate = self.draft.candidate
        return None if candidate is None else generation_of(self.draft.policy.engine, candidate)

    def _report_too_long(self, prompts: Prompts, thought: int) -> None:
        needs = f"a thought of up to {thought:,} and its answer" if thought else "its answer"
        message = (
            f"measurements.{prompts.suite}: {prompts.too_long:,} of {prompts.items:,} prompts are too long for a "
            f"context of {prompts.where}; the longest, {prompts.item}, needs about {prompts.longest:,} with "
            f"{needs}"
        )
        if prompts.too_long > FEW * prompts.items:
            self.refuse(message, self._shorter(prompts, thought))
        else:
            self.notes.append(message)

    def _shorter(self, prompts: Prompts, thought: int) -> str:
        """What makes prompts and answers fit: a number for max_tokens, if that is enough."""
        measurement = next(m for m in self.draft.measurements if m.name == prompts.suite)
        field, room = f"measurements.{prompts.suite}.max_tokens", prompts.limit - prompts.longest
        asks_texts = any(measurement.asks_text(item) for item in self.draft.suites[prompts.suite].items)
        left = measurement.max_tokens + room if asks_texts else 0
        others = f"{prompts.room}, or remove rows"
        if left >= LEAST_ANSWER:
            return f"set {field} to at most {left:,} (now {measurement.max_tokens:,}), {others}"
        fields = [*([field] if asks_texts else []), *(["engine.thinking_tokens"] if thought else [])]
        return f"lower {' or '.join(fields)}, {others}" if fields else others


def _unseen(draft: JobDraft) -> Iterator[str]:
    """What will not be measured, because no suite asks for the answers that would show it."""
    if len(draft.suites) < len(draft.measurements):
        return
    read = [m for m in draft.measurements if m.tier != "advisory"]
    readable = {m.name: sum(m.asks_text(item) for item in draft.suites[m.name].items) for m in read}
    for derived in draft.derived:
        if reason := derived.unseen(readable, draft.policy.evidence.alpha):
            hint = "score one of them by exact, contains, numeric, check or judge"
            yield f"measurements.{derived.name} will not be applicable: {reason}; {hint}"


def _data(draft: JobDraft) -> Iterator[Data]:
    measured = {m.name: m for m in draft.measurements}
    for name, suite in draft.suites.items():
        m = measured.get(name)
        kind, tier = (m.kind, m.tier) if m is not None else ("", "")
        yield Data(name, suite.source, len(suite.items), suite.sha256, len(suite.repeats), kind, tier)
    if draft.training is not None:
        yield Data("training data", draft.training.source, draft.training.rows, draft.training.sha256)
