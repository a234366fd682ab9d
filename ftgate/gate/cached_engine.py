"""An engine behind the journal: stored answers are reused, new ones are stored as they arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from ftgate.domain import Answer, EngineInfo, Model, Question
from ftgate.engines.base import Ask, Engine
from ftgate.errors import ConfigurationError, EngineError
from ftgate.gate.answer_store import AnswerStore
from ftgate.gate.journal import NOT_A_NUMBER, Journal, answer_keys, shelf_of
from ftgate.progress import Advance, Progress
from ftgate.scoring.trace import without_trace

LOCAL_KINDS = frozenset({"vllm", "transformers"})
"""Engines that fail alike each time they are asked: a prompt stays too long. A server may do better next time."""
VERIFY_SECONDS = 1.0
"""Seconds between two looks at the weights' files while answers arrive."""


class CachedEngine:
    """The models of a run, reached through an engine and a journal.

    Weights are loaded for the first question whose answer is not in the journal, so a run whose answers are all stored
    starts no engine. ``info`` describes the engine, ``own`` that of a model with another one. Without an engine
    (``ftgate decide``) a missing answer is an error and a failed answer stays failed; with one, failed answers are
    asked for again, of an engine of :data:`LOCAL_KINDS` once a run. ``verify`` raises if the weights are no longer
    those that were hashed; it is called after each start and every second, before the next answer is stored. ``store``
    holds answers that runs share.
    """

    def __init__(
        self,
        engine: Engine | None,
        info: EngineInfo,
        journal: Journal,
        progress: Progress,
        verify: Callable[[], None] = lambda: None,
        own: Mapping[Model, EngineInfo] = MappingProxyType({}),
        store: AnswerStore | None = None,
    ) -> None:
        self.info = info
        self._store = store
        self._shelves: dict[Model, str] = {}
        self._own = own
        self._verify = verify
        self._verified = (0, 0.0)
        self.journal = journal
        self.progress = progress
        self.served: dict[Model, set[str]] = {}
        """The names that an endpoint gave with the answers of each model, those in the journal included."""
        self._engine = engine
        self._needed: list[Model] = []
        self._loaded: list[Model] = []
        self._key_functions: dict[Model, Callable[[Question], str]] = {}
        self._advance: Advance | None = None
        self._failures: dict[str, Answer] = {}
        self._stream: _OpenQuestions | None = None
        self.probes: dict[Any, Any] = {}
        """What :meth:`~ftgate.engines.base.Engine.probe` gave for the base, which may have left the device since."""

    def take_over(self, earlier: CachedEngine) -> None:
        """Know what ``earlier`` learnt of the same engine: probes, and the questions that fail each time."""
        self.probes, self._failures = earlier.probes, earlier._failures

    def info_of(self, model: Model) -> EngineInfo:
        """The description of the engine that answers for ``model``."""
        return self._own.get(model, self.info)

    @property
    def starts(self) -> int:
        """Engines started so far."""
        return self._engine.starts if self._engine is not None else 0

    @property
    def replays(self) -> bool:
        """Whether there is no engine, so that only the journal answers."""
        return self._engine is None

    def needs_swap(self, models: Sequence[Model]) -> bool:
        """Whether each switch between ``models`` restarts an engine."""
        return self._engine is not None and self._engine.needs_swap(models)

    def takes_turns_with(self, other: CachedEngine | None) -> bool:
        """Whether each change between this engine and ``other`` costs a start: they do not fit on a device together."""
        engines = [each._engine for each in (self, other) if each is not None and each._engine is not None]
        return len(engines) == 2 and all(engine.yields_device for engine in engines)

    @property
    def runs_ahead(self) -> bool:
        """Whether later questions may be asked while earlier ones are still awaited, scored and decided on."""
        return self._engine is not None and self._engine.runs_ahead

    def reserve(self, models: Sequence[Model]) -> None:
        """Note what will be loaded, for all engines of a device to share its memory."""
        if self._engine is not None:
            self._engine.reserve(models)

    def require(self, models: Sequence[Model]) -> None:
        """Declare the models that the run needs. They are loaded together, before the first unanswered question."""
        self._needed = [model for model in models if model not in self._loaded]

    def loaded(self) -> Engine:
        """The engine with every required model loaded, and idle. Raises ConfigurationError if there is no engine."""
        self.stop()
        return self._load()

    def stop(self) -> None:
        """Take back the questions that were asked ahead and are not answered."""
        if self._stream is not None:
            if isinstance(self._stream.answers, Generator):
                self._stream.answers.close()
            self._stream = None

    def _load(self) -> Engine:
        if self._engine is None:
            raise ConfigurationError(
                "the journal lacks answers that this decision needs",
                hint="the run was cut short, or the policy now asks other questions: run `ftgate run` again",
            )
        if self._needed:
            with self.progress.phase("start engine", None):
                self._engine.require(self._needed)
            self._loaded += self._needed
            self._needed = []
            self._verify()
        return self._engine

    def missing(self, asks: Sequence[Ask]) -> int:
        """How many different questions of ``asks`` are not answered in the journal."""
        keys = zip(self._keys(asks), asks, strict=True)
        return len({key for key, ask in keys if not self.journal.has_answer(key) and not self._is_shared(key, ask)})

    @contextmanager
    def one_phase(self, asks: Sequence[Ask], phase: str) -> Iterator[None]:
        """Show all calls of :meth:`ask` in the body as one phase; together they ask ``asks``."""
        missing = 0 if self.replays else self.missing(asks)
        if not missing:
            yield
            return
        self.loaded()
        with self.progress.phase(phase, missing) as self._advance:
            try:
                yield
            finally:
                self._advance = None

    def ask(self, asks: Sequence[Ask], phase: str, ahead: Sequence[Ask] = ()) -> list[Answer]:
        """The answer to every ask, in order. Duplicates and stored answers cost nothing.

        ``ahead`` will be asked next, unless the run ends before: an engine that :attr:`runs_ahead` is asked them now.
        Their answers are stored as they come, and change nothing here; :meth:`stop` takes back the others.

        The journal keeps whole texts. What leaves here is what is scored, graded and compared: texts without the
        reasoning trace before the answer.
        """
        keys = self._keys(asks)
        answers: dict[str, Answer] = {}
        missing: dict[str, Ask] = {}
        for key, ask in zip(keys, asks, strict=True):
            failure = self.journal.failure(key) if self._engine is None else self._failures.get(key)
            answer = self.journal.answer(key) or self._take_shared(key, ask) or failure
            if answer is not None:
                answers[key] = answer
            else:
                missing.setdefault(key, ask)
        if missing:
            answers.update(self._ask_engine(missing, phase, self._to_come(ahead, missing)))
        if self._engine is not None:
            _refuse_broken_weights(asks, [answers[key] for key in keys])
        for key, ask in zip(keys, asks, strict=True):
            if served := answers[key].served:
                self.served.setdefault(ask.model, set()).add(served)
        return [without_trace(answers[key]) for key in keys]

    def _keys(self, asks: Sequence[Ask]) -> list[str]:
        """The journal key of each ask; those of one question after another, since they share its content."""
        by_question: dict[Question, list[int]] = {}
        for index, ask in enumerate(asks):
            by_question.setdefault(ask.question, []).append(index)
        keys = {index: self._key(asks[index]) for indices in by_question.values() for index in indices}
        return [keys[index] for index in range(len(asks))]

    def _key(self, ask: Ask) -> str:
        """The journal key of the answer, cached: every look asks again for all earlier questions."""
        model = ask.model
        if model not in self._key_functions:
            self._key_functions[model] = cache(answer_keys(model, self.info_of(model)))
        return self._key_functions[model](ask.question)

    def _is_shared(self, key: str, ask: Ask) -> bool:
        """Whether the answer is in the store."""
        if self._store is None or not (shelf := self._shelf(ask.model)):
            return False
        return self._store.has(shelf, key, ask.question)

    def _take_shared(self, key: str, ask: Ask) -> Answer | None:
        if self._store is None or not (shelf := self._shelf(ask.model)):
            return None
        answer = self._store.take(shelf, key, ask.question)
        if answer is not None:
            self.journal.add_answers([(key, ask.model, ask.question, answer)])
        return answer

    def _shelf(self, model: Model) -> str:
        """The model's shelf in the store; empty for one whose weights are not known, such as behind a server."""
        if model not in self._shelves:
            info = self.info_of(model)
            self._shelves[model] = shelf_of(model, info) if info.kind in LOCAL_KINDS else ""
        return self._shelves[model]

    def _verify_if_due(self) -> None:
        starts, at = self._verified
        now = time.monotonic()
        if self.starts != starts or now - at >= VERIFY_SECONDS:
            self._verify()
            self._verified = (self.starts, now)

    def _to_come(self, ahead: Sequence[Ask], missing: Mapping[str, Ask]) -> dict[str, Ask]:
        """Those of ``ahead`` that are still to be answered, by key; none for an engine that does not run ahead."""
        if not self.runs_ahead or self._advance is not None:
            return {}
        keys = self._keys(ahead)
        unanswered = (
            key not in self._failures and not self.journal.has_answer(key) and not self._is_shared(key, ask)
            for key, ask in zip(keys, ahead, strict=True)
        )
        pairs = zip(keys, ahead, unanswered, strict=True)
        return {key: ask for key, ask, is_unanswered in pairs if is_unanswered and key not in missing}

    def _ask_engine(self, missing: dict[str, Ask], phase: str, to_come: dict[str, Ask]) -> dict[str, Answer]:
        stream = self._stream_for(missing, to_come)
        answered: dict[str, Answer] = {}
        shared = nullcontext(self._advance) if self._advance is not None else None
        with shared or self.progress.phase(phase, len(missing)) as advance:
            while len(answered) < len(missing) and (arrived := next(stream.answers, None)) is not None:
                key, answer = stream.keys[arrived[0]], arrived[1]
                ask = stream.waiting.pop(key)
                self._verify_if_due()
                self.journal.add_answers([(key, ask.model, ask.question, answer)])
                if self._store is not None and (shelf := self._shelf(ask.model)):
                    self._store.add(shelf, key, ask.question, answer)
                if answer.error is not None and self.info_of(ask.model).kind in LOCAL_KINDS:
                    self._failures[key] = answer
                if key in missing:
                    answered[key] = answer
                    advance(1)
                self.progress.step(1)
        if not stream.waiting:
            self.stop()
        _require_answers(missing, answered)
        return answered

    def _stream_for(self, missing: dict[str, Ask], to_come: dict[str, Ask]) -> _OpenQuestions:
        """The open stream, if it is to answer just these; otherwise a new one, once what is unwanted is taken back."""
        stream = self._stream
        if stream is None or not missing.keys() <= stream.waiting.keys() <= missing.keys() | to_come.keys():
            engine = self.loaded()
            waiting = missing | to_come
            self._stream = stream = _OpenQuestions(list(waiting), waiting, iter(engine.ask(list(waiting.values()))))
        return stream


@dataclass(slots=True)
class _OpenQuestions:
    """Questions that an engine is answering: their ``keys`` in its order, and those whose answers are ``waiting``."""

    keys: list[str]
    waiting: dict[str, Ask]
    answers: Iterator[tuple[int, Answer]]


def _require_answers(asks: Mapping[str, Ask], answers: Mapping[str, Answer]) -> None:
    """Raise EngineError if the engine skipped a question."""
    for key, ask in asks.items():
        if key not in answers:
            raise EngineError(
                f"the engine gave no answer to item {ask.question.item_id} of {ask.question.measurement}",
                hint="run again: the answers so far are kept",
            )


def _refuse_broken_weights(asks: Sequence[Ask], answers: Sequence[Answer]) -> None:
    """Raise EngineError if a model computed NaN."""
    for ask, answer in zip(asks, answers, strict=True):
        if answer.error is not None and NOT_A_NUMBER in answer.error:
            raise EngineError(
                f"{ask.model.name} ({ask.model.reference or ask.model.path}) computes NaN, "
                f"first at item {ask.question.item_id} of {ask.question.measurement}",
                hint="its weights overflow in this dtype or are damaged: check how they were saved",
            )
