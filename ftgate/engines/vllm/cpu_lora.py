"""LoRA on a CPU as matrix products: vLLM's own CPU kernels copy the adapter's weights once for every token.

vLLM asks its platform which class applies LoRA. Ours multiplies each run of neighbouring tokens with the same adapter
by that adapter's two matrices, and leaves tokens without an adapter untouched; the numbers are the same, several times
sooner. Weights are stacked by vLLM as (slots, 1, rank, in) and (slots, 1, out, rank).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU


def install(platform: Any) -> None:
    """Make ``platform``, vLLM's current one, choose :class:`RunwiseLora` for engines started from now on."""
    name = f"{RunwiseLora.__module__}.{RunwiseLora.__qualname__}"
    type(platform).get_punica_wrapper = staticmethod(lambda: name)


class RunwiseLora(PunicaWrapperCPU):  # type: ignore[misc]
    """vLLM's CPU wrapper with the linear layers done run by run."""

    runs: tuple[tuple[int, int, int], ...] = ()
    """Start, end and slot of each run of neighbouring tokens that share an adapter."""

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """Find the runs of this step."""
        super().update_metadata(*args, **kwargs)
        slots: Tensor = self.token_lora_indices
        ends = (torch.nonzero(slots[1:] != slots[:-1]).flatten() + 1).tolist()
        edges = pairwise([0, *ends, len(slots)])
        self.runs = tuple((start, end, int(slots[start])) for start, end in edges if end > start and slots[start] >= 0)

    def add_lora_linear(
        self,
        y: Tensor,
        x: Tensor,
        lora_a_stacked: Sequence[Tensor],
        lora_b_stacked: Sequence[Tensor],
        scale: float,
        output_slices: Sequence[int],
        **_: Any,
    ) -> None:
        """Add ``x A' B' scale`` to ``y`` of shape (tokens, out), slice by slice, the product with A in float32."""
        rows, out = x.view(-1, x.shape[-1]), y.view(-1, y.shape[-1])
        for start, end, slot in self.runs:
            left = 0
            for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
                low = (rows[start:end].float() @ a[slot, 0].float().T) * scale
                out[start:end, left : left + width] += low.to(out.dtype) @ b[slot, 0].to(out.dtype).T
                left += width
