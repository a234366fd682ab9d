"""The section ``lm_eval`` of a measurement: how a task of the lm-evaluation-harness is asked."""

from __future__ import annotations

from pydantic import Field

from ftgate.config.strict import Section

PREFIX = "lm-eval:"
"""What a policy writes before the name of a task, instead of a file."""


class LmEvalSettings(Section):
    """What of a task of the lm-evaluation-harness is not as the task itself says; only with such a `dataset`."""

    num_fewshot: int | None = Field(default=None, ge=0, le=100)
    """Worked examples in each prompt. As in the harness, a task that says 0 keeps to it."""
    metric: str | None = Field(default=None, min_length=1, max_length=100)
    """The metric that is compared, such as `acc_norm`; by default the first that the task names."""
    filter: str | None = Field(default=None, min_length=1, max_length=100)
    """The filter of generated answers, such as `flexible-extract`; by default the task's first."""
    apply_chat_template: bool = False
    """Put the prompt into the chat template, as one turn of the user. By default the text is continued as it is."""


def is_task(dataset: str) -> bool:
    """Whether ``dataset`` names a task of the harness: a registered one, or a YAML file that describes one."""
    return dataset.startswith(PREFIX) or dataset.endswith((".yaml", ".yml"))
