"""Whether the embedding model for distances loads: it embeds one text."""

from __future__ import annotations

import numpy as np

from ftgate.embeddings.base import open_embedder
from ftgate.errors import EngineError
from ftgate.jobs.prepare import JobDraft

_TEXT = "Which of these is the longest river?"


def try_encoder(draft: JobDraft) -> list[str]:
    """Embed one text with the policy's embedding model, if it names one. A failure becomes a problem of ``draft``.

    The notes of the check: of a model whose headers alone were fetched, that it was not tried.
    """
    encoder = draft.encoder
    if encoder is None:
        return []
    if encoder.headers_only:
        return [
            f"{encoder.reference}: not tried, as only headers were downloaded; a run loads it before it asks a model"
        ]
    embedder = open_embedder("encoder", encoder, encoder)
    try:
        with draft.problems.noted():
            if not np.isfinite(embedder.embed([_TEXT])).all():
                raise EngineError(
                    f"{encoder.reference}: its vector of a text contains NaN or infinity",
                    hint="the model overflows or is damaged; embedding: tfidf in the policy needs no model",
                )
    finally:
        embedder.close()
    return []
