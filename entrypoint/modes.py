"""The action's modes: which commands each one calls, with which arguments from INPUT_* variables."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from entrypoint.machine import inspect, problem_of

LISTING = "ftgate-job.json"
"""The file that `ftgate fetch` writes into the bundle: the policy and the manifests to judge."""
FAILURE, REASON = "failure.json", "FTGATE_FAILURE"
"""The file that the report step reads for a failed run, and the variable that names a file for ftgate's reason."""
VERDICTS = (0, 1, 4)
"""Exit codes of `ftgate run` that are verdicts: allow, block, hold."""
USAGE, FAILED = 2, 3
CANCEL_SIGNALS = (signal.SIGINT, signal.SIGTERM)
CANCELLED = tuple(128 + number for number in CANCEL_SIGNALS)
"""Exit codes of ftgate after these signals: no further evaluation starts."""
MODES = ("plan", "evaluate", "report", "settle", "waive", "all")
WAIVER = ("pull-request", "candidate", "commit", "reason", "days")
"""Inputs of the workflow that waives, as GitHub hands them on in the event: text that nothing else interprets."""
TOKENS = {"GITHUB_TOKEN", "GH_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_ENTERPRISE_TOKEN", "INPUT_TOKEN"}
APP = {
    "FTGATE_APP_ID": ("INPUT_APP-ID", "INPUT_APP_ID"),
    "FTGATE_APP_PRIVATE_KEY": ("INPUT_APP-PRIVATE-KEY", "INPUT_APP_PRIVATE_KEY"),
}
"""The App as which the publishing commands speak, and its key: as ftgate, the runner and docker.sh call them."""
HIDDEN = (
    TOKENS
    | {*APP, *APP["FTGATE_APP_PRIVATE_KEY"]}
    | {f"GITHUB_{f}" for f in ("OUTPUT", "ENV", "PATH", "STATE", "STEP_SUMMARY")}
)
"""Variables hidden from the evaluation: tokens, and the files through which a step controls its runner."""
Call = Callable[[Sequence[str], Mapping[str, str]], int]
"""Runs ftgate with these arguments in this environment; returns its exit code."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The action's inputs. The runner passes each as INPUT_ and its name in capitals, hyphens kept."""

    mode: str
    policy: str
    job: str
    out: str
    author: str
    token: str
    pages: str
    """Address of the site to which the reports' pages are published; empty without one."""
    app: Mapping[str, str]
    """Id and private key of the App, in the variables that ftgate reads; empty without one."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Inputs:
        """The inputs in ``env``; an empty one has its default."""
        return cls(
            mode=env.get("INPUT_MODE") or "all",
            policy=env.get("INPUT_POLICY") or ".github/ftgate.yml",
            job=env.get("INPUT_JOB") or "ftgate-job",
            out=env.get("INPUT_OUT") or "ftgate-out",
            author=env.get("INPUT_AUTHOR") or "",
            token=env.get("INPUT_TOKEN") or env.get("GITHUB_TOKEN") or "",
            pages=env.get("INPUT_PAGES") or "",
            app={name: value for name in APP if (value := _app_input(env, name))},
        )


def run_mode(env: Mapping[str, str], call: Call | None = None, problem: Callable[[Path], str] | None = None) -> int:
    """Run the mode named by the input `mode`. Returns ftgate's exit code, or 3 if an evaluation has none."""
    inputs = Inputs.from_environment(env)
    if inputs.mode not in MODES:
        return _print_error(f"mode is {inputs.mode!r}", f"use one of {', '.join(MODES)}", USAGE)
    modes = Modes(inputs, env, call or ftgate, problem or (lambda policy: problem_of(inspect(env, policy))))
    return {
        "plan": modes.plan,
        "evaluate": modes.evaluate,
        "report": modes.report,
        "waive": modes.waive,
        "settle": modes.settle,
        "all": modes.all,
    }[inputs.mode]()


