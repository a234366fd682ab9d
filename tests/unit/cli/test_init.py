"""`ftgate init`: what it writes can be used, and nothing is written over."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from support.terminal import play

from ftgate.cli.existing_setup import require_writable
from ftgate.cli.git_remote import Remote, read_remote
from ftgate.cli.init import NO_COMMIT, NO_REMOTE, WAIVE, write_starter_files
from ftgate.cli.main import cli
from ftgate.cli.schema import schema_of
from ftgate.config.manifest import read_manifest
from ftgate.config.policy import read_policy
from ftgate.errors import ConfigurationError
from ftgate.measurements.gated_slices import gated
from ftgate.measurements.registry import read_measurements
from scripts.gate_workflow import gate_workflow

ACTION = "acme/ftgate@" + "1234567890" * 4
WHOLE = {"settle": True, "jobs": True}
"""Every workflow, with all jobs."""
WORKFLOWS = ("ftgate.yml", "ftgate-settle.yml")


WORKFLOW_FOLDER = Path(__file__).parents[3] / ".github" / "workflows"


def begin(folder: Path, action: str = ACTION, remote: Remote = NO_REMOTE, **options: bool) -> dict[str, str]:
    return {path.as_posix(): done for path, done in write_starter_files(folder, action, remote, **options)}


def workflow(folder: Path, name: str = "ftgate.yml") -> str:
    return (folder / ".github" / "workflows" / name).read_text(encoding="utf-8")


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


def test_what_is_commented_out_can_be_used_as_it_stands(tmp_path: Path) -> None:
    begin(tmp_path)
    files = {
        kind: tmp_path / path for kind, path in (("policy", ".github/ftgate.yml"), ("manifest", "models/my-model.yaml"))
    }
    for path in files.values():
        text = re.sub(r"^( *)# (\w+: +\{)", r"\1\2", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        path.write_text(text, encoding="utf-8")
    policy = read_policy(files["policy"])
    measurements = {m.name: m for m in read_measurements(policy.measurements, "")}
    assert measurements.keys() > {"safety", "tools", "german"}
    assert measurements["german"].tier == "supporting"
    assert list(gated(measurements["german"])) == ["law"]
    assert (policy.incumbent.source, policy.publish.ledger) == ("last-allowed", "branch")
    incumbent = read_manifest(files["manifest"]).incumbent
    assert not isinstance(incumbent, str)
    assert incumbent is not None
    assert incumbent.source == "/models/deployed"


def test_a_reviewer_reads_three_files_of_at_most_40_lines(tmp_path: Path) -> None:
    subprocess.run(("git", "init", "-q", str(tmp_path)), check=True)
    begin(tmp_path)
    listed = ("git", "-C", str(tmp_path), "status", "--porcelain", "--untracked-files=all")
    listing = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
    paths = [line[3:] for line in listing.splitlines()]
    assert paths == [".github/ftgate.yml", ".github/workflows/ftgate.yml", "models/my-model.yaml"]
    texts = [(tmp_path / path).read_text(encoding="utf-8") for path in paths]
    lines = [line for text in texts for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) == 38
    assert max(map(len, lines)) <= 120
    guide = (Path(__file__).parents[3] / "docs" / "github.md").read_text(encoding="utf-8")
    assert f"three files with {len(lines)} lines" in guide


def test_the_workflow_calls_the_one_that_the_actions_come_with(tmp_path: Path) -> None:
    begin(tmp_path)
    (job,) = yaml.safe_load(workflow(tmp_path))["jobs"].values()
    assert job["uses"] == ACTION.replace("@", "/.github/workflows/gate.yml@")
    called = yaml.safe_load((Path(__file__).parents[3] / ".github/workflows/gate.yml").read_text(encoding="utf-8"))
    assert set(job["with"]) <= set(called[True]["workflow_call"]["inputs"])
    levels = ("none", "read", "write")
    for asked in (called["jobs"][name].get("permissions", {}) for name in called["jobs"]):
        for scope, level in asked.items():
            assert levels.index(job["permissions"].get(scope, "none")) >= levels.index(level), "the run would not start"
    assert "permissions" not in called, "it would be all that the report may do"
    assert called["jobs"]["evaluate"]["permissions"] == {}


def test_the_reusable_workflow_has_the_jobs_of_the_projects_own() -> None:
    own = (WORKFLOW_FOLDER / "gate.yml").read_text(encoding="utf-8")
    assert gate_workflow() == own, "run `make reference`"
    text = re.sub("#.*", "", own)
    assert "checkout" not in text
    assert "./" not in text


@pytest.mark.parametrize("host", ["git.example.com", "acme.ghe.com"])
def test_a_server_on_which_workflows_cannot_name_their_own_actions_gets_all_jobs(tmp_path: Path, host: str) -> None:
    begin(tmp_path / "there", remote=Remote(host, "acme/models"))
    begin(tmp_path / "asked", jobs=True)
    assert set(yaml.safe_load(workflow(tmp_path / "there"))["jobs"]) == {"plan", "evaluate", "report"}
    assert workflow(tmp_path / "there").replace(host, "github.com") == workflow(tmp_path / "asked")


def test_jobs_that_need_no_gpu_take_their_label_from_one_variable(tmp_path: Path) -> None:
    begin(tmp_path, waivers=True, **WHOLE)
    texts = [workflow(tmp_path, name) for name in (*WORKFLOWS, WAIVE)] + [
        (WORKFLOW_FOLDER / "gate.yml").read_text("utf-8")
    ]
    labels = [job["runs-on"] for text in texts for job in yaml.safe_load(text)["jobs"].values()]
    gpu = [label for label in labels if label in (["self-hosted", "gpu"], "${{ fromJSON(inputs.runner) }}")]
    assert len(gpu) == 2
    assert {str(label) for label in labels if label not in gpu} == {"${{ vars.FTGATE_RUNNER || 'ubuntu-latest' }}"}


def test_the_workflows_take_the_actions_from_where_one_says_and_check_out_nothing(tmp_path: Path) -> None:
    begin(tmp_path, **WHOLE)
    for name in WORKFLOWS:
        text = (tmp_path / ".github" / "workflows" / name).read_text(encoding="utf-8")
        assert "checkout" not in re.sub("#.*", "", text)
        assert "./" not in text
        steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
        ours = [step["uses"] for step in steps if step.get("uses", "").startswith("acme/ftgate")]
        assert ours
        assert all(re.fullmatch(r"acme/ftgate/(cpu|gpu)@(1234567890){4}", use) for use in ours)
        assert all(len(step) > 1 or "run" in step or step["uses"] in ours for step in steps)


def test_with_everything_only_the_steps_about_ftgate_itself_differ(tmp_path: Path) -> None:
    begin(tmp_path, forks=True, ledger=True, waivers=True, **WHOLE)
    for name in (*WORKFLOWS, WAIVE):
        own = yaml.safe_load((Path(__file__).parents[3] / ".github" / "workflows" / name).read_text(encoding="utf-8"))
        given = yaml.safe_load(workflow(tmp_path, name))
        for job in own["jobs"].values():
            job["steps"] = [step for step in job["steps"] if not step.get("uses", "").startswith("actions/checkout")]
            for step in job["steps"]:
                if step.get("uses", "") == "./gpu":
                    step["with"] = {"models": "/models", "cache": "${{ runner.tool_cache }}/ftgate"}
                if step.get("uses", "").startswith("./"):
                    step["uses"] = ACTION.replace("@", f"/{step['uses'][2:]}@")
        assert given == own


def test_waivers_bring_their_workflow_and_the_ledger_that_they_need(tmp_path: Path) -> None:
    written = begin(tmp_path, waivers=True)
    assert written[f".github/workflows/{WAIVE}"] == "wrote"
    assert read_policy(tmp_path / ".github" / "ftgate.yml").publish.ledger == "branch"
    assert f"# https://github.com/{ACTION.replace('@', '/blob/')}/docs/audit.md\n" in workflow(tmp_path, WAIVE)
    assert workflow(tmp_path).count("contents: write # the ledger branch") == 1


@pytest.mark.parametrize("options", [{}, WHOLE])
def test_forks_and_the_ledger_are_off_until_asked_for(tmp_path: Path, options: dict[str, bool]) -> None:
    begin(tmp_path, **options)
    assert "pull_request_target" not in workflow(tmp_path)
    written = [path.read_text(encoding="utf-8") for path in (tmp_path / ".github" / "workflows").iterdir()]
    assert not [text for text in written if "contents: write" in text]
    assert read_policy(tmp_path / ".github" / "ftgate.yml").publish.ledger == "comment"
    begin(tmp_path / "asked", ledger=True, forks=True, **options)
    assert read_policy(tmp_path / "asked" / ".github" / "ftgate.yml").publish.ledger == "branch"
    assert "contents: write" in workflow(tmp_path / "asked")
    assert "pull_request_target" in workflow(tmp_path / "asked")


@pytest.mark.parametrize("options", [{}, WHOLE])
def test_pages_are_published_by_a_job_of_their_own_and_only_if_asked_for(tmp_path: Path, options: dict) -> None:
    begin(tmp_path / "without", **options)
    assert "pages" not in workflow(tmp_path / "without")
    begin(tmp_path, remote=Remote(repository="acme/models"), pages=True, **options)
    jobs = yaml.safe_load(workflow(tmp_path))["jobs"]
    (needed,) = [jobs["pages"]["needs"]]
    assert jobs["pages"]["permissions"] == {"pages": "write", "id-token": "write"}
    assert f"needs.{needed}.outputs.pages == 'true'" in jobs["pages"]["if"]
    gate = yaml.safe_load(gate_workflow())
    report = (jobs if options else gate["jobs"])["report"]
    told = report if options else jobs["gate"]
    assert "https://acme.github.io/models" in str(told)
    assert report["outputs"] == {"pages": "${{ steps.report.outputs.pages }}"}
    assert report["steps"][-1]["with"]["path"] == "ftgate-pages/artifact.tar"


def test_the_jobs_of_a_workflow_without_forks_know_none(tmp_path: Path) -> None:
    begin(tmp_path, **WHOLE)
    given = yaml.safe_load(workflow(tmp_path))
    assert "environment" not in given["jobs"]["evaluate"]
    assert "pull_request.head.repo.full_name == github.repository" in given["jobs"]["plan"]["if"]
    assert all("actions" not in job["permissions"] for job in given["jobs"].values())


def test_models_of_the_policy_are_mounted(tmp_path: Path) -> None:
    begin(tmp_path)
    begin(tmp_path / "whole", **WHOLE)
    policy, manifest = (
        read_policy(tmp_path / ".github" / "ftgate.yml"),
        read_manifest(tmp_path / "models/my-model.yaml"),
    )
    steps = yaml.safe_load(workflow(tmp_path / "whole"))["jobs"]["evaluate"]["steps"]
    (step,) = (s for s in steps if "/gpu@" in s.get("uses", ""))
    used = [policy.judge.source, manifest.base.source, manifest.candidate.source]
    for given in (step, yaml.safe_load(workflow(tmp_path))["jobs"]["gate"]):
        assert all(source.startswith(f"{given['with']['models']}/") for source in used)


def test_a_second_run_writes_no_example_beside_a_manifest_of_ones_own(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "models" / "my-model.yaml").rename(tmp_path / "models" / "support-bot.yaml")
    assert "models/my-model.yaml" not in begin(tmp_path)
    assert not (tmp_path / "models" / "my-model.yaml").exists()


@pytest.mark.parametrize("options", [{}, WHOLE])
def test_a_second_run_with_the_action_fills_it_in_and_keeps_what_was_edited(tmp_path: Path, options: dict) -> None:
    begin(tmp_path, NO_COMMIT, **options)
    path = tmp_path / ".github" / "workflows" / "ftgate.yml"
    path.write_text(workflow(tmp_path).replace("gpu", "a100"), encoding="utf-8")
    done = begin(tmp_path, **options)
    assert {p for p, outcome in done.items() if outcome == "filled in"} == {
        f".github/workflows/{w}" for w in (WORKFLOWS if options else WORKFLOWS[:1])
    }
    assert "self-hosted" in workflow(tmp_path)
    begin(tmp_path / "at once", **options)
    assert workflow(tmp_path) == workflow(tmp_path / "at once").replace("gpu", "a100")
    assert set(begin(tmp_path, ACTION.replace("acme", "other")).values()) == {"kept"}
    assert "other/ftgate" not in workflow(tmp_path)


def test_what_is_asked_for_later_is_added_and_what_would_change_a_file_is_said(tmp_path: Path) -> None:
    begin(tmp_path)
    said = CliRunner().invoke(cli, ["init", str(tmp_path), "--action", ACTION, "--settle"]).output
    assert "wrote     .github/workflows/ftgate-settle.yml" in said
    assert "move away" not in said


@pytest.mark.parametrize(
    ("options", "names", "steps"),
    [
        ({"waivers": True}, "--waivers", ["ledger: branch}", "move .github/workflows/ftgate.yml away"]),
        ({"ledger": True}, "--ledger", ["ledger: branch}", "move .github/workflows/ftgate.yml away"]),
        ({"pages": True}, "--pages", ["move .github/workflows/ftgate.yml away"]),
        ({"forks": True}, "--forks", ["move .github/workflows/ftgate.yml away"]),
        ({"jobs": True}, "--jobs", ["move .github/workflows/ftgate.yml away"]),
        ({"app": "bot"}, "--app", ['expected_creator: "bot[bot]"}', "move .github/workflows/ftgate.yml away"]),
        ({"sign": True}, "--sign", ["ledger: branch}", "sign: sigstore", "move .github/workflows/ftgate.yml away"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else str(value),
)
def test_what_cannot_be_added_is_refused_and_not_written_by_half(
    tmp_path: Path, options: dict, names: str, steps: list[str]
) -> None:
    begin(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    given = [text for name, value in options.items() for text in (f"--{name}", value) if isinstance(text, str)]
    refused = CliRunner().invoke(cli, ["init", str(tmp_path), *given]).exception
    assert isinstance(refused, ConfigurationError)
    assert refused.message.startswith(f"{names}: .github/")
    assert "nothing was written" in refused.message
    for step in steps:
        assert step in refused.hint
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    begin(tmp_path / "new", **options)
    assert CliRunner().invoke(cli, ["init", str(tmp_path / "new"), *given]).exit_code == 0, "it has all that is asked"


def test_waivers_are_added_to_a_set_up_with_a_ledger(tmp_path: Path) -> None:
    begin(tmp_path, ledger=True)
    done = CliRunner().invoke(cli, ["init", str(tmp_path), "--waivers"])
    assert f"wrote     .github/workflows/{WAIVE}" in done.output


def test_where_the_actions_come_from_is_said_where_it_is_not_what_was_asked_for(tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        return CliRunner().invoke(cli, ["init", str(tmp_path), *arguments]).output

    assert "of ftgate's actions, which ftgate.yml lacks" in said()
    assert "lacks" not in said("--action", ACTION)
    assert "lacks" not in said("--settle", "--action", ACTION)
    assert f"note: ftgate.yml keeps {ACTION}: for another commit, replace it there" in said(
        "--action", ACTION.replace("1", "f")
    )
    assert "which ftgate-settle.yml lacks" not in said("--settle")


def test_below_the_root_of_a_clone_the_root_is_named(tmp_path: Path) -> None:
    subprocess.run(("git", "init", "-q", str(tmp_path)), check=True)
    (tmp_path / "sub").mkdir()
    said = CliRunner().invoke(cli, ["init", str(tmp_path / "sub")]).output
    first, *_, last = said.splitlines()
    assert first == (
        f"note: {tmp_path / 'sub'} is not the root of the clone, {tmp_path}: GitHub reads .github only there"
    )
    assert last == f"next: for GitHub, run `ftgate init` in {tmp_path}: it reads .github only there"
    refused = CliRunner().invoke(cli, ["init", str(tmp_path / "sub"), "--action", ACTION]).exception
    assert str(refused).startswith("--action: only for the root of the clone, because GitHub reads no other .github; ")
    assert "root of the clone" not in CliRunner().invoke(cli, ["init", str(tmp_path)]).output


def test_the_documentation_is_linked_by_the_address_of_the_action(tmp_path: Path) -> None:
    begin(tmp_path, remote=Remote("git.example.com", "acme/models", "trunk"))
    text = workflow(tmp_path)
    assert f"https://git.example.com/acme/ftgate/blob/{ACTION.partition('@')[2]}/docs/github.md\n" in text
    assert " docs/" not in text
    assert "branches: [trunk]" in text


@pytest.mark.parametrize(("file", "kind"), [(".github/ftgate.yml", "policy"), ("models/my-model.yaml", "manifest")])
def test_policy_and_manifest_name_their_schema_for_editors(tmp_path: Path, file: str, kind: str) -> None:
    begin(tmp_path)
    first = (tmp_path / file).read_text(encoding="utf-8").splitlines()[0]
    schema = (tmp_path / file).parent / first.removeprefix("# yaml-language-server: $schema=")
    assert schema.read_text(encoding="utf-8") == schema_of(kind) + "\n"


@pytest.mark.parametrize(
    ("address", "host", "repository"),
    [
        ("https://github.com/acme/models.git", "github.com", "acme/models"),
        ("https://user:secret@git.example.com/acme/my.models", "git.example.com", "acme/my.models"),
        ("git@github.com:acme/models.git", "github.com", "acme/models"),
        ("ssh://git@git.example.com:2222/acme/models/", "git.example.com", "acme/models"),
        ("ssh://git@ssh.github.com:443/acme/models.git", "github.com", "acme/models"),
        ("https://git.example.com:8443/acme/models.git", "git.example.com:8443", "acme/models"),
        ("/srv/git/models", "github.com", ""),
    ],
)
def test_owner_and_repository_are_those_of_the_remote(tmp_path: Path, address: str, host: str, repository: str) -> None:
    for arguments in (("init", "-q", "-b", "main"), ("remote", "add", "origin", address)):
        subprocess.run(("git", "-C", str(tmp_path), *arguments), check=True)
    assert read_remote(tmp_path) == Remote(host, repository)
    ref = tmp_path / ".git" / "refs" / "remotes" / "origin" / "HEAD"
    ref.parent.mkdir(parents=True)
    ref.write_text("ref: refs/remotes/origin/trunk\n")
    assert read_remote(tmp_path).branch == "trunk"
    said = CliRunner().invoke(cli, ["init", str(tmp_path), "--forks"]).output
    assert f"https://{host}/{repository or 'OWNER/NAME'}/settings/environments" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://gitlab.com/group/sub/models.git", "gitlab.com"),
        ("git@gitlab.example.com:group/models.git", "gitlab.example.com"),
        ("https://user@bitbucket.org/acme/models.git", "bitbucket.org"),
        ("ssh://git@codeberg.org/acme/models", "codeberg.org"),
        ("git@git.example.com:group/sub/models.git", "git.example.com"),
        ("https://dev.azure.com/acme/models/_git/models", "dev.azure.com"),
    ],
)
def test_elsewhere_than_on_github_no_workflow_is_written_and_what_works_is_said(
    tmp_path: Path, address: str, host: str
) -> None:
    for arguments in (("init", "-q", "-b", "main"), ("remote", "add", "origin", address)):
        subprocess.run(("git", "-C", str(tmp_path), *arguments), check=True)
    assert read_remote(tmp_path) == Remote(elsewhere=host)
    output = CliRunner().invoke(cli, ["init", str(tmp_path)]).output
    assert f"note: {host} is not GitHub: there `ftgate run` works in any job" in output
    assert not (tmp_path / ".github" / "workflows").exists()
    assert (tmp_path / ".github" / "ftgate.yml").exists()
    assert "github.com" not in output
    assert "ftgate init --action" not in output
    assert "next: merge these files\n" in output
    assert "next: let a job run `ftgate run --manifest models/my-model.yaml`, and keep the folder out/ what" in output
    options = [["--action", ACTION], *([f"--{name}"] for name in ("forks", "ledger", "waivers", "settle", "jobs"))]
    for option in options:
        refused = CliRunner().invoke(cli, ["init", str(tmp_path), *option]).exception
        assert str(refused).startswith(f"{option[0]}: only for GitHub, and origin is {host}; nothing was written")
    again = CliRunner().invoke(cli, ["init", str(tmp_path), "--pages", "--app", "bot"]).exception
    assert str(again).startswith(f"--pages and --app: only for GitHub, and origin is {host}; nothing was written")
    assert not (tmp_path / ".github" / "workflows").exists()


@pytest.mark.parametrize(
    ("branches", "default"),
    [
        (["master"], "master"),
        (["trunk", "feature"], "trunk"),
        (["stable", "next"], "next"),
        (["topic", "main"], "main"),
    ],
)
def test_the_default_branch_of_a_clone_that_does_not_say_it(tmp_path: Path, branches: list[str], default: str) -> None:
    """As after `git init` and `git remote add`: the usual name counts, else the current branch, which is the last."""

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
        subprocess.run(("git", "-C", str(tmp_path), *who, *arguments), check=True)

    git("init", "-q", "-b", branches[0])
    if len(branches) == 1:
        assert read_remote(tmp_path).branch == default, "before the first commit"
    git("commit", "-q", "--allow-empty", "-m", "first")
    for name in branches[1:]:
        git("checkout", "-q", "-b", name)
    git("remote", "add", "origin", "https://github.com/acme/models.git")
    assert read_remote(tmp_path) == Remote(repository="acme/models", branch=default)


def test_without_a_clone_nothing_is_known_of_the_remote(tmp_path: Path) -> None:
    assert read_remote(tmp_path / "nothing") == Remote()


def test_this_repository_holds_its_own_models_to_the_limits_of_the_tiny_world() -> None:
    root = Path(__file__).parents[3]
    ours, theirs = read_policy(root / ".github" / "ftgate.yml"), read_policy(root / "examples/tinyworld/policy.yaml")
    for name, section in theirs.measurements.items():
        assert ours.measurements[name] == {**section, "dataset": f"../examples/tinyworld/{section['dataset']}"}
    assert (ours.evidence, ours.engine) == (theirs.evidence, theirs.engine)


def test_schemas_of_another_version_are_renewed(tmp_path: Path) -> None:
    """Or else the editor calls the fields of a newer ftgate errors."""
    list(write_starter_files(tmp_path, NO_COMMIT))
    policy, manifest = (tmp_path / ".ftgate" / f"{kind}.schema.json" for kind in ("policy", "manifest"))
    current = policy.read_text(encoding="utf-8")
    policy.write_text("{}", encoding="utf-8")
    ignore = tmp_path / ".ftgate" / ".gitignore"
    ignore.write_text("*\n!policy.schema.json\n", encoding="utf-8")
    again = dict(write_starter_files(tmp_path, NO_COMMIT))
    assert [path.name for path, outcome in again.items() if outcome == "renewed"] == [policy.name]
    assert policy.read_text(encoding="utf-8") == current
    assert ignore.read_text(encoding="utf-8").startswith("*\n!")
    policy.unlink()
    policy.symlink_to(manifest)
    with pytest.raises(ConfigurationError, match="is a link"):
        list(write_starter_files(tmp_path, NO_COMMIT))


@pytest.mark.parametrize("text", ["{{{", "", "version: 1\n", "version: 1\nmeasurements: {}\n"])
def test_a_policy_that_check_would_refuse_is_refused_before_anything_is_written(tmp_path: Path, text: str) -> None:
    (tmp_path / ".github").mkdir()
    (tmp_path / ".github" / "ftgate.yml").write_text(text, encoding="utf-8")
    done = CliRunner().invoke(cli, ["init", str(tmp_path), "--yes"])
    assert isinstance(done.exception, ConfigurationError)
    assert "ftgate.yml" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == [".github"]


def test_no_example_of_a_manifest_is_written_beside_models(tmp_path: Path) -> None:
    begin(tmp_path / "new")
    (tmp_path / "new" / "models" / "my-model.yaml").unlink()
    (tmp_path / "new" / "models" / "bot").mkdir()
    (tmp_path / "new" / "models" / "bot" / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    said = CliRunner().invoke(cli, ["init", str(tmp_path / "new")]).output
    assert "my-model" not in said
    assert "next: write a manifest such as models/NAME.yaml; `ftgate schema manifest` prints its fields\n" in said


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["init", str(tmp_path / "nosuch")])
    assert done.exit_code == 2
    assert "nosuch' does not exist" in done.output
    assert not (tmp_path / "nosuch").exists()


@pytest.mark.parametrize("blocked", [".github/workflows", ".ftgate", "models"])
def test_what_is_in_the_way_is_named_before_anything_is_written(tmp_path: Path, blocked: str) -> None:
    (tmp_path / blocked).parent.mkdir(exist_ok=True)
    (tmp_path / blocked).touch()
    with pytest.raises(ConfigurationError, match=f"{re.escape(blocked)} is not a folder, and .* must be in it"):
        begin(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / blocked]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    policy = tmp_path / ".github" / "ftgate.yml"
    policy.parent.mkdir()
    policy.write_text("mine", encoding="utf-8")
    assert begin(tmp_path) == {
        ".github/ftgate.yml": "kept",
        "models/my-model.yaml": "wrote",
        ".github/workflows/ftgate.yml": "wrote",
    }
    assert set(begin(tmp_path).values()) == {"kept"}
    assert policy.read_text(encoding="utf-8") == "mine"


def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "my-model.yaml").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError):
        begin(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
    begin(tmp_path / "linked", NO_COMMIT)
    path = tmp_path / "linked" / ".github" / "workflows" / "ftgate.yml"
    path.rename(tmp_path / "mine")
    path.symlink_to(tmp_path / "mine")
    with pytest.raises(ConfigurationError, match="link"):
        begin(tmp_path / "linked")
    assert ACTION not in (tmp_path / "mine").read_text()


@pytest.mark.parametrize("action", ["acme/ftgate@v1", "acme/ftgate", "ftgate@" + "0" * 40, ACTION + "\n- run: rm", ""])
def test_an_action_is_named_by_a_commit(tmp_path: Path, action: str) -> None:
    with pytest.raises(ConfigurationError, match="commit"):
        begin(tmp_path, action)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--action", "acme/ftgate@v1"], "--action 'acme/ftgate@v1': not owner/name@<commit of 40"),
        (["--action", "OWNER/ftgate@" + "12" * 20], "OWNER stands for the account that holds ftgate's actions"),
        (["--action", "acme/ftgate@" + "0" * 40], "no repository has this commit"),
        (["--app", "my app"], "--app 'my app': not the name of an App"),
    ],
)
def test_options_that_cannot_be_are_refused_before_any_question(
    tmp_path: Path, options: list[str], reason: str
) -> None:
    said, code = play(["init", *options], ["^C"], tmp_path)
    assert code == 2
    assert reason in said
    assert "Candidate" not in said
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_named_before_any_question(tmp_path: Path) -> None:
    (tmp_path / "models").touch()
    said, code = play(["init"], ["^C"], tmp_path)
    assert code == 2
    assert "models is not a folder, and models/NAME.yaml must be in it; nothing was written" in said
    assert "Candidate" not in said


def test_a_folder_that_cannot_be_written_to_is_named_before_any_question(tmp_path: Path) -> None:
    """Not even root writes into the folder of a kernel's settings, if that is mounted to be read only."""
    folder = tmp_path
    if os.geteuid() == 0:
        folder = next((place for place in (Path("/sys"), Path("/proc/sys")) if not os.access(place, os.W_OK)), Path())
        if not folder.is_absolute():
            pytest.skip("root may write everywhere here")
    else:
        folder.chmod(0o555)
    with pytest.raises(ConfigurationError, match="cannot be written to; nothing was written"):
        require_writable(folder)


