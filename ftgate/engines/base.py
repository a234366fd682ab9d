"""What every engine can do. The rest of ftgate knows engines only through this file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from ftgate.domain import Answer, EngineInfo, Message, Model, Question


class Ask(NamedTuple):
    """One question for one model."""

    model: Model
    question: Question


def root_of(model: Model) -> Model:
    """The full weights that an engine loads for it: its base for an adapter, otherwise itself."""
    return model.base if model.kind == "adapter" and model.base is not None else model


class Engine(Protocol):
    """Runs models. Loading happens in :meth:`require`; nothing heavy may happen before it."""

    @property
    def starts(self) -> int:
        """How many times weights were loaded into a new engine since this object was made."""
        ...

    def info(self) -> EngineInfo:
        """Names, versions, device and settings that can move a number. Callable before :meth:`require`."""
        ...

    def require(self, models: Sequence[Model]) -> None:
        """Load ``models``, once: a base and its adapters share one engine, other full weights get one each.

        Those that do not fit side by side take turns, and are loaded when they are asked.
        Models that are loaded already are left alone. Raises EngineError (with the first exception that the engine
        logged) when loading fails, ArtifactError when the engine cannot run such a model.
        """
        ...

    def in_turn(self, models: Sequence[Model]) -> bool:
        """Whether ``models`` cannot all be held at once, so that each change from one to another costs a start."""
        ...

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer every ask; yield ``(index into asks, answer)`` as soon as each is done, in any order.

        A single question that cannot be answered (a prompt longer than the context, an option that is not one token)
        yields an answer with ``finish="error"``. Raises EngineError when the engine itself breaks.
        """
        ...

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[int, float]]:
        """Natural-log probabilities of the ``top`` likeliest next tokens after each prompt, by token id."""
        ...

    def close(self) -> None:
        """Free the weights. Safe to call twice."""
        ...
