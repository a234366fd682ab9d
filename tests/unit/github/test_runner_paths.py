"""No path of the runner is in what is published, whatever an error quotes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.github.audit.record import Ledger
from ftgate.github.comment import CommentContent, CommentSection, compose
from ftgate.github.commit_status import description
from ftgate.github.runner_paths import without_paths

HOME, USERS = (f"/{name}" for name in ("home", "Users"))
ROOTS = (
    f"{HOME}/runner/work/models/models",
    f"{HOME}/runner/work/_temp",
    f"{HOME}/runner",
    "/github/workspace",
    "/__w/models/models",
    "/opt/actions-runner/_work/_tool",
    f"{USERS}/ci",
    "/tmp",
    "/root",
    "D:\\a\\_temp",
)
PART = st.text("abcXYZ019-_.", min_size=1, max_size=8)
BEFORE = st.sampled_from(["", " ", "'", '"', "`", "(", "=", ": ", ":", "[", "file://", "\n", ", "])


WORDS = st.text(st.characters(exclude_characters="/\\"), max_size=20)


def shows(text: str, root: str) -> bool:
    """Whether the whole path is there; of a folder at the top, its name alone may be."""
    return bool(re.search(rf"(?<!…){re.escape(root)}", text))


@given(st.sampled_from(ROOTS), st.lists(PART, max_size=4), BEFORE, WORDS, WORDS)
def test_no_path_below_a_folder_of_the_runner_remains(
    root: str, parts: list[str], before: str, start: str, end: str
) -> None:
    path = "/".join([root, *parts])
    text = f"{start} {before}{path} {end}"
    assert shows(text, root)
    shown = without_paths(text)
    assert not shows(shown, root)
    assert without_paths(shown) == shown
    problem = f"{before}{path}: no such file"
    sections = (CommentSection("bot", "error", problems=(problem,)),)
    assert not shows(compose(CommentContent("error", "a" * 40, sections, (problem,)), Ledger()), root)
    assert not shows(description("error", sections, (problem,)), root)
    assert not shows(description("error", sections, ()), root)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{HOME}/runner/work/a/evals/target.jsonl:1: no prompt", "…/target.jsonl:1: no prompt"),
        ("no '/github/workspace/ftgate-job/models/bot.yaml'", "no '…/bot.yaml'"),
        ("cannot write to /srv/cache/, of the input cache", "cannot write to …/cache/, of the input cache"),
        ("C:\\Users\\ci\\x.json is not there", "…/x.json is not there"),
    ],
)
def test_the_name_of_the_file_stays(text: str, shown: str) -> None:
    assert without_paths(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "suite target: 1 bad row evals/target.jsonl:1",
        "https://github.com/acme/models/pull/7 and s3://acme/bot/v7/ and hf://acme/base",
        "the status ftgate/verdict, and/or 3 / 4",
        "<details>a</details>",
        "../weights/bot is not in the repository",
    ],
)
def test_other_slashes_are_left_alone(text: str) -> None:
    assert without_paths(text) == text