@pytest.mark.parametrize("name", [".gitlab-ci.yml", "bitbucket-pipelines.yml"])
def test_a_server_of_ones_own_is_known_by_its_pipelines(tmp_path: Path, name: str) -> None:
    for arguments in (("init", "-q", "-b", "main"), ("remote", "add", "origin", "git@git.example.com:acme/models.git")):
        subprocess.run(("git", "-C", str(tmp_path), *arguments), check=True)
    said = CliRunner().invoke(cli, ["init", str(tmp_path)]).output
    assert "note: git.example.com is taken for a GitHub Enterprise Server" in said
    (tmp_path / name).touch()
    assert read_remote(tmp_path) == Remote(elsewhere="git.example.com")


def test_a_workflow_that_was_here_and_does_not_run_ftgate_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".github" / "workflows" / "ftgate.yml"
    path.parent.mkdir(parents=True)
    path.write_text("on: push\njobs: {}\n", encoding="utf-8")
    said = CliRunner().invoke(cli, ["init", str(tmp_path)]).output
    assert f"next: move {path} away and run this again: it was here already, and does not run ftgate\n" in said
    path.write_text("on: push\njobs: {a: {steps: [{run: ftgate run --manifest a.yaml}]}}\n", encoding="utf-8")
    assert "does not run ftgate" not in CliRunner().invoke(cli, ["init", str(tmp_path)]).output


def test_a_folder_with_spaces_is_quoted_in_the_commands(tmp_path: Path) -> None:
    folder = tmp_path / "my models"
    folder.mkdir()
    assert f"then cd '{folder}' && ftgate check --manifest" in CliRunner().invoke(cli, ["init", str(folder)]).output


def test_without_an_action_nothing_runs_by_mistake(tmp_path: Path) -> None:
    begin(tmp_path, NO_COMMIT)
    text = (tmp_path / ".github" / "workflows" / "ftgate.yml").read_text(encoding="utf-8")
    assert f"OWNER/ftgate/.github/workflows/gate.yml@{'0' * 40}" in text


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="file"):
        begin(tmp_path / "file")
