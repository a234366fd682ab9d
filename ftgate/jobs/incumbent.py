"""The incumbent of a job: the model that is deployed today, opened and checked as the candidate is."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ftgate.artifacts.allow import require_architecture
from ftgate.artifacts.resolve import Resolver
from ftgate.config.incumbent import LAST_ALLOWED
from ftgate.config.manifest import Manifest, Source, TemplateChoice
from ftgate.config.policy import Policy
from ftgate.config.strict import Section, read_mapping, validate
from ftgate.domain import Model
from ftgate.engines.chat_template import chat_in
from ftgate.errors import ArtifactError, ConfigurationError
from ftgate.jobs.remote_models import check_place, is_remote, remote_model
from ftgate.models.chat import with_chats
from ftgate.models.open import open_model
from ftgate.models.rendering import with_rendering

ROLE = "incumbent"
NO_LEDGER = (
    "no comparison with the model deployed today: it is the last allowed one, which `ftgate fetch` reads from the "
    "ledger, and this run was given none"
)
SAME_AS_BASE = "the model deployed today is the base itself: it is not asked again"
SAME_AS_CANDIDATE = (
    "the model deployed today is the candidate itself, file by file (a re-release): it is not asked again, and there "
    "is nothing to compare with it"
)


@dataclass(frozen=True, slots=True)
class Deployed:
    """The model that is deployed today, as far as a job knows it."""

    named: Model | None = None
    """As manifest or ledger name it; None if neither does."""
    compared: Model | None = None
    """The same model as it is asked: the base, if its files are the base's. None if there is nothing to compare."""
    notes: tuple[str, ...] = ()
    """What to say of it, such as why there is no comparison."""


UNKNOWN = Deployed()


class LastAllowed(Section):
    """What the ledger says of a manifest: the source of its last allowed candidate, or why there is none."""

    source: Source | None = None
    note: str = ""


def read_last_allowed(listing: Path | None, manifest: Path) -> LastAllowed | None:
    """What the bundle's ``listing``, if there is one, says of ``manifest``; None if no ledger was asked about it.

    Raises ConfigurationError for a file that `ftgate fetch` did not write.
    """
    if listing is None:
        return None
    value = read_mapping(listing, "--bundle").get("incumbents", {})
    name = relative_name(manifest, listing.parent)
    if not isinstance(value, dict) or value.get(name) is None:
        return None
    return validate(LastAllowed, value[name], f"{listing}: incumbents.{name}")


def relative_name(manifest: Path, folder: Path) -> str:
    """The path of ``manifest`` below ``folder``, as the bundle's listing names it."""
    return Path(os.path.relpath(manifest, folder)).as_posix()


class Wanted(NamedTuple):
    """The incumbent that a job asks for: its source, or why there is none; neither if it asks for none."""

    source: Source | None = None
    note: str = ""
    by_ledger: bool = False


def incumbent_source(manifest: Manifest, policy: Policy, last: LastAllowed | None, resolver: Resolver) -> Wanted:
    """The source of the model that is deployed today.

    Raises ConfigurationError if it is at an endpoint that may not answer for it, or the policy requires one and no
    ledger was asked; ArtifactError if the policy does not allow it.
    """
    source = policy.incumbent_of(manifest)
    if source is None:
        return Wanted()
    by_ledger = not isinstance(source, Source)
    if not isinstance(source, Source):
        if last is None and policy.incumbent.required:
            raise ConfigurationError(
                "incumbent: the policy requires one (incumbent.required), and it is the last allowed one, which only "
                "`ftgate fetch` can read from the ledger",
                hint="give the ftgate-job.json that `ftgate fetch` wrote: --bundle ftgate-job.json",
            )
        if last is None or last.source is None:
            return Wanted(None, NO_LEDGER if last is None else last.note)
        source = last.source
    if is_remote(source.source) or policy.engine.kind == "openai":
        _require_server(source, policy, by_ledger=by_ledger)
    else:
        resolver.check_remote(source.source, source.revision)
    return Wanted(source, by_ledger=by_ledger)


