"""Adapters with tokens or embeddings of their own, or from within a wrapper, say what they said in training."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from engines.tiny import make_llama, make_tokenizer
from ftgate.artifacts.cache import Cache
from ftgate.artifacts.snapshot import take_snapshot
from ftgate.domain import Model
from ftgate.engines.chat_template import Renderer
from ftgate.engines.merge import merge
from ftgate.errors import ArtifactError
from ftgate.models.chat import unused_tokens, with_chats
from ftgate.models.merge import merged_model
from ftgate.models.open import open_model
from ftgate.models.rename import renamed_model

pytestmark = pytest.mark.engine

TOLERANCE = 1e-3
NEW = ["<|tool|>", "<|think|>"]
NARROW = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
}


@dataclass
class Bases:
    """Two bases that differ in whether their embeddings are tied, and their number of tokens."""

    plain: Model
    tied: Model
    tokens: int


def opened(folder: Path, base: Model | None = None) -> Model:
    return open_model(folder.name, take_snapshot(folder, folder.name), base)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    root = tmp_path_factory.mktemp("bases")
    for name in ("plain", "tied"):
        tokens = make_tokenizer(root / name)
        make_llama(root / name, 8, tokens, tie_word_embeddings=name == "tied", **NARROW)
    return Bases(opened(root / "plain"), opened(root / "tied"), tokens)


def trained(folder: Path, base: Path, *, rows: int = 0, **config: Any) -> Any:
    """An adapter that was changed a little, as training does, saved by peft; the model in memory is returned.

    The tokenizer with its two new tokens is saved beside it, as trainers do.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"additional_special_tokens": NEW})
    torch.manual_seed(1)
    net = AutoModelForCausalLM.from_pretrained(base)
    if rows:
        net.resize_token_embeddings(rows, mean_resizing=False)
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **config}
    model = get_peft_model(net, LoraConfig(**settings))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and "lora_A" not in name:
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval()


