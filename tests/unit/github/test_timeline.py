"""The releases in a ledger over time: which run counts, what waivers say, and what no longer compares."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from unit.report import samples, test_deployed, test_escape

from ftgate.github.audit.record import Change, Ledger, ModelEntry, Record, parse_ledger
from ftgate.github.audit.timeline import Timeline, timelines
from ftgate.github.audit.timeline_view import print_timelines, write_timelines
from ftgate.github.match_reports import recorded_change

NOW = "2025-04-01T09:00:00+00:00"


def change(gain: float, status: str = "pass", deployed: float | None = None) -> Change:
    against = None if deployed is None else Change(
        change=deployed, unit="relative drop", status="block" if deployed > 0.05 else "pass",
        interval=(deployed - 0.02, deployed + 0.02), level=0.9,
    )  # fmt: skip
    return Change(
        change=gain, unit="absolute gain", status=status, interval=(gain - 0.03, gain + 0.03), level=0.9,
        incumbent=against,
    )  # fmt: skip


def run(day: int, version: str, verdict: str = "allow", *, base: str = "b1", policy: str = "p1", **more: Any) -> Record:
    numbers = more.pop("numbers", {"target": change(0.1 + day / 100)})
    entry = ModelEntry(
        name=f"bot {version}",
        manifest="models/bot.yaml",
        base=base,
        candidate=version,
        verdict=verdict,
        numbers=numbers,
    )
    return Record(
        time=f"2025-03-{day:02}T09:00:00+00:00", repository="acme/models", head=f"{day:040x}", policy=policy,
        verdict=verdict, models=(entry,), **more,
    )  # fmt: skip


def waiver(of: Record, expires: str) -> Record:
    given = {"kind": "waiver", "verdict": "waived", "by": "ada", "reason": "known", "expires": expires}
    return of.model_copy(update=given)


def printed(lines: list[Timeline], width: int = 100) -> str:
    file = io.StringIO()
    print_timelines(lines, Console(file=file, width=width, force_terminal=False))
    return file.getvalue()


def test_releases_come_in_the_order_of_time_each_with_its_latest_verdict() -> None:
    records = [run(3, "v2"), run(1, "v1", "hold"), run(2, "v1"), run(4, "v3", "block"), run(4, "v3", "block")]
    (line,) = timelines(records, NOW)
    assert [(r.entry.candidate, r.entry.verdict, r.runs) for r in line.releases] == [
        ("v1", "allow", 2),
        ("v2", "allow", 1),
        ("v3", "block", 1),  # the same record twice is one run
    ]
    assert line.title == "models/bot.yaml"


def test_runs_that_failed_and_pushes_without_a_model_are_no_releases() -> None:
    failed = run(1, "v1", "error")
    nothing = run(2, "v2").model_copy(update={"verdict": "no model change", "models": ()})
    assert timelines([failed, nothing], NOW) == []


@pytest.mark.parametrize(
    ("expires", "says"),
    [
        ("2025-04-10T09:00:00+00:00", "waived by ada until 2025-04-10: known"),
        ("2025-03-20T09:00:00+00:00", "waived by ada until 2025-03-20, expired: known"),
    ],
)
def test_a_waiver_stands_with_its_release(expires: str, says: str) -> None:
    blocked = run(2, "v2", "block")
    (line,) = timelines([run(1, "v1"), blocked, waiver(blocked, expires)], NOW)
    assert [r.waivers for r in line.releases] == [(), (says,)]
    text = printed([line])
    assert says in text
    assert ("waiver expired" in text) is ("expired:" in says)


def test_a_new_base_or_policy_is_said_because_changes_do_not_compare_across_it(tmp_path: Path) -> None:
    records = [run(1, "v1"), run(2, "v2", base="b2"), run(3, "v3", base="b2", policy="p2")]
    (line,) = timelines(records, NOW)
    assert [r.changed for r in line.releases] == [(), ("base",), ("policy",)]
    assert "new base: its changes do not compare with those before" in printed([line])
    write_timelines([line], [], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count('class="break"') == 2
    assert 'class="course"' not in page  # no line joins what does not compare


def test_each_release_shows_its_change_against_base_and_deployed_model(tmp_path: Path) -> None:
    good, bad = {"target": change(0.1, deployed=-0.01)}, {"target": change(0.12, deployed=0.08)}
    (line,) = timelines([run(1, "v1", numbers=good), run(2, "v2", "block", numbers=bad)], NOW)
    text = " ".join(printed([line]).split())
    assert "✓ gained 10.0 points" in text
    assert "✗ gained 12.0 points" in text  # what blocks, if against the deployed model, has no tick
    assert "deployed: gained 1.0 %" in text
    assert "deployed: lost 8.0 %" in text
    write_timelines([line], ["record 3 was removed"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "gained 9.0 to 15.0 points (90 %)" in page
    assert "deployed: lost 8.0 %" in page
    assert "record 3 was removed" in page
    assert page.count('class="fails"') == 1
    assert "<small>2025-03-01 0000000</small>" in page
    assert page.count("<circle") == 2
    assert page.count('class="ring s-pass"') == 1
    assert page.count("cross s-block") == 1
    assert page.count('class="course"') == 1
    assert "<script" not in page


def test_several_policies_of_one_model_are_several_lines() -> None:
    records = [run(1, "v1", context="ftgate/a"), run(1, "v1", context="ftgate/b", policy="p2")]
    assert [line.title for line in timelines(records, NOW)] == [
        "models/bot.yaml (ftgate/a)",
        "models/bot.yaml (ftgate/b)",
    ]


def test_a_record_holds_intervals_and_the_deployed_model_and_is_read_again() -> None:
    m = test_deployed.compared("block", 0.2).measurements["forgetting"]
    kept = recorded_change(m)
    assert kept.interval == (-0.012, 0.039)
    assert kept.incumbent is not None
    assert (kept.incumbent.change, kept.incumbent.status, kept.incumbent.interval) == (0.2, "block", (0.18, 0.22))
    record = run(1, "v1", numbers={"forgetting": kept})
    ledger = Ledger().appended(record)
    again = parse_ledger(line.text for line in ledger.lines)
    assert again.problems == ()
    assert again.records == (record,)


def test_records_from_before_they_held_intervals_keep_their_identity() -> None:
    old = Change(change=0.1, unit="absolute gain", status="pass")
    assert set(old.model_dump(mode="json")) == {"change", "unit", "status"}
    assert "incumbent" not in recorded_change(samples.allowed().measurements["target"]).model_dump(mode="json")


@pytest.mark.parametrize("trick", test_escape.TRICKS)
def test_nothing_hostile_acts(trick: str, tmp_path: Path) -> None:
    hostile = change(0.1).model_copy(update={"unit": trick, "status": trick})
    record = run(1, "v1", numbers={trick: hostile}, by=trick, reason=trick)
    entry = record.models[0].model_copy(update={"name": trick, "manifest": trick})
    record = record.model_copy(update={"models": (entry,), "head": trick or "0"})
    lines = timelines([record, waiver(record, trick)], NOW)
    assert not set(printed(lines)) & set("\x00\x07\x08\x1b\x9b\r\u202e")
    write_timelines(lines, [trick], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_bytes().decode("utf-8")
    assert "<script" not in page
    assert not re.search(r"<(a|img|link|iframe|object|form)\b", page)
