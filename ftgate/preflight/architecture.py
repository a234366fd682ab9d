"""Whether the models' weights are those that their config.json describes, by building them without weights.

transformers does that (:mod:`ftgate.engines.skeleton`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from ftgate.domain import Model
from ftgate.errors import ArtifactError
from ftgate.models.dimensions import QUANTISED_BESIDE
from ftgate.models.nan_scan import FLOATS, is_zero
from ftgate.models.weights import full_weights, read_json
from ftgate.preflight.fit import CheckState

Builder = Callable[[tuple[str, ...]], list[Mapping[str, Any]]]
"""Takes requests of :func:`ftgate.engines.skeleton.examine` as JSON, and gives their results, or none at all."""
BUILD_SECONDS = 120.0
"""Imports take some seconds, and a model of 7 billion parameters half a second."""
NOT_BUILT = "PyTorch is not installed, or the model could not be built in time"
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "HOME", "TMPDIR", "SYSTEMROOT")
_AGAIN = "save model and config.json again, together (save_pretrained)"
_OWN_CONFIGURATIONS = ("deepseek_v32", "deepseek_v4", "kimi_", "minimax_m3", "qwen3_asr", "RefinedWeb", "step3")
"""How the model types begin whose config.json vLLM 0.32 reads by its own rules, whatever those of transformers are."""
_OWN_VALUES = frozenset(
    {"geglu", "swigluoai", "ntk", "mrope", "bailing_mrope", "mllama4", "su", "openpangu"}
    | {"deepseek_yarn", "deepseek_llama_scaling"}
)
"""Activations and kinds of RoPE that vLLM 0.32 has and transformers lacks."""
_STRICT_FIELD = re.compile(r"Validation error for field '([^']+)'")
_IN_LAYER = re.compile(r"(?P<layer>.*\.(?P<number>\d+))\..+\.?weight\Z")
_MORE_LAYERS = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers", "num_mtp_modules")
"""Fields of models that store layers after the last one, which predict further tokens."""


def built_here(requests: tuple[str, ...]) -> list[Mapping[str, Any]]:
    """What transformers builds in this process, for a run, which imports it anyway; nothing without PyTorch."""
    try:
        return [_built_here(request) for request in requests]
    except ModuleNotFoundError:
        return []


@cache
def _built_here(request: str) -> Mapping[str, Any]:
    from ftgate.engines.skeleton import examine_safely

    return examine_safely(json.loads(request))


@cache
def built_apart(requests: tuple[str, ...]) -> list[Mapping[str, Any]]:
    """The same in a process of its own, so that this one stays small; nothing if it fails or takes too long."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "HF_HUB_OFFLINE": "1"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "ftgate.engines.skeleton"]
    asked = f"[{','.join(requests)}]"
    try:
        done = subprocess.run(  # noqa: S603
            command, input=asked, capture_output=True, text=True, env=environment, timeout=BUILD_SECONDS, check=True
        )
        results: list[Mapping[str, Any]] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError, ValueError):
        return []
    return results


def _request(checks: CheckState, role: str, model: Model) -> dict[str, Any]:
    tensors, layers = full_weights(model.path, model.reference), checks.sizes[role].layers
    if layers > len(tensors):  # more than any machine builds, maybe
        raise ArtifactError(
            f"{model.reference}: config.json says num_hidden_layers {layers:,}, and there are {len(tensors):,} tensors",
            hint=_AGAIN,
        )
    packed = bool(checks.sizes[role].quantisation) or any((model.path / name).is_file() for name in QUANTISED_BESIDE)
    shapes = {} if packed else {name: list(tensor.shape) for name, tensor in tensors.items()}
    by_architecture = checks.settings_of(role).kind != "transformers"
    config = (model.path / "config.json").read_text(encoding="utf-8")
    return {"config": config, "by_architecture": by_architecture, "shapes": shapes}


