"""Malformed answers are found whatever they were meant to say, and well-formed ones are left alone."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.answers import LAYOUTS, PROSE, WELL_FORMED

from ftgate.domain import Answer, Item, Message
from ftgate.scoring.malformed import KINDS, malformed, repeats

ENGLISH = "What does a lens do with the light of a lamp, and why is it in the tower of a lighthouse at all?"
GERMAN = "Was macht eine Linse mit dem Licht einer Lampe, und warum ist sie in dem Turm von einem Leuchtturm?"


def asked(prompt: str = ENGLISH, answer: str | None = None, name: str = "i") -> Item:
    return Item(name, (Message("user", prompt),), answer=answer)


def kinds(candidate: str, base: str = PROSE["en"], item: Item | None = None, finish: str = "stop") -> set[str]:
    """The candidate's kinds; the base must have none."""
    of_base, of_candidate = malformed(item or asked(), Answer(text=base), Answer(text=candidate, finish=finish))
    assert not of_base
    return set(of_candidate)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        ("\n" * 64, "blank"),
        (" ", "blank"),
        ("\u200b\u200b \ufeff", "blank"),
        ("!" * 64, "repetition"),
        ("no no no no no no no no no no no no", "repetition"),
        ("card_arrival " * 20, "repetition"),
        ("The lens bends. " + "It is in the tower. " * 30, "repetition"),
        ("哈" * 64, "repetition"),
        ("透镜把灯光聚成一道很窄的光束。" * 8, "repetition"),
        ("".join(f"{i}. The lens bends the light of the lamp.\n" for i in range(1, 40)), "repetition"),
        ("<unk>" * 30, "repetition"),
        (" ".join(f"Step {i}: do it." for i in range(1, 60)), "repetition"),
        (" ".join(f"Step {i} of 20: turn the lamp on." for i in range(1, 21)), "repetition"),
        (" ".join(f"the thing number {i} is a thing" for i in range(40)), "repetition"),
        (f"{PROSE['en']}\n" * 4, "repetition"),
        (f"{PROSE['en']}\n\n{PROSE['en'][:99]}\n\n" * 5, "repetition"),
        (PROSE["en"].replace(" ", ""), "unspaced"),
        (PROSE["de"].replace(" ", ""), "unspaced"),
        (PROSE["zh"], "script"),
        (PROSE["ru"], "script"),
        (PROSE["ar"], "script"),
        (PROSE["zh"][:20] + PROSE["ru"][:30] + " the lamp " + PROSE["ko"][:20], "script"),
        (PROSE["es"], "language"),
        (PROSE["de"], "language"),
    ],
)
def test_each_kind_is_found(text: str, kind: str) -> None:
    assert kinds(text) == {kind}
    assert kind in KINDS


def test_a_cut_answer_is_cut_whatever_else_it_is() -> None:
    assert kinds(PROSE["en"], finish="length") == {"cut"}
    assert kinds("\n" * 64, finish="length") == {"cut", "blank"}
    assert kinds("no " * 64, finish="length") == {"cut", "repetition"}


@pytest.mark.parametrize("name", WELL_FORMED)
def test_a_well_formed_answer_that_both_give_is_left_alone(name: str) -> None:
    answer = Answer(text=WELL_FORMED[name])
    assert malformed(asked(), answer, answer) == (frozenset(), frozenset())
    assert not repeats(answer.text)


@pytest.mark.parametrize("name", LAYOUTS)
def test_prose_and_data_may_take_each_others_place(name: str) -> None:
    for one, other in ((LAYOUTS[name], PROSE["en"]), (PROSE["en"], LAYOUTS[name])):
        assert malformed(asked(), Answer(text=one), Answer(text=other)) == (frozenset(), frozenset())


