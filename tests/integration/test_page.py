"""The page in a real browser: what a reader clicks, types and sees; nothing is loaded and nothing hostile acts."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from support.players import FORGETFUL, Script, longest_common, script
from support.world import World
from unit.github.test_timeline import change, run
from unit.report import samples, test_deployed, test_escape
from unit.report.test_browser import CLOSING, hostile
from unit.report.test_demo_comments import reports

from benchmarks import page as speed
from ftgate.domain import Answer, Model, Question
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import evaluate
from ftgate.github.audit.timeline import timelines
from ftgate.github.audit.timeline_view import write_timelines
from ftgate.jobs.prepare import load_job
from ftgate.planning.compare import compare_reports
from ftgate.planning.compare_view import write_page
from ftgate.progress import SilentProgress
from ftgate.report.items import OUTCOMES, AnswerSide, ItemRow, read_items
from ftgate.report.render import render_html

DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}
MOST_LOADING, MOST_FILTERING = 1500, 100
"""Milliseconds, with 5,000 items."""
TRIES = 5
PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = speed.browser_path()
    if path is None:
        text = f"no browser: none of {', '.join(speed.BROWSERS)} is installed"
        pytest.fail(text) if os.environ.get("CI") else pytest.skip(text)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that blocks, in which items are worse, better, the same, failed and left out."""
    world = World(tmp_path_factory.mktemp("page"))
    rows = [{"id": f"t{i}", "prompt": f"ticket {i} {i % 9}"} for i in range(60)]
    rows += [{"id": f"l{i}", "prompt": f"spell {i}"} for i in range(0, 20, 2)]
    (world.root / "evals" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    play = failing_once(script(FORGETFUL))
    job = load_job(world.policy_path, world.manifest_path)
    out = world.root / "out"
    evaluate(job, out, SilentProgress(), engine=ScriptedEngine(play), judge_engine=ScriptedEngine(play))
    return out


def failing_once(play: Script) -> Script:
    def reply(model: Model, question: Question) -> Answer:
        if model.name == "bot" and question.item_id == "g33":
            return Answer(finish="error", error="the server went away")
        return play(model, question)

    return reply


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[ItemRow]:
    return read_items(folder)


def opened(browser: Browser, file: Path, address: str = "", *, ready: bool = True, **settings: object) -> Page:
    """The page, loaded. It may load nothing else and write nothing to the console. Not ``ready``: it has no script."""
    page = browser.new_context(**{"viewport": DESKTOP, **settings}).new_page()
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: messages.append(dialog.message))
    requests: list[str] = []
    messages: list[str] = []
    page.goto(file.as_uri() + address)
    if ready and settings.get("java_script_enabled", True):
        page.wait_for_selector("html[data-ready]")
    page.set_default_timeout(5000)
    page.requests, page.messages = requests, messages  # type: ignore[attr-defined]
    return page


@pytest.fixture
def page(browser: Browser, folder: Path) -> Iterator[Page]:
    shown = opened(browser, folder / "report.html")
    yield shown
    assert shown.requests == [(folder / "report.html").as_uri()]  # type: ignore[attr-defined]
    assert shown.messages == []  # type: ignore[attr-defined]
    shown.context.close()


def press(page: Page, outcome: str) -> None:
    page.locator(f"#outcomes button:has-text('{outcome}')").click()


def counts(page: Page) -> dict[str, int]:
    """The number on the button of each outcome."""
    texts = [text.rsplit(" ", 1) for text in page.locator("#outcomes button").all_inner_texts()]
    return {name: int(number.replace(",", "")) for name, number in texts}


def count_of(page: Page) -> int:
    return int((page.locator("#count").inner_text()).split(" of ")[0].replace(",", ""))


def listed(page: Page) -> list[str]:
    """The ids at the top of the list."""
    return page.locator("#list .id").all_inner_texts()


def expected(rows: list[ItemRow]) -> dict[str, int]:
    found = Counter(row.outcome for row in rows)
    return {"all": len(rows), **{outcome: found[outcome] for outcome in OUTCOMES}}


