"""The questions of `ftgate init`: each with a default in brackets, and asked again, with the reason, if it is wrong."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ftgate.artifacts.reference import Reference
    from ftgate.preflight.hardware import Machine
    from ftgate.setup.contents import Contents
    from ftgate.setup.data_files import Use
    from ftgate.setup.draft import Answers, StarterTexts
    from ftgate.setup.engine import Device
    from ftgate.setup.model_folders import ModelFolder

_APART: tuple[set[Use], ...] = ({"target", "general"}, {"target", "queries"})
"""Uses that one file cannot have both of. Training data are apart from all others."""
NOTHING = "-"
"""What is typed for nothing where there is a default."""
_PINNED = re.compile(r"@[0-9a-f]{40}(?:/|\Z)")
SHOWN = 8
"""Files and models that are listed; the rest are counted."""
USED: tuple[Use, ...] = ("target", "general", "training", "queries", "choices")
"""What data may be, in the order of the questions."""


_QUESTIONS: dict[Use, str] = {
    "target": "Questions about its task, with answers (target)",
    "general": "General prompts of your own (forgetting)",
    "training": "What it was trained on",
    "queries": "Real queries (tail)",
    "choices": "Multiple-choice questions (calibration)",
}


def can_ask() -> bool:
    """Whether someone is there to answer."""
    return sys.stdin is not None and sys.stdin.isatty()


def filled_in(folder: Path, policy: str, manifest: str, *, ask: bool) -> StarterTexts:
    """The starter ``policy`` and ``manifest`` with what is in ``folder`` filled in: as answered, or by its defaults."""
    from ftgate.engines.vllm.startup import on_cpu
    from ftgate.jobs.prepare import resolvers_with
    from ftgate.preflight.hardware import detect
    from ftgate.progress import SilentProgress
    from ftgate.setup.contents import look_into
    from ftgate.setup.draft import Surroundings, default_answers, starter_texts

    machine, contents = detect(), look_into(folder)
    answers = default_answers(contents, machine)
    say_contents(folder, contents, machine)
    if ask:
        answers = ask_answers(answers, contents)
    else:
        _say_answers(answers, contents)
    progress = SilentProgress()
    around = Surroundings(
        folder,
        contents,
        machine,
        on_cpu(),
        resolvers_with(progress, offline=not ask),
        resolvers_with(progress, offline=not ask, headers_only=True),
    )
    return starter_texts(answers, around, policy, manifest)


def say_contents(folder: Path, contents: Contents, machine: Machine) -> None:
    """Say what was found: the machine, models, and data files with what they suit."""
    from ftgate.report.escape import plain_line
    from ftgate.setup.engine import machine_in_words

    click.echo(f"this machine: {machine_in_words(machine)}")
    models = [(model.path, model.in_words) for model in contents.models if not model.fault]
    data = [(file.path, file.in_words) for file in contents.data if file.uses]
    broken = [(model.path, model.in_words) for model in contents.models if model.fault]
    broken += [(file.path, file.in_words) for file in contents.data if not file.uses]
    lists = (models, data, [(path, "manifest") for path in contents.manifests], broken)
    width = min(40, max((len(str(path)) for lines in lists for path, _ in lines), default=0))
    for lines in lists:  # what can be used comes first
        for path, words in lines[:SHOWN]:
            click.echo(f"  {plain_line(str(path), 80):<{width}}  {plain_line(words, 200)}")
        if len(lines) > SHOWN:
            what = "models" if lines is models else "data files" if lines is data else "manifests"
            what = "that cannot be used" if lines is broken else what
            more = len(lines) - SHOWN
            click.echo(f"  and {more} more {what.removesuffix('s') if more == 1 else what}")
    if not any(lists):
        click.echo(f"no models and no data files in {folder}")
    if contents.more:
        click.echo("note: there are too many files to look at all of them")


def _say_answers(answers: Answers, contents: Contents) -> None:
    """Say what was taken without a question, and where the models cannot be told apart."""
    from ftgate.report.escape import plain_line

    names = ("candidate", "base", "judge", *USED)
    taken = [f"{name} {value}" for name in names if (value := getattr(answers, name))]
    if taken:
        click.echo(plain_line(f"taken: {', '.join(taken)}", 2000))
    for path, reason in contents.passed_over.items():
        click.echo(plain_line(f"not taken: {path}: {reason}", 500))
    if contents.models and not answers.has_models:
        click.echo(plain_line(f"note: {_missing_model(answers, contents)}", 500))


def _missing_model(answers: Answers, contents: Contents) -> str:
    """Which model is not known, why, and what to do."""
    remedy = (
        "answer the questions of `ftgate init` without --yes, or name base and candidate in the manifest and what they "
        "need in artifacts.allow"
    )
    trained_on = {model.trained_on for model in contents.candidates if model.trained_on}
    if not answers.base and not any(model.kind == "full" for model in contents.usable) and len(trained_on) == 1:
        return f"the base, which the adapter says is {trained_on.pop()}, is not in this folder: {remedy}"
    if answers.base and not contents.candidates:
        return f"no model here can be a candidate for the base {answers.base}: {remedy}"
    if not contents.usable:
        return f"no model here can be used: {remedy}"
    return f"which model is the {'candidate' if answers.base else 'base'} cannot be told: {remedy}"


def ask_answers(defaults: Answers, contents: Contents) -> Answers:
    """Ask for all that policy and manifest need. Raises click.Abort on Ctrl-C and at the end of input."""
    click.echo(f"\nEnter takes what is in brackets, {NOTHING} means none, Ctrl-C writes nothing.")
    from ftgate.setup.data_files import is_remote

    answers = _ask_models(defaults, contents)
    given: dict[str, Any] = {}
    for use in USED:
        default = getattr(answers, use)
        if use == "choices" and default == defaults.target and not is_remote(given["target"]):
            default = given["target"]  # which may be another file than the default, or none
        if use != "general" or default:
            given[use] = _ask(_QUESTIONS[use], default, _data(use, given))
    return replace(answers, **given)


def _ask_models(defaults: Answers, contents: Contents) -> Answers:
    """``defaults`` with the models that are named; who names no base is asked for the candidate again."""
    from ftgate.report.escape import plain_line

    base, of_others = "", contents.certain_base
    read = _model("candidate", base=str(of_others.path) if of_others else "")
    while candidate := _ask("Candidate, the fine-tuned model", defaults.candidate, read):
        trained_on = next((m.trained_on for m in contents.models if str(m.path) == candidate), "")
        trained_on = plain_line(trained_on, 100)
        says = f" (the adapter says {trained_on})" if trained_on and not defaults.base else ""
        default = defaults.base or _on_hub(trained_on)
        if base := _ask(f"Its base{says}", default, _model("base", candidate)):
            break
        click.echo("A candidate is compared with its base: name both, or no candidate.")
    if not candidate:
        return replace(defaults, candidate="", base="", judge="", device="gpu")
    name = _ask_name(candidate, defaults)
    judge = _ask("Judge, a third model that grades", defaults.judge, _model("judge", candidate, base))
    device: Device = click.prompt("Run the models on", defaults.device, type=click.Choice(["gpu", "cpu"]))
    return replace(defaults, candidate=candidate, base=base, name=name, judge=judge, device=device)


def _on_hub(trained_on: str) -> str:
    """The newest commit of what an adapter calls its base, if the hub knows it; empty otherwise."""
    from ftgate.artifacts.hub_names import is_hub_name, newest_commit

    commit = newest_commit(trained_on) if is_hub_name(trained_on) else ""
    return f"hf://{trained_on}@{commit}" if commit else ""


def _ask_name(candidate: str, defaults: Answers) -> str:
    from ftgate.jobs.direct import name_of

    default = defaults.name if candidate == defaults.candidate else name_of(candidate)
    return str(click.prompt("Its name in reports", default, value_proc=name_value))


def _ask(text: str, default: str, read: Callable[[str], str]) -> str:
    """One reference; empty for none. A ``default`` that would be refused after the earlier answers is not offered."""
    try:
        default = default and read(default)
    except click.UsageError:
        default = ""

    def value(typed: str) -> str:
        return "" if typed.strip() in (NOTHING, "") else read(typed.strip())

    return str(click.prompt(text, default or NOTHING, value_proc=value))


def name_value(typed: str) -> str:
    """A name as it was typed, without spaces around it. Raises UsageError for one that no manifest may have."""
    from ftgate.config.manifest import CONTROL

    if not 0 < len(typed.strip()) <= 100:
        raise click.UsageError("a name has 1 to 100 characters")
    if CONTROL.search(typed):
        raise click.UsageError("a name has no control characters")
    return typed.strip()


def _same(one: str, other: str) -> bool:
    """Whether two references are to one place."""
    return one == other or (Path(one).exists() and Path(one).resolve() == Path(other).resolve())


def _model(role: str, *others: str, base: str = "") -> Callable[[str], str]:
    """Refuses what is no model for ``role``, or one of the ``others``, with the reason that `ftgate run` would give.

    A candidate is not what is certainly the ``base``, and a base is one that the candidate, the first other, fits.
    """

    def read(typed: str) -> str:
        from ftgate.artifacts.reference import parse
        from ftgate.errors import FtgateError
        from ftgate.jobs.direct import require_model
        from ftgate.setup.model_folders import read_model_folder

        try:
            require_model(role, typed)
            remote = parse(typed)
            _require_pinned(remote)
            if any(_same(typed, other) for other in others):
                raise click.UsageError(f"{typed} was named already: the {role} is another model")
            model = read_model_folder(Path(typed)) if remote is None else None
            if base and _same(typed, base):
                raise click.UsageError(f"{typed} is the base here: the candidate is what was trained from it")
            if remote is None and model is None:
                raise click.UsageError(f"{typed}: neither full weights nor an adapter in safetensors files")
            if model is not None and model.fault:
                raise click.UsageError(f"{typed} {model.in_words}")
            if model is not None and model.kind == "adapter" and role != "candidate":
                raise click.UsageError(f"{typed}: an adapter, and a {role} is full weights")
            if model is not None and role == "base":
                _require_fit(others[0], model)
        except FtgateError as error:
            raise click.UsageError(f"{error.message}; {error.hint}") from None
        return typed

    return read


def _require_fit(candidate: str, base: ModelFolder) -> None:
    """Raise UsageError if ``candidate`` is a local adapter whose headers do not fit ``base``."""
    from ftgate.setup.model_folders import misfit, read_model_folder

    model = read_model_folder(Path(candidate)) if Path(candidate).is_dir() else None
    if model is not None and model.kind == "adapter" and (reason := misfit(model, base)):
        raise click.UsageError(f"{base.path} is not the base of {candidate}: {reason}")


def _require_pinned(remote: Reference | None) -> None:
    """Raise UsageError for a repository on the hub without a commit, with how to get it."""
    from ftgate.artifacts.hub_names import hub_hint

    if remote is not None and remote.scheme == "hf" and not _PINNED.search(remote.location):
        name, _, revision = remote.location.partition("@")
        revision = revision.partition("/")[0]
        moves = f"{revision} is a branch or tag, which can move; " if revision else ""
        raise click.UsageError(moves + hub_hint(name, ask=True, revision=revision or "HEAD"))


def _data(use: Use, given: Mapping[str, str]) -> Callable[[str], str]:
    """Refuses what cannot be read as data, or does not suit ``use``, with the reason; so are files of ``given`` uses.

    Multiple-choice questions may be those about the task.
    """

    def read(typed: str) -> str:
        from ftgate.artifacts.reference import parse
        from ftgate.datasets.builtin import dataset_paths
        from ftgate.errors import FtgateError
        from ftgate.setup.data_files import IN_WORDS, is_remote, read_data_file

        apart = [name for name in given if "training" in (use, name) or {use, name} in _APART]
        if named := [name for name in apart if given[name] and _same(typed, given[name])]:
            words = f"{IN_WORDS[named[0]]} already, and {IN_WORDS[use]} must be something else"  # type: ignore[index]
            raise click.UsageError(f"{typed} is {words}")
        try:
            if is_remote(typed):
                dataset_paths(typed, Path(), use)
                _require_pinned(parse(typed))
                return typed
        except FtgateError as error:
            raise click.UsageError(f"{error.message}; {error.hint}") from None
        if not Path(typed).is_file():
            raise click.UsageError(f"{typed}: no such file")
        file = read_data_file(Path(typed), use)
        if use not in file.uses:
            raise click.UsageError(f"{typed} does not suit {IN_WORDS[use]}: {file.in_words}")
        return typed

    return read
