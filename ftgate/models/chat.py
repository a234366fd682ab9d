"""Which chat template and tokenizer base and candidate are asked with.

Each model is asked in its own template, as it would be deployed; the report says so where they differ. A model without
one is asked in the other's. ``template: base`` in the manifest asks both in the base's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ftgate.config.manifest import TemplateChoice
from ftgate.domain import Model
from ftgate.engines.chat_template import chat_in
from ftgate.engines.template_files import Chat, read_object, read_templates
from ftgate.errors import ArtifactError
from ftgate.models.dimensions import read_dimensions
from ftgate.models.tokenizer import read_tokenizer, template_sha256

ASKED_TEMPLATE, ASKED_TOKENIZER = "template_sha256", "tokenizer"
"""What a model's facts say of a template and a tokenizer that do not lie beside its full weights."""
_ROLES = ("bos_token", "eos_token", "unk_token")
"""Tokens that matter when a model answers; a padding token, which trainers like to add, does not."""
_ONLY_FOR_BATCHES = ("padding", "truncation")
"""Parts of tokenizer.json that trainers leave there and that engines override."""


def with_chats(base: Model, candidate: Model, choice: TemplateChoice) -> tuple[Model, Model]:
    """Both models with what they are asked with.

    Raises ArtifactError if there is no template for one of them, or if the candidate's template needs tokens for which
    there are no embeddings.
    """
    if "endpoint" in (base.kind, candidate.kind):
        return base, candidate
    of_base, of_candidate = chat_in(base.path), chat_in(candidate.path)
    if choice == "base" or not of_candidate.template:
        require_template(base.path, base.reference)
    if not of_base.template:
        own = of_candidate._replace(tokenizer=base.path)
        base = _asked(base, own, {"template": "candidate's", ASKED_TEMPLATE: template_sha256(*own[1:])})
        of_base = own
    unclear = bool(read_templates(candidate.path).names) and not of_candidate.template
    if choice == "candidate" and (candidate.kind == "full" or unclear):
        require_template(candidate.path, candidate.reference, or_base=True)
    if candidate.kind == "full":
        given = of_candidate if choice == "candidate" else of_base._replace(tokenizer=candidate.path)
    else:
        asks_own = choice == "candidate" and bool(of_candidate.template)
        template = of_candidate if asks_own else of_base
        given = template._replace(tokenizer=_tokenizer_of(candidate, base, template))
    candidate = replace(candidate, base=base if candidate.kind == "adapter" else candidate.base)
    return base, _with_chat(candidate, given, of_base, of_candidate)


def chat_notes(base: Model, candidate: Model) -> Iterator[str]:
    """What a reader must know about how the two are asked; nothing if they are asked alike."""
    if "chat" in base.facts:
        yield "the base has no chat template of its own: both models were asked in the candidate's"
    chat: Mapping[str, str] = candidate.facts.get("chat", {})
    if chat.get("template") == "its own":
        yield (
            f"the candidate was asked in its own chat template (sha256 {chat['own_template_sha256'][:12]}), which "
            f"differs from the base's (sha256 {chat['base_template_sha256'][:12]}); `template: base` in the manifest "
            "asks both in the base's"
        )
    if chat.get("template") == "base's":
        yield (
            "both models were asked in the base's chat template, as the manifest says; the candidate's own differs "
            f"(sha256 {chat['own_template_sha256'][:12]})"
        )
    if chat.get("tokenizer") == "its own" and candidate.kind == "adapter":
        yield "the candidate was asked with its own tokenizer, which differs from the base's"
    if trained_on := candidate.facts.get("trained_on"):
        yield origin_note(trained_on, base)


def origin_note(trained_on: str, base: Model) -> str:
    """What to say of an adapter whose configuration names another model than its base."""
    return (
        f"the adapter's configuration says that it was trained on {trained_on[:100]}, and the base is "
        f"{base.reference}: make sure that they are the same model"
    )


def require_template(folder: Path, reference: str, *, or_base: bool = False) -> None:
    """Raise ArtifactError unless the tokenizer in ``folder`` has a chat template that conversations use.

    ``or_base``: the base's might be used instead, which the advice then says.
    """
    otherwise = ", or set `template: base` in the manifest to ask both in the base's" if or_base else ""
    templates = read_templates(folder)
    if templates.default:
        return
    if templates.names:
        raise ArtifactError(
            f"{reference}: several chat templates ({', '.join(templates.names)[:200]}), and none is called default",
            hint=f"give the one used in training the name default{otherwise}",
        )
    raise ArtifactError(
        f"{reference}: the tokenizer has no chat template",
        hint=f"save the template used in training, in tokenizer_config.json or chat_template.jinja{otherwise}",
    )


