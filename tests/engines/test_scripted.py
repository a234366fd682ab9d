"""The fake engine and the list of engines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engines.tiny import plausible, question
from ftgate.config.engine import EngineSettings
from ftgate.domain import Message, Model
from ftgate.engines.base import Ask, Engine
from ftgate.engines.registry import open_engine
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ConfigurationError, EngineError

BASE = Model("base", Path("base"), "sha256:1")
ADAPTER = Model("adapter", Path("adapter"), "sha256:2", "adapter", BASE, 8)
ASK = Ask(ADAPTER, question("which?", ("A", "B")))


def test_it_is_an_engine_and_remembers() -> None:
    engine = ScriptedEngine(plausible)
    typed: Engine = engine
    typed.require([ADAPTER])
    assert len(list(typed.ask([ASK, ASK]))) == 2
    assert engine.asked == [ASK, ASK]
    assert engine.loaded == [ADAPTER]
    assert engine.starts == 1


def test_it_breaks_when_told_to() -> None:
    engine = ScriptedEngine(plausible, fail_after=2)
    engine.require([ADAPTER])
    asking = engine.ask([ASK] * 5)
    assert [next(asking)[0], next(asking)[0]] == [0, 1]
    with pytest.raises(EngineError, match="after 2 answers"):
        next(asking)


def test_two_models_have_different_probes() -> None:
    engine = ScriptedEngine(plausible)
    engine.require([BASE, ADAPTER])
    prompt = [(Message("user", "x"),)]
    assert engine.probe(BASE, prompt) == engine.probe(BASE, prompt)
    assert engine.probe(BASE, prompt) != engine.probe(ADAPTER, prompt)
    alike = ScriptedEngine(plausible, next_token=lambda model, messages: {1: -0.1, 2: -3.0, 3: -4.0})
    alike.require([BASE, ADAPTER])
    assert alike.probe(BASE, prompt, top=2) == alike.probe(ADAPTER, prompt, top=2) == [{1: -0.1, 2: -3.0}]


def test_a_policy_cannot_ask_for_a_script() -> None:
    with pytest.raises(ConfigurationError, match="script"):
        open_engine(EngineSettings(kind="scripted"))


def test_a_missing_library_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftgate.engines.registry.find_spec", lambda name: None)
    for kind in ("vllm", "transformers"):
        with pytest.raises(ConfigurationError, match="not installed") as caught:
            open_engine(EngineSettings.model_validate({"kind": kind}))
        assert 'pip install "finetune-gate[gpu]"' in caught.value.hint
        assert "`make install`" in caught.value.hint


LIGHT = [
    "engines",
    *(f"engines.{name}" for name in ("base", "registry", "scripted", "batching", "engine_log")),
    *("embeddings", "embeddings.base"),
]


@pytest.mark.parametrize("module", LIGHT)
def test_light_modules_import_no_inference_library(module: str) -> None:
    heavy = "{'torch', 'vllm', 'transformers', 'peft'}"
    code = f"import sys, ftgate.{module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.engine
def test_the_named_engine_is_opened_without_any_model() -> None:
    for kind in ("vllm", "transformers"):
        engine = open_engine(EngineSettings.model_validate({"kind": kind}))
        assert engine.starts == 0
        assert engine.info().kind == kind
        assert engine.info().versions["torch"]
        engine.close()
