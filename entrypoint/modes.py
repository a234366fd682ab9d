"""INPUT_* -> command lines, and the order in which a mode calls them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrypoint.machine import inspect, problem_of

LISTING = "ftgate-job.json"
"""What `ftgate fetch` leaves in the job's folder: the policy and the manifests to judge."""
FAILURE, REASON = "failure.json", "FTGATE_FAILURE"
"""What the report reads in the folder of a run that failed, and the variable that names a file for ftgate's reason."""
VERDICTS = (0, 1, 4)
"""Exit codes of `ftgate run` that are verdicts: allow, block, hold."""
USAGE, FAILED = 2, 3
MODES = ("plan", "evaluate", "report", "all")
TOKENS = {"GITHUB_TOKEN", "GH_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GH_ENTERPRISE_TOKEN", "INPUT_TOKEN"}
HIDDEN = TOKENS | {f"GITHUB_{f}" for f in ("OUTPUT", "ENV", "PATH", "STATE", "STEP_SUMMARY")}
"""What the evaluation does not see: tokens, and the files by which a step speaks to its runner."""
Call = Callable[[Sequence[str], Mapping[str, str]], int]
"""Runs ftgate with these arguments in this environment; returns its exit code."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The action's inputs. The runner names them INPUT_, then the name in capitals with its hyphens kept."""

    mode: str
    policy: str
    job: str
    out: str
    author: str
    token: str

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Inputs:
        """The inputs in ``env``; an empty one means its default."""
        return cls(
            mode=env.get("INPUT_MODE") or "all",
            policy=env.get("INPUT_POLICY") or ".github/ftgate.yml",
            job=env.get("INPUT_JOB") or "ftgate-job",
            out=env.get("INPUT_OUT") or "ftgate-out",
            author=env.get("INPUT_AUTHOR") or "",
            token=env.get("INPUT_TOKEN") or env.get("GITHUB_TOKEN") or "",
        )


def run_mode(env: Mapping[str, str], call: Call | None = None, problem: Callable[[Path], str] | None = None) -> int:
    """Do what the input `mode` says. Returns the exit code: that of ftgate, or 3 where an evaluation has none."""
    inputs = Inputs.of(env)
    if inputs.mode not in MODES:
        return _complain(f"mode is {inputs.mode!r}", f"use one of {', '.join(MODES)}", USAGE)
    job = Job(inputs, env, call or ftgate, problem or (lambda policy: problem_of(inspect(env, policy))))
    return {"plan": job.plan, "evaluate": job.evaluate, "report": job.report, "all": job.all}[inputs.mode]()


