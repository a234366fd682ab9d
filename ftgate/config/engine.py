"""The engine section of a policy: which engine runs the models, and every setting that can move a number."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from ftgate.config.strict import GrownSection

EngineKind = Literal["vllm", "transformers", "scripted"]


class EngineSettings(GrownSection):
    """How models are run. Base and candidate run with the same settings, so that only the weights differ."""

    later: ClassVar[frozenset[str]] = frozenset({"tool_parser"})

    kind: EngineKind = "vllm"
    """`vllm` for real runs; `transformers` is a slow, independent reference; `scripted` plays back answers in tests."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Data type of weights and activations; `auto` takes the one in the model's config.json."""
    max_model_len: int = Field(default=4096, ge=16, le=1_048_576)
    """Longest prompt plus answer, in tokens. A longer prompt counts as an item without an answer."""
    seed: int = Field(default=0, ge=0)
    """Seed of the engine. Questions that sample have a seed each, from `evidence.seed`."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of the GPU's memory that one engine may use."""
    tensor_parallel_size: int = Field(default=1, ge=1)
    """Number of GPUs that a model is split across."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Maximum number of requests in flight; by default the engine's own."""
    max_num_batched_tokens: int | None = Field(default=None, ge=16)
    """Maximum number of tokens in one forward pass; by default the engine's own."""
    tool_parser: str | None = Field(default=None, min_length=1, max_length=100)
    """The tool parser of vLLM that reads tool calls (`hermes`, `mistral`, `llama3_json`, ...), as in `vllm serve
    --tool-call-parser`; by default the common ways to write calls are read."""

    @model_validator(mode="after")
    def _parsed_by_vllm(self) -> Self:
        if self.tool_parser is not None and self.kind != "vllm":
            raise ValueError(f"tool_parser: only vLLM has tool parsers, and kind is {self.kind}")
        return self
