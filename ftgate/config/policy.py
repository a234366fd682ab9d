"""The policy: limits, suites, judge, and what may be loaded. It is read from the base branch, never from the change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from ftgate.config.endpoint import Address, EndpointSettings
from ftgate.config.engine import EngineSettings
from ftgate.config.incumbent import LAST_ALLOWED, IncumbentSettings
from ftgate.config.manifest import Digest, Manifest, Revision, Source
from ftgate.config.profiles import Profile, cut_short, extended
from ftgate.config.strict import GrownSection, Section, read_mapping, validate
from ftgate.domain import digest_of

DEFAULT_CONTEXT = "ftgate/verdict"


class JudgeSettings(GrownSection, EndpointSettings):
    """The model that grades free-form answers: local weights (`source`), or a model behind an `endpoint`."""

    later: ClassVar[frozenset[str]] = frozenset({"labels", "prompt_order"})

    source: str | None = Field(default=None, min_length=1)
    """The judge's weights: a folder relative to the policy, or `hf://`, `s3://` and so on. Give this or `endpoint`."""
    revision: Revision | None = None
    """Commit of a `hf://` reference, all 40 hex digits."""
    digest: Digest | None = None
    """Tree digest (`sha256:…`) that the judge's files must have."""
    engine: EngineSettings | None = None
    """Engine settings for the judge only; by default the policy's `engine` section."""
    endpoint: Address | None = None
    """Address of an OpenAI-compatible server, such as `https://host/v1`; plain http only on this machine."""
    model: str | None = Field(default=None, min_length=1, max_length=256)
    """The name of the judging model at the endpoint; required with `endpoint`."""
    allow_self: bool = False
    """Allow a judge that is the base or the candidate. Models prefer their own text: leave this off."""
    known_answers: bool = True
    """Test the judge on known answers to built-in prompts too: right ones in other words, and subtly wrong ones.
    Without them a script that compares strings passes: turn this off only if every prompt has one right wording."""
    labels: str | None = Field(default=None, min_length=1)
    """File (`.csv` or `.jsonl`, relative to the policy) with at least 50 answers that people graded. The report says
    how well the judge agrees with them, and they correct a judged change where that is justified
    (docs/judge-labels.md)."""
    prompt_order: Literal["rubric_first", "item_first"] = "rubric_first"
    """What comes first in a question to the judge. With `item_first` a prefix cache reads prompt, reference and answer
    once for all six questions about an answer, which is cheaper where they are longer than 100 tokens or so. Judges
    grade differently in the two orders (docs/judge.md)."""

    @property
    def item_first(self) -> bool:
        """Whether what is graded comes before the rubric."""
        return self.prompt_order == "item_first"

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.source is None) == (self.endpoint is None):
            raise ValueError("give either source (local weights) or endpoint (an OpenAI-compatible server)")
        if self.endpoint is not None and self.model is None:
            raise ValueError("an endpoint needs model: its name for the model that judges")
        if self.engine is not None and self.engine.thinking == "on":
            raise ValueError("engine.thinking is on: a judge's digit is read at once, so that it never thinks")
        if self.engine is not None and self.engine.generation is not None:
            raise ValueError(
                "engine.generation: a judge's digit is read from its probabilities, and nothing is sampled"
            )
        own = (
            {"revision", "digest", "engine"} if self.endpoint is not None else {"model", *EndpointSettings.model_fields}
        )
        if self.engine is not None and (self.engine.kind == "openai" or self.engine.base or self.engine.candidate):
            raise ValueError(
                "engine: a judge on a server is named by judge.endpoint, and base and candidate are not for it"
            )
        fields = type(self).model_fields
        misplaced = sorted(name for name in own if getattr(self, name) != fields[name].default)
        if misplaced:
            kind = "local weights (source)" if self.endpoint is not None else "an endpoint"
            raise ValueError(f"{', '.join(misplaced)}: only for {kind}")
        return self

    def identity(self) -> dict[str, Any]:
        """What the judge's grades depend on: neither its tests nor the pace at which an endpoint is asked."""
        return self.model_dump(
            mode="json", exclude={"known_answers", "labels", *EndpointSettings.model_fields} - {"samples"}
        )


class EvidenceSettings(GrownSection):
    """How much evidence a decision needs."""

    later: ClassVar[frozenset[str]] = frozenset({"allow_unproven_weights", "smoke_test"})

    alpha: float = Field(default=0.05, gt=0, le=0.25)
    """Error rate of each one-sided decision: a pass or a block of a candidate that lies exactly on the limit."""
    rule: Literal["interval", "point"] = "interval"
    """`interval` compares confidence bounds with the limit; `point` the bare estimate. Both need the least number of
    items for a pass."""
    on_inconclusive: Literal["hold", "block"] = "hold"
    """The verdict when a measurement can be neither passed nor blocked."""
    early_stopping: Literal["none", "obrien_fleming", "pocock"] = "obrien_fleming"
    """Look at the results after a quarter, half, three quarters and all of the items, and stop once they are decided.
    All looks together keep the error rate at `alpha`. `none` looks once, at the end; so does `rule: point`."""
    draws: int = Field(default=2000, ge=200, le=100_000)
    """Number of bootstrap resamples."""
    allow_unproven_weights: bool = False
    """Let the verdict be allow although nothing shows which weights were asked: where base or candidate is behind an
    endpoint (`engine.kind: openai`), or with `ftgate decide --from` on the logs of another program. Without it such a
    verdict is at most a hold. There is no digest, so `ftgate verify` finds no such candidate; nor is a report from logs
    published."""
    seed: int = Field(default=0, ge=0)
    """Seed of the run: every random draw follows from it and the measurement's name."""
    smoke_test: int | None = Field(default=None, ge=1)
    """Ask at most this many items of each suite, to see whether everything works (`ftgate run --limit`). The verdict is
    then never allow."""


