"""NaN, infinity and zeros in the weights of a run's models, as far as they can be read in seconds."""

from __future__ import annotations

from ftgate.domain import Model
from ftgate.models.nan_scan import SAMPLE_BYTES
from ftgate.models.open import check_numbers, quickly_read
from ftgate.preflight.fit import CheckState


def check_numbers_of(checks: CheckState) -> None:
    """Refuse weights with NaN or infinity, and full weights of zeros; warn of matrices of zeros that the base lacks.

    Of a large folder the beginning of each tensor is read, and nothing of remote weights that are not here.
    """
    draft = checks.draft
    zeros_of_base: set[str] = set()
    for role, model in (
        ("base", draft.base),
        ("candidate", draft.candidate),
        ("incumbent", checks.incumbent),
        ("judge", draft.judge),
    ):
        if model is None or model.kind == "endpoint":
            continue
        if model.headers_only:
            checks.notes.append(f"{model.reference}: not checked for NaN and infinity; a run does that")
            continue
        with draft.problems.noted():
            zeros = _read(checks, model)
            if role == "base":
                zeros_of_base = set(zeros)
            elif role != "judge":
                _warn_of_zeros(checks, model, [name for name in zeros if name not in zeros_of_base])


def _read(checks: CheckState, model: Model) -> list[str]:
    """The names of its matrices of zeros. Raises ArtifactError as :func:`ftgate.models.open.check_numbers`."""
    most = quickly_read(model)
    if most is not None:
        checks.notes.append(
            f"{model.reference}: only the first {SAMPLE_BYTES >> 10} KiB of each tensor were searched for NaN, "
            "infinity and zeros"
        )
    return check_numbers(model, most)


def _warn_of_zeros(checks: CheckState, model: Model, zeros: list[str]) -> None:
    if zeros:
        checks.warnings.append(
            f"{model.reference}: {len(zeros):,} of its weight matrices are all zeros, and not so in the base; the "
            f"first is {zeros[0]}: if they were not set to zero on purpose, save the model again"
        )
