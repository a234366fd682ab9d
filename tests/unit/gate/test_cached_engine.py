"""The engine behind the journal, beside what whole runs show of it."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from ftgate.domain import Answer, Message, Model, Question
from ftgate.engines.base import Ask
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.cached_engine import CachedEngine
from ftgate.gate.journal import Journal, answer_key
from ftgate.progress import SilentProgress

MODELS = tuple(Model(name, Path(name), f"sha256:{name}") for name in ("base", "candidate"))


def test_long_prompts_are_not_kept_a_second_time(tmp_path: Path) -> None:
    count, length = 100, 50_000
    questions = [Question("target", f"i{i}", (Message("user", f"{i}".ljust(length, "x")),)) for i in range(count)]
    engine = ScriptedEngine(lambda model, question: Answer(f"{model.name} {question.item_id}"))
    asks = [Ask(model, question) for model in MODELS for question in questions]
    with Journal(tmp_path / "answers.jsonl") as journal:
        models = CachedEngine(engine, engine.info(), journal, SilentProgress())
        models.require(MODELS)
        tracemalloc.start()
        answers = models.ask(asks, "ask")
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept < count * length / 4
        assert [answer.text for answer in answers] == [f"{ask.model.name} {ask.question.item_id}" for ask in asks]
        stored = [journal.answer(answer_key(ask.model, ask.question, engine.info())) for ask in asks]
    assert stored == answers
