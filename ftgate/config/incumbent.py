"""How the candidate is compared with the incumbent: the model that is deployed today, which a release replaces."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ftgate.config.strict import Section

LAST_ALLOWED: Literal["last-allowed"] = "last-allowed"
"""In a manifest: the incumbent is the last candidate of this manifest that the ledger says was allowed."""


class IncumbentSettings(Section):
    """The comparison of the candidate with the incumbent, where the manifest names one."""

    block_drop: float = Field(default=0.05, gt=0, lt=1)
    """The candidate's scores must be less than this share below the incumbent's, on the target task as well. Rises (of
    calibration error and of malformed answers) keep the limits of their measurements."""
    required: bool = False
    """Refuse a manifest that names no incumbent, or the candidate itself as one. The manifest comes with the change,
    which could leave it out."""
    source: Literal["manifest", "last-allowed"] = "manifest"
    """Who says which model is deployed: the manifest, or the ledger whatever the manifest says (`publish.ledger:
    branch`). With `last-allowed` a change cannot name a weak model in place of the deployed one."""
