"""The endpoint engine through real HTTP: how servers fail, what a run may cost, and where the key must not be."""

from __future__ import annotations

import json
import logging
import math
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from support.chat_server import Body, ChatServer, Reply, completion, listed, refusal, said

from ftgate.config.endpoint import EndpointPace, EndpointSettings
from ftgate.config.engine import Thinking
from ftgate.domain import Answer, Message, Model, Question
from ftgate.engines.base import Ask
from ftgate.engines.openai.engine import MAX_UNUSABLE, OpenAIEngine
from ftgate.engines.registry import read_key
from ftgate.errors import ArtifactError, ConfigurationError, EngineError
from ftgate.scoring.trace import final_answer

DIGITS = ("1", "2", "3", "4", "5")
KEY = "sk-Very-Secret-0123456789"
JUDGE = Model("judge", Path(), "", kind="endpoint", reference="marker at endpoint")
FIVE = {"5": 0.9, "4": 0.09, "3": 0.009, "2": 0.0009, "1": 0.00009}
Make = Callable[..., tuple[OpenAIEngine, ChatServer]]


def sure(_: Body) -> Reply:
    return listed(FIVE)


def ask(i: int, text: str = "grade this") -> Ask:
    return Ask(JUDGE, Question("forgetting", f"i{i}", (Message("user", f"{text} {i}"),), options=DIGITS))


def answers(engine: OpenAIEngine, asks: list[Ask]) -> list[Answer]:
    found = list(engine.ask(asks))
    assert sorted(index for index, _ in found) == list(range(len(asks)))
    return [answer for _, answer in sorted(found, key=lambda pair: pair[0])]


@pytest.fixture
def make() -> Iterator[Make]:
    """An engine on a server of its own. What the server can do is found out already, and is not in ``asked``."""
    with ExitStack() as stack:

        def build(
            talk: Callable[[Body], Reply] = sure, *, found: bool = True, key: str | None = KEY, **settings: Any
        ) -> tuple[OpenAIEngine, ChatServer]:
            server = stack.enter_context(ChatServer(talk))
            quick = EndpointSettings(**{"max_retries": 2, "timeout": 5.0, **settings})
            engine = OpenAIEngine(server.url, "marker", quick, key=key)
            stack.callback(engine.close)
            if found:
                engine.info()
                server.asked.clear()
                server.times.clear()
            return engine, server

        yield build


def test_questions_are_answered_and_the_server_sees_the_key(make: Make) -> None:
    engine, server = make()
    found = answers(engine, [ask(i) for i in range(20)])
    assert all(answer.error is None and len(answer.option_logprobs) == 5 for answer in found)
    assert server.keys == {f"Bearer {KEY}"}
    body = server.asked[0]
    assert (body["model"], body["max_tokens"], body["temperature"], body["top_logprobs"]) == ("marker", 1, 0, 20)
    assert engine.starts == 0


def test_the_first_answer_comes_before_the_last_is_asked_for(make: Make) -> None:
    engine, server = make(concurrency=2)
    asking = engine.ask([ask(i) for i in range(50)])
    next(asking)
    assert len(server.asked) <= 5
    asking.close()  # type: ignore[attr-defined]
    assert len(server.asked) < 50


def test_as_many_are_in_flight_as_the_policy_says(make: Make) -> None:
    gate, most = threading.Semaphore(0), [0, 0]
    lock = threading.Lock()

    def talk(_: Body) -> Reply:
        with lock:
            most[0] += 1
            most[1] = max(most)
            if most[0] == 3:
                gate.release(100)
        gate.acquire(timeout=5)
        with lock:
            most[0] -= 1
        return listed(FIVE)

    gate.release(4)
    engine, _ = make(talk, concurrency=3)
    answers(engine, [ask(i) for i in range(12)])
    assert most[1] == 3


