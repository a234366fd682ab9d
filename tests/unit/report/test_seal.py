"""Whatever is edited alone in a stored report is refused, and the message names the part."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from unit.report import samples
from unit.report.test_browser import row
from unit.report.test_demo_comments import reports

from ftgate.cli.main import cli
from ftgate.errors import ConfigurationError
from ftgate.report.items import ITEMS, packed_items
from ftgate.report.reading import read_report
from ftgate.report.schema import Report, write_report
from ftgate.report.seal import seal_of, seal_problems

FREE = {"seal": "reports from before there was one lack it; `ftgate publish` decides again in any case"}
"""What may be dropped alone, and why."""
REPORTS = {**reports(), "allowed": samples.allowed(), "held": samples.held(), "blocked": samples.blocked()}


def document_of(report: Report, folder: Path) -> dict[str, Any]:
    write_report(report, folder / "report.json")
    raw: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return raw


def leaves(part: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all leaves, empty containers too."""
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for key, value in inner:
        yield from leaves(value, (*place, key))
    if not inner or not part:
        yield place


def other(value: Any) -> Any:
    """Another value of the same type."""
    if value is None or isinstance(value, bool):
        return value is not True
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else value + 0.001 * max(1.0, abs(value))
    return f"{value} edited" if isinstance(value, str) else [*value, "edited"] if isinstance(value, list) else {"a": 1}


def edits(raw: dict[str, Any], place: tuple[Any, ...]) -> Iterator[dict[str, Any]]:
    """``raw`` with the leaf at ``place`` changed, dropped and, in a list, repeated."""
    for edit in ("change", "drop", "repeat"):
        edited = copy.copy(raw)
        part: Any = edited
        for key in place[:-1]:
            part[key] = copy.copy(part[key])
            part = part[key]
        if edit == "change":
            part[place[-1]] = other(part[place[-1]])
        elif edit == "drop":
            del part[place[-1]]
        elif isinstance(part, list):
            part.insert(place[-1], part[place[-1]])
        else:
            continue
        yield edited


@pytest.mark.parametrize("name", REPORTS)
def test_no_leaf_of_a_stored_report_can_be_edited_alone(tmp_path: Path, name: str) -> None:
    raw = document_of(REPORTS[name], tmp_path)
    assert list(seal_problems(raw, tmp_path)) == []
    places = [place for place in leaves(raw) if place[0] not in FREE]
    # The seal digests a part as a whole, so of long lists of items a few leaves stand for the others.
    for place in places[:: max(1, len(places) // 150)]:
        part = ".".join(map(str, place[:2] if place[0] in ("measurements", "controls", "provenance") else place[:1]))
        for edited in edits(raw, place):
            assert f"{part} is not what the run wrote there" in next(seal_problems(edited, tmp_path), ""), place


def test_what_passes_every_other_check_is_refused_by_the_seal_and_named(tmp_path: Path) -> None:
    raw = document_of(reports()["careful"], tmp_path)
    path = tmp_path / "report.json"
    assert read_report(path).verdict == "allow"
    raw["measurements"]["target"]["details"]["better"] = 3
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"measurements\.target is not what the run wrote there"):
        read_report(path)
    raw["seal"] = "none"
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="seal 'none': digests by place were expected"):
        read_report(path)
    del raw["seal"]
    path.write_text(json.dumps(raw), encoding="utf-8")
    assert read_report(path).verdict == "allow", "as older reports"


def test_the_checklist_cannot_be_flipped_and_a_judge_near_chance_is_not_fit(tmp_path: Path) -> None:
    raw = document_of(reports()["careful"], tmp_path)
    path = tmp_path / "report.json"
    flipped = copy.deepcopy(raw)
    for entry in flipped["checklist"]:
        entry["ok"] = not entry["ok"]
    path.write_text(json.dumps(flipped), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="checklist"):
        read_report(path)
    raw["controls"]["judge_fitness"]["forgetting"]["auroc"] = 0.4
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"fit, and auroc is 0\.4, not above 0\.8"):
        read_report(path)


def test_another_layout_of_the_same_json_is_the_same_report(tmp_path: Path) -> None:
    raw = document_of(samples.allowed(), tmp_path)
    again = json.loads(json.dumps(raw, sort_keys=True), parse_float=lambda text: float(f"{float(text):.15g}"))
    assert list(seal_problems(again, tmp_path)) == []
    assert seal_of({"provenance": {"rank": 8.0}}) == seal_of({"provenance": {"rank": 8}})


def test_another_run_s_items_are_refused_and_leave_no_comment_page_or_picture(tmp_path: Path) -> None:
    own, others = packed_items([row()]), [row(item="another")]
    write_report(samples.allowed(), tmp_path / "report.json", own)
    (tmp_path / ITEMS).write_bytes(own)
    assert CliRunner().invoke(cli, ["report", str(tmp_path)]).exit_code == 0
    assert (tmp_path / "comment.md").exists()
    (tmp_path / ITEMS).write_bytes(packed_items(others))
    refused = CliRunner().invoke(cli, ["report", str(tmp_path)]).exception
    assert f"{ITEMS} beside it is another run's, or damaged" in str(refused)
    assert not [path for name in ("*.md", "*.html", "plots/*") for path in tmp_path.glob(name)]


@pytest.mark.parametrize("damage", ["no report", "items cut off"])
def test_what_cannot_be_read_leaves_no_comment_page_or_picture(tmp_path: Path, damage: str) -> None:
    write_report(samples.allowed(), tmp_path / "report.json")  # without a digest of its items, as older ones
    (tmp_path / ITEMS).write_bytes(packed_items([row()]))
    assert CliRunner().invoke(cli, ["report", str(tmp_path)]).exit_code == 0
    if damage == "no report":
        (tmp_path / "report.json").unlink()
    else:
        (tmp_path / ITEMS).write_bytes((tmp_path / ITEMS).read_bytes()[:-20])
    refused = CliRunner().invoke(cli, ["report", str(tmp_path)]).exception
    assert "removed what an earlier one left" in str(refused)
    assert not [path for name in ("*.md", "*.html", "plots/*") for path in tmp_path.glob(name)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{\n "verdict": "al', "report.json, line 2, column 15: the file was cut off: it ends here"),
        ("", "report.json, line 1, column 0: the file is empty"),
        ('{"verdict": allow}', "report.json, line 1, column 13: no JSON: expected value"),
    ],
)
def test_a_file_that_is_no_json_is_named_with_the_place_and_what_to_do(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "report.json").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        read_report(tmp_path)
    assert message in refused.value.message
    assert "ftgate decide FOLDER" in refused.value.hint
