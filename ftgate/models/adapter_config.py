"""Which adapters vLLM can run beside their base, and which must be merged into it first.

Whether an adapter fits its base: see base_match.py. The rules follow vLLM's PEFTHelper, plus settings that vLLM
silently ignores. An adapter is merged if peft's ``merge_and_unload`` gives the same model; all others are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ftgate.errors import ArtifactError, Problems
from ftgate.models.safetensors_header import Tensor

MAX_RANK = 512
"""The largest LoRA rank that vLLM supports."""
MAX_ALPHA = 1e9
"""No training needs more, and its square does not overflow."""
MERGE = "merge it into its base (peft: merge_and_unload) and submit the merged full weights"
CONVERT = (
    "save it as an ordinary adapter (peft: save_pretrained with path_initial_model_for_weight_conversion), "
    "or submit the merged full weights"
)
SOFT_PROMPT = "train a LoRA adapter: a soft prompt can neither be merged into weights nor be served here"
EMBEDDINGS = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out")
_SOFT_PROMPTS = (
    *("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "CPT", "CARTRIDGE", "ADAPTION_PROMPT"),
)
_PREFIX = "base_model.model."
_MATRIX = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(?:\.weight)?")
_WHOLE_EMBEDDING = re.compile(rf"(?:^|.*\.)(?:{'|'.join(EMBEDDINGS)})\.(?:base_layer\.)?weight")
_PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Initialisations that result in an ordinary adapter; all others also change the base's weights."""
_REPEATED_INITS = ("pissa", "olora")
"""Initialisations that peft repeats exactly when it loads the adapter onto the original base."""

Config = Mapping[str, Any]
_ConfigRule = tuple[Callable[[Config], bool], str]


def _initialisation(config: Config) -> str:
    """``init_lora_weights`` in lower case if it names a method; empty for a plain yes or no."""
    value = config.get("init_lora_weights")
    return value.lower() if isinstance(value, str) else ""


_MERGED: tuple[_ConfigRule, ...] = (
    (lambda c: bool(c.get("use_dora")), "use_dora: vLLM does not support DoRA"),
    (lambda c: bool(c.get("lora_bias")), "lora_bias: vLLM does not support biases in adapters"),
    (lambda c: c.get("bias", "none") != "none", "bias is {bias!a}: vLLM would ignore the trained biases"),
    (lambda c: bool(c.get("modules_to_save")), "modules_to_save {modules_to_save}: vLLM would ignore them"),
    (lambda c: bool(c.get("trainable_token_indices")), "trainable_token_indices: vLLM would ignore the trained tokens"),
    (
        lambda c: _initialisation(c) in _REPEATED_INITS,
        "init_lora_weights is {init_lora_weights!a}: it also changed the base's weights, which only peft reproduces",
    ),
)
_REFUSED: tuple[_ConfigRule, ...] = (
    (
        lambda c: bool(c.get("layer_replication")),
        "layer_replication: copies of a layer share its weights, so they cannot be merged separately",
    ),
    (lambda c: bool(c.get("target_parameters")), "target_parameters {target_parameters}: not supported"),
    (
        lambda c: bool(c.get("alora_invocation_tokens")),
        "alora_invocation_tokens: active only after certain tokens, which neither vLLM nor a merge supports",
    ),
    (
        lambda c: bool(c.get("megatron_config")),
        "megatron_config: peft would import a module named by the adapter",
    ),
    (lambda c: bool(c.get("use_qalora")), "use_qalora: vLLM does not support QALoRA"),
    (lambda c: bool(c.get("use_bdlora")), "use_bdlora: vLLM does not support block-diagonal LoRA"),
    (lambda c: bool(c.get("kasa_config")), "kasa_config: vLLM does not support KaSA, which changes the base"),
    (lambda c: bool(c.get("arrow_config")), "arrow_config: vLLM does not support routing between adapters"),
    (lambda c: bool(c.get("monteclora_config")), "monteclora_config: vLLM does not support sampled adapters"),
)

