"""The renderers of the models that share one base: each is asked in its own words."""

from __future__ import annotations

from pathlib import Path

from ftgate.config.engine import Thinking
from ftgate.domain import Model
from ftgate.engines.chat_template import Renderer


class Renderers:
    """The renderer of each model on ``base``, shared by those that are asked alike.

    That of the base is made at once: raises ArtifactError if its tokenizer or chat template cannot be read.
    """

    def __init__(self, base: Model, max_model_len: int, thinking: Thinking = "off", thinking_tokens: int = 0) -> None:
        self._settings = (max_model_len, thinking, thinking_tokens)
        self._renderers: dict[tuple[Path, str, str] | None, Renderer] = {}
        self.of(base)

    def of(self, model: Model) -> Renderer:
        """The renderer of ``model``, which is the base or an adapter on it."""
        if model.chat not in self._renderers:
            self._renderers[model.chat] = Renderer(model, *self._settings)
        return self._renderers[model.chat]

    @property
    def thinking_tokens(self) -> int:
        """The longest thought that any of the models may have."""
        return max(renderer.thinking_tokens for renderer in self._renderers.values())
