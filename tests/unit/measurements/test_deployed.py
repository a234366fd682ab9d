"""Questions as the models are asked where they are deployed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ftgate.config.engine import EngineSettings
from ftgate.config.generation import GenerationSettings
from ftgate.domain import NEUTRAL, Message, Model, Question
from ftgate.errors import ConfigurationError
from ftgate.measurements.deployed import as_deployed, seeded
from ftgate.models.generation import declared_generation, generation_note, generation_of

TEXT = Question("forgetting", "1", (Message("user", "why?"),), max_tokens=20)
LETTERS = replace(TEXT, options=("A", "B"), max_tokens=1)
SYSTEM = Message("system", "Be brief.")
DEPLOYED = GenerationSettings(
    temperature=0.7,
    top_p=0.8,
    top_k=20,
    min_p=0.05,
    repetition_penalty=1.1,
    presence_penalty=1.5,
    frequency_penalty=0.5,
    stop=("\n\n",),
    system="Be brief.",
)


def test_without_settings_nothing_changes() -> None:
    assert as_deployed([TEXT, LETTERS], None) == (TEXT, LETTERS)
    assert as_deployed([TEXT], GenerationSettings())[0].content() == TEXT.content()


def test_texts_and_thoughts_before_letters_are_sampled_with_a_seed_each() -> None:
    text, letters = as_deployed([TEXT, LETTERS], DEPLOYED)
    assert (text.temperature, text.top_p, text.top_k, text.min_p) == (0.7, 0.8, 20, 0.05)
    assert (text.repetition_penalty, text.presence_penalty, text.frequency_penalty) == (1.1, 1.5, 0.5)
    assert (text.stop, text.messages) == (("\n\n",), (SYSTEM, *TEXT.messages))
    assert letters == replace(text, options=LETTERS.options, max_tokens=1, stop=())
    (seed,), (same,) = seeded([text], 3), seeded([text], 3)
    assert seed.seed == same.seed != seeded([replace(text, item_id="2")], 3)[0].seed


def test_everything_that_moves_an_answer_is_in_its_address() -> None:
    contents = [as_deployed([TEXT], GenerationSettings())[0].content()]
    for field in ("repetition_penalty", "presence_penalty", "frequency_penalty", "stop", "system", "temperature"):
        settings = GenerationSettings(**{field: getattr(DEPLOYED, field)})
        contents.append(as_deployed([TEXT], settings)[0].content())
    for field in ("top_p", "top_k", "min_p"):
        settings = GenerationSettings(temperature=0.7, **{field: getattr(DEPLOYED, field)})
        contents.append(as_deployed([TEXT], settings)[0].content())
    assert len({json.dumps(content, sort_keys=True) for content in contents}) == len(contents)


def test_a_rows_own_system_turn_and_temperature_stay() -> None:
    own = replace(TEXT, messages=(Message("system", "You are a pirate."), *TEXT.messages), temperature=1.0)
    (asked,) = as_deployed([own], DEPLOYED)
    assert asked.messages == own.messages
    assert (asked.temperature, asked.top_p, asked.top_k) == (1.0, 1.0, 0)


def test_raw_texts_and_continuations_are_their_tasks() -> None:
    raw, continued = replace(TEXT, raw=True), replace(LETTERS, continued=True)
    assert as_deployed([raw, continued], DEPLOYED) == (raw, continued)


def model(folder: Path, content: object | None, name: str = "generation_config.json") -> Model:
    folder.mkdir()
    if content is not None:
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return Model("a", folder, "sha256:1", reference="models/a")


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9}, {"temperature": 0.6, "top_p": 0.9}),
        ({"do_sample": True, "temperature": 0.6, "top_k": -1, "num_beams": 1}, {"temperature": 0.6}),
        ({"do_sample": True, "temperature": 0, "top_p": 0.9, "presence_penalty": 1}, {"presence_penalty": 1.0}),
        (
            {"do_sample": True, "temperature": 1.0, "min_p": 0.1},
            {"temperature": 1.0, "min_p": 0.1},
        ),
    ],
)
def test_the_candidates_own_file_says_how_it_generates(
    tmp_path: Path, content: dict[str, object], settings: dict[str, object]
) -> None:
    candidate = model(tmp_path / "a", content)
    assert declared_generation(candidate) == {"generation": settings}
    adapter = replace(model(tmp_path / "b", None), kind="adapter", base=candidate)
    assert declared_generation(adapter) == {"generation": settings}, "an adapter has that of its base"
    own = replace(model(tmp_path / "c", content), kind="adapter", base=model(tmp_path / "d", {"temperature": 2}))
    assert declared_generation(own)["generation"] == settings
    assert "it lies beside the adapter" in declared_generation(own)["generation_remarks"][0]
    assert declared_generation(replace(own, merge=("served merged",))) == {"generation": settings}
    policy = EngineSettings(generation="candidate")
    opened = replace(candidate, facts={"generation": settings})
    assert generation_of(policy, opened) == GenerationSettings.model_validate(settings)
    assert generation_note(policy, opened).endswith(
        "(from the candidate's generation_config.json, as vllm serve reads it)"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no generation_config.json"),
        ("{", "cannot be read"),
        ("[1]", "no JSON object"),
        ({"do_sample": True, "temperature": -1}, r"models/a: generation_config\.json: temperature: .* \(got -1\)"),
        ({"temperature": 1, "top_k": -2}, r"models/a: generation_config\.json: top_k: .* \(got -2\)"),
    ],
)
def test_a_file_that_says_nothing_is_refused(tmp_path: Path, content: object, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        declared_generation(model(tmp_path / "a", content))
    assert "ftgate schema" not in caught.value.hint, "the value is the file's, and not the policy's"


@pytest.mark.parametrize(
    ("content", "settings", "remarks"),
    [
        ({"temperature": 0.6}, {"temperature": 0.6}, ["do_sample"]),
        ({"do_sample": True}, {"temperature": 1.0}, ["no temperature"]),
        ({"do_sample": True, "temperature": 1, "max_new_tokens": 5}, None, ["its max_new_tokens is not followed"]),
        ({"eos_token_id": 2}, {"temperature": 1.0}, ["no temperature", "do_sample"]),
        (
            {"do_sample": True, "temperature": 1, "num_beams": 4, "no_repeat_ngram_size": 3, "bad_words_ids": [[1]]},
            {"temperature": 1.0},
            ["num_beams, no_repeat_ngram_size, bad_words_ids would count with transformers and does not here"],
        ),
        ({"do_sample": True, "temperature": 1, "num_beams": 1, "suppress_tokens": [], "typical_p": 1.0}, None, []),
    ],
)
def test_what_transformers_would_do_otherwise_is_said(
    tmp_path: Path, content: dict[str, object], settings: dict[str, float] | None, remarks: list[str]
) -> None:
    candidate = model(tmp_path / "a", content)
    facts = declared_generation(candidate)
    assert facts["generation"] == (settings or {"temperature": 1.0})
    said = facts.get("generation_remarks", [])
    assert len(said) == len(remarks)
    assert all(words in remark for words, remark in zip(remarks, said, strict=True))
    note = generation_note(EngineSettings(generation="candidate"), replace(candidate, facts=facts))
    assert all(remark in note for remark in said)


@pytest.mark.engine
def test_files_are_read_as_the_installed_vllm_reads_them(tmp_path: Path) -> None:
    """For a chat completion that names no settings."""
    pytest.importorskip("vllm")
    from vllm.config import ModelConfig
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    for number, content in enumerate(
        [
            {"temperature": 0.6, "top_k": 20, "min_p": 0.05, "presence_penalty": 1.5, "num_beams": 4},
            {"eos_token_id": 2},
            {"do_sample": False, "top_p": 0.9, "repetition_penalty": 1.05, "frequency_penalty": 0.25},
        ]
    ):
        candidate = model(tmp_path / str(number), content)
        served = ModelConfig.__new__(ModelConfig)
        for field, value in {
            "generation_config": str(candidate.path),
            "override_generation_config": {},
            "trust_remote_code": False,
            "code_revision": None,
            "config_format": "auto",
            "hf_token": None,
        }.items():
            object.__setattr__(served, field, value)
        request = ChatCompletionRequest(model="a", messages=[{"role": "user", "content": "why?"}])
        sampling = request.to_sampling_params(16, served.get_diff_sampling_param())
        settings = GenerationSettings.model_validate(declared_generation(candidate)["generation"])
        for name in ("temperature", *NEUTRAL):
            assert getattr(sampling, name) == getattr(settings, name), (content, name)


@pytest.mark.parametrize("field", ["top_p", "top_k", "min_p"])
def test_what_does_nothing_without_temperature_is_refused(field: str) -> None:
    value = {"top_p": 0.8, "top_k": 20, "min_p": 0.1}[field]
    with pytest.raises(ValueError, match=f"{field}: does nothing without temperature"):
        GenerationSettings.model_validate({field: value})
    assert GenerationSettings.model_validate({field: value, "temperature": 0.1}).temperature == 0.1
    assert GenerationSettings(top_k=-1) == GenerationSettings(), "as servers write it"
    assert GenerationSettings.model_validate({"stop": "###"}).stop == ("###",)


def test_the_note_says_where_the_settings_are_from() -> None:
    candidate = Model("a", Path(), "sha256:1")
    assert generation_note(EngineSettings(), candidate) == ""
    penalised = EngineSettings(generation=GenerationSettings(repetition_penalty=1.1))
    assert generation_note(penalised, candidate) == (
        "both models answer as deployed: greedy, repetition_penalty 1.1 (from the policy)"
    )
    assert generation_note(EngineSettings(generation=DEPLOYED), candidate) == (
        "both models answer as deployed: temperature 0.7, top_p 0.8, top_k 20, min_p 0.05, repetition_penalty 1.1, "
        "presence_penalty 1.5, frequency_penalty 0.5, 1 stop text, a system turn (from the policy)"
    )


def test_the_fingerprint_of_a_policy_without_the_new_fields_is_the_old_one() -> None:
    assert not {"thinking", "thinking_tokens", "generation"} & EngineSettings().model_dump().keys()
    assert EngineSettings.model_validate({"thinking": True}).thinking == "on", "YAML reads a bare on as true"
    assert EngineSettings.model_validate({"thinking": False}).thinking == "off"
