"""What to try next where a measurement did not pass: the article's remedies, fitted to how the candidate was made.

Source: GenAI Systems Lab, "How to Know If Your Fine-Tune Actually Helped". The text is not yet escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ftgate.report import view
from ftgate.report.document import MeasurementReport, Report, SliceReport
from ftgate.report.words import limit_of, straddles

RETRAIN_DROP = 0.08
"""The article: retrain with a lower learning rate when forgetting exceeds 8 %."""
HIGH_RANK = 32
HIGH_SCALE = 2.0
FEED_FORWARD = frozenset({"gate_proj", "up_proj", "down_proj", "fc1", "fc2", "c_fc", "all-linear"})
SMALLEST_SLICE = 20


def next_steps(report: Report) -> list[str]:
    """One suggestion a line, in the order of the measurements."""
    made = _candidate(report)
    steps: list[str] = []
    for name, m in report.measurements.items():
        if m.status == "error":
            steps.append(
                f"{view.title(name)}: the gate failed, not the model; put right what the reason names and run again."
            )
        elif m.status == "inconclusive":
            steps.append(_more_evidence(name, m))
            steps += _forgetting(m, made) if name == "forgetting" and _needs_retraining(m) else []
        elif m.status in ("block", "warn"):
            steps += _remedies(name, m, made)
    if not steps and report.verdict == "allow":
        steps.append("Nothing is left to do: every measurement passed.")
    return steps


def _remedies(name: str, m: MeasurementReport, made: Mapping[str, Any]) -> list[str]:
    if name == "forgetting":
        return _forgetting(m, made)
    if name == "tail":
        return _tail(m)
    if name == "calibration":
        return _calibration(m)
    if name == "target":
        return _target(m)
    return [f"{view.title(name)}: {m.reason}"]


def _forgetting(m: MeasurementReport, made: Mapping[str, Any]) -> list[str]:
    steps = [
        f"Forgetting is estimated at {view.amount(m.change, m.unit)}: lower the learning rate (try a third of it) and "
        "train again; if that is not enough, train for fewer steps and mix general instructions into the data."
    ]
    rank, alpha = _number(made, "rank", "lora_rank", "r"), _number(made, "alpha", "lora_alpha")
    targets = _words(made, "targets", "target_modules")
    if made.get("kind") == "full":
        steps.append(
            "The candidate has full weights, which forget most: a LoRA adapter of rank 8 to 16 moves far less."
        )
    if rank is not None and rank >= HIGH_RANK:
        steps.append(f"The adapter's rank is {rank:g}: a rank of 8 to 16 leaves the base fewer ways to be overwritten.")
    if rank and alpha is not None and alpha / rank > HIGH_SCALE:
        steps.append(
            f"alpha {alpha:g} at rank {rank:g} multiplies every update by {alpha / rank:g}: "
            "with alpha at once or twice the rank the same learning rate does less harm."
        )
    wide = [t for t in targets if t in FEED_FORWARD]
    if wide:
        steps.append(
            f"The adapter also changes the feed-forward layers ({', '.join(wide)}), where much knowledge sits: "
            "try the attention projections alone (q_proj, v_proj)."
        )
    return steps


def _needs_retraining(m: MeasurementReport) -> bool:
    return m.change is not None and "judge unfit" not in m.reason and m.change > m.limits.get("warn", RETRAIN_DROP)


def _tail(m: MeasurementReport) -> list[str]:
    steps = [
        "Add queries like those in the tail to the training data: ambiguous, multi-intent and oddly formatted ones."
    ]
    tags = [s for s in m.slices if s.change is not None and s.n >= SMALLEST_SLICE and not _by_distance(s)]
    worst = max(tags, key=lambda s: s.change or 0.0, default=None)
    if worst is not None and (worst.change or 0.0) > 0:
        steps.append(
            f"Tail: start with “{worst.name}”: {view.slice_change(worst, m.unit)} over {view.count(worst.n)} queries, "
            "the worst of the named parts."
        )
    return steps


def _calibration(m: MeasurementReport) -> list[str]:
    step = (
        "fit one temperature on held-out items (temperature scaling): it mends confidence and changes no answer. "
        "If the model must be right by itself, train with label smoothing (0.1) or for fewer epochs."
    )
    gap = _overconfidence(m)
    if gap is not None and gap > 0:
        step = f"the candidate is surer than it is right, by {view.points(gap, signed=False)} on average; {step}"
    return [f"Calibration: {step}"]


def _target(m: MeasurementReport) -> list[str]:
    if m.change is not None and m.change < 0:
        return [
            "Target: the task is done worse than before. Look at the items that flipped, check that labels and chat "
            "template of the training data match the held-out suite, and that training did not diverge."
        ]
    return [
        "Target: no gain. Check that the training data covers it and is formatted as the suite asks, that "
        "the loss fell, and that neither the learning rate nor the number of steps was too low."
    ]


def _more_evidence(name: str, m: MeasurementReport) -> str:
    title = view.title(name)
    if "judge unfit" in m.reason:
        return f"{title}: use a stronger judge, or give reference answers; nothing that an unfit judge says can decide."
    if m.needed_n and m.needed_n > m.n:
        return (
            f"{title}: measure more items, about {view.count(m.needed_n)} instead of {view.count(m.n)}, and run again."
        )
    if straddles(m) or "too few" in m.reason:
        return f"{title}: measure more items than {view.count(m.n)} and run again."
    if limit_of(m) is not None and m.change is None:
        return f"{title}: there is no estimate to decide on; put right what the reason names and run again."
    return f"{title}: clear up the doubt that the reason names and run again."


def _candidate(report: Report) -> dict[str, Any]:
    """Everything that the provenance says about the candidate, nested parts included."""
    found = report.provenance.get("candidate")
    if not isinstance(found, Mapping):
        return {}
    flat: dict[str, Any] = {}
    for key, value in found.items():
        flat.update(value if isinstance(value, Mapping) else {key: value})
    return flat


def _number(made: Mapping[str, Any], *names: str) -> float | None:
    for name in names:
        value = view.finite(made.get(name))
        if value is not None and 0 < value < 1e6:
            return value
    return None


def _words(made: Mapping[str, Any], *names: str) -> list[str]:
    for name in names:
        value = made.get(name)
        if isinstance(value, str):
            return value.replace(",", " ").split()
        if isinstance(value, Sequence):
            return [str(part) for part in value]
    return []


def _by_distance(part: SliceReport) -> bool:
    return part.name == "head" or part.name.startswith("distance decile")


def _overconfidence(m: MeasurementReport) -> float | None:
    """Mean confidence minus accuracy of the candidate."""
    candidate = m.details.get("candidate")
    if not isinstance(candidate, Mapping):
        return None
    confidence, accuracy = view.finite(candidate.get("confidence")), view.finite(candidate.get("accuracy"))
    return None if confidence is None or accuracy is None else confidence - accuracy
