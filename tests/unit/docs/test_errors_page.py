"""The page of error codes, and what `ftgate docs` prints of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from ftgate.cli import docs
from ftgate.cli.main import main

ROOT = Path(__file__).resolve().parents[3]


def test_every_error_has_a_code_of_its_own_with_a_page() -> None:
    assert docs.exit_codes().keys() == docs.PAGES.keys()
    assert set(docs.exit_codes().values()) <= {2, 3}


def test_the_page_is_what_the_command_prints() -> None:
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == docs.page(), "run `make reference`"


@pytest.mark.parametrize("code", docs.PAGES)
def test_each_code_is_explained_with_pages_that_exist(code: str) -> None:
    done = CliRunner().invoke(docs.docs, [code])
    assert done.exit_code == 0
    assert docs.PAGES[code].meaning.split()[0] in done.output
    named = done.output.splitlines()[-1].removeprefix("more: ").split(", ")
    assert named[0] == "docs/errors.md"
    assert all((ROOT / name).is_file() for name in named)


def test_without_a_code_all_are_listed() -> None:
    done = CliRunner().invoke(docs.docs, [])
    assert [line.split()[0] for line in done.output.splitlines()] == list(docs.PAGES)


def test_an_error_ends_with_its_code_and_an_unknown_code_is_answered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["docs", "nothing"])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert "no error has the code 'nothing'" in said
    assert said.rstrip().endswith("more: ftgate docs configuration")
