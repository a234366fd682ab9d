"""What a model reasons before its answer is no part of the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.datasets import Needs, read_suite
from ftgate.domain import Answer, Item, Message, Pair
from ftgate.errors import DatasetError
from ftgate.measurements.confidence import equivalent
from ftgate.measurements.traces import count_traces, traces_note
from ftgate.scoring.malformed import CUT, malformed
from ftgate.scoring.rules import RULES, score_pairs
from ftgate.scoring.trace import final_answer, opening_at_end, trace_tokens, without_trace

MARKS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<thought>", "</thought>"),
    ("<THINK>", "</THINK>"),
    ("<seed:think>", "</seed:think>"),
    ("<think:fast>", "</think:fast>"),
    ("<ifm|think>", "</ifm|think>"),
    ("<|think|>", "<|/think|>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|plamo:begin_think:plamo|>", "<|plamo:end_think:plamo|>"),
    ("<|reasoning_start|>", "<|reasoning_end|>"),
    ("<｜begin▁of▁thinking｜>", "<｜end▁of▁thinking｜>"),
    ("[reasoning]", "[/reasoning]"),
    ("<start_working_out>", "<end_working_out>"),
    ("<|channel>", "<channel|>"),
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    ("Here is my thought process:", "Here is my response:"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("analysisWe reason.", "assistantfinal"),
]


@pytest.mark.parametrize(("opening", "closing"), MARKS)
def test_what_follows_the_closing_mark_is_the_answer(opening: str, closing: str) -> None:
    assert final_answer(f"{opening}\nParis or Lyon?\n{closing}\n\nParis") == ("Paris", "closed")
    assert final_answer(f"{opening}\nParis or Lyon?") == ("", "open")
    assert final_answer(f"{opening}{closing}") == ("", "closed")


@pytest.mark.parametrize(
    ("text", "answer", "trace"),
    [
        ("Paris or Lyon? </think>Paris", "Paris", "closed"),
        ("<think>a</think>b <think>c</think>Paris", "Paris", "closed"),
        ("<scratchpad>a</scratchpad>\nParis", "Paris", "closed"),
        ("<reflection>a</reflection><answer>Paris</answer>", "Paris", "closed"),
        ("<Analysis>a</Analysis>Paris", "Paris", "closed"),
        ("<analysis>a", "", "open"),
        ("<analysis>Paris</analysis>", "<analysis>Paris</analysis>", ""),
        ("Paris <reflection>sure</reflection> it is", "Paris <reflection>sure</reflection> it is", ""),
        ("<think>a</think>Paris\n<think>but", "", "open"),
        ("<think>a</think><think>but", "", "open"),
        ("Use `</think>` to close it.", "Use `</think>` to close it.", ""),
        ("The <think> tag opens it.", "The <think> tag opens it.", ""),
        ("```\n<think>\n</think>\n```", "```\n<think>\n</think>\n```", ""),
        ("<think>a</think>Use `</think>`.", "Use `</think>`.", "closed"),
        ("<think>a</think>\n```\n</think>\n```", "```\n</think>\n```", "closed"),
        ("<think>```\nx\n</think>\n```\ny\n```", "```\ny\n```", "closed"),
        ("<think>it ends with `</think>` and", "", "open"),
        ("<think>a</think>\n<answer>\nParis\n</answer>", "Paris", "closed"),
        ("<answer>Paris</answer>", "<answer>Paris</answer>", ""),
        ("<|END_THINKING|><|START_RESPONSE|>Paris<|END_RESPONSE|>", "Paris", "closed"),
        ("1. look\n[BEGIN FINAL RESPONSE]\nParis\n[END FINAL RESPONSE]", "Paris", "closed"),
        ("<|channel|>final <|constrain|>json<|message|>{}<|return|>", "{}", ""),
        ("<|channel|>final<|message|>Paris<|end|><|start|>assistant<|channel|>final<|message|>Rome", "Rome", ""),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Paris<|return|>",
            "Paris",
            "closed",
        ),
        ("<|channel|>commentary to=functions.f<|message|>{}<|call|>", "to=functions.f<|message|>{}<|call|>", ""),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary to=functions.f<|message|>{}",
            "to=functions.f<|message|>{}",
            "closed",
        ),
        ("analysis of this", "analysis of this", ""),
        ("  Paris\n", "  Paris\n", ""),
        ("Use `s.split('</think>')[-1]`.", "Use `s.split('</think>')[-1]`.", ""),
        ("Use s.split('</think>')[-1].", "Use s.split('</think>')[-1].", ""),
        ("Use `re.sub(r'<think>.*</think>', x)`.", "Use `re.sub(r'<think>.*</think>', x)`.", ""),
        ('<think>a</think>It is "</think>".', 'It is "</think>".', "closed"),
        ('It is "Paris"</think>"Paris"', '"Paris"', "closed"),
        ("[Reasoning] Big.\n[Answer] Paris", "[Reasoning] Big.\n[Answer] Paris", ""),
        ("[Thinking]a[/Thinking]Paris", "Paris", "closed"),
        ("analysis\nWe reason.\nassistantfinal\nParis", "Paris", "closed"),
        ("<think>a</think><answer>Paris</answer> I hope", "Paris", "closed"),
    ],
)
def test_marks_in_code_and_in_passing_are_text(text: str, answer: str, trace: str) -> None:
    assert final_answer(text) == (answer, trace)


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(MARKS[:20]))
def test_the_answer_is_a_part_of_the_text(before: str, after: str, marks: tuple[str, str]) -> None:
    assert final_answer(before).text.strip() in before
    text, trace = final_answer(f"{marks[0]}{before}{marks[1]}{after}")
    assert text.strip() in after
    assert trace in ("open", "closed")


@given(st.lists(st.sampled_from([mark for pair in MARKS for mark in pair] + ["`", "```\n", "\n", "a", "<answer>"])))
def test_any_mixture_of_marks_has_an_answer(parts: list[str]) -> None:
    text, trace = final_answer("".join(parts))
    assert text in "".join(parts)
    assert trace in ("", "open", "closed")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["<think>", "</think>", "`</think>`", "```\n", "<|channel|>final", "</", "<answer>"])
def test_long_runs_of_marks_take_no_long_time(part: str) -> None:
    assert final_answer("</think>" + part * 20_000).trace


def test_a_trace_that_never_closed_is_cut_off_and_wrong_by_every_rule() -> None:
    item = Item("i", (Message("user", "q"),), answer="Lyon", check={"constraints": {"excludes": ["no"]}})
    answer = without_trace(Answer(text="<think>Lyon", tokens=3))
    assert (answer.text, answer.trace, answer.finish, answer.tokens) == ("", "open", "length", 3)
    assert [RULES[rule](item, answer) for rule in ("exact", "contains", "numeric", "check")] == [0, 0, 0, 0]
    assert malformed(item, answer, Answer(text="Lyon"))[0] == {CUT}
    assert not equivalent(item, answer, answer, "exact")
    scored = score_pairs(lambda _: "contains", [Pair(item, (answer,), (without_trace(Answer("x</think>Lyon")),))])
    assert (scored.base[0], scored.candidate[0], scored.unreadable) == (0, 1, 0)


def test_an_answer_without_text_has_no_trace() -> None:
    for answer in (Answer(option_logprobs=(-1.0, -2.0)), Answer(finish="error", error="</think>")):
        assert without_trace(answer) is answer


def test_both_models_traces_are_counted() -> None:
    item = Item("i", (Message("user", "q"),))
    bare, done, begun = (without_trace(Answer(text=text)) for text in ("a", "<think></think>a", "<think>a"))
    counts = count_traces([Pair(item, (bare,), (done,)), Pair(item, (bare,), (begun,))])
    assert counts["base"] == {"answers": 2, "reasoned": 0, "unfinished": 0}
    assert counts["candidate"] == {"answers": 2, "reasoned": 2, "unfinished": 1}
    assert "2 of 2 answers of the candidate (1 never ended)" in traces_note(counts)
    assert count_traces([Pair(item, (bare,), (bare,))]) == {}
    assert traces_note({}) == ""


def test_the_mark_at_the_end_of_a_prompt_is_found() -> None:
    assert opening_at_end("<|user|>Hi<|assistant|><think>\n") == "<think>"
    assert opening_at_end("<think>\n\n</think>\n\n") == opening_at_end("Hi") == ""


def test_a_tokenizers_marks_are_told_from_its_other_tokens() -> None:
    assert trace_tokens(["[THINK]", "[/THINK]", "[INST]", "</s>", "<|end|>"]) == {"[THINK]", "[/THINK]"}
    assert trace_tokens(["<|channel|>", "<|end|>", "<|im_end|>"]) == {"<|channel|>", "<|end|>"}


def rows(folder: Path, *answers: str) -> Path:
    checks = [{"exact": "Paris"}, {"json_schema": {"required": ["city"]}}, {"constraints": {"without_characters": ","}}]
    lines = [
        {"id": i, "prompt": f"p{i}", "answer": a, "check": c}
        for i, (a, c) in enumerate(zip(answers, checks, strict=False))
    ]
    path = folder / "suite.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_references_with_a_trace_are_what_follows_it(tmp_path: Path) -> None:
    answers = ["<think>\nLyon?\n</think>\n\nParis", '<think>{"a": 1}</think>{"city": "Oslo"}', "<think>a,</think>Hello"]
    suite = read_suite("s", rows(tmp_path, *answers), needs=Needs(check=True))
    assert [item.answer for item in suite.items] == ["Paris", '{"city": "Oslo"}', "Hello"]


def test_a_reference_of_reasoning_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is reasoning alone"):
        read_suite("s", rows(tmp_path, "<think>Paris"), needs=Needs(check=True))
