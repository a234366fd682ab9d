"""The data of the page's browser: what they hold, what fits, and that no text in them can act."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from unit.report import samples, test_escape
from unit.report.test_render import Page

from ftgate.errors import ConfigurationError
from ftgate.report import browser, items
from ftgate.report.escape import visible
from ftgate.report.items import ITEMS, AnswerSide, ItemRow, ModelAnswer, Outcome, packed_items, read_items
from ftgate.report.render import render_html, write_rendered

CLOSING = "</script></main><script>alert(1)</script><!--"


def side(text: str, score: float | None = 1.0, **more: Any) -> AnswerSide:
    return AnswerSide(score=score, answers=[ModelAnswer(text=text)], **more)


def row(text: str = "yes", name: str = "q1", outcome: Outcome = "worse", change: float = -1.0, **more: Any) -> ItemRow:
    filled = {"measurement": "forgetting", "messages": [("user", text)], "base": side(text)}
    return ItemRow(**filled | {"item": name, "outcome": outcome, "candidate": side(text, 1.0 + change)} | more)


def hostile(trick: str) -> ItemRow:
    """A row with ``trick`` wherever a suite or a model can write."""
    of = side(trick, grades={trick: 0.5}, options=[-0.1, -3.0])
    of.answers[0].note = trick
    return ItemRow(
        measurement=trick or "none", item=trick, outcome="worse", why=trick, messages=[(trick, trick)], reference=trick,
        choices=[trick, "b"], tags=[trick], slices=[trick], distance=0.5, base=of, candidate=of, incumbent=of,
    )  # fmt: skip


@functools.cache
def harmless_page() -> list[tuple[str, tuple[str, ...]]]:
    return Page(render_html(samples.allowed(), items=[hostile("harmless")])).seen


def unpacked(page: str) -> dict[str, Any]:
    """The data in a page."""
    block = re.search(r'id="answers-data">([^<]*)</script>', page)
    return json.loads(gzip.decompress(base64.b64decode(block[1])))


@test_escape.with_tricks
@given(test_escape.HOSTILE)
def test_no_text_of_an_item_can_leave_the_data(text):
    page = render_html(samples.allowed(), items=[hostile(text + CLOSING)])
    assert Page(page).seen == harmless_page()
    assert [tag for tag, _ in Page(page).seen].count("script") == 2
    assert not set(json.dumps(unpacked(page), ensure_ascii=False)) & set("\x00\x1b\u202e\u200b\u2066\ufeff")


@test_escape.with_tricks
@given(test_escape.HOSTILE)
def test_unsafe_characters_are_shown_as_their_code_points(text):
    shown = visible(text, 10_000)
    assert not set(shown) & set("\x00\x08\x1b\u202e\u200b\u2066\ufeff\ud800")
    assert visible(shown, 100_000) == shown
    assert text.count("\u202e") <= shown.count("[U+202E]")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb", "a[U+202E]b"),
        ("\x1b[31mred", "[U+001B][31mred"),
        ("one\r\ntwo\tthree", "one\ntwo\tthree"),
        ("stray\rreturn", "stray[U+000D]return"),
        ("a\U000e0041", "a[U+E0041]"),
        ("👩\u200d💻 na\u0301ive", "👩\u200d💻 na\u0301ive"),
        ("abcdef", "abc… (3 more characters)"),
    ],
)
def test_what_a_reader_sees_of_a_text(text, shown):
    assert visible(text, 3 if text == "abcdef" else 100) == shown


class Elements(HTMLParser):
    """The text inside of each element of one tag."""

    def __init__(self, text: str, tag: str) -> None:
        super().__init__()
        self.tag, self.texts, self.policy, self.inside = tag, list[str](), "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.inside = tag == self.tag
        self.policy = (
            dict(attrs).get("content", "") if ("http-equiv", "Content-Security-Policy") in attrs else self.policy
        )

    def handle_data(self, data):
        if self.inside:
            self.texts.append(data)
            self.inside = False


def test_the_policy_allows_the_page_s_own_style_and_code_by_hash_and_nothing_else():
    page = render_html(samples.blocked(), items=[row()])
    policy = Elements(page, "style").policy
    for kind, text in (("style", Elements(page, "style").texts[0]), ("script", Elements(page, "script").texts[1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert 'style="' not in page


def test_the_code_never_makes_markup_of_a_text():
    code = browser.script()
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "DOMParser",
        "srcdoc",
    ):
        assert way not in code
    assert not re.findall(r"\b(?:fetch|XMLHttpRequest|import|WebSocket|sendBeacon)\s*\(", code)


def test_a_page_without_items_has_no_code():
    page = render_html(samples.blocked())
    assert "<script" not in page
    assert "Items that got worse" in page


def test_every_item_is_in_the_page_with_all_that_is_known():
    of = side("B", 0.0, options=[-3.0, -0.05], grades={"helpful": 0.25})
    rows = [
        row(choices=["A", "B"], reference="A", tags=["de"], slices=["topic 1"], line=7, distance=0.25, candidate=of),
        row(name="q2", outcome="left out", why="it occurs in the training data (train.jsonl:3)"),
    ]
    data = unpacked(render_html(samples.blocked(), items=rows))
    first, second = data["items"]
    texts = data["texts"]
    assert texts[first["prompt"][0][1]] == "yes"
    assert [texts[i] for i in first["choices"]] == ["A", "B"]
    assert first["choices"][0] == first["reference"]
    assert first["tags"] == ["de", "topic 1"]
    assert (first["line"], first["distance"]) == (7, 0.25)
    assert first["candidate"]["grades"] == {"helpful": 0.25}
    assert second["why"] == "it occurs in the training data (train.jsonl:3)"
    assert len(texts) == len(set(texts))
    assert data["measurements"] == [
        {"name": "forgetting", "title": data["measurements"][0]["title"], "words": {}, "confidence": False}
    ]
    assert data["about"] == 0


def test_scores_that_are_words_elsewhere_are_words_here():
    report = samples.blocked()
    report.measurements["safety"] = report.measurements["tail"].model_copy(update={"unit": "rise in compliance"})
    data = unpacked(render_html(report, items=[row(measurement="safety")]))
    assert data["measurements"][0]["words"] == {"1": "refused", "0.5": "incoherent", "0": "complied"}


def test_a_page_too_small_for_all_keeps_what_changed_most_and_names_the_file_with_the_rest():
    rows = [row(f"text {i} {'x' * 500}", f"q{i}", change=-i / 100) for i in range(100)]
    rows.append(row("failed", "f", "failed", -1.0))
    page = render_html(samples.blocked(), items=rows, most=20_000)
    kept = [item["id"] for item in unpacked(page)["items"]]
    assert kept == [f"q{i}" for i in range(100 - len(kept), 100)]
    assert 5 < len(kept) < 40
    text = " ".join(page.split())
    assert f"The {len(kept)} items that changed most are shown, of 101. All are in <code>{ITEMS}</code>" in text
    assert "items that changed most are shown" not in render_html(samples.blocked(), items=rows)


def test_a_page_that_is_too_large_once_packed_keeps_fewer():
    rows = [row(hashlib.sha512(str(i).encode()).hexdigest() * 3, f"q{i}", change=-i / 100) for i in range(100)]
    packed = browser.pack(samples.blocked(), rows, packed=5_000)
    assert len(base64.b64decode(packed.data)) <= 5_000
    assert 0 < packed.shown < 100
    assert packed.of == 100


def test_a_very_long_answer_is_cut_and_says_so():
    page = render_html(samples.blocked(), items=[row("x" * (browser.LONGEST_TEXT + 5))])
    assert any(text.endswith("… (5 more characters)") for text in unpacked(page)["texts"])


@given(test_escape.HOSTILE)
def test_items_are_read_as_they_were_written(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("items")
    (folder / ITEMS).write_bytes(packed_items([hostile(text), row()]))
    again = read_items(folder)
    assert again == [hostile(text), row()]
    whole = (folder / ITEMS).read_bytes()
    (folder / ITEMS).write_bytes(packed_items(again))
    assert (folder / ITEMS).read_bytes() == whole


def test_a_folder_without_items_has_none(tmp_path):
    assert read_items(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"no gzip", "cannot be unpacked"),
        (gzip.compress(b'{"item": 3}\n', mtime=0), f"{ITEMS}:1: "),
        (gzip.compress(b'{"item": 3}\n', mtime=0)[:-12], "cannot be unpacked"),
    ],
    ids=["not packed", "not a row", "cut"],
)
def test_a_broken_file_of_items_is_named(tmp_path, content, named):
    (tmp_path / ITEMS).write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        read_items(tmp_path)
    assert named in caught.value.message
    assert caught.value.hint == "run `ftgate decide` again"


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    (tmp_path / ITEMS).write_bytes(packed_items([row() for _ in range(50)]))
    monkeypatch.setattr(items, "LARGEST", 1000)
    with pytest.raises(ConfigurationError, match="unpacks to more than 1,000 bytes"):
        read_items(tmp_path)


def test_rendering_twice_gives_the_same_page(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_rendered(samples.blocked(), tmp_path / name, [row()])
    assert (tmp_path / "one" / "report.html").read_bytes() == (tmp_path / "two" / "report.html").read_bytes()


def test_the_head_of_the_page_says_what_was_judged():
    report = samples.blocked()
    report.provenance |= {"commit": "0123456789abcdef", "incumbent": {"reference": "hf://acme/old", "digest": None}}
    report.provenance |= {"finished": "2026-03-01T10:00:00+00:00", "device": "NVIDIA H100"}
    head = render_html(report).split("</header>")[0]
    for text in (
        "hf://Qwen/Qwen2.5-7B-Instruct · sha256:3f9c1d7ab24e…",
        "./adapters/reckless",
        "hf://acme/old",
        "0123456789ab",
    ):
        assert text in head
    assert "2026-03-01 10:00:00 UTC" in head
    assert "NVIDIA H100" in head
    assert "deployed model" not in render_html(samples.blocked()).split("</header>")[0]
