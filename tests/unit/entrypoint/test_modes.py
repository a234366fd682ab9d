"""From the runner's environment to command lines: which, in which order, and who sees the token."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrypoint.modes import CANCELLED, FAILED, FAILURE, LISTING, REASON, USAGE, VERDICTS, Inputs, run_mode, slug
from ftgate.cli import failure as failing
from ftgate.github import failure_file as failures

CRASHED = 99


def values(arguments: Sequence[str], option: str) -> list[str]:
    return [value for word, value in pairwise(arguments) if word == option]


class Recorder:
    """In ftgate's place: remembers the calls and answers by the first word, or by the manifest's name.

    A verdict leaves a report. A cancelled or crashed process leaves those that come after undone.
    """

    def __init__(self, **codes: int) -> None:
        self.codes, self.calls = codes, []
        self.environments: list[Mapping[str, str]] = []

    def __call__(self, arguments: Sequence[str], env: Mapping[str, str]) -> int:
        self.calls.append(list(arguments))
        self.environments.append(env)
        if arguments[0] != "run":
            return self.codes.get(arguments[0], 0)
        worst = 0
        for manifest, out in zip(values(arguments, "--manifest"), values(arguments, "--out"), strict=True):
            code = self.codes.get(f"run_{Path(manifest).stem}", self.codes.get("run", 0))
            if code in VERDICTS:
                Path(out).mkdir(parents=True, exist_ok=True)
                Path(out, "report.json").touch()
            elif code in (*CANCELLED, CRASHED):
                return code
            worst = worst or code
        return worst

    @property
    def words(self) -> list[str]:
        return [" ".join(call[:2]) if call[:2] == ["publish", "--pending"] else call[0] for call in self.calls]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parcel(*manifests: str) -> None:
    Path("ftgate-job").mkdir()
    listing = {"policy": ".github/ftgate.yml", "sha": "a" * 40, "manifests": list(manifests)}
    Path("ftgate-job", LISTING).write_text(json.dumps(listing), encoding="utf-8")


def play(mode: str, recorder: Recorder, problem: str = "", **env: str) -> int:
    given_env = {"INPUT_MODE": mode, "INPUT_TOKEN": "hush", "GITHUB_OUTPUT": "outputs", "PATH": "/bin", **env}
    return run_mode(given_env, recorder, lambda _: problem)


def test_each_evaluation_is_told_the_commit_that_it_judges(workspace: Path) -> None:
    parcel("models/a.yaml")
    recorder = Recorder()
    assert play("evaluate", recorder) == 0
    assert [env["FTGATE_COMMIT"] for env in recorder.environments] == ["a" * 40]


def test_plan_announces_fetches_and_plans_each_manifest(workspace: Path) -> None:
    parcel("models/a.yaml", "models/b.yaml")
    recorder = Recorder()
    assert play("plan", recorder) == 0
    assert recorder.calls == [
        ["publish", "--pending", "--policy", ".github/ftgate.yml"],
        ["fetch", "ftgate-job", "--policy", ".github/ftgate.yml"],
        [
            *("plan", "--policy", "ftgate-job/.github/ftgate.yml"),
            *("--manifest", "ftgate-job/models/a.yaml", "--manifest", "ftgate-job/models/b.yaml"),
        ],
    ]


def test_settle_only_looks_and_reports(workspace: Path) -> None:
    recorder = Recorder()
    assert play("settle", recorder) == 0
    assert recorder.calls == [["publish", "--settle", "--policy", ".github/ftgate.yml"]]


@pytest.mark.parametrize(("broken", "words"), [("publish", 1), ("fetch", 2), ("plan", 3)])
def test_plan_stops_where_something_fails(workspace: Path, broken: str, words: int) -> None:
    parcel("models/a.yaml", "models/b.yaml")
    recorder = Recorder(**{broken: 2})
    assert play("plan", recorder) == 2
    assert len(recorder.calls) == words


def test_several_manifests_run_in_one_process_each_into_a_folder_of_its_own(workspace: Path) -> None:
    parcel("models/a.yaml", "models/b b.yaml")
    recorder = Recorder(run_a=1)
    assert play("evaluate", recorder) == 0
    assert recorder.calls == [
        [
            *("run", "--policy", "ftgate-job/.github/ftgate.yml"),
            *("--manifest", "ftgate-job/models/a.yaml", "--out", "ftgate-out/001-a"),
            *("--manifest", "ftgate-job/models/b b.yaml", "--out", "ftgate-out/002-b-b"),
        ]
    ]


def test_what_a_crash_left_undone_is_run_one_by_one_with_its_reason(workspace: Path) -> None:
    """Memory that runs out for one candidate takes the process with it, and not the others' verdicts."""
    parcel("models/a.yaml", "models/b.yaml", "models/c.yaml")
    recorder = Recorder(run_b=CRASHED)
    assert play("evaluate", recorder) == CRASHED
    assert [values(call, "--out") for call in recorder.calls] == [
        ["ftgate-out/001-a", "ftgate-out/002-b", "ftgate-out/003-c"],
        ["ftgate-out/002-b"],
        ["ftgate-out/003-c"],
    ]
    reports = sorted(path.parent.name for path in Path("ftgate-out").glob("*/report.json"))
    assert reports == ["001-a", "003-c"]
    failure = failures.read_failure(Path("ftgate-out", "002-b"))
    assert failure == failures.Failure("models/b.yaml", f"ftgate run ended with exit code {CRASHED}")


