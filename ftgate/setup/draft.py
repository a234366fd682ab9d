"""From what a folder holds, and what its owner says, to a policy and a manifest."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from glob import escape
from pathlib import Path
from typing import Any

from ftgate.artifacts.reference import parse
from ftgate.datasets.builtin import PREFIX
from ftgate.errors import FtgateError, Problems
from ftgate.jobs.direct import DirectRun, Draft, configured, draft_run, folder_name, manifest_of, name_of, suite_items
from ftgate.jobs.prepare import JobDraft, Resolvers, load_configured
from ftgate.measurements.shortage import shortage
from ftgate.preflight.check import preflight
from ftgate.preflight.findings import Prompts
from ftgate.preflight.hardware import Machine
from ftgate.preflight.unfit import too_long_prompts, unfit_suites
from ftgate.setup.contents import Contents
from ftgate.setup.data_files import SAMPLE, USES, DataFile, best_file
from ftgate.setup.engine import Device, engine_for
from ftgate.setup.gaps import USE_OF, unmeasured
from ftgate.setup.model_folders import read_model_folder
from ftgate.setup.starter_text import manifest_text, policy_text, siblings, with_globs
from ftgate.stats.power import evidence_floor

UNSEEN_LOSS = 0.05
"""Share of the questions. A target that could hide a loss on so many is warned of."""
_JUDGE = "name a judge, a third model that grades the answers"
_ABOUT = re.compile(r"measurements\.(?P<name>[a-z][a-z0-9_-]*)(?P<end>[: ])")
POLICY_FOLDER, MANIFEST_FOLDER = Path(".github"), Path("models")
LEAST_ANSWER = 8
"""Tokens. A suite that leaves less room for an answer is not shortened: `ftgate check` says what to do."""
ROLES = ("base", "candidate", "training_data")


@dataclass(frozen=True, slots=True)
class Answers:
    """References to models and data, empty for what there is none of; without a candidate the models are elsewhere."""

    base: str = ""
    candidate: str = ""
    judge: str = ""
    target: str = ""
    general: str = ""
    queries: str = ""
    choices: str = ""
    training: str = ""
    name: str = ""
    device: Device = "gpu"

    @property
    def has_models(self) -> bool:
        """Whether the models are named."""
        return bool(self.base and self.candidate)


@dataclass(frozen=True, slots=True)
class StarterTexts:
    """What to write: the policy, the manifest, and its file name. ``complete``: whether they name the models.

    ``not_measured`` says by measurement why it has no section, with what to do. ``examples`` names the fields of the
    manifest, and those of the policy, that are still the starter's. ``problems`` are what `ftgate check` refuses in
    these files, ``warnings`` what it warns of. ``runs_here``: whether this machine is of the kind that the models are
    to run on.
    """

    policy: str
    manifest: str
    manifest_file: str = "my-model.yaml"
    complete: bool = False
    not_measured: Mapping[str, str] = field(default_factory=dict)
    examples: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    problems: tuple[FtgateError, ...] = ()
    warnings: tuple[str, ...] = ()
    runs_here: bool = True

    def raise_problems(self) -> None:
        """Raise what `ftgate check` refuses: one error as it is, several as a SeveralError."""
        problems = Problems()
        problems.found += self.problems
        problems.raise_any()


def default_answers(contents: Contents, machine: Machine) -> Answers:
    """What can be told from the files alone: the defaults of the questions."""
    base, candidate, judge = contents.base, contents.candidate, contents.judge
    files = {use: best_file(contents.data, use) for use in USES}
    target = files["target"]
    if files["choices"] is None:
        spare = [file for file in contents.data if file.named is None and "choices" in file.uses]
        suited = target is not None and "choices" in target.uses
        files["choices"] = target if suited else spare[0] if len(spare) == 1 else None
    taken = {use: str(file.path) if isinstance(file, DataFile) else "" for use, file in files.items()}
    return Answers(
        base=str(base.path) if base else "",
        candidate=str(candidate.path) if candidate else "",
        judge=str(judge.path) if judge else "",
        name=name_of(str(candidate.path)) if candidate else "",
        device="gpu" if machine.gpus or base is None else "cpu",
        **taken,
    )


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a draft is made for: the ``folder`` that it is written to, with its ``contents``, and this ``machine``."""

    folder: Path
    contents: Contents
    machine: Machine
    has_vllm: bool
    resolvers: Resolvers
    headers: Resolvers
    """Of models it fetches the headers only."""