class ArtifactSettings(GrownSection):
    """What may be loaded, and how it is cached."""

    later: ClassVar[frozenset[str]] = frozenset({"answers_store"})

    allow: tuple[str, ...] = ()
    """Globs that a reference must match; without any, nothing is allowed. `*` matches within one name, `**` across
    folders; `hf://acme/*` and `s3://bucket/*` allow everything below. Local paths are relative to the policy."""
    formats: tuple[Literal["safetensors"], ...] = ("safetensors",)
    """Weight formats that may be loaded. Only safetensors is supported."""
    remote_code: Literal[False] = False
    """Whether code in a model's folder may run. It never may; the field makes that explicit."""
    architectures: tuple[str, ...] = ()
    """Globs (`LlamaForCausalLM`, `Qwen*`) that the architecture in config.json must match, for base, candidate and
    judge; by default any that the engine supports."""
    skip: tuple[str, ...] = ()
    """Globs of files to ignore, such as `original/*`: not downloaded, not part of the digest, never shown to an engine.
    Files that trainers keep to resume (`optimizer.pt`, `training_args.bin`) are always ignored."""
    require_training_data: bool = False
    """Refuse a manifest without `training_data`. Without training data, leaked items cannot be found."""
    max_files: int = Field(default=500, ge=1, le=100_000)
    """Maximum number of files in one model or data set."""
    max_gb: float = Field(default=500, gt=0, le=100_000)
    """Maximum size of one model or data set, in gigabytes."""
    redirect_hosts: tuple[str, ...] = ()
    """Globs of additional hosts (`cdn.acme.com`, `*.acme.com`) that a source may redirect a download to."""
    cache: str | None = None
    """Absolute path of the download cache; by default `ftgate` below XDG_CACHE_HOME (`~/.cache`). The
    environment variable FTGATE_CACHE overrides it."""
    cache_gb: float = Field(default=500, gt=0, le=1_000_000)
    """Maximum size of the cache, in gigabytes; the least recently used goes first. FTGATE_CACHE_GB overrides it."""
    answers_store: str | None = Field(default=None, pattern=r"^(s3|gs|az)://[^/]+(/[^/]+)*/?$")
    """Where answers are kept for other runs: a prefix such as `s3://bucket/ftgate`, which several runners may share. By
    default they are in the cache (docs/resuming.md)."""
    verify_days: float = Field(default=7, ge=0, le=100_000)
    """Days after which a cached copy that looks unchanged is read in full and checked against its digests; 0 checks in
    every run. FTGATE_VERIFY_DAYS and `--verify-cache` override it."""


GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
"""Who vouches for the identity of a workflow on github.com."""


SignerIdentity = Annotated[str, Field(min_length=1, max_length=500)]


class PublishSettings(Section):
    """How results are kept on GitHub. It cannot change a verdict, so it is not part of the policy's fingerprint."""

    model_config = ConfigDict(serialize_by_alias=True)  # `as` is no name in Python

    ledger: Literal["comment", "branch"] = "comment"
    """`branch` also appends every record to a ledger branch, which `ftgate verify` and waivers need."""
    branch: str = Field(default="ftgate-ledger", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*$")
    """Name of the ledger branch. Protect it: only the workflow should be able to push to it."""
    context: str = Field(default=DEFAULT_CONTEXT, min_length=1, max_length=100)
    """Name of the commit status, or of the check run, that branch protection requires."""
    as_: Literal["status", "check"] = Field(default="status", alias="as")
    """What the verdict is posted as: a commit `status`, or a `check` run with a summary, annotations on the manifest's
    lines and the whole digest of its record. Only an App can post check runs (docs/github.md)."""
    expected_creator: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,98}(\[bot\])?$")
    """Login that sets the status or check run, such as `github-actions[bot]` or, for an App of one's own,
    `my-app[bot]`: for `ftgate verify`, `ftgate history` and waivers no other login's count. By default those of
    `github-actions[bot]` and of the owner of the token in use count, and that of a maintainer for their own waiver."""
    sign: Literal["sigstore"] | None = None
    """Sign each record on the ledger branch with the identity of the workflow that publishes, which needs
    `id-token: write` (docs/audit.md)."""
    certificate_identity: SignerIdentity | tuple[SignerIdentity, ...] | None = None
    """The identity whose signatures count, or several: the gate's workflow, such as
    `https://github.com/acme/models/.github/workflows/ftgate.yml@refs/heads/main`, and that of waivers. An allow or a
    waiver without the signature of one of them counts for nothing."""
    certificate_oidc_issuer: str = Field(default=GITHUB_ISSUER, min_length=1, max_length=500)
    """Who vouches for that identity."""

    may_waive: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,98}$")], ...] = ()
    """Logins of the people who may waive a block or hold. Without any, whoever has the role maintain or admin may."""

    @property
    def signers(self) -> tuple[str, ...]:
        """The identities whose signatures count; empty if records need none."""
        named = self.certificate_identity
        return (named,) if isinstance(named, str) else named or ()

    @model_validator(mode="after")
    def _signatures_have_a_place(self) -> Self:
        if (self.sign or self.certificate_identity) and self.ledger != "branch":
            raise ValueError("sign and certificate_identity need ledger: branch, where the signatures are")
        return self


