"""report.json as the comment on a pull request and as a web page.

Both templates escape by default: every value is escaped unless it is marked as safe. A template that forgets a filter
shows odd characters, but is not a security hole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from ftgate.files import write_whole
from ftgate.report import (
    browser,
    calibration_curve,
    comment_rows,
    deployed,
    escape,
    footnotes,
    forest_svg,
    numbers,
    tables,
)
from ftgate.report.advice.first_step import first_step, more_steps
from ftgate.report.advice.next_steps import next_steps
from ftgate.report.cautions import cautions, unmet_checks
from ftgate.report.explanation import explanation
from ftgate.report.items import DEFINITION, ITEMS, ItemRow
from ftgate.report.links import CommentLinks
from ftgate.report.losses import lost
from ftgate.report.numbers import outcome
from ftgate.report.plots import Picture, pictures, write_pictures
from ftgate.report.schema import Report

MARKER = "<!-- ftgate:comment -->"
"""The comment's first line, by which the next run finds it. Escaping keeps it out of the rest of the comment."""
COMMENT_LIMIT = 60_000
"""Characters. GitHub allows 65,536; the rest is for the history."""
EXPENDABLE = (
    "slices",
    "coverage",
    "provenance",
    "calibration curve",
    "controls",
    "regressions",
    "measurements",
    "checklist",
    "worst answers",
    "next steps",
    "table",
)
"""Sections from least to most important: the order in which a comment that is too long drops them."""
BLANK = 3
"""So much white space at the end of an answer is named."""


class SafeMarkdown(str):
    """Markdown that ftgate wrote itself, or that is already escaped."""

    __slots__ = ()


def render_comment(report: Report, *, limit: int = COMMENT_LIMIT, links: CommentLinks | None = None) -> str:
    """The comment in GitHub Markdown, at most ``limit`` characters; it ends with a list of the dropped sections.

    ``links`` are where the comment can lead; without any it leads nowhere.
    """
    template = _markdown().get_template("comment.md.j2")
    parts = {
        **_parts(report),
        **_comment_parts(report),
        "links": SafeMarkdown((links or CommentLinks()).row(outcome(report))),
    }

    def without(dropped: Sequence[str]) -> str:
        text = template.render(**parts, dropped=dropped)
        return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"

    dropped: list[str] = []
    remaining = list(EXPENDABLE)
    while len(text := without(dropped)) > limit and remaining:
        dropped.append(remaining.pop(0))
    # Dropping a large section can make room for smaller ones that were dropped before it: put those back.
    for section in reversed(dropped[:-1]):
        fewer = [name for name in dropped if name != section]
        if len(fuller := without(fewer)) <= limit:
            dropped, text = fewer, fuller
    return text


def render_html(
    report: Report,
    drawn: Mapping[str, Picture] | None = None,
    items: Sequence[ItemRow] = (),
    *,
    most: int | None = None,
    checked: str = "",
) -> str:
    """A self-contained page that loads nothing. The pictures in ``drawn`` are inlined, and ``items`` can be browsed.

    ``checked`` says what was checked of a report that was read from a file. ``most``: how many characters of items it
    holds, by default ``browser.MOST_DATA``.
    """
    # Both kinds of drawing consist of ftgate's own elements, with untrusted text escaped inside them.
    inline = {name: Markup(drawing.svg) for name, drawing in (drawn or {}).items()}  # noqa: S704
    forest = Markup(forest_svg.forest(report))  # noqa: S704
    style, script = browser.source("report.css"), browser.script()
    packed = browser.pack(report, items, most=most or browser.MOST_DATA) if items else None
    return (
        _html()
        .get_template("report.html.j2")
        .render(
            **_parts(report),
            forest=forest,
            checked=checked,
            pictures=inline,
            answers=packed,
            items_file=ITEMS,
            outcome_words=DEFINITION,
            heading_facts=tables.heading_facts(report),
            # ftgate's own files: escaping them would break them.
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            content_policy=Markup(browser.content_policy(style, script)),  # noqa: S704
        )
    )


def render_index(title: str, text: str = "", links: Mapping[str, str] | None = None) -> str:
    """A small page beside reports: a text, and ``links`` as addresses by name, which ftgate made itself."""
    return _html().get_template("index.html.j2").render(title=title, text=text, links=links or {})


def render_page(template: str, **parts: Any) -> str:
    """A self-contained page of another kind, without a script; it loads nothing. Drawings must be ``Markup``."""
    style = browser.source("report.css") + browser.source("compare.css")
    policy = browser.content_policy(style)
    # ftgate's own file and hash: escaping them would break them.
    return _html().get_template(template).render(style=Markup(style), content_policy=Markup(policy), **parts)  # noqa: S704


def write_rendered(
    report: Report,
    directory: Path,
    items: Sequence[ItemRow] = (),
    note: Callable[[str], None] | None = None,
    *,
    checked: str = "",
) -> None:
    """Write comment.md, the pictures and report.html into ``directory``, each whole or not at all.

    The comment comes first: it takes a moment, and the drawing library alone a second to import. Where drawing fails,
    ``note`` is told, and the page has no pictures; without ``note`` that is an error. ``checked`` is for the page.
    """
    write_whole(directory / "comment.md", render_comment(report))
    try:
        drawn = pictures(report)
    except Exception as error:
        if note is None:
            raise
        note(f"warning: the report has no pictures: {type(error).__name__}: {error}")
        drawn = {}
    write_pictures(drawn, directory / "plots")
    write_whole(directory / "report.html", render_html(report, drawn, items, checked=checked))