@pytest.mark.parametrize(
    "fault",
    [
        refusal(500, "oops"),
        refusal(503, "loading"),
        refusal(429, "slow down", Retry_After="0.2"),
        refusal(408, "too slow"),
        Reply(b'{"choices": [{"message": {"content": "5"}, "log', cut=20),
        Reply(b"", delay=1.5),
        Reply(b"<html>bad gateway</html>"),
        Reply({"choices": []}),
        said("5"),
    ],
    ids=["500", "503", "429", "408", "half", "slow", "not JSON", "no choices", "no log-probabilities"],
)
def test_a_fault_that_passes_is_asked_over(make: Make, fault: Reply) -> None:
    engine, server = make(timeout=1.0)
    server.faults.append(fault)
    (answer,) = answers(engine, [ask(0)])
    assert answer.error is None
    assert len(server.asked) == 2


def test_whatever_mixture_of_faults_an_answer_is_right_or_none(make: Make) -> None:
    quick = {"Retry_After": "0.01"}
    faults = [
        refusal(500, "oops", **quick),
        refusal(429, "slow down", **quick),
        refusal(400, "this one is too long"),
        Reply(b'{"choices": [{"message": {"content": "1"}, "log', cut=10),
        Reply(b"", cut=0),
        Reply(b"<html>"),
        said("1"),
        listed({"The": 0.9, "1": 0.05}),
        listed({"1": 0.9}, refusal="no"),
        listed({"1": 0.99}, tokens=2),
    ]
    engine, server = make(max_retries=3)
    rng = random.Random(7)
    server.talk = lambda _: rng.choice(faults) if rng.random() < 0.4 else listed(FIVE)
    found = answers(engine, [ask(i) for i in range(60)])
    right = [math.log(FIVE[digit]) for digit in DIGITS]
    assert {answer.finish for answer in found} == {"stop", "error"}
    assert all(answer.option_logprobs == pytest.approx(right) for answer in found if answer.error is None)
    assert all(answer.option_logprobs == () for answer in found if answer.error is not None)


def test_retry_after_is_heeded(make: Make) -> None:
    engine, server = make()
    server.faults.append(refusal(429, "slow down", Retry_After="1.5"))
    answers(engine, [ask(0)])
    assert server.times[1] - server.times[0] >= 1.4


@pytest.mark.parametrize(
    ("status", "named"),
    [
        (401, ["refused the key", "HTTP 401", "$JUDGE_KEY"]),
        (403, ["refused the key", "HTTP 403", "$JUDGE_KEY"]),
        (404, ["HTTP 404", "'marker'", "judge.model", "/v1"]),
        (402, ["HTTP 402", "judge.endpoint"]),
        (307, ["HTTP 307", "judge.endpoint"]),
    ],
)
def test_what_no_retry_mends_is_one_clear_message_at_once(make: Make, status: int, named: list[str]) -> None:
    engine, server = make(found=False, api_key_env="JUDGE_KEY", concurrency=1)
    server.talk = lambda _: refusal(status, f"bad key {KEY}", Location="http://127.0.0.1:1/v1/chat/completions")
    with pytest.raises(EngineError) as caught:
        engine.info()
    for part in [server.url, *named]:
        assert part in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(server.asked) == 1


def test_a_rate_limit_that_lasts_says_what_to_do(make: Make) -> None:
    engine, server = make()
    server.talk = lambda _: refusal(429, "slow down", Retry_After="0.1")
    with pytest.raises(EngineError, match=r"limits the rate, after 2 retries \(HTTP 429\).*0\.1 s(?s:.*)requests_per"):
        answers(engine, [ask(0)])
    assert len(server.asked) == 3


def test_a_server_that_asks_for_hours_is_not_waited_for(make: Make) -> None:
    engine, server = make()
    server.talk = lambda _: refusal(429, "quota", Retry_After="7200")
    with pytest.raises(EngineError, match=r"limits the rate \(HTTP 429\); it asks to wait 7200 s"):
        answers(engine, [ask(0)])
    assert len(server.asked) == 1


def test_a_server_that_is_down_is_one_message_and_keeps_what_was_answered(make: Make) -> None:
    engine, server = make(max_retries=1, concurrency=1)
    asking = engine.ask([ask(i) for i in range(5)])
    kept = [next(asking)]
    server.stop()
    with pytest.raises(
        EngineError, match=r"could not be reached or closed the connection, after 1 retry(?s:.*)judge\.endpoint"
    ):
        kept.extend(asking)
    assert 1 <= len(kept) <= 2