@dataclass(frozen=True, slots=True)
class Modes:
    """The modes, with their effects."""

    inputs: Inputs
    env: Mapping[str, str]
    call: Call
    problem: Callable[[Path], str]
    """The problem of this machine with a policy's engine, or an empty text."""

    def plan(self) -> int:
        """Set the status to pending, download the bundle, then plan the evaluations, which reads all suites."""
        self._clear_results()
        code = self._call_with_token("publish", "--pending", "--policy", self.inputs.policy, *self._author_option())
        code = code or self._record_failure(
            "000-plan", "", self._call_with_token, "fetch", self.inputs.job, "--policy", self.inputs.policy
        )
        work = [] if code else list(self._evaluations())
        if work:
            manifests = [word for name, _, _ in work for word in ("--manifest", f"{self.inputs.job}/{name}")]
            arguments = ("plan", "--policy", work[0][2], *manifests)
            # A failed plan stops all evaluations: the failure is for all manifests, so that each one shows the reason.
            code = self._record_failure("000-plan", "", self._call_without_token, *arguments)
        return code

    def evaluate(self) -> int:
        """Run the evaluation of every manifest, even if an earlier one failed.

        Several are run together, since they share engines and answers. Those that have no report then are run again
        one by one: for the reason, and because whatever stopped the process was the fault of one of them.
        """
        work = list(self._evaluations())
        self._clear_results()
        if work and (problem := self.problem(Path(work[0][2]))):
            message, _, hint = problem.partition("\n")
            self._write_failure("000-machine", "", message)
            return _print_error(message, hint, FAILED)
        run = partial(self._call_without_token, FTGATE_COMMIT=self._commit())
        if len(work) > 1:
            code = run(*self._run_arguments(work))
            work = [each for each in work if not Path(self.inputs.out, each[1], "report.json").is_file()]
            if code in CANCELLED:
                for name, out, _ in work:
                    self._write_failure(out, name, "the job was stopped before it had a verdict")
                return code
        codes = []
        for each in work:
            codes.append(self._record_failure(each[1], each[0], run, *self._run_arguments([each])))
            if codes[-1] in CANCELLED:
                break
        return next((code for code in codes if code not in VERDICTS), 0)

    def _run_arguments(self, work: Sequence[tuple[str, str, str]]) -> list[str]:
        """The command line that judges these evaluations in one process."""
        arguments = ["run", "--policy", work[0][2], *self._bundle_option()]
        for name, out, _ in work:
            arguments += ["--manifest", f"{self.inputs.job}/{name}", "--out", f"{self.inputs.out}/{out}"]
        return arguments

    def _clear_results(self) -> None:
        """Remove earlier results, which a self-hosted runner keeps: an old report must not pass for a new one."""
        for folder in Path(self.inputs.out).glob("[0-9][0-9][0-9]*-*"):
            if folder.name.partition("-")[0].isdecimal():
                shutil.rmtree(folder)

    def report(self) -> int:
        """Publish the results in the output folders, whichever of them exist."""
        out = Path(self.inputs.out)
        folders = sorted(str(p) for p in out.iterdir() if p.is_dir()) if out.is_dir() else []
        pages = ["--pages", self.inputs.pages] if self.inputs.pages else []
        return self._call_with_token(
            "publish", *folders, "--policy", self.inputs.policy, *pages, *self._author_option()
        )

    def waive(self) -> int:
        """Waive what the inputs of a manual start name."""
        path = self.env.get("GITHUB_EVENT_PATH", "")
        try:
            asked = json.loads(Path(path).read_text(encoding="utf-8"))["inputs"] or {}
            options = [f"--{name}={asked[name]}" for name in WAIVER if asked.get(name)]
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return _print_error(f"{path!r} holds no inputs", "start the workflow on workflow_dispatch by hand", USAGE)
        return self._call_with_token("waive", *options, "--policy", self.inputs.policy, *self._author_option())

    def settle(self) -> int:
        """Set a final status where an earlier run left it pending: that run's results are gone."""
        return self._call_with_token("publish", "--settle", "--policy", self.inputs.policy, *self._author_option())

    def all(self) -> int:
        """Run all three modes in one job. The report, and with it a final status, follows even after a failure."""
        code = FAILED
        try:
            code = self.plan()
            if code == 0:
                self.evaluate()
        finally:  # also after a full disk or an interruption
            report_code = self.report()
        return report_code or code

    def _evaluations(self) -> Iterator[tuple[str, str, str]]:
        """For each evaluation the manifest's path in the repository, its output folder's name and the policy's path."""
        path = Path(self.inputs.job, LISTING)
        try:
            listing = json.loads(path.read_text(encoding="utf-8"))
            names = [str(name) for name in listing["manifests"]]
            policy = str(listing["policy"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            code = _print_error(f"{path}: {error}", "pass on the folder that mode plan writes (input job)", USAGE)
            raise SystemExit(code) from None
        for number, name in enumerate(names, 1):
            yield name, f"{number:03}-{slug(name)}", f"{self.inputs.job}/{policy}"

    def _record_failure(self, folder: str, manifest: str, call: Callable[..., int], *arguments: str) -> int:
        """The exit code of ``call``; if it fails, the reason is written into the results for the report job."""
        with tempfile.TemporaryDirectory() as temporary:
            reason_file = Path(temporary, "reason")
            code = call(*arguments, **{REASON: str(reason_file)})
            if code not in VERDICTS:
                default_reason = f"ftgate {arguments[0]} ended with exit code {code}"
                self._write_failure(
                    folder,
                    manifest,
                    reason_file.read_text(encoding="utf-8") if reason_file.is_file() else default_reason,
                )
        return code

    def _write_failure(self, folder: str, manifest: str, reason: str) -> None:
        failed_run = Path(self.inputs.out, folder)
        failed_run.mkdir(parents=True, exist_ok=True)
        (failed_run / FAILURE).write_text(
            json.dumps({"manifest": manifest, "reason": reason.strip()}), encoding="utf-8"
        )

    def _commit(self) -> str:
        """The commit that is judged, for the head of the page."""
        path = Path(self.inputs.job, LISTING)
        return str(json.loads(path.read_text(encoding="utf-8")).get("sha", "")) if path.is_file() else ""

    def _bundle_option(self) -> list[str]:
        """The listing, if it says what the ledger has of a manifest's deployed model."""
        path = Path(self.inputs.job, LISTING)
        return ["--bundle", str(path)] if "incumbents" in json.loads(path.read_text(encoding="utf-8")) else []

    def _author_option(self) -> list[str]:
        return ["--author", self.inputs.author] if self.inputs.author else []

    def _call_with_token(self, *arguments: str, **more: str) -> int:
        """Run a command that uses GitHub."""
        return self.call(arguments, {**self.env, "GITHUB_TOKEN": self.inputs.token, **self.inputs.app, **more})

    def _call_without_token(self, *arguments: str, **more: str) -> int:
        """Run a command that reads untrusted files: without tokens and without the runner's files."""
        # ACTIONS_… variables are the runner's own tokens and the services that accept them.
        visible = {k: v for k, v in self.env.items() if k not in HIDDEN and not k.startswith("ACTIONS_")}
        return self.call(arguments, visible | more)


def _app_input(env: Mapping[str, str], name: str) -> str:
    """The input that ftgate reads as ``name``."""
    return next((value for key in (*APP[name], name) if (value := env.get(key))), "")


def slug(manifest: str) -> str:
    """A folder name for a manifest: its file name in plain ASCII, at most 40 characters."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(manifest).stem)[:40].strip("-") or "manifest"


def ftgate(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the command line in a separate process, because an engine may leave threads and memory behind."""
    print(f"ftgate {arguments[0]}", flush=True)
    process = subprocess.Popen([sys.executable, "-P", "-m", "ftgate", *arguments], env=env)
    with _signals_passed_to(process):
        code = process.wait()
    return code if code >= 0 else FAILED


@contextmanager
def _signals_passed_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass on what a cancelled job sends: a container's signals reach its first process alone."""
    earlier = {number: signal.signal(number, lambda sent, _: process.send_signal(sent)) for number in CANCEL_SIGNALS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _print_error(message: str, hint: str, code: int) -> int:
    print(f"ftgate: error: {message}\n  what to do: {hint}", file=sys.stderr, flush=True)
    return code