_CONTRADICTIONS: tuple[_ConfigRule, ...] = (
    *(
        (
            lambda c, field=field: isinstance(c.get("target_modules"), str) and c.get(field) is not None,
            f"{field} {{{field}!a}} beside target_modules as one text ({{target_modules!a}})",
        )
        for field in ("layers_to_transform", "layers_pattern")
    ),
    (
        lambda c: bool(c.get("layers_pattern")) and c.get("layers_to_transform") is None,
        "layers_pattern {layers_pattern!a} without layers_to_transform",
    ),
)
"""What peft's LoraConfig refuses, which vLLM does not read."""
_PLAIN_NAMES = (
    "give target_modules as a list of names beside layers_to_transform, or name the layers in the pattern and leave "
    "layers_to_transform and layers_pattern out"
)


class Matrices(NamedTuple):
    """The LoRA pair of one module: ``a`` of shape (rank, in), ``b`` of shape (out, rank).

    For an embedding, whose weight has shape (vocabulary, width), "in" is the vocabulary.
    """

    a: Tensor
    b: Tensor
    embedding: bool = False


class AdapterContents(NamedTuple):
    """An adapter's weights: LoRA pairs by module, and all other tensors, both without the name prefix."""

    matrices: dict[str, Matrices]
    others: dict[str, Tensor]


def check_config(config: Config, where: str) -> tuple[str, ...]:
    """Why the adapter must be merged, according to adapter_config.json; empty if vLLM can run it.

    Raises ArtifactError for everything that can be neither run nor merged, all problems together, each with ``where``
    in front.
    """
    kind = config.get("peft_type")
    if kind != "LORA":
        hint = SOFT_PROMPT if kind in _SOFT_PROMPTS else MERGE
        raise ArtifactError(f"{where}: peft_type is {kind!a}, not LORA", hint=hint)
    problems = Problems()
    problems.found += [_refused(where, reason, config, MERGE) for refuses, reason in _REFUSED if refuses(config)]
    if _initialisation(config) not in ("", *_PLAIN_INITS, *_REPEATED_INITS):
        reason = "init_lora_weights is {init_lora_weights!a}: it changed the base's weights irreproducibly"
        problems.found.append(_refused(where, reason, config, CONVERT))
    for name in ("r", "lora_alpha", "target_modules"):
        if config.get(name) is None:
            problems.found.append(
                ArtifactError(f"{where}: {name} is missing; vLLM requires it", hint="save the adapter with peft")
            )
    problems.found += [
        ArtifactError(f"{where}: {reason.format_map(config)}: peft refuses to load it", hint=_PLAIN_NAMES)
        for refuses, reason in _CONTRADICTIONS
        if refuses(config)
    ]
    alpha = config.get("lora_alpha", 1)
    if alpha is not None and (type(alpha) not in (int, float) or not abs(alpha) <= MAX_ALPHA):  # catches NaN too
        problems.found.append(
            ArtifactError(f"{where}: lora_alpha {alpha!a:.80} is not a number", hint="save the adapter again")
        )
    ranks: set[int] = set()
    if config.get("r") is not None:
        with problems.noted():
            ranks = declared_ranks(config, where)
    problems.raise_any()
    too_large = (f"rank {rank} is above {MAX_RANK}, vLLM's maximum" for rank in ranks if rank > MAX_RANK)
    return (*(reason.format_map(config) for applies, reason in _MERGED if applies(config)), *too_large)


def _refused(where: str, reason: str, config: Config, hint: str) -> ArtifactError:
    return ArtifactError(f"{where}: {reason.format_map(config)}", hint=hint)


def declared_ranks(config: Config, where: str) -> set[int]:
    """All ranks in the configuration, from ``r`` and ``rank_pattern``. Raises ArtifactError for an invalid one."""
    pattern = config.get("rank_pattern") or {}
    ranks = [config.get("r"), *(pattern.values() if isinstance(pattern, Mapping) else [pattern])]
    for rank in ranks:
        if type(rank) is not int or rank < 1:
            raise ArtifactError(f"{where}: rank {rank!a} is not a positive integer", hint="save the adapter again")
    return {rank for rank in ranks if rank is not None}