@pytest.mark.parametrize("language", PROSE)
def test_an_answer_in_the_language_of_the_prompt_is_right_whatever_the_base_says(language: str) -> None:
    item = asked(PROSE[language])
    of_base, of_candidate = malformed(item, Answer(text=PROSE["en"]), Answer(text=PROSE[language]))
    assert not of_candidate
    assert bool(of_base) == (language not in ("en",)), "and that the base left it is what is counted"


def test_a_reference_says_what_an_answer_is_written_in() -> None:
    item = asked("Put that into their language, please.", answer=PROSE["ja"])
    assert malformed(item, Answer(text=PROSE["en"]), Answer(text=PROSE["ja"]))[1] == frozenset()


def test_a_language_that_is_asked_for_is_no_change_of_language() -> None:
    for language, request in (
        ("es", "Answer in Spanish."),
        ("zh", "Translate into Chinese."),
        ("ru", "Russian, please"),
    ):
        assert not kinds(PROSE[language], item=asked(f"{ENGLISH} {request}"))
        assert kinds(PROSE["hi"], item=asked(f"{ENGLISH} {request}")) == {"script"}


def test_a_system_prompt_may_ask_for_a_language() -> None:
    spanish = Item("i", (Message("system", "Always answer in Spanish."), Message("user", ENGLISH)))
    assert not kinds(PROSE["es"], item=spanish)
    assert kinds(PROSE["fr"], item=spanish) == {"language"}


def test_one_language_lost_is_seen_where_it_is_asked_in() -> None:
    item = asked(GERMAN)
    assert kinds(PROSE["en"], base=PROSE["de"], item=item) == {"language"}
    assert kinds(PROSE["ja"], base=PROSE["de"], item=item) == {"script"}
    assert kinds(PROSE["zh"], base=PROSE["ja"], item=asked(PROSE["ja"])) == {"language"}


def test_without_a_prompt_to_go_by_the_base_is_the_yardstick() -> None:
    item = asked("6 * 7 = ?")
    assert kinds(PROSE["es"], item=item) == {"language"}
    assert kinds(PROSE["ru"], item=item) == {"script"}


@pytest.mark.parametrize("language", ["zh", "ja", "th"])
def test_a_language_without_spaces_does_not_lack_them(language: str) -> None:
    item = asked(PROSE[language])
    assert not kinds(PROSE[language], base=PROSE[language][:40], item=item)


def test_a_short_answer_lacks_spaces_where_it_is_the_base_s_without_them() -> None:
    assert kinds("word5of6", base="word 5 of 6") == {"unspaced"}
    assert kinds("ThecapitalisParis", base="Paris", item=asked(answer="The capital is Paris")) == {"unspaced"}
    assert kinds("ThecapitalofFranceisParis.", base="France has Paris as its capital") == {"unspaced"}
    assert not kinds("word5of6", base="word 5")
    assert not kinds('["butter","flour","milk"]', base='["butter", "flour", "milk"]')
    assert not kinds("1,3,6,9", base="1, 3, 6, 9")
    assert not kinds("card_arrival", base="It is card_arrival, I think")


@pytest.mark.parametrize(
    "word", ["Rechtsschutzversicherungen", "CardPaymentWrongExchangeRate", "MKTAYIAKQRQISFVKSHFSRQ"]
)
def test_a_long_word_that_is_one_does_not_lack_spaces(word: str) -> None:
    assert not kinds(word, item=asked(f"What are {word}?"))
    assert not kinds(word, base=f"It should be {word}, I think")
    assert not kinds(word, item=asked(answer=word))


SENTENCE = "The name of the city that you are asking about is Paris, as far as I know."


@pytest.mark.parametrize("joiner", ["▁", "Ġ", "·", "_", "-", "–", "␣", "+", "/", "\n", "\n\n", ".", "|", "%20"])
def test_a_joiner_for_each_space_is_no_space(joiner: str) -> None:
    item = asked("Which city is it?", answer="Paris")
    for base in (SENTENCE, "It is Paris, I think."):
        assert kinds(SENTENCE.replace(" ", joiner), base=base, item=item) == {"unspaced"}
    assert kinds(PROSE["de"].replace(" ", joiner), base=PROSE["de"], item=asked(GERMAN)) == {"unspaced"}
    joined = Answer(text=SENTENCE.replace(" ", joiner))
    assert malformed(item, joined, joined) == (frozenset(), frozenset()), "what both do is no fault"


