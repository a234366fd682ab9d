"""The form that is served: what the policy says of either model, and what leaves old fingerprints as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ftgate.artifacts.resolve import Resolver
from ftgate.config.engine import EngineSettings
from ftgate.config.policy import Policy, read_policy
from ftgate.errors import ConfigurationError
from ftgate.jobs.prepare import suite_of
from ftgate.measurements.registry import read_measurements
from ftgate.measurements.shortage import shortage
from ftgate.stats.power import evidence_floor

SECTIONS: dict[str, Any] = {
    "target": {"dataset": "t.jsonl"},
    "forgetting": {"dataset": "g.jsonl", "scorer": "exact", "block_drop": 0.09},
    "tail": {"dataset": "q.jsonl", "scorer": "exact"},
    "calibration": {"dataset": "c.jsonl"},
}

AT_SERVER: dict[str, Any] = {"kind": "openai", "endpoint": "http://127.0.0.1:1/v1"}


def policy(**more: Any) -> Policy:
    return Policy.model_validate({"version": 1, "measurements": SECTIONS, **more})


def test_each_model_has_the_common_settings_but_for_its_own() -> None:
    settings = EngineSettings.model_validate(
        {"dtype": "bfloat16", "candidate": {"quantization": "fp8", "kv_cache_dtype": "fp8", "tensor_parallel_size": 2}}
    )
    base, candidate = settings.of("base"), settings.of("candidate")
    assert (base.quantization, base.kv_cache_dtype, base.tensor_parallel_size) == (None, "auto", 1)
    assert (candidate.quantization, candidate.kv_cache_dtype, candidate.tensor_parallel_size) == ("fp8", "fp8", 2)
    assert base.dtype == candidate.dtype == "bfloat16"
    assert settings.differ
    assert not EngineSettings(dtype="bfloat16").differ
    assert settings.shared == base


def test_serving_it_merged_needs_no_engine_of_its_own() -> None:
    settings = EngineSettings.model_validate({"candidate": {"served": "merged"}})
    assert settings.of("candidate").served == "merged"
    assert not settings.differ


@pytest.mark.parametrize(
    ("engine", "named"),
    [
        ({"kind": "transformers", "quantization": "fp8"}, "quantization: only for kind: vllm"),
        (
            {"kind": "transformers", "candidate": {"kv_cache_dtype": "fp8"}},
            "candidate.kv_cache_dtype: only for kind: vllm",
        ),
        ({"base": {"served": "merged"}}, "the base is no adapter"),
        ({**AT_SERVER, "served": "merged"}, "served: the server serves what it has"),
        ({**AT_SERVER, "candidate": {"served": "merged"}}, "candidate.served: the server serves what it has"),
        ({**AT_SERVER, "dtype": "float16"}, "dtype: the server has loaded the weights"),
        ({**AT_SERVER, "base": {"dtype": "float16"}}, "base.dtype: the server has loaded the weights"),
        ({**AT_SERVER, "tensor_parallel_size": 2}, "tensor_parallel_size: only for kind: vllm"),
        (
            {"kind": "transformers", "candidate": {"tensor_parallel_size": 2}},
            "candidate.tensor_parallel_size: only for kind: vllm",
        ),
        ({"quantization": "rm -rf /"}, "engine.quantization"),
        ({"kv_cache_dtype": "int1"}, "engine.kv_cache_dtype"),
        ({"endpoint": "http://127.0.0.1:1/v1"}, "endpoint: only for kind: openai"),
        ({"kind": "openai"}, "kind openai needs endpoint"),
        ({"kind": "openai", "candidate": {"endpoint": "http://127.0.0.1:1/v1"}}, "kind openai needs endpoint"),
        ({"kind": "openai", "endpoint": "http://far.example/v1"}, "in the clear"),
        ({"kind": "openai", "endpoint": {"address": "https://a.example/v1", "samples": 9}}, "unknown field"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, engine: dict[str, Any], named: str) -> None:
    path = tmp_path / "ftgate.yml"
    path.write_text(yaml.safe_dump({"version": 1, "measurements": SECTIONS, "engine": engine}))
    with pytest.raises(ConfigurationError) as caught:
        read_policy(path)
    assert named in caught.value.message


def test_new_fields_are_in_no_fingerprint_until_they_are_set() -> None:
    plain = policy().model_dump(mode="json")
    assert "extends" not in plain
    assert not {"quantization", "kv_cache_dtype", "served", "endpoint", "base", "candidate"} & plain["engine"].keys()
    changed = [{"quantization": "fp8"}, {"kv_cache_dtype": "fp8"}, {"candidate": {"dtype": "float16"}}]
    fingerprints = {policy().sha256(), *(policy(engine=engine).sha256() for engine in changed)}
    assert len(fingerprints) == 4


def test_a_profile_fills_in_limits_and_a_policy_keeps_its_own() -> None:
    compressed = policy(extends="builtin:compression")
    limits = {m.name: m.limit for m in read_measurements(compressed.measurements, "policy")}
    assert limits == {"target": -0.02, "forgetting": 0.09, "tail": 0.02, "calibration": 0.02}
    today = {m.name: m.limit for m in read_measurements(policy(extends="builtin:fine-tune").measurements, "policy")}
    assert today == {m.name: m.limit for m in read_measurements(policy().measurements, "policy")}
    assert compressed.sha256() != policy().sha256()
    again = Policy.model_validate(compressed.model_dump(mode="json"))
    assert again.sha256() == compressed.sha256(), "as a saved job has it"


def test_a_copy_may_lose_little_of_safety_and_tools_and_the_built_in_suites_can_show_it() -> None:
    kinds = {"safety": {}, "tools": {}, "json": {"kind": "tools", "dataset": "j.jsonl"}}
    copied = policy(extends="builtin:compression", measurements=kinds)
    read = {m.name: m for m in read_measurements(copied.measurements, "policy")}
    assert {name: m.limit for name, m in read.items()} == {"safety": 0.03, "tools": 0.03, "json": 0.03}
    for name in ("safety", "tools"):
        m, suite = read[name], suite_of(read[name], Resolver(copied.artifacts, Path()))
        assert shortage(m, suite.items, 0.05, trained=False) is None
    benign = sum("benign" in item.tags for item in suite_of(read["safety"], Resolver(copied.artifacts, Path())).items)
    assert benign >= evidence_floor(read["safety"].max_refusal_rise)


@pytest.mark.parametrize("name", ["compression", "builtin:none", 3, ["builtin:compression"]])
def test_an_unknown_profile_is_refused(tmp_path: Path, name: object) -> None:
    path = tmp_path / "ftgate.yml"
    path.write_text(yaml.safe_dump({"version": 1, "extends": name, "measurements": SECTIONS}))
    with pytest.raises(ConfigurationError, match="extends"):
        read_policy(path)


@pytest.mark.parametrize("kind", ["vllm", "transformers", "scripted"])
def test_what_was_valid_before_there_were_forms_stays_valid(kind: str) -> None:
    settings = policy(engine={"kind": kind, "tensor_parallel_size": 2, "dtype": "float16"}).engine
    assert (settings.tensor_parallel_size, settings.dtype) == (2, "float16")
    assert EngineSettings.model_validate({"kind": "transformers", "candidate": {"dtype": "float16"}}).differ


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"kind": "transformers", "enforce_eager": True}, "enforce_eager: only for kind: vllm"),
        ({"kind": "transformers", "devices": [0]}, "devices: only for kind: vllm"),
        ({**AT_SERVER, "pipeline_parallel_size": 2}, "pipeline_parallel_size: only for kind: vllm"),
        ({"enforce_eager": True, "compilation_level": 3}, "enforce_eager compiles nothing"),
        ({"devices": [0, 1]}, "name 1, each once"),
        ({"devices": [0, 0]}, "name 1, each once"),
        ({"devices": [-1]}, "counted from 0"),
        ({"devices": [1, 1], "tensor_parallel_size": 2}, "name 2, each once"),
        ({"compilation_level": 4}, "less than or equal to 3"),
    ],
)
def test_knobs_that_nothing_turns_are_refused(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        EngineSettings.model_validate(settings)


def test_knobs_that_are_not_turned_leave_fingerprints_as_they_were() -> None:
    knobs = {"enforce_eager", "compilation_level", "pipeline_parallel_size", "devices"}
    assert not knobs & EngineSettings().identity().keys()
    turned = EngineSettings(tensor_parallel_size=2, pipeline_parallel_size=2, devices=(0, 1, 2, 5), compilation_level=0)
    assert turned.identity().keys() >= knobs - {"enforce_eager"}
    assert (turned.gpus, turned.used_devices) == (4, {0, 1, 2, 5})
    assert EngineSettings(tensor_parallel_size=2).used_devices == {0, 1}
