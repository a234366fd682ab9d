from __future__ import annotations

import pytest

from ftgate.config.policy import Policy
from ftgate.errors import ConfigurationError
from ftgate.github.bundle import _policy_paths


def test_a_task_file_is_no_part_of_a_bundle_and_a_task_of_the_harness_needs_none() -> None:
    def policy(dataset: str) -> Policy:
        return Policy.model_validate({"version": 1, "measurements": {"forgetting": {"dataset": dataset}}})

    assert _policy_paths(policy("lm-eval:mmlu"), "ftgate.yml") == {"ftgate.yml"}
    with pytest.raises(ConfigurationError, match=r"tasks/mine\.yaml is a program"):
        _policy_paths(policy("tasks/mine.yaml"), "ftgate.yml")