@pytest.mark.parametrize(
    "text",
    [
        "balance_not_updated_after_bank_transfer",
        "wrong_exchange_rate_for_cash_withdrawal",
        "/usr/local/share/doc/python/examples",
        "https://www.example.org/city/guides/paris/maps/2024/center",
        "butter\nflour\nmilk\neggs\nsugar\nsalt\nyeast\nwater\noil",
        "1\n2\n3\n4\n5\n6\n7\n8\n9",
        "state-of-the-art",
        "a·b·c·d·e·f",
        "2024-11-27T22:31:24",
        "com.example.city.guide.paris.MapService",
        "B-LOC O O O B-PER I-PER O O",
    ],
)
def test_names_paths_and_lists_have_joiners_of_their_own(text: str) -> None:
    assert not kinds(text, base=SENTENCE, item=asked("Which is it?"))


def test_what_the_reference_joins_may_be_joined() -> None:
    for joiner in ("-", "_", "\n"):
        text = "how to get the most out of the day in the city".replace(" ", joiner)
        assert not kinds(
            text, base=SENTENCE, item=asked("Write it.", answer=joiner.join(["what", "is", "to", "be", "in", "it"]))
        )


@pytest.mark.parametrize(
    "word",
    [
        "Donaudampfschifffahrtsgesellschaft",
        "Rechtsschutzversicherungsgesellschaften.",
        "kraftfahrzeughaftpflichtversicherung, donaudampfschifffahrtsgesellschaft",
        "authenticationserviceconfiguration",
        "`authenticationserviceconfiguration_17`",
    ],
)
def test_a_compound_or_an_identifier_is_a_word_though_nobody_else_uses_it(word: str) -> None:
    for base in ("A long word is for instance house.", "It is the authentication service configuration, I think."):
        assert not kinds(word, base=base, item=asked("Say a long word."))


TAGS = " ".join("B-LOC" if i == 17 else "O" for i in range(24))


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        (TAGS, TAGS),
        (TAGS, TAGS.replace("B-LOC", "O")),
        (TAGS, " ".join("B-PER" if i == 3 else "O" for i in range(24))),
        ("0" * 40, "0" * 40),
        ("Row, row, row! " * 5, "Row, row, row! " * 5),
        ("ha " * 60, "ha " * 50),
    ],
)
def test_who_repeats_what_is_asked_for_repeats_nothing(reference: str, text: str) -> None:
    assert repeats(text)
    assert not kinds(text, item=asked(answer=reference))
    assert kinds(text, item=asked(answer="A lens bends the light of the lamp into a narrow beam.")) == {"repetition"}
    assert kinds("", item=asked(answer=reference)) == {"empty"}


def _grid(separator: str, end: str = "\n", size: int = 9) -> str:
    return end.join(separator.join("20"[x != y] for x in range(size)) for y in range(size))


@pytest.mark.parametrize(
    "text",
    [
        _grid(" "),
        _grid(""),
        _grid(", ", "],\n["),
        _grid(" & ", " \\\\\n"),
        _grid(" ").replace("2", "-12.5"),
        "\n".join("XO" * 4 if i % 2 else "OX" * 4 for i in range(8)),
    ],
)
def test_a_matrix_or_a_board_is_no_loop(text: str) -> None:
    assert not kinds(text)