def test_the_page_opens_with_what_got_worse_in_the_measurement_that_blocks(page: Page, rows: list[ItemRow]) -> None:
    forgetting = [row for row in rows if row.measurement == "forgetting"]
    assert counts(page) == expected(forgetting)
    assert min(expected(forgetting).values()) == 0  # nobody got better
    assert count_of(page) == expected(forgetting)["worse"] > 50
    assert page.locator("#outcomes [aria-pressed=true]").inner_text().startswith("worse")
    assert not page.locator(".examples").is_visible()


def test_every_item_of_every_measurement_is_there(page: Page, rows: list[ItemRow]) -> None:
    page.select_option("#measurement", label="all")
    press(page, "all")
    assert counts(page) == expected(rows)
    assert all(expected(rows)[outcome] for outcome in ("worse", "better", "same", "failed", "left out"))
    assert count_of(page) == len(rows) > 1000
    for outcome in OUTCOMES:
        press(page, outcome)
        assert count_of(page) == expected(rows)[outcome]
        assert {text.strip() for text in page.locator("#list .outcome").all_inner_texts()} <= {outcome}
    for place, name in enumerate(dict.fromkeys(row.measurement for row in rows)):
        page.select_option("#measurement", value=str(place))
        assert counts(page) == expected([row for row in rows if row.measurement == name])


def test_only_the_rows_in_sight_are_in_the_document(page: Page) -> None:
    page.select_option("#measurement", label="all")
    press(page, "all")
    assert page.locator(".row").count() < 40
    page.locator("#list").evaluate("list => { list.scrollTop = list.scrollHeight; }")
    last = page.locator("#list [role=option]").last
    last.wait_for()
    page.wait_for_function("() => [...document.querySelectorAll('.row')].some((r) => r.ariaPosInSet === r.ariaSetSize)")
    assert page.locator(".row").count() < 40


def test_tag_and_slice(page: Page, rows: list[ItemRow]) -> None:
    page.select_option("#measurement", label="all")
    press(page, "all")
    for tag in ("skill1", "ambiguous", "distance decile 10"):
        page.select_option("#tag", label=tag)
        assert counts(page) == expected([row for row in rows if tag in (*row.tags, *row.slices)])


def test_search_finds_ids_prompts_and_answers(page: Page, rows: list[ItemRow]) -> None:
    press(page, "all")
    of_forgetting = [row for row in rows if row.measurement == "forgetting"]
    page.fill("#query", "SPELL 12")
    assert count_of(page) == sum("spell 12" in row.messages[-1][1] for row in of_forgetting) == 11
    page.fill("#query", "no idea")
    assert count_of(page) == sum("no idea" in a.text for r in of_forgetting for a in r.candidate.answers)
    page.fill("#query", "g199")
    assert listed(page) == ["g199"]
    page.fill("#query", "nobody wrote this")
    assert page.locator("#item").inner_text() == "No item has all of this."
    page.fill("#query", "")
    assert count_of(page) == len(of_forgetting)


def test_sorting(page: Page, rows: list[ItemRow]) -> None:
    page.select_option("#measurement", label="all")
    press(page, "all")
    changes = [
        round(100 * row.change, 1) for row in rows if row.base.score is not None and row.candidate.score is not None
    ]
    for sort, extreme in (("loss", min(changes)), ("gain", max(changes))):
        page.select_option("#sort", value=sort)
        shown = page.locator("#list .change").first.inner_text()
        assert float(shown.removesuffix(" points").replace("−", "-")) == pytest.approx(extreme, abs=0.06)
    page.select_option("#sort", value="suite")
    assert listed(page)[:3] == [row.item for row in rows[:3]]
    page.select_option("#sort", value="far")
    far = max((row for row in rows if row.distance is not None), key=lambda row: row.distance or 0)
    assert f"{far.distance:.3f}" in page.locator("#item dl").inner_text()


