"""Text under judgement can neither close its fence nor write a control token, and ordinary text is left alone."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ftgate.domain import Message
from ftgate.judge.rubric import CRITERIA, judge_messages
from ftgate.judge.sanitize import MAX_CHARACTERS, RETRY_CHARACTERS, sanitize, truncate_middle

FENCES = ("[[prompt]]", "[[reference]]", "[[answer]]", "[[end]]")
CONTROL_TOKENS = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>"),
    *("<|user|>", "<|assistant|>", "<|end|>", "<|start|>", "<|turn>", "<turn|>", '<|"|>', "<|START_OF_TURN_TOKEN|>"),
    *("<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜tool▁calls▁begin｜>"),
    *("<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>", "<think>"),
    *("</think>", "<tool_call>", "</tool_call>", "<image>", "<start_of_image>", "<fim_middle>", "<unused42>"),
    *("<extra_id_0>", "<SPECIAL_20>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[SYSTEM_PROMPT]"),
    *("<sop>", "<eop>", "[|assistant|]", "[|endofturn|]", "<assistant>", "﹤|im_end|﹥", "]~b]", "]~!b[", "[e~["),
    *("[TOOL_CALLS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]", "[IMG_BREAK]", "[CLS]", "[SEP]", "[MASK]", "[gMASK]"),
)
HIDDEN = ("\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\ufe0f", "\u202e", "\U000e0041", "\0", "\ud800")
SIGNS = (*"[]［］﹇﹈【】⟦⟧〚〛<>＜＞|｜/", "end", "answer", "INST", "s", "\n", " ", "é", "5")
HOSTILE = st.lists(st.sampled_from([*FENCES, *CONTROL_TOKENS, *HIDDEN, *SIGNS]) | st.text(max_size=3), max_size=12)


def user_message(prompt: str, answer: str, reference: str | None = "yes") -> str:
    return judge_messages(CRITERIA[0], "ascending", (Message("user", prompt),), answer, reference)[1].content


@settings(deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE)
@example(["[\u200d[", "end", "]]]"], ["⟦\u200d⟧"], ["〚answer〛"])
@example(["<|im\u200b_end|>"], ["[[", "\0", "[["], ["<<s>", "<|<|im_end|>"])
def test_whatever_is_judged_each_fence_stands_once_and_no_control_token_at_all(
    prompt: list[str], answer: list[str], reference: list[str]
) -> None:
    content = user_message("".join(prompt), "".join(answer), "".join(reference))
    places = [content.find(fence) for fence in FENCES]
    assert places == sorted(places)
    assert [content.count(fence) for fence in FENCES] == [1, 1, 1, 1]
    assert content.count("[[") == content.count("]]") == len(FENCES)
    assert not [token for token in CONTROL_TOKENS if token in content]
    content.encode()


@settings(deadline=None)
@given(HOSTILE)
def test_a_second_pass_finds_nothing_left_to_do(parts: list[str]) -> None:
    once = sanitize("".join(parts))
    assert sanitize(once) == once


@pytest.mark.parametrize("hidden", ["", *HIDDEN])
def test_a_character_that_nobody_sees_hides_no_control_token(hidden: str) -> None:
    for token in CONTROL_TOKENS:
        assert token not in sanitize(hidden.join(token))
        assert token not in sanitize(token[:1] + hidden + token[1:])


@pytest.mark.parametrize(
    "text",
    [
        '<div class="a"><p>text</p><br/></div> <strong>x</strong> <sup>2</sup> <video>',
        "if a < b and c > d: x = y[0]; m[i][j] <= n | k",
        "let f = xs |> List.map g <| h; a <|> b; p <- q; r -> s => t <=> u; v << 2 >> 1",
        "std::vector<std::pair<int, std::size_t>> v; Option<T>, Vec<u8>, <T: Into<String>>",
        "- [ ] open\n- [x] done [1] [link](https://example.org) [TODO] [a]",
        "$ cat a | grep b > c 2>&1 || exit 1 && echo '<EOF>'",
        "naïve façade 你好，世界 【注】「引用」 مرحبا می\u200cخواهم क्\u200dष 👩\u200d👩\u200d👧 ❤\ufe0f 1 < 2 ≤ 3",
        "tab\tand\r\nline\n\nbreaks\u2028stay",
        "",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert sanitize(text) == text


def test_what_is_broken_can_still_be_read() -> None:
    assert sanitize("a<|im_end|>b </s> [INST] <<SYS>> [[end]]") == "a< |im_end|>b < /s> [ INST] < <SYS>> [ [end] ]"
    assert sanitize("⟦end⟧ ［［end］］ 【【end】】") == "[ [end] ] ［ ［end］ ］ 【 【end】 】"
    assert sanitize("a\ud800b\x1b[0m\0") == "a\ufffdb\ufffd[0m\ufffd"


def test_a_long_answer_keeps_head_and_tail_and_says_what_is_gone() -> None:
    content = user_message("p", "head" + "x" * 100_000 + "tail")
    assert len(content) < MAX_CHARACTERS + 200
    answer = content.split("[[answer]]\n")[1].split("\n[[end]]")[0]
    assert answer.startswith("headxxx")
    assert answer.endswith("xxxtail")
    assert "\n(… 92,008 characters left out …)\n" in answer


def test_a_prompt_is_whole_unless_the_judge_did_not_take_it() -> None:
    prompt = (Message("user", "y" * 50_000),)
    whole, cut = (
        judge_messages(CRITERIA[0], "ascending", prompt, "x" * 50_000, "z" * 50_000, most=most)[1].content
        for most in (None, RETRY_CHARACTERS)
    )
    assert "y" * 50_000 in whole
    assert "z" * 50_000 in whole
    assert len(cut) < 3 * RETRY_CHARACTERS + 300
    assert cut.count("characters left out") == 3


@settings(deadline=None)
@given(st.text(max_size=60), st.integers(min_value=2, max_value=50))
def test_shortening_announces_exactly_what_it_leaves_out(text: str, most: int) -> None:
    short = truncate_middle(text, most)
    if len(text) <= most:
        assert short == text
        return
    head, tail = text[: most // 2], text[-(most // 2) :]
    assert short == f"{head}\n(… {len(text) - len(head) - len(tail)} characters left out …)\n{tail}"


@pytest.mark.parametrize("code", [0, 8, 11, 12, 14, 0x1F, 0x7F, 0x85, 0x9F, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF], ids=hex)
def test_what_cannot_be_printed_is_seen_to_have_been_there(code: int) -> None:
    assert sanitize(f"a{chr(code)}b") == "a\ufffdb"


@pytest.mark.parametrize("code", [9, 10, 13, 0x20, 0x7E, 0xA0, 0xFFFD], ids=hex)
def test_what_can_be_printed_stays(code: int) -> None:
    assert sanitize(f"a{chr(code)}b") == f"a{chr(code)}b"
