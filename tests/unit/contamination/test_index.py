"""Known answers and properties of the search for items in training data (methods: section 8)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.contamination import Index, Match, SharedText, index, segments, words


def counted(n: int, prefix: str = "w") -> str:
    return " ".join(f"{prefix}{i}" for i in range(n))


def found(
    prompts: Sequence[str], rows: Sequence[str], answers: Sequence[str | None] = ()
) -> tuple[dict[int, Match], dict[int, Match]]:
    shared = SharedText.find([[row] for row in dict.fromkeys(rows)], [[prompt] for prompt in prompts])
    index = Index(prompts, answers, shared)
    for line, row in enumerate(rows, 1):
        index.add(line, (row,), (row,))
    return index.matches()


@pytest.mark.parametrize(
    ("prompt", "row", "by"),
    [
        (counted(30), f"before {counted(13)} after", "13-gram"),
        (counted(30), f"before {counted(12)} after", None),
        (counted(13), f"before {counted(13)} after", "13-gram"),
        (counted(12), f"before {counted(8)} after", "8-gram"),
        (counted(12), f"before {counted(7)} after", None),
        (counted(8), f"before {counted(8)} after", "8-gram"),
        (counted(7), counted(7), "whole prompt"),
        (counted(7), f"before {counted(7)} after", None),
        ("hello", "Hello!", "whole prompt"),
        (counted(20), counted(20), "whole prompt"),
        ("¿?", "¿?", "whole prompt"),
        ("¿?", "¿!", None),
        ("W0, w1 W2-w3\nw4 'w5' w6 w7!", counted(8), "whole prompt"),
    ],
)
def test_the_length_of_an_item_says_what_tells_it(prompt: str, row: str, by: str | None) -> None:
    contained, _ = found([prompt], ["other", row])
    assert contained == ({0: Match(2, by)} if by else {})


@pytest.mark.parametrize(("texts", "contaminated"), [(9, True), (10, False)])
def test_a_phrase_in_more_than_ten_texts_and_items_is_common(texts: int, contaminated: bool) -> None:
    phrase = counted(13)
    contained, _ = found([f"{phrase} and then some"], [f"{phrase} number {i}" for i in range(texts)])
    assert (0 in contained) == contaminated


@pytest.mark.parametrize(("size", "contaminated"), [(40, True), (14, True), (13, False), (9, True), (8, False)])
@pytest.mark.parametrize("batch", [10, 500_000])
def test_a_question_under_many_instructions_is_found(
    size: int, contaminated: bool, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its n-grams is common; all of them in one text are none. One alone could be any phrase."""
    monkeypatch.setattr(index, "BATCH_WORDS", batch)
    rows = [f"instruction number {i}: {counted(size)} answer with {i} words" for i in range(60)]
    contained, _ = found([counted(size), counted(size)], rows)
    assert contained == (dict.fromkeys((0, 1), Match(1, "whole prompt")) if contaminated else {})


def test_an_instruction_that_items_share_with_training_data_contaminates_none() -> None:
    rows = [f"{counted(100)} question {i}" for i in range(60)]
    items = [f"{counted(100)} other {i}" for i in range(30)] + [f"{counted(100)} question 59"]
    assert list(found(items, rows)[0]) == [30]


def test_another_ngram_of_the_same_item_still_tells_it() -> None:
    common, rare = counted(13), counted(13, "r")
    rows = [f"{common} number {i}" for i in range(50)] + [f"see {rare}"]
    assert found([f"{common} {rare}"], rows)[0] == {0: Match(51, "13-gram")}


def test_rows_that_were_repeated_in_training_stay_evidence() -> None:
    assert found([counted(30)], [f"before {counted(20)}"] * 500)[0] == {0: Match(1, "13-gram")}


def test_a_whole_prompt_counts_however_often_it_was_trained_on() -> None:
    index = Index([counted(20)])
    for line in range(1, 41):
        index.add(line, (counted(20),), (counted(20), f"answer {line}"))
    assert index.matches()[0] == {0: Match(1, "whole prompt")}


def test_a_long_reference_answer_leaks_wherever_it_stands_and_a_short_one_does_not() -> None:
    answers = [counted(20, "a"), counted(12, "b"), None]
    rows = [f"so: {counted(13, 'a')}", f"so: {counted(12, 'b')}"]
    assert found(["q one", "q two", "q three"], rows, answers)[0] == {0: Match(1, "13-gram of the answer")}