def starter_texts(answers: Answers, around: Surroundings, policy: str, manifest: str) -> StarterTexts:
    """The starters ``policy`` and ``manifest`` filled in with ``answers``.

    Built-in suites whose prompts are too long for the models are left out, and so are data too few to ever pass, or
    that cannot be fetched. Where the models are elsewhere, only the data are filled in. Raises DatasetError if a suite
    cannot be read.
    """
    policy = with_globs(policy, _globs(around))
    if not answers.has_models:
        return _data_alone(answers, around, policy, manifest)
    run, unread = _without_unread(_run(answers), around)
    engine = engine_for(answers.device, around.machine, read_model_folder(Path(answers.base)), has_vllm=around.has_vllm)
    job = _load(run, engine, around)
    run, declined = _without_short(run, job)
    job = _load(run, engine, around) if declined else job
    declined |= unread
    result = preflight(job, around.machine)
    too_long = too_long_prompts(result)
    draft = _fitting_draft(run, job, too_long, around)
    draft.not_measured |= {name: reason for name, reason in declined.items() if name in draft.not_measured}
    declined |= _not_scored(run, draft)
    declined |= {name: reason for name, reason in draft.not_measured.items() if name in too_long}
    top = {
        "judge": draft.policy.get("judge"),
        "engine": engine,
        "artifacts": {"allow": siblings(draft.policy["artifacts"]["allow"])},
    }
    left_out = {m.name for m in job.measurements} - draft.policy["measurements"].keys()
    applies = partial(_applies, left_out=left_out, too_long=too_long)
    reasons = {name: reason.partition(";")[0] for name, reason in draft.not_measured.items()}
    sources = manifest_of(run, around.folder / MANIFEST_FOLDER)
    return StarterTexts(
        policy_text(policy, draft.policy["measurements"], reasons, top),
        manifest_text(manifest, sources["name"], {role: sources.get(role) for role in ROLES}),
        f"{folder_name(sources['name'])}.yaml",
        complete=True,
        not_measured=unmeasured(draft.policy["measurements"], asdict(answers), around.contents.data, declined),
        problems=tuple(each for each in job.problems.found if applies(each.message)),
        runs_here=answers.device == "cpu" or bool(around.machine.gpus),
        warnings=(*_small_target(run, job), *filter(applies, result.warnings)),
    )


def _data_alone(answers: Answers, around: Surroundings, policy: str, manifest: str) -> StarterTexts:
    """The starters with the data of ``answers``, and the examples of models."""
    elsewhere = replace(answers, base="/models/base", candidate="/models/my-model", judge="/models/judge")
    run, unread = _without_unread(_run(elsewhere), around)
    job = _load(run, {}, around)
    run, declined = _without_short(run, job)
    sections = draft_run(run, around.resolvers, around.folder / POLICY_FOLDER, most=SAMPLE).policy["measurements"]
    own = {name: fields for name, fields in sections.items() if PREFIX not in str(fields["dataset"])}
    sources = manifest_of(run, around.folder / MANIFEST_FOLDER)
    training = {"training_data": sources["training_data"]} if answers.training else {}
    sections_left = [f"measurements.{name}" for name in USE_OF if name not in own and name != "forgetting"]
    return StarterTexts(
        policy_text(policy, own, {}, {}),
        manifest_text(manifest, "", training),
        not_measured=declined | unread,
        examples=(
            tuple(role for role in ROLES if role not in training),
            ("judge", "artifacts.allow", *sections_left),
        ),
        warnings=tuple(_small_target(run, job)),
    )


def _globs(around: Surroundings) -> list[str]:
    """Globs of the folders that hold manifests already."""
    folders = [path.parent.resolve() for path in around.contents.manifests]
    root = around.folder.resolve()
    places = [folder.relative_to(root).as_posix() for folder in dict.fromkeys(folders)]
    return ["*.yaml" if place == "." else f"{escape(place)}/*.yaml" for place in places]


