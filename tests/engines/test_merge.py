"""Adapters that vLLM cannot run are merged, and then say what transformers and peft say of the adapter on its base."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engines.test_vllm import TOLERANCE, answers, largest_gap
from engines.tiny import LINEAR, TinyModels, choices, make_adapter, make_llama, make_tokenizer
from ftgate.artifacts.cache import Cache
from ftgate.artifacts.snapshot import take_snapshot
from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.base import Ask, base_of
from ftgate.engines.merge import merge
from ftgate.engines.transformers import TransformersEngine
from ftgate.errors import ArtifactError, DownloadError
from ftgate.models.merge import merged_model
from ftgate.models.open import open_model

pytestmark = pytest.mark.engine


def opened(folder: Path, base: Model | None = None) -> Model:
    return open_model(folder.name, take_snapshot(folder, folder.name), base)


@pytest.fixture(scope="session")
def base(tiny: TinyModels) -> Model:
    return opened(tiny.base.path)


@pytest.fixture(scope="session")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("tied") / "base"
    make_llama(folder, 6, make_tokenizer(folder), tie_word_embeddings=True, attention_bias=True)
    return opened(folder)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 10**9)


KINDS: dict[str, dict[str, Any]] = {
    "dora": {"use_dora": True},
    "saved": {"modules_to_save": ["lm_head", "embed_tokens"]},
    "norms": {"modules_to_save": ["norm", "input_layernorm"]},
    "wide": {"rank": 520, "scale": 0.005},
    "tokens": {"trainable_token_indices": [5, 6, 7]},
    "embedding": {"target_modules": [*LINEAR, "embed_tokens"]},
    "head": {"target_modules": [*LINEAR, "lm_head"]},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
}
TIED: dict[str, dict[str, Any]] = {
    "lora_bias": {"lora_bias": True, "target_modules": ["q_proj", "v_proj"]},
    "bias": {"bias": "all", "target_modules": ["q_proj", "v_proj"]},
    "saved_head": {"modules_to_save": ["lm_head"]},
    "tied_tokens": {"trainable_token_indices": [5, 6, 7]},
    "tied_embedding": {"target_modules": [*LINEAR, "embed_tokens"]},
    "tied_head": {"target_modules": [*LINEAR, "lm_head"]},
}


@pytest.mark.parametrize("kind", [*KINDS, *TIED])
def test_every_kind_that_is_merged_stays_what_it_was(kind: str, base: Model, tied: Model, tmp_path: Path) -> None:
    under = base if kind in KINDS else tied
    make_adapter(tmp_path / kind, under.path, 7, everything=True, **(KINDS | TIED)[kind])
    adapter = opened(tmp_path / kind, under)
    assert adapter.merge
    proof = merge(under.path, adapter.path, tmp_path / "merged")
    assert proof["gap"] < TOLERANCE < 0.01 < proof["effect"]


@pytest.fixture(scope="module")
def submitted(base: Model, tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    root = tmp_path_factory.mktemp("submitted")
    for kind in ("dora", "saved", "wide"):
        make_adapter(root / kind, base.path, 7, everything=True, **KINDS[kind])
    return [opened(root / kind, base) for kind in ("dora", "saved", "wide")]


@pytest.fixture(scope="module")
def merged(submitted: list[Model], tmp_path_factory: pytest.TempPathFactory) -> list[Model]:
    root = tmp_path_factory.mktemp("merged")
    return [merged_model(adapter, Cache(root / "cache", 10**9), root / "merge.log", print) for adapter in submitted]


def test_merged_weights_say_in_vllm_what_the_adapters_say_in_peft(
    submitted: list[Model], merged: list[Model], base: Model, settings: EngineSettings, tmp_path: Path
) -> None:
    from ftgate.engines.vllm.engine import VllmEngine

    questions = choices(8)
    engine = VllmEngine(settings, log_path=tmp_path / "engine.log")
    try:
        engine.require(merged)
        for adapter, whole in zip(submitted, merged, strict=True):
            reference = TransformersEngine(settings)  # of its own: peft keeps what modules_to_save replaced
            reference.require([adapter])
            said = answers(reference, [Ask(adapter, q) for q in questions])
            plain = answers(reference, [Ask(base, q) for q in questions])
            found = answers(engine, [Ask(whole, q) for q in questions])
            reference.close()
            assert largest_gap(found, said) < TOLERANCE
            assert largest_gap(found, plain) > 0.01
    finally:
        engine.close()


def test_a_merged_candidate_stays_what_was_submitted(submitted: list[Model], merged: list[Model], base: Model) -> None:
    for adapter, whole in zip(submitted, merged, strict=True):
        assert (whole.kind, whole.digest, whole.base, whole.merge) == ("full", adapter.digest, base, adapter.merge)
        assert base_of(whole) is whole
        assert whole.facts["merge"]["with"].startswith("peft ")
        assert whole.facts["merge"]["gap"] < TOLERANCE < 0.01 < whole.facts["merge"]["effect"]
        assert opened(whole.path).facts["parameters"] == whole.facts["parameters"]


@pytest.mark.parametrize("kind", ["pissa", "olora"])
def test_a_start_that_changed_the_base_is_repeated_as_it_was_in_training(
    kind: str, base: Model, tmp_path: Path
) -> None:
    """Compared with the very model that was trained: peft must find the same residual weights again."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(task_type="CAUSAL_LM", r=8, target_modules=LINEAR, init_lora_weights=kind)
    trained = get_peft_model(AutoModelForCausalLM.from_pretrained(base.path), config)
    torch.manual_seed(0)
    for name, parameter in trained.named_parameters():
        if "lora_" in name:
            parameter.data += 0.02 * torch.randn_like(parameter)
    trained.save_pretrained(tmp_path / kind)
    merge(base.path, opened(tmp_path / kind, base).path, tmp_path / "merged")
    tokens = torch.arange(20).reshape(2, 10)
    with torch.inference_mode():
        nets = (trained.eval(), AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval())
        one, two = (net(input_ids=tokens).logits.log_softmax(-1) for net in nets)
    assert float((one - two).abs().max()) < TOLERANCE