def test_a_short_prompt_counts_in_the_users_turn_alone() -> None:
    for turns, contaminated in ((("hello there",), True), (("what?", "hello there"), True), (("what?",), False)):
        index = Index(["Hello there"])
        index.add(7, turns, ("user", *turns, "assistant", "hello there"))
        assert index.matches()[0] == ({0: Match(7, "whole prompt")} if contaminated else {})


def test_several_turns_are_one_prompt_too() -> None:
    index = Index([f"{counted(5)}\n{counted(4, 'x')}"])
    index.add(1, (counted(5), counted(4, "x")), ())
    assert index.matches()[0] == {0: Match(1, "whole prompt")}


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWhat now?<|im_end|>\n<|im_start|>assistant\nWait.",
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhat now?<|eot_id|>",
        "<s>[INST] What now? [/INST] Wait.</s>",
        "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nWhat now? [/INST] Wait. </s>",
        "<bos><start_of_turn>user\nWhat now?<end_of_turn>\n<start_of_turn>model\nWait.",
        "### Instruction:\nWhat now?\n\n### Response:\nWait.",
        "Human: What now?\n\nAssistant: Wait.",
        "<｜User｜>What now?<｜Assistant｜>Wait.",
    ],
)
def test_a_chat_template_is_taken_off(text: str) -> None:
    assert ["what", "now"] in [words(part) for part in segments(text)]
    assert found(["What now?"], [text])[0] == {0: Match(1, "whole prompt")}


def test_a_template_in_the_item_is_taken_off_too() -> None:
    assert found(["User: What now?"], ["What now?"])[0] == {0: Match(1, "whole prompt")}
    chat = f"Human: {counted(9)}\nAssistant: {counted(9, 'a')}"
    assert found([chat], [f"{counted(9)} {counted(9, 'a')} and more"])[0] == {0: Match(1, "13-gram")}


def test_ordinary_text_is_no_template() -> None:
    for text in ("a < b > c: d [e]", "note: the user said: go", "if x<|y| then [INSTALL] it", "system requirements"):
        assert segments(text) == [text]


@pytest.mark.parametrize(("changed", "reviewed"), [(0, True), (1, True), (3, True), (4, False)], ids="{}".format)
def test_nearly_the_same_words_go_to_review(changed: int, reviewed: bool) -> None:
    """In another order no n-gram is left; with k of 30 words changed Jaccard is (30 - k) / (30 + k): 0.82, 0.76."""
    said = [f"changed{i}" if i < changed else word for i, word in enumerate(counted(30).split())][::-1]
    contained, alike = found([counted(30)], [" ".join(said)])
    assert contained == {}
    likeness = (30 - changed) / (30 + changed)
    assert alike == ({0: Match(1, "nearly the same words", pytest.approx(likeness))} if reviewed else {})


def test_the_same_data_twice_is_wholly_contaminated_and_foreign_data_not_at_all() -> None:
    prompts = [counted(n, f"p{n}x") for n in range(1, 60)]
    contained, alike = found(prompts, prompts)
    assert list(contained) == list(range(59))
    assert {s.by for s in contained.values()} == {"whole prompt"}
    assert alike == {}
    assert found(prompts, [counted(40, "z")] * 5) == ({}, {})
    assert found([], ["anything"]) == ({}, {})
    assert Index(prompts).matches() == ({}, {})


def test_batches_and_their_borders_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [counted(n, f"p{n}x") for n in range(8, 40)]
    rows = [f"before {prompt} after" for prompt in prompts]
    whole = found(prompts, rows)
    assert len(whole[0]) == len(prompts)
    monkeypatch.setattr(index, "BATCH_WORDS", 10)
    assert found(prompts, rows) == whole


TEXT = st.text(max_size=60) | st.lists(
    st.sampled_from(["ab", "cd", "Ef", "ß", "ﬁ", "é", "日本", "ไทย", "١", "½", "_", "-", "'", "\u200b", "\xad"])
).map(" ".join)


@given(TEXT)
def test_normalising_twice_is_normalising_once(text: str) -> None:
    assert words(" ".join(words(text))) == words(text)


@given(TEXT)
def test_case_width_marks_of_punctuation_and_invisible_characters_do_not_hide_a_text(text: str) -> None:
    plain = words(text)
    assert words(unicodedata.normalize("NFKC", text)) == plain
    assert words(f"  {text}\n") == plain
    if any(part.isalnum() for part in plain):
        assert words("\u200b".join(text)) == plain
        assert words(f"({text}!)") == plain


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_the_fast_way_for_ascii_is_the_general_way(text: str) -> None:
    assert words(text) == words(text + " \u00e9")[:-1] or not any(c.isalnum() for c in text)


