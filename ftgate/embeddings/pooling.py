"""Pooling: from a text's token states to its vector, as the model's pipeline says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ftgate.embeddings.st_config import Dense, Pipeline
from ftgate.errors import ArtifactError

Step = Callable[[Tensor], Tensor]


def pool(states: Tensor, mask: Tensor, modes: tuple[str, ...], skipped: int = 0) -> Tensor:
    """Vectors of shape (texts, modes * d) from states of shape (texts, tokens, d); the ``modes`` are concatenated.

    ``mask``, shape (texts, tokens), is 1 for tokens and 0 for the padding on the right. The first ``skipped`` tokens,
    the prompt's, do not count, but the last token always does. As in sentence-transformers: ``weightedmean`` weights
    the t-th token, the prompt's included, by t; ``mean_sqrt_len_tokens`` is the sum divided by the square root of the
    count.
    """
    positions = torch.arange(mask.shape[1], device=mask.device)
    last = mask.sum(dim=1) - 1
    first = torch.clamp(torch.full_like(last, skipped), max=last)
    kept = ((positions >= first[:, None]) & (positions <= last[:, None])).unsqueeze(-1)
    weights = kept.float()
    count, rows = weights.sum(dim=1), torch.arange(len(states), device=mask.device)
    pooled_by: Mapping[str, Callable[[], Tensor]] = {
        "cls": lambda: states[rows, first],
        "max": lambda: states.masked_fill(~kept, float("-inf")).amax(dim=1),
        "mean": lambda: (states * weights).sum(dim=1) / count,
        "mean_sqrt_len_tokens": lambda: (states * weights).sum(dim=1) / count.sqrt(),
        "weightedmean": lambda: _weighted(states, weights * (positions + 1)[None, :, None]),
        "lasttoken": lambda: states[rows, last],
    }
    return torch.cat([pooled_by[mode]() for mode in modes], dim=-1)


def load_steps(pipeline: Pipeline, width: int, device: str) -> list[Step]:
    """The steps after pooling, for vectors of ``width``. Raises ArtifactError if a layer's weights do not fit."""
    steps: list[Step] = []
    for step in pipeline.steps:
        if step is None:
            steps.append(lambda vectors: nn.functional.normalize(vectors, dim=-1))
        else:
            linear = _linear(step, width)
            width = linear.out_features
            steps.append(nn.Sequential(linear, getattr(nn, step.activation)()).to(device).eval())
    return steps


def _weighted(states: Tensor, weights: Tensor) -> Tensor:
    return (states * weights).sum(dim=1) / weights.sum(dim=1)


def _linear(step: Dense, width: int) -> nn.Linear:
    tensors = _tensors(step.weights)
    weight, bias = tensors.get("linear.weight"), tensors.get("linear.bias")
    fits = weight is not None and weight.ndim == 2 and weight.shape[1] == width
    if weight is None or not fits or (bias is not None and bias.shape != weight.shape[:1]):
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
        raise ArtifactError(
            f"{step.weights}: expected linear.weight [n, {width}], found {shapes or 'nothing'}",
            hint="save the model again",
        )
    linear = nn.Linear(width, len(weight), bias=bias is not None)
    linear.load_state_dict({"weight": weight.float(), **({} if bias is None else {"bias": bias.float()})})
    return linear


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except Exception as error:  # whatever the library raises, the advice is the same
        raise ArtifactError(f"{path}: not readable as safetensors: {error}", hint="save the model again") from None