def _without_unread(run: DirectRun, around: Surroundings) -> tuple[DirectRun, dict[str, str]]:
    """``run`` without the remote data that cannot be fetched or read now, and why, by measurement."""
    unread: dict[str, str] = {}
    for name, use in USE_OF.items():
        reference = getattr(run, use)
        try:
            if reference and parse(reference) is not None:
                suite_items(reference, around.resolvers, SAMPLE)
        except FtgateError as error:
            again = f"name it in measurements.{name} of the policy once it can be read"
            unread[name] = f"{reference}: {error.message.removeprefix(f'{reference}: ')}; {again}"
    without: dict[str, Any] = {USE_OF[name]: None for name in unread}
    return replace(run, **without), unread


def _applies(text: str, left_out: Collection[str], too_long: Collection[str]) -> bool:
    """Whether a finding is about what is written: not if its measurement is left out, or has been made to fit."""
    match = _ABOUT.match(text)
    fitted = match is not None and match["end"] == ":" and match["name"] in too_long
    return match is None or not (fitted or match["name"] in left_out)


def _load(run: DirectRun, engine: Mapping[str, Any], around: Surroundings) -> JobDraft:
    """What ``run`` is about, read from here, and everything that is wrong with it."""
    here = draft_run(run, around.resolvers, most=SAMPLE)
    here.policy["engine"] = dict(engine)
    return load_configured(configured(here), around.headers, most=SAMPLE)


def _without_short(run: DirectRun, job: JobDraft) -> tuple[DirectRun, dict[str, str]]:
    """``run`` without the data that are too few for a pass, and why, by measurement: a run could only hold."""
    declined: dict[str, str] = {}
    for m in job.measurements:
        file = getattr(run, USE_OF.get(m.name, ""), None)
        if file is None or m.name not in job.suites:
            continue
        lacking = shortage(m, job.suites[m.name].items, job.policy.evidence.alpha, trained=job.trained)
        if lacking is not None:
            reason = lacking.reason.removeprefix(f"measurements.{m.name} can never pass: ")
            declined[m.name] = f"{file}: {reason}; {lacking.remedy}"
    without: dict[str, Any] = dict.fromkeys(USE_OF[name] for name in declined)
    return replace(run, **without), declined


def _small_target(run: DirectRun, job: JobDraft) -> list[str]:
    """A warning, if the target can pass but is so small that it shows little."""
    suite, least = job.suites.get("target"), evidence_floor(UNSEEN_LOSS, job.policy.evidence.alpha)
    if run.target is None or suite is None or len(suite.items) >= least:
        return []
    rows = f"{len(suite.items)} distinct row{'s' * (len(suite.items) != 1)}"
    hides = f"with fewer than {least}, a loss on {UNSEEN_LOSS:.0%} of such questions can stay unseen"
    return [f"measurements.target: {run.target} has {rows}; {hides}; add rows, to about 200 in all"]


def _not_scored(run: DirectRun, draft: Draft) -> dict[str, str]:
    """Data of ``run`` for which the draft has no section, and why, by measurement."""
    named = {name: reason for name, reason in draft.not_measured.items() if getattr(run, USE_OF.get(name, ""), None)}
    return {name: reason.replace("give --judge MODEL", _JUDGE) for name, reason in named.items()}


def _fitting_draft(run: DirectRun, job: JobDraft, too_long: Mapping[str, Prompts], around: Surroundings) -> Draft:
    """The draft of ``run`` for the policy's folder, with answers that leave room for the prompts of its own suites.

    Built-in suites that are too long are left out.
    """
    limits = {measurement.name: measurement.max_tokens for measurement in job.measurements}
    draft = draft_run(run, around.resolvers, around.folder / POLICY_FOLDER, most=SAMPLE)
    draft.leave_out(unfit_suites(draft.policy["measurements"], too_long))
    if not run.choices:  # which a run without files takes from the target
        draft.leave_out({"calibration": "no multiple-choice questions; give them"})
    for name, prompts in too_long.items():
        room = limits[name] - (prompts.longest - prompts.limit)
        if name in draft.policy["measurements"] and room >= LEAST_ANSWER:
            draft.policy["measurements"][name]["max_tokens"] = room
    configured(draft)  # raises if nothing is left
    return draft


def _run(answers: Answers) -> DirectRun:
    given: dict[str, Any] = {name: value or None for name, value in asdict(answers).items() if name != "device"}
    return DirectRun(**given)
