"""Whether the tokens of each model have embeddings, and whether base and candidate mean the same by a token."""

from __future__ import annotations

from collections.abc import Mapping

from ftgate.domain import Model
from ftgate.engines.chat_template import chat_of
from ftgate.preflight.fit import CheckState

LEAST_SHARED = 0.5
"""The share of the smaller vocabulary that has the same ids in both; fine-tuning adds tokens, and moves none."""


def check_vocabularies(checks: CheckState, vocabularies: Mapping[str, Mapping[str, int]]) -> None:
    """Refuse tokenizers with more tokens than the model has embeddings, and warn of one with another vocabulary.

    ``vocabularies`` are those of the models that answer, by role, each read once; the judge's is read here.
    """
    models = {
        "base": checks.draft.base,
        "candidate": checks.draft.candidate,
        "incumbent": checks.incumbent,
        "judge": checks.draft.judge,
    }
    for role, model in models.items():
        if model is None or role not in checks.asked:
            continue
        vocabulary = _vocabulary(model) if role == "judge" else vocabularies.get(role, {})
        if not vocabulary and model.kind == "full":
            vocabulary = _shared(checks, role, vocabularies)
        rows, embeddings = 1 + max(vocabulary.values(), default=-1), checks.facts[role].vocabulary or 0
        if 0 < embeddings < rows:
            checks.refuse(
                f"{model.reference}: the tokenizer has {rows} tokens, the model {embeddings} embeddings",
                "tokenizer and weights belong to different models: save both again",
            )
        if role != "judge" and (reason := _unlike(vocabularies.get("base", {}), vocabulary)):
            checks.warnings.append(
                f"{model.reference}: {reason}: if the embeddings were not trained anew for it, save the tokenizer "
                "that the candidate was trained with"
            )


def _shared(checks: CheckState, role: str, vocabularies: Mapping[str, Mapping[str, int]]) -> Mapping[str, int]:
    """The vocabulary that was read for an earlier model with the tokenizer of this one; embeddings are its own."""
    return next((v for other, v in vocabularies.items() if checks.asked[other] == checks.asked[role]), {})


def _unlike(base: Mapping[str, int], other: Mapping[str, int]) -> str:
    """That two vocabularies have little in common, in words; empty if they have, or one is unknown."""
    smaller = min(len(base), len(other))
    shared = sum(base.get(token) == place for token, place in other.items())
    if shared >= LEAST_SHARED * smaller:
        return ""
    return f"its tokenizer has another vocabulary than the base's ({shared:,} of {smaller:,} tokens have the same id)"


def _vocabulary(judge: Model) -> Mapping[str, int]:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(chat_of(judge).tokenizer / "tokenizer.json"))
    except Exception:  # the library raises bare exceptions; the engine has readers for other files
        return {}
    vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    return vocabulary
