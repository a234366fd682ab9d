"""Which modules adapter_config.json covers, where that depends on more than one field; see also the zoo."""

from __future__ import annotations

from typing import Any

import pytest

from ftgate.errors import ArtifactError
from ftgate.models.covered_modules import check_covered, covered

ATTENTION = "model.layers.3.self_attn.q_proj"
EXPERT = "model.layers.3.mlp.experts.7.up_proj"


def check(*modules: str, has_experts: bool = False, **config: Any) -> None:
    check_covered(dict.fromkeys(modules, ()), config, "x: adapter_config.json", has_experts=has_experts)


def test_all_modules_are_counted_and_the_first_is_named() -> None:
    with pytest.raises(ArtifactError) as caught:
        check(ATTENTION, "a.k_proj", "a.v_proj", target_modules=["q_proj"])
    assert caught.value.message.startswith(
        "x: adapter_config.json does not cover 2 of the 3 modules in the adapter's weights, such as a.k_proj "
    )


def test_a_long_list_is_cut() -> None:
    with pytest.raises(ArtifactError) as caught:
        check(ATTENTION, target_modules=[f"layers.{i}.k_proj" for i in range(5000)])
    assert len(caught.value.message) < 500


def test_a_name_is_no_end_of_a_longer_name() -> None:
    with pytest.raises(ArtifactError):
        check("model.layers.0.pre_q_proj", target_modules=["q_proj"])


def test_experts_are_not_judged_and_patterns_neither_beside_them() -> None:
    check(ATTENTION, EXPERT, has_experts=True, target_modules=["q_proj"])
    check(ATTENTION, has_experts=True, target_modules="all of them")
    with pytest.raises(ArtifactError, match="1 of the 2 modules"):
        check(ATTENTION, EXPERT, has_experts=True, target_modules=["up_proj"])


def test_the_other_one_of_tied_embeddings_is_not_judged() -> None:
    check("lm_head", ensure_weight_tying=True, target_modules=["embed_tokens"])
    with pytest.raises(ArtifactError, match="lm_head"):
        check("lm_head", target_modules=["embed_tokens"])


def test_modules_saved_whole_are_another_matter() -> None:
    check(ATTENTION, target_modules=["q_proj"], modules_to_save=["lm_head"], trainable_token_indices=[1])


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"target_modules": ["q_proj", "lm_head"]}, ["model.layers.0.self_attn.q_proj", "lm_head"]),
        ({"target_modules": "all-linear"}, ["model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"]),
        ({"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [1]}, ["model.layers.1.mlp.up_proj"]),
        ({"target_modules": r".*layers\.1\..*"}, ["model.layers.1.mlp.up_proj"]),
        ({"target_modules": {"q_proj": 1}}, []),
    ],
)
def test_what_a_configuration_covers_in_the_base(config: dict[str, Any], names: list[str]) -> None:
    base = ["model.embed_tokens", "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj", "lm_head"]
    assert covered(base, config) == names
