"""Log-likelihoods of continuations and raw prompts: every engine reads what a plain forward pass gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines.tiny import TinyModels, question
from ftgate.domain import Answer, Message, Model, Question
from ftgate.engines.base import Ask, Engine
from ftgate.engines.chat_template import Renderer, TokenizedQuestion, cut_at

pytestmark = pytest.mark.engine
TEXTS = (" the red forest", " blue", " gold river in the city")


@pytest.fixture(params=["transformers_engine", "vllm_engine"])
def engine(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def continued(text: str, options: tuple[str, ...], **fields: Any) -> Question:
    return replace(question(text, options), raw=True, continued=True, **fields)


def answer(engine: Engine, model: Model, asked: Question) -> Answer:
    ((_, reply),) = engine.ask([Ask(model, asked)])
    return reply


def plain(model: Model, context: str, continuation: str) -> float:
    """The log-likelihood by transformers and peft alone, with what the tokenizer puts before a text."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    full = model.base or model
    tokenizer = AutoTokenizer.from_pretrained(full.path)
    net: Any = AutoModelForCausalLM.from_pretrained(full.path, dtype=torch.float32)
    if model.base is not None:
        net = PeftModel.from_pretrained(net, model.path)
    before, whole = tokenizer(context)["input_ids"], tokenizer(context + continuation)["input_ids"]
    with torch.inference_mode():
        logprobs = net(torch.tensor([whole])).logits[0].log_softmax(-1)
    return float(sum(logprobs[place - 1, whole[place]] for place in range(len(before), len(whole))))


def test_it_is_the_sum_over_the_tokens_given_all_before_them(engine: Engine, tiny: TinyModels) -> None:
    for model in (tiny.base, tiny.real, tiny.full):
        reply = answer(engine, model, continued("which animal lives near", TEXTS))
        assert reply.continued
        assert reply.option_logprobs == pytest.approx(
            [plain(model, "which animal lives near", t) for t in TEXTS], abs=1e-3
        )


def test_one_token_each_is_read_in_one_pass_with_the_same_numbers(engine: Engine, tiny: TinyModels) -> None:
    letters, one, other = (
        answer(engine, tiny.base, continued("red?", options)).option_logprobs
        for options in (("A", "B"), ("A", "B red blue"), ("A red blue", "B"))
    )
    assert letters == pytest.approx((one[0], other[1]), abs=1e-4)


def test_white_space_that_ends_the_context_begins_the_continuation(engine: Engine, tiny: TinyModels) -> None:
    together, apart = (
        answer(engine, tiny.base, continued(context, options)).option_logprobs
        for context, options in (("which is", TEXTS), ("which is ", tuple(text[1:] for text in TEXTS)))
    )
    assert together == pytest.approx(apart, abs=1e-4)


def test_each_option_may_continue_a_context_of_its_own(engine: Engine, tiny: TinyModels) -> None:
    contexts = ("which red", "what colour")
    both = answer(engine, tiny.base, continued(contexts[0], (" forest in", " forest in"), contexts=contexts))
    assert both.option_logprobs == pytest.approx([plain(tiny.base, c, " forest in") for c in contexts], abs=1e-3)


def test_an_empty_context_is_the_token_that_begins_a_text(engine: Engine, tiny: TinyModels) -> None:
    reply = answer(engine, tiny.base, continued("", ("red river", "blue")))
    assert reply.option_logprobs == pytest.approx([plain(tiny.base, "", t) for t in ("red river", "blue")], abs=1e-3)


def test_a_continuation_that_does_not_fit_or_has_no_token_is_a_failed_answer(engine: Engine, tiny: TinyModels) -> None:
    long = answer(engine, tiny.base, continued("red " * 400, TEXTS))
    empty = answer(engine, tiny.base, continued("red", ("", " blue")))
    assert (long.finish, empty.finish) == ("error", "error")
    assert "context of 256" in str(long.error)
    assert "has no token of its own" in str(empty.error)


def test_a_raw_text_is_generated_up_to_the_first_stop_text(engine: Engine, tiny: TinyModels) -> None:
    free = replace(question("which red", max_tokens=24), raw=True)
    text = answer(engine, tiny.base, free).text
    assert len(text) > 8
    stop = text[5:8]
    reply = answer(engine, tiny.base, replace(free, stop=(stop, "never written")))
    assert reply.text == text[: text.index(stop)]
    assert reply.finish == "stop"
    assert reply.tokens < 24
    assert answer(engine, tiny.base, replace(free, raw=False)).text != text


def test_a_stop_is_found_with_the_token_that_completes_it_and_looking_costs_the_same_at_any_length(
    tiny: TinyModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ftgate.engines import transformers

    renderer = Renderer(tiny.base, 4096)
    decoded: list[int] = []
    text = renderer.text
    monkeypatch.setattr(renderer, "text", lambda ids: decoded.append(len(ids)) or text(ids))
    rng = np.random.default_rng(0)
    for stops in (("red",), (". red\n", "forest the"), ("。",), ("never written",)):
        question = Question("m", "i", (Message("user", "x"),), max_tokens=8, stop=stops)
        ending = transformers._Ending(renderer, question, TokenizedQuestion([1]))
        marks = [renderer._tokenizer.encode(stop, add_special_tokens=False) for stop in stops]
        ids: list[int] = []
        ordinary = [token for token in range(6, 400) if token not in renderer.stops]
        after = 700 if stops != ("never written",) else 10**6
        while not ending.reached and len(ids) < 2000:
            new = marks[-1] if len(ids) > after else [int(rng.choice(ordinary))]
            for token in new:
                ids.append(token)
                decoded.clear()
                ending.look(ids)
                assert ending.reached == any(stop in text(ids) for stop in stops)
                assert ending.reached or max(decoded) < 40
    assert not ending.reached


def test_the_first_stop_text_counts_whatever_their_order() -> None:
    assert cut_at("one. two\nthree", ("\n", ".", "")) == "one"
    assert cut_at("one", ("\n",)) == "one"
