"""``python -m support.slow_run LOG SECONDS [ARGUMENTS]``: the program with a scripted engine that takes its time.

Everything but the engine is real, exit codes and signals included. Before an answer leaves the engine its item is
appended to LOG, so that a test can compare what was given with what the journal kept.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ftgate.__main__ import entry
from ftgate.domain import Answer
from ftgate.engines import registry
from ftgate.engines.base import Ask
from ftgate.engines.scripted import ScriptedEngine
from support.players import CAREFUL, script


class SlowEngine(ScriptedEngine):
    """Waits before each answer and logs it."""

    def __init__(self, log: Path, seconds: float) -> None:
        super().__init__(script(CAREFUL))
        self._log = log
        self._seconds = seconds

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """The scripted answers, one by one."""
        with self._log.open("a", encoding="utf-8") as log:
            for index, answer in super().ask(asks):
                time.sleep(self._seconds)
                question = asks[index].question
                print(
                    asks[index].model.name, question.measurement, question.item_id, question.part, file=log, flush=True
                )
                yield index, answer


def main() -> None:
    """Run the program on what follows LOG and SECONDS."""
    log, seconds = Path(sys.argv[1]), float(sys.argv[2])
    for kind in registry._ENGINES:
        registry._ENGINES[kind] = lambda settings, log_path: SlowEngine(log, seconds)
    sys.argv[1:] = sys.argv[3:]
    entry()


if __name__ == "__main__":
    main()
