"""The picture of a comparison: every run's gain on its task against what it lost, and the front that nobody beats."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from ftgate.planning.compare import Contender, Group
from ftgate.planning.compare_rows import STATUS_OF, blocked_by, shown
from ftgate.report import numbers, svg
from ftgate.report.escape import clip

WIDTH, HEIGHT = 760, 330
LEFT, RIGHT, TOP, BOTTOM = 70, 540, 34, 276
MOST_LOSS = 2.0
"""Shares of a limit: what lost more stands at the right border, with its loss beside it."""
LABEL_HEIGHT = 16


@dataclass(frozen=True, slots=True)
class _Point:
    contender: Contender
    x: float
    y: float
    beyond: bool


def front_plot(group: Group) -> Markup:
    """The plot as SVG; empty if fewer than two runs have both a gain and a loss."""
    measured = [c for c in group.contenders if c.gain is not None and c.loss is not None]
    if len(measured) < 2:
        return Markup("")
    gains = [c.gain or 0.0 for c in measured]
    low, high = min(*gains, 0.0), max(*gains, 0.0)
    room = 0.08 * (high - low or 1.0)
    points = [_point(c, low - room, high + room) for c in measured]
    parts = [*_axes(low, high, room), *_front(group, points), *_points(points)]
    names = "; ".join(
        f"{shown(c.label)}: {numbers.change(c.gain, 'absolute gain')}, {_loss(c.loss or 0.0)}" for c in measured
    )
    # The drawing consists of ftgate's own elements, with untrusted text escaped inside them.
    return Markup(svg.drawing("chart", WIDTH, HEIGHT, f"Gain against loss. {names}", parts))  # noqa: S704


def _point(contender: Contender, low: float, high: float) -> _Point:
    gain, loss = contender.gain or 0.0, contender.loss or 0.0
    x = _x(min(max(loss, 0.0), MOST_LOSS))
    return _Point(contender, x, BOTTOM - (gain - low) / (high - low) * (BOTTOM - TOP), loss > MOST_LOSS)


def _x(share: float) -> float:
    return LEFT + share / MOST_LOSS * (RIGHT - LEFT)


def _axes(low: float, high: float, room: float) -> list[str]:
    limit = _x(1.0)
    parts = [
        f'<rect class="beyond" x="{limit:.1f}" y="{TOP}" width="{RIGHT - limit:.1f}" height="{BOTTOM - TOP}"/>',
        svg.line("limit", limit, TOP, limit, BOTTOM),
        svg.line("axis", LEFT, BOTTOM, RIGHT, BOTTOM),
        svg.line("axis", LEFT, TOP, LEFT, BOTTOM),
        svg.text("gain on the task (higher is better)", LEFT, 16),
        svg.text("no loss beyond its limit", limit - 8, TOP + 14, anchor="end"),
        svg.text("a loss beyond its limit", limit + 8, TOP + 14),
        svg.text("largest loss, as a share of its limit (further left is better)", LEFT, BOTTOM + 40),
    ]
    for share, words in ((0.0, "nothing lost"), (0.5, "half of it"), (1.0, "at the limit"), (2.0, "twice it or more")):
        anchor = {0.0: "start", 2.0: "end"}.get(share, "middle")
        parts.append(svg.text(words, _x(share), BOTTOM + 18, anchor=anchor))
    for gain in (high, 0.0, low) if low < 0 else (high, 0.0):
        y = BOTTOM - (gain - low + room) / (high - low + 2 * room) * (BOTTOM - TOP)
        parts.append(svg.text(numbers.points(gain).removesuffix(" points"), LEFT - 8, y + 4, anchor="end"))
        parts.append(svg.line("axis", LEFT - 4, y, LEFT, y))
    return parts


def _front(group: Group, points: list[_Point]) -> list[str]:
    """The steps along the front: whatever lies right of or below them is beaten."""
    on = sorted((p for p in points if p.contender.label in group.front), key=lambda p: (p.x, p.y))
    if len(on) < 2:
        return []
    path = f"M{on[0].x:.1f},{on[0].y:.1f}" + "".join(f" H{p.x:.1f} V{p.y:.1f}" for p in on[1:])
    return [f'<path class="front" d="{path}"/>']


def _points(points: list[_Point]) -> list[str]:
    parts = []
    for column in ([p for p in points if p.x <= _x(1.0)], [p for p in points if p.x > _x(1.0)]):
        heights = svg.spaced([p.y for p in column], LABEL_HEIGHT, most=BOTTOM - 4)
        for p, height in zip(column, heights, strict=True):
            c = p.contender
            why = _loss(c.loss or 0.0) if p.beyond else blocked_by(c)
            words = f"{clip(shown(c.label, 22), 22)}{f': {why}' if why else ''}"
            mark = svg.mark(STATUS_OF[numbers.outcome(c.report)], p.x, p.y)
            parts += [mark, svg.text(words, p.x + 12, height + 4, "name")]
    return parts


def _loss(share: float) -> str:
    """``4.8 × limit``, ``22 % of the limit``."""
    if share <= 0:
        return "nothing lost"
    if share > 1:
        return f"{numbers.decimal(share, 1)} × limit"
    return f"{numbers.decimal(100 * share, 0)} % of the limit"
