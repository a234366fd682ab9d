"""What counts as a model's file, and where a name is too long, reserved or the same as another: at the very edge."""

from __future__ import annotations

import pytest

from ftgate.artifacts.file_names import require_clean_names, select_files, shorten_list
from ftgate.errors import ArtifactError


def problem(*names: str) -> str:
    """What is wrong with the names; empty if nothing."""
    try:
        require_clean_names(names, "s3://b")
    except ArtifactError as error:
        return error.message.removeprefix("s3://b: ")
    return ""


LONG = [f"{'x' * 199}/" * 5, f"{'é' * 99}x/" * 5]
"""A thousand bytes each."""


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("x" * 240, ""),
        ("x" * 241, "too long"),
        ("é" * 120, ""),
        ("é" * 120 + "x", "too long"),
        ("a/" + "x" * 241, "too long"),
        *((long[:-1] + "x", "") for long in LONG),
        *((long[:-1] + "xx", "too long") for long in LONG),
        ("a//b", "empty parts"),
        ("a/./b", "empty parts"),
        ("..", "empty parts"),
        ("...", "reserved"),
        ("a /b", "reserved"),
        ("a./b", "reserved"),
        ("a:b", "reserved"),
        ("a\x7fb", "control character"),
        ("a\udc80b", "control character"),
        ("a\\b", "control character"),
        ("", "not a relative path"),
        ("/a", "not a relative path"),
        *(
            (name, "reserved")
            for name in ("con", "PRN", "aux.json", "a/NUL", "com0", "lpt9.x", "COM¹", "conin$", "CONOUT$")
        ),
        *((name, "") for name in ("cons", "com", "comx", "lpt10", "a.con", "icon.json", "conin")),
    ],
)
def test_each_rule_at_its_edge(name: str, wrong: str) -> None:
    found = problem(name)
    assert wrong in found
    assert bool(found) == bool(wrong)


def test_a_collision_names_both() -> None:
    assert problem("A.json", "b", "a.JSON") == "'A.json' and 'a.JSON' are the same name if case is ignored"
    assert problem("a/b/c", "A/B") == "'A/B' is both a file and a folder"
    assert problem("A/B", "a/b/c/d") == "'A/B' is both a file and a folder"
    assert problem("a/b/c", "a/c", "ab") == ""
    assert problem("x" * 300).startswith(f"'{'x' * 200}': ")


def test_the_state_of_a_trainer_and_what_the_policy_skips_are_no_files_of_the_model() -> None:
    state = [
        *("training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt", "scaler.bin", "rng_state.pth"),
        *("rng_state_12.pth", "random_states_0.pkl", "optimizer.bin", "optimizer_1.bin", "scheduler.bin"),
        *("sampler.bin", "dl_state_dict_3.bin", "deep/er/optimizer.pt"),
    ]
    kept = [
        *("training_args.json", "optimizer.ptx", "my_optimizer.pt", "rng_state_x.pth", "random_states_.pkl"),
        *("optimizerXpt", "optimizer.safetensors", "config.json", "deep/.git/x", "optimizer.pt/x"),
    ]
    tools = [".git/HEAD", ".cache/a/b", ".git"]
    assert select_files([*state, *tools, *kept], []) == (sorted(kept), sorted(state))
    files, ignored = select_files(["a.md", "b/a.md", "c/d.txt", "e"], ["*.md", "c/*"])
    assert (files, ignored) == (["e"], ["a.md", "b/a.md", "c/d.txt"])


def test_a_long_list_is_cut_after_ten_names() -> None:
    names = [str(i) for i in range(12)]
    assert shorten_list(names[:10]) == names[:10]
    assert shorten_list(names) == [*names[:10], "and 2 more"]