@pytest.mark.parametrize(
    "text",
    [
        ", ".join(map(str, range(1, 60))),
        "\n".join(f"3 x {i} = {3 * i}" for i in range(1, 30)),
        "\n".join(f"| {i} | yes | paid |" for i in range(1, 30)),
        "\n".join(f"{i},yes,paid" for i in range(1, 30)),
        json.dumps([{"id": i, "paid": True} for i in range(1, 30)]),
        " ".join(f"Question {i}: {'yes' if i % 3 else 'no'}." for i in range(1, 30)),
        " ".join(f"Day {i}: {word}." for i, word in enumerate(PROSE["en"].split())),
        f"{PROSE['en']}\n" * 3,
    ],
)
def test_what_counts_up_is_no_loop_by_that(text: str) -> None:
    assert not kinds(text)


@pytest.mark.parametrize("text", ["0 0 0\n" * 20, "0 1 0\n1 0 1\n" * 20, "0 1 0 " * 20, "the lens bends\n" * 9])
def test_rows_that_are_all_alike_are_a_loop(text: str) -> None:
    assert kinds(text) == {"repetition"}


def test_the_two_models_are_measured_alike() -> None:
    texts = ["", "\n" * 9, "no " * 40, PROSE["en"].replace(" ", ""), PROSE["es"], PROSE["zh"], PROSE["en"], "42"]
    for one in texts:
        for other in texts:
            there = malformed(asked(), Answer(text=one), Answer(text=other))
            back = malformed(asked(), Answer(text=other), Answer(text=one))
            assert there == back[::-1]


@given(st.text(), st.text(), st.text())
def test_any_texts_can_be_looked_at(prompt: str, base: str, candidate: str) -> None:
    for of_model in malformed(asked(prompt), Answer(text=base), Answer(text=candidate)):
        assert of_model <= set(KINDS)


def test_answers_of_the_built_in_suites_are_well_formed() -> None:
    """Right ones and wrong ones, each beside another answer to the same row."""
    folder = Path(str(resources.files("ftgate"))) / "suites"
    suites = [path for path in folder.glob("*.jsonl") if not path.stem.endswith(("-answers", "-labelled"))]
    rows = {row["id"]: row for path in suites for row in _lines(path)}
    more = {row["id"]: row["right"] + row["wrong"] for path in folder.glob("*-answers.jsonl") for row in _lines(path)}
    for row in _lines(folder / "safety-250-labelled.jsonl"):
        if row["label"] != "incoherent":
            more.setdefault(row["id"], []).append(row["text"])
    number, faults = 0, []
    for name, row in rows.items():
        texts = [text for text in (row.get("answer"), *more.get(name, [])) if text]
        prompt = row["prompt"] if "prompt" in row else json.dumps(row["messages"], ensure_ascii=False)
        item = asked(prompt, answer=row.get("answer"), name=name)
        for text, other in zip(texts, texts[1:] + texts[:1], strict=True):
            number += 1
            if malformed(item, Answer(text=other), Answer(text=text))[1]:
                faults.append((name, text))
    assert number > 4_000
    # Two of them are rightly found: they answer in English what was asked in another language.
    assert len(faults) <= 4, faults


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


WORDS = st.sampled_from(sorted({word for text in PROSE.values() for word in text.split()}))


@given(st.lists(WORDS, min_size=1, max_size=120, unique=True))
def test_a_text_of_different_words_is_never_malformed_by_itself(words: list[str]) -> None:
    text = " ".join(words)
    assert malformed(asked(text), Answer(text=text), Answer(text=text)) == (frozenset(), frozenset())


@given(st.text(min_size=1, max_size=60), st.integers(4, 20))
def test_a_text_over_and_over_is_found(text: str, times: int) -> None:
    loop = text.strip() * times
    assert repeats(loop) == (len(loop) >= 30), loop


@given(st.text(min_size=1, max_size=40), st.sampled_from(sorted(PROSE)))
def test_a_loop_that_fills_less_than_half_of_an_answer_is_none(text: str, language: str) -> None:
    prose = PROSE[language]
    loop = (text.strip() * 40)[: len(prose) // 2]
    assert not repeats(prose + loop)
