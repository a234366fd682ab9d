"""What the servers that the policy names can be asked: a preflight tries it with a few small questions."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ftgate.config.generation import GenerationSettings
from ftgate.domain import Message, Model, Question, Side
from ftgate.engines.base import Ask, Engine
from ftgate.engines.openai.replies import TOPS
from ftgate.engines.registry import open_model
from ftgate.errors import ConfigurationError
from ftgate.jobs.prepare import JobDraft
from ftgate.jobs.remote_models import unproven, unreadable_letters
from ftgate.measurements.deployed import as_deployed


def check_endpoints(draft: JobDraft, *, ask: bool) -> Iterator[str]:
    """Ask each server what it can show, and note it; what it cannot be asked becomes a problem of ``draft``.

    Without ``ask`` nothing is asked, which is noted: whoever wrote the policy names the server, and would get the key.
    """
    deployed = draft.deployed.compared if draft.deployed.compared != draft.base else None
    models: tuple[tuple[Side, Model | None], ...] = (
        ("base", draft.base),
        ("candidate", draft.candidate),
        ("candidate", deployed),  # a deployed model is asked where the candidate is
    )
    remote = [(side, model) for side, model in models if model is not None and model.kind == "endpoint"]
    if reason := unproven(model for _, model in remote):
        accepted = draft.policy.evidence.allow_unproven_weights
        yield reason if accepted else f"{reason}: at most a hold (evidence.allow_unproven_weights)"
    for side, model in remote:
        if not ask:
            address = model.address
            yield f"{model.reference}: not asked; `ftgate check --ask` sends {address} a few questions and its key"
            continue
        settings = draft.policy.engine.of(side)
        key = settings.endpoint.api_key_env if settings.endpoint is not None else None
        if key is not None and not os.environ.get(key):
            yield f"{model.reference}: not asked, as ${key} is not set here; a run needs it"
            continue
        with draft.problems.noted(), tempfile.TemporaryDirectory() as folder:
            engine = open_model(settings, model, Path(folder) / "engine.log", lambda _, compute: compute())
            with closing(engine):
                facts = engine.info().settings
                refused = _refused_settings(engine, model, draft)
            few = facts["scores"] == "top" and (facts.get("listed") or facts["top"]) < TOPS[0]
            hint = f"; a letter outside them fails its item: have the server list {TOPS[0]}" if few else ""
            yield f"{model.reference}: answers by {facts['reads']}{hint}"
            draft.problems.found += unreadable_letters(draft.measurements, draft.suites, facts)
            if refused:
                raise ConfigurationError(
                    f"{model.reference}: the server refuses engine.generation: {refused}",
                    hint="leave out what it does not know (many know no top_k, min_p and repetition_penalty)",
                )


def _refused_settings(engine: Engine, model: Model, draft: JobDraft) -> str:
    """Why the server does not answer a small question as `engine.generation` says; empty if it does."""
    generation = draft.policy.engine.generation
    if not isinstance(generation, GenerationSettings):
        return ""
    asked = as_deployed([Question("trial", "trial", (Message("user", "Hello."),), max_tokens=8)], generation)
    return next((answer.error or "" for _, answer in engine.ask([Ask(model, question) for question in asked])), "")
