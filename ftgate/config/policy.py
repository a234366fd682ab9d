"""The policy: limits, suites, judge, and what may be loaded. It is read from the base branch, never from the change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ftgate.config.endpoint import Address, EndpointSettings
from ftgate.config.engine import EngineSettings
from ftgate.config.manifest import Digest, Manifest, Revision
from ftgate.config.strict import Section, read_mapping, validate
from ftgate.domain import digest_of


class JudgeSettings(EndpointSettings):
    """Who grades free-form answers: local weights (``source``), or a model behind an ``endpoint``."""

    source: str | None = Field(default=None, min_length=1)
    """Reference of the judge's weights: a local folder relative to the policy file, or hf://, s3:// and so on."""
    revision: Revision | None = None
    """Full commit of a hub reference."""
    digest: Digest | None = None
    """Tree digest (`sha256:…`) that the judge must have."""
    engine: EngineSettings | None = None
    """Engine settings for the judge alone; by default the policy's engine section."""
    endpoint: Address | None = None
    """Address of an OpenAI-compatible server, as in ``https://host/v1``; plain http only on this machine."""
    model: str | None = Field(default=None, min_length=1, max_length=256)
    """The endpoint's name for the model that judges."""
    allow_self: bool = False
    """Let the base or the candidate judge itself. Models prefer their own text: leave this off."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.source is None) == (self.endpoint is None):
            raise ValueError("give either source (local weights) or endpoint (an OpenAI-compatible server)")
        if self.endpoint is not None and self.model is None:
            raise ValueError("an endpoint needs model: its name for the model that judges")
        own = (
            {"revision", "digest", "engine"} if self.endpoint is not None else {"model", *EndpointSettings.model_fields}
        )
        fields = type(self).model_fields
        misplaced = sorted(name for name in own if getattr(self, name) != fields[name].default)
        if misplaced:
            kind = "local weights (source)" if self.endpoint is not None else "an endpoint"
            raise ValueError(f"{', '.join(misplaced)}: only for {kind}")
        return self

    def identity(self) -> dict[str, Any]:
        """What the judge's grades depend on: all but the pace at which an endpoint is asked."""
        return self.model_dump(mode="json", exclude=set(EndpointSettings.model_fields) - {"samples"})


class EvidenceSettings(Section):
    """How sure the gate must be."""

    alpha: float = Field(default=0.05, gt=0, le=0.25)
    """Error rate of each one-sided decision."""
    rule: Literal["interval", "point"] = "interval"
    """`interval` decides on confidence bounds; `point` compares the bare estimate with the limit."""
    on_inconclusive: Literal["hold", "block"] = "hold"
    """What the gate says when a measurement can be neither passed nor blocked."""
    early_stopping: Literal["none", "obrien_fleming", "pocock"] = "obrien_fleming"
    """Look at a quarter, half, three quarters and all of the items, and stop when everything is decided. The error
    rate over all looks together stays `alpha`. `none` looks once, at the end; so does `rule: point`."""
    draws: int = Field(default=2000, ge=200, le=100_000)
    """Bootstrap resamples."""
    seed: int = Field(default=0, ge=0)
    """Every random draw of the run follows from this and the measurement's name."""


class ArtifactSettings(Section):
    """What may be loaded at all."""

    allow: tuple[str, ...] = ()
    """Globs that a reference must match. `*` stands for anything within one name, `**` for any number of folders;
    `hf://acme/*` and `s3://bucket/*` let in everything below. Local paths are relative to the policy's folder."""
    formats: tuple[Literal["safetensors"], ...] = ("safetensors",)
    remote_code: Literal[False] = False
    architectures: tuple[str, ...] = ()
    """Globs (`LlamaForCausalLM`, `Qwen*`) that the architecture of base, candidate and judge must match, as config.json
    names it; by default every one that the engine knows."""
    skip: tuple[str, ...] = ()
    """Globs of files in snapshots that are left aside: not fetched, not part of the digest and shown to no engine, as
    in `original/*`. What trainers keep to go on with (`optimizer.pt`, `training_args.bin`) is left aside anyway."""
    require_training_data: bool = False
    """Refuse a manifest without `training_data`. Without it no item that was trained on can be left out."""
    max_files: int = Field(default=500, ge=1, le=100_000)
    """Most files of one model or data set."""
    max_gb: float = Field(default=500, gt=0, le=100_000)
    """Most gigabytes of one model or data set."""
    redirect_hosts: tuple[str, ...] = ()
    """Globs of further hosts (`cdn.acme.com`, `*.acme.com`) that a source may redirect a download to."""
    cache: str | None = None
    """Absolute path of the folder that keeps what was fetched; by default below XDG_CACHE_HOME. The environment
    variable FTGATE_CACHE goes before it."""
    cache_gb: float = Field(default=500, gt=0, le=1_000_000)
    """Most gigabytes that are kept; what was used longest ago goes first. FTGATE_CACHE_GB goes before it."""
    verify_days: float = Field(default=7, ge=0, le=100_000)
    """Days after which a cached copy that looks unchanged is read whole and compared with its digests all the same; 0
    does so in every run. FTGATE_VERIFY_DAYS and `--verify-cache` go before it."""


class PublishSettings(Section):
    """How results are kept on GitHub. It has no say in a verdict, so the policy's fingerprint leaves it out."""

    ledger: Literal["comment", "branch"] = "comment"
    """`branch` also keeps every record on an append-only branch: what `ftgate verify` and waivers rest on."""
    branch: str = Field(default="ftgate-ledger", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*$")
    """Name of the ledger branch. Protect it: nobody but the workflow should be able to push to it."""
    context: str = Field(default="ftgate/verdict", min_length=1, max_length=100)
    """Name of the commit status that branch protection requires."""


class Policy(Section):
    """The whole policy file."""

    version: Literal[1]
    manifests: tuple[str, ...] = ()
    """Globs of the files that name a candidate."""
    measurements: Mapping[str, Mapping[str, Any]] = Field(min_length=1)
    """One section for each measurement that gates; each is checked by the measurement of that name."""
    judge: JudgeSettings | None = None
    evidence: EvidenceSettings = EvidenceSettings()
    engine: EngineSettings = EngineSettings()
    artifacts: ArtifactSettings = ArtifactSettings()
    publish: PublishSettings = PublishSettings()

    def sha256(self) -> str:
        """Fingerprint of what the policy says about verdicts, whatever its comments and layout."""
        return digest_of(self.model_dump(mode="json", exclude={"publish"}))

    def lacking(self, manifest: Manifest) -> str:
        """What this policy asks of a manifest and ``manifest`` does not name, as a reason; nothing if all is there."""
        if self.artifacts.require_training_data and manifest.training_data is None:
            return "training_data is missing, and the policy requires it (artifacts.require_training_data)"
        return ""


def read_policy(path: Path) -> Policy:
    """The policy in ``path``. Raises ConfigurationError naming file, field and value."""
    return validate(Policy, read_mapping(path, "policy"), f"policy {path}")
