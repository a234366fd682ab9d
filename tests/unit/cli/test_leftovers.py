"""What an earlier report left is not read as that of a report that is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from unit.report import samples
from unit.report.test_reading import stored

from ftgate.cli.main import cli
from ftgate.errors import ConfigurationError


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def refused(done: Result) -> str:
    assert isinstance(done.exception, ConfigurationError), done.output
    return done.exception.message


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a sound report, drawn and exported."""
    folder = tmp_path / "run"
    stored(folder, samples.allowed())
    assert invoke("report", folder).exit_code == 0
    assert invoke("export", folder, "--to", "junit", "--to", "model-card").exit_code == 0
    return folder


def test_a_damaged_report_leaves_no_comment_page_or_pictures(run: Path) -> None:
    assert list((run / "plots").glob("*.svg"))
    stored(run, samples.allowed(), verdict="block")
    message = refused(invoke("report", run))
    assert "verdict block, and its measurements give allow" in message
    assert f"removed what an earlier one left: {run / 'comment.md'}, {run / 'report.html'}, " in message
    assert message.endswith(" pictures")
    left = {path.name for path in run.rglob("*") if path.is_file()}
    assert left == {"report.json", "junit.xml", "model-card.md"}


def test_a_damaged_report_leaves_no_test_results_and_a_model_card_stays(run: Path) -> None:
    stored(run, samples.allowed(), verdict="block")
    message = refused(invoke("export", run, "--to", "junit", "--to", "model-card"))
    assert message.endswith(f"removed what an earlier one left: {run / 'junit.xml'}")
    assert (run / "model-card.md").exists()


def test_a_folder_without_a_report_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "comment.md").write_text("mine")
    (tmp_path / "junit.xml").write_text("mine")
    assert "removed" not in refused(invoke("report", tmp_path))
    assert "removed" not in refused(invoke("export", tmp_path, "--to", "junit"))
    assert {path.read_text() for path in tmp_path.iterdir()} == {"mine"}


def test_a_damaged_report_leaves_no_page_of_a_comparison_and_other_files_stay(run: Path, tmp_path: Path) -> None:
    stored(tmp_path / "other", samples.blocked())
    page, mine = tmp_path / "compare.html", tmp_path / "mine.html"
    assert invoke("compare", run, tmp_path / "other", "--html", page).exit_code == 0
    mine.write_text("<title>mine</title>")
    stored(run, samples.allowed(), verdict="block")
    assert refused(invoke("compare", run, tmp_path / "other", "--html", page)).endswith(f"left: {page}")
    assert not page.exists()
    assert "removed" not in refused(invoke("compare", run, tmp_path / "other", "--html", mine))
    assert mine.exists()
