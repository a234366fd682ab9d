"""What cannot be pooled as its files say is named: file, value, and what to do."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.embeddings.st_config import Pipeline, read_pipeline
from ftgate.errors import ArtifactError

PLAIN = ["Transformer", "Pooling"]


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def modules(folder: Path, kinds: list[str], package: str = "sentence_transformers.models") -> None:
    found = [{"path": f"{i}_{kind}" if i else "", "type": f"{package}.{kind}"} for i, kind in enumerate(kinds)]
    write(folder / "modules.json", found)


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        read_pipeline(folder, "hf://a/b")
    assert str(caught.value).startswith("hf://a/b: ")
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.hint


def test_a_folder_without_modules_is_pooled_by_its_mean(tmp_path: Path) -> None:
    assert read_pipeline(tmp_path) == Pipeline(("mean",))


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (["Transformer", "Pooling", "LSTM"], "Transformer, Pooling, LSTM"),
        (["Transformer", "WeightedLayerPooling", "Pooling"], "WeightedLayerPooling"),
        (["WordEmbeddings", "Pooling"], "WordEmbeddings"),
        (["Transformer"], "unsupported modules Transformer;"),
        ([], "unsupported modules none"),
    ],
)
def test_modules_of_another_kind_or_order_are_named(tmp_path: Path, kinds: list[str], said: str) -> None:
    modules(tmp_path, kinds)
    refused(tmp_path, "modules.json", said)


def test_code_of_the_model_itself_is_named(tmp_path: Path) -> None:
    modules(tmp_path, PLAIN, package="custom_st")
    refused(tmp_path, "modules.json: module 0 has the unsupported type 'custom_st.Transformer'")


@pytest.mark.parametrize("path", ["../1_Pooling", "/etc", "", "..", "a/b", 7])
def test_a_module_that_lies_elsewhere_is_named(tmp_path: Path, path: Any) -> None:
    modules(tmp_path, PLAIN)
    found = json.loads((tmp_path / "modules.json").read_text())
    found[1]["path"] = path
    write(tmp_path / "modules.json", found)
    refused(tmp_path, f"module 1 has the path {path!r}")


def test_a_transformer_in_a_folder_of_its_own_is_named(tmp_path: Path) -> None:
    modules(tmp_path, PLAIN)
    found = json.loads((tmp_path / "modules.json").read_text())
    found[0]["path"] = "0_T"
    write(tmp_path / "modules.json", found)
    refused(tmp_path, "the Transformer is in the folder '0_T'")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"pooling_mode": "median"}, "unsupported pooling mode 'median'"),
        ({"pooling_mode_median_tokens": True}, "unsupported pooling mode 'pooling_mode_median_tokens'"),
        ({"pooling_mode": []}, "no pooling mode"),
        ({"pooling_mode": [["mean"]]}, "unsupported pooling mode ['mean']"),
        ([], "expected an object"),
        ("{", "not valid JSON"),
        (None, "1_Pooling/config.json is missing"),
    ],
)
def test_a_pooling_that_is_not_known_is_named(tmp_path: Path, config: Any, said: str) -> None:
    modules(tmp_path, PLAIN)
    if config is not None:
        write(tmp_path / "1_Pooling" / "config.json", config)
    refused(tmp_path, "1_Pooling/config.json", said)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"activation_function": "os.system"}, "2_Dense/config.json: unsupported activation_function 'os.system'"),
        ({"activation_function": "torch.nn.modules.loss.L1Loss"}, "L1Loss"),
        ({"module_input_name": "token_embeddings"}, "a layer with other inputs or outputs"),
        ({"use_residual": True}, "residual connection"),
        ({}, "2_Dense/model.safetensors is missing"),
    ],
)
def test_a_dense_layer_that_is_not_known_is_named(tmp_path: Path, config: Any, said: str) -> None:
    modules(tmp_path, [*PLAIN, "Dense"])
    write(tmp_path / "1_Pooling" / "config.json", {})
    write(tmp_path / "2_Dense" / "config.json", config)
    refused(tmp_path, said)


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("config_sentence_transformers.json", {"default_prompt_name": "q", "prompts": {}}, "default_prompt_name 'q'"),
        ("sentence_bert_config.json", {"max_seq_length": -1}, "max_seq_length: -1 is not a number"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, name: str, config: Any, said: str) -> None:
    modules(tmp_path, PLAIN)
    write(tmp_path / "1_Pooling" / "config.json", {})
    write(tmp_path / name, config)
    refused(tmp_path, name, said)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
POOLING_KEYS = ("pooling_mode", "pooling_mode_cls_token", "include_prompt", "path", "type")
OTHER_KEYS = ("prompts", "default_prompt_name", "max_seq_length", "activation_function", "module_input_name")
KEYS = st.sampled_from([*POOLING_KEYS, *OTHER_KEYS, "use_residual"])
SETTINGS = st.dictionaries(KEYS, JSON, max_size=4)


@given(JSON | st.lists(SETTINGS, max_size=3), SETTINGS, JSON | SETTINGS)
def test_whatever_stands_in_the_files_is_a_pipeline_or_one_clear_error(
    tmp_path_factory: pytest.TempPathFactory, first: Any, pooling: Any, other: Any
) -> None:
    folder = tmp_path_factory.mktemp("model")
    write(folder / "1_Pooling" / "config.json", pooling)
    write(folder / "2_Dense" / "config.json", other)
    write(folder / "2_Dense" / "model.safetensors", "")
    for kinds in (None, PLAIN, [*PLAIN, "Dense"]):
        if kinds is None:
            write(folder / "modules.json", first)
        else:
            modules(folder, kinds)
        for name in ("unread.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
            write(folder / name, other)
            with suppress(ArtifactError):
                read_pipeline(folder)