ExportName = Literal["junit", "model-card", "eval-results", "inspect", "mlflow", "wandb"]


class Policy(GrownSection):
    """The whole policy file."""

    later: ClassVar[frozenset[str]] = frozenset({"extends", "incumbent", "exports"})

    version: Literal[1]
    """Version of the policy format."""
    extends: Profile | None = None
    """Limits for measurements that give none: `builtin:fine-tune` (the defaults below), or `builtin:compression` for a
    quantised, merged or distilled copy, which may lose 2 or 3 % at most (docs/serving.md)."""
    manifests: tuple[str, ...] = ()
    """Globs of the manifests in the repository, such as `models/*.yaml`: a pull request that changes one is judged."""
    measurements: Mapping[str, Mapping[str, Any]] = Field(min_length=1)
    """The measurements, one section each. One without a section is not run, except `form`, which asks nothing:
    `form: {enabled: false}` switches it off. A section under another name says what it is with `kind`, so that there
    may be several of one kind: `german: {kind: forgetting, dataset: …}`."""
    judge: JudgeSettings | None = None
    """The model that grades free-form answers; needed if a measurement has answers for it to grade."""
    incumbent: IncumbentSettings = IncumbentSettings()
    """How the candidate is compared with the model that is deployed today."""
    evidence: EvidenceSettings = EvidenceSettings()
    """How much evidence a decision needs."""
    engine: EngineSettings = EngineSettings()
    """How models are run."""
    artifacts: ArtifactSettings = ArtifactSettings()
    """What may be loaded, and how it is cached."""
    publish: PublishSettings = PublishSettings()
    """How results are kept on GitHub."""
    exports: tuple[ExportName, ...] = ()
    """Formats in which `ftgate run` leaves its results for other tools, once the verdict is written
    (docs/exports.md). One that fails is named and changes nothing."""

    @model_validator(mode="before")
    @classmethod
    def _with_profile(cls, value: Any) -> Any:
        return cut_short(extended(value))

    @model_validator(mode="after")
    def _judge_has_an_engine(self) -> Self:
        judge = self.judge
        if self.engine.kind == "openai" and judge is not None and judge.source is not None and judge.engine is None:
            raise ValueError(
                "judge.source needs judge.engine, such as {kind: vllm}: engine asks a server and loads no weights"
            )
        return self

    def as_smoke_test(self, items: int) -> Policy:
        """The same policy, with at most this many ``items`` of each suite, under which no verdict is allow."""
        evidence = {**self.evidence.model_dump(mode="json"), "smoke_test": items}
        return Policy.model_validate({**self.model_dump(mode="json"), "evidence": evidence})

    def sha256(self) -> str:
        """Fingerprint of everything in the policy that can change a verdict; comments and layout do not count."""
        return fingerprint(self.model_dump(mode="json"))

    def lacking(self, manifest: Manifest) -> str:
        """What this policy asks of a manifest and ``manifest`` does not name, as a reason; nothing if all is there."""
        if self.artifacts.require_training_data and manifest.training_data is None:
            return "training_data is missing, and the policy requires it (artifacts.require_training_data)"
        if self.incumbent.required and self.incumbent_of(manifest) is None:
            return "incumbent is missing, and the policy requires it (incumbent.required)"
        return ""

    def incumbent_of(self, manifest: Manifest) -> Source | Literal["last-allowed"] | None:
        """What says which model is deployed today: the manifest, or the ledger; None if nothing does."""
        return LAST_ALLOWED if self.incumbent.source == LAST_ALLOWED else manifest.incumbent


def fingerprint(policy: Mapping[str, Any]) -> str:
    """The SHA-256 of a policy as JSON, as job.json has it, without what changes no verdict."""
    return digest_of({name: value for name, value in policy.items() if name not in ("publish", "exports")})


def read_policy(path: Path) -> Policy:
    """The policy in ``path``. Raises ConfigurationError naming file, field and value."""
    return validate(Policy, read_mapping(path, "policy"), f"policy {path}")