def test_a_server_that_was_never_there(make: Make) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    engine = OpenAIEngine(url, "marker", EndpointSettings(max_retries=0))
    with pytest.raises(EngineError, match="could not be reached"):
        engine.info()
    engine.close()


@pytest.mark.parametrize("fault", [{"delay": 2.0}, {"trickle": 0.2}], ids=["silent", "trickling"])
def test_a_server_that_is_too_slow_ends_in_time(make: Make, fault: dict[str, float]) -> None:
    engine, server = make(timeout=0.5, max_retries=0)
    server.talk = lambda _: Reply(listed(FIVE).body, **fault)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=r"longer than 0\.5 s(?s:.*)judge\.timeout"):
        answers(engine, [ask(0)])


def test_a_reply_that_hangs_after_its_head_is_asked_over(make: Make) -> None:
    engine, server = make(timeout=1.0)
    server.faults.append(Reply(listed(FIVE).body, trickle=0.3))
    (answer,) = answers(engine, [ask(0)])
    assert answer.error is None
    assert len(server.asked) == 2


def test_the_budget_ends_a_run_and_keeps_what_it_bought(make: Make) -> None:
    engine, server = make(request_budget=8, max_retries=0, concurrency=3)
    server.faults.append(refusal(400, "too long"))
    kept: list[tuple[int, Answer]] = []
    with pytest.raises(EngineError, match=r"8 requests in this run: judge\.request_budget is used up"):
        kept.extend(engine.ask([ask(i) for i in range(30)]))
    assert len(server.asked) == 7, "the eighth found out what the server can do"
    assert len(kept) == 7


def test_retries_count_against_the_budget(make: Make) -> None:
    engine, server = make(request_budget=3, max_retries=5)
    server.talk = lambda _: refusal(429, "slow", Retry_After="0.05")
    with pytest.raises(EngineError, match="was sent 3 requests"):
        answers(engine, [ask(0)])


def test_requests_keep_the_pace(make: Make) -> None:
    engine, server = make(requests_per_minute=600, concurrency=8)
    answers(engine, [ask(i) for i in range(8)])
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert min(gaps) > 0.03
    assert server.times[-1] - server.times[0] > 0.6


def test_a_question_that_is_too_long_fails_alone(make: Make) -> None:
    def talk(body: Body) -> Reply:
        long = len(body["messages"][0]["content"]) > 50_000
        return refusal(400, "This model's maximum context length is 4096 tokens.") if long else listed(FIVE)

    engine, server = make(talk)
    long, short = answers(engine, [ask(0, "x" * 100_000), ask(1)])
    assert long.finish == "error"
    assert "maximum context length" in str(long.error)
    assert short.error is None
    assert len(server.asked) == 2


def test_half_a_surrogate_pair_is_sent_as_a_mark(make: Make) -> None:
    engine, server = make()
    (answer,) = answers(engine, [ask(0, "half \ud83d pair, whole \U0001f600, empty ")])
    assert answer.error is None
    assert server.asked[0]["messages"][0]["content"].startswith("half � pair, whole \U0001f600")


@pytest.mark.parametrize(
    "reply",
    [Reply(b"not JSON"), Reply({"choices": []}), refusal(500, "cannot grade that")],
    ids=["not JSON", "no choices", "500"],
)
def test_one_text_that_a_server_cannot_stand_fails_alone(make: Make, reply: Reply) -> None:
    engine, _ = make(lambda body: reply if "poison" in body["messages"][0]["content"] else listed(FIVE), max_retries=0)
    found = answers(engine, [ask(i, "poison" if i == 3 else "fine") for i in range(8)])
    assert [answer.finish for answer in found].count("error") == 1
    assert found[3].error


def test_a_server_that_gives_nothing_usable_any_more_is_one_message(make: Make) -> None:
    engine, server = make(max_retries=0)
    server.talk = lambda _: Reply(b"<html>maintenance</html>")
    with pytest.raises(
        EngineError, match=rf"no usable reply to {MAX_UNUSABLE} questions in a row.*not a chat completion"
    ):
        list(engine.ask([ask(i) for i in range(200)]))
    assert len(server.asked) < 100