def _with_chat(candidate: Model, given: Chat, of_base: Chat, own: Chat) -> Model:
    """The candidate with ``given``, and in its facts how that differs from the base's, if it does."""
    facts: dict[str, str] = {}
    if own.template and own[1:] != of_base[1:]:
        facts["template"] = "its own" if given[1:] == own[1:] else "base's"
        facts["base_template_sha256"] = template_sha256(*of_base[1:])
        facts["own_template_sha256"] = template_sha256(*own[1:])
    beside_weights = own if candidate.kind == "full" else of_base
    if given[1:] != beside_weights[1:]:
        facts[ASKED_TEMPLATE] = template_sha256(*given[1:])
    if candidate.kind == "adapter" and given.tokenizer == candidate.path:
        facts[ASKED_TOKENIZER] = "its own"
    if given != beside_weights:
        return _asked(candidate, given, facts)
    # An adapter is asked as its base, which may be asked in another's words itself.
    chat = candidate.base.chat if candidate.kind == "adapter" and candidate.base is not None else None
    return _asked(candidate, chat, facts) if facts else replace(candidate, chat=chat)


def asked_differently(model: Model) -> Mapping[str, str]:
    """How what ``model`` is asked with differs from what lies beside its full weights; empty if it does not.

    The SHA-256 (hex) of the template, and whether the tokenizer is an adapter's own: what the digests of the weights do
    not tell.
    """
    chat = model.facts.get("chat", {})
    return {name: chat[name] for name in (ASKED_TEMPLATE, ASKED_TOKENIZER) if name in chat}


def _asked(model: Model, chat: tuple[Path, str, str] | None, facts: Mapping[str, str]) -> Model:
    return replace(model, chat=chat, facts={**model.facts, "chat": facts})


def _tokenizer_of(candidate: Model, base: Model, template: Chat) -> Path:
    """The folder of an adapter's tokenizer: its own where that reads text differently and its tokens have embeddings.

    Raises ArtifactError if the template writes tokens without embeddings, or if new embeddings have no tokenizer.
    """
    resized = "vocabulary" in candidate.facts
    if not resized and _reads_alike(base.path, candidate.path):
        return base.path
    rows = candidate.facts.get("vocabulary") or read_dimensions(base.path, base.reference).vocabulary
    beyond = sorted(text for text, number in token_ids(candidate.path).items() if 0 < rows <= number)
    if not beyond:
        return candidate.path
    used = [text for text in beyond if text in template.template or text in template.tool_template]
    if used or resized:
        what = f"its chat template writes {used[0]!a:.60}, which has" if used else f"{len(beyond):,} of its tokens have"
        raise ArtifactError(
            f"{candidate.reference}: {what} no embedding: there are {rows:,}",
            hint="save the adapter with its resized embeddings (modules_to_save), or its tokenizer without them",
        )
    return base.path


def unused_tokens(candidate: Model, base: Model) -> list[str]:
    """Tokens of an adapter's own tokenizer that were left aside, because there are no embeddings for them."""
    if candidate.kind != "adapter" or candidate.facts.get("chat", {}).get("tokenizer"):
        return []
    rows = read_dimensions(base.path, base.reference).vocabulary
    return sorted(text for text, number in token_ids(candidate.path).items() if 0 < rows <= number)


def token_ids(folder: Path) -> dict[str, int]:
    """The number of each token in ``folder``'s tokenizer.json; empty if it has none, or none that is a plain list."""
    document = read_object(folder / "tokenizer.json")
    model = document.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    ids = (
        {text: number for text, number in vocabulary.items() if isinstance(number, int)}
        if isinstance(vocabulary, dict)
        else {}
    )
    for token in document.get("added_tokens") or ():
        if isinstance(token, dict) and isinstance(token.get("id"), int):
            ids[str(token.get("content"))] = token["id"]
    return ids


def _reads_alike(base: Path, adapter: Path) -> bool:
    """Whether an adapter's tokenizer gives the same tokens as the base's. One without a tokenizer does."""
    one, other = read_tokenizer(base), read_tokenizer(adapter)
    if not other.vocabulary:
        return True
    if any(role in other.special and other.special[role] != one.special.get(role) for role in _ROLES):
        return False
    return one.vocabulary == other.vocabulary or _content(base) == _content(adapter)


def _content(folder: Path) -> dict[str, Any] | Path:
    """What decides how tokenizer.json reads text; the folder itself where there is no such file.

    Written anew by the library, as versions of it write merges and defaults in different ways.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    try:
        document = json.loads(Tokenizer.from_file(str(path)).to_str()) if path.is_file() else {}
    except Exception:  # the library raises bare exceptions, for what it cannot read
        document = read_object(path)
    return {name: part for name, part in document.items() if name not in _ONLY_FOR_BATCHES} if document else folder
