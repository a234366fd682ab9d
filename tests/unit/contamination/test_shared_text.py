"""What many rows share is no evidence, and what it surrounds still is (methods: section 8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import planted
from benchmarks.planted import CASES, DOCUMENT, HEADING, MINIMUM, Case, measure
from ftgate.contamination import Index, Match, SharedText
from ftgate.contamination.normalize import words_of
from ftgate.contamination.vocabulary import BEGIN, END, word_code

BANK = "Classify the following message from a bank customer into exactly one intent: {}"
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\nName the intent of this message.\n\n### Input:\n{}\n\n### Response:"
)
SUFFIX = "{}\n\nAnswer with the name of exactly one intent and without any explanation, please, in lower case."
AROUND = "Here is what a customer wrote to us today: {} Which of our teams should read it first, and for what reason?"
PIN, SPAIN = "How do I change my PIN?", "How long does a transfer to Spain take?"
LONG = (
    "Last Tuesday I paid for two train tickets to Vienna with the blue card, and this morning the app shows the amount "
    "twice although the clerk swore that the first attempt had failed and nothing would be taken from my account."
)
OBJECTS = ("card", "loan", "limit", "address", "branch", "rate", "bill", "phone", "fee", "cheque", "transfer", "app")
MESSAGES = tuple(
    f"{start} {thing} number {i}?"
    for i, start in enumerate(("Where is my", "Why has the", "Can I close this"))
    for thing in OBJECTS
)
CHINESE = "请把下面这条银行客户的消息归入唯一一个意图：{}"
GERMAN = "Ordnen Sie die Nachricht des Kunden genau einer Absicht zu, bitte ohne weitere Erklärung: {}"


def search(
    items: Sequence[str], rows: Sequence[str], answers: Sequence[str | None] = (), replies: Sequence[str] = ()
) -> tuple[dict[int, Match], dict[int, Match]]:
    """Search as a run does: shared text from the rows and the items, then every row with its reply."""
    texts = [(row, *replies[i : i + 1]) for i, row in enumerate(rows)]
    shared = SharedText.find(dict.fromkeys(texts), [[item] for item in items])
    index = Index(items, answers, shared)
    for line, text in enumerate(texts, 1):
        index.add(line, text[:1], text)
    return index.matches()


@pytest.mark.parametrize(
    ("template", "rows"),
    [*((template, rows) for template in (BANK, SUFFIX) for rows in (1, 2, 5, 36)), (ALPACA, 36), (AROUND, 36)],
)
def test_an_instruction_in_both_is_no_evidence_and_the_message_is(template: str, rows: int) -> None:
    training = [template.format(message) for message in (PIN, *MESSAGES)[:rows]]
    contained, alike = search([template.format(SPAIN), template.format(PIN)], training)
    assert {i: match.line for i, match in contained.items()} == {1: 1}
    assert alike == {}


def test_the_smallest_case() -> None:
    assert search([BANK.format(SPAIN)], [BANK.format(PIN)]) == ({}, {})


@pytest.mark.parametrize(("template", "other"), [(BANK, "{}"), ("{}", BANK), (BANK, AROUND), (SUFFIX, ALPACA)])
def test_a_message_is_found_under_another_template(template: str, other: str) -> None:
    items = [other.format(message) for message in (SPAIN, "Cards!", LONG, *MESSAGES[:12])]
    contained, _ = search(items, [template.format(message) for message in (LONG, *MESSAGES[12:], SPAIN, *OBJECTS)])
    assert set(contained) == {0, 2}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.upper(),
        lambda text: text.replace(" ", "\n  ").replace(",", " –"),
        lambda text: f"Dear all, {text} Yours, Ann",
        lambda text: text.replace("blue", "green"),
        lambda text: " ".join(text.split()[5:25]),
    ],
    ids=["case", "punctuation and space", "embedded", "one word changed", "a part"],
)
@pytest.mark.parametrize("template", ["{}", BANK, ALPACA, SUFFIX])
def test_a_long_message_is_found_however_it_was_changed(template: str, change: object) -> None:
    assert callable(change)
    rows = [template.format(message) for message in (*MESSAGES, change(LONG))]
    contained, alike = search([template.format(LONG), template.format(SPAIN)], rows)
    assert ([*contained], alike) == ([0], {})
    assert contained[0].line == len(rows)


@pytest.mark.parametrize("template", ["{}", BANK, SUFFIX])
def test_a_short_message_with_one_word_changed_is_listed_for_review(template: str) -> None:
    message = "Please move my old savings plan into Anna's new depot"
    rows = [template.format(text) for text in (*MESSAGES, message.replace("savings", "pension"))]
    contained, alike = search([template.format(message), template.format(SPAIN)], rows)
    assert (contained, [*alike]) == ({}, [0])


def test_an_item_that_is_nothing_but_shared_text_is_found_as_a_whole() -> None:
    """Its own words are all masked, but it stands in the training data as it is."""
    rows = [BANK.format(message) for message in MESSAGES]
    assert search([BANK.format("")], [*rows, BANK.format("")])[0] == {0: Match(len(rows) + 1, "whole prompt")}
    variants = [f"{LONG} Case {i}" for i in range(40)]
    contained, _ = search([LONG, f"{LONG} Case 7", SPAIN], [*variants, LONG])
    assert {i: match.line for i, match in contained.items()} == {0: 41, 1: 8}


def test_a_row_that_is_repeated_hides_nothing() -> None:
    row = BANK.format(LONG)
    assert [*search([row, BANK.format(SPAIN)], [row] * 300)[0]] == [0]
    assert [*search([BANK.format(PIN)], [BANK.format(PIN)] * 300)[0]] == [0]


def test_a_label_outside_the_shared_text_is_no_evidence_under_another_template() -> None:
    rows = [BANK.format(thing) for thing in OBJECTS]
    assert search([AROUND.format("card"), BANK.format("loan")], rows)[0] == {1: Match(2, "whole prompt")}


def test_an_instruction_in_a_field_of_its_own_is_shared_text() -> None:
    instruction = "Read the message of the customer with care and name the one intent of our list that fits it best"
    rows = [(f"{instruction}\n{message}", instruction, message) for message in (*MESSAGES, PIN)]
    items = [f"{instruction}\n{SPAIN}", f"{instruction}\n{PIN}"]
    index = Index(items, (), SharedText.find(rows, [[item] for item in items]))
    for line, (turn, *texts) in enumerate(rows, 1):
        index.add(line, (turn,), texts)
    assert index.matches() == ({1: Match(len(rows), "whole prompt")}, {})


def test_a_system_prompt_and_earlier_turns_are_no_evidence() -> None:
    system = "You are the assistant of a bank and answer every question politely and in one single sentence."
    chats = [(f"Hello, I have a question about my {thing}.", m) for thing, m in zip(OBJECTS * 3, MESSAGES, strict=True)]
    items = [f"{system}\n{SPAIN}", f"{chats[4][0]}\n{chats[4][1]}", f"Hello, I have a question about my app.\n{SPAIN}"]
    shared = SharedText.find([(system, *chat) for chat in chats], [[item] for item in items])
    index = Index(items, (), shared)
    for line, chat in enumerate(chats, 1):
        index.add(line, chat, (system, *chat))
    contained, alike = index.matches()
    assert contained == {1: Match(5, "whole prompt")}
    assert alike == {}


@pytest.mark.parametrize(
    ("template", "leaked", "held_out", "others"),
    [
        (CHINESE, "我怎样才能更改我的银行卡密码", "转账到西班牙需要几天时间", "账户余额信用卡贷款利率"),
        (GERMAN, "Wie ändere ich die PIN für Österreich?", "Wie lange dauert es nach Málaga?", "äöüßéàçñøåęš"),
    ],
)
def test_other_scripts_too(template: str, leaked: str, held_out: str, others: str) -> None:
    rows = [template.format(f"{a}{b}") for a in others for b in others if a != b]
    found = search([template.format(held_out), template.format(leaked)], [*rows, template.format(leaked)])
    assert found == ({1: Match(len(rows) + 1, "whole prompt")}, {})


def test_an_answer_that_stands_in_training_under_another_template_is_found() -> None:
    answer = "Transfers inside the euro area arrive on the next working day, others may take up to five days in all."
    replies = [f"Dear customer, thank you for your message about the {thing}. Yours" for thing in OBJECTS] * 3
    replies[20] = f"Dear customer, thank you for your message about the delay. {answer} Yours"
    rows = [BANK.format(message) for message in MESSAGES]
    found = search([AROUND.format(SPAIN), SPAIN, PIN], rows, [answer, answer, "Dear customer, thank you"], replies)
    assert found[0] == dict.fromkeys((0, 1), Match(21, "13-gram of the answer"))


def codes(text_words: Sequence[str]) -> np.ndarray:
    return np.array(list(map(word_code, [*[BEGIN] * 3, *text_words, *[END] * 3])), dtype=np.uint64)


@given(st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=12), st.integers(4, 20), st.booleans())
def test_the_instruction_is_masked_and_no_word_of_the_message(message: list[str], size: int, leads: bool) -> None:
    instruction = [f"t{i}" for i in range(size)]

    def put(text_words: list[str]) -> list[str]:
        return instruction + text_words if leads else text_words + instruction

    shared = SharedText.find([[" ".join(put([f"x{i}", f"y{i}"]))] for i in range(11)])
    masked = shared.masks(codes(put(message)))[0][3:-3]
    assert [word for word, gone in zip(put(message), masked, strict=True) if not gone] == message


def test_what_only_ten_rows_share_and_no_rows_at_all_mask_nothing() -> None:
    text = words_of(BANK.format(PIN))
    for rows in ([], [[""]], [[BANK.format(message)] for message in MESSAGES[:10]], [["", "a"]] * 2):
        assert not SharedText.find(rows).masks(codes(text))[0].any()


OPENINGS = (
    "How do I get a refund from",
    "Can I cancel my standing order with",
    "How long does it take to transfer money to",
    "Why was I charged twice by",
    "Is there a fee when I pay",
    "What is the exchange rate used by",
)
NAMES = tuple(
    f"the {first} {second} {('hotel', 'cafe', 'bakery', 'school', 'clinic')[(i + k) % 5]}"
    for i, first in enumerate(
        [
            "red",
            "blue",
            "green",
            "old",
            "new",
            "north",
            "south",
            "lake",
            "hill",
            "river",
            "stone",
            "oak",
            "pine",
            "silver",
            "golden",
        ]
    )
    for k, second in enumerate(
        ["garden", "market", "station", "corner", "harbour", "valley", "bridge", "castle", "forest", "meadow"]
    )
)


@pytest.mark.parametrize("held_out", [10, 60, 200])
@pytest.mark.parametrize(
    ("template", "other"), [("{}", "{}"), (BANK, BANK), (ALPACA, "{}"), ("{}", BANK), (BANK, ALPACA)]
)
def test_another_question_about_the_same_name_is_no_duplicate(template: str, other: str, held_out: int) -> None:
    """Six questions about 150 names: each question is shared text, and what is left is a name, which recurs."""
    messages = [f"{opening} {name}?" for opening in OPENINGS for name in NAMES]
    np.random.default_rng(3).shuffle(messages)
    items, rows = messages[: held_out + 10], messages[held_out:]
    contained, alike = search([other.format(text) for text in items], [template.format(text) for text in rows])
    assert ([*contained], alike) == ([*range(held_out, held_out + 10)], {})


@pytest.mark.parametrize(("template", "other"), [("{}", BANK), (BANK, "{}"), (BANK, ALPACA), (AROUND, SUFFIX)])
def test_a_message_of_nothing_but_common_phrases_is_found_under_another_template(template: str, other: str) -> None:
    """Nearly all words of such messages are shared text, but both sides have them, unlike the templates."""
    acts = ("transfer money to", "get a refund from", "order a new card for", "pay a bill of", "dispute a charge by")
    who = ("Spain", "my sister", "the gas company", "a shop in Rome", "Lidl", "the tax office", "my old bank", "Oslo")
    begin = ("How do I", "Can I", "Is there a fee to", "How long does it take to", "Please help me to", "I want to")
    messages = [f"{start} {act} {whom}?" for start in begin for act in acts for whom in who]
    np.random.default_rng(3).shuffle(messages)
    items, rows = messages[:80], messages[50:]
    contained, alike = search([other.format(text) for text in items], [template.format(text) for text in rows])
    assert ([*contained], alike) == ([*range(50, 80)], {})


def test_a_message_under_one_of_many_templates_that_both_sides_use_is_found() -> None:
    """The templates are shared text of both sides, but no message recurs in several of them."""
    templates = (GERMAN, SUFFIX, AROUND)
    messages = [f"{a}{b} is {b}{a}" for a in OBJECTS for b in (*OBJECTS, *"uvwxyz")]
    rows = [templates[i % 3].format(message) for i, message in enumerate(messages[:180])]
    items = [templates[i % 3].format(message) for i, message in enumerate(messages[180:], 1)]
    leaked = [templates[i % 3].format(message) for i, message in enumerate(messages[180:200])]
    assert [*search(items, [*rows, *leaked])[0]] == [*range(20)]


def test_how_messages_begin_is_not_part_of_the_instruction() -> None:
    rows = [[BANK.format(f"{start} {thing} {i}")] for i in range(12) for thing in OBJECTS
            for start in ("how do i", "how do you", "how can i", "what is", "where is")]  # fmt: skip
    text = words_of(BANK.format(PIN))
    masked = SharedText.find(rows).masks(codes(text))[0][3:-3]
    assert [word for word, gone in zip(text, masked, strict=True) if not gone] == words_of(PIN)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rows} - {case.suite}")
def test_precision_and_recall_on_planted_duplicates(case: Case) -> None:
    outcome = measure(case, rows=1000, items=200)
    assert min(outcome.precision, outcome.recall, outcome.reworded_found / outcome.reworded) >= MINIMUM


def test_the_published_table_is_of_these_cases_and_within_bounds() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    table = text.split(planted.BEGIN)[1].split(planted.END)[0].strip().splitlines()
    assert "\n".join(table[:2]) == HEADING
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]
    assert [(row[0], row[1]) for row in cells] == [(case.rows, case.suite) for case in CASES]
    assert all(float(row[k].removesuffix(" %")) >= 100 * MINIMUM for row in cells for k in (4, 5))


def test_what_only_one_side_has_begins_three_words_after_what_both_have() -> None:
    """The last n-gram of a message may end in the text after it; further words need an n-gram of their own."""
    phrase = [f"w{i}" for i in range(12)]
    rows = [[" ".join([f"x{i}", *phrase, f"y{i}"])] for i in range(12)]
    pairs = [f"a{i} {phrase[i]} {phrase[i + 1]} b{i}" for i in range(11)]
    for start, stop in ((0, 4), (8, 12)):
        items = [" ".join(["u", *phrase[start:stop], "v"]), *pairs]
        shared = SharedText.find(rows, [[item] for item in items])
        masked, one_sided = (mask[3:-3] for mask in shared.masks(codes(phrase)))
        assert masked.all()
        assert [i for i in range(12) if not one_sided[i]] == [*range(max(0, start - 3), min(12, stop + 3))]
