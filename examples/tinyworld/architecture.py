"""The network that all models share: a one-million-parameter Llama."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def config(vocabulary: int) -> LlamaConfig:
    """Shapes that every vLLM attention kernel knows (head size 32), embeddings tied."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
        initializer_range=0.04,
    )


def new_model(vocabulary: int, seed: int) -> LlamaForCausalLM:
    """A fresh model. The start is wider than usual (0.04) because the embeddings are tied and the model is narrow."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(config(vocabulary))
