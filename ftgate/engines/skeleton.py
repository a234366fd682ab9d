"""Builds models without weights, as transformers has them, and says which of the stored tensors have a place there.

No code of a model is executed. Importing this imports torch and transformers, which takes seconds. As a program it
reads requests from standard input, and writes the results.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypedDict

import torch
from torch import nn

_SHAPES = re.compile(r"shape '.*' is invalid|must match the size|cannot be multiplied|size mismatch")
"""What torch says of sizes that do not fit together; other errors may come from running without numbers."""


class SkeletonRequest(TypedDict):
    """``config``: the text of config.json; ``shapes``: those of stored tensors by name, none where these are packed."""

    config: str
    by_architecture: bool
    shapes: Mapping[str, list[int]]


def examine(request: SkeletonRequest) -> dict[str, Any]:
    """The names and shapes that a model needs, compared with the stored ones, as plain values.

    ``unknown``: what transformers does not know of it; ``config_error`` and ``build_error``: why it refuses the
    configuration, or fails with it; ``architecture``: the class that was built; ``missing``, ``unexpected`` and
    ``mismatched`` (name, stored shape, needed shape); ``layers`` and ``modules``, the prefixes of its layers;
    ``run_error``: why its sizes do not fit together; ``muting``: norms whose weight of zeros gives zeros.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what matters of its warnings is in the result
    raw = json.loads(request["config"])
    if raw.get("model_type") not in CONFIG_MAPPING:
        return {"unknown": f"model_type {raw.get('model_type')}"}
    try:
        config = _configuration(request["config"])
    except Exception as error:
        return {"config_error": _words(error)}
    config.quantization_config = None
    del config.quantization_config
    built_as = _class_of(config, raw, by_architecture=request["by_architecture"])
    if built_as is None:
        return {"unknown": f"architectures {raw.get('architectures')}"}
    return _compare(built_as, config, request)


def examine_safely(request: SkeletonRequest) -> dict[str, Any]:
    """As :func:`examine`, with ``failure`` where transformers fails in a way that says nothing of the model."""
    try:
        return examine(request)
    except Exception as error:
        return {"failure": f"transformers could not build it: {type(error).__name__}: {error}"[:300]}


def _configuration(text: str) -> Any:
    from transformers import AutoConfig

    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(text, encoding="utf-8")
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _class_of(config: Any, raw: Mapping[str, Any], *, by_architecture: bool) -> Any:
    """The class of transformers that the engine takes; None if there is none."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if by_architecture:
        return next((c for n in raw.get("architectures") or () if (c := getattr(transformers, str(n), None))), None)
    return MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)


def _compare(built_as: Any, config: Any, request: SkeletonRequest) -> dict[str, Any]:
    text = config.get_text_config()
    if built_as.config_class is type(text):
        config = text
    result: dict[str, Any] = {"architecture": built_as.__name__, "model_type": config.model_type}
    if built_as.config_class is not None and not isinstance(config, built_as.config_class):
        return {**result, "other_type": built_as.config_class.model_type}
    stored = {name: torch.empty(shape, device="meta") for name, shape in request["shapes"].items()}
    try:
        net, loading = built_as.from_pretrained(
            None,
            config=config,
            state_dict=stored,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            device_map="meta",
            dtype=torch.float32,
            **({"attn_implementation": "eager"} if request["by_architecture"] else {}),
        )
    except Exception as error:
        return {**result, "build_error": _words(error)}
    if stored:
        result["missing"] = sorted(loading["missing_keys"])
        result["unexpected"] = sorted(loading["unexpected_keys"])
        result["mismatched"] = sorted([n, list(one), list(other)] for n, one, other in loading["mismatched_keys"])
    return {
        **result,
        "layers": getattr(text, "num_hidden_layers", None),
        "modules": [name for name, _ in net.named_modules() if name.rpartition(".")[2].isdigit()],
        "muting": _muting(net),
        "run_error": _run_error(net),
    }


def _run_error(net: Any) -> str:
    """Why sizes do not fit together when the model runs; empty if they do, or if that cannot be known."""
    try:
        with torch.no_grad():
            net(input_ids=torch.zeros((1, 4), dtype=torch.long, device="meta"), use_cache=False)
    except RuntimeError as error:
        return str(error)[:300] if _SHAPES.search(str(error)) else ""
    except Exception:  # some models choose by their numbers what to compute, and here there are none
        return ""
    return ""


def _muting(net: Any) -> list[str]:
    """The weights of norms that give zeros where the weight is zero; others add 1 to it."""
    kinds: dict[type, bool] = {}
    names = []
    for name, module in net.named_modules():
        weight = getattr(module, "weight", None)
        if "norm" not in type(module).__name__.lower() or not isinstance(weight, nn.Parameter) or weight.dim() != 1:
            continue
        if type(module) not in kinds:
            kinds[type(module)] = _gives_zeros(module, weight.shape[0])
        if kinds[type(module)]:
            names.append(f"{name}.weight")
    return names


def _gives_zeros(module: nn.Module, width: int) -> bool:
    from copy import deepcopy

    copy = deepcopy(module).to_empty(device="cpu")
    try:
        with torch.no_grad():
            for parameter in copy.parameters():
                parameter.zero_()
            return not bool(copy(torch.ones(1, 1, width)).any())
    except Exception:  # some take more than one argument
        return False


def _words(error: Exception) -> dict[str, str]:
    argument = error.args[0] if error.args else ""
    return {
        "kind": type(error).__name__,
        "text": str(error)[:2000],
        "key": argument if isinstance(argument, str) else "",
    }


def main() -> None:
    """Examine each model of the list on standard input, and write the results as JSON."""
    results = [examine_safely(request) for request in json.load(sys.stdin)]
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
