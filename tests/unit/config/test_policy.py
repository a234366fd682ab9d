"""The policy and the manifest: closed, frozen, and wrong in words that name file, field and value."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ftgate.config.endpoint import checked_address, on_this_machine
from ftgate.config.manifest import read_manifest
from ftgate.config.policy import read_policy
from ftgate.errors import ConfigurationError
from ftgate.measurements.registry import NAME_PATTERN, every_kind, read_derived, read_measurements

GOOD: dict[str, Any] = {
    "version": 1,
    "measurements": {
        "target": {"dataset": "target.jsonl", "scorer": "choice"},
        "forgetting": {"dataset": "general.jsonl"},
        "tail": {"dataset": "queries.jsonl", "scorer": "exact"},
        "calibration": {"dataset": "choices.jsonl"},
    },
    "judge": {"source": "judge"},
}
JUDGE_ENGINES = [({"thinking": "on"}, "it never thinks"), ({"generation": {"temperature": 1}}, "nothing is sampled")]
ENDPOINT = {"endpoint": "https://judge.example/v1", "model": "marker"}


def write(path: Path, value: object) -> Path:
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    return path


def changed(*where: str, to: object) -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load(yaml.safe_dump(GOOD))
    section = value
    for key in where[:-1]:
        section = section.setdefault(key, {})
    section[where[-1]] = to
    return value


def read_all(path: Path) -> None:
    read_measurements(read_policy(path).measurements, f"policy {path}")


def problem(tmp_path: Path, value: object) -> str:
    path = write(tmp_path / "ftgate.yml", value)
    with pytest.raises(ConfigurationError) as caught:
        read_all(path)
    assert "ftgate.yml" in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2
    return caught.value.message


def test_defaults_are_the_documented_limits(tmp_path: Path) -> None:
    policy = read_policy(write(tmp_path / "ftgate.yml", GOOD))
    target, forgetting, tail, calibration = read_measurements(policy.measurements, "policy")
    assert getattr(target, "min_gain") == 0.0  # noqa: B009
    assert (getattr(forgetting, "warn_drop"), getattr(forgetting, "block_drop")) == (0.08, 0.10)  # noqa: B009
    assert (getattr(tail, "tail_fraction"), getattr(tail, "block_drop")) == (0.20, 0.15)  # noqa: B009
    assert getattr(calibration, "max_ece_increase") == 0.05  # noqa: B009
    assert policy.evidence.rule == "interval"
    assert policy.evidence.on_inconclusive == "hold"


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (changed("artefacts", to={}), ["artefacts", "unknown field", "artifacts"]),
        (changed("evidence", "aplha", to=0.1), ["evidence.aplha", "unknown field", "alpha"]),
        (changed("measurements", "tail", "block_dorp", to=0.2), ["measurements.tail", "block_dorp", "block_drop"]),
        (changed("measurements", "tail", "block_drop", to=15), ["measurements.tail", "block_drop", "15"]),
        (changed("measurements", "forgetting", "warn_drop", to=0.2), ["warn_drop", "0.2", "0.1"]),
        (changed("measurements", "calibration", "max_ece_increase", to=-0.1), ["max_ece_increase", "-0.1"]),
        (changed("measurements", "latency", to={"dataset": "x"}), ["latency", "unknown measurement"]),
        (changed("measurements", "target", to={}), ["measurements.target", "dataset", "missing"]),
        (changed("measurements", to={}), ["measurements"]),
        (changed("evidence", "alpha", to=0), ["evidence.alpha", "0"]),
        (changed("artifacts", "remote_code", to=True), ["artifacts.remote_code", "True"]),
        (changed("artifacts", "formats", to=["pickle"]), ["artifacts.formats", "pickle"]),
        (changed("version", to=2), ["version", "2"]),
        ([1, 2], ["mapping", "list"]),
        (None, ["mapping"]),
    ],
)
def test_a_bad_policy_names_field_and_value(tmp_path: Path, value: object, named: list[str]) -> None:
    message = problem(tmp_path, value)
    for part in named:
        assert part in message


@pytest.mark.parametrize(
    ("generation", "said"),
    [
        ("base", "engine.generation: Input should be 'candidate' (got 'base')"),
        ({"temperature": 3}, "engine.generation.temperature: Input should be less than or equal to 2 (got 3)"),
        ({"top_p": 0.9}, "engine.generation: top_p: does nothing without temperature, which is 0 unless it is given"),
        ({"max_tokens": 5}, "engine.generation.max_tokens: unknown field (known here: frequency_penalty, min_p,"),
    ],
)
def test_a_section_or_a_word_is_told_one_problem_alone(tmp_path: Path, generation: object, said: str) -> None:
    message = problem(tmp_path, changed("engine", to={"generation": generation}))
    assert said in message
    assert message.count("engine.generation") == 1
    assert "Value error" not in message


@pytest.mark.parametrize(
    ("judge", "named"),
    [
        ({}, ["judge", "either source", "endpoint"]),
        ({"source": "judge", **ENDPOINT}, ["judge", "either source", "endpoint"]),
        ({"endpoint": ENDPOINT["endpoint"]}, ["judge", "needs model"]),
        ({"model": "marker", "source": "judge"}, ["judge", "model", "only for an endpoint"]),
        ({"source": "judge", "timeout": 5}, ["judge", "timeout", "only for an endpoint"]),
        ({**ENDPOINT, "digest": "sha256:" + "0" * 64}, ["judge", "digest", "only for local weights"]),
        ({**ENDPOINT, "engine": {}}, ["judge", "engine", "only for local weights"]),
        ({**ENDPOINT, "samples": 7}, ["judge.samples", "7"]),
        ({**ENDPOINT, "concurrency": 0}, ["judge.concurrency", "0"]),
        ({**ENDPOINT, "timeout": 0}, ["judge.timeout", "0"]),
        ({**ENDPOINT, "max_retries": -1}, ["judge.max_retries", "-1"]),
        ({**ENDPOINT, "requests_per_minute": 0}, ["judge.requests_per_minute", "0"]),
        ({**ENDPOINT, "request_budget": 0}, ["judge.request_budget", "0"]),
        ({**ENDPOINT, "api_key": "sk-1"}, ["judge.api_key", "unknown field", "api_key_env"]),
        ({**ENDPOINT, "api_key_env": "sk-1"}, ["judge.api_key_env"]),
        ({**ENDPOINT, "endpoint": "http://judge.example/v1"}, ["judge.endpoint", "in the clear", "https://"]),
        ({**ENDPOINT, "endpoint": "http://127.0.0.1.judge.example/v1"}, ["judge.endpoint", "in the clear"]),
        ({**ENDPOINT, "endpoint": "https://me:sk-1@judge.example/v1"}, ["judge.endpoint", "api_key_env"]),
        ({**ENDPOINT, "endpoint": "https://judge.example/v1?key=sk-1"}, ["judge.endpoint", "query"]),
        ({**ENDPOINT, "endpoint": "https://judge.example:sk-1/v1"}, ["judge.endpoint", "https://host/v1"]),
        ({**ENDPOINT, "endpoint": "https://judge\\@x.example/v1"}, ["judge.endpoint", "backslash"]),
        ({**ENDPOINT, "endpoint": "judge.example/v1"}, ["judge.endpoint", "https://host/v1"]),
        ({**ENDPOINT, "endpoint": "file:///etc/passwd"}, ["judge.endpoint", "https://host/v1"]),
        ({**ENDPOINT, "endpoint": "https://[::1/v1"}, ["judge.endpoint", "https://host/v1"]),
    ],
)
def test_a_bad_judge_names_the_field_and_no_secret(tmp_path: Path, judge: dict[str, Any], named: list[str]) -> None:
    message = problem(tmp_path, {**GOOD, "judge": judge})
    for part in named:
        assert part in message
    assert "sk-1" not in message


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("https://Judge.Example/v1/", "https://judge.example/v1"),
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("http://127.0.0.2/v1", "http://127.0.0.2/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
    ],
)
def test_an_endpoint_has_one_spelling(tmp_path: Path, address: str, asked: str) -> None:
    policy = read_policy(write(tmp_path / "ftgate.yml", {**GOOD, "judge": {**ENDPOINT, "endpoint": address}}))
    assert policy.judge is not None
    assert policy.judge.endpoint == asked
    assert (policy.judge.samples, policy.judge.request_budget, policy.judge.api_key_env) == (10, None, None)


@given(st.text(max_size=30) | st.from_regex(r"https?://[!-~]{0,20}", fullmatch=True))
def test_an_address_is_safe_or_refused(address: str) -> None:
    with contextlib.suppress(ValueError):
        found = checked_address(address)
        assert checked_address(found) == found
        assert found.startswith("https://") or on_this_machine(urlsplit(found).hostname or "")
        assert not {"@", "?", "#", " ", "\\"} & set(found.split("/")[2])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        read_policy(tmp_path / "none.yml")


@pytest.mark.parametrize("text", ["a: [1", "a: 1\n\tb: 2", "&a [*a]", "!!python/object:os.system x", "\x00"])
def test_text_that_is_not_yaml_is_one_message(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ftgate.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"ftgate\.yml"):
        read_policy(path)


def test_bytes_that_are_not_text_are_one_message(tmp_path: Path) -> None:
    path = tmp_path / "ftgate.yml"
    path.write_bytes(b"\xff\xfe\x00version")
    with pytest.raises(ConfigurationError, match=r"ftgate\.yml"):
        read_policy(path)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*GOOD, "dataset", "source", "target", "alpha", "x"]), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_no_yaml_value_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = write(tmp_path_factory.mktemp("policy") / "ftgate.yml", value)
    with contextlib.suppress(ConfigurationError):
        read_all(path)


def test_the_fingerprint_ignores_layout_and_sees_every_value(tmp_path: Path) -> None:
    one = read_policy(write(tmp_path / "a.yml", GOOD))
    (tmp_path / "b.yml").write_text("# a comment\n" + yaml.safe_dump(GOOD, default_flow_style=True), encoding="utf-8")
    assert one.sha256() == read_policy(tmp_path / "b.yml").sha256()
    other = read_policy(write(tmp_path / "c.yml", changed("measurements", "tail", "block_drop", to=0.16)))
    assert one.sha256() != other.sha256()


def test_every_measurement_has_a_name_of_its_own() -> None:
    assert [m.kind for m in every_kind()] == ["target", "forgetting", "safety", "tools", "tail", "calibration", "form"]


def test_several_of_one_kind_have_names_and_stand_in_the_order_of_kinds() -> None:
    sections = {
        "german": {"kind": "forgetting", "dataset": "g.jsonl", "tier": "supporting"},
        "forgetting": {"dataset": "a.jsonl"},
        "abstracts": {"kind": "forgetting", "dataset": "b.jsonl"},
        "target": {"kind": "target", "dataset": "t.jsonl"},
    }
    read = read_measurements(sections, "policy")
    assert [(m.name, m.kind, m.tier) for m in read] == [
        ("target", "target", "blocking"),
        ("forgetting", "forgetting", "blocking"),
        ("abstracts", "forgetting", "blocking"),
        ("german", "forgetting", "supporting"),
    ]
    assert read[1] != read[1].named("other")


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"german": {"dataset": "d"}}, "measurements.german: unknown measurement"),
        ({"tools": {"dataset": "lm-eval:arc_easy"}}, "tools does not take tasks of the lm-evaluation-harness"),
        ({"german": {"kind": "forgeting", "dataset": "d"}}, "measurements.german.kind: 'forgeting' is no kind"),
        ({"german": {"kind": ["forgetting"], "dataset": "d"}}, "measurements.german.kind: "),
        ({"second": {"kind": "form"}}, "measurements.second.kind: 'form' does not ask"),
        ({"target": {"kind": "forgetting", "dataset": "d"}}, "measurements.target: target is a kind itself"),
        ({"form": {"kind": "tail"}, "target": {"dataset": "d"}}, "measurements.form: form is a kind itself"),
        ({"all": {"kind": "forgetting", "dataset": "d"}}, "measurements.all: not a name"),
        ({"incumbent": {"kind": "forgetting", "dataset": "d"}}, "measurements.incumbent: not a name"),
        ({"German": {"kind": "forgetting", "dataset": "d"}}, "measurements.German: not a name"),
        ({"a" * 33: {"kind": "forgetting", "dataset": "d"}}, "a: not a name"),
        ({"g<b>": {"kind": "forgetting", "dataset": "d"}}, "measurements.g<b>: not a name"),
        ({"german": {"kind": "forgetting"}}, "measurements.german: dataset: missing"),
        ({"target": {"dataset": "d", "tier": "optional"}}, "measurements.target: tier"),
        ({"target": {"dataset": "d", "tier": "advisory"}}, "every one that asks questions is advisory"),
        ({"tail": {"dataset": "d"}, "rare": {"kind": "tail", "dataset": "d"}}, "tail and rare are both of kind tail"),
    ],
)
def test_a_name_kind_or_tier_that_cannot_be_is_named(sections: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_measurements(sections, "policy x")
    assert told in caught.value.message
    assert caught.value.hint


@given(st.text(max_size=40) | st.from_regex(NAME_PATTERN, fullmatch=True))
def test_a_name_is_plain_or_refused(name: str) -> None:
    with contextlib.suppress(ConfigurationError):
        (read,) = read_measurements({name: {"kind": "forgetting", "dataset": "d"}}, "policy")
        assert read.name == name
        assert name.isascii()
        assert name.replace("-", "").replace("_", "").isalnum()
        assert name == name.lower()


def test_form_is_on_without_a_section_and_can_be_switched_off(tmp_path: Path) -> None:
    policy = read_policy(write(tmp_path / "a.yml", GOOD))
    assert "form" not in policy.measurements, "so that a policy without it keeps its fingerprint"
    (form,) = read_derived(policy.measurements, "policy")
    assert form.limit == 0.10
    (strict,) = read_derived({"form": {"max_increase": 0.02}}, "policy")
    assert strict.limit == 0.02
    assert read_derived({"form": {"enabled": False}}, "policy") == ()


@pytest.mark.parametrize(
    "section", [{"max_increase": 0}, {"max_increase": 1}, {"dataset": "x"}, {"enabled": "perhaps"}]
)
def test_a_bad_section_for_form_names_field_and_value(section: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="measurements.form: " + next(iter(section))):
        read_derived({"form": section}, "policy")


def test_a_policy_in_which_nothing_asks_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="none of them asks any questions") as caught:
        read_measurements({"form": {}}, "policy x")
    assert "target" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"base": {"source": "b", "revision": "main"}}, ["base.revision", "main"]),
        ({"candidate": {"source": "c", "digest": "sha256:12"}}, ["candidate.digest", "sha256:12"]),
        ({"candidate": {"path": "c"}}, ["candidate.path", "unknown field", "source"]),
        ({"name": ""}, ["name"]),
    ],
)
def test_a_bad_manifest_names_field_and_value(tmp_path: Path, change: dict[str, Any], named: list[str]) -> None:
    good = {"name": "bot", "base": {"source": "b"}, "candidate": {"source": "c"}}
    path = write(tmp_path / "bot.yaml", {**good, **change})
    with pytest.raises(ConfigurationError) as caught:
        read_manifest(path)
    for part in ["bot.yaml", *named]:
        assert part in caught.value.message


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (0, "answers: Input should be greater than or equal to 1 (got 0)"),
        ({"base": 0}, "answers.base: Input should be greater than or equal to 1 (got 0)"),
        ({"bse": 2}, "answers.bse: unknown field (known here: base, candidate)"),
        ([1], "answers: Input should be a valid integer (got [1])"),
    ],
)
def test_a_field_of_several_kinds_has_one_problem_by_its_own_name(answers: object, told: str) -> None:
    section = {"dataset": "f", "scorer": "exact", "temperature": 0.7, "answers": answers}
    with pytest.raises(ConfigurationError) as caught:
        read_measurements({"forgetting": section}, "policy")
    assert caught.value.message == f"policy: measurements.forgetting: {told}"


@pytest.mark.parametrize(("engine", "said"), JUDGE_ENGINES)
def test_a_judge_neither_thinks_nor_samples(tmp_path: Path, engine: dict[str, Any], said: str) -> None:
    path = write(tmp_path / "ftgate.yml", changed("judge", "engine", to=engine))
    with pytest.raises(ConfigurationError, match=said):
        read_policy(path)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("Forgetting", "did you mean forgetting? known are target,"),
        ("forgetful", "did you mean forgetting? known are target,"),
        ("qwxyz", "known are target,"),
    ],
)
def test_an_unknown_kind_is_answered_with_the_known_ones(kind: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match="is no kind") as raised:
        read_measurements({"german": {"kind": kind, "dataset": "d"}}, "policy")
    assert raised.value.hint.startswith(hint)
    with pytest.raises(ConfigurationError, match="unknown measurement") as raised:
        read_measurements({kind: {"dataset": "d"}}, "policy")
    assert raised.value.hint.startswith(hint)
