"""Whether a run would start, and what it would take: from configurations and headers alone, before a GPU is taken."""

from __future__ import annotations

from collections.abc import Iterator

from ftgate.artifacts.resolve import open_cache
from ftgate.artifacts.snapshot import GLANCE
from ftgate.domain import Model
from ftgate.engines.base import root_of
from ftgate.jobs.prepare import JobDraft
from ftgate.measurements.derived import free_form
from ftgate.models.dimensions import read_dimensions
from ftgate.models.open import require_finite
from ftgate.models.tokenizer import TokenizerFacts, differences, read_words
from ftgate.preflight.findings import Data, Disk, ModelFacts, Preflight, Problem, Prompts
from ftgate.preflight.fit import Findings, fit
from ftgate.preflight.hardware import Machine, free_disk
from ftgate.preflight.memory import CPU_OVERHEAD
from ftgate.preflight.prompt_lengths import PromptLengths, lengths
from ftgate.preflight.view import size_of

TOO_LONG = 0.01
"""The share of a suite's prompts that may be too long before every measurement on it would be void."""


def preflight(parts: JobDraft, machine: Machine) -> Preflight:
    """All that can be said of a run before anything is loaded."""
    look = _Look(parts, machine)
    look.weights()
    plan, memory = fit(look)
    prompts = tuple(look.prompts())
    look.notes += _unseen(parts)
    found = [Problem(p.message, p.hint, p.exit_code) for p in parts.problems.found]
    return Preflight(
        name=parts.name,
        problems=tuple(found),
        notes=tuple(look.notes),
        models=look.facts,
        plan=plan,
        memory=memory,
        disk=look.disk,
        prompts=prompts,
        data=tuple(_data(parts)),
    )


def require_preflight(parts: JobDraft, machine: Machine) -> Preflight:
    """As :func:`preflight`. Raises every problem at once."""
    found = preflight(parts, machine)
    parts.problems.raise_any()
    return found


