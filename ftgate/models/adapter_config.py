"""What an adapter must be for vLLM to run it beside its base, and what has to be merged into the base instead.

Whether it fits that base: see fits.py. The list follows vLLM's own PEFTHelper, and adds what vLLM drops without a word.
What is merged is what peft's ``merge_and_unload`` turns into the same model; the rest is refused with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ftgate.errors import ArtifactError, Problems
from ftgate.models.nan_scan import is_zero
from ftgate.models.safetensors_header import Tensor

MAX_RANK = 512
"""The largest rank that vLLM takes."""
MAX_ALPHA = 1e9
"""No training needs a larger one, and its square still fits a number."""
MERGE = "merge it into its base (peft: merge_and_unload) and give the merged full weights as candidate"
CONVERT = (
    "save it as an ordinary adapter (peft: save_pretrained with path_initial_model_for_weight_conversion), "
    "or give the merged full weights as candidate"
)
EMBEDDINGS = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out")
_PREFIX = "base_model.model."
_MATRIX = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(?:\.weight)?")
_WHOLE_EMBEDDING = re.compile(rf"(?:^|.*\.)(?:{'|'.join(EMBEDDINGS)})\.(?:base_layer\.)?weight")
_PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Ways of starting that leave an ordinary adapter behind; the others change the base's own weights as well."""
_REPEATED_INITS = ("pissa", "olora")
"""Ways of starting that peft repeats, exactly, when it loads such an adapter onto the original base."""

Config = Mapping[str, Any]
_Rule = tuple[Callable[[Config], bool], str]


def _start(config: Config) -> str:
    """How the weights were initialised, where that is more than yes or no."""
    start = config.get("init_lora_weights")
    return start.lower() if isinstance(start, str) else ""


_MERGED: tuple[_Rule, ...] = (
    (lambda c: bool(c.get("use_dora")), "use_dora: vLLM does not run DoRA's magnitudes"),
    (lambda c: bool(c.get("lora_bias")), "lora_bias: vLLM has no biases in adapters"),
    (lambda c: c.get("bias", "none") != "none", "bias is {bias!a}: vLLM would drop the trained biases"),
    (lambda c: bool(c.get("modules_to_save")), "modules_to_save {modules_to_save}: vLLM would drop them"),
    (lambda c: bool(c.get("trainable_token_indices")), "trainable_token_indices: vLLM would drop the trained tokens"),
    (
        lambda c: _start(c) in _REPEATED_INITS,
        "init_lora_weights is {init_lora_weights!a}: it changed the base's weights too, which only peft repeats",
    ),
)
_REFUSED: tuple[_Rule, ...] = (
    (
        lambda c: bool(c.get("layer_replication")),
        "layer_replication: the copies of a layer share its weights, so no merge can tell them apart",
    ),
    (lambda c: bool(c.get("target_parameters")), "target_parameters {target_parameters}: cannot be checked or run"),
    (
        lambda c: bool(c.get("alora_invocation_tokens")),
        "alora_invocation_tokens: active after certain tokens only, which neither vLLM nor a merge can do",
    ),
    (
        lambda c: bool(c.get("megatron_config")),
        "megatron_config: peft would import a module that the adapter names",
    ),
    (lambda c: bool(c.get("use_qalora")), "use_qalora: vLLM has no QALoRA"),
    (lambda c: bool(c.get("use_bdlora")), "use_bdlora: vLLM has no block-diagonal LoRA"),
    (lambda c: bool(c.get("kasa_config")), "kasa_config: KaSA changes the base and is not run by vLLM"),
    (lambda c: bool(c.get("arrow_config")), "arrow_config: routing between adapters is not run by vLLM"),
    (lambda c: bool(c.get("monteclora_config")), "monteclora_config: sampled adapters are not run by vLLM"),
)


class Matrices(NamedTuple):
    """The pair that changes one module: ``a`` of shape (rank, in), ``b`` of shape (out, rank).

    Of an embedding, whose weight has shape (vocabulary, width), "in" is the vocabulary.
    """

    a: Tensor
    b: Tensor
    embedding: bool = False


class AdapterContents(NamedTuple):
    """What an adapter's weights are: pairs by the module that they change, and all else, by name without prefix."""

    matrices: dict[str, Matrices]
    others: dict[str, Tensor]


def check_config(config: Config, where: str) -> tuple[str, ...]:
    """Why the adapter has to be merged, by adapter_config.json; empty when vLLM can run it.

    Raises what ftgate can neither run nor merge, all of it at once, with ``where`` in front.
    """
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ArtifactError(f"{where}: peft_type is {kind!a}, not LORA", hint=MERGE)
    problems = Problems()
    problems.found += [_refused(where, reason, config, MERGE) for refuses, reason in _REFUSED if refuses(config)]
    if _start(config) not in ("", *_PLAIN_INITS, *_REPEATED_INITS):
        reason = (
            "init_lora_weights is {init_lora_weights!a}: it changed the base's weights in a way that cannot be repeated"
        )
        problems.found.append(_refused(where, reason, config, CONVERT))
    for name in ("r", "lora_alpha", "target_modules"):
        if config.get(name) is None:
            problems.found.append(
                ArtifactError(f"{where}: {name} is missing, and vLLM needs it", hint="save the adapter with peft")
            )
    alpha = config.get("lora_alpha", 1)
    if alpha is not None and (type(alpha) not in (int, float) or not abs(alpha) <= MAX_ALPHA):  # NaN is not, either
        problems.found.append(
            ArtifactError(f"{where}: lora_alpha {alpha!a:.80} is not a number", hint="save the adapter again")
        )
    ranks: set[int] = set()
    if config.get("r") is not None:
        with problems.noted():
            ranks = declared_ranks(config, where)
    problems.raise_any()
    beyond = (f"rank {rank} is above {MAX_RANK}, the most that vLLM runs" for rank in ranks if rank > MAX_RANK)
    return (*(reason.format_map(config) for applies, reason in _MERGED if applies(config)), *beyond)


