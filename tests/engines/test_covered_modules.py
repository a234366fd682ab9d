"""What an adapter's configuration covers is what the installed peft would build."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from engines.tiny import LINEAR, TinyModels
from ftgate.artifacts.snapshot import take_snapshot
from ftgate.errors import ArtifactError
from ftgate.models.covered_modules import check_covered
from ftgate.models.open import open_model

NAMES = [
    *(f"model.layers.{layer}.self_attn.{leaf}" for layer in (0, 1, 11) for leaf in ("q_proj", "k_proj")),
    *("model.layers.1.mlp.up_proj", "transformer.h.0.attn.c_attn", "layers.0.q_proj", "model.h.1.layers.0.q_proj"),
    *("q_proj", "lm_head", "model.pre_q_proj"),
]
PARTS = ["q_proj", "self_attn.k_proj", "up_proj", "c_attn", "lm_head", "attn", "proj", "", NAMES[0], NAMES[7]]
PATTERNS = ["q_proj", r".*q_proj", r".*layers\.0\..*", r"model\.(layers|h)\.1.*", r"(?!.*mlp).*", "lm_head", "nothing"]
LISTS = st.lists(st.sampled_from(PARTS), max_size=4)
CONFIGS = st.one_of(
    st.fixed_dictionaries(
        {"target_modules": LISTS},
        optional={
            "exclude_modules": LISTS | st.sampled_from(PATTERNS) | st.none(),
            "layers_to_transform": st.lists(st.sampled_from([0, 1, 11]), min_size=1, max_size=2) | st.integers(0, 2),
            "layers_pattern": st.sampled_from(["layers", "h", ["h", "layers"], ["l.*s"], [], "", None]),
        },
    ),
    st.fixed_dictionaries(
        {"target_modules": st.sampled_from(PATTERNS)},
        optional={"exclude_modules": LISTS | st.sampled_from(PATTERNS)},
    ),
).filter(lambda config: config.get("layers_to_transform") is not None or not config.get("layers_pattern"))


def is_covered(name: str, config: dict[str, Any]) -> bool:
    try:
        check_covered({name: ()}, config, "adapter_config.json")
    except ArtifactError:
        return False
    return True


@given(CONFIGS, st.sampled_from(NAMES))
@settings(max_examples=1000)
def test_each_module_is_judged_as_peft_does(config: dict[str, Any], name: str) -> None:
    from peft import LoraConfig
    from peft.tuners.tuners_utils import check_target_module_exists

    assert is_covered(name, config) == bool(check_target_module_exists(LoraConfig(**config), name))


@pytest.mark.parametrize(
    "config",
    [
        {"target_modules": LINEAR},
        {"target_modules": "all-linear"},
        {"target_modules": "all-linear", "exclude_modules": ["v_proj"]},
        {"target_modules": r".*layers\.0\..*proj"},
        {"target_modules": ["q_proj"]},
        {"target_modules": LINEAR, "layers_to_transform": [0], "layers_pattern": "layers"},
        {"target_modules": LINEAR, "exclude_modules": r".*mlp.*"},
    ],
    ids=str,
)
def test_the_weights_that_peft_builds_are_covered_and_all_others_are_refused(
    config: dict[str, Any], tiny: TinyModels, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(tiny.base.path)
    folder = tmp_path / "x"
    get_peft_model(net, LoraConfig(r=8, lora_alpha=16, **config)).save_pretrained(folder)
    weights = "adapter_model.safetensors"
    built, stored = (_tensors(path / weights) for path in (folder, tiny.real.path))
    assert built <= stored
    shutil.copyfile(tiny.real.path / weights, folder / weights)
    base = open_model("base", take_snapshot(tiny.base.path, "base"), None)
    surplus = len(stored - built) // 2
    expected = f"does not cover {surplus} of the {len(stored) // 2} modules"
    with pytest.raises(ArtifactError, match=expected) if surplus else nullcontext():
        open_model("bot", take_snapshot(folder, "x"), base)


def _tensors(path: Path) -> set[str]:
    with safe_open(path, "numpy") as file:
        return set(file.keys())
