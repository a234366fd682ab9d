"""`ftgate init --app` and `--sign`: workflows that run as the protected branch has them, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ftgate.cli.git_remote import Remote
from ftgate.cli.init import WAIVE, write_starter_files
from ftgate.cli.main import cli
from ftgate.config.policy import PublishSettings, read_policy
from ftgate.errors import ConfigurationError

ACTION = "acme/ftgate@" + "1234567890" * 4
REMOTE = Remote("github.com", "acme/models", "trunk")
NAMES = ("ftgate.yml", "ftgate-settle.yml", WAIVE)
OWN_OR_NO_PULL = (
    "github.event_name != 'pull_request_target' || github.event.pull_request.head.repo.full_name == github.repository"
)


def begin(folder: Path, **options: Any) -> tuple[PublishSettings, dict[str, Any]]:
    """What the policy says of publishing, and the workflows by their names."""
    list(write_starter_files(folder, ACTION, REMOTE, settle=True, waivers=True, **options))
    texts = {name: (folder / ".github" / "workflows" / name).read_text(encoding="utf-8") for name in NAMES}
    policy = read_policy(folder / ".github" / "ftgate.yml")
    return policy.publish, {name: yaml.safe_load(text) for name, text in texts.items()}


def jobs_of(workflows: dict[str, Any]) -> dict[str, Any]:
    return {name: job for workflow in workflows.values() for name, job in workflow["jobs"].items()}


@pytest.mark.parametrize("forks", [False, True])
def test_the_jobs_that_publish_have_the_app_in_an_environment_and_the_evaluation_has_not(
    tmp_path: Path, forks: bool
) -> None:
    settings, workflows = begin(tmp_path, app="my-app", forks=forks)
    assert (settings.expected_creator, settings.signers) == ("my-app[bot]", ())
    for name, job in jobs_of(workflows).items():
        given = [step["with"] for step in job["steps"] if "/cpu@" in step.get("uses", "")]
        if name == "evaluate":
            assert (given, job["permissions"]) == ([], {})
            assert "secrets" not in str(job)
            continue
        assert job["environment"] == "ftgate-publish"
        assert job["permissions"] == {}, "the App publishes, not the token"
        (inputs,) = given
        assert inputs["app-private-key"] == "${{ secrets.FTGATE_APP_PRIVATE_KEY }}"
        assert inputs["app-id"] == "${{ vars.FTGATE_APP_ID }}"
        assert inputs["mode"] == {"plan": "plan", "report": "report", "settle": "settle", "waive": "waive"}[name]


@pytest.mark.parametrize(("forks", "app"), [(False, "my-app"), (True, "my-app"), (False, ""), (True, "")])
def test_pull_requests_run_the_workflow_of_the_protected_branch(tmp_path: Path, forks: bool, app: str) -> None:
    _, workflows = begin(tmp_path, app=app, sign=not app, forks=forks)
    gate = workflows["ftgate.yml"]
    triggers = set(gate[True])
    assert gate[True]["pull_request_target"] == {"branches": ["trunk"]}
    assert "pull_request" not in triggers
    # Runs for a tag or a branch of the merge queue are of refs that whoever may push can make: they get no key.
    assert ({"merge_group", "release"} & triggers == set()) == bool(app)
    plan, evaluate = gate["jobs"]["plan"], gate["jobs"]["evaluate"]
    if forks:
        assert "if" not in plan, "branches of the repository and forks alike"
        assert "head.repo.full_name != github.repository && 'ftgate-forks'" in evaluate["environment"]
    else:
        assert " ".join(plan["if"].split()) == OWN_OR_NO_PULL
        assert "environment" not in evaluate


def test_only_the_jobs_whose_records_are_signed_may_ask_for_an_identity_and_the_policy_names_them(
    tmp_path: Path,
) -> None:
    for app in ("", "my-app"):
        settings, workflows = begin(tmp_path / f"app {app}", sign=True, app=app)
        assert (settings.ledger, settings.sign) == ("branch", "sigstore")
        here = "https://github.com/acme/models/.github/workflows"
        assert settings.signers == (f"{here}/ftgate.yml@refs/heads/trunk", f"{here}/{WAIVE}@refs/heads/trunk")
        jobs = jobs_of(workflows)
        assert {n for n, job in jobs.items() if job["permissions"].get("id-token") == "write"} == {"report", "waive"}
        assert [job["permissions"].get("statuses") for job in jobs.values()].count("write") == (0 if app else 4)


def test_the_command_says_which_environment_the_app_needs(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["init", str(tmp_path), "--action", ACTION, "--app", "my-app"])
    assert done.exit_code == 0, done.output
    assert "the environment ftgate-publish for the branch main alone, with the variable FTGATE_APP_ID" in done.output
    with pytest.raises(ConfigurationError, match="not the name of an App"):
        list(write_starter_files(tmp_path, ACTION, app='x"\n'))
