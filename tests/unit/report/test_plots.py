"""The pictures: drawn from a report alone, the same bytes every time, nothing in them that acts."""

from __future__ import annotations

import re
import struct
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from unit.report import samples, test_escape

from ftgate.report.plots import Picture, pictures, write_pictures
from ftgate.report.plots.style import label
from ftgate.report.render import render_html
from ftgate.report.schema import Report, SliceReport

SVG = "{http://www.w3.org/2000/svg}"
HARMLESS = {"svg", "g", "path", "rect", "use", "defs", "text", "tspan", "clipPath"}


def words_in(drawn: Picture) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(drawn.svg).iter(f"{SVG}text")]


def require_harmless(drawn: Picture) -> None:
    """Known elements, links inside the picture alone, every id its own."""
    root = ET.fromstring(drawn.svg)
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in HARMLESS
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert name != "href" or (value.startswith("#") and value[1:] in ids)
            assert "url(" not in value or re.search(r"url\(#([\w-]+)\)", value)[1] in ids
            assert "://" not in value
    assert drawn.png.startswith(b"\x89PNG")


def slices(n: int, **more: Any) -> list[SliceReport]:
    return [SliceReport(name=f"tag {i}", n=40, base=0.8, candidate=0.7, change=i / 100, **more) for i in range(n)]


@pytest.mark.parametrize("name", ["blocked"])
def test_a_report_is_drawn_the_same_way_every_time(name: str) -> None:
    report: Report = getattr(samples, name)()
    drawn, again = pictures(report), pictures(Report.model_validate_json(report.model_dump_json()))
    assert list(drawn) == ["reliability", "distance", "slices"]
    assert drawn == again
    for found in drawn.values():
        require_harmless(found)
        assert not re.search(r"\d{4}-\d\d-\d\dT|matplotlib\.org|version \d", found.svg)
        assert found.alt in ET.fromstring(found.svg).get("aria-label", "")
        assert "'DejaVu Sans', Verdana, sans-serif" in found.svg
        width, _ = struct.unpack(">II", found.png[16:24])
        assert width == 1200


def test_what_is_drawn_can_be_read_in_the_picture() -> None:
    report = samples.blocked()
    report.measurements["tail"].slices += [
        SliceReport(name="surely", n=40, base=0.8, candidate=0.4, change=0.5, interval=(0.3, 0.7), status="beyond"),
        SliceReport(name="open", n=40, base=0.8, candidate=0.7, change=0.1, interval=(0.01, None), status="worse"),
    ]
    drawn = pictures(report)
    assert {"code", "facts", "all items", "200 · lost 41.2 %"} <= set(words_in(drawn["slices"]))
    assert {"40 · lost 50.0 %, beyond", "40 · lost 10.0 %, significant"} <= set(words_in(drawn["slices"]))
    assert not any("decile" in word for word in words_in(drawn["slices"]))
    assert {"base", "candidate"} <= set(words_in(drawn["reliability"]))
    assert "90 % intervals" in " ".join(words_in(drawn["reliability"]))
    assert "candidate has confidence 83.2 % and accuracy 69.2 % on 1000 items" in drawn["reliability"].alt
    assert "worst code (lost 62.6 %)" in drawn["slices"].alt


def test_what_there_is_nothing_of_is_not_drawn() -> None:
    report = samples.blocked()
    for m in report.measurements.values():
        m.slices, m.details = [], {}
    assert pictures(report) == {}
    assert pictures(report.model_copy(update={"measurements": {}})) == {}