def test_an_item_of_multiple_choice_shows_its_options(page: Page, rows: list[ItemRow]) -> None:
    row = next(row for row in rows if row.measurement == "target" and row.outcome == "better")
    page.evaluate(f"location.hash = '#item=target/{row.item}'")
    page.locator(f"#item code:text-is('{row.item}')").wait_for()
    lines = [line.split("\t") for line in page.locator("#item table").inner_text().splitlines()[1:]]
    assert lines[0] == ["option", "base", "candidate"]
    right = next(line for line in lines if "right" in line[0])
    assert right[0] == f"{row.reference} ✓ right"
    assert right[2] == "75.0 % ◀ chosen"
    assert sum("chosen" in line[1] for line in lines) == 1
    assert "distance" not in page.locator("#item").inner_text()


def test_a_judged_item_shows_prompt_reference_both_answers_with_marks_and_grades(
    page: Page, rows: list[ItemRow]
) -> None:
    item = page.locator("#item")
    shown = item.locator("code").inner_text()
    row = next(row for row in rows if (row.measurement, row.item) == ("forgetting", shown))
    texts = item.locator("pre").all_inner_texts()
    assert texts == [row.messages[0][1], row.reference, row.base.answers[0].text, row.candidate.answers[0].text]
    assert "".join(item.locator("pre ins").all_inner_texts()) == "no idea"
    assert item.locator("pre del").count() == 1
    page.uncheck("#marks")
    assert item.locator("pre del, pre ins").count() == 0
    assert item.locator("pre").all_inner_texts() == texts
    grades = item.locator("table").inner_text().splitlines()
    assert grades[:2] == ["The judge's grades", "criterion\tbase\tcandidate"]
    assert [line.split("\t")[0] for line in grades[2:]] == ["helpful", "accurate", "coherent"]
    assert all(
        float(line.split("\t")[1].removesuffix(" %")) > 90 > 10 > float(line.split("\t")[2].removesuffix(" %"))
        for line in grades[2:]
    )


def test_what_failed_and_what_is_left_out_says_why(page: Page) -> None:
    press(page, "failed")
    assert listed(page) == ["g33"]
    assert "the server went away" in page.locator("#item dl").inner_text()
    press(page, "left out")
    assert count_of(page) == 10
    assert "it occurs in the training data (train.jsonl:" in page.locator("#item dl").inner_text()


def test_the_keyboard(page: Page) -> None:
    selected = page.locator("#list [aria-selected=true] .id")
    first, second, third = listed(page)[:3]
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert selected.inner_text() == third
    page.keyboard.press("k")
    assert selected.inner_text() == second
    assert page.url.endswith(f"#item=forgetting/{second}")
    page.keyboard.press("o")
    assert page.evaluate("document.activeElement.id") == "item"
    page.keyboard.press("o")
    assert page.evaluate("document.activeElement.id") == "list"
    page.keyboard.press("End")
    assert selected.inner_text() == listed(page)[-1]
    assert page.locator("#list").get_attribute("aria-activedescendant") == f"row-{count_of(page) - 1}"
    page.keyboard.press("Home")
    assert selected.inner_text() == first
    page.keyboard.press("/")
    page.keyboard.type("jko/")
    assert page.input_value("#query") == "jko/"
    assert count_of(page) == 0
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "list"
    assert page.input_value("#query") == "jko/"
    page.fill("#query", "")
    page.uncheck("#shortcuts")
    page.locator("h1").click()
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.id") != "query"
    assert selected.inner_text() == listed(page)[0]


def test_a_link_leads_to_its_item_whatever_is_filtered(browser: Browser, folder: Path, rows: list[ItemRow]) -> None:
    shown = opened(browser, folder / "report.html", "#item=calibration/c7")
    assert shown.locator("#item code").inner_text() == "c7"
    assert shown.locator("#list [aria-selected=true] .id").inner_text() == "c7"
    assert shown.locator("#answers").evaluate("section => Math.abs(section.getBoundingClientRect().top)") < 900
    press(shown, "worse")
    other = next(row.item for row in rows if row.measurement == "tail" and row.outcome == "same")
    shown.evaluate(f"location.hash = '#item=tail/{other}'")
    shown.locator(f"#item code:text-is('{other}')").wait_for()
    assert shown.locator("#outcomes [aria-pressed=true]").inner_text().startswith("all")
    shown.context.close()


