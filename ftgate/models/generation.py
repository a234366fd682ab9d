"""How a model is to generate by its own generation_config.json, as `vllm serve` reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ftgate.config.engine import EngineSettings
from ftgate.config.generation import OF_SAMPLING, GenerationSettings
from ftgate.config.strict import validate
from ftgate.domain import NEUTRAL, Model
from ftgate.errors import ArtifactError, ConfigurationError

FILE = "generation_config.json"
_MAX_BYTES = 1_000_000
_READ = ("temperature", *NEUTRAL)
_IN_POLICY = "give temperature, top_p and so on in the policy (engine.generation)"
_PASSED_OVER: Mapping[str, float] = {
    **dict.fromkeys(("num_beams", "num_beam_groups", "typical_p", "encoder_repetition_penalty", "guidance_scale"), 1),
    **dict.fromkeys(("no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "min_length", "min_new_tokens"), 0),
    **dict.fromkeys(("epsilon_cutoff", "eta_cutoff", "top_h", "penalty_alpha", "dola_layers", "stop_strings"), 0),
    **dict.fromkeys(("bad_words_ids", "suppress_tokens", "begin_suppress_tokens", "sequence_bias", "constraints"), 0),
    **dict.fromkeys(("force_words_ids", "forced_bos_token_id", "exponential_decay_length_penalty"), 0),
}
"""What `generate` of transformers does by this file and vLLM does not, with the values that do nothing."""


def declared_generation(model: Model) -> Mapping[str, Any]:
    """The facts that the file beside the weights states, or that beside those of an adapter's base.

    ``generation`` has the settings that `vllm serve` takes from it for a request that names none: it samples whatever
    ``do_sample`` says, at a temperature of 1 if there is none (vLLM 0.32, ``ModelConfig.get_diff_sampling_param`` and
    ``ChatCompletionRequest.to_sampling_params``). ``generation_remarks`` say where transformers would do otherwise.
    Raises ArtifactError if there is no such file, it cannot be read, or a value is out of range.
    """
    content = _read(model)
    given = {"temperature": 1.0} | {name: content[name] for name in _READ if content.get(name) is not None}
    if given["temperature"] == 0:
        given = {name: value for name, value in given.items() if name not in OF_SAMPLING}
    try:
        settings = validate(GenerationSettings, given, f"{model.reference}: {FILE}")
    except ConfigurationError as error:
        raise ArtifactError(error.message, hint=f"correct that file, or {_IN_POLICY}") from None
    remarks = []
    if content.get("temperature") is None:
        remarks.append("it has no temperature, and 1 is the server's own")
    if settings.temperature and not content.get("do_sample"):
        remarks.append("it does not say do_sample: true, so that transformers would answer greedily")
    if content.get("max_new_tokens"):
        remarks.append("its max_new_tokens is not followed, as the measurement's max_tokens is the limit")
    if model.kind == "adapter" and not model.merge and (model.path / FILE).is_file():
        remarks.append("it lies beside the adapter, and a server of base and adapter reads the base's")
    passed_over = [name for name, neutral in _PASSED_OVER.items() if content.get(name) and content[name] != neutral]
    if passed_over:
        remarks.append(f"{', '.join(passed_over)} would count with transformers and does not here")
    return {"generation": settings.model_dump(mode="json")} | ({"generation_remarks": remarks} if remarks else {})


def _read(model: Model) -> Mapping[str, Any]:
    """The content of the file."""
    if model.kind == "endpoint":
        raise ArtifactError(
            f"{model.reference}: engine.generation is candidate, and a server shows no {FILE}", hint=_IN_POLICY
        )
    folders = [model.path, *([model.base.path] if model.base is not None else [])]
    path = next((folder / FILE for folder in folders if (folder / FILE).is_file()), None)
    if path is None:
        raise ArtifactError(
            f"{model.reference}: engine.generation is candidate, and there is no {FILE}",
            hint=f"save the model's {FILE} beside its weights, or {_IN_POLICY}",
        )
    try:
        content: Any = json.loads(path.read_bytes()) if path.stat().st_size <= _MAX_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{model.reference}: {FILE} cannot be read: {error}", hint="save it again") from None
    if not isinstance(content, dict):
        raise ArtifactError(f"{model.reference}: {FILE} is no JSON object", hint="save it again")
    return content


def generation_of(settings: EngineSettings, candidate: Model) -> GenerationSettings | None:
    """How both models generate; None for greedily. The candidate's own settings are among its facts."""
    if settings.generation == "candidate":
        return GenerationSettings.model_validate(candidate.facts.get("generation", {}))
    return settings.generation


def generation_note(settings: EngineSettings, candidate: Model) -> str:
    """How both models generated, in words; empty if greedily, or if the candidate's file could not be read."""
    generation = generation_of(settings, candidate)
    if generation is None or (settings.generation == "candidate" and "generation" not in candidate.facts):
        return ""
    where, remarks = "the policy", []
    if settings.generation == "candidate":
        where = f"the candidate's {FILE}, as vllm serve reads it"
        remarks = candidate.facts.get("generation_remarks", [])
    values = generation.model_dump(mode="json", exclude={"system", "stop"})
    settings_in_words = ["greedy"] if not generation.temperature else []
    settings_in_words += [f"{name} {value:g}" for name, value in values.items()]
    settings_in_words += (
        [f"{len(generation.stop)} stop text{'s' * (len(generation.stop) > 1)}"] if generation.stop else []
    )
    settings_in_words += ["a system turn"] if generation.system else []
    return f"both models answer as deployed: {', '.join(settings_in_words)} (from {'; '.join([where, *remarks])})"