SCRIPT = """
import sys
from pathlib import Path
from ftgate.artifacts.cache import Cache
from ftgate.artifacts.snapshot import take_snapshot
from ftgate.models.open import open_model
from ftgate.models.merge import merged_model
base, adapter, root = map(Path, sys.argv[1:])
base = open_model("base", take_snapshot(base, base.name), None)
adapter = open_model("bot", take_snapshot(adapter, adapter.name), base)
print(merged_model(adapter, Cache(root / "cache", 10**9), root / "merge.log", print).path)
"""


def test_a_killed_merge_leaves_nothing_that_another_run_uses_and_a_whole_one_is_reused(
    submitted: list[Model], base: Model, tmp_path: Path
) -> None:
    adapter = submitted[0]
    command = [sys.executable, "-c", SCRIPT, str(base.path), str(adapter.path), str(tmp_path)]
    killed = subprocess.Popen(
        command, start_new_session=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    incoming = tmp_path / "cache" / "incoming"
    until = time.monotonic() + 120
    while time.monotonic() < until and not list(incoming.glob("*/model.safetensors")):
        time.sleep(0.002)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    cache = Cache(tmp_path / "cache", 10**9)
    assert list(incoming.glob("*/model.safetensors"))
    assert not list((tmp_path / "cache" / "trees").iterdir())
    (half,) = incoming.iterdir()
    (half / "stray.json").write_text("{}")
    whole = merged_model(adapter, cache, tmp_path / "merge.log", print)
    assert not (whole.path / "stray.json").exists()
    written = (whole.path / "model.safetensors").stat().st_mtime_ns
    again = merged_model(adapter, Cache(tmp_path / "cache", 10**9), tmp_path / "none.log", print)
    assert again.path == whole.path
    assert (again.path / "model.safetensors").stat().st_mtime_ns == written
    assert not (tmp_path / "none.log").exists(), "nothing was run the second time"


def test_a_full_disk_is_named(submitted: list[Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small"
    small.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True)
    if done.returncode != 0:
        pytest.skip("no right to mount a small disk")
    try:
        cache = Cache(small, 10**9)
        with pytest.raises(DownloadError, match=r"dora: needs .* bytes, but only .* are free"):
            merged_model(submitted[0], cache, tmp_path / "merge.log", print)
        monkeypatch.setattr(Cache, "make_room", lambda *_: small.joinpath("trees").exists())
        with pytest.raises(
            DownloadError, match=r"dora: cannot write the merged weights.*(No space|os error 28)"
        ) as caught:
            merged_model(submitted[0], cache, tmp_path / "merge.log", print)
        assert "FTGATE_CACHE" in caught.value.hint
        assert not list((small / "trees").iterdir())
        assert not list((small / "incoming").iterdir()), "what filled the disk is gone"
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    ("targets", "cause"),
    [
        (["nowhere"], r"peft cannot merge it into base: .*nowhere"),
        (["q_proj"], r"lora_A\S* has no counterpart in the base"),
    ],
)
def test_what_peft_cannot_merge_is_named(
    targets: list[str], cause: str, submitted: list[Model], base: Model, tmp_path: Path, cache: Cache
) -> None:
    """What it would leave aside without an error, too: not all of it shows when the adapter is opened."""
    broken = tmp_path / "broken"
    shutil.copytree(submitted[0].path, broken)
    candidate = opened(broken, base)
    config = json.loads((broken / "adapter_config.json").read_text())
    (broken / "adapter_config.json").write_text(json.dumps(config | {"target_modules": targets}))
    with pytest.raises(ArtifactError, match=cause) as caught:
        merged_model(candidate, cache, tmp_path / "merge.log", print)
    assert "merge.log" in caught.value.hint
