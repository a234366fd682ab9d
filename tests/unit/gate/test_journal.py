"""The journal survives a kill at any byte, and never asks twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftgate.domain import Answer, EngineInfo, Message, Model, Question, digest_of
from ftgate.errors import StoreError
from ftgate.gate.journal import Journal, answer_key, engine_identity

INFO = EngineInfo("scripted", {"scripted": "1"}, "cpu", "float32")
MODEL = Model("base", Path("base"), "sha256:" + "0" * 64)


def question(text: str, **more: object) -> Question:
    return Question("target", text[:8] or "x", (Message("user", text),), **more)  # type: ignore[arg-type]


def entry(text: str, answer: Answer) -> tuple[str, Model, Question, Answer]:
    asked = question(text)
    return answer_key(MODEL, asked, INFO), MODEL, asked, answer


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec=None), max_size=30),
            st.builds(
                Answer,
                text=st.text(st.characters(codec=None), max_size=30),
                option_logprobs=st.lists(st.floats(-100, 0), max_size=4).map(tuple),
                tokens=st.integers(0, 99),
            ),
        ),
        max_size=6,
        unique_by=lambda pair: pair[0],
    )
)
def test_answers_come_back_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, Answer]]) -> None:
    path = tmp_path_factory.mktemp("journal") / "answers.jsonl"
    entries = [entry(text, answer) for text, answer in rows]
    with Journal(path) as journal:
        journal.add_answers(entries)
    with Journal(path) as journal:
        assert [journal.answer(key) for key, *_ in entries] == [answer for _, answer in rows]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_kill_at_any_byte_loses_only_the_line_being_written(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "answers.jsonl"
    entries = [entry(f"question {i}", Answer(text=f"answer {i}")) for i in range(5)]
    with Journal(path) as journal:
        journal.add_answers(entries)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = whole[:cut].count(b"\n")
    with Journal(path) as journal:
        known = [journal.answer(key) for key, *_ in entries]
        assert [a is not None for a in known] == [i < kept for i in range(5)]
        journal.add_answers([e for e, a in zip(entries, known, strict=True) if a is None])
    assert path.read_bytes() == whole


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with Journal(path) as journal:
        journal.add_answers([entry("a", Answer(text="b"))])
    path.write_bytes(path.read_bytes() + b"{broken\n" + path.read_bytes())
    with pytest.raises(StoreError, match=r"answers\.jsonl:2"):
        Journal(path)


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path / "answers.jsonl"), pytest.raises(StoreError, match="in use"):
        Journal(tmp_path / "answers.jsonl")


def test_failed_answers_are_not_kept(tmp_path: Path) -> None:
    failed = entry("a", Answer(finish="error", error="too long"))
    with Journal(tmp_path / "answers.jsonl") as journal:
        journal.add_answers([failed])
        assert journal.answer(failed[0]) is None


def test_answers_of_an_earlier_run_are_copied_so_that_the_directory_stands_alone(tmp_path: Path) -> None:
    known = entry("a", Answer(text="b"))
    with Journal(tmp_path / "one" / "answers.jsonl") as journal:
        journal.add_answers([known])
    with Journal(tmp_path / "two" / "answers.jsonl", reuse=[tmp_path / "one" / "answers.jsonl"]) as journal:
        assert journal.answer(known[0]) == known[3]
    with Journal(tmp_path / "two" / "answers.jsonl") as journal:
        assert journal.answer(known[0]) == known[3]


def test_facts_are_worked_out_once(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> dict[str, float]:
        calls.append(1)
        return {"value": 0.1}

    for _ in range(2):
        with Journal(tmp_path / "answers.jsonl") as journal:
            assert journal.fact("key", compute) == {"value": 0.1}
            assert journal.fact("key", compute) == {"value": 0.1}
    assert len(calls) == 1


def test_scores_are_appended_only_when_they_change(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    for second in (0.5, 0.5, 0.25):
        with Journal(path) as journal:
            journal.add_scores("target", ["a", "b"], [(1.0, 0.0), (0.5, second)])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["item"], line["candidate"]) for line in lines] == [("a", 0.0), ("b", 0.5), ("b", 0.25)]


@pytest.mark.parametrize(
    "other",
    [
        question("a", options=("A", "B")),
        question("a", max_tokens=2),
        question("a", repeat=1),
        question("a", untrusted=True),
        question("b"),
    ],
)
def test_an_address_depends_on_all_that_an_answer_depends_on(other: Question) -> None:
    assert answer_key(MODEL, question("a"), INFO) != answer_key(MODEL, other, INFO)


def test_questions_that_declare_nothing_untrusted_keep_their_address() -> None:
    assert set(question("a").content()) == {"messages", "options", "max_tokens", "repeat"}


def test_an_address_depends_on_weights_and_engine_but_not_on_names() -> None:
    asked = question("a")
    key = answer_key(MODEL, asked, INFO)
    assert key == answer_key(Model("other name", Path("elsewhere"), MODEL.digest), asked, INFO)
    assert key != answer_key(Model("base", Path("base"), "sha256:" + "1" * 64), asked, INFO)
    adapter = Model("a", Path("a"), MODEL.digest, kind="adapter", base=MODEL)
    assert key != answer_key(adapter, asked, INFO)
    assert key != answer_key(MODEL, asked, EngineInfo("vllm", {"vllm": "1"}, "cpu", "float32"))
    same = Question("forgetting", "other", asked.messages, part="rotation 0")
    assert key == answer_key(MODEL, same, INFO)


def test_an_address_is_the_digest_of_weights_engine_and_question() -> None:
    asked = question("a", options=("A", "B"))
    whole = [[MODEL.digest, None], engine_identity(INFO), asked.content()]
    assert answer_key(MODEL, asked, INFO) == digest_of(whole)
