"""How many items changed either way: a compressed copy may lose nothing on average and answer differently all the same.

Dutta et al. 2024, Accuracy is Not All You Need, section 3: the share of answers that flip between right and wrong tells
more of a compressed model than the change of its accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ftgate.scoring.scores import PairedScores


def with_flips(details: Mapping[str, Any], scored: PairedScores) -> dict[str, Any]:
    """``details`` with the shares of items that got worse and better, in [0, 1], and a note of them."""
    change = scored.candidate - scored.base
    n = len(change)
    if not n:
        return dict(details)
    worse, better = int(np.sum(change < 0)), int(np.sum(change > 0))
    shares = [f"{100 * count / n:.1f} %" for count in (worse, better)]
    text = f"flips: {worse} of {n} items ({shares[0]}) got worse and {better} ({shares[1]}) better"
    notes = [*details.get("notes", ()), text]
    return {**details, "flips": {"worse": worse / n, "better": better / n}, "notes": notes}