class _Look(Findings):
    """What has been found, and how."""

    def __init__(self, parts: JobDraft, machine: Machine) -> None:
        super().__init__(parts, machine)
        self.words: dict[str, TokenizerFacts] = {}
        self.disk: Disk | None = None
        for role, model in (("base", parts.base), ("candidate", parts.candidate), ("judge", parts.judge)):
            if model is not None:
                with parts.problems.noted():
                    self._introduce(role, model)

    def _introduce(self, role: str, model: Model) -> None:
        if model.kind == "endpoint":
            self.facts[role] = ModelFacts(model.reference, model.kind)
            return
        self.sizes[role] = size = read_dimensions(root_of(model).path, root_of(model).reference)
        self.words[role] = words = read_words(model.path)
        own = model.kind == "full"
        self.facts[role] = ModelFacts(
            reference=model.reference,
            kind=model.kind,
            digest=model.digest,
            architecture=str(root_of(model).facts.get("architecture", "")),
            parameters=model.facts["parameters"],
            weight_bytes=model.facts["weight_bytes"],
            rank=model.lora_rank,
            quantisation=size.quantisation if own else "",
            context=size.context or None,
            vocabulary=model.facts.get("vocabulary") or size.vocabulary or None,
            tokenizer_sha256=words.vocabulary,
            template_sha256=words.template_digest,
        )
        aside = model.facts.get("left_aside")
        if aside:
            named = ", ".join(aside)
            self.notes.append(f"{model.reference}: left aside, neither digested nor shown to an engine: {named}")
        if not model.digest:
            self.notes.append(f"{model.reference}: its files are too large for a glance; a run reads and digests them")
        if own and size.context and size.context < self.settings.max_model_len:
            wanted = self.settings.max_model_len
            self.notes.append(
                f"{model.reference} holds {size.context:,} tokens, so max_model_len {wanted:,} is cut to it"
            )

    def weights(self) -> None:
        """Compare candidate and base, look for numbers that are none, and plan how they run."""
        base, candidate = self.parts.base, self.parts.candidate
        if base is None or candidate is None or not {"base", "candidate"} <= self.sizes.keys():
            return
        self._compare_words(candidate)
        if candidate.facts["weight_bytes"] <= GLANCE and not candidate.headers_only:
            with self.parts.problems.noted():
                require_finite(candidate)
        else:
            self.notes.append(f"{candidate.reference}: not searched for NaN and infinity; a run does that")
        if not candidate.merge:
            return
        quantisation = self.sizes["base"].quantisation
        if quantisation:
            self.refuse(
                f"{candidate.reference}: must be merged ({candidate.merge[0]}), "
                f"but the base is quantised ({quantisation})",
                "name the base that is not quantised, or train an adapter that need not be merged",
            )
        cache = open_cache(self.parts.policy.artifacts).root
        needed = int(1.02 * base.facts["weight_bytes"]) + candidate.facts["weight_bytes"]
        memory = 4 * base.facts["parameters"] + candidate.facts["weight_bytes"] + CPU_OVERHEAD  # in float32
        self.disk = Disk(str(cache), needed, free_disk(cache), memory)
        if self.disk.needed > self.disk.free:
            self.refuse(
                f"the merged weights take {size_of(needed)}, and {cache} has {size_of(self.disk.free)} free",
                "free some disk space, or set FTGATE_CACHE to a folder on a larger disk",
            )
        if memory > self.machine.memory:
            self.refuse(
                f"merging takes about {size_of(self.disk.memory)} of memory, this machine has "
                f"{size_of(self.machine.memory)}",
                "merge on a larger machine and give the merged full weights as candidate",
            )

    def _compare_words(self, candidate: Model) -> None:
        found = differences(self.words["base"], self.words["candidate"])
        own = candidate.kind == "full" or "vocabulary" in candidate.facts
        used = "each model is asked with its own" if own else "an adapter is asked with the base's"
        self.notes += [f"base and {candidate.reference} differ in {what}; {used}" for what in found]
        one, two = self.facts["base"].vocabulary, self.facts["candidate"].vocabulary
        if one != two:
            self.notes.append(f"base and {candidate.reference} differ in the size of the vocabulary: {one} and {two}")

    def prompts(self) -> Iterator[Prompts]:
        """The longest prompt of each suite, for every model that reads text in its own way."""
        readers = {"base": self.parts.base, "candidate": self.parts.candidate}
        seen: list[TokenizerFacts] = []
        for role, model in readers.items():
            if model is None or role not in self.words or model.kind == "adapter" or self.words[role] in seen:
                continue
            seen.append(self.words[role])
            try:
                counter = PromptLengths(model.path / "tokenizer.json", self.words[role])
            except ValueError as error:
                self.notes.append(f"{model.reference}: prompts are not counted: {error}")
                continue
            rows = self.sizes[role].vocabulary
            if 0 < rows < counter.rows:
                self.refuse(
                    f"{model.reference}: the tokenizer has {counter.rows} tokens, the model {rows} embeddings",
                    "tokenizer and weights belong to different models: save both again",
                )
            limit = min(self.settings.max_model_len, self.sizes[role].context or self.settings.max_model_len)
            for found in lengths(counter, role, self.parts.measurements, self.parts.suites, limit):
                yield found
                if found.too_long:
                    self._too_long(found)

    def _too_long(self, found: Prompts) -> None:
        message = (
            f"measurements.{found.suite}: {found.too_long:,} of {found.items:,} prompts are too long for a context of "
            f"{found.limit:,} tokens; the longest, {found.item}, takes about {found.longest:,} with its answer"
        )
        if found.too_long > TOO_LONG * found.items:
            self.refuse(message, "raise engine.max_model_len, lower max_tokens, or take these rows out")
        else:
            self.notes.append(message)


def _unseen(parts: JobDraft) -> Iterator[str]:
    """What will not be measured, because no suite asks for the answers that it would be seen in."""
    if len(parts.suites) < len(parts.measurements):
        return
    readable = {m.name: sum(free_form(m, item) for item in parts.suites[m.name].items) for m in parts.measurements}
    for derived in parts.derived:
        if reason := derived.unseen(readable, parts.policy.evidence.alpha):
            hint = "score one of them by exact, contains, numeric, check or judge"
            yield f"measurements.{derived.name} will not be applicable: {reason}; {hint}"


def _data(parts: JobDraft) -> Iterator[Data]:
    for name, suite in parts.suites.items():
        yield Data(name, suite.source, len(suite.items), suite.sha256)
    if parts.training is not None:
        yield Data("training data", parts.training.source, parts.training.rows, parts.training.sha256)