@dataclass(frozen=True, slots=True)
class Job:
    """One mode with its effects."""

    inputs: Inputs
    env: Mapping[str, str]
    call: Call
    problem: Callable[[Path], str]
    """What this machine lacks for the engine of a policy, or nothing."""

    def plan(self) -> int:
        """Pending, then the parcel for the evaluation, then what a run needs and whether every suite can be read."""
        self._clear()
        code = self._told("publish", "--pending", "--policy", self.inputs.policy, *self._author())
        code = code or self._kept("000-plan", "", self._told, "fetch", self.inputs.job, "--policy", self.inputs.policy)
        for name, _, policy in [] if code else self._work():
            given = ("plan", "--policy", policy, "--manifest", f"{self.inputs.job}/{name}")
            # What stops the plan stops all of them: each says why, and not only that it has no report.
            code = code or self._kept("000-plan", "", self._apart, *given)
        return code

    def evaluate(self) -> int:
        """Run every manifest; one that fails does not keep the next from being judged."""
        work = list(self._work())
        self._clear()
        if work and (problem := self.problem(Path(work[0][2]))):
            message, _, hint = problem.partition("\n")
            self._leave("000-machine", "", message)
            return _complain(message, hint, FAILED)
        codes = []
        for name, out, policy in work:
            given = ("run", "--policy", policy, "--manifest", f"{self.inputs.job}/{name}")
            codes.append(self._kept(out, name, self._apart, *given, "--out", f"{self.inputs.out}/{out}"))
        return next((code for code in codes if code not in VERDICTS), 0)

    def _clear(self) -> None:
        """A machine of one's own keeps its workspace: an earlier run's report must not pass for this one's."""
        for folder in Path(self.inputs.out).glob("[0-9][0-9][0-9]*-*"):
            if folder.name.partition("-")[0].isdecimal():
                shutil.rmtree(folder)

    def report(self) -> int:
        """Tell everyone what the folders say, whatever is left of them."""
        out = Path(self.inputs.out)
        folders = sorted(str(p) for p in out.iterdir() if p.is_dir()) if out.is_dir() else []
        return self._told("publish", *folders, "--policy", self.inputs.policy, *self._author())

    def all(self) -> int:
        """All three in one job. A final status follows whatever goes wrong between."""
        code = FAILED
        try:
            code = self.plan()
            if code == 0:
                self.evaluate()
        finally:  # a full disk, too, or an interruption
            told = self.report()
        return told or code

    def _work(self) -> Iterator[tuple[str, str, str]]:
        """Of each evaluation the manifest's path in the repository, the name of its folder, and the policy's place."""
        path = Path(self.inputs.job, LISTING)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            names = [str(name) for name in found["manifests"]]
            policy = str(found["policy"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            code = _complain(f"{path}: {error}", "hand on the folder that mode plan leaves (input job)", USAGE)
            raise SystemExit(code) from None
        for number, name in enumerate(names, 1):
            yield name, f"{number:03}-{slug(name)}", f"{self.inputs.job}/{policy}"

    def _kept(self, folder: str, manifest: str, call: Callable[..., int], *arguments: str) -> int:
        """``call``, and where it fails the reason, left among the results for the job that reports."""
        with tempfile.TemporaryDirectory() as place:
            said = Path(place, "reason")
            code = call(*arguments, **{REASON: str(said)})
            if code not in VERDICTS:
                ended = f"ftgate {arguments[0]} ended with exit code {code}"
                self._leave(folder, manifest, said.read_text(encoding="utf-8") if said.is_file() else ended)
        return code

    def _leave(self, folder: str, manifest: str, reason: str) -> None:
        place = Path(self.inputs.out, folder)
        place.mkdir(parents=True, exist_ok=True)
        (place / FAILURE).write_text(json.dumps({"manifest": manifest, "reason": reason.strip()}), encoding="utf-8")

    def _author(self) -> list[str]:
        return ["--author", self.inputs.author] if self.inputs.author else []

    def _told(self, *arguments: str, **more: str) -> int:
        """A call that speaks with GitHub."""
        return self.call(arguments, {**self.env, "GITHUB_TOKEN": self.inputs.token, **more})

    def _apart(self, *arguments: str, **more: str) -> int:
        """A call that reads what strangers wrote: it gets no token, and none of the runner's files."""
        # ACTIONS_… are the runner's own tokens and the services that take them.
        seen = {k: v for k, v in self.env.items() if k not in HIDDEN and not k.startswith("ACTIONS_")}
        return self.call(arguments, seen | more)


def slug(manifest: str) -> str:
    """A folder's name for a manifest: its file's name, of plain letters, at most 40 of them."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(manifest).stem)[:40].strip("-") or "manifest"


def ftgate(arguments: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the command line in a process of its own: an engine may leave threads and memory behind."""
    print(f"ftgate {arguments[0]}", flush=True)
    done = subprocess.run([sys.executable, "-P", "-m", "ftgate", *arguments], env=env, check=False)
    return done.returncode if done.returncode >= 0 else FAILED


def _complain(message: str, hint: str, code: int) -> int:
    print(f"ftgate: error: {message}\n  what to do: {hint}", file=sys.stderr, flush=True)
    return code