def test_a_link_to_an_unknown_item_says_so_and_shows_no_other(browser: Browser, folder: Path) -> None:
    shown = opened(browser, folder / "report.html", "#item=target/gone%3Cb%3E")
    problem = shown.locator("#answers-problem")
    assert problem.inner_text() == "The link names an item that this page does not have: target/gone<b>"
    assert shown.locator("#item").inner_text() == "Choose an item from the list."
    assert shown.locator("#list [aria-selected=true]").count() == 0
    shown.evaluate("location.hash = '#item=target/%E0%A4%A'")  # no text in any encoding
    shown.wait_for_function("document.getElementById('answers-problem').textContent.endsWith('%E0%A4%A')")
    shown.evaluate("location.hash = '#item=calibration/c7'")
    shown.locator("#item code:text-is('c7')").wait_for()
    assert problem.inner_text() == ""
    shown.context.close()


def test_only_the_tags_of_the_chosen_measurement_can_be_chosen(page: Page, rows: list[ItemRow]) -> None:
    names = [row.measurement for row in rows]
    place = {name: str(list(dict.fromkeys(names)).index(name)) for name in names}

    def offered() -> set[str]:
        return set(page.locator("#tag option").all_inner_texts()) - {"all"}

    page.select_option("#measurement", value=place["tail"])
    of_tail = {tag for row in rows if row.measurement == "tail" for tag in (*row.tags, *row.slices)}
    assert offered() == of_tail
    assert "ambiguous" in of_tail
    page.select_option("#tag", value="ambiguous")
    page.select_option("#measurement", value=place["form"])
    assert "ambiguous" not in offered()
    assert page.input_value("#tag") in ("", "all")
    assert count_of(page) == expected([row for row in rows if row.measurement == "form"])["worse"]


def test_a_page_on_a_block_by_the_deployed_model_opens_with_what_is_worse_than_it(
    browser: Browser, tmp_path: Path
) -> None:
    def item(name: str, *scores: float) -> ItemRow:
        base, candidate, deployed = (AnswerSide(score=score, answers=[]) for score in scores)
        outcome = "better" if scores[1] > scores[0] else "same"
        given = {"base": base, "candidate": candidate, "incumbent": deployed, "outcome": outcome}
        return ItemRow(measurement="forgetting", item=name, messages=[("user", "hi")], **given)

    items = [item("kept", 1.0, 1.0, 1.0), item("nearly", 0.7, 0.7, 0.85), item("lost", 0.0, 0.4, 1.0)]
    file = tmp_path / "report.html"
    file.write_text(render_html(test_deployed.compared("block", 0.2), items=items), encoding="utf-8")
    shown = opened(browser, file)
    assert shown.input_value("#against") == "incumbent"
    assert listed(shown) == ["lost"]
    assert shown.locator("#item b").first.inner_text() == "100 of 100 → 40 of 100"
    shown.select_option("#against", value="base")
    assert counts(shown) == {"all": 3, "worse": 0, "better": 1, "same": 2, "failed": 0, "left out": 0}
    shown.context.close()


def test_without_javascript_there_are_verdict_tables_and_worst_examples(browser: Browser, folder: Path) -> None:
    shown = opened(browser, folder / "report.html", java_script_enabled=False)
    assert shown.locator("header .verdict").is_visible()
    assert shown.locator("section table").first.is_visible()
    assert shown.locator(".examples").is_visible()
    assert not shown.locator("#answers").is_visible()
    assert "With JavaScript, all" in shown.locator("main").inner_text()
    shown.locator(".examples summary").first.click()
    assert shown.locator(".examples pre").first.is_visible()
    shown.context.close()


def test_a_browser_that_cannot_unpack_says_so_and_shows_the_worst_examples(browser: Browser, folder: Path) -> None:
    shown = browser.new_context().new_page()
    shown.add_init_script("delete window.DecompressionStream")
    shown.goto((folder / "report.html").as_uri())
    shown.locator("#answers-problem:has-text('cannot unpack')").wait_for()
    assert shown.locator(".examples").is_visible()
    shown.context.close()