def check_architectures(checks: CheckState, build: Builder) -> None:
    """Refuse models whose configuration or weights do not make the model that they name, and warn of what may not."""
    draft, problems = checks.draft, checks.draft.problems
    roles = {"base": draft.base, "candidate": draft.candidate, "incumbent": checks.incumbent, "judge": draft.judge}
    models: dict[str, Model] = {}
    requests: list[str] = []
    for role, model in roles.items():
        if model is None or model.kind != "full" or role not in checks.sizes or model in models.values():
            continue
        refused = any(problem.message.startswith(f"{model.reference}: config.json") for problem in problems.found)
        if refused or checks.settings_of(role).kind == "scripted":  # which loads no weights
            continue
        with problems.noted():
            requests.append(json.dumps(_request(checks, role, model), sort_keys=True))
            models[role] = model
    results = build(tuple(requests)) if requests else []
    if len(results) < len(requests):
        checks.notes.append(f"weights were not compared with config.json: {NOT_BUILT}")
    for (role, model), result in zip(models.items(), results, strict=False):
        with problems.noted():
            _judge(checks, model, result, by_vllm=checks.settings_of(role).kind == "vllm")
            _check_norms(checks, role, model, result)


def _judge(checks: CheckState, model: Model, result: Mapping[str, Any], *, by_vllm: bool) -> None:
    """Refuse or warn of one model. Raises ArtifactError for what certainly cannot run, or is not what was trained."""
    reference = model.reference
    config = read_json(model.path, "config.json", reference)
    if failure := result.get("failure"):
        checks.notes.append(f"{reference}: its weights were not compared with config.json: {failure}")
    if unknown := result.get("unknown"):
        _judge_unknown(checks, reference, unknown, by_vllm=by_vllm)
    if other := result.get("other_type"):
        checks.warnings.append(
            f"{reference}: config.json says model_type {config.get('model_type')}, and its architectures, "
            f"{result['architecture']}, belong to {other}: correct one of them, or save model and config.json again"
        )
    if error := result.get("config_error") or result.get("build_error"):
        _judge_error(checks, model, error, config, by_vllm=by_vllm)
    for reason in _misfits(result, config):
        raise ArtifactError(f"{reference}: {reason}", hint=_AGAIN)
    if surplus := result.get("unexpected"):
        checks.warnings.append(
            f"{reference}: {len(surplus):,} of its tensors have no place in {result['architecture']}, such as "
            f"{surplus[0]}: engines leave them out, or stop; if they were trained, config.json names another model"
        )
    if run_error := result.get("run_error"):
        message = f"{reference}: config.json: sizes do not fit together: {run_error}"
        if not by_vllm:
            raise ArtifactError(message, hint=_AGAIN)
        checks.warnings.append(f"{message}: {_AGAIN}")


def _check_norms(checks: CheckState, role: str, model: Model, result: Mapping[str, Any]) -> None:
    """Refuse a last norm of zeros, after which all answers are alike, and warn of others; some norms add 1 to it."""
    muting = result.get("muting", ())
    if model.headers_only or not muting:
        return
    stored = full_weights(model.path, model.reference)
    zero = [name for name in muting if name in stored and stored[name].dtype in FLOATS and is_zero(stored[name])]
    outside = [name for name in muting if not re.search(r"\.\d+\.", name)]
    if zero and (len(zero) == len(muting) or outside[-1:] == zero[-1:]):
        raise ArtifactError(
            f"{model.reference}: {zero[-1]} is all zeros, and so is what the model makes of any prompt: all its "
            "answers are alike",
            hint="save the model again: its norms were lost",
        )
    if zero and role != "base":
        checks.warnings.append(
            f"{model.reference}: {len(zero):,} of its norms are all zeros, such as {zero[0]}: what they precede does "
            "nothing; if they were not set to zero on purpose, save the model again"
        )


def _judge_unknown(checks: CheckState, reference: str, unknown: str, *, by_vllm: bool) -> None:
    if not by_vllm:
        raise ArtifactError(
            f"{reference}: config.json: transformers has no language model of {unknown}",
            hint="correct it, use engine: {kind: vllm} if that knows it, or install a newer transformers",
        )
    checks.notes.append(
        f"{reference}: its weights were not compared with config.json: transformers does not know {unknown}"
    )


