"""How answers are generated where they are not greedy: as the model will be run."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from ftgate.config.strict import GrownSection

OF_SAMPLING = ("top_p", "top_k", "min_p")
"""The settings that do nothing without a temperature."""
TopK = Annotated[int, Field(ge=-1), AfterValidator(lambda value: max(0, value))]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Stops = Annotated[tuple[Text, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class GenerationSettings(GrownSection):
    """How both models generate their answers. Each question has a seed of its own, from `evidence.seed`."""

    later: ClassVar[frozenset[str]] = frozenset(
        {"temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty"}
        | {"stop", "system"}
    )

    temperature: float = Field(default=0.0, ge=0, le=2)
    """0 is greedy: the likeliest token each time."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Sample among the likeliest tokens that together have this probability."""
    top_k: TopK = 0
    """Sample among this many likeliest tokens; 0 or -1 for all."""
    min_p: float = Field(default=0.0, ge=0, le=1)
    """Sample among tokens that are at least this share as likely as the likeliest."""
    repetition_penalty: float = Field(default=1.0, gt=0, le=2)
    """Above 1, tokens of the prompt and of the answer so far become less likely."""
    presence_penalty: Penalty = 0.0
    """Taken off the logits of tokens that the answer so far has; below 0, they become likelier."""
    frequency_penalty: Penalty = 0.0
    """As `presence_penalty`, once for each time that the answer so far has the token."""
    stop: Stops = Field(default=(), max_length=16)
    """Texts that end an answer, and are no part of it; those in a thought do not count."""
    system: Text | None = None
    """The system turn that is put before every conversation without one of its own."""

    @model_validator(mode="after")
    def _sampled(self) -> Self:
        idle = [name for name in OF_SAMPLING if getattr(self, name) != type(self).model_fields[name].default]
        if idle and not self.temperature:
            raise ValueError(f"{idle[0]}: does nothing without temperature, which is 0 unless it is given")
        return self


Generation = GenerationSettings | Literal["candidate"]
"""Settings, or those in the candidate's generation_config.json, as `vllm serve` reads it."""
