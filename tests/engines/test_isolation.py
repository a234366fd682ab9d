"""No credential reaches what evaluates: neither its environment nor what the system shows of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as trials
from hypothesis import strategies as st
from support.libraries import COMPILED, needs

from engines.tiny import TinyModels
from ftgate.config.engine import EngineSettings
from ftgate.credentials import is_secret
from ftgate.engines import isolation
from ftgate.engines.isolation import OFFLINE, Isolation, take_secrets, without_secrets

SECRETS = {
    "HF_TOKEN": "hf_abc1",
    "HUGGING_FACE_HUB_TOKEN": "hf_abc2",
    "AWS_ACCESS_KEY_ID": "AKIA3",
    "AWS_SESSION_TOKEN": "aws4",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/5",
    "AZURE_STORAGE_CONNECTION_STRING": "azure6",
    "GOOGLE_APPLICATION_CREDENTIALS": "google7.json",
    "GITHUB_TOKEN": "ghs_8",
    "GH_TOKEN": "ghs_9",
    "ACTIONS_RUNTIME_TOKEN": "runtime10",
    "ACTIONS_ID_TOKEN_REQUEST_URL": "https://oidc11",
    "INPUT_GITHUB-TOKEN": "input12",
    "OPENAI_API_KEY": "sk-13",
    "JUDGE_KEY": "judge14",
    "WANDB_API_KEY": "wandb15",
    "DB_PASSWORD": "pw16",
    "HTTPS_PROXY": "http://user:pw17@proxy:3128",
    "SSH_AUTH_SOCK": "agent18",
    "PGPASSWORD": "pw19",
    "MYSQL_PWD": "pw20",
    "REDISCLI_AUTH": "pw21",
    "CI_JOB_JWT": "jwt22",
    "GITHUBTOKEN": "ghs_23",
    "PIP_INDEX_URL": "https://token24@host/simple",
    "NPM_CONFIG__AUTH": "npm25",
    "CLIENTSECRET": "secret26",
    "AUTHORIZATION": "bearer27",
    "CACHE_OF_MINE": "hf_abcdefghijklmnop28",
    "FORGE": "github_pat_abcdefghijklmnop29",
    "FORGE_TOO": "ghp_abcdefghijklmnop30",
    "SERVICE": "sk-proj-abcdefghijklmnop31",
    "CLOUD": "AKIAABCDEFGHIJKLMN32",
}
KEPT = {
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_CACHE_ROOT": "cache",
    "FTGATE_CACHE": "cache",
    "CUDA_VISIBLE_DEVICES": "0",
    "MAX_NUM_BATCHED_TOKENS": "1024",
    "GITHUB_WORKSPACE": "work",
    "NO_PROXY": "localhost:80",
    "MONKEY": "see",
    "PWD": "/work",
    "OLDPWD": "/work",
    "GIT_AUTHOR_NAME": "someone",
    "LIST_URL": "https://host/path@1.0",
    "BACKEND": "sk-learn",
    "TOKENIZER": "slow",
    "HF_HOME": "hf_cache",
}
SCRIPT = """
import os, subprocess, sys
from pathlib import Path
{load}
print(Path("/proc/self/environ").read_bytes().decode())
print(dict(os.environ))
print(subprocess.run(["cat", "/proc/self/environ"], capture_output=True, text=True).stdout)
"""
LOAD = """
from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.engines.{module} import {engine}
folder = Path(sys.argv[1])
engine = {engine}(EngineSettings(max_model_len=256))
engine.require([Model("base", folder, "sha256:0")])
"""


def shown(load: str, *arguments: str) -> str:
    """What can be seen of the environment of a process that has loaded a model: by itself, the system, its children."""
    own = {name: os.environ[name] for name in ("PATH", "HOME", "OMP_NUM_THREADS") if name in os.environ}
    environment = {**own, **SECRETS, **KEPT, **COMPILED, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = [sys.executable, "-c", SCRIPT.replace("{load}", load), *arguments]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(script, capture_output=True, text=True, check=True, env=environment, cwd=folder)
    return done.stdout


@pytest.mark.parametrize(("name", "value"), SECRETS.items())
def test_what_holds_a_credential_is_known(name: str, value: str) -> None:
    assert is_secret(name, value)
    assert without_secrets({name: value}) == OFFLINE


@pytest.mark.parametrize(("name", "value"), KEPT.items())
def test_what_holds_none_stays(name: str, value: str) -> None:
    assert without_secrets({name: value}) == {name: value, **OFFLINE}


@given(st.dictionaries(st.text("ABCKEY_TOKN", min_size=1), st.text(max_size=20)))
@trials(deadline=None)
def test_nothing_else_is_touched(environment: dict[str, str]) -> None:
    once = dict(environment)
    take_secrets(once)
    assert once | OFFLINE == without_secrets(environment)
    assert without_secrets(once) == once | OFFLINE
    assert not [name for name, value in once.items() if is_secret(name, value)]


@pytest.mark.parametrize(
    "load",
    [
        "from ftgate.engines.isolation import Isolation; Isolation().begin()",
        pytest.param(LOAD.format(module="vllm.engine", engine="VllmEngine"), marks=[pytest.mark.engine, needs("vllm")]),
        pytest.param(LOAD.format(module="transformers", engine="TransformersEngine"), marks=pytest.mark.engine),
    ],
    ids=["isolate", "vllm", "transformers"],
)
def test_a_process_that_holds_a_model_holds_no_credential(load: str, tiny: TinyModels) -> None:
    said = shown(load, str(tiny.base.path))
    assert not [value for value in SECRETS.values() if value in said]
    assert said.count("TOKENIZERS_PARALLELISM") == 3
    assert said.count("HF_HUB_OFFLINE") >= 2, "for itself and for its children"


@pytest.mark.parametrize("before", [None, "0", "1"])
def test_the_hub_can_be_asked_again_after_the_last_engine(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    from huggingface_hub import constants

    for name in OFFLINE:
        monkeypatch.delenv(name, raising=False)
    if before is not None:
        monkeypatch.setenv("HF_HUB_OFFLINE", before)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", before == "1")
    environment = dict(os.environ)
    one, other = Isolation(), Isolation()
    for begin in (one.begin, other.begin, one.begin, one.end, one.end):
        begin()
        assert constants.HF_HUB_OFFLINE, "a library that already looked is told"
        assert OFFLINE.items() <= os.environ.items()
    other.end()
    assert constants.HF_HUB_OFFLINE is (before == "1")
    assert {name: os.environ.get(name) for name in OFFLINE} == {name: environment.get(name) for name in OFFLINE}


@pytest.mark.engine
def test_an_engine_that_is_closed_leaves_the_hub_reachable(tiny: TinyModels, settings: EngineSettings) -> None:
    from huggingface_hub import constants

    from ftgate.embeddings.hidden_states import HiddenStateEmbedder
    from ftgate.engines.transformers import TransformersEngine

    engine, embedder = TransformersEngine(settings), HiddenStateEmbedder(tiny.base.path, tiny.base.digest)
    engine.require([tiny.base])
    embedder.embed(["hello"])
    engine.close()
    assert constants.HF_HUB_OFFLINE, "the embedder still holds a model"
    embedder.close()
    assert not constants.HF_HUB_OFFLINE
    assert "HF_HUB_OFFLINE" not in os.environ


def test_the_merging_process_gets_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ftgate.domain import Model
    from ftgate.models import merge

    program = tmp_path / "program.py"
    program.write_text("import json, os\nprint(json.dumps({'effect': 0, 'gap': 0, 'environment': dict(os.environ)}))\n")
    monkeypatch.setattr(merge, "_MERGE_PROGRAM", program)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    model = Model("x", tmp_path, "sha256:0")
    environment = dict(merge._run_merge(model, model, tmp_path, tmp_path / "merge.log")["environment"])  # type: ignore[call-overload]
    assert not SECRETS.keys() & environment.keys()
    assert environment["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize(
    ("value", "offline"),
    [("1", True), ("on", True), ("YES", True), ("True", True), ("0", False), ("", False), ("no", False)],
)
def test_who_was_offline_before_stays_so(monkeypatch: pytest.MonkeyPatch, name: str, value: str, offline: bool) -> None:
    from huggingface_hub import constants

    for each in OFFLINE:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    one = Isolation()
    one.end()
    assert constants.HF_HUB_OFFLINE is offline, "an end without a begin does nothing"
    one.begin()
    assert dict(OFFLINE) == {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    one.end()
    assert constants.HF_HUB_OFFLINE is offline
    assert {each: os.environ.get(each) for each in OFFLINE} == {**dict.fromkeys(OFFLINE), name: value}


def test_credentials_are_taken_from_a_copy_without_touching_the_process() -> None:
    load = "from ftgate.engines.isolation import take_secrets; before = Path('/proc/self/environ').read_bytes()\n"
    load += "copy = dict(os.environ); take_secrets(copy); assert 'HF_TOKEN' in os.environ and 'HF_TOKEN' not in copy\n"
    load += "print('untouched', before == Path('/proc/self/environ').read_bytes())"
    assert "untouched True" in shown(load)


def test_only_what_is_wiped_changes_in_the_initial_environment() -> None:
    """Byte by byte: the credential becomes zeros of its length, and its neighbours stay."""
    load = "from ftgate.engines.isolation import take_secrets; before = Path('/proc/self/environ').read_bytes()\n"
    load += "take_secrets(); after = Path('/proc/self/environ').read_bytes(); assert len(before) == len(after)\n"
    load += "parts = before.split(b'\\0'); names = [p.partition(b'=')[0] for p in parts]\n"
    load += "at = [sum(len(q) + 1 for q in parts[:i]) for i in range(len(parts))]\n"
    load += "kept = {n for n, p, a in zip(names, parts, at) if p and after[a:a + len(p)] == p}\n"
    load += "gone = {n for n, p, a in zip(names, parts, at) if p and after[a:a + len(p)] == bytes(len(p))}\n"
    load += "assert kept | gone == set(names) - {b''}; print('gone', sorted(n.decode() for n in gone))"
    assert f"gone {sorted(SECRETS)}" in shown(load)


@pytest.mark.parametrize(
    ("start", "end", "wiped"),
    [(1000, 1008, [(1004, 0, 3)]), (1000, 1009, []), (1000, 1007, []), (0, 8, []), (1008, 1000, []), (-8, 0, [])],
)
def test_memory_is_written_only_where_the_system_says_the_environment_lies(
    monkeypatch: pytest.MonkeyPatch, start: int, end: int, wiped: list[tuple[int, int, int]]
) -> None:
    """The system is the edge: what it says of the process, and the memory itself."""

    class Proc:
        def __init__(self, path: str) -> None:
            self.name = path.rpartition("/")[2]

        def read_text(self) -> str:
            fields = ["S", *["0"] * 46, str(start), str(end), "0"]
            return f"17 (a name) b) {' '.join(fields)}\n" if self.name == "stat" else ""

        def read_bytes(self) -> bytes:
            return b"A=1\0B=2\0" if self.name == "environ" else b""

    written: list[tuple[int, int, int]] = []
    monkeypatch.setattr(isolation, "Path", Proc)
    monkeypatch.setattr(isolation.ctypes, "memset", lambda *call: written.append(call))
    isolation._wipe(["B", "C"])
    assert written == wiped
