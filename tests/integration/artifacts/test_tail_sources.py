"""``ftgate tail build`` with model and data that lie elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.hub import COMMIT, HuggingFaceSource
from support.remote import folder_site, serving, tree
from support.world import write_full, write_rows

from ftgate.cli.main import main


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["tail", "build", *arguments])
    return int(left.value.code or 0)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """A model for vectors that pools its last token, and a file that must not be loaded."""
    folder = write_full(tmp_path / "model")
    kinds = ("Transformer", "Pooling")
    modules = [
        {"name": str(i), "path": "1_Pooling" * i, "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken", "embedding_dimension": 16}')
    (folder / "pytorch_model.bin").write_bytes(b"unsafe")
    return tree(folder)


@pytest.fixture
def data(tmp_path: Path) -> Iterator[str]:
    """The address of a log and of training data."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    for name, n, most in (("log", 150, 30), ("train", 300, 20)):
        words = rng.integers(most, size=(n, 6))
        write_rows(folder / f"{name}.jsonl", [{"prompt": " ".join(f"t{i}" for i in row)} for row in words])
    with serving(folder_site(tree(folder))) as site:
        yield f"{site.url}/m"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy that leaves pickled weights aside, allows no model, and lets the hub redirect."""
    artifacts = {"skip": ["*.bin"], "redirect_hosts": ["127.0.0.1:*"]}
    measured = {"target": {"dataset": "t.jsonl", "scorer": "exact"}}
    path = tmp_path / "policy.yml"
    path.write_text(json.dumps({"version": 1, "measurements": measured, "artifacts": artifacts}))
    return path


@pytest.mark.engine
def test_model_log_and_training_data_are_fetched(
    hub: HuggingFaceSource, data: str, policy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "suite.jsonl"
    asked = (f"--queries={data}/log.jsonl", f"--training={data}/train.jsonl", f"--out={out}", "--n=20")
    model = f"--model=hf://acme/bot@{COMMIT}"
    assert leave(*asked, model) == 2
    assert "pytorch_model.bin" in capsys.readouterr().err
    assert not out.exists()
    assert leave(*asked, model, f"--policy={policy}") == 0
    assert len(out.read_text().splitlines()) == 20
    assert "acme/bot" in (said := capsys.readouterr().out)
    assert "lasttoken-pooled" in said


def test_what_cannot_be_fetched_or_pooled_is_named(
    hub: HuggingFaceSource,
    files: dict[str, bytes],
    data: str,
    policy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = (f"--queries={data}/log.jsonl", f"--training={data}/train.jsonl", f"--out={tmp_path / 'suite.jsonl'}")
    assert leave(*asked, "--model=hf://acme/bot") == 2
    assert "it names no commit" in capsys.readouterr().err
    hub.files = files | {"1_Pooling/config.json": b'{"pooling_mode": "median"}'}
    assert leave(*asked, f"--model=hf://acme/bot@{COMMIT}", f"--policy={policy}") == 2
    assert "1_Pooling/config.json: unsupported pooling mode 'median'" in capsys.readouterr().err
    assert leave(f"--queries={data}/none.jsonl", *asked[1:]) != 0
    assert "none.jsonl" in capsys.readouterr().err
