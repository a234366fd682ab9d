"""The endpoint engine on a real server: the tiny judge served by vLLM on loopback, and the same weights in process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from support.libraries import needs
from support.vllm_server import Serving, serve

from ftgate.cli.demo import find_world
from ftgate.config.endpoint import EndpointSettings
from ftgate.config.engine import EngineSettings
from ftgate.datasets import Needs, read_suite
from ftgate.domain import Answer, Item, Message, Model, Question
from ftgate.engines.base import Ask, Engine
from ftgate.engines.openai.engine import OpenAIEngine
from ftgate.errors import EngineError
from ftgate.judge.grading import Judge
from ftgate.judge.rubric import CRITERIA, DIGITS, ORDERS, judge_messages

pytestmark = [pytest.mark.engine, pytest.mark.server, needs("vllm")]

TOLERANCE = 1e-3
SERVED = "tiny-judge"
OPTIONS = {"--served-model-name": SERVED, "--max-model-len": "384"}


@pytest.fixture(scope="module")
def weights() -> Path:
    return find_world() / "models" / "judge"


@pytest.fixture(scope="module", autouse=True)
def serving(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server whose start goes on beside other fixtures."""
    with serve(weights, tmp_path_factory.mktemp("serve") / "serve.log", OPTIONS) as starting:
        yield starting


@pytest.fixture(scope="module")
def url(serving: Serving) -> str:
    """The server's address, once it is ready."""
    return serving.ready()


@pytest.fixture(scope="module")
def remote(url: str) -> Iterator[tuple[Engine, Model]]:
    engine = OpenAIEngine(url, SERVED, EndpointSettings())
    yield engine, Model("judge", Path(), "", kind="endpoint", reference=SERVED)
    engine.close()


@pytest.fixture(scope="module")
def local(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Model]]:
    from ftgate.engines.vllm.engine import VllmEngine

    engine = VllmEngine(
        EngineSettings(dtype="float32", max_model_len=384), log_path=tmp_path_factory.mktemp("log") / "engine.log"
    )
    model = Model("judge", weights, "sha256:judge")
    engine.require([model])
    yield engine, model
    engine.close()


@pytest.fixture(scope="module")
def items() -> tuple[Item, ...]:
    return read_suite(
        "general", find_world() / "evals" / "general.jsonl", needs=Needs(choices=False, answer=True)
    ).items


def ask_with(engine: Engine, model: Model) -> Callable[[Sequence[Question]], list[Answer]]:
    return lambda questions: [
        answer for _, answer in sorted(engine.ask([Ask(model, q) for q in questions]), key=lambda pair: pair[0])
    ]


def judge_questions(items: Sequence[Item]) -> list[Question]:
    """Every rubric for right answers, wrong ones, and a text that stands for damage."""
    texts = [(item, text) for item, other in pairwise(items) for text in (item.answer, other.answer)]
    return [
        Question("forgetting", item.id, judge_messages(c, o, item.messages, text or "", item.answer), options=DIGITS)
        for item, text in texts
        for c in CRITERIA
        for o in ORDERS
    ]


def test_log_probabilities_equal_those_in_process(
    local: tuple[Engine, Model], remote: tuple[Engine, Model], items: tuple[Item, ...]
) -> None:
    questions = judge_questions(items[:6])
    assert len(questions) >= 20
    ours, theirs = (ask_with(*one)(questions) for one in (local, remote))
    assert not [answer.error for answer in (*ours, *theirs) if answer.error]
    gap = np.abs(np.array([a.option_logprobs for a in ours]) - np.array([a.option_logprobs for a in theirs]))
    assert gap.shape == (len(questions), 5)
    assert gap.max() < TOLERANCE


def test_the_digits_are_read_by_their_own_tokens(remote: tuple[Engine, Model], local: tuple[Engine, Model]) -> None:
    from ftgate.engines.chat_template import Renderer

    prepared = Renderer(local[1], 384).prepare(judge_questions([Item("a", (Message("user", "x"),))] * 2)[0])
    assert not isinstance(prepared, Answer)
    settings = remote[0].info().settings
    assert settings["scores"] == "tokens"
    assert [tuple(settings["ids"][digit]) for digit in DIGITS] == list(prepared.options)


def test_a_judge_grades_and_is_tested_alike_on_both(
    remote: tuple[Engine, Model], local: tuple[Engine, Model], items: tuple[Item, ...]
) -> None:
    here, there = (Judge(ask_with(*one), "forgetting") for one in (local, remote))
    texts = [(item, text) for item in items[:5] for text in (item.answer or "", "", "no such thing")]
    for ours, theirs in zip(here.grade(texts), there.grade(texts), strict=True):
        assert (theirs.low, theirs.retried) == (theirs.high, 0)
        assert theirs.value == pytest.approx(ours.value, abs=TOLERANCE)
    validation = there.validate(items[:60], np.random.default_rng(0))
    assert validation.fit, validation.reason
    assert validation.retest_shift < TOLERANCE
    other = here.validate(items[:60], np.random.default_rng(0))
    assert (validation.auroc, validation.gap, validation.floor) == pytest.approx(
        (other.auroc, other.gap, other.floor), abs=1e-3
    )
    assert validation.kinds == pytest.approx(other.kinds, abs=TOLERANCE)


def test_the_likeliest_tokens_and_sampled_digits_tell_the_same(remote: tuple[Engine, Model], url: str) -> None:
    """The ways for other servers, on the same one, against what it says exactly."""
    questions = judge_questions([Item(f"i{i}", (Message("user", f"say {i}"),), answer=f"{i}") for i in range(3)])
    exact = np.exp([answer.option_logprobs for answer in ask_with(*remote)(questions)])
    asks = [Ask(remote[1], question) for question in questions]
    for way, tolerance in (
        ({"scores": "top", "top": 20}, 1e-3),
        ({"scores": "samples", "samples": 128, "each": 64}, 0.2),
    ):
        engine = OpenAIEngine(url, SERVED, EndpointSettings(), remember=lambda _, __, way=way: way)  # type: ignore[misc]
        found = dict(engine.ask(asks))
        engine.close()
        assert [found[i].error for i in range(len(asks)) if found[i].error] == []
        read = np.exp([found[i].option_logprobs for i in range(len(asks))])
        assert np.abs(read - exact).max() < tolerance


def test_what_the_server_refuses_is_told(remote: tuple[Engine, Model], url: str) -> None:
    long = Question("m", "i", (Message("user", "word " * 20_000),), options=DIGITS)
    (answer,) = ask_with(*remote)([long])
    assert "maximum context length" in str(answer.error)
    stranger = OpenAIEngine(url, "stranger", EndpointSettings(max_retries=0))
    with pytest.raises(EngineError, match=rf"HTTP 404(?s:.*)serves {SERVED}"):
        stranger.info()
    stranger.close()
