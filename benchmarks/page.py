"""How fast the page of a large run is in a real browser: to load it, to filter, to search, to step through items."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

from ftgate.report.items import OUTCOMES, AnswerSide, ItemRow, ModelAnswer
from ftgate.report.render import render_html
from ftgate.report.schema import MeasurementReport, Report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ITEMS, LOADS = 5000, 5


def browser_path() -> str | None:
    """The browser that is installed; None without one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


@contextmanager
def open_browser(path: str, **settings: object) -> Iterator[Page]:
    """A page in a headless Chromium. A container's root may not use the sandbox; the page loads nothing."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser.new_context(**settings).new_page()  # type: ignore[arg-type]
        browser.close()


def large_report() -> Report:
    """A report of three measurements that says little: the page's size is that of its items."""
    m = MeasurementReport(
        status="block", base=0.8, candidate=0.6, change=0.25, unit="relative drop", worse="up", interval=(0.2, 0.3),
        level=0.9, n=ITEMS, method="paired bootstrap", limits={"block": 0.1}, reason="it is beyond the limit",
    )  # fmt: skip
    names = ("target", "forgetting", "tail")
    return Report(
        verdict="block", reasons=["forgetting"], name="large", measurements=dict.fromkeys(names, m), checklist=[],
        controls={}, provenance={}, timing={}, engine_starts=1,
    )  # fmt: skip


def large_items(n: int = ITEMS, seed: int = 0) -> list[ItemRow]:
    """``n`` items with prompts of 60 words and answers of 120, of which a fifth got worse and a fifth better."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(["".join(rng.choice(letters, size=rng.integers(2, 11))) for _ in range(20_000)])

    def text(length: int) -> str:
        return " ".join(rng.choice(words, size=length))

    rows = []
    for i in range(n):
        answer = text(120)
        other = answer if i % 5 > 1 else f"{answer[:300]} {text(60)}"
        scores = (0.8, 0.8) if i % 5 > 1 else (0.9, 0.9 * rng.random()) if i % 5 else (0.1, 0.1 + 0.9 * rng.random())
        rows.append(
            ItemRow(
                measurement=("target", "forgetting", "tail")[i % 3],
                item=f"item-{i:05}",
                outcome=OUTCOMES[2] if i % 5 > 1 else OUTCOMES[0] if i % 5 else OUTCOMES[1],
                messages=[("user", text(60))],
                reference=text(20),
                tags=[f"tag {i % 12}"],
                line=i + 1,
                base=AnswerSide(score=scores[0], answers=[ModelAnswer(text=answer)], grades={"helpful": scores[0]}),
                candidate=AnswerSide(score=scores[1], answers=[ModelAnswer(text=other)], grades={"helpful": scores[1]}),
            )
        )
    return rows


def load_time(page: Page, path: Path) -> float:
    """Milliseconds from the start of loading until every item can be browsed."""
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    return float(page.locator("html").get_attribute("data-ready") or "nan")


def time_of(page: Page, action: str) -> float:
    """Milliseconds that a piece of JavaScript takes, layout included."""
    return float(
        page.evaluate(
            f"() => {{ const from = performance.now(); {action}; document.body.offsetHeight; "
            "return performance.now() - from; }"
        )
    )


def press(outcome: int) -> str:
    """JavaScript that presses the button of an outcome."""
    return f"document.querySelector('[data-outcome=\"{outcome}\"]').click()"


def type_in(text: str) -> str:
    """JavaScript that searches for ``text``."""
    return f"const q = document.getElementById('query'); q.value = '{text}'; q.dispatchEvent(new Event('input'))"


ACTIONS = {
    "filter: better": press(1),
    "filter: same": press(2),
    "first search": type_in("ab"),
    "search": type_in("abc"),
    "next item": "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'j', bubbles: true}))",
}


def main() -> None:
    """Print sizes and times."""
    path = browser_path()
    if path is None:
        print(f"no browser: none of {', '.join(BROWSERS)} is installed")
        return
    with tempfile.TemporaryDirectory() as folder, open_browser(path) as page:
        file = Path(folder) / "report.html"
        file.write_text(render_html(large_report(), items=large_items()), encoding="utf-8")
        print(f"{ITEMS} items, {file.stat().st_size / 1e6:.1f} MB")
        loads = [load_time(page, file) for _ in range(LOADS)]
        print(f"{'load':<20}{statistics.median(loads):>8.0f} ms (of {LOADS}: {min(loads):.0f} to {max(loads):.0f})")
        for name, action in ACTIONS.items():
            print(f"{name:<20}{time_of(page, action):>8.1f} ms")
