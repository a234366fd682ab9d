"""The engine section of a policy: which engine runs the models, and every setting that can move a number."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ftgate.config.strict import Section

EngineKind = Literal["vllm", "transformers", "scripted"]


class EngineSettings(Section):
    """How models are run. The same settings serve base and candidate, so that only the weights differ."""

    kind: EngineKind = "vllm"
    """``vllm`` for use; ``transformers`` is the slow, independent reference; ``scripted`` plays back for tests."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_model_len: int = Field(default=4096, ge=16, le=1_048_576)
    """Longest prompt plus answer, in tokens."""
    seed: int = Field(default=0, ge=0)
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    tensor_parallel_size: int = Field(default=1, ge=1)
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Most requests in flight at once; None leaves it to the engine."""
    max_num_batched_tokens: int | None = Field(default=None, ge=16)
    """Most tokens in one forward pass; None leaves it to the engine."""
