"""The hook that makes a site of the pages: links, drawn pictures, and nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from mkdocs.exceptions import PluginError

from scripts import docs_site


@pytest.mark.parametrize("page", sorted(docs_site.DOCS.glob("*.md")), ids=lambda page: page.name)
def test_the_drawn_pictures_are_those_of_the_pages(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = docs_site.with_pictures(text, page.name)
    assert "```mermaid" not in shown
    assert (shown == text) == ("```mermaid" not in text)


def test_a_picture_that_was_drawn_from_another_text_stops_the_build() -> None:
    with pytest.raises(PluginError, match=r"docs_site\.py"):
        docs_site.with_pictures("```mermaid\nflowchart LR\n```", "architecture.md")


@pytest.mark.parametrize(
    ("uri", "markdown", "shown"),
    [
        ("index.md", "[a](docs/github.md#steps)", "[a](github.md#steps)"),
        ("index.md", "![a](docs/pictures/comment.png)", "![a](pictures/comment.png)"),
        ("index.md", "[a](CONTRIBUTING.md), [b](#install)", "[a](contributing.md), [b](#install)"),
        ("index.md", "[the demo](examples/tinyworld)", "the demo"),
        ("index.md", "[a](https://example.com/x)", "[a](https://example.com/x)"),
        ("sources.md", "[a](../README.md#install)", "[a](index.md#install)"),
        ("suites.md", "[card](../ftgate/suites/general-200.md)", "[card](suites/general-200.md)"),
        ("decisions/0005-calibration-pass-factor.md", "[a](../statistics.md)", "[a](../statistics.md)"),
        ("suites/general-200.md", "[a](../../docs/suites.md)", "[a](../suites.md)"),
    ],
)
def test_links_lead_where_the_site_has_the_page(uri: str, markdown: str, shown: str) -> None:
    assert docs_site.with_links(markdown, uri) == shown


def test_a_link_to_nothing_stops_the_build() -> None:
    with pytest.raises(PluginError, match=r"index\.md: there is no docs/nothing\.md"):
        docs_site.with_links("[a](docs/nothing.md)", "index.md")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>'),
        ("a.html", '<link rel="stylesheet" href="//cdn.example/x.css">'),
        ("a.html", '<img alt="x" srcset="https://cdn.example/x.png 2x">'),
        ("a.html", '<div style="background: url(https://cdn.example/x.png)">'),
        ("a.css", '@import "https://cdn.example/x.css";'),
        ("a.css", "@font-face { src: url('https://cdn.example/x.woff2') }"),
        ("a.svg", '<svg><image href="https://cdn.example/x.png"/></svg>'),
    ],
)
def test_what_is_loaded_from_elsewhere_is_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert docs_site.loads_from_elsewhere(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<a href="https://example.com">text</a> <img src="pictures/x.png"> <script src="x.js"></script>'),
        ("a.css", "a { background: url(data:image/png;base64,AAAA) }"),
        ("a.svg", '<svg xmlns="http://www.w3.org/2000/svg"><use href="#a"/></svg>'),
    ],
)
def test_links_to_follow_and_own_files_are_no_loads(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert not docs_site.loads_from_elsewhere(tmp_path)
