"""What an embedding model asks for and is not on the list is named: file, value, and what to do."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.errors import ArtifactError
from ftgate.models.encoder_files import EncoderFiles, read_encoder

PLAIN = ["Transformer", "Pooling"]
POOLING = {"word_embedding_dimension": 8}


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


def modules(folder: Path, kinds: list[str], package: str = "sentence_transformers.models") -> None:
    found = [
        {"name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"{package}.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    write(folder / "modules.json", found)


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        read_encoder(folder, "hf://a/b")
    assert str(caught.value).startswith("hf://a/b: ")
    for part in parts:
        assert part in str(caught.value)
    assert caught.value.hint


def test_a_folder_without_modules_is_pooled_by_its_mean(tmp_path: Path) -> None:
    assert read_encoder(tmp_path, "it") == EncoderFiles("", "mean-pooled")


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


def test_a_transformer_in_a_folder_of_its_own_is_found(tmp_path: Path) -> None:
    modules(tmp_path, PLAIN)
    found = json.loads((tmp_path / "modules.json").read_text())
    found[0]["path"] = "0_Transformer"
    write(tmp_path / "modules.json", found)
    write(tmp_path / "1_Pooling" / "config.json", POOLING)
    assert read_encoder(tmp_path, "it").transformer == "0_Transformer"
    write(tmp_path / "0_Transformer" / "sentence_bert_config.json", {"max_seq_length": 0})
    refused(tmp_path, "0_Transformer/sentence_bert_config.json: max_seq_length: 0")


@pytest.mark.parametrize("names", [["0", "0"], ["0", ""], ["0", "a.b"], ["0", None], ["0", 1]])
def test_modules_whose_names_would_hide_each_other_are_refused(tmp_path: Path, names: list[Any]) -> None:
    modules(tmp_path, PLAIN)
    found = json.loads((tmp_path / "modules.json").read_text())
    write(tmp_path / "modules.json", [module | {"name": name} for module, name in zip(found, names, strict=True)])
    refused(tmp_path, "modules.json: module names")


@pytest.mark.parametrize(
    "declared",
    [
        "sentence_transformers.evil.Pooling",
        "sentence_transformers.models.Pooling.__init__",
        "sentence_transformers.util.import_from_string",
        "os.system",
        "modeling.Pooling",
        "",
        7,
    ],
)
def test_a_type_is_known_by_its_whole_name(tmp_path: Path, declared: Any) -> None:
    modules(tmp_path, PLAIN)
    found = json.loads((tmp_path / "modules.json").read_text())
    found[1]["type"] = declared
    write(tmp_path / "modules.json", found)
    refused(tmp_path, "modules.json: ", "unsupported")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tokenizer_name_or_path": "other/model"}, "tokenizer_name_or_path: 'other/model'"),
        ({"model_args": {"trust_remote_code": True}}, "model_args: trust_remote_code: True"),
        ({"model_kwargs": {"use_safetensors": False}}, "model_kwargs: use_safetensors: False"),
        ({"model_args": {"attn_implementation": "flash_attention_2"}}, "attn_implementation: 'flash_attention_2'"),
        ({"tokenizer_args": {"tokenizer_file": "/etc/passwd"}}, "tokenizer_args: tokenizer_file"),
        ({"config_args": {"name_or_path": "other/model"}}, "config_args: name_or_path"),
        ({"config_kwargs": ["x"]}, "config_kwargs: "),
        ({"transformer_task": "fill-mask"}, "transformer_task: 'fill-mask'"),
        ({"modality_config": {"text": {"method": "save_pretrained"}}}, "modality_config"),
        ({"modality_config": {"message": {"method": "forward"}}}, "modality_config"),
        ({"module_output_name": "sentence_embedding"}, "module_output_name"),
        ({"processing_kwargs": {"chat_template": {"x": 1}}}, "processing_kwargs"),
        ({"something": None}, "something: None is not supported"),
    ],
)
def test_what_the_transformer_may_not_be_asked_is_named(tmp_path: Path, settings: Any, said: str) -> None:
    modules(tmp_path, PLAIN)
    write(tmp_path / "1_Pooling" / "config.json", POOLING)
    for name in ("sentence_bert_config.json", "sentence_xlnet_config.json"):
        write(tmp_path / name, settings)
        refused(tmp_path, name, said)
        (tmp_path / name).unlink()


def test_what_the_library_itself_writes_is_accepted(tmp_path: Path) -> None:
    modules(tmp_path, [*PLAIN, "Normalize"])
    write(tmp_path / "1_Pooling" / "config.json", POOLING | {"pooling_mode": "mean", "include_prompt": False})
    text = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    settings = {"transformer_task": "feature-extraction", "modality_config": text}
    options = {"model_args": {"attn_implementation": "sdpa"}, "tokenizer_args": {"padding_side": "left"}}
    rest = {"module_output_name": "token_embeddings", "max_seq_length": 256, "do_lower_case": False}
    write(tmp_path / "sentence_bert_config.json", settings | rest | options)
    prompts = {"prompts": {"q": "query: ", "d": ""}, "default_prompt_name": "q", "truncate_dim": 64}
    versions = {"__version__": {"sentence_transformers": "5.3.0.dev0"}, "model_type": "SentenceTransformer"}
    write(tmp_path / "config_sentence_transformers.json", prompts | versions)
    assert read_encoder(tmp_path, "it").in_words == "mean-pooled after its prompt, normalised, first 64 columns"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"pooling_mode": "median"}, "unsupported pooling mode 'median'"),
        ({"pooling_mode_median_tokens": True}, "unsupported setting 'pooling_mode_median_tokens'"),
        ({"pooling_mode": "mean", "word_embedding_dimension": 0}, "embedding_dimension: 0 is not a number"),
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
        ({"activation_function": "torch.nn.functional.Tanh"}, "torch.nn.functional.Tanh"),
        ({"module_input_name": "token_embeddings"}, "a layer with other inputs or outputs"),
        ({"use_residual": True}, "residual connection"),
        ({}, "2_Dense/model.safetensors is missing"),
    ],
)
def test_a_dense_layer_that_is_not_known_is_named(tmp_path: Path, config: Any, said: str) -> None:
    modules(tmp_path, [*PLAIN, "Dense"])
    write(tmp_path / "1_Pooling" / "config.json", POOLING)
    write(tmp_path / "2_Dense" / "config.json", config)
    refused(tmp_path, said)


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("config_sentence_transformers.json", {"default_prompt_name": "q", "prompts": {}}, "default_prompt_name 'q'"),
        ("config_sentence_transformers.json", {"prompts": {"q": 7}}, "prompts: {'q': 7} are not texts"),
        (
            "config_sentence_transformers.json",
            {"model_type": "SparseEncoder"},
            "'SparseEncoder' gives no single vector",
        ),
        ("config_sentence_transformers.json", {"truncate_dim": -1}, "truncate_dim: -1 is not a number"),
        (
            "config_sentence_transformers.json",
            {"__version__": {"sentence_transformers": "new"}},
            "'new' is not a version",
        ),
        ("config_sentence_transformers.json", {"__version__": 7}, "7 is not a version"),
        ("sentence_bert_config.json", {"max_seq_length": -1}, "max_seq_length: -1 is not supported"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path: Path, name: str, config: Any, said: str) -> None:
    modules(tmp_path, PLAIN)
    write(tmp_path / "1_Pooling" / "config.json", POOLING)
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
                read_encoder(folder, "it")
