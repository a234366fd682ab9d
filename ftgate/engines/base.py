"""The engine interface, through which the rest of ftgate runs models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ftgate.domain import Answer, EngineInfo, Message, Model, Question
from ftgate.errors import EngineError


class Ask(NamedTuple):
    """One question for one model; those of an earlier ``look`` are answered first."""

    model: Model
    question: Question
    look: int = 0


class UnprobedError(EngineError):
    """The engine cannot show next-token probabilities, because the server that it asks gives none."""


def base_of(model: Model) -> Model:
    """The full weights that an engine loads for ``model``: its base for an adapter, otherwise itself."""
    return model.base if model.kind == "adapter" and model.base is not None else model


class Engine(Protocol):
    """Runs models. Models are loaded in :meth:`require`; nothing expensive may happen before."""

    @property
    def starts(self) -> int:
        """How many times weights were loaded into a new engine since this object was created."""
        ...

    def info(self) -> EngineInfo:
        """Names, versions, device and all settings that affect results. May be called before :meth:`require`."""
        ...

    @property
    def yields_device(self) -> bool:
        """Whether its models must leave the device when another engine of the run loads its own.

        Then every change between the two engines costs a start.
        """
        ...

    @property
    def runs_ahead(self) -> bool:
        """Whether it goes on with what it was asked while nobody waits, so that later questions delay no earlier one.

        Not where it shares the processors with whoever scores its answers, and not where every answer is paid for.
        """
        ...

    def reserve(self, models: Sequence[Model]) -> None:
        """Note that ``models`` will be required. Loads nothing.

        So all engines of a device share its memory, and a base need not start again for an adapter that comes later.
        """
        ...

    def require(self, models: Sequence[Model]) -> None:
        """Load ``models`` once: a base and its adapters share one engine; other full weights get their own.

        Models that do not fit together are loaded one at a time, when they are asked. Loaded models are left alone.
        Raises EngineError (with the first exception that the engine logged) if loading fails, ArtifactError if the
        engine cannot run such a model.
        """
        ...

    def needs_swap(self, models: Sequence[Model]) -> bool:
        """Whether ``models`` do not fit at once, so that every change from one to another costs a start."""
        ...

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer every ask; yield ``(index into asks, answer)`` as soon as each is done, in any order within a look.

        Closing the generator takes back what is not answered. Until then the engine is asked nothing else.
        A question that cannot be answered (prompt longer than the context, option that is not one token) yields an
        answer with ``finish="error"``. Raises EngineError if the engine itself fails.
        """
        ...

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[Any, float]]:
        """Natural-log probabilities of the ``top`` likeliest next tokens after each prompt.

        By token id, or by the token's text from a server. Raises UnprobedError if a server gives none.
        """
        ...

    def close(self) -> None:
        """Free the weights. Safe to call twice."""
        ...
