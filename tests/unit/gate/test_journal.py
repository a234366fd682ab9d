"""The journal survives a kill at any byte, and never asks twice."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftgate.domain import Answer, EngineInfo, Message, Model, Question, digest_of
from ftgate.errors import StoreError
from ftgate.gate.journal import NOT_A_NUMBER, Journal, answer_key, engine_identity
from ftgate.jobs.journal_lines import HEADER, encode, read_lines

INFO = EngineInfo("scripted", {"scripted": "1"}, "cpu", "float32")
MODEL = Model("base", Path("base"), "sha256:" + "0" * 64)


def question(text: str, **more: object) -> Question:
    return Question("target", text[:8] or "x", (Message("user", text),), **more)  # type: ignore[arg-type]


def entry(text: str, answer: Answer) -> tuple[str, Model, Question, Answer]:
    asked = question(text, options=tuple("ABCD"[: len(answer.option_logprobs)]))
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
    kept = whole[:cut].count(b"\n") - 1  # without the header
    with Journal(path) as journal:
        known = [journal.answer(key) for key, *_ in entries]
        assert [a is not None for a in known] == [i < kept for i in range(5)]
        journal.add_answers([e for e, a in zip(entries, known, strict=True) if a is None])
    assert path.read_bytes() == whole


def test_every_damaged_line_is_named_with_the_command_that_removes_it(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    entries = [entry(f"question {i}", Answer(text="b")) for i in range(4)]
    with Journal(path) as journal:
        journal.add_answers(entries)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"{broken\n"
    lines[4] = lines[4].replace(b'"b"', b'"c"')
    path.write_bytes(b"".join(lines))
    with pytest.raises(StoreError, match=r"answers\.jsonl:3: the line is damaged.*and 1 more lines") as raised:
        Journal(path)
    assert f"sed -i '3d; 5d' {path}" in raised.value.hint
    path.write_bytes(b"".join(line for number, line in enumerate(lines, 1) if number not in (3, 5)))
    with Journal(path) as journal:
        assert [journal.answer(key) is not None for key, *_ in entries] == [True, False, True, False]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_noticed_or_costs_the_last_line_alone(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("journal") / "answers.jsonl"
    entries = [
        entry("with options", Answer(option_logprobs=(-0.5, -1.5))),
        entry("text", Answer(text="a \r\n line break", finish="length", tokens=9)),
    ]
    with Journal(path) as journal:
        journal.add_answers(entries)
        journal.add_scores("target", ["a"], [(1.0, 0.25)])
        journal.fact("key", lambda: {"value": 0.1})
    content = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(content))
    if bit // 8 == len(content) - 1:  # the last line looks cut short, and its fact is computed again
        with Journal(path) as journal:
            assert [journal.answer(key) for key, *_ in entries] == [answer for *_, answer in entries]
            assert journal.fact("key", lambda: "again") == "again"
    else:
        with pytest.raises(StoreError, match=r"answers\.jsonl:\d"):
            Journal(path)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"type": "answer"}, "answer.key"),
        ({"type": "guess", "key": "a"}, "type"),
        ({"type": "score", "measurement": "target", "item": "a", "base": 7.0, "candidate": 1.0}, "score.base"),
        ({"type": "score", "measurement": "target", "item": "a", "base": float("nan"), "candidate": 1.0}, "score.base"),
        ({"type": "fact", "key": "a"}, "fact.value"),
        ({"type": "failure", "key": "a", "error": None}, "failure.error"),
    ],
)
def test_a_line_with_a_checksum_still_has_to_be_a_record(tmp_path: Path, record: dict, problem: str) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(encode(HEADER) + encode(record))
    with pytest.raises(StoreError, match=rf"answers\.jsonl:2: .*{problem}"):
        Journal(path)


@pytest.mark.parametrize(
    ("option_logprobs", "problem"),
    [
        ([-1.0], "1 log-probabilities for 2 options"),
        ([-1.0, float("nan")], "less than or equal to 0"),
        ([-1.0, 0.5], "less than or equal to 0"),
    ],
)
def test_log_probabilities_have_to_fit_the_question(tmp_path: Path, option_logprobs: list, problem: str) -> None:
    path = tmp_path / "answers.jsonl"
    with Journal(path) as journal:
        journal.add_answers([entry("a", Answer(option_logprobs=(-1.0, -2.0)))])
    header, line = path.read_bytes().splitlines(keepends=True)
    record = json.loads(line)
    del record["sha256"]
    record["answer"]["option_logprobs"] = option_logprobs
    path.write_bytes(header + encode(record))
    with pytest.raises(StoreError, match=problem):
        Journal(path)


def test_two_answers_to_one_question_contradict_each_other(tmp_path: Path) -> None:
    path, other = tmp_path / "answers.jsonl", tmp_path / "other.jsonl"
    for file, text in ((path, "b"), (other, "c")):
        with Journal(file) as journal:
            journal.add_answers([entry("a", Answer(text=text))])
    again = other.read_bytes().splitlines(keepends=True)[1]
    same = path.read_bytes().splitlines(keepends=True)[1]
    path.write_bytes(path.read_bytes() + same)
    Journal(path).close()
    path.write_bytes(path.read_bytes() + again)
    with pytest.raises(StoreError, match=r"answers\.jsonl:4: .*contradicts line 2"):
        Journal(path)


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"type": "answer", "key": "a"}\n')
    with pytest.raises(StoreError, match="version 1") as raised:
        Journal(path)
    assert "--out" in raised.value.hint
    path.write_bytes(encode({"type": "journal", "version": 99}))
    with pytest.raises(StoreError, match="version 99"):
        Journal(path)


def test_a_full_disk_leaves_whole_lines_and_the_rest_can_be_added_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is the edge: it takes half of a line and then nothing."""
    path = tmp_path / "answers.jsonl"
    first, second = entry("a", Answer(text="b")), entry("c", Answer(text="d"))
    with Journal(path) as journal:
        journal.add_answers([first])
        whole = path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(journal, "_file", FullDisk(journal._file))
            with pytest.raises(StoreError, match="No space left"):
                journal.add_answers([second])
        assert path.read_bytes() == whole
        journal.add_answers([second])
    with Journal(path) as journal:
        assert [journal.answer(e[0]) for e in (first, second)] == [first[3], second[3]]


