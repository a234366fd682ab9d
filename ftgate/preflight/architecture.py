"""Whether the models' weights are those that their config.json describes, by building them without weights.

transformers does that (:mod:`ftgate.engines.skeleton`), in a process of its own beside the other checks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from tempfile import TemporaryFile
from typing import Any

from ftgate.domain import Model
from ftgate.errors import ArtifactError
from ftgate.models.nan_scan import FLOATS, is_zero
from ftgate.models.weights import full_weights, read_json
from ftgate.preflight.fit import CheckState

BUILD_SECONDS = 120.0
"""A model of 70 billion parameters takes half a second, and the imports before it 3 to 6."""
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


_built: dict[str, dict[str, Any]] = {}
"""What was built already in this process, by the whole of a request: a run is checked more than once."""


@dataclass(slots=True)
class Skeletons:
    """Models that are built meanwhile, by role, with the request for each."""

    models: dict[str, Model] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None


def start_skeletons(checks: CheckState) -> Skeletons:
    """Begin to build the full weights that an engine loads, each once; none whose config.json is refused already."""
    draft = checks.draft
    roles = {"base": draft.base, "candidate": draft.candidate, "incumbent": checks.incumbent, "judge": draft.judge}
    skeletons = Skeletons()
    for role, model in roles.items():
        if model is None or model.kind != "full" or role not in checks.sizes or model in skeletons.models.values():
            continue
        refused = any(problem.message.startswith(f"{model.reference}: config.json") for problem in draft.problems.found)
        if checks.settings_of(role).kind != "scripted" and not refused:
            skeletons.models[role] = model
            skeletons.requests[role] = json.dumps(_request(checks, role, model), sort_keys=True)
    waiting = [request for request in skeletons.requests.values() if request not in _built]
    if waiting:
        skeletons.process = _start(waiting)
    return skeletons


def _start(requests: list[str]) -> subprocess.Popen[str]:
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "HF_HUB_OFFLINE": "1"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    with TemporaryFile("w+") as stdin:  # a pipe would have to be read before this goes on
        stdin.write(f"[{','.join(requests)}]")
        stdin.seek(0)
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "ftgate.engines.skeleton"],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )


def _request(checks: CheckState, role: str, model: Model) -> dict[str, Any]:
    shapes: dict[str, list[int]] = {}
    if not checks.sizes[role].quantisation:
        shapes = {name: list(tensor.shape) for name, tensor in full_weights(model.path, model.reference).items()}
    by_architecture = checks.settings_of(role).kind != "transformers"
    config = (model.path / "config.json").read_text(encoding="utf-8")
    return {"config": config, "by_architecture": by_architecture, "shapes": shapes}


def check_architectures(checks: CheckState, skeletons: Skeletons) -> dict[str, Mapping[str, Any]]:
    """Refuse models whose configuration or weights do not make the model that they name, and warn of what may not.

    Returns what was built, by role, as :func:`ftgate.engines.skeleton.examine` has it.
    """
    _read_results(skeletons)
    results: dict[str, Mapping[str, Any]] = {
        role: _built[request] for role, request in skeletons.requests.items() if request in _built
    }
    if len(results) < len(skeletons.models):
        checks.notes.append("weights were not compared with config.json: the models could not be built in time")
    for role, result in results.items():
        model = skeletons.models[role]
        by_vllm = checks.settings_of(role).kind == "vllm"
        with checks.draft.problems.noted():
            _judge(checks, model, result, by_vllm=by_vllm)
            _check_norms(checks, role, model, result)
    return results


def _read_results(skeletons: Skeletons) -> None:
    """Keep what the process wrote; nothing if it took too long, or did not end well."""
    process = skeletons.process
    if process is None:
        return
    waiting = [request for request in skeletons.requests.values() if request not in _built]
    try:
        output, _ = process.communicate(timeout=BUILD_SECONDS)
        _built.update(zip(waiting, json.loads(output), strict=True))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    except ValueError:
        return


def _judge(checks: CheckState, model: Model, result: Mapping[str, Any], *, by_vllm: bool) -> None:
    """Refuse or warn of one model. Raises ArtifactError for what certainly cannot run, or is not what was trained."""
    reference = model.reference
    config = read_json(model.path, "config.json", reference)
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
    if by_vllm and (own_rules or value in _OWN_VALUES):
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
