"""A replica without weights, for tests of how portions travel."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftgate.domain import Answer, EngineInfo, Message, Model
from ftgate.engines.base import Ask
from ftgate.errors import EngineError, FtgateError


class ScriptedReplica:
    """Answers each question with its id after ``FTGATE_TEST_SECONDS``, and notes in ``FTGATE_TEST_LOG`` what it did."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self._log = Path(os.environ["FTGATE_TEST_LOG"])
        self._seconds = float(os.environ.get("FTGATE_TEST_SECONDS", "0.01"))

    def info(self) -> EngineInfo:
        return EngineInfo(kind="vllm", versions={}, device="none", dtype="none", settings=dict(self.settings))

    def needs_swap(self, models: Sequence[Model]) -> bool:
        return len(models) > 2

    def require(self, models: Sequence[Model], groups: Sequence[Sequence[Model]]) -> int | FtgateError:
        if any(model.name == "broken" for model in models):
            return EngineError("vLLM could not start broken", hint="see the log")
        self.loaded = [model.name for model in models]
        self.groups = len(groups)
        return 1

    def release(self, models: Sequence[Model]) -> None:
        self.loaded = [name for name in self.loaded if name not in [model.name for model in models]]

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int) -> list[Mapping[str, float]]:
        return [dict.fromkeys(self.loaded, float(self.groups))]

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer] | FtgateError]:
        for index in reversed(range(len(asks))):
            name = asks[index].question.item_id
            if name == "death":
                os._exit(1)
            time.sleep(self._seconds)
            with self._log.open("a") as log:
                log.write(f"{os.getpid()} {name}\n")
            yield index, Answer(text=f"{asks[index].model.name} {name}")