def _require_server(source: Source, policy: Policy, *, by_ledger: bool) -> None:
    """Raise ConfigurationError unless the policy's server may answer for the model that is deployed today."""
    if by_ledger:
        removed = "incumbent.source from the policy" if policy.incumbent.source == LAST_ALLOWED else "incumbent"
        raise ConfigurationError(
            f"incumbent {source.source!r} would run behind the policy's endpoint, and the ledger names weights with a "
            "digest: what a server answers under a name need not be they",
            hint="name what the server calls the deployed model (incumbent: endpoint://NAME), or remove "
            f"{removed} and compare with the base alone",
        )
    check_place(ROLE, source, policy.engine, policy.artifacts.allow)
    if not policy.evidence.allow_unproven_weights:
        raise ConfigurationError(
            f"incumbent {source.source!r} is behind an endpoint: what a server answers under a name need not be what "
            "is deployed, nor the same at the next release",
            hint="accept that (evidence: {allow_unproven_weights: true}), name weights under an engine that loads "
            "them, or remove incumbent and compare with the base alone",
        )


def find_incumbent(
    wanted: Wanted,
    template: TemplateChoice,
    at: Path,
    policy: Policy,
    resolver: Resolver,
    models: tuple[Model | None, Model | None],
) -> Deployed:
    """The incumbent that the manifest ``at`` or the ledger names.

    ``models`` are base and candidate. Nothing is opened if the base is unusable. Raises as opening a candidate
    does, and ConfigurationError if the policy requires an incumbent and the manifest names the candidate itself.
    """
    source, note, by_ledger = wanted
    base, candidate = models
    if source is None or base is None:
        return Deployed(notes=(note,) if note else ())
    named = _opened(source, template, at, policy, resolver, base)
    if candidate is not None and _same(named, candidate):
        if policy.incumbent.required and not by_ledger:
            raise ConfigurationError(
                f"manifest {at}: incumbent {named.reference} is the candidate itself, which leaves nothing to compare, "
                "and the policy requires an incumbent (incumbent.required)",
                hint="name the model that is deployed today; to release the same files again, take it from the ledger "
                "(incumbent: {source: last-allowed} in the policy, or incumbent: last-allowed here)",
            )
        return Deployed(named, None, (SAME_AS_CANDIDATE,))
    if _same(named, base):
        return Deployed(named, base, (SAME_AS_BASE,))
    return Deployed(named, named)


def _same(one: Model, other: Model) -> bool:
    """Whether two models have the same files or, at an endpoint, the same name."""
    return one.facts == other.facts if one.kind == other.kind == "endpoint" else one.digest == other.digest != ""


def _opened(
    source: Source, template: TemplateChoice, at: Path, policy: Policy, resolver: Resolver, base: Model
) -> Model:
    """The incumbent, with what it is asked with. An adapter is one of ``base``; at a server it is the candidate's."""
    if is_remote(source.source):
        return with_rendering(remote_model(ROLE, "candidate", source, policy.engine))
    try:
        snapshot = resolver.snapshot(
            source.source, relative_to=at.parent, revision=source.revision, digest=source.digest
        )
    except ArtifactError as error:
        raise ArtifactError(f"{ROLE}: {error.message}", hint=error.hint) from None
    model = open_model(ROLE, snapshot, base, needs_template=False)
    if model.kind == "full":
        require_architecture(model, resolver.settings.architectures)
    elif policy.engine.of("candidate").served == "merged" and not model.merge:
        model = replace(model, merge=("it is served merged: engine.served",))
    if model.kind == "adapter" and base.chat is not None and not chat_in(model.path).template:
        # Neither has a template: it is asked as the base is, in the candidate's.
        facts = {**model.facts, "chat": base.facts["chat"]}
        return with_rendering(replace(model, base=base, chat=base.chat, facts=facts))
    return with_rendering(with_chats(base, model, template)[1])
