"""A zoo of artifacts: each bad one has its own message."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.world import TEMPLATE, base_tensors, write_adapter, write_full
from support.zoo import BAD_ADAPTERS, BAD_FULL, MERGED, PREFIX, Change, adapting, put, renamed, rewritten

from ftgate.artifacts.snapshot import take_snapshot
from ftgate.domain import Model
from ftgate.errors import ArtifactError, FtgateError, Problems, SeveralError
from ftgate.models.adapter_config import is_saved
from ftgate.models.nan_scan import Scanned, require_finite_tensors
from ftgate.models.open import check_numbers, memory_estimate, open_model


@pytest.fixture
def base(tmp_path: Path) -> Model:
    return open_model("base", take_snapshot(write_full(tmp_path / "base"), "models/base"), None)


def opened(folder: Path, base: Model | None) -> Model:
    return open_model("bot", take_snapshot(folder, "models/x"), base)


def refusal(folder: Path, base: Model | None) -> FtgateError:
    """The first thing that is wrong."""
    problems = Problems()
    with problems.noted():
        opened(folder, base)
    assert problems.found
    for error in problems.found:
        assert error.message.startswith("models/x: ")
        assert error.hint
        assert isinstance(error, ArtifactError)
    return problems.found[0]


@pytest.mark.parametrize("case", BAD_FULL)
def test_bad_full_weights(tmp_path: Path, case: str) -> None:
    change, named = BAD_FULL[case]
    folder = write_full(tmp_path / "x")
    change(folder)
    error = refusal(folder, None)
    for part in named:
        assert part in str(error)


@pytest.mark.parametrize("case", BAD_ADAPTERS)
def test_bad_adapters(tmp_path: Path, base: Model, case: str) -> None:
    change, named = BAD_ADAPTERS[case]
    folder = write_adapter(tmp_path / "x")
    change(folder)
    error = refusal(folder, base)
    for part in named:
        assert part in str(error)


@pytest.mark.parametrize("case", MERGED)
def test_what_vllm_cannot_run_is_to_be_merged(tmp_path: Path, base: Model, case: str) -> None:
    change, reason = MERGED[case]
    folder = write_adapter(tmp_path / "x")
    change(folder)
    assert any(reason in said for said in opened(folder, base).merge)


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path, base: Model) -> None:
    folder = write_adapter(tmp_path / "x", peft_type="LORA", r=None, target_modules=None, use_qalora=True)
    (folder / "weights.pt").write_bytes(b"")
    (folder / "model.py").write_text("")
    with pytest.raises(SeveralError) as caught:
        opened(folder, base)
    assert len(caught.value.problems) == 5
    for part in ("5 problems", "model.py", "weights.pt", "r is missing", "target_modules is missing", "use_qalora"):
        assert part in str(caught.value)
    assert caught.value.exit_code == 2


FINE: dict[str, Change] = {
    "as it is": lambda _: None,
    "rank-stabilised": adapting(use_rslora=True),
    "patterns": adapting(r=8, rank_pattern={"q_proj": 2}, alpha_pattern={"q_proj": 3}),
    "harmless start": adapting(init_lora_weights="gaussian"),
    "no particular start": adapting(init_lora_weights=False),
    "a pattern of names": adapting(target_modules=r"^(?!.*visual).*(?:language|model).*?layers\.\d+\..*(q|k)_proj$"),
    "all linear": adapting(target_modules="all-linear"),
    "the name of the whole module": adapting(
        target_modules=["model.layers.0.self_attn.q_proj"], layers_to_transform=[9]
    ),
    "its name in the base": lambda folder: (
        adapting(target_modules=r"model\.layers\..*")(folder),
        renamed("model.layers", "model.language_model.layers")(folder),
    ),
    "a layer that is chosen": adapting(layers_to_transform=[0, 3], layers_pattern=["h", "layers"]),
    "no choice of layers": adapting(layers_to_transform=[], layers_pattern=[]),
    "others excluded": adapting(exclude_modules=["proj", "k_proj"]),
    "fields that peft does not know": adapting(target_modules={"q_proj": 1}, exclude_modules=7),
    "what peft writes": adapting(
        auto_mapping={"a": "b"}, modules_to_save=None, layer_replication=None, loftq_config={}
    ),
    "a configuration of the base beside it": put("config.json", {"model_type": "llama"}),
    "its own tokenizer": put("tokenizer.json", {}),
    "an empty auto_map": put("config.json", {"auto_map": {}}),
    "a tokenizer of SentencePiece": put("tokenizer.model", b"\x0a\x05\x0a\x03<s>\x12\x00"),
    "a tokenizer of tiktoken": put("tokenizer.model", b"IQ== 0\nIg== 1\n"),
    "a file of calls in another language": put("CMakeLists", "include(Compiler/X)\n__compiler(C)\n(a b)\n"),
    "a picture": put("loss.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    "what a trainer showed": put("runs/events.out.tfevents.1", b"\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\t"),
    "what trainers keep": put("training_args.bin", pickle.dumps({})),
    "what trainers keep deeper": put("checkpoint-5/rng_state_0.pth", pickle.dumps({})),
    "a page in the encoding of an old editor": put("README.md", "Modèle réglé\r\n".encode("latin-1")),
    "a page that begins with a mark": put("README.md", "\ufeff# Modèle".encode()),
    "a list as a Windows shell writes it": put("requirements.txt", "peft\r\n".encode("utf-16")),
    "words that are settings elsewhere": put("tokenizer.json", {"model": {"vocab": {"auto_map": 3}}}),
    "numbers that are none": put("trainer_state.json", '{"log_history": [{"loss": NaN}]}'),
    "names without prefix": renamed(PREFIX, ""),
    "another outer name": renamed("model.layers", "model.language_model.layers"),
    "fan in, fan out": adapting(fan_in_fan_out=True),
}


@pytest.mark.parametrize("case", FINE)
def test_good_adapters(tmp_path: Path, base: Model, case: str) -> None:
    folder = write_adapter(tmp_path / "x")
    FINE[case](folder)
    model = opened(folder, base)
    assert (model.kind, model.base, model.lora_rank) == ("adapter", base, 2)


def test_an_adapter_needs_full_weights_under_it(tmp_path: Path, base: Model) -> None:
    adapter = opened(write_adapter(tmp_path / "x"), base)
    for under in (None, adapter):
        assert "an adapter cannot serve as bot" in refusal(tmp_path / "x", under).message


def test_a_quantised_base_has_the_names_but_not_the_shapes(tmp_path: Path) -> None:
    folder = write_full(tmp_path / "packed")
    tensors = base_tensors(0)
    for name in [n for n in tensors if "_proj" in n]:
        del tensors[name]
        tensors[name.replace(".weight", ".qweight")] = np.zeros((1, 8), np.int32)
    save_file(tensors, folder / "model.safetensors")
    base = open_model("base", take_snapshot(folder, "packed"), None)
    assert opened(write_adapter(tmp_path / "x"), base).lora_rank == 2


def test_a_header_as_long_as_a_pickle_starts_is_no_pickle(tmp_path: Path) -> None:
    folder = write_full(tmp_path / "x")
    path = folder / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].rstrip().ljust(0x480)
    if len(header) != 0x480:
        header = content[8 : 8 + length].rstrip().ljust(0x580)
    assert len(header) in (0x480, 0x580)
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    assert opened(folder, None).kind == "full"


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.json"])
def test_the_template_may_lie_in_a_file_of_its_own(tmp_path: Path, name: str) -> None:
    folder = write_full(tmp_path / "x")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / name).write_text(json.dumps({"chat_template": TEMPLATE}))
    assert opened(folder, None).kind == "full"


def test_a_folder_too_high_up_is_told_where_to_look(tmp_path: Path, base: Model) -> None:
    write_adapter(tmp_path / "x" / "checkpoint-500")
    assert "perhaps checkpoint-500" in refusal(tmp_path / "x", base).hint


def test_facts_and_memory(tmp_path: Path, base: Model) -> None:
    model = opened(write_adapter(tmp_path / "x"), base)
    parameters = sum(tensor.size for tensor in base_tensors(0).values())
    assert base.facts == {
        "architecture": "LlamaForCausalLM",
        "parameters": parameters,
        "weight_bytes": 4 * parameters,
    }
    assert model.facts == {"rank": 2, "alpha": 4, "targets": ["q_proj"], "parameters": 32, "weight_bytes": 128}
    assert memory_estimate(base) == 4 * parameters
    assert memory_estimate(model) == 4 * (parameters + 32)
    json.dumps([dict(base.facts), dict(model.facts)])
    assert (model.reference, model.digest) == ("models/x", take_snapshot(tmp_path / "x", "").digest)


def test_weights_are_searched_once_while_their_files_stay_as_they_are(
    tmp_path: Path, base: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[int | None] = []

    def search(tensors: Any, reference: str, most: int | None = None) -> list[Scanned]:
        searches.append(most)
        return require_finite_tensors(tensors, reference, most)

    monkeypatch.setattr("ftgate.models.open.require_finite_tensors", search)
    folder = write_adapter(tmp_path / "x")
    for most in (None, None, 64, 64):
        check_numbers(opened(folder, base), most)
    assert searches == [None, 64]
    rewritten(lambda t: {k: v * (np.nan if "lora_B" in k else 1) for k, v in t.items()})(folder)
    for _ in range(2):
        with pytest.raises(ArtifactError, match="contains NaN"):
            check_numbers(opened(folder, base))
    assert searches == [None, 64, None, None]


def test_weights_that_are_no_numbers_are_named(tmp_path: Path, base: Model) -> None:
    folder = write_adapter(tmp_path / "x")
    check_numbers(opened(folder, base))
    rewritten(lambda t: {k: v * (np.nan if "lora_B" in k else 1) for k, v in t.items()})(folder)
    with pytest.raises(ArtifactError, match=r"models/x: tensor .*lora_B.weight in adapter_model.safetensors"):
        check_numbers(opened(folder, base))


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, ftgate.models.open, ftgate.artifacts.resolve, ftgate.datasets\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "vllm", "transformers", "peft", "safetensors", "pyarrow"} & set(done.stdout.split())


@pytest.mark.parametrize(
    "text", ["N.B. this", "0.5", "(see) it.", ".", "", "#version: 0.2\na b\n", "cat\ndog\nbird\nR."]
)
@pytest.mark.parametrize("name", ["vocab.txt", "LICENSE", "tokenizer.model"])
def test_a_text_is_no_pickle(tmp_path: Path, name: str, text: str) -> None:
    folder = write_full(tmp_path / "model")
    (folder / name).write_text(text)
    assert open_model("x", take_snapshot(folder, "x"), None).kind == "full"


def test_patterns_are_tried_where_python_needs_its_libraries_named(
    tmp_path: Path, base: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ -n "$LD_LIBRARY_PATH" ] || exit 127\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    folder = write_adapter(tmp_path / "x")
    adapting(target_modules=r".*q_proj")(folder)
    assert opened(folder, base).kind == "adapter"


@pytest.mark.parametrize(
    ("saved", "tensor", "declared"),
    [
        (["norm"], "model.norm.weight", True),
        (["norm"], "model.layers.0.post_attention_layernorm.weight", True),
        (["norm"], "model.layers.0.norm_of_more.weight", False),
        (["weight"], "model.norm.weight", False),
        (["head", "mlp"], f"{PREFIX}model.layers.0.mlp.gate.weight", True),
    ],
)
def test_a_saved_module_is_named_by_the_end_of_its_name(saved: list[str], tensor: str, declared: bool) -> None:
    assert is_saved(tensor, {"modules_to_save": saved}) is declared


def test_a_soft_prompt_is_not_sent_to_be_merged(tmp_path: Path, base: Model) -> None:
    for kind in ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING"):
        error = refusal(write_adapter(tmp_path / kind, peft_type=kind), base)
        assert f"peft_type is '{kind}', not LORA" in str(error)
        assert error.hint.startswith("train a LoRA adapter: a soft prompt can neither be merged")


def test_a_lora_bias_without_a_bias_under_it_is_to_be_trained_again(tmp_path: Path, base: Model) -> None:
    folder = write_adapter(tmp_path / "x")
    BAD_ADAPTERS["a bias for a layer without"][0](folder)
    assert refusal(folder, base).hint.startswith("train it again without lora_bias, which cannot be merged")