def gap(one: Any, folder: Path, rows: int) -> float:
    """The largest difference of log-probabilities between a model and the weights in ``folder``, on its last tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    other = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokens = torch.arange(rows - 24, rows).reshape(2, 12)
    with torch.inference_mode():
        first, second = (net(input_ids=tokens).logits.log_softmax(-1) for net in (one, other))
    assert first.shape == second.shape
    return float((first - second).abs().max())


SAVED = ["embed_tokens", "lm_head"]
KINDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "saved": lambda n: {"modules_to_save": SAVED},
    "saved and resized": lambda n: {"modules_to_save": SAVED, "rows": n + 2},
    "resized to a multiple of 64": lambda n: {"modules_to_save": SAVED, "rows": n + 64 - n % 64},
    "embeddings alone, resized": lambda n: {"modules_to_save": ["embed_tokens"], "rows": n + 2},
    "tokens of a resized base": lambda n: {"trainable_token_indices": [n, n + 1], "rows": n + 2},
    "tokens": lambda n: {"trainable_token_indices": {"embed_tokens": [n - 2, n - 1]}},
    "tied as asked": lambda n: {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True, "rows": n + 2},
    "resized, nothing saved on purpose": lambda n: {"rows": n + 2},
}


@pytest.mark.parametrize("which", ["plain", "tied"])
@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_of_an_adapter_are_merged_and_agree_with_the_model_in_training(
    kind: str, which: str, bases: Bases, tmp_path: Path
) -> None:
    base: Model = getattr(bases, which)
    config = KINDS[kind](bases.tokens)
    rows = config.get("rows", bases.tokens)
    model = trained(tmp_path / "bot", base.path, **config)
    base, adapter = with_chats(base, opened(tmp_path / "bot", base), "candidate")
    assert adapter.merge
    assert merge(base.path, adapter.path, tmp_path / "merged", adapter.facts.get("vocabulary"))["effect"] > 0.001
    assert gap(model, tmp_path / "merged", rows) < TOLERANCE
    renderer = Renderer(adapter, 256)
    known = renderer.tokenizer.convert_tokens_to_ids(NEW)
    if rows > bases.tokens:
        assert known == [bases.tokens, bases.tokens + 1], "its own tokenizer is used"
        assert adapter.facts["chat"]["tokenizer"] == "its own"
    else:
        assert unused_tokens(adapter, base) == sorted(NEW), "there are no embeddings for them"


def test_merged_weights_are_used_with_the_adapter_s_tokenizer(bases: Bases, tmp_path: Path) -> None:
    trained(tmp_path / "bot", bases.tied.path, rows=bases.tokens + 2, modules_to_save=SAVED)
    _, adapter = with_chats(bases.tied, opened(tmp_path / "bot", bases.tied), "candidate")
    merged = merged_model(adapter, Cache(tmp_path / "cache", 10**9), tmp_path / "merge.log", print)
    assert merged.chat is not None
    assert merged.chat[0] == merged.path
    assert Renderer(merged, 256).tokenizer.convert_tokens_to_ids(NEW) == [bases.tokens, bases.tokens + 1]


def test_a_template_that_writes_tokens_without_embeddings_is_refused(bases: Bases, tmp_path: Path) -> None:
    trained(tmp_path / "bot", bases.plain.path)
    (tmp_path / "bot" / "chat_template.jinja").write_text("<|tool|>{{ messages[-1].content }}")
    with pytest.raises(ArtifactError, match=r"bot: its chat template writes '<\|tool\|>', which has no embedding"):
        with_chats(bases.plain, opened(tmp_path / "bot", bases.plain), "candidate")


def test_resized_embeddings_without_their_tokenizer_are_refused(bases: Bases, tmp_path: Path) -> None:
    trained(tmp_path / "bot", bases.plain.path, rows=bases.tokens + 2, modules_to_save=SAVED)
    (tmp_path / "bot" / "tokenizer.json").unlink()
    with pytest.raises(ArtifactError, match="bot: no tokenizer"):
        opened(tmp_path / "bot", bases.plain)


def test_an_adapter_s_end_of_the_answer_is_its_own(bases: Bases, tmp_path: Path) -> None:
    """A base with another mark at the end than the template of the fine-tune: common where it was only pretrained."""
    trained(tmp_path / "bot", bases.plain.path)
    path = tmp_path / "bot" / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    settings["eos_token"] = "<|user|>"
    path.write_text(json.dumps(settings))
    make_tokenizer(tmp_path / "own")
    (tmp_path / "own" / "tokenizer.json").replace(tmp_path / "bot" / "tokenizer.json")
    _, adapter = with_chats(bases.plain, opened(tmp_path / "bot", bases.plain), "candidate")
    assert adapter.chat is not None
    assert adapter.chat[0] == tmp_path / "bot"
    assert Renderer(bases.plain, 256).stops == {2}
    assert Renderer(adapter, 256).stops == {4, 2}


def rename(folder: Path, change: Callable[[str], str]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    save_file({change(name): tensor for name, tensor in load_file(path).items()}, path)


@pytest.mark.parametrize(
    ("change", "config"),
    [
        (lambda name: name.replace("_A.weight", "_A.default.weight").replace("_B.weight", "_B.default.weight"), {}),
        (lambda name: name.replace("base_model.model.", "base_model.model._orig_mod."), {}),
        (lambda name: "_orig_mod." + name, {"use_dora": True}),
        (lambda name: name.replace("layers.0", "layers.0._checkpoint_wrapped_module"), {"modules_to_save": SAVED}),
    ],
    ids=["the adapter's name", "a compiled base", "a compiled adapter", "checkpointed layers"],
)
def test_tensors_under_other_names_are_renamed(
    change: Callable[[str], str], config: dict[str, Any], bases: Bases, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = trained(tmp_path / "bot", bases.plain.path, **config)
    rename(tmp_path / "bot", change)
    base, adapter = with_chats(bases.plain, opened(tmp_path / "bot", bases.plain), "candidate")
    assert adapter.facts["renamed"]
    cache = Cache(tmp_path / "cache", 10**9)
    renamed = renamed_model(adapter, cache, print)
    assert (renamed.digest, renamed.kind, renamed.merge) == (adapter.digest, "adapter", adapter.merge)
    assert renamed.path != adapter.path
    assert renamed_model(adapter, cache, print).path == renamed.path, "kept for the next run"
    if adapter.merge:
        merge(base.path, renamed.path, tmp_path / "merged")
        assert gap(model, tmp_path / "merged", bases.tokens) < TOLERANCE
        return
    again = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base.path), renamed.path).eval()
    tokens = torch.arange(20).reshape(2, 10)
    with torch.inference_mode():
        first, second = (net(input_ids=tokens).logits for net in (model, again))
    assert float((first - second).abs().max()) < TOLERANCE


def test_two_tensors_for_one_name_are_refused(bases: Bases, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    trained(tmp_path / "bot", bases.plain.path)
    path = tmp_path / "bot" / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {f"_orig_mod.{name}": tensor.clone() for name, tensor in tensors.items()}, path)
    with pytest.raises(ArtifactError, match=r"_orig_mod\.\S+ are both|are both base_model"):
        opened(tmp_path / "bot", bases.plain)


def test_full_weights_from_within_a_wrapper_are_refused(bases: Bases, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    make_tokenizer(tmp_path / "bot")
    make_llama(tmp_path / "bot", 3, bases.tokens, **NARROW)
    path = tmp_path / "bot" / "model.safetensors"
    save_file({f"_orig_mod.{name}": tensor for name, tensor in load_file(path).items()}, path)
    with pytest.raises(ArtifactError, match=r"_orig_mod\.\S+: the weights were saved from within a wrapper"):
        opened(tmp_path / "bot")


def test_another_base_s_name_in_the_configuration_is_kept_as_a_fact(bases: Bases, tmp_path: Path) -> None:
    trained(tmp_path / "bot", bases.plain.path)
    assert "trained_on" not in opened(tmp_path / "bot", bases.plain).facts
    renamed = replace(bases.plain, reference=f"hf://org/Plain@{'0' * 40}")
    assert "trained_on" not in opened(tmp_path / "bot", renamed).facts
    path = tmp_path / "bot" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "org/another-7b"}))
    assert opened(tmp_path / "bot", bases.plain).facts["trained_on"] == "org/another-7b"