def test_what_the_ledger_says_of_deployed_models_is_passed_on(workspace: Path) -> None:
    parcel("models/a.yaml")
    path = Path("ftgate-job", LISTING)
    path.write_text(json.dumps({**json.loads(path.read_text()), "incumbents": {"models/a.yaml": {"note": "none"}}}))
    recorder = Recorder()
    assert play("evaluate", recorder) == 0
    call = recorder.calls[0]
    assert call[call.index("--bundle") + 1] == f"ftgate-job/{LISTING}"


@pytest.mark.parametrize(("code", "wanted"), [(0, 0), (1, 0), (4, 0), (2, 2), (3, 3), (130, 130)])
def test_a_verdict_is_no_failure_of_the_evaluation(workspace: Path, code: int, wanted: int) -> None:
    parcel("models/a.yaml")
    assert play("evaluate", Recorder(run=code)) == wanted


@pytest.mark.parametrize("code", [130, 143])
def test_a_cancelled_job_starts_no_further_evaluation(workspace: Path, code: int) -> None:
    parcel("models/a.yaml", "models/b.yaml")
    recorder = Recorder(run_b=code)
    assert play("evaluate", recorder) == code
    assert recorder.words == ["run"]
    assert failures.read_failure(Path("ftgate-out", "001-a")) is None
    stopped = failures.Failure("models/b.yaml", "the job was stopped before it had a verdict")
    assert failures.read_failure(Path("ftgate-out", "002-b")) == stopped


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_the_signals_of_a_cancelled_job_reach_ftgate(tmp_path: Path, sent: signal.Signals) -> None:
    """A container's signals go to its first process alone: here to the entrypoint, in a group of its own."""
    module = tmp_path / "ftgate.py"
    module.write_text(
        "import signal, sys, time\n"
        "for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, lambda n, _: sys.exit(128 + n))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    code = "import os, sys; from entrypoint import modes as m; sys.exit(m.ftgate(('run',), os.environ))"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[3])])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    while "ready" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(sent)
    assert process.wait(30) == 128 + sent


def test_a_manifest_that_fails_does_not_keep_the_next_from_being_judged(workspace: Path) -> None:
    parcel("models/a.yaml", "models/b.yaml", "models/c.yaml")
    recorder = Recorder(run_a=3, run_b=1, run_c=2)
    assert play("evaluate", recorder) == 3
    assert recorder.words == ["run"] * 3, "all together, then the two without a verdict"


def test_what_the_machine_lacks_is_said_before_anything_runs(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parcel("models/a.yaml")
    recorder = Recorder()
    assert play("evaluate", recorder, problem="no GPU\nbuy one") == FAILED
    assert not recorder.calls
    assert capsys.readouterr().err == "ftgate: error: no GPU\n  what to do: buy one\n"


def test_where_nothing_is_to_be_judged_nobody_asks_for_a_gpu(workspace: Path) -> None:
    parcel()
    assert play("evaluate", Recorder(), problem="no GPU\nbuy one") == 0


def test_report_hands_on_every_folder_in_order(workspace: Path) -> None:
    for name in ("002-b", "001-a"):
        Path("ftgate-out", name).mkdir(parents=True)
    Path("ftgate-out", "stray.txt").touch()
    recorder = Recorder(publish=4)
    assert play("report", recorder, INPUT_AUTHOR="bot", INPUT_PAGES="https://acme.github.io/models") == 4
    pages = ["--pages", "https://acme.github.io/models"]
    policy = ["--policy", ".github/ftgate.yml", *pages, "--author", "bot"]
    assert recorder.calls == [["publish", "ftgate-out/001-a", "ftgate-out/002-b", *policy]]


def test_waive_hands_on_what_the_person_gave_as_text_and_nothing_else(workspace: Path) -> None:
    asked = {"pull-request": "7", "commit": "a" * 40, "reason": "--policy x\n::error::$(id)", "days": "", "token": "t"}
    Path("event.json").write_text(json.dumps({"inputs": asked}), encoding="utf-8")
    recorder = Recorder()
    assert play("waive", recorder, GITHUB_EVENT_PATH="event.json") == 0
    (call,) = recorder.calls
    given_options = ["--pull-request=7", f"--commit={'a' * 40}", "--reason=--policy x\n::error::$(id)"]
    assert call == ["waive", *given_options, "--policy", ".github/ftgate.yml"]
    assert recorder.environments[0]["GITHUB_TOKEN"] == "hush"


@pytest.mark.parametrize("event", ["{}", '{"inputs": [1]}', "no JSON"])
def test_waive_without_inputs_says_how_to_start_it(
    workspace: Path, event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("event.json").write_text(event, encoding="utf-8")
    recorder = Recorder()
    assert play("waive", recorder, GITHUB_EVENT_PATH="event.json") == USAGE
    assert recorder.calls == []
    assert "start the workflow on workflow_dispatch by hand" in capsys.readouterr().err


def test_report_speaks_even_where_no_artifact_arrived(workspace: Path) -> None:
    recorder = Recorder(publish=3)
    assert play("report", recorder) == 3
    assert recorder.words == ["publish"]


@pytest.mark.parametrize(
    ("codes", "wanted", "words"),
    [
        ({}, 0, ["publish --pending", "fetch", "plan", "run", "publish"]),
        ({"run": 3, "publish": 0}, 0, ["publish --pending", "fetch", "plan", "run", "publish"]),
        ({"fetch": 2}, 2, ["publish --pending", "fetch", "publish"]),
        ({"plan": 2}, 2, ["publish --pending", "fetch", "plan", "publish"]),
    ],
)
def test_all_in_one_always_ends_with_a_report(
    workspace: Path, codes: dict[str, int], wanted: int, words: list[str]
) -> None:
    parcel("models/a.yaml")
    recorder = Recorder(**codes)
    assert play("all", recorder) == wanted
    assert recorder.words == words


def test_all_in_one_reports_even_where_there_was_nothing_to_run(workspace: Path) -> None:
    parcel()
    recorder = Recorder()
    assert play("all", recorder) == 0
    assert recorder.words == ["publish --pending", "fetch", "publish"]


def left_behind(*names: str) -> None:
    for name in names:
        Path("ftgate-out", name).mkdir(parents=True)
        Path("ftgate-out", name, "report.json").touch()


@pytest.mark.parametrize("problem", ["", "no GPU\nbuy one"])
def test_what_an_earlier_run_left_is_gone_before_anything_runs(workspace: Path, problem: str) -> None:
    parcel("models/a.yaml")
    left_behind("001-a", "002-b", "1000-c", "mine", "123x-mine")
    play("evaluate", Recorder(run=3), problem)
    left = sorted(p.parent.name for p in Path("ftgate-out").glob("*/report.json"))
    assert left == ["123x-mine", "mine"]


@pytest.mark.parametrize("broken", ["publish", "fetch", "plan"])
def test_all_in_one_never_reports_what_an_earlier_run_left(workspace: Path, broken: str) -> None:
    parcel("models/a.yaml")
    left_behind("001-a", "1000-c")
    recorder = Recorder(**{broken: 2})
    play("all", recorder)
    why = {"publish": [], "fetch": ["ftgate-out/000-plan"], "plan": ["ftgate-out/000-plan"]}[broken]
    assert recorder.calls[-1] == ["publish", *why, "--policy", ".github/ftgate.yml"]
    assert not list(Path("ftgate-out").glob("*/report.json"))


def reasons() -> dict[str, dict[str, str]]:
    found = sorted(Path("ftgate-out").glob(f"*/{FAILURE}"))
    return {p.parent.name: json.loads(p.read_text(encoding="utf-8")) for p in found}


def saying(words: str, code: int = 3):
    """In ftgate's place: fails, and leaves a reason where it is asked for one."""

    def call(arguments: Sequence[str], env: Mapping[str, str]) -> int:
        if arguments[0] == "publish":
            return 0
        if words and REASON in env:
            Path(env[REASON]).write_text(words + "\n", encoding="utf-8")
        return code

    return call


@pytest.mark.parametrize(("words", "told"), [("no memory", "no memory"), ("", "ftgate run ended with exit code 3")])
def test_why_an_evaluation_failed_is_left_for_the_report(workspace: Path, words: str, told: str) -> None:
    parcel("models/a.yaml", "models/b.yaml")
    play("evaluate", saying(words))
    assert reasons() == {
        "001-a": {"manifest": "models/a.yaml", "reason": told},
        "002-b": {"manifest": "models/b.yaml", "reason": told},
    }


@pytest.mark.parametrize("code", [0, 1, 4])
def test_a_verdict_leaves_no_reason(workspace: Path, code: int) -> None:
    parcel("models/a.yaml")
    play("evaluate", saying("nothing is wrong", code))
    assert reasons() == {}


def test_why_nothing_could_be_planned_is_left_too(workspace: Path) -> None:
    parcel("models/a.yaml")
    play("plan", saying("a link"))
    assert reasons() == {"000-plan": {"manifest": "", "reason": "a link"}}


def test_what_stops_the_plan_of_one_is_the_reason_of_all(workspace: Path) -> None:
    parcel("models/a.yaml", "models/b.yaml")

    def call(arguments: Sequence[str], env: Mapping[str, str]) -> int:
        if arguments[-1] != "ftgate-job/models/b.yaml":
            return 0
        Path(env[REASON]).write_text("manifest ftgate-job/models/b.yaml: no name\n", encoding="utf-8")
        return 2

    assert play("plan", call) == 2
    assert reasons() == {"000-plan": {"manifest": "", "reason": "manifest ftgate-job/models/b.yaml: no name"}}


@pytest.mark.parametrize("word", ["fetch", "plan", "run"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_all_in_one_reports_also_where_this_program_itself_breaks(
    workspace: Path, word: str, error: BaseException
) -> None:
    parcel("models/a.yaml")
    told = []

    def call(arguments: Sequence[str], env: Mapping[str, str]) -> int:
        told.append(arguments[0])
        if arguments[0] == word:
            raise error
        return 0

    with pytest.raises(type(error)):
        play("all", call)
    assert (told[-2], told[-1]) == (word, "publish")


def test_what_the_machine_lacks_is_left_for_every_manifest(workspace: Path) -> None:
    parcel("models/a.yaml")
    play("evaluate", Recorder(), problem="no GPU\nbuy one")
    assert reasons() == {"000-machine": {"manifest": "", "reason": "no GPU"}}


def test_the_reason_is_read_under_the_names_that_it_is_written_with() -> None:
    assert (FAILURE, REASON) == (failures.FAILURE, failing.FILE)


def test_only_what_speaks_with_github_sees_the_token_and_the_runners_files(workspace: Path) -> None:
    parcel("models/a.yaml")
    recorder = Recorder()
    secrets = (
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "GH_ENTERPRISE_TOKEN",
        "ACTIONS_RUNTIME_TOKEN",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    )
    play("all", recorder, **dict.fromkeys(secrets, "hush"))
    for call, env in zip(recorder.calls, recorder.environments, strict=True):
        if call[0] in ("publish", "fetch"):
            assert env["GITHUB_TOKEN"] == "hush"
            assert env["GITHUB_OUTPUT"] == "outputs"
        else:
            assert "hush" not in env.values()
            assert "GITHUB_OUTPUT" not in env
            assert env["PATH"] == "/bin"


def test_an_unknown_mode_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert play("deploy", Recorder()) == USAGE
    assert "mode is 'deploy'" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "no json", "[]", '{"manifests": 3, "policy": ""}'])
def test_a_parcel_that_cannot_be_read_says_where_it_comes_from(
    workspace: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        Path("ftgate-job").mkdir()
        Path("ftgate-job", LISTING).write_text(content, encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        play("evaluate", Recorder())
    assert left.value.code == USAGE
    assert f"ftgate-job/{LISTING}" in capsys.readouterr().err


def test_empty_inputs_are_defaults() -> None:
    empty = {f"INPUT_{name}": "" for name in ("MODE", "POLICY", "JOB", "OUT", "AUTHOR", "TOKEN")}
    assert Inputs.from_environment(empty) == Inputs.from_environment({})


@given(st.text(max_size=300))
def test_a_folders_name_is_plain_whatever_the_manifest_is_called(name: str) -> None:
    found = slug(f"models/{name}.yaml")
    assert 0 < len(found) <= 40
    assert not set(found) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert not found.startswith("-")
