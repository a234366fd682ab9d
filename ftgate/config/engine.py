"""The engine section of a policy: which engine runs the models, and every setting that can move a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ftgate.config.endpoint import EndpointPace, ModelEndpoint
from ftgate.config.generation import Generation
from ftgate.config.strict import GrownSection
from ftgate.domain import SIDES, Side

EngineKind = Literal["vllm", "transformers", "scripted", "openai", "ray"]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
CacheDtype = Literal["auto", "float16", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"]
Served = Literal["lora", "merged"]
Quantization = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")]
Thinking = Literal["off", "on", "template"]
"""Whether a model thinks before it answers; ``template``: as its chat template has it when it is passed nothing."""


def _with_address(value: Any) -> Any:
    """A bare address as a section."""
    return {"address": value} if isinstance(value, str) else value


Endpoint = Annotated[ModelEndpoint, BeforeValidator(_with_address)]


class OwnEngine(GrownSection):
    """What differs for one of the two models from `engine`, because it is served so."""

    later: ClassVar[frozenset[str]] = frozenset(
        {"endpoint", "dtype", "quantization", "kv_cache_dtype", "tensor_parallel_size", "served"}
    )

    endpoint: Endpoint | None = None
    """The server of this model, if it has another one than `engine.endpoint`."""
    dtype: Dtype | None = None
    """Data type of weights and activations."""
    quantization: Quantization | None = None
    """How vLLM quantises the weights while it loads them, such as `fp8`."""
    kv_cache_dtype: CacheDtype | None = None
    """Data type of the KV cache."""
    tensor_parallel_size: int | None = Field(default=None, ge=1)
    """Number of GPUs that the model is split across."""
    served: Served | None = None
    """How an adapter is served, for the candidate."""

    def changes(self) -> Mapping[str, Any]:
        """The fields of :class:`EngineSettings` that it replaces."""
        return {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None}


class EngineSettings(GrownSection):
    """How models are run: base and candidate with the same settings, but for what `base` and `candidate` say."""

    later: ClassVar[frozenset[str]] = frozenset(
        {"tool_parser", "endpoint", "base", "candidate", "quantization", "kv_cache_dtype", "served"}
        | {"thinking", "thinking_tokens", "generation", "enforce_eager", "compilation_level"}
        | {"pipeline_parallel_size", "devices", "replicas", "address", "resources"}
    )

    kind: EngineKind = "vllm"
    """`vllm` for real runs; `ray` is vllm with `address: auto`, on the machines of a Ray cluster; `transformers` is a
    slow, independent reference; `openai` asks models that a server already runs; `scripted` plays back answers in
    tests."""
    dtype: Dtype = "auto"
    """Data type of weights and activations; `auto` takes the one in the model's config.json."""
    max_model_len: int = Field(default=4096, ge=16, le=1_048_576)
    """Longest prompt plus answer, in tokens. A longer prompt counts as an item without an answer."""
    seed: int = Field(default=0, ge=0)
    """Seed of the engine. Questions that sample have a seed each, from `evidence.seed`."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of a GPU's memory that engines may use: those that fit together divide it by what their weights need."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """Number of GPUs that a model is split across."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Maximum number of requests in flight; by default the engine's own."""
    max_num_batched_tokens: int | None = Field(default=None, ge=16)
    """Maximum number of tokens in one forward pass; by default the engine's own."""
    tool_parser: str | None = Field(default=None, min_length=1, max_length=100)
    """The tool parser of vLLM that reads tool calls (`hermes`, `mistral`, `llama3_json`, ...), as in `vllm serve
    --tool-call-parser`; by default the common ways to write calls are read."""
    quantization: Quantization | None = None
    """How vLLM quantises the weights while it loads them, such as `fp8`, as in `vllm serve --quantization`; weights
    that are stored quantised say it themselves."""
    kv_cache_dtype: CacheDtype = "auto"
    """Data type of the KV cache, as in `vllm serve --kv-cache-dtype`."""
    served: Served = "lora"
    """How an adapter is served: at run time beside its base, or `merged` into it, which gives other numbers."""
    endpoint: Endpoint | None = None
    """The server that serves base and candidate, for kind `openai`: an address, or a section with the key's variable
    and the pace. Only the policy names it, so that a change sends neither keys nor suites elsewhere."""
    base: OwnEngine | None = None
    """What differs for the base."""
    candidate: OwnEngine | None = None
    """What differs for the candidate."""

    thinking: Thinking = "template"
    """Whether models think before they answer. `template`: as their chat templates have it by themselves, which is how
    a server runs them. `on` and `off` pass `enable_thinking` (and `thinking`) to the templates, and `off` closes a
    thought that a template opens all the same. Option letters are read when the thought has ended. A judge with local
    weights never thinks."""
    thinking_tokens: int = Field(default=2048, ge=1, le=1_048_576)
    """Longest thought, in tokens, apart from the answer's `max_tokens`. A longer one leaves no answer: it counts as
    wrong, and as cut off in `form`."""

    enforce_eager: bool = False
    """Whether vLLM neither compiles nor captures graphs: it starts sooner and answers slower. Always so on a CPU."""
    compilation_level: int | None = Field(default=None, ge=0, le=3)
    """How much vLLM compiles, as in `vllm serve --compilation-config`: 0 nothing, 3 all; by default vLLM's own."""
    pipeline_parallel_size: int = Field(default=1, ge=1)
    """Number of stages that the layers of a model are split into, each on `tensor_parallel_size` GPUs of its own."""
    devices: tuple[int, ...] | None = Field(default=None, min_length=1)
    """Numbers of the GPUs of this engine, such as `[1]` in `judge.engine`, so that it shares none with the models; by
    default the first ones."""

    replicas: Annotated[int, Field(ge=1)] | Literal["auto"] = 1
    """Number of engines that share the questions, each with all models on GPUs of its own; `auto`: as many as there are
    GPUs for. More than one needs Ray (extra `ray`), which starts them on this machine, or on those of `address`."""
    address: str | None = Field(default=None, pattern=r"^(auto|[A-Za-z0-9.-]+:\d{1,5})$")
    """The Ray cluster whose machines run the replicas: `auto` for the one that this machine is in, or `host:port`."""
    resources: Mapping[str, Annotated[float, Field(gt=0)]] | None = None
    """Ray's custom resources that each replica takes, such as `{h100: 1}`, so that it runs where they are."""

    generation: Generation | None = None
    """How both models generate their answers, if not greedily: a section, or `candidate` for what the candidate's
    generation_config.json says. The probabilities of option letters are read as ever, and a judge stays greedy."""

    @model_validator(mode="before")
    @classmethod
    def _vllm_on_a_cluster(cls, value: Any) -> Any:
        """Kind ``ray`` is vLLM on other machines, with everything else as there."""
        if isinstance(value, Mapping) and value.get("kind") == "ray":
            return {**value, "kind": "vllm", "address": value.get("address") or "auto"}
        return value

    @field_validator("thinking", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        """YAML reads a bare ``on`` or ``off`` as true or false."""
        return {True: "on", False: "off"}.get(value, value) if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _parsed_by_vllm(self) -> Self:
        if self.tool_parser is not None and self.kind != "vllm":
            raise ValueError(f"tool_parser: only vLLM has tool parsers, and kind is {self.kind}")
        return self

    @model_validator(mode="after")
    def _forms_of_vllm(self) -> Self:
        if self.base is not None and self.base.served is not None:
            raise ValueError("base.served: the base is no adapter")
        for section, own in {"": self, "base.": self.base, "candidate.": self.candidate}.items():
            named = [f for f in ("quantization", "kv_cache_dtype") if getattr(own, f, None) not in (None, "auto")]
            if named and self.kind != "vllm":
                raise ValueError(f"{section}{named[0]}: only for kind: vllm, and kind is {self.kind}")
        return self

    @model_validator(mode="after")
    def _knobs_of_vllm(self) -> Self:
        knobs = ("enforce_eager", "compilation_level", "pipeline_parallel_size", "devices")
        for name in (*knobs, "replicas", "address", "resources"):
            if self.kind != "vllm" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: only for kind: vllm, and kind is {self.kind}")
        if self.uses_ray and self.devices is not None:
            raise ValueError(f"devices {list(self.devices)}: Ray chooses the GPUs of each replica")
        if self.resources and not self.uses_ray:
            raise ValueError("resources: only for replicas on a Ray cluster (kind: ray)")
        if self.enforce_eager and self.compilation_level:
            raise ValueError(f"compilation_level {self.compilation_level}: enforce_eager compiles nothing")
        if self.devices is not None and (
            min(self.devices) < 0 or not len(set(self.devices)) == len(self.devices) == self.gpus
        ):
            raise ValueError(
                f"devices {list(self.devices)}: name {self.gpus}, each once, counted from 0: tensor_parallel_size "
                "times pipeline_parallel_size"
            )
        return self

    @model_validator(mode="after")
    def _settings_that_count(self) -> Self:
        """Settings that were once valid and did nothing, such as those of `engine` with transformers, stay valid."""
        sections = {"": self, "base.": self.base, "candidate.": self.candidate}
        for section, own in sections.items():
            if own is None:
                continue
            if self.kind != "vllm" and (section or self.kind == "openai") and own.tensor_parallel_size not in (None, 1):
                raise ValueError(f"{section}tensor_parallel_size: only for kind: vllm, and kind is {self.kind}")
            if self.kind == "openai":
                if own.dtype not in (None, "auto"):
                    raise ValueError(f"{section}dtype: the server has loaded the weights, as kind is openai")
                if own.served == "merged":
                    raise ValueError(f"{section}served: the server serves what it has, as kind is openai")
        return self

    @model_validator(mode="after")
    def _asked_where_they_are(self) -> Self:
        endpoints = [self.endpoint, *(own.endpoint for own in (self.base, self.candidate) if own is not None)]
        if self.kind != "openai":
            if any(endpoints):
                raise ValueError(f"endpoint: only for kind: openai, and kind is {self.kind}")
        elif self.endpoint is None and None in (self.of("base").endpoint, self.of("candidate").endpoint):
            raise ValueError("kind openai needs endpoint: the address of the server that serves base and candidate")
        return self

    def of(self, side: Side) -> EngineSettings:
        """The settings for one of the two models, with nothing left that is for one of them."""
        own = getattr(self, side)
        changes = {} if own is None else own.changes()
        return self.model_copy(update={**changes, "base": None, "candidate": None})

    @property
    def gpus(self) -> int:
        """The number of GPUs that a model is split across."""
        return self.tensor_parallel_size * self.pipeline_parallel_size

    @property
    def used_devices(self) -> frozenset[int]:
        """The numbers of the GPUs that the engine uses."""
        return frozenset(range(self.gpus) if self.devices is None else self.devices)

    @property
    def uses_ray(self) -> bool:
        """Whether the models run in processes of Ray, here or on other machines."""
        return self.address is not None or self.replicas != 1

    @property
    def shared(self) -> EngineSettings:
        """The settings for a model that is neither of the two, such as the judge."""
        return self.model_copy(update={"base": None, "candidate": None})

    @property
    def differ(self) -> bool:
        """Whether base and candidate each need an engine."""
        base, candidate = (self.of(side).model_copy(update={"served": "lora"}) for side in SIDES)
        return self.kind == "openai" or base != candidate

    def identity(self) -> Mapping[str, Any]:
        """What answers depend on: neither the pace at which a server is asked, nor on how many machines models run."""
        pace, ray = set(EndpointPace.model_fields), {"replicas", "address", "resources"}
        sides = {side: {"endpoint": pace} for side in ("base", "candidate")}
        return self.model_dump(mode="json", exclude={"endpoint": pace, **dict.fromkeys(ray, True), **sides})