def _parts(report: Report) -> dict[str, Any]:
    """The variables of both templates."""
    with_curve = calibration_curve.with_bins(report)
    steps = next_steps(report)
    return {
        "report": report,
        "marker": SafeMarkdown(MARKER),
        "headline": numbers.HEADLINES[outcome(report)],
        "symbol": numbers.SYMBOLS[outcome(report)],
        "lost": lost(report),
        "why": explanation(report),
        "cautions": cautions(report),
        "rows": tables.table(report),
        "interval_heading": tables.interval_heading(report),
        "deployed": deployed.HEADING if deployed.compared(report) else "",
        "concerns": tables.concerns(report),
        "first_step": first_step(report, steps),
        "may_merge": report.verdict == "allow",
        "more_steps": more_steps(report, steps),
        "hardest_hit": tables.hardest_hit(report),
        "hardest_hit_rule": tables.HARDEST_HIT,
        "covered": tables.covered(report),
        "gaps": tables.gaps(report),
        "has_slices": any(m.slices for m in report.measurements.values()),
        "slices_rule": tables.slices_rule(report),
        "scales": footnotes.scales(report),
        "not_gated": footnotes.not_gated(report),
        "curve_status": "" if with_curve is None else with_curve.status,
        "bins": calibration_curve.bin_rows(calibration_curve.bins_of(report)),
        "controls": tables.controls(report),
        "provenance": tables.provenance(report),
        "timing": tables.timing(report),
        "stopping": tables.stopping(report),
    }


def _comment_parts(report: Report) -> dict[str, Any]:
    """The variables of the comment alone."""
    return {
        "emoji": numbers.EMOJI[outcome(report)],
        "brief_tables": comment_rows.brief_tables(report),
        "below": footnotes.below(report, errors=False),
        "lead": comment_rows.lead(report),
        "slices": comment_rows.slices(report),
        "sections": comment_rows.sections(report),
        "checks": comment_rows.checks(report),
        "unmet_checks": unmet_checks(report)[: len(comment_rows.checks(report).failed)],
        "identity": comment_rows.identity(report),
        "chart": calibration_curve.mermaid(calibration_curve.bins_of(report)),
    }


@cache
def _markdown() -> Environment:
    """The environment of the comment: every value is escaped as inline text unless it is ``SafeMarkdown``."""

    def harmless(value: Any) -> str:
        return value if isinstance(value, SafeMarkdown) else escape.inline(str(value), 400)

    # Autoescape would write HTML entities, which are not enough for Markdown; `finalize` escapes for it instead.
    env = Environment(
        loader=PackageLoader("ftgate.report"),
        autoescape=False,  # noqa: S701
        finalize=harmless,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= _filters(_marked_safe)
    env.filters |= {
        "inline": _marked_safe(escape.inline),
        "prose": _marked_safe(escape.prose),
        "code": _marked_safe(escape.code),
        "block": _marked_safe(escape.block),
    }
    env.filters |= {
        "figure": _marked_safe(str),
        "unbroken": _marked_safe(_unbroken),
        "answer": _marked_safe(_answer),
        "tick": _marked_safe(tables.tick),
    }
    return env


@cache
def _html() -> Environment:
    """The environment of the web page: control characters are removed, then jinja escapes HTML."""

    def readable(value: Any) -> Any:
        return value if isinstance(value, Markup) or not isinstance(value, str) else escape.clean(value)

    env = Environment(
        loader=PackageLoader("ftgate.report"),
        autoescape=select_autoescape(["html", "html.j2"], default=True),
        finalize=readable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= _filters(lambda function: function)
    env.filters |= {"tick": tables.tick, "clip": escape.clip, "prose": _prose_html}
    return env


def _filters(mark: Callable[[Callable[..., str]], Callable[..., str]]) -> dict[str, Callable[..., Any]]:
    formatters: dict[str, Callable[..., str]] = {
        "score": numbers.score,
        "change": numbers.change,
        "interval": numbers.interval,
        "level": numbers.level,
        "count": numbers.count,
        "percent": numbers.percent,
    }
    shared: dict[str, Callable[..., Any]] = {name: mark(function) for name, function in formatters.items()}
    return shared | {
        "badge": numbers.badge,
        "slice_status": numbers.slice_status,
        "title_of": numbers.title,
        "flips": tables.flips,
        "details": tables.details,
    }


def _prose_html(text: str, limit: int) -> Markup:
    return Markup(escape.prose_html(text, limit))  # noqa: S704 - all but its own code elements is escaped


def _unbroken(text: str) -> str:
    """``text`` with non-breaking spaces, so that a number stays on one line with its unit."""
    return text.replace(" ", "\u00a0")


def _answer(text: str) -> str:
    """The answer on one line. White space at its end is counted: an answer that went on with it looks complete."""
    if not text.strip():
        return "_(nothing)_"
    blank = len(text) - len(text.rstrip())
    after = f" _(then {numbers.count(blank)} characters of white space)_" if blank >= BLANK else ""
    return escape.inline(text, 200) + after


def _marked_safe(function: Callable[..., str]) -> Callable[..., str]:
    return lambda *args, **kwargs: SafeMarkdown(function(*args, **kwargs))