def _refused(where: str, reason: str, config: Config, hint: str) -> ArtifactError:
    return ArtifactError(f"{where}: {reason.format_map(config)}", hint=hint)


def declared_ranks(config: Config, where: str) -> set[int]:
    """Every rank that the configuration names: ``r``, and the exceptions in ``rank_pattern``."""
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, Mapping) else [pattern])]
    for rank in ranks:
        if type(rank) is not int or rank < 1:
            raise ArtifactError(f"{where}: rank {rank!a} is not a whole number above 0", hint="save the adapter again")
    return {rank for rank in ranks if rank is not None}


def read_contents(
    tensors: Mapping[str, Tensor], config: Config, reference: str
) -> tuple[AdapterContents, tuple[str, ...]]:
    """The adapter's weights in order, and why they have to be merged, if they do.

    Raises ArtifactError for whatever is no whole pair, and for what the configuration does not account for.
    """
    sides: dict[tuple[str, bool], dict[str, Tensor]] = {}
    others: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        match = _MATRIX.fullmatch(name)
        if (match is not None and match["embedding"]) or name.endswith((".lora_A.weight", ".lora_B.weight")):
            assert match is not None, "the pattern matches both endings"
            sides.setdefault((match["module"].removeprefix(_PREFIX), bool(match["embedding"])), {})[match["side"]] = (
                tensor
            )
        elif _is_accounted_for(name, config):
            others[name.removeprefix(_PREFIX)] = tensor
        else:
            raise ArtifactError(f"{reference}: {_foreign(name)}", hint="save the adapter again, or merge it yourself")
    if not sides and not others:
        raise ArtifactError(f"{reference}: the adapter holds no tensors: it would change nothing", hint="save it again")
    ranks = declared_ranks(config, reference)
    matrices = {at[0]: _pair(*at, found, ranks, reference) for at, found in sides.items()}
    touched = [name for name in matrices if name.rpartition(".")[2] in EMBEDDINGS]
    touched += [name for name in others if _WHOLE_EMBEDDING.fullmatch(name) and not _is_saved(name, config)]
    reasons = [f"{name}: vLLM drops or half applies what an adapter does to it" for name in touched]
    return AdapterContents(matrices, others), tuple(reasons)


def _is_accounted_for(name: str, config: Config) -> bool:
    """Whether adapter_config.json says that a tensor which is no LoRA matrix belongs to the adapter."""
    if "lora_magnitude_vector" in name:
        return bool(config.get("use_dora"))
    if name.endswith(".lora_B.bias"):
        return bool(config.get("lora_bias"))
    if ".token_adapter." in name:
        return bool(config.get("trainable_token_indices"))
    if (name.endswith(".bias") and config.get("bias", "none") != "none") or _WHOLE_EMBEDDING.fullmatch(name):
        return True
    return _is_saved(name, config)


def _is_saved(name: str, config: Config) -> bool:
    saved = config.get("modules_to_save") or ()
    return any(f".{module}." in f".{name}" for module in saved if isinstance(module, str) and module)


def _foreign(name: str) -> str:
    if "lora_magnitude_vector" in name:
        return f"{name}: a magnitude of DoRA, but adapter_config.json does not say use_dora"
    return f"{name}: not a LoRA matrix, and adapter_config.json does not account for it"


def _pair(module: str, embedding: bool, sides: Mapping[str, Tensor], ranks: set[int], reference: str) -> Matrices:
    again = "the adapter is incomplete or damaged: save it again"
    for side in "AB":
        if side not in sides:
            raise ArtifactError(f"{reference}: {module} has no lora_{side}", hint=again)
    a, b = sides["A"], sides["B"]
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        raise ArtifactError(
            f"{reference}: {module}: lora_A {list(a.shape)} and lora_B {list(b.shape)} do not fit each other",
            hint=again,
        )
    if a.shape[0] not in ranks:
        declared = " or ".join(map(str, sorted(ranks)))
        raise ArtifactError(
            f"{reference}: {module} has rank {a.shape[0]}, but adapter_config.json says {declared}: "
            "its strength, alpha / rank, would be wrong",
            hint="configuration and weights are of different trainings: save both again",
        )
    return Matrices(a, b, embedding)


def check_not_zero(contents: AdapterContents, reference: str) -> None:
    """An adapter of which every product is zero is the base itself. Raises ArtifactError for one."""
    if not contents.others and all(is_zero(pair.b) or is_zero(pair.a) for pair in contents.matrices.values()):
        raise ArtifactError(
            f"{reference}: all lora_B (or lora_A) matrices are zero: the adapter changed nothing",
            hint="it was saved before training, or training did not reach it",
        )
