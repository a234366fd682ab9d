"""The manifest: which base, which candidate, which training data. It is what a pull request changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationInfo, model_validator

from ftgate.config.columns import Columns, is_template
from ftgate.config.strict import Section, read_mapping, validate

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]


def _is_a_commit(value: Any, info: ValidationInfo) -> Any:
    """A branch, a tag or a shortened commit is answered with how to pin it."""
    if isinstance(value, str) and not COMMIT.fullmatch(value):
        raise ValueError(
            "not a commit of 40 hexadecimal digits; a branch or tag can move, so write the commit that it is at now: "
            + how_to_pin(str(info.data.get("source", "")), value)
        )
    return value


def how_to_pin(source: str, revision: str = "HEAD") -> str:
    """How to get the commit of ``revision`` of a repository on the hub."""
    parts = source.removeprefix("hf://").partition("@")[0].split("/")
    kind = "datasets/" if parts[0] == "datasets" else ""
    owner, name = [*parts[bool(kind) :], "", ""][:2]
    is_named = all(_PLAIN.fullmatch(word) for word in (owner, name, revision))
    address = f"{HUB}/{kind}{owner}/{name} {revision}" if is_named else f"{HUB}/OWNER/NAME"
    return f"`git ls-remote {address}` prints it"


COMMIT = re.compile(r"[0-9a-f]{40}")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""Control characters, line ends among them."""
HUB = "https://huggingface.co"
_PLAIN = re.compile(r"\w[\w./-]*")
Revision = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$"), BeforeValidator(_is_a_commit)]
TemplateChoice = Literal["base", "candidate"]


class Source(Section):
    """Where a model or data set is stored, and optionally what its content must be."""

    source: str = Field(min_length=1)
    """A folder or file, relative to the file that names it, or `hf://`, `s3://`, `gs://`, `az://`, `https://`, `oci://`
    or `github://`. For base, candidate and incumbent also `endpoint://NAME`: what a server calls the model, where the
    policy's `engine.kind` is `openai`."""
    revision: Revision | None = None
    """Commit of a `hf://` reference, all 40 hex digits."""
    digest: Digest | None = None
    """Tree digest (`sha256:…`) that the files must have; for training data, the SHA-256 of the file."""


def _in_a_section(value: Any) -> Any:
    """A bare reference as a section; `last-allowed` names no source."""
    return {"source": value} if isinstance(value, str) and value != "last-allowed" else value


Named = Annotated[Source, BeforeValidator(_in_a_section, json_schema_input_type=Source | str)]
"""A source, or its reference alone."""


def _without_controls(value: str) -> str:
    if match := CONTROL.search(value):
        raise ValueError(f"{match[0]!a} is a control character; leave it out")
    return value


def _not_a_word(value: Any) -> Any:
    if isinstance(value, str) and "/" not in value and value != "last-allowed":
        raise ValueError("write incumbent: {source: …}, as for the candidate, or incumbent: last-allowed")
    return value


class TrainingSource(Source):
    """Where the training data are stored, and which of their fields hold what was asked."""

    columns: Columns | None = None
    """Which fields of the file hold the conversation, for a file of no known shape. Names of fields alone: a manifest
    comes with the change that is judged, and runs no templates."""

    @model_validator(mode="after")
    def _names_alone(self) -> Self:
        if self.columns is not None and (templates := [e for e in self.columns.entries() if is_template(e)]):
            raise ValueError(f"columns: {templates[0][:60]!a} is a template, and a manifest may only name fields")
        return self


class Manifest(Section):
    """The whole manifest file."""

    name: Annotated[str, AfterValidator(_without_controls)] = Field(min_length=1, max_length=100)
    """What reports call the candidate."""
    base: Named
    """The model that the candidate was trained from: full weights."""
    candidate: Named
    """The fine-tuned model: a LoRA adapter or full weights."""
    incumbent: Annotated[Named | Literal["last-allowed"] | None, BeforeValidator(_not_a_word)] = None
    """The model that is deployed today and that the candidate is to replace: an adapter of `base`, or full weights. The
    candidate may not be worse than it (policy: `incumbent`). `last-allowed`: the last candidate of this manifest that
    the ledger says was allowed."""
    training_data: (
        Annotated[TrainingSource, BeforeValidator(_in_a_section, json_schema_input_type=TrainingSource | str)] | None
    ) = None
    """What the candidate was trained on: needed to find the tail, and to exclude items that were trained on."""
    template: TemplateChoice = "candidate"
    """The chat template that the candidate is asked in: its own, where it has one, or the `base`'s. The base is asked
    in its own; a model that has none is asked in the other's."""

    @model_validator(mode="before")
    @classmethod
    def _no_server_of_its_own(cls, value: Any) -> Any:
        for role in ("base", "candidate", "incumbent"):
            named = value.get(role) if isinstance(value, Mapping) else None
            fields = {"endpoint", "api_key_env", "engine"}.intersection(named) if isinstance(named, Mapping) else ()
            if fields:
                raise ValueError(
                    f"{role}.{min(fields)}: a manifest comes with the change that is judged, so only the policy says "
                    "how models are run, and which server gets the key and the questions (engine.endpoint); the "
                    "manifest names a model there as source: endpoint://NAME"
                )
        return value


def read_manifest(path: Path) -> Manifest:
    """The manifest in ``path``. Raises ConfigurationError naming file, field and value."""
    return validate(Manifest, read_mapping(path, "manifest"), f"manifest {path}")