@given(st.lists(st.text(alphabet="abc d", min_size=1, max_size=60), min_size=1, max_size=6), st.data())
def test_the_search_agrees_with_a_plain_one(rows: list[str], data: st.DataObject) -> None:
    prompt = data.draw(st.text(alphabet="abc d", min_size=1, max_size=60) | st.sampled_from(rows))
    said = words(prompt)
    size = 13 if len(said) >= 13 else 8
    grams = [said[i : i + size] for i in range(len(said) - size + 1)]
    texts = [words(row) for row in rows]
    shared = any(gram == text[i : i + size] for gram in grams for text in texts for i in range(len(text)))
    assert (0 in found([prompt], rows)[0]) == (bool(said) and (shared or said in texts))
    sets = [(set(said), set(text)) for text in texts if len(set(said)) >= 8]
    near = any(len(a & b) >= 0.8 * len(a | b) for a, b in sets)
    assert bool(found([prompt], rows)[1]) == (near and not shared and said not in texts)


@pytest.mark.parametrize(("size", "contaminated"), [(8, True), (7, False)])
def test_in_what_no_user_said_eight_words_are_evidence(size: int, contaminated: bool) -> None:
    index = Index([counted(8)])
    index.add(1, (), (counted(size),))
    assert index.matches()[0] == ({0: Match(1, "8-gram")} if contaminated else {})


def test_every_part_of_a_conversation_in_one_string_is_searched() -> None:
    index = Index([counted(8)])
    index.add(1, (), (f"User: hello\nAssistant: {counted(8)}",))
    assert index.matches()[0] == {0: Match(1, "8-gram")}


@pytest.mark.parametrize(("size", "contaminated"), [(25, False), (26, True)])
@pytest.mark.parametrize("form", ["{common} {own}", "{own} {common}"])
def test_words_that_both_begin_or_end_with_are_evidence_from_two_ngrams_on(
    form: str, size: int, contaminated: bool
) -> None:
    item, *rows = (form.format(common=counted(size), own=counted(20, own)) for own in ("a", "b", "c"))
    for place in range(3):
        contained, _ = found([item], [*["other"] * place, rows[0], "more"])
        assert contained == ({0: Match(place + 1, "13-gram")} if contaminated else {})


INSTRUCTION, OTHER = counted(6, "s"), counted(6, "t")


@pytest.mark.parametrize("form", ["{instruction} {text}", "{text} {instruction}"])
@pytest.mark.parametrize(
    ("item_has_one", "row_has_one", "contaminated"),
    [(True, False, True), (False, True, True), (True, True, True), (False, False, False)],
)
def test_beside_a_shared_instruction_common_words_are_the_message(
    form: str, item_has_one: bool, row_has_one: bool, contaminated: bool
) -> None:
    """Nine words that two texts begin or end with may be an instruction, unless one of them had one already."""
    leads = form.startswith("{instruction}")

    def put(message: str, own: str, *, under_instruction: bool) -> str:
        text = f"{message} {own}" if leads else f"{own} {message}"
        return form.format(instruction=INSTRUCTION, text=text) if under_instruction else text

    others = [form.format(instruction=INSTRUCTION, text=counted(9, f"x{i}y")) for i in range(12)]
    item = put(counted(9), counted(3, "a"), under_instruction=item_has_one)
    row = put(counted(9), counted(20, "b"), under_instruction=row_has_one)
    items = [item, form.format(instruction=INSTRUCTION, text="something")]
    assert found(items, [*others, row])[0] == ({0: Match(13, "8-gram")} if contaminated else {})


@pytest.mark.parametrize(
    ("item", "row", "contaminated"),
    [
        (f"{INSTRUCTION} {{}}", "{}", True),
        ("{}", f"{INSTRUCTION} {{}}", True),
        (f"{INSTRUCTION} {{}}", f"{{}} {OTHER}", False),
    ],
)
def test_a_short_message_is_found_with_and_without_an_instruction(item: str, row: str, contaminated: bool) -> None:
    """Under two instructions that both sides use; in a second row it recurs, so that it could be a mere name."""
    others = [f"{text} {counted(9, f'x{i}{text[0]}')}" for text in (INSTRUCTION, OTHER) for i in range(12)]
    items = [item.format("red green blue"), *(f"{text} {counted(9, 'i')}" for text in (INSTRUCTION, OTHER))]
    rows = [row.format("red green blue"), f"{OTHER} red green blue"]
    expected = {0: Match(25, "whole prompt without shared text")} if contaminated else {}
    assert found(items, [*others, *rows])[0] == expected
