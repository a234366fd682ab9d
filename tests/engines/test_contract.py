"""What every engine promises, tested on every engine."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines.tiny import TinyModels, choices, question
from ftgate.domain import Answer, Item, Message, Model, Question
from ftgate.engines.base import Ask, Engine
from ftgate.errors import EngineError
from ftgate.measurements.deployed import seeded
from ftgate.measurements.forgetting import Forgetting

REAL = [pytest.param(f"{kind}_engine", marks=pytest.mark.engine, id=kind) for kind in ("transformers", "vllm")]


@pytest.fixture(params=[pytest.param("scripted_engine", id="scripted"), *REAL])
def engine(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def answers(engine: Engine, asks: list[Ask]) -> list[Answer]:
    """The answers in the order of the asks; every ask must have exactly one."""
    found = list(engine.ask(asks))
    assert sorted(index for index, _ in found) == list(range(len(asks)))
    return [answer for _, answer in sorted(found, key=lambda pair: pair[0])]


def test_every_ask_is_answered_once_whatever_the_mixture(engine: Engine, tiny: TinyModels) -> None:
    questions = [*choices(9), question("what is near", max_tokens=5), question("which?", ("A", "B"))]
    asks = [Ask(model, q) for q in questions for model in tiny.runnable]
    for ask, answer in zip(asks, answers(engine, asks), strict=True):
        assert answer.finish in ("stop", "length")
        assert len(answer.option_logprobs) == len(ask.question.options)


def test_option_logprobs_are_log_probabilities(engine: Engine, tiny: TinyModels) -> None:
    asks = [Ask(model, q) for model in tiny.runnable for q in choices(6, ("A", "B", "C"))]
    for answer in answers(engine, asks):
        assert all(value <= 0 for value in answer.option_logprobs)
        assert sum(math.exp(value) for value in answer.option_logprobs) <= 1 + 1e-6


def test_options_keep_their_order(engine: Engine, tiny: TinyModels, request: pytest.FixtureRequest) -> None:
    if "scripted" in request.node.name:
        pytest.skip("the script decides")
    forward, backward = answers(
        engine, [Ask(tiny.base, question("which?", order)) for order in (("A", "B", "C"), ("C", "B", "A"))]
    )
    assert forward.option_logprobs == pytest.approx(backward.option_logprobs[::-1], abs=1e-5)
    assert len(set(forward.option_logprobs)) == 3


def test_the_same_question_has_the_same_answer(engine: Engine, tiny: TinyModels) -> None:
    asks = [Ask(model, q) for q in (*choices(3), question("what", max_tokens=6)) for model in tiny.runnable]
    first, second = answers(engine, asks), answers(engine, asks)
    for one, two in zip(first, second, strict=True):
        assert one.text == two.text
        assert one.option_logprobs == pytest.approx(two.option_logprobs, abs=1e-5)


def test_a_question_that_cannot_be_asked_is_a_value(engine: Engine, tiny: TinyModels) -> None:
    good, long, odd = answers(
        engine,
        [
            Ask(tiny.base, question("which?", ("A", "B"))),
            Ask(tiny.base, question("red " * 400, ("A", "B"))),
            Ask(tiny.base, question("which?", ("A", "zebra crossing"))),
        ],
    )
    assert good.finish == "stop"
    assert (long.finish, odd.finish) == ("error", "error")
    assert "256" in str(long.error)
    assert "zebra crossing" in str(odd.error)
    assert not long.option_logprobs


def test_models_are_loaded_once(engine: Engine, tiny: TinyModels) -> None:
    before = engine.starts
    assert before == 2, "one engine for the base and its adapters, one for the other full model"
    engine.require(tiny.runnable)
    engine.require([tiny.real])
    engine.require([tiny.base])
    assert engine.starts == before


def test_a_model_that_was_not_required_is_refused(engine: Engine, tiny: TinyModels) -> None:
    stranger = Model("stranger", Path("stranger"), "sha256:0")
    with pytest.raises(EngineError, match="stranger"):
        list(engine.ask([Ask(stranger, question("which?", ("A", "B")))]))


def test_no_asks_no_answers(engine: Engine) -> None:
    assert list(engine.ask([])) == []


def test_probe_gives_the_likeliest_tokens(engine: Engine, tiny: TinyModels) -> None:
    prompts = [(Message("user", text),) for text in ("which home", "what colour")]
    tables = engine.probe(tiny.base, prompts, top=5)
    assert [len(table) for table in tables] == [5, 5]
    assert all(value <= 0 for table in tables for value in table.values())
    assert all(sum(map(math.exp, table.values())) <= 1 + 1e-6 for table in tables)
    assert tables[0] != tables[1]


def test_info_names_what_moves_a_number(engine: Engine) -> None:
    info = engine.info()
    assert info.kind in type(engine).__name__.lower()
    assert info.device
    assert info.dtype in ("float32", "none", "auto")


def sampled(text: str, seed: int, max_tokens: int = 6) -> Question:
    return replace(question(text, max_tokens=max_tokens), temperature=1.0, seed=seed)


def test_a_sample_follows_from_its_seed_and_not_from_its_company(
    engine: Engine, tiny: TinyModels, request: pytest.FixtureRequest
) -> None:
    if "scripted" in request.node.name:
        pytest.skip("the script decides")
    drawn = [Ask(model, sampled("what is near", seed)) for seed in range(8) for model in (tiny.base, tiny.real)]
    company = [Ask(tiny.base, q) for q in (question("what is near", max_tokens=6), sampled("red", 3, 9), *choices(2))]
    alone, together = answers(engine, drawn), answers(engine, [*company, *drawn])[len(company) :]
    assert sum(one.text == two.text for one, two in zip(alone, together, strict=True)) >= 15
    assert len({answer.text for answer in alone}) >= 8, "another seed, another answer"


def test_every_setting_of_generation_counts(engine: Engine, tiny: TinyModels, request: pytest.FixtureRequest) -> None:
    """With `min_p` 1 only the likeliest token is left; a penalty of 2 for each time that a token occurred is felt."""
    if "scripted" in request.node.name:
        pytest.skip("the script decides")
    greedy = question("what is near", max_tokens=24)
    asked = [
        greedy,
        replace(greedy, temperature=2.0, seed=1),
        replace(greedy, temperature=2.0, seed=1, min_p=1.0),
        *(replace(greedy, **{f"{name}_penalty": 2.0}) for name in ("repetition", "presence", "frequency")),
    ]
    plain, hot, narrowed, *penalised = [a.text for a in answers(engine, [Ask(tiny.base, q) for q in asked])]
    assert narrowed == plain != hot
    assert all(text != plain for text in penalised)


def test_greedy_answers_do_not_change_beside_samples(engine: Engine, tiny: TinyModels) -> None:
    greedy = Ask(tiny.base, question("what is near", max_tokens=6))
    (alone,) = answers(engine, [greedy])
    beside = answers(engine, [Ask(tiny.base, sampled("what is near", 1)), greedy, Ask(tiny.base, sampled("red", 2))])
    assert beside[1].text == alone.text


def test_answers_to_an_item_are_those_of_an_earlier_run_and_then_more(
    engine: Engine, tiny: TinyModels, request: pytest.FixtureRequest
) -> None:
    """A run that was cut short, or a policy with more answers, asks for the missing ones and gets the same."""
    measurement = Forgetting(dataset="d", answers=6, temperature=1.0, max_tokens=6)
    item = Item("i0", (Message("user", "what is near"),))
    asks = [Ask(tiny.base, q) for q in seeded(measurement.plan(item), 0)]
    whole = answers(engine, asks)
    parts = [*answers(engine, asks[:2]), *answers(engine, asks[2:])]
    assert sum(one.text == two.text for one, two in zip(whole, parts, strict=True)) >= 5
    if "scripted" not in request.node.name:
        assert len({answer.text for answer in whole}) >= 5, "each answer is drawn by itself"