def test_on_paper_are_the_worst_examples_unfolded(page: Page) -> None:
    page.emulate_media(media="print")
    assert not page.locator("#answers").is_visible()
    assert page.locator(".examples").is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".examples pre").first.is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert len(page.pdf()) > 10_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(browser: Browser, folder: Path, scheme: str, viewport: dict[str, int]) -> None:
    shown = opened(browser, folder / "report.html", color_scheme=scheme, viewport=viewport)
    for address in ("", "#item=target/c1", "#item=forgetting/g33"):
        shown.evaluate(f"location.hash = '{address}'")
        shown.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
        found = violations(shown, "#answers" if address else None)
        assert not found, [(v["id"], v["nodes"][0]["html"], v["nodes"][0]["failureSummary"]) for v in found]
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shown.evaluate("document.querySelector('.sentence').style.color = 'gray'")
    assert [v["id"] for v in violations(shown, ".sentence")] == ["color-contrast"]  # it does look
    shown.context.close()


def violations(page: Page, part: str | None) -> list[dict[str, Any]]:
    """What axe has against the whole page or the part with this selector, as all of it takes seconds."""
    listed: list[dict[str, Any]] = Axe().run(page, part).response["violations"]
    return listed


@pytest.fixture(scope="module")
def pages_of_several(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The demo's comparison, and a time line with a release that is worse than the deployed model."""
    out = tmp_path_factory.mktemp("several")
    runs = [(out / name, report) for name, report in reports().items()]
    write_page(compare_reports(runs), out / "compare.html")
    good, bad = {"target": change(0.1, deployed=-0.01)}, {"target": change(0.12, deployed=0.08)}
    records = [run(1, "v1", numbers=good), run(2, "v2", "block", numbers=bad), run(3, "v3", "hold", base="b2")]
    write_timelines(timelines(records, "2025-04-01T09:00:00+00:00"), ["record 4 was removed"], out / "timeline.html")
    return [out / "compare.html", out / "timeline.html"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_on_pages_of_several_runs(
    browser: Browser, pages_of_several: list[Path], scheme: str, viewport: dict[str, int]
) -> None:
    for file in pages_of_several:
        shown = opened(browser, file, color_scheme=scheme, viewport=viewport, ready=False)
        found = Axe().run(shown).response["violations"]
        assert not found, [(v["id"], v["nodes"][0]["html"], v["nodes"][0]["failureSummary"]) for v in found]
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert shown.requests == [file.as_uri()]  # type: ignore[attr-defined]
        assert shown.messages == []  # type: ignore[attr-defined]
        marks = shown.locator("svg.chart .s-block").first.evaluate("mark => getComputedStyle(mark).stroke")
        assert marks == {"light": "rgb(180, 35, 24)", "dark": "rgb(255, 138, 122)"}[scheme]
        shown.context.close()


def test_plots_follow_the_dark_mode(browser: Browser, folder: Path) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        shown = opened(browser, folder / "report.html", color_scheme=scheme)
        ground = "svg:not(.forest) [fill='#ffffff']"
        grounds[scheme] = shown.locator(ground).first.evaluate("element => getComputedStyle(element).fill")
        assert grounds[scheme] == shown.evaluate("getComputedStyle(document.body).backgroundColor")
        ink = shown.locator("svg:not(.forest) text").first.evaluate("element => getComputedStyle(element).fill")
        assert ink != grounds[scheme]
        shown.context.close()
    assert grounds["light"] != grounds["dark"]


def test_no_text_of_a_model_or_suite_acts(browser: Browser, tmp_path: Path) -> None:
    texts = [trick + CLOSING for trick in test_escape.TRICKS if trick.strip()]
    rows = [hostile(text) for text in texts]
    (tmp_path / "report.html").write_text(render_html(samples.blocked(), items=rows), encoding="utf-8")
    shown = opened(browser, tmp_path / "report.html")
    ours = {
        "DIV",
        "P",
        "H3",
        "SPAN",
        "CODE",
        "SMALL",
        "B",
        "A",
        "DL",
        "DT",
        "DD",
        "PRE",
        "DEL",
        "INS",
        "TABLE",
        "CAPTION",
    }
    ours |= {"THEAD", "TBODY", "TR", "TH", "TD"}
    for _ in rows:
        tags = shown.locator("#item, #list").evaluate_all(
            "all => all.flatMap((e) => [...e.querySelectorAll('*')]).map((e) => e.tagName)"
        )
        assert set(tags) <= ours
        assert shown.locator("#item a").evaluate_all(
            "all => all.every((a) => a.getAttribute('href').startsWith('#item='))"
        )
        assert "</script></main><script>alert(1)</script><!--" in shown.locator("#item pre").first.inner_text()
        shown.keyboard.press("j")
    assert shown.locator("#list [aria-selected=true]").get_attribute("aria-posinset") == str(len(rows))
    assert shown.requests == [(tmp_path / "report.html").as_uri()]  # type: ignore[attr-defined]
    assert shown.messages == []  # type: ignore[attr-defined]
    shown.context.close()


def test_marked_words_leave_a_longest_common_subsequence(page: Page) -> None:
    rng = np.random.default_rng(0)
    vocabulary = ["one", "two", "drei", "été", "日本語です", ".", "\n\n", "naïve", "😀", "don't", "(", "مرحبا"]
    pairs = [
        ["".join(w + " " * rng.integers(2) for w in rng.choice(vocabulary, size=rng.integers(12))) for _ in "ab"]
        for _ in range(300)
    ]
    pairs += [["", ""], ["a", ""], ["same words", "same words"], ["a b c", "a\nb  c"]]
    diffs = page.evaluate("pairs => pairs.map(([a, b]) => [wordDiff(a, b), wordsOf(a), wordsOf(b)])", pairs)
    for pair, (sides, *words) in zip(pairs, diffs, strict=True):
        assert ["".join(run["text"] for run in side) for side in sides] == pair
        assert ["".join(side) for side in words] == pair
        kept = ["".join(run["text"] for run in side if run["same"]).split() for side in sides]
        assert "".join(kept[0]) == "".join(kept[1])
        stripped = [[word.strip() for word in side] for side in words]
        same = page.evaluate("runs => runs.filter((r) => r.same).flatMap((r) => wordsOf(r.text)).length", sides[0])
        assert same >= longest_common(*stripped) - 1  # two runs that meet may read as one word
    assert page.evaluate("([a, b]) => wordDiff(a, b)", ["x " * 5000, "y " * 5000]) is None


def test_five_thousand_items_load_and_filter_at_once(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_html(speed.large_report(), items=speed.large_items()), encoding="utf-8")
    shown = opened(browser, file)
    assert shown.locator("#count").inner_text().endswith(" of 5,000 items")
    # One try in time is enough: another program on the machine only adds to a time.
    assert any(speed.load_time(shown, file) < MOST_LOADING for _ in range(TRIES))
    for name, action in speed.ACTIONS.items():
        assert any(speed.time_of(shown, action) < MOST_FILTERING for _ in range(TRIES)), name
    shown.context.close()


@pytest.mark.parametrize(("name", "viewport"), [("page", DESKTOP), ("page-phone", PHONE)])
def test_pictures_for_the_docs(
    browser: Browser, request: pytest.FixtureRequest, tmp_path: Path, name: str, viewport: dict[str, int]
) -> None:
    """With FTGATE_PAGE, the path of a report.html, they are taken of it and kept in docs/pictures."""
    own = os.environ.get("FTGATE_PAGE")
    file = Path(own).resolve() if own else request.getfixturevalue("folder") / "report.html"
    shown = opened(browser, file, viewport=viewport)
    shown.locator("#answers").evaluate("section => section.scrollIntoView()")
    picture = (PICTURES if own else tmp_path) / f"{name}.png"
    shown.screenshot(path=picture)
    assert picture.stat().st_size > 10_000
    shown.context.close()