def read_contents(
    tensors: Mapping[str, Tensor], config: Config, reference: str
) -> tuple[AdapterContents, tuple[str, ...]]:
    """The adapter's weights as LoRA pairs and other tensors, and the reasons to merge them, if any.

    Raises ArtifactError for an incomplete pair, and for tensors that the configuration does not declare.
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
        elif _is_declared(name, config):
            others[name.removeprefix(_PREFIX)] = tensor
        else:
            raise ArtifactError(
                f"{reference}: {_unexpected_tensor(name)}", hint="save the adapter again, or merge it yourself"
            )
    if not sides and not others:
        raise ArtifactError(
            f"{reference}: the adapter has no tensors, so it would change nothing", hint="save it again"
        )
    ranks = declared_ranks(config, reference)
    matrices = {key[0]: _pair(*key, pair_sides, ranks, reference) for key, pair_sides in sides.items()}
    embeddings = [name for name in matrices if name.rpartition(".")[2] in EMBEDDINGS]
    embeddings += [name for name in others if _WHOLE_EMBEDDING.fullmatch(name) and not is_saved(name, config)]
    reasons = [f"{name}: vLLM ignores or only partly applies adapters on embeddings" for name in embeddings]
    return AdapterContents(matrices, others), tuple(reasons)


def _is_declared(name: str, config: Config) -> bool:
    """Whether adapter_config.json declares a tensor that is not a LoRA matrix."""
    if "lora_magnitude_vector" in name:
        return bool(config.get("use_dora"))
    if name.endswith(".lora_B.bias"):
        return bool(config.get("lora_bias"))
    if ".token_adapter." in name:
        return bool(config.get("trainable_token_indices"))
    if (name.endswith(".bias") and config.get("bias", "none") != "none") or _WHOLE_EMBEDDING.fullmatch(name):
        return True
    return is_saved(name, config)


def is_saved(name: str, config: Config) -> bool:
    """Whether a tensor belongs to a module that the configuration has saved whole.

    As in peft 0.21 (``_set_trainable``), where a name in ``modules_to_save`` need not begin after a dot: ``norm``
    stands for ``post_attention_layernorm``, too.
    """
    saved = [module for module in config.get("modules_to_save") or () if isinstance(module, str) and module]
    if config.get("ensure_weight_tying") and not {*saved}.isdisjoint(EMBEDDINGS):
        saved += EMBEDDINGS  # the other one of two tied embeddings is trained and saved with it
    parts = name.removeprefix(_PREFIX).split(".")
    modules = (".".join(parts[:end]) for end in range(1, len(parts)))
    return any(module.endswith(tuple(saved)) for module in modules)


def _unexpected_tensor(name: str) -> str:
    if "lora_magnitude_vector" in name:
        return f"{name}: a DoRA magnitude, but adapter_config.json does not set use_dora"
    return f"{name}: not a LoRA matrix, and adapter_config.json does not declare it"


def _pair(module: str, embedding: bool, sides: Mapping[str, Tensor], ranks: set[int], reference: str) -> Matrices:
    hint = "the adapter is incomplete or damaged: save it again"
    for side in "AB":
        if side not in sides:
            raise ArtifactError(f"{reference}: {module} has no lora_{side}", hint=hint)
    a, b = sides["A"], sides["B"]
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        raise ArtifactError(
            f"{reference}: {module}: the shapes of lora_A {list(a.shape)} and lora_B {list(b.shape)} do not match",
            hint=hint,
        )
    if a.shape[0] not in ranks:
        declared = " or ".join(map(str, sorted(ranks)))
        raise ArtifactError(
            f"{reference}: {module} has rank {a.shape[0]}, but adapter_config.json says {declared}: "
            "its scale, alpha / rank, would be wrong",
            hint="configuration and weights come from different trainings: save both again",
        )
    return Matrices(a, b, embedding)
