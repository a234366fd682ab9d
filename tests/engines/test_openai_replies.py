"""Replies as answers: nothing that a server may say becomes a grade unless it is one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chat_server import Reply, completion, listed, said

from ftgate.domain import NEUTRAL, Message, Question
from ftgate.engines.openai.replies import (
    MAX_UNLISTED,
    MIN_LOGPROB,
    Capabilities,
    MalformedError,
    count_samples,
    read_options,
    read_samples,
    read_text,
)

DIGITS = ("1", "2", "3", "4", "5")
TOP = Capabilities("top", top=20)
IDS = Capabilities("tokens", ids={d: [10 + i, 20 + i] for i, d in enumerate(DIGITS)}, vllm=True)
SURE = {"5": 0.9, "4": 0.06, "3": 0.02, "2": 0.01, "1": 0.005, "x": 0.0001}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=4) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "logprobs", "top_logprobs", "token", "logprob"]), inner
        )
    ),
    max_leaves=25,
)


def raw(reply: Reply) -> bytes:
    return json.dumps(reply.body).encode()


def test_the_probabilities_of_the_digits_are_read() -> None:
    answer = read_options(raw(listed(SURE)), TOP, DIGITS)
    assert answer.error is None
    assert [math.exp(v) for v in answer.option_logprobs] == pytest.approx([0.005, 0.01, 0.02, 0.06, 0.9])


def test_spellings_of_a_digit_are_summed() -> None:
    top = {"5": 0.5, " 5": 0.2, "Ġ5": 0.1, "▁5": 0.1, "5 ": 0.04, "55": 0.02, "1": 0.001, "x": 1e-6}
    answer = read_options(raw(listed(top)), TOP, DIGITS)
    assert math.exp(answer.option_logprobs[4]) == pytest.approx(0.9)


def test_a_digit_that_is_not_listed_counts_as_nothing_where_that_cannot_matter() -> None:
    answer = read_options(raw(listed({"5": 0.9, "4": 0.0999, "x": 0.0001})), TOP, DIGITS)
    assert answer.option_logprobs[:3] == (MIN_LOGPROB,) * 3
    json.loads(json.dumps(answer.option_logprobs, allow_nan=False))


def test_a_digit_that_is_not_listed_and_could_matter_makes_the_reply_unreadable() -> None:
    answer = read_options(raw(listed({"5": 0.5, "Well": 0.2, "The": 0.05})), TOP, DIGITS)
    assert answer.finish == "error"
    assert "likeliest tokens" in str(answer.error)


@given(
    st.lists(st.floats(0.001, 1.0), min_size=12, max_size=30),
    st.integers(1, 10),
    st.integers(0, 2**32 - 1),
)
def test_what_the_list_leaves_out_moves_a_grade_by_no_more_than_allowed(
    weights: list[float], top: int, seed: int
) -> None:
    """Against the whole vocabulary: digits bare and after a space, and other tokens, in any order of likelihood."""
    tokens = [*DIGITS, *(f" {d}" for d in DIGITS), *(f"w{i}" for i in range(len(weights) - 10))]
    sharp = np.random.default_rng(seed).permutation(np.array(weights) ** 4)
    p = sharp / sharp.sum()
    order = np.argsort(-p)[:top]
    answer = read_options(raw(listed({tokens[i]: float(p[i]) for i in order})), TOP, DIGITS)
    if answer.error is None:
        truth = np.array([p[i] + p[i + 5] for i in range(5)])
        read = np.exp(answer.option_logprobs)
        digits = np.arange(1, 6)
        gap = abs((digits * truth).sum() / truth.sum() - (digits * read).sum() / read.sum()) / 4
        assert gap <= MAX_UNLISTED + 1e-9


def test_tokens_by_number_are_summed_exactly() -> None:
    top = {f"token_id:{10 + i}": 0.1 for i in range(5)} | {f"token_id:{20 + i}": 0.05 for i in range(5)}
    answer = read_options(raw(listed({"token_id:7": 0.2, **top})), IDS, DIGITS)
    assert [math.exp(v) for v in answer.option_logprobs] == pytest.approx([0.15] * 5)


def test_a_token_that_was_asked_for_and_not_given_is_no_reply() -> None:
    with pytest.raises(MalformedError, match="lacks"):
        read_options(raw(listed({"token_id:10": 0.9})), IDS, DIGITS)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (listed(SURE, tokens=3), "3 tokens"),
        (listed(SURE, tokens=0), "0 tokens"),
        (listed(SURE, refusal="I cannot grade this."), "refused"),
        (listed({"5": 0.9, "4": 0.9}), "log-probabilities"),
        (listed({"The": 0.9, "I": 0.05}), "likeliest"),
    ],
)
def test_a_reply_that_is_no_digit_is_a_failure_not_a_score(reply: Reply, reason: str) -> None:
    answer = read_options(raw(reply), TOP, DIGITS)
    assert answer.finish == "error"
    assert answer.option_logprobs == ()
    assert reason in str(answer.error)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, 500.0])
def test_log_probabilities_that_are_none_are_a_failure(value: float | None) -> None:
    token = {"token": "5", "logprob": value}
    reply = completion([{"message": {"content": "5"}, "logprobs": {"content": [{**token, "top_logprobs": [token]}]}}])
    answer = read_options(raw(reply), TOP, DIGITS)
    assert answer.finish == "error"
    assert "not a number" not in str(answer.error), "those words stop a run as damaged weights of ours"


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"<html>busy</html>",
        b'{"choices": [',
        b'{"choices": []}',
        b"[" * 100_000,
        b'{"choices": [{"message": 3}]}',
        b"null",
    ],
)
def test_what_is_no_chat_completion_is_told_apart(reply: bytes) -> None:
    for read in (read_samples, read_text, lambda r: read_options(r, TOP, DIGITS)):
        with pytest.raises(MalformedError, match="not a chat completion"):
            read(reply)


def test_no_log_probabilities_are_told_apart() -> None:
    with pytest.raises(MalformedError, match="no log-probabilities"):
        read_options(raw(said("5")), TOP, DIGITS)


@given(JSON)
def test_no_json_raises_anything_else(value: Any) -> None:
    reply = json.dumps({"choices": [value]}).encode()
    for way in (TOP, IDS):
        try:
            answer = read_options(reply, way, DIGITS)
        except MalformedError:
            continue
        assert (answer.error is None) == (len(answer.option_logprobs) == 5)
        assert all(math.isfinite(v) and v <= 0 for v in answer.option_logprobs)


def test_samples_are_counted_and_what_is_no_digit_takes_its_share() -> None:
    texts = read_samples(raw(said("5", " 5\n", "4", "five", "5 of 5", None, "", "5", "5", "6")))
    answer = count_samples(texts, DIGITS)
    assert [math.exp(v) for v in answer.option_logprobs] == pytest.approx([0, 0, 0, 0.1, 0.4])
    assert answer.option_logprobs[0] == MIN_LOGPROB


def test_samples_without_a_digit_are_a_failure() -> None:
    assert count_samples(["I", "", "The"], DIGITS).finish == "error"


def test_a_refused_sample_is_no_digit() -> None:
    assert read_samples(raw(said("5", finish_reason="content_filter"))) == [""]


def test_text_is_read_whole() -> None:
    assert read_text(raw(said("two words", finish_reason="stop"))).text == "two words"
    assert read_text(raw(said("cut", finish_reason="length"))).finish == "length"
    assert read_text(raw(said(None))).finish == "error"


def test_each_way_asks_for_one_token_and_what_it_reads() -> None:
    question = Question("m", "i", (Message("user", "?"),), options=DIGITS)
    assert TOP.body(question) == {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 20}
    body = IDS.body(question)
    assert body["logprob_token_ids"] == [10, 20, 11, 21, 12, 22, 13, 23, 14, 24]
    assert body["chat_template_kwargs"] == {"enable_thinking": False, "thinking": False}
    assert Capabilities("samples", samples=8, each=8).body(question, 8) == {"max_tokens": 1, "temperature": 1, "n": 8}
    assert IDS.for_options(("A", "B")).scores == "top"
    assert Capabilities(**json.loads(json.dumps(IDS.settings()))).settings() == IDS.settings()


def test_a_server_is_told_whether_to_think_only_where_the_policy_says_so_and_a_thought_has_room() -> None:
    asked = Question("m", "i", (Message("user", "why?"),), max_tokens=8)
    text = Capabilities("text", vllm=True, thinking="on", thinking_tokens=100)
    assert text.body(asked)["max_tokens"] == 108
    assert text.body(asked)["chat_template_kwargs"] == {"enable_thinking": True, "thinking": True}
    assert "chat_template_kwargs" not in replace(text, thinking="template").body(asked)
    assert replace(text, thinking="off", thinking_tokens=0).body(asked)["chat_template_kwargs"] == {
        "enable_thinking": False,
        "thinking": False,
    }
    assert "chat_template_kwargs" not in replace(text, vllm=False).body(asked)
    assert Capabilities(**text.settings()) == text
    assert not {"thinking", "thinking_tokens"} & IDS.settings().keys(), "what was kept before stays valid"


def test_texts_are_sampled_as_the_question_says_and_letters_are_not() -> None:
    asked = Question("m", "i", (Message("user", "why?"),), temperature=0.7, seed=3, top_p=0.9, top_k=20)
    body = TOP.body(asked)
    assert (body["temperature"], body["seed"], body["top_p"], body["top_k"]) == (0.7, 3, 0.9, 20)
    assert TOP.body(replace(asked, options=("A", "B")))["temperature"] == 0


def test_a_server_ends_no_thought_at_a_text_that_ends_answers() -> None:
    asked = Question("m", "i", (Message("user", "why?"),), stop=("\n",))
    assert TOP.body(asked)["stop"] == ["\n"]
    assert "stop" not in replace(TOP, thinking="on", thinking_tokens=32).body(asked)


def test_vllm_is_told_what_is_not_wanted_as_well() -> None:
    """It takes what a request leaves out from the model's generation_config.json, and other servers may refuse it."""
    greedy = Question("m", "i", (Message("user", "why?"),))
    sent = IDS.body(greedy)
    assert {name: sent[name] for name in NEUTRAL} == NEUTRAL
    assert not NEUTRAL.keys() & replace(IDS, vllm=False).body(greedy).keys()
    penalised = replace(greedy, presence_penalty=1.5, min_p=0.1, temperature=1.0)
    assert replace(IDS, vllm=False).body(penalised).keys() & NEUTRAL.keys() == {"presence_penalty", "min_p"}


def test_a_thought_that_a_server_took_out_of_the_text_is_put_before_it() -> None:
    def reply(**message: str | None) -> bytes:
        return json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()

    assert read_text(reply(content="red", reasoning_content="is it?")).text == "<think>\nis it?\n</think>\n\nred"
    assert read_text(reply(content=None, reasoning="is it?")).text == "<think>\nis it?"