@pytest.mark.parametrize(
    ("talk", "reads"),
    [
        (lambda _: listed({**FIVE, **{f"other{i}": 1e-9 for i in range(15)}}), "the 20 likeliest"),
        (sure, "the 5 likeliest"),
        (lambda b: listed({"4": 0.6, "5": 0.1}) if "logprobs" in b else said(*["4"] * b.get("n", 1)), "10 sampled"),
        (
            lambda b: refusal(400, "top_logprobs: at most 5") if b.get("top_logprobs", 0) > 5 else sure(b),
            "the 5 likeliest",
        ),
        (lambda b: said(*["4"] * b.get("n", 1)), "10 sampled replies"),
        (lambda b: listed({"4": 0.6}) if "logprobs" in b else said(*["4"] * b.get("n", 1)), "10 sampled replies"),
        (lambda b: refusal(400, "no logprobs") if "logprobs" in b else said("4"), "10 sampled replies"),
        (lambda b: refusal(400, "n must be 1") if "n" in b or "logprobs" in b else said("4"), "10 sampled replies"),
        (
            lambda b: refusal(400, "use max_completion_tokens") if "max_tokens" in b else sure(b),
            "the 5 likeliest",
        ),
    ],
    ids=[
        "log-probabilities",
        "fewer than were asked for",
        "fewer than the digits",
        "five of them",
        "null",
        "of one token alone",
        "refused",
        "one reply a request",
        "another name for the length",
    ],
)
def test_the_best_that_a_server_can_do_is_found_out_and_told(
    make: Make, talk: Callable[[Body], Reply], reads: str
) -> None:
    engine, _ = make(talk)
    assert reads in engine.info().settings["reads"]
    (answer,) = answers(engine, [ask(0)])
    assert answer.error is None
    assert max(range(5), key=lambda i: answer.option_logprobs[i]) == (3 if "sampled" in reads else 4)
    json.dumps(engine.info().settings, allow_nan=False)


def vllm_like(path: str, body: Body) -> Reply:
    """Tokens are the numbers of characters; a prompt is what was said, then an opening bracket."""
    if path == "/tokenize":
        text = body.get("prompt") or f"{body['messages'][0]['content']}<"
        return Reply({"tokens": [ord(c) for c in text]})
    return Reply({"prompt": "".join(map(chr, body["tokens"]))})


def by_number(body: Body) -> Reply:
    ids = body.get("logprob_token_ids", [])
    return listed({f"token_id:{token}": 0.1 for token in ids} if ids else FIVE)


def test_a_vllm_server_is_asked_for_the_tokens_of_the_digits(make: Make) -> None:
    engine, server = make(by_number, found=False)
    server.models = {"data": [{"id": "marker", "owned_by": "vllm"}]}
    server.aside = vllm_like
    assert engine.info().settings["ids"] == {digit: [ord(digit)] for digit in DIGITS}
    (answer,) = answers(engine, [ask(0)])
    assert server.asked[-1]["logprob_token_ids"] == [ord(digit) for digit in DIGITS]
    assert answer.option_logprobs == pytest.approx([-2.302585] * 5)


@pytest.mark.parametrize("thinking", ["template", "off"])
def test_letters_are_not_read_where_a_vllm_servers_template_opens_a_thought(thinking: Thinking) -> None:
    """A model asked so writes its thought without a mark that opens it, at least no sooner than its first tokens."""
    with ChatServer(by_number, {"data": [{"id": "marker", "owned_by": "vllm"}]}) as server:
        server.aside = lambda path, body: (
            Reply({"prompt": "why?<|assistant|><think>\n"}) if path == "/detokenize" else Reply({"tokens": [1, 2, 3]})
        )
        engine = OpenAIEngine(server.url, "marker", EndpointPace(), thinking=(thinking, 64))
        settings = engine.info().settings
        server.talk = lambda body: said(body["messages"][0]["content"])
        texts = ["is it?", "is it?</think>\n\nred\nand so on", "<think>\nis it?</think>\n\nred"]
        asked = [Ask(JUDGE, Question("m", t, (Message("user", t),), max_tokens=8, stop=("\n",))) for t in texts]
        found = [final_answer(answer.text) for answer in answers(engine, asked)]
        engine.close()
    assert (settings["scores"], settings["thinking_tokens"]) == ("text", 64)
    assert found == [("", "open"), ("red", "closed"), ("red", "closed")]


