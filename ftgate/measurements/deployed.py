"""Questions as the models will be asked where they are deployed: sampled, with a system turn, or greedily."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ftgate.config.generation import GenerationSettings
from ftgate.domain import NEUTRAL, Message, Question
from ftgate.stats.seeding import generator


def as_deployed(questions: Iterable[Question], generation: GenerationSettings | None) -> tuple[Question, ...]:
    """The questions, to be answered as ``generation`` says; None for greedily.

    Raw texts and continuations stay as their task defines them, and questions that sample anyway keep their own
    temperature. Probabilities of options are read as ever, but a thought before them is generated so, too.
    """
    if generation is None:
        return tuple(questions)
    return tuple(q if q.raw or q.continued else _deployed(q, generation) for q in questions)


def _deployed(question: Question, generation: GenerationSettings) -> Question:
    own_system = any(message.role in ("system", "developer") for message in question.messages)
    if generation.system is not None and not own_system:
        question = replace(question, messages=(Message("system", generation.system), *question.messages))
    shape = {name: getattr(generation, name) for name in NEUTRAL}
    question = replace(question, **{name: value for name, value in shape.items() if name.endswith("_penalty")})
    if not question.options:
        question = replace(question, stop=(*question.stop, *generation.stop))
    if question.temperature or not generation.temperature:
        return question
    return replace(question, temperature=generation.temperature, **shape)


def seeded(questions: Iterable[Question], seed: int) -> tuple[Question, ...]:
    """The questions of one item; each one that samples gets a seed derived from the run's seed and the item."""
    return tuple(
        replace(q, seed=int(generator(seed, f"{q.measurement} {q.item_id} {q.part}").integers(2**31)))
        if q.temperature
        else q
        for q in questions
    )