class FullDisk:
    """A file on a disk with room for ten more bytes."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._room = 10

    def write(self, data: bytes) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self._file.write(data[: self._room])
        self._room = 0
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


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
    lines = [json.loads(line) for line in path.read_text().splitlines()[1:]]
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


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_lines_are_what_the_format_says(tmp_path: Path) -> None:
    """Journals outlive the program that wrote them: names, order and checksum stay."""
    path = tmp_path / "deep" / "answers.jsonl"
    asked = Question("target", "i1", (Message("user", "q"),), options=("A", "B"), part="rotation 0")
    answer = Answer(option_logprobs=(-0.5, -1.5), finish="length", tokens=2, served="m")
    with Journal(path) as journal:
        journal.add_answers(
            [("k1", MODEL, asked, answer), ("k2", MODEL, asked, Answer(finish="error", error="too long"))]
        )
        journal.fact("k3", lambda: [1])
        journal.add_scores("target", ["i1"], [(1.0, 0.25)])
    header, first, second, fact, score = lines_of(path)
    question = {
        "model": "base",
        "digest": MODEL.digest,
        "measurement": "target",
        "item": "i1",
        "part": "rotation 0",
        **asked.content(),
    }
    said = {"text": "", "option_logprobs": [-0.5, -1.5], "finish": "length", "tokens": 2, "served": "m"}
    question = json.loads(json.dumps(question))
    for line in (header, first, second, fact, score):
        assert len(line.pop("sha256")) == 32
    assert header == {"type": "journal", "version": 2}
    assert first == {"type": "answer", "key": "k1", **question, "answer": said}
    assert second == {"type": "failure", "key": "k2", **question, "error": "too long"}
    assert fact == {"type": "fact", "key": "k3", "value": [1]}
    assert score == {"type": "score", "measurement": "target", "item": "i1", "base": 1.0, "candidate": 0.25}
    body = b'{"type": "fact", "key": "k3", "value": [1]'
    assert encode(fact) == b'%s, "sha256": "%s"}\n' % (body, hashlib.sha256(body).hexdigest()[:32].encode())
    with Journal(path) as journal:
        assert journal.answer("k1") == answer


def test_a_failure_is_remembered_until_there_is_an_answer(tmp_path: Path) -> None:
    failed, answered = entry("a", Answer(finish="error", error="too long")), entry("a", Answer(text="b"))
    for kept in (False, True):
        with Journal(tmp_path / "answers.jsonl") as journal:
            if not kept:
                assert journal.failure(failed[0]) is None
                journal.add_answers([failed])
            assert journal.failure(failed[0]) == Answer(finish="error", error="too long")
            assert journal.failure("another") is None
    with Journal(tmp_path / "answers.jsonl") as journal:
        journal.add_answers([answered])
        assert journal.failure(failed[0]) is None
        assert journal.answer(failed[0]) == answered[3]


def test_an_answer_that_is_not_a_number_is_not_even_a_failure(tmp_path: Path) -> None:
    broken = entry("a", Answer(finish="error", error=f"{NOT_A_NUMBER} at the first token"))
    with Journal(tmp_path / "answers.jsonl") as journal:
        journal.add_answers([broken])
        assert journal.failure(broken[0]) is None
    assert len(lines_of(tmp_path / "answers.jsonl")) == 1


def test_what_was_added_since_it_was_opened_can_be_discarded(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    first, second = entry("a", Answer(text="b")), entry("c", Answer(text="d"))
    with Journal(path) as journal:
        journal.add_answers([first])
    whole = path.read_bytes()
    with Journal(path) as journal:
        journal.add_answers([second])
        journal.sync()
        assert path.read_bytes() != whole
        journal.discard()
        assert path.read_bytes() == whole
    with Journal(path) as journal:
        assert (journal.answer(first[0]), journal.answer(second[0])) == (first[3], None)


def test_of_an_earlier_run_facts_and_answers_are_copied_when_they_are_needed(tmp_path: Path) -> None:
    known, other = entry("a", Answer(text="b")), entry("c", Answer(text="d"))
    earlier, gone = tmp_path / "one.jsonl", tmp_path / "gone.jsonl"
    with Journal(earlier) as journal:
        journal.add_answers([known, other, entry("e", Answer(finish="error", error="x"))])
        journal.fact("fact", lambda: 1)
        journal.add_scores("target", ["i"], [(1.0, 0.0)])
    path = tmp_path / "two.jsonl"
    with Journal(path, reuse=[gone, earlier]) as journal:
        assert journal.answer("fact") is None
        assert journal.fact(known[0], lambda: "not an answer") == "not an answer"
        assert journal.fact("fact", lambda: 2) == 1
        assert journal.answer(known[0]) == known[3]
        assert journal.failure(entry("e", Answer())[0]) is None
        journal.add_scores("target", ["i"], [(1.0, 0.0)])
    assert [line["type"] for line in lines_of(path)] == ["journal", "fact", "fact", "answer", "score"]
    with Journal(path) as journal:
        assert journal.answer(other[0]) is None


def test_a_key_depends_on_every_part_of_the_engine_and_on_what_was_merged(tmp_path: Path) -> None:
    info = EngineInfo("vllm", {"vllm": "1"}, "cpu", "float32", {"seed": 1})
    whole = {"kind": "vllm", "versions": {"vllm": "1"}, "device": "cpu", "dtype": "float32", "settings": {"seed": 1}}
    assert engine_identity(info) == whole
    asked = question("a")
    merged = replace(MODEL, facts={"merge": {"with": "peft 1"}})
    adapter = replace(MODEL, kind="adapter", base=replace(MODEL, digest="sha256:" + "2" * 64))
    assert answer_key(merged, asked, info) == digest_of([[MODEL.digest, None, "peft 1"], whole, asked.content()])
    assert answer_key(adapter, asked, info) == digest_of([[MODEL.digest, "sha256:" + "2" * 64], whole, asked.content()])
    assert answer_key(replace(MODEL, facts={"rank": 1}), asked, info) == answer_key(MODEL, asked, info)


@pytest.mark.parametrize("count", [1, 2, 20, 21])
def test_of_many_damaged_lines_twenty_are_named(tmp_path: Path, count: int) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(encode(HEADER) + b"{}\n" * count)
    with pytest.raises(StoreError) as raised:
        Journal(path)
    more = f", and {count - 1} more lines" if count > 1 else ""
    assert raised.value.message == f"{path}:2: the line is damaged: its checksum does not match{more}"
    numbers = range(2, min(count, 20) + 2)
    named = "line 2" if count == 1 else f"lines {', '.join(map(str, numbers))}"
    again = " (and again for the rest)" if count == 21 else ""
    command = "; ".join(f"{number}d" for number in numbers)
    assert str(raised.value.hint).startswith(f"remove {named}{again} with `sed -i '{command}' {path}` and run again")


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b"[]\n",
        b"x\n",
        b'{"type": "journal"}\n',
        b'{"type": "journal", "version": 2}\n',
        b'{"type": "journal", "version": null}\n',
    ],
)
def test_a_damaged_first_line_says_how_to_mend_it(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(line)
    with pytest.raises(StoreError, match=r"answers\.jsonl:1: the journal is damaged") as raised:
        Journal(path)
    assert f"replace line 1 by {encode(HEADER).decode().strip()}" in str(raised.value.hint)


def test_one_fact_or_answer_under_a_key_but_a_fact_and_an_answer_may_share_it(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    answered = entry("a", Answer(text="b"))
    with Journal(path) as journal:
        journal.add_answers([answered])
        journal.fact(answered[0], lambda: 1)
        journal.add_scores("target", ["i"], [(1.0, 0.0)])
        journal.add_scores("target", ["i"], [(0.0, 0.0)])
    with Journal(path) as journal:
        assert journal.fact(answered[0], lambda: 2) == 1
    path.write_bytes(path.read_bytes() + encode({"type": "fact", "key": answered[0], "value": 2}))
    with pytest.raises(StoreError, match=r"answers\.jsonl:6: .*it contradicts line 3"):
        Journal(path)


@pytest.mark.parametrize("changed", [lambda b: b.replace(b"\n", b"\r\n"), lambda b: b"\xef\xbb\xbf" + b])
def test_line_ends_that_an_editor_changed_are_undone_as_the_error_says(
    tmp_path: Path, changed: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "answers.jsonl"
    whole = encode(HEADER) + encode({"type": "fact", "key": "a", "value": 1})
    path.write_bytes(changed(whole))
    with pytest.raises(StoreError, match="changed the ends of its lines") as raised:
        read_lines(path)
    command = raised.value.hint.split("`")[1]
    subprocess.run(command, shell=True, check=True)
    assert path.read_bytes() == whole
    assert len(read_lines(path)[0]) == 1