def test_a_vllm_server_that_lists_few_tokens_is_probed_for_as_many(make: Make) -> None:
    """`--max-logprobs` limits the likeliest tokens, and not those that are asked for by number."""
    few = refusal(400, "Requested sample logprobs of 20, which is greater than max allowed: 5")
    engine, server = make(lambda b: few if b.get("top_logprobs", 0) > 5 else by_number(b), found=False)
    server.models, server.aside = {"data": [{"id": "marker", "owned_by": "vllm"}]}, vllm_like
    assert (engine.info().settings["scores"], engine.info().settings["top"]) == ("tokens", 5)
    (table,) = engine.probe(JUDGE, [[Message("user", "say")]])
    assert len(table) == 5


@pytest.mark.parametrize("missing", ["/tokenize", "/detokenize", "one token each"])
def test_a_vllm_server_behind_a_gateway_is_asked_for_its_likeliest_tokens(make: Make, missing: str) -> None:
    engine, server = make(by_number, found=False)
    server.models = {"data": [{"id": "marker", "owned_by": "vllm"}]}

    def aside(path: str, body: Body) -> Reply:
        if path == missing:
            return refusal(404, "not here")
        same = missing == "one token each" and path == "/tokenize" and body.get("prompt")
        return Reply({"tokens": [60, 49] if body["prompt"][-1] in DIGITS else [60]}) if same else vllm_like(path, body)

    server.aside = aside
    assert engine.info().settings["scores"] == "top"
    (answer,) = answers(engine, [ask(0)])
    assert answer.error is None


def test_a_model_that_is_not_served_is_told_what_is(make: Make) -> None:
    engine, server = make(found=False)
    server.models = {"data": [{"id": "other"}, {"id": "third"}]}
    server.talk = lambda _: refusal(404, "no model marker")
    with pytest.raises(EngineError, match=r"no model marker(?s:.*)serves other, third"):
        engine.info()


def test_sampled_answers_to_one_prompt_are_requests_with_seeds_of_their_own(make: Make) -> None:
    engine, server = make()
    server.talk = lambda body: said(f"drawn with {body['seed']}")
    drawn = [Question("m", "i", (Message("user", "say"),), max_tokens=7, temperature=0.7, seed=s) for s in (11, 12, 13)]
    found = answers(engine, [Ask(JUDGE, q) for q in drawn])
    assert [answer.text for answer in found] == ["drawn with 11", "drawn with 12", "drawn with 13"]
    assert {(body["temperature"], body["max_tokens"], body.get("n", 1)) for body in server.asked} == {(0.7, 7, 1)}
    assert sorted(body["seed"] for body in server.asked) == [11, 12, 13]


def test_samples_add_up_however_many_come_at_once(make: Make) -> None:
    count = iter(range(10_000))
    engine, server = make(lambda b: said(*["5" if next(count) % 4 else "no" for _ in range(b.get("n", 1))]), samples=8)
    server.asked.clear()
    found = answers(engine, [ask(i) for i in range(4)])
    assert len(server.asked) == 4
    assert all(body["temperature"] == 1 and body["n"] == 8 for body in server.asked)
    assert all(answer.option_logprobs[4] == pytest.approx(-0.2876820724) for answer in found)


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (lambda b: said("", reasoning="let me think") if "logprobs" not in b else said(""), "empty"),
        (lambda _: Reply(b"<html>hello</html>"), "not a chat completion"),
        (lambda _: refusal(422, "unknown field: messages"), "unknown field"),
        (lambda _: completion([]), "not a chat completion"),
    ],
    ids=["a model that reasons first", "a web page", "another protocol", "no choices"],
)
def test_a_server_that_cannot_judge_is_told_before_anything_is_asked(
    make: Make, talk: Callable[[Body], Reply], reason: str
) -> None:
    engine, _ = make(talk, found=False)
    with pytest.raises(EngineError, match=rf"cannot be asked for one digit.*{reason}"):
        engine.info()