@pytest.mark.parametrize(
    "part",
    [
        {"base": None, "candidate": None, "change": None},
        {"base": 0.0, "candidate": 0.0, "change": None, "n": 0},
        {"change": 1e300, "interval": (-1e300, None)},
        {"change": -40.0, "interval": (None, -3.0)},
        {"change": 0.0, "interval": (0.0, 0.0)},
        {"base": 7.0, "candidate": -2.0, "change": float("inf"), "interval": (float("nan"), float("inf"))},
    ],
)
def test_any_numbers_give_a_picture_or_none(part: dict[str, Any]) -> None:
    report = samples.blocked()
    for m in report.measurements.values():
        known = {"name": "one", "n": 5, "base": 0.5, "candidate": 0.5, "change": 0.0}
        m.slices = [SliceReport(**{**known, **part, "name": name}) for name in ("one", "distance decile 3")]
        m.change, m.interval = None, (None, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for found in pictures(report).values():
            require_harmless(found)
            assert not {"nan", "inf", "-inf"} & {word.lower() for word in words_in(found)}


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_one_bin_and_bins_with_few_items(n: int) -> None:
    report = samples.blocked()
    row = {"low": 0.9, "high": 1.0, "n": n, "confidence": 1.0, "accuracy": 1.0}
    report.measurements["calibration"].details = {"base": {"bins": [row]}, "candidate": {"bins": []}}
    drawn = pictures(report)["reliability"]
    require_harmless(drawn)
    assert drawn.alt == f"Reliability diagram: base has confidence 100.0 % and accuracy 100.0 % on {n} items."


@pytest.mark.parametrize("level", [0.0, 1.0, float("nan")])
def test_any_level_of_confidence(level: float) -> None:
    report = samples.blocked()
    for m in report.measurements.values():
        m.level = level
    assert len(pictures(report)) == 3


def test_many_slices_are_cut_to_the_worst_and_it_is_said() -> None:
    report = samples.blocked()
    report.measurements["forgetting"].slices = slices(40)
    words = words_in(pictures(report)["slices"])
    assert "tag 39" in words
    assert "tag 15" not in words
    assert any("the 24 worst of 40" in word for word in words)


def test_a_report_of_any_size_fits() -> None:
    report = samples.huge()
    report.measurements |= {f"more {i}": report.measurements["tail"] for i in range(200)}
    _, height = struct.unpack(">II", pictures(report)["slices"].png[16:24])
    assert height < 2**14


def test_a_gain_counts_the_other_way() -> None:
    report = samples.blocked()
    report.measurements["target"].slices = slices(3)
    drawn = pictures(report)["slices"]
    assert "worst tag 0 (no change)" in drawn.alt
    assert any("left is worse" in word for word in words_in(drawn))


def test_hostile_names_are_words_in_the_picture_and_on_the_page() -> None:
    report = samples.blocked()
    names = [*test_escape.TRICKS, "$\\frac{1}{0}$", "x" * 500, "]]>", "</svg><script>", "%s{}", "日本語", "\\"]
    for m in report.measurements.values():
        m.slices = [SliceReport(name=name, n=1, base=0.5, candidate=0.4, change=0.2, status=name) for name in names]
    report.measurements["$\\evil"] = report.measurements["tail"].model_copy(update={"unit": "$\\frac"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = pictures(report)
    require_harmless(drawn["slices"])
    words = words_in(drawn["slices"])
    assert "$x^2$ and $$y$$ and :tada:…" in " ".join(words) or any(word.startswith("$x^2$") for word in words)
    assert max(map(len, words)) < 90
    page = render_html(report, drawn)
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "'none'; style-src 'sha256-" in page


@pytest.mark.parametrize("name", test_escape.TRICKS)
def test_a_label_is_one_short_line(name: str) -> None:
    shown = label(name * 3, 30)
    assert len(shown) <= 30
    assert "\n" not in shown
    assert not set(shown) & set("\x00\x1b\u202e")


def test_pictures_are_written_and_those_of_an_earlier_report_removed(tmp_path: Path) -> None:
    drawn = pictures(samples.blocked())
    write_pictures(drawn, tmp_path / "plots")
    names = {f"{name}.{kind}" for name in ("reliability", "distance", "slices") for kind in ("svg", "png")}
    assert {path.name for path in (tmp_path / "plots").iterdir()} == names
    write_pictures({"slices": drawn["slices"]}, tmp_path / "plots")
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"slices.svg", "slices.png"}
    assert (tmp_path / "plots" / "slices.svg").read_text(encoding="utf-8") == drawn["slices"].svg
