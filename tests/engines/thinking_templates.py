"""Chat templates of the three kinds that think, as small as can be, on the tokenizer of :mod:`engines.tiny`."""

from __future__ import annotations

TURNS = "<|begin|>{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
PROMPT = "{% if add_generation_prompt %}<|assistant|>"
SWITCHED = (
    TURNS + PROMPT + "{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}"
)
"""The model thinks by itself, unless it is told not to: then an empty thought is in the prompt."""
OPENED = TURNS + PROMPT + "{{ '<think>\\n' }}{% endif %}"
"""The template opens the thought, whatever it is told."""
CHANNELS = (
    "<|start|>system<|message|>Reasoning: {{ reasoning_effort | default('medium') }}<|end|>"
    "{% for m in messages %}<|start|>{{ m['role'] }}<|message|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
"""The model names a channel for what it writes."""
