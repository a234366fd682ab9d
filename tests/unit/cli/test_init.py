"""`ftgate init`: what it writes can be used, and nothing is written over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ftgate.cli.init import NO_COMMIT, WORKFLOWS, write_starter_files
from ftgate.config.manifest import read_manifest
from ftgate.config.policy import read_policy
from ftgate.errors import ConfigurationError
from ftgate.measurements.registry import read_measurements

ACTION = "acme/ftgate@" + "1234567890" * 4


def begin(folder: Path, action: str = ACTION) -> dict[str, bool]:
    return {path.as_posix(): written for path, written in write_starter_files(folder, action)}


def test_policy_and_manifest_are_valid(tmp_path: Path) -> None:
    begin(tmp_path)
    policy = read_policy(tmp_path / ".github" / "ftgate.yml")
    assert {m.name for m in read_measurements(policy.measurements, "")} == {
        "target",
        "forgetting",
        "tail",
        "calibration",
    }
    assert read_manifest(tmp_path / "models" / "my-model.yaml").name == "my-model"


def test_the_workflows_take_the_actions_from_where_one_says_and_check_out_nothing(tmp_path: Path) -> None:
    begin(tmp_path)
    for name in WORKFLOWS:
        text = (tmp_path / ".github" / "workflows" / name).read_text(encoding="utf-8")
        assert "checkout" not in re.sub("#.*", "", text)
        assert "./" not in text
        steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
        ours = [step["uses"] for step in steps if step.get("uses", "").startswith("acme/ftgate")]
        assert ours
        assert all(re.fullmatch(r"acme/ftgate/(cpu|gpu)@(1234567890){4}", use) for use in ours)
        assert all(len(step) > 1 or "run" in step or step["uses"] in ours for step in steps)


def test_only_the_steps_about_ftgate_itself_differ(tmp_path: Path) -> None:
    begin(tmp_path)
    for name in WORKFLOWS:
        own = yaml.safe_load((Path(__file__).parents[3] / ".github" / "workflows" / name).read_text(encoding="utf-8"))
        given = yaml.safe_load((tmp_path / ".github" / "workflows" / name).read_text(encoding="utf-8"))
        for job in own["jobs"].values():
            job["steps"] = [step for step in job["steps"] if not step.get("uses", "").startswith("actions/checkout")]
            for step in job["steps"]:
                if step.get("uses", "").startswith("./"):
                    step["uses"] = ACTION.replace("@", f"/{step['uses'][2:]}@")
        assert given == own


def test_this_repository_holds_its_own_models_to_the_limits_of_the_tiny_world() -> None:
    root = Path(__file__).parents[3]
    ours, theirs = read_policy(root / ".github" / "ftgate.yml"), read_policy(root / "examples/tinyworld/policy.yaml")
    for name, section in theirs.measurements.items():
        assert ours.measurements[name] == {**section, "dataset": f"../examples/tinyworld/{section['dataset']}"}
    assert (ours.evidence, ours.engine) == (theirs.evidence, theirs.engine)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    policy = tmp_path / ".github" / "ftgate.yml"
    policy.parent.mkdir()
    policy.write_text("mine", encoding="utf-8")
    assert begin(tmp_path) == {
        ".github/ftgate.yml": False,
        "models/my-model.yaml": True,
        ".github/workflows/ftgate.yml": True,
        ".github/workflows/ftgate-settle.yml": True,
    }
    assert not any(begin(tmp_path).values())
    assert policy.read_text(encoding="utf-8") == "mine"


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "my-model.yaml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError):
        begin(tmp_path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("action", ["acme/ftgate@v1", "acme/ftgate", "ftgate@" + "0" * 40, ACTION + "\n- run: rm", ""])
def test_an_action_is_named_by_a_commit(tmp_path: Path, action: str) -> None:
    with pytest.raises(ConfigurationError, match="commit"):
        begin(tmp_path, action)
    assert not list(tmp_path.iterdir())


def test_without_an_action_nothing_runs_by_mistake(tmp_path: Path) -> None:
    begin(tmp_path, NO_COMMIT)
    text = (tmp_path / ".github" / "workflows" / "ftgate.yml").read_text(encoding="utf-8")
    assert f"OWNER/ftgate/cpu@{'0' * 40}" in text


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="file"):
        begin(tmp_path / "file")
