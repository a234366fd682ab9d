"""The root finder of all bounds: the last value that is ruled out, whatever the shape of what is asked."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.stats.interval import edge

PLACES = st.floats(0.001, 0.999)
SHAPES: dict[str, Callable[[float], float]] = {
    "line": lambda t: t,
    "steep": lambda t: math.sinh(40 * t),
    "flat": lambda t: t**9,
    "step": lambda t: math.copysign(1.0, t),
    "stairs": lambda t: math.floor(50 * t) + 0.5,
    "infinite at one end": lambda t: t if t < 0.4 else math.inf,
    "infinite on the other side": lambda t: t if t >= 0 else -math.inf,
}


@pytest.mark.parametrize("shape", SHAPES)
@given(place=PLACES, leftwards=st.booleans())
def test_the_edge_is_the_last_value_ruled_out(shape: str, place: float, leftwards: bool) -> None:
    side = 1 if leftwards else -1

    def margin(t: float) -> float:
        return SHAPES[shape](side * (t - place))

    bound = edge(margin, *((1.0, 0.0) if leftwards else (0.0, 1.0)))
    assert margin(bound) < 0
    assert margin(bound + side * 3e-13) >= 0


@pytest.mark.parametrize("margin", [lambda _: -0.05, lambda t: -0.05 - t, lambda _: -math.inf])
def test_where_everything_is_ruled_out_the_edge_is_where_the_search_began(margin: Callable[[float], float]) -> None:
    assert edge(margin, 0.25, 1.0) == 0.25


@given(place=PLACES)
def test_turned_around_it_finds_the_mirror_image(place: float) -> None:
    straight = edge(lambda t: math.atan(9 * (t - place)), 1.0, -1.0)
    mirrored = edge(lambda t: math.atan(9 * (-t - place)), -1.0, 1.0)
    assert mirrored == -straight


@pytest.mark.parametrize(("shape", "most"), [("line", 16), ("steep", 32), ("stairs", 50)])
def test_it_asks_seldom_where_the_margin_is_smooth(shape: str, most: int) -> None:
    asked: list[float] = []

    def margin(t: float) -> float:
        asked.append(t)
        return SHAPES[shape](t - 0.3141)

    edge(margin, 1.0, 0.0)
    assert len(asked) <= most, "bisection needs 45"
