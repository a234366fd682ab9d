"""Which manifests a change touches: its own file, and the weights that lie beside it."""

from __future__ import annotations

import pytest
from support import reports

from ftgate.github.audit.record import record_in_status
from ftgate.github.changed_manifests import BaseChange, base_changes, changed_manifests, removed_manifests
from ftgate.github.client import File
from ftgate.github.commit_status import DESCRIPTION_LIMIT, description

GLOBS = ["models/*.yaml"]


def touched(files: dict[str, str], changed: list[str], links: dict[str, str] | None = None, globs=GLOBS):
    content = {**files, **(links or {})}
    tree = {path: File("120000" if path in (links or {}) else "100644", path) for path in content}
    return changed_manifests(globs, tree, changed, lambda sha: content[sha].encode(), lambda _: None)


def local(source: str) -> str:
    return reports.manifest(candidate={"source": source})


def test_a_manifest_is_touched_by_its_own_file():
    files = {"models/a.yaml": reports.manifest("a"), "models/b.yaml": reports.manifest("b"), "x.yaml": "n: 1"}
    assert [c.path for c in touched(files, ["models/b.yaml", "x.yaml"])] == ["models/b.yaml"]


@pytest.mark.parametrize(
    ("source", "changed", "yes"),
    [
        ("weights/bot", "models/weights/bot/a.safetensors", True),
        ("../weights/bot", "weights/bot/a.safetensors", True),
        ("../weights/bot/", "weights/bot/deep/er.bin", True),
        ("../weights/bot", "weights/bottle/a.bin", False),
        ("../weights/bot", "README.md", False),
        ("./x/../weights/bot", "models/weights/bot/a.bin", True),
        ("../..", "README.md", False),
        ("../../etc", "etc/passwd", False),
        ("..", "README.md", True),
        ("hf://acme/bot", "models/hf:/acme/bot/x", True),
        ("../weights/bot", "weights", True),  # a submodule, or a folder that became something else
        ("../weights/bot", "weights/other", False),
    ],
)
def test_a_manifest_is_touched_by_files_in_the_folders_that_it_names(source, changed, yes):
    assert bool(touched({"models/a.yaml": local(source)}, [changed])) is yes


def test_a_manifest_that_is_there_no_more_is_removed():
    changed = ["models/c.yaml", "models/a.yaml", "models/b.yaml", "README.md", "attic/a.yaml"]
    assert removed_manifests(GLOBS, changed, ["models/b.yaml"]) == ["models/a.yaml", "models/c.yaml"]


def test_a_removed_manifest_s_path_passes_for_no_record():
    text = description("no model change", (), (), removed=["models/[record 0123456789ab]", "models/" + "x" * 200])
    assert (
        record_in_status(text)
        == record_in_status(description("no model change", (), (), removed=["[record 0123456789ab]"]))
        == ""
    )
    assert len(text) <= DESCRIPTION_LIMIT


def test_what_lies_behind_a_link_counts_as_touched():
    files = {"models/a.yaml": local("../weights/bot"), "store/a.bin": "1"}
    assert touched(files, ["store/a.bin"], {"weights": "store"})
    assert not touched(files, [], {"weights": "store"})


def test_a_manifest_that_is_a_link_or_unreadable_has_a_problem():
    found = touched(
        {"models/a.yaml": "name: [", "models/c.yaml": "x" * 1_000_001},
        ["models/a.yaml", "models/b.yaml", "models/c.yaml"],
        {"models/b.yaml": "../../secret"},
    )
    assert [c.path for c in found] == ["models/a.yaml", "models/b.yaml", "models/c.yaml"]
    assert "models/a.yaml:1: not valid YAML" in found[0].problem
    assert "link" in found[1].problem
    assert "longer" in found[2].problem


def test_an_unreadable_manifest_that_the_change_leaves_alone_is_not_its_problem():
    assert touched({"models/a.yaml": "name: ["}, ["README.md"]) == []


def test_a_removed_manifest_judges_nobody():
    assert touched({}, ["models/a.yaml"]) == []


def test_notes_find_their_line():
    found = touched({"models/a.yaml": reports.manifest()}, ["models/a.yaml"])[0]
    assert found.text.splitlines()[found.line_of("candidate") - 1] == "candidate:"
    assert found.line_of("nothing") == 1


def bases(earlier: dict[str, str], now: dict[str, str]) -> list[BaseChange]:
    """What is told of the bases where the files ``earlier`` become those of ``now``."""
    content = {**{f"old {p}": text for p, text in earlier.items()}, **{f"new {p}": text for p, text in now.items()}}
    before, after = (
        {path: File("100644", f"{when} {path}") for path in files} for when, files in (("old", earlier), ("new", now))
    )
    same = {path: before[path] for path in now if earlier.get(path) == now[path]}
    changed = [path for path in {**earlier, **now} if path not in same]
    found = changed_manifests(GLOBS, after | same, changed, lambda sha: content[sha].encode(), lambda _: None)
    gone = removed_manifests(GLOBS, changed, [entry.path for entry in found])
    return base_changes(found, gone, after | same, before, lambda sha: content[sha].encode())


def based_on(source: str, name: str = "bot", **more: str) -> str:
    return reports.manifest(name, base={"source": source, **more})


@pytest.mark.parametrize(
    ("earlier", "now", "told"),
    [
        ({"models/a.yaml": based_on("hf://x/y")}, {"models/a.yaml": based_on("hf://x/z")}, ["hf://x/y", "hf://x/z"]),
        (
            {"models/a.yaml": based_on("hf://x/y")},
            {"models/a.yaml": based_on("hf://x/y", revision="1" * 40)},
            ["hf://x/y", f"hf://x/y {'1' * 40}"],
        ),
        (  # renamed
            {"models/a.yaml": based_on("hf://x/y")},
            {"models/b.yaml": based_on("hf://x/z")},
            ["hf://x/y", "hf://x/z"],
        ),
        (  # the same folder, with other weights in it
            {"models/a.yaml": based_on("../w"), "w/a.bin": "1"},
            {"models/a.yaml": based_on("../w"), "w/a.bin": "2"},
            ["../w", "../w (other files)"],
        ),
        ({"models/a.yaml": based_on("hf://x/y")}, {"models/a.yaml": based_on("hf://x/y") + "#\n"}, None),
        ({}, {"models/a.yaml": based_on("hf://x/y")}, None),
        ({"models/a.yaml": "name: ["}, {"models/a.yaml": based_on("hf://x/y")}, None),
        ({"models/a.yaml": based_on("hf://x/y")}, {"models/a.yaml": "name: ["}, None),
        ({"models/a.yaml": based_on("hf://x/y")}, {"models/b.yaml": based_on("hf://x/z", "another")}, None),
    ],
)
def test_another_base_than_the_base_branch_names_is_found(earlier, now, told):
    assert [[b.before, b.after] for b in bases(earlier, now)] == ([told] if told else [])
