"""From `ftgate init` in a fresh repository to the first comment: files, lines and steps are counted.

act runs the workflow that `init` wrote, with the reusable workflow that it calls. `$/cpu` in that one is written out as
the platform resolves it, which act cannot: the repository and commit of the workflow that says it.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.github import events
from support.github.machine import ACTION, MANIFEST, ROOT, RUNNER_PATHS, WORLD, FreshMachine, Machine, weights
from support.github.server import FakeGitHub
from support.github.state import PullRequest

from ftgate.cli.main import cli

GUIDE = (ROOT / "docs" / "github.md").read_text(encoding="utf-8")


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[FreshMachine]:
    act = shutil.which("act", path=str(Path(sys.executable).parent)) or shutil.which("act")
    if act is None:
        pytest.skip("act is not installed: make install-dev")
    with FakeGitHub(tmp_path / "platform") as hub:
        found = FreshMachine(hub, tmp_path, act)
        yield found
        assert not hub.invalid
        assert not re.search(RUNNER_PATHS, found.published())


def adapt(machine: Machine) -> None:
    """What step 2 of the guide asks for: this repository's suites and models, and an engine that this machine has."""
    path = machine.workspace / ".github" / "ftgate.yml"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(  # What did it forget.*?)(?=judge:)", "", text, flags=re.DOTALL)
    text = re.sub(r"judge: .*\n", "", text)
    text = text.replace("vllm, dtype: bfloat16", "transformers, dtype: float32").replace("4096", "384")
    path.write_text(text.replace('"/models/**"', '"../weights/*"'), encoding="utf-8")


def written(machine: Machine) -> dict[str, str]:
    """The files of the installing pull request: all that git would add."""
    listed = machine.git("status", "--porcelain", "--untracked-files=all").splitlines()
    return {line[3:]: (machine.workspace / line[3:]).read_text(encoding="utf-8") for line in listed}


@pytest.mark.engine
def test_one_pull_request_of_three_files_and_38_lines_leads_to_the_first_comment(machine: FreshMachine) -> None:
    start = {"evals/target.jsonl": (WORLD / "evals" / "target.jsonl").read_bytes(), "README.md": "our models\n"}
    base = machine.hub.git.commit(start | weights("base", "base"), branch="main")
    # Step 1, and what it leaves to read.
    said = CliRunner().invoke(cli, ["init", str(machine.workspace), "--action", ACTION])
    assert said.exit_code == 0, said.output
    files = written(machine)
    lines = [line for text in files.values() for line in text.splitlines() if re.match(r"\s*[^#\s]", line)]
    assert (len(files), len(lines)) == (3, 38)
    # Step 2: the installing pull request.
    adapt(machine)
    files = {name: text for name, text in written(machine).items() if name != "models/my-model.yaml"}
    machine.commit("install")
    head = machine.hub.git.commit(files, base)
    machine.hub.pulls[6] = PullRequest(6, head, base)
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[6]))
    found = [(s.state, s.description, s.sha) for s in machine.hub.statuses]
    assert found == [("success", "not on main yet: merge this; judging starts with the next one", head)], log
    assert not machine.hub.comments
    assert len(machine.docker()) == 1
    # Step 3 is the runner, which this machine is. The next pull request changes a model.
    machine.hub.git.commit(files, base, branch="main")
    machine.base = machine.head = machine.hub.git.commit(files, base, branch="main")
    head = machine.hub.git.commit({"models/bot.yaml": MANIFEST} | weights("bot", "useless"), machine.base)
    machine.hub.pulls[7] = PullRequest(7, head, machine.base)
    log = machine.run("pull_request", events.pull_request(machine.hub.pulls[7]))
    assert [(s.state, s.sha) for s in machine.hub.statuses[1:]] == [("pending", head), ("failure", head)], log
    (comment,) = machine.hub.comments
    assert comment.number == 7
    assert [command for command in machine.docker() if "--gpus" in command], "the evaluation was asked for GPUs"


def test_the_guide_names_the_numbers_that_are_counted() -> None:
    steps = GUIDE.split("## Steps\n", 1)[1].split("### On request", 1)[0]
    said = " ".join(steps.split())
    assert "one pull request, three files with 38 lines (comments not counted), and steps 1 to 3" in said
    numbered = re.split(r"^(\d)\. ", steps, flags=re.MULTILINE)
    told = dict(zip(numbered[1::2], numbered[2::2], strict=True))
    assert "gets the first comment" in " ".join(told["3"].split())
    assert list(told) == ["1", "2", "3", "4", "5"]
