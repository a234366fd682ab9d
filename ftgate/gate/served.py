"""What the report says of how the two models were served: by which engine, and whether their weights are proven."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftgate.gate.cached_engine import CachedEngine
from ftgate.jobs.prepare import Job
from ftgate.jobs.remote_models import unproven
from ftgate.report.schema import ChecklistEntry


def proof(job: Job) -> list[ChecklistEntry]:
    """A line that says that the weights are not proven, where a model is behind an endpoint."""
    reason = unproven(job.models)
    where = ", ".join(f"{m.facts['model']} at {m.facts['endpoint']}" for m in job.models if m.kind == "endpoint")
    item = "The weights are those that were judged"
    return [ChecklistEntry(item=item, ok=False, evidence=f"{reason}: {where}")] if reason else []


def effect_words(effect: Mapping[str, Any]) -> str:
    """How far the models' outputs differ, or why that is no number."""
    if reason := effect.get("reason"):
        return str(reason)
    return f"log-probabilities differ by up to {effect['largest_change']:.2g} on {effect['prompts']} prompts"


def effect_line(effect: Mapping[str, Any]) -> ChecklistEntry:
    """Whether the candidate's weights took effect, by the control's outcome: None where it proves nothing."""
    evidence, forms = effect_words(effect), effect.get("forms")
    if forms:
        evidence += f"; that may be the form alone, as base and candidate differ in it ({forms})"
    ok = True if effect["prompts"] and not forms else None
    return ChecklistEntry(item="The candidate's weights took effect", ok=ok, evidence=evidence)


def same_engine(job: Job, models: CachedEngine) -> bool:
    """Whether one engine answered for both models."""
    return models.info_of(job.candidate) == models.info


def candidate_engine(job: Job, models: CachedEngine) -> dict[str, Any]:
    """What the candidate ran on, for the provenance, if it was another engine than the base's; empty otherwise."""
    if same_engine(job, models):
        return {}
    info = models.info_of(job.candidate)
    return {"candidate_engine": {"kind": info.kind, "dtype": info.dtype, **info.settings}}


def served_models(models: CachedEngine, job: Job) -> dict[str, Any]:
    """Whether each of the models was one throughout, by the names that its endpoint gives with each reply.

    Empty without such names. Two names for one model, or one for two at one server, say that the answers compared are
    not of the models that the manifest names. Two servers may well call two models the same.
    """
    of_role = dict(zip(("base", "candidate", "incumbent"), job.models, strict=False))
    names = {role: sorted(models.served.get(model, ())) for role, model in of_role.items()}
    if not any(names.values()):
        return {}
    changed = [role for role, answered in names.items() if len(answered) > 1]
    served = [(of_role[role].address, answered) for role, answered in names.items() if answered]
    same = any(pair in served[:i] for i, pair in enumerate(served))
    replies = [f"the {role} answered as {', '.join(answered)}" for role, answered in names.items() if answered]
    doubt = ""
    if changed:
        doubt = f": answers of two models as the {' and the '.join(changed)} do not compare"
    elif same:
        doubt = ": one model may have answered as both" if len(names) == 2 else ": one model may have answered as two"
    return {"served_models": {"ok": not doubt, "reason": "; ".join(replies) + doubt, **names}}