def test_what_was_found_out_is_remembered(make: Make) -> None:
    memory: dict[str, Any] = {}

    def remember(key: str, compute: Callable[[], Any]) -> Any:
        if key not in memory:
            memory[key] = json.loads(json.dumps(compute()))
        return memory[key]

    _, server = make()
    engines = [OpenAIEngine(server.url, "marker", EndpointSettings(), remember=remember) for _ in range(2)]
    infos = [engine.info() for engine in engines]
    assert infos[0] == infos[1]
    assert len(server.asked) == 1
    for engine in engines:
        engine.close()


def test_text_is_generated_too(make: Make) -> None:
    engine, server = make()
    server.talk = lambda _: said("two words", finish_reason="stop")
    question = Question("m", "i", (Message("user", "say"),), max_tokens=7)
    assert answers(engine, [Ask(JUDGE, question)]) == [Answer("two words", served="m")]
    assert server.asked[0]["max_tokens"] == 7


def test_models_on_disk_are_refused(make: Make) -> None:
    engine, _ = make()
    with pytest.raises(ArtifactError, match="folder"):
        engine.require([Model("base", Path("models/base"), "sha256:0")])
    assert list(engine.ask([])) == []


def test_a_probe_reads_the_likeliest_tokens_by_their_text(make: Make) -> None:
    engine, server = make()
    (table,) = engine.probe(JUDGE, [[Message("user", "say")]])
    assert table == pytest.approx({token: math.log(p) for token, p in FIVE.items()})
    assert (server.asked[-1]["max_tokens"], server.asked[-1]["top_logprobs"]) == (1, 20)
    server.faults.append(refusal(400, "too long"))
    with pytest.raises(EngineError, match="no log-probabilities after a prompt: HTTP 400: too long"):
        engine.probe(JUDGE, [[Message("user", "say")]])


ECHOES = [
    refusal(400, f"do not send {KEY} here"),
    refusal(404, f"no model for {KEY.upper()}"),
    refusal(401, f"wrong key: {KEY[:12]}..."),
    refusal(500, f"crashed with {KEY}"),
    refusal(413, f"too long with {KEY[:16]}..."),
    refusal(429, "slow down", Retry_After=KEY),
    Reply(f'{{"error": "{KEY}"}}'.encode(), 418),
    Reply(KEY.encode()),
]


@pytest.mark.parametrize("echo", ECHOES, ids=lambda echo: str(echo.status))
def test_the_key_is_in_no_message_no_log_and_no_description(
    make: Make, echo: Reply, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for logger in ("openai", "httpx", "httpx2", "asyncio"):  # what OPENAI_LOG=debug would let be heard, and more
        caplog.set_level(logging.DEBUG, logger)
    engine, server = make(max_retries=0, concurrency=1)
    server.talk = lambda _: echo
    told = [repr(engine), str(vars(engine)), str(engine.info())]
    try:
        told += [str(answer) for _, answer in engine.ask([ask(i) for i in range(3)])]
    except EngineError as error:
        told += [str(error), repr(error.__cause__), repr(error.__context__ and error.__suppress_context__)]
    told += [caplog.text, *capfd.readouterr()]
    for text in told:
        assert KEY[:9].lower() not in text.lower()


def test_no_key_of_the_environment_is_sent(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ADMIN_KEY", KEY)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"Authorization: Bearer {KEY}")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    engine, server = make(key=None)
    answers(engine, [ask(0)])
    assert server.keys == {"Bearer none"}


@pytest.mark.parametrize("value", [None, "", " \n", "two words", "line\nbreak", "kéy"])
def test_a_key_that_is_missing_or_broken_is_named_by_its_variable(value: str | None) -> None:
    environment = {"OTHER": "x"} | ({"JUDGE_KEY": value} if value is not None else {})
    with pytest.raises(ConfigurationError, match="JUDGE_KEY") as caught:
        read_key("JUDGE_KEY", environment)
    assert caught.value.exit_code == 2
    if value and value.strip():
        assert value not in str(caught.value)


def test_a_key_is_read_without_the_line_break_of_its_file() -> None:
    assert read_key("JUDGE_KEY", {"JUDGE_KEY": f"{KEY}\n"}) == KEY
    assert read_key(None, {}) is None