def _judge_error(
    checks: CheckState, model: Model, error: Mapping[str, str], config: Mapping[str, Any], *, by_vllm: bool
) -> None:
    """Refuse what transformers cannot build. vLLM reads config.json with it too, and builds by rules of its own."""
    name, value = _culprit(error, config)
    reason = _last_line(error)
    where = f"{name} is {value!a:.80}: {reason}" if name else reason
    message = f"{model.reference}: config.json: {where}"
    hint = f"correct {name}, or {_AGAIN}" if name else _AGAIN
    if name and any(
        p.message.startswith(f"{model.reference}: config.json: {name} is") for p in checks.draft.problems.found
    ):
        return
    own_rules = str(config.get("model_type")).startswith(_OWN_CONFIGURATIONS) or "validate_rope" in error["text"]
    if by_vllm and (own_rules or (isinstance(value, str) and value in _OWN_VALUES)):
        own = "which vLLM reads by rules of its own"
        checks.notes.append(f"{model.reference}: its weights were not compared with config.json, {own}")
        return
    if by_vllm and not name and "Validation" not in error["kind"]:
        checks.warnings.append(f"{message}: transformers cannot build it, and vLLM may not either; {hint}")
        return
    raise ArtifactError(message, hint=hint)


def _culprit(error: Mapping[str, str], config: Mapping[str, Any]) -> tuple[str, Any]:
    """The field of config.json that an error is about, and its value; empty if that cannot be told."""
    fields = dict(_fields(config))
    if match := _STRICT_FIELD.search(error["text"]):
        name = next((name for name in fields if name.rpartition(".")[2] == match[1]), match[1])
        return name, fields.get(name)
    words = set(re.findall(r"'([^'\n]{1,80})'", error["text"])) | {error["key"]}
    of_values = [name for name, value in fields.items() if isinstance(value, str) and (value in words)]
    return (of_values[0], fields[of_values[0]]) if of_values else ("", None)


def _fields(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field of a configuration and of those within, by its path."""
    for name, value in config.items():
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")


def _last_line(error: Mapping[str, str]) -> str:
    """What is wrong, in a line: Python's lookup errors hold no more than the name that is not there."""
    is_a_name = error["kind"] in ("KeyError", "AttributeError") and " " not in error["key"]
    if is_a_name or "no attribute" in error["text"]:
        return "transformers has nothing of that name"
    line = error["text"].strip().rpartition("\n")[2].strip()
    return re.sub(r"^\w+(?:Error|Exception): |\. Errors: .*", "", line)[:240]


def _misfits(result: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    """Why stored tensors are not those that the model needs."""
    architecture = result.get("architecture")
    if mismatched := result.get("mismatched"):
        name, stored, needed = mismatched[0]
        others = f" (and {len(mismatched) - 1:,} tensors more)" if len(mismatched) > 1 else ""
        yield (
            f"{name} has shape {stored}, and {architecture} with this config.json needs {needed}{others}: no engine "
            "loads that"
        )
    if missing := result.get("missing"):
        tensors = "1 tensor" if len(missing) == 1 else f"{len(missing):,} tensors"
        yield (
            f"its weights lack {tensors} that {architecture} with this config.json needs, such as {missing[0]}: an "
            "engine stops, or fills them at random"
        )
    layers, modules = result.get("layers"), set(result.get("modules", ()))
    if not isinstance(layers, int):
        return
    for name in result.get("unexpected", ()):
        match = _IN_LAYER.match(name)
        prefix = match["layer"].rpartition(".")[0] if match else ""
        if match and match["layer"] in modules:
            yield f"{name} has no place in {architecture} with this config.json: engines leave it out, or stop"
        elif match and f"{prefix}.0" in modules and not any(config.get(more) for more in _MORE_LAYERS):
            yield f"config.json says num_hidden_layers {layers}, and its weights have {match['layer']}, as in {name}"
