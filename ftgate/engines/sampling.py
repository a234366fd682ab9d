"""What a question's settings make of the distribution of the next token, for the reference engine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ftgate.domain import Question


def shaped(logits: Tensor, question: Question, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
    """One row of logits, shape (vocabulary,), after penalties, temperature, ``min_p``, ``top_k`` and ``top_p``.

    ``prompt`` and ``answer`` are the tokens so far. The repetition penalty divides positive logits of any of them and
    multiplies negative ones (Keskar et al. 2019, section 4.1); the others are subtracted, as OpenAI's API defines them.
    ``min_p`` is relative to the likeliest token (Nguyen et al. 2024, section 3). Of the likeliest tokens, those that
    together reach ``top_p`` stay (Holtzman et al. 2020, section 3.1). The order is vLLM's.
    """
    if question.repetition_penalty != 1:
        tokens = torch.tensor(sorted({*prompt, *answer}), device=logits.device)
        values = logits[tokens]
        penalty = question.repetition_penalty
        logits = logits.index_put((tokens,), torch.where(values > 0, values / penalty, values * penalty))
    if question.presence_penalty or question.frequency_penalty:
        counts = torch.bincount(torch.tensor(answer, dtype=torch.long), minlength=len(logits)).to(logits)
        logits = logits - question.frequency_penalty * counts - question.presence_penalty * (counts > 0)
    if not question.temperature:
        return logits
    logits = logits / question.temperature
    if question.min_p:
        shares = logits.softmax(dim=-1)
        logits = logits.masked_fill(shares < question.min_p * shares.max(), -torch.inf)
    if 0 < question.top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(question.top_k).values[-1], -torch.inf)
    if question.top_p < 1:
        values, tokens = logits.sort(descending=True)
        shares = values.softmax(dim=-1)
        beyond = shares.cumsum(dim=-1) - shares >= question.top_p
        logits = logits.index_put((tokens[beyond],), torch.tensor(-torch.inf, device=logits.device))
    return logits
