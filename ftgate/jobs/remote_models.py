"""Models behind servers that the policy names: opened by name, and refused what cannot be measured so.

Only the policy names servers (`engine.endpoint`); a manifest says what its server calls the model, `endpoint://NAME`,
and the policy must allow that name like any other reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftgate.artifacts.allow import require_allowed_remote
from ftgate.artifacts.reference import parse
from ftgate.config.engine import EngineSettings
from ftgate.config.manifest import Source
from ftgate.config.policy import JudgeSettings
from ftgate.domain import Item, Model, Side, Suite
from ftgate.errors import ConfigurationError
from ftgate.measurements.base import Measurement

SCHEME = "endpoint"
UNPROVEN = "weights not proven"


def is_remote(source: str) -> bool:
    """Whether ``source`` names a model at an endpoint, well formed or not."""
    return source.startswith(f"{SCHEME}://")


def check_place(role: str, source: Source, settings: EngineSettings, allow: Sequence[str]) -> bool:
    """Whether ``source`` is a model at the policy's endpoint, and not files.

    Raises ConfigurationError if the policy's engine runs the other kind, ArtifactError if ``allow`` has no such name.
    """
    reference, remote = parse(source.source), is_remote(source.source)
    if remote != (settings.kind == "openai"):
        raise ConfigurationError(
            f"{role}.source {source.source!r}: the policy's engine.kind is {settings.kind}, which "
            + ("loads weights and asks no server" if remote else "asks models at engine.endpoint and loads no weights"),
            hint="name its weights, or have the policy say engine: {kind: openai, endpoint: …}"
            if remote
            else "name what the server calls it, endpoint://NAME, or have the policy say engine: {kind: vllm}",
        )
    if not remote or reference is None:
        return False
    pinned = "revision" if source.revision is not None else "digest" if source.digest is not None else ""
    if pinned:
        raise ConfigurationError(
            f"{role}.{pinned}: {source.source} is at an endpoint, which shows no files",
            hint=f"remove {pinned}, or name the weights themselves",
        )
    require_allowed_remote(reference, allow)
    return True


def remote_model(name: str, role: Side, source: Source, settings: EngineSettings) -> Model:
    """The model that the policy's endpoint calls as ``source`` says: a name and an address, no weights."""
    reference, endpoint = parse(source.source), settings.of(role).endpoint
    assert reference is not None, "check_place has seen a reference"
    assert endpoint is not None, "a policy of kind openai names an endpoint for either model"
    return _model_at(endpoint.address, reference.location, name, source.source)


def endpoint_judge(settings: JudgeSettings) -> Model:
    """The judge behind an endpoint: only a name and an address, no weights."""
    return _model_at(str(settings.endpoint), str(settings.model), "judge", f"{settings.model} at {settings.endpoint}")


def _model_at(address: str, served: str, name: str, reference: str) -> Model:
    facts = {"endpoint": address, "model": served}
    return Model(name, Path(), digest="", kind="endpoint", reference=reference, facts=facts, address=address)


def seems_same(judge: Model, model: Model) -> bool:
    """Whether the judge seems to be ``model``: by digest, or by name for an endpoint, which has no digest."""
    if judge.kind != "endpoint":
        return bool(judge.digest) and judge.digest == model.digest  # a preflight does not hash large weights
    requested = str(judge.facts["model"]).casefold()
    judged_name = model.reference.casefold().rstrip("/").rpartition("/")[2].partition("@")[0]  # without the commit
    return bool({requested, requested.rpartition("/")[2]} & {model.name.casefold(), judged_name})


def unproven(models: Iterable[Model]) -> str:
    """Why it is not proven which weights answered; empty if all of ``models`` are files."""
    names = [model.name for model in models if model.kind == "endpoint"]
    if not names:
        return ""
    was = "was" if len(names) == 1 else "were"
    listed = " and ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]
    return f"{UNPROVEN}: {listed} {was} asked at an endpoint, which does not show which weights answered"


def require_answerable(
    measurements: Sequence[Measurement], suites: Mapping[str, Suite], *, trained: bool
) -> Iterator[ConfigurationError]:
    """What a server cannot be asked, whatever it is, as problems."""
    for m in measurements:
        item = next((i for i in suites[m.name].items if _needs_raw_text(m, i)), None) if m.name in suites else None
        if item is not None:
            yield ConfigurationError(
                f"measurements.{m.name}: item {item.id} continues a text or compares continuations, and a chat "
                "endpoint gives neither raw texts nor their log-likelihoods",
                hint="run the weights (engine.kind: vllm), or use a task or suite that asks in a conversation",
            )
        if trained and m.distances is not None and m.distances.embedding_kind == "hidden_states":
            yield ConfigurationError(
                f"measurements.{m.name}.embedding is hidden_states: the base's, and a server does not show them",
                hint="set embedding: tfidf, or name a model that embeds: embedding: {source: …}",
            )


def unreadable_letters(
    measurements: Sequence[Measurement], suites: Mapping[str, Suite], settings: Mapping[str, Any]
) -> Iterator[ConfigurationError]:
    """The measurements that read option letters, as problems, if a server with ``settings`` does not show enough.

    It may give no log-probabilities, or those of fewer tokens than an item has options. Letters counted among sampled
    replies would be another confidence than the model's.
    """
    listed = settings.get("listed") or settings["top"] if settings.get("scores") == "top" else 0
    if settings.get("scores") != "text" and not listed:
        return
    lacks = "thinks before it answers" if settings.get("thinking_tokens") else "gives no log-probabilities"
    more = "score texts instead (scorer: exact, contains, numeric, check or judge)"
    for m in measurements:
        plans = (m.plan(item) for item in suites[m.name].items) if m.name in suites else ()
        most = max((len(question.options) for plan in plans for question in plan), default=0)
        if most <= listed:
            continue
        server = f"measurements.{m.name}: {settings.get('model')} at {settings.get('endpoint')}"
        if listed:
            yield ConfigurationError(
                f"{server} lists the {listed} likeliest tokens, and items have up to {most} options: letters that are "
                "not listed cannot be read",
                hint=f"have the server list 20 (vllm serve --max-logprobs 20), or {more}",
            )
        else:
            yield ConfigurationError(
                f"{server} {lacks}, so that option letters cannot be read",
                hint=f"{more}, or serve the model with vLLM; calibration from texts is form: sampled",
            )


def _needs_raw_text(measurement: Measurement, item: Item) -> bool:
    return any(question.raw or question.continued for question in measurement.plan(item))
