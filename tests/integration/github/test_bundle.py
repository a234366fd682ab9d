"""The bundle: which branch each file comes from, and that no file of a change replaces one of the policy's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from support import reports
from support.github import events
from support.github.scene import POLICY_PATH, Scene

from ftgate.errors import ConfigurationError, FtgateError
from ftgate.github.bundle import LISTING, write_bundle

BASE = {
    "evals/target.jsonl": "base target\n",
    "evals/general.jsonl": "base general\n",
    "judge/config.json": "{}",
    "evals/labels.csv": "base labels\n",
    "README.md": "not needed",
}
POLICY = {
    "measurements": {
        "target": {"dataset": "../evals/target.jsonl", "scorer": "choice"},
        "forgetting": {"dataset": "builtin:general-200", "scorer": "judge"},
        "tail": {"dataset": "../evals/general.jsonl", "scorer": "choice"},
    },
    "judge": {"source": "../judge", "labels": "../evals/labels.csv"},
}


@pytest.fixture
def scene(hub, tmp_path) -> Scene:
    found = Scene(hub, tmp_path, **POLICY)
    found.base = hub.git.commit(BASE, found.base, branch="main")
    return found


def local(**sources: str) -> str:
    """A manifest that names folders of the repository."""
    found = {"name": "bot", "base": {"source": "../weights/base"}, "candidate": {"source": "../weights/bot"}}
    return yaml.safe_dump(found | {key: {"source": value} for key, value in sources.items()})


def bundle(scene: Scene, **effects) -> tuple[list[str], dict[str, str]]:
    """The manifests, and every file of the bundle."""
    out = scene.folder / "job"
    found = write_bundle(scene.client(), scene.effects(**effects).target, POLICY_PATH, out)
    files = {p.relative_to(out).as_posix(): p.read_text() for p in out.rglob("*") if p.is_file()}
    return found, files


def test_policy_and_suites_are_the_base_branchs_and_manifests_the_changes(scene):
    head = scene.push(
        {
            "models/bot.yaml": local(training_data="../data/train.jsonl"),
            "weights/base/model.safetensors": "base",
            "weights/bot/adapter.safetensors": "bot",
            "data/train.jsonl": "rows",
            "evals/target.jsonl": "easier questions",
            "evals/labels.csv": "kinder grades",
            POLICY_PATH: "version: 1",
            "setup.py": "import os",
        }
    )
    manifests, files = bundle(scene)
    assert manifests == ["models/bot.yaml"]
    assert json.loads(files.pop(LISTING)) == {"policy": POLICY_PATH, "sha": head, "manifests": manifests}
    assert files == {
        POLICY_PATH: scene.text,
        "evals/target.jsonl": "base target\n",
        "evals/general.jsonl": "base general\n",
        "judge/config.json": "{}",
        "evals/labels.csv": "base labels\n",
        "models/bot.yaml": local(training_data="../data/train.jsonl"),
        "weights/base/model.safetensors": "base",
        "weights/bot/adapter.safetensors": "bot",
        "data/train.jsonl": "rows",
    }


@pytest.mark.parametrize("source", ["../judge", "../.github", "../evals", "../evals/target.jsonl"])
def test_no_file_of_the_change_takes_the_place_of_the_policys(scene, source):
    scene.push(
        {
            "models/bot.yaml": local(candidate=source),
            "judge/config.json": "mine",
            "judge/more.json": "mine",
            POLICY_PATH: "mine",
            "evals/target.jsonl": "mine",
        }
    )
    _, files = bundle(scene)
    assert "mine" not in files.values()


@pytest.mark.parametrize("end", [b"#" * 600_000, b"# \xff", b"# caf\xc3\xa9"])
def test_manifests_are_read_exactly_and_an_untouched_one_is_judged_if_its_weights_change(scene, end):
    valid = ["models/a.yaml", "models/b.yaml"] if b"\xff" not in end else []
    scene.base = scene.hub.git.commit({"models/a.yaml": local().encode() + end}, scene.base, branch="main")
    scene.push({"weights/bot/adapter.safetensors": "new", "models/b.yaml": local().encode() + end})
    client, out = scene.client(), scene.folder / "job"
    assert write_bundle(client, scene.effects().target, POLICY_PATH, out) == (valid or ["models/b.yaml"])
    assert json.loads((out / LISTING).read_text())["manifests"] == valid
    assert all((out / path).read_bytes() == local().encode() + end for path in valid)


def test_weights_that_lie_elsewhere_are_left_there(scene):
    scene.push()
    _, files = bundle(scene)
    assert [name for name in files if name.startswith("models")] == ["models/bot.yaml"]


def test_a_change_that_touches_no_model_has_an_empty_bundle(scene):
    scene.push({"README.md": "better"})
    manifests, files = bundle(scene)
    assert manifests == []
    assert list(files) == [LISTING]


@pytest.mark.parametrize(
    ("event", "payload"), [("release", events.release()), ("workflow_dispatch", events.workflow_dispatch())]
)
def test_where_nothing_is_compared_every_manifest_is_judged(scene, event, payload):
    scene.hub.git.commit({"models/other.yaml": reports.manifest("other")}, scene.base, branch="main")
    manifests, files = bundle(scene, event=event, payload=payload, GITHUB_SHA=scene.hub.git.resolve("main"))
    assert manifests == ["models/bot.yaml", "models/other.yaml"]
    assert "evals/target.jsonl" in files


def test_an_earlier_bundle_is_replaced_and_nothing_else_is(scene):
    scene.push({"models/bot.yaml": local(), "weights/bot/old": "old"})
    assert "weights/bot/old" in bundle(scene)[1]
    scene.push({"models/bot.yaml": local(training_data="../x.jsonl"), "weights/bot/old": None})
    assert "weights/bot/old" not in bundle(scene)[1]
    (scene.folder / "job" / LISTING).unlink()
    with pytest.raises(ConfigurationError, match="is not a bundle"):
        bundle(scene)
    assert (scene.folder / "job" / "models" / "bot.yaml").is_file()


def test_a_release_without_a_manifest_is_no_release_of_a_model(scene):
    head = scene.hub.git.commit({"models/bot.yaml": None}, scene.base)
    with pytest.raises(ConfigurationError, match=r"no file of [0-9a-f]{7} matches"):
        bundle(scene, event="release", payload=events.release(), GITHUB_SHA=head)


def test_a_manifest_that_cannot_be_used_is_named_but_not_run(scene):
    scene.push({"models/bot.yaml": "name: [", "models/good.yaml": reports.manifest("good")})
    manifests, files = bundle(scene)
    assert manifests == ["models/bot.yaml", "models/good.yaml"]
    assert json.loads(files[LISTING])["manifests"] == ["models/good.yaml"]


@pytest.mark.parametrize(
    ("files", "links", "said"),
    [
        ({"models/bot.yaml": local(candidate="../../../etc")}, {}, "is not in the repository"),
        ({"models/bot.yaml": local(candidate="..")}, {}, "is not in the repository"),
        ({"models/bot.yaml": local()}, {"weights/bot/token": "/etc/passwd"}, "is a link"),
        (
            {"models/bot.yaml": local(), "weights/bot/w": "version https://git-lfs.github.com/spec/v1\noid sha256:1\n"},
            {},
            "Git LFS",
        ),
    ],
)
def test_what_cannot_be_fetched_is_named_before_a_gpu_is_used(scene, files, links, said):
    scene.push(files, **links)
    with pytest.raises(ConfigurationError, match=said):
        bundle(scene)


@pytest.mark.parametrize("path", ["../outside", "/outside", "a/../../b", ".git/hooks/post-checkout", "a//b"])
def test_a_path_that_leads_out_is_refused_even_if_the_platform_names_one(scene, monkeypatch, path):
    from ftgate.github import bundle as module
    from ftgate.github.client import File

    with pytest.raises(FtgateError, match="not a valid path for a file"):
        module._write_files(scene.client(), {path: File("100644", "0" * 40)}, scene.folder / "job")
    assert not (scene.folder / "job").exists()
    assert not Path(scene.folder.parent, "outside").exists()


def test_a_judge_behind_an_endpoint_is_nowhere_in_the_repository(scene):
    from ftgate.config.policy import Policy
    from ftgate.github.bundle import _policy_paths

    judge = {"endpoint": "https://judge.example/v1", "model": "judge"}
    policy = Policy.model_validate({**reports.POLICY, "judge": judge})
    assert _policy_paths(policy, POLICY_PATH) == {
        POLICY_PATH,
        ".github/evals/target.jsonl",
        ".github/evals/general.jsonl",
    }
