"""Asking through the journal: what is known is not asked again, what is new is written down as it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from ftgate.domain import Answer, EngineInfo, Model, Question
from ftgate.engines.base import Ask, Engine
from ftgate.errors import ConfigurationError, EngineError
from ftgate.gate.journal import NOT_A_NUMBER, Journal, answer_keys
from ftgate.progress import Progress


class CachedEngine:
    """The models of a run, reached through an engine and a journal.

    Weights are loaded when the first question is asked whose answer is not in the journal, so that a run which only
    has to finish its arithmetic starts no engine. Without an engine (``ftgate decide``) a missing answer is an error,
    and one that failed stays failed; with one it is asked for again.
    """

    def __init__(self, engine: Engine | None, info: EngineInfo, journal: Journal, progress: Progress) -> None:
        self.info = info
        self.journal = journal
        self.progress = progress
        self._engine = engine
        self._needed: list[Model] = []
        self._loaded: list[Model] = []
        self._keyed: dict[tuple[str, str | None], Callable[[Question], str]] = {}

    @property
    def starts(self) -> int:
        """Engines started so far."""
        return self._engine.starts if self._engine is not None else 0

    def needs_swap(self, models: Sequence[Model]) -> bool:
        """Whether each change from one of ``models`` to another costs the start of an engine."""
        return self._engine is not None and self._engine.needs_swap(models)

    def require(self, models: Sequence[Model]) -> None:
        """Note which models the run needs; they are loaded together, before the first open question."""
        self._needed = [model for model in models if model not in self._loaded]

    def loaded(self) -> Engine:
        """The engine with every required model in it. Raises ConfigurationError where there is no engine."""
        if self._engine is None:
            raise ConfigurationError(
                "the journal does not hold every answer that this decision needs",
                hint="the run was cut short, or the policy now asks other questions: run `ftgate run` again",
            )
        if self._needed:
            with self.progress.phase("start engine", None):
                self._engine.require(self._needed)
            self._loaded += self._needed
            self._needed = []
        return self._engine

    def ask(self, asks: Sequence[Ask], phase: str) -> list[Answer]:
        """The answer to every ask, in order. Repeated and already answered ones cost nothing."""
        keys = [self._key(ask) for ask in asks]
        known: dict[str, Answer] = {}
        missing: dict[str, Ask] = {}
        for key, ask in zip(keys, asks, strict=True):
            found = self.journal.answer(key) or (self.journal.failure(key) if self._engine is None else None)
            if found is not None:
                known[key] = found
            else:
                missing.setdefault(key, ask)
        if missing:
            known.update(self._ask_engine(missing, phase))
        return [known[key] for key in keys]

    def _key(self, ask: Ask) -> str:
        """The address of the answer, worked out once: every look asks for all that was asked before it."""
        of = (ask.model.digest, ask.model.base.digest if ask.model.base is not None else None)
        if of not in self._keyed:
            self._keyed[of] = cache(answer_keys(ask.model, self.info))
        return self._keyed[of](ask.question)

    def _ask_engine(self, missing: dict[str, Ask], phase: str) -> dict[str, Answer]:
        engine = self.loaded()
        keys, asks = list(missing), list(missing.values())
        answered: dict[str, Answer] = {}
        waiting: list[tuple[str, Model, Question, Answer]] = []
        with self.progress.phase(phase, len(asks)) as advance:
            try:
                for index, answer in engine.ask(asks):
                    answered[keys[index]] = answer
                    waiting.append((keys[index], asks[index].model, asks[index].question, answer))
                    if len(waiting) >= 64:
                        self.journal.add_answers(waiting)
                        waiting.clear()
                    advance(1)
            finally:  # whatever stops the engine, what it has said already is kept
                self.journal.add_answers(waiting)
        _refuse_broken_weights(asks, [answered.get(key) for key in keys])
        return answered


def _refuse_broken_weights(asks: Sequence[Ask], answers: Sequence[Answer | None]) -> None:
    """Stop when the engine skipped a question, or when a model's numbers are not numbers."""
    for ask, answer in zip(asks, answers, strict=True):
        if answer is None:
            raise EngineError(
                f"the engine gave no answer to item {ask.question.item_id} of {ask.question.measurement}",
                hint="run again: the answers so far are kept",
            )
        if answer.error is not None and NOT_A_NUMBER in answer.error:
            raise EngineError(
                f"{ask.model.name} ({ask.model.reference or ask.model.path}) computes values that are not numbers, "
                f"first at item {ask.question.item_id} of {ask.question.measurement}",
                hint="its weights overflow in this dtype or are damaged: check how they were saved",
            )
