"""One sentence for each training setting that may explain a loss or a missing gain; "" if the setting is fine.

The ranges are those of common practice: LoRA adapters use about ten times the learning rate of full weights, alpha is
one or two times the rank, and one to three epochs are enough for instruction data.
"""

from __future__ import annotations

import math

from ftgate.report import numbers
from ftgate.report.advice.recipe import Recipe, short

HIGH_RATE, LOW_RATE = 1e-4, 1e-5
"""Learning rates of a LoRA adapter: above the first, forgetting is likely; up to the second, it has another cause."""
FULL_SHARE = 0.1
"""The same for full weights, as a share of the adapter's."""
MANY_EPOCHS = 3.0
HIGH_RANK, LOW_RANK = 32, 8
HIGH_SCALE, LOW_SCALE = 2.0, 0.5
START = 0.1
"""An evaluation before this epoch is one of the base."""
FELL = 0.95
"""Training loss fell if it ended below this share of its first value."""
SMOOTHING = 0.1


def learning_rate(recipe: Recipe) -> str:
    """The first remedy against forgetting: a lower learning rate, where it can be lower."""
    rate = recipe.learning_rate
    if rate is None:
        shorter = "" if recipe.epochs is not None else ": if that is not enough, train for fewer steps"
        return f"Train again at a third of the learning rate{shorter}."
    now = f"{numbers.learning_rate(rate)}{recipe.source('learning_rate')}"
    high, low = _rates(recipe)
    if rate <= low:
        return f"Look at how long, and on what, it was trained: the learning rate, {now}, is already low."
    if rate <= high:
        return f"Train again at a learning rate of {_rounded(max(low, rate / 3))}: {now} can go lower."
    merged = "" if recipe.adapter else f" (if an adapter was merged into them, use {numbers.learning_rate(HIGH_RATE)})"
    lower = _rounded(min(high, rate / 2))
    return f"Train again at a learning rate of {lower} or lower: {now} is high for {_trained(recipe)}{merged}."


def overtraining(recipe: Recipe, *, only_harm: bool = True) -> str:
    """Too many epochs. ``only_harm``: say nothing if evaluation loss was still falling at the end."""
    if recipe.overfit:
        lowest, epoch = recipe.training["eval_loss_lowest"], recipe.training.get("eval_loss_lowest_epoch", 0)
        at = f"epoch {numbers.brief(epoch)}"
        what = f"Stop at {at}" if epoch >= START else "Check that it was trained on what it is evaluated on"
        return (
            f"{what}: evaluation loss was lowest at {at} ({numbers.significant(lowest)}) and rose to "
            f"{numbers.significant(recipe.training['eval_loss_last'])} by the end{recipe.source('eval_loss_lowest')}."
        )
    learning = only_harm and "eval_loss_last" in recipe.training
    if recipe.epochs is None or recipe.epochs <= MANY_EPOCHS or recipe.best_kept or learning:
        return ""
    return f"Train for 1 to 3 epochs: it was {numbers.brief(recipe.epochs)}{recipe.source('epochs')}."


def strength(recipe: Recipe) -> str:
    """A large alpha / rank, which scales every update."""
    if recipe.rank is None or recipe.alpha is None or recipe.scale is None or recipe.scale <= HIGH_SCALE:
        return ""
    formula = " (rsLoRA: alpha / √rank)" if recipe.rslora else ""
    largest_alpha = HIGH_SCALE * (math.sqrt(recipe.rank) if recipe.rslora else recipe.rank)
    return (
        f"Lower alpha to {numbers.brief(math.floor(largest_alpha))} or less: alpha {numbers.brief(recipe.alpha)} at "
        f"rank {numbers.brief(recipe.rank)} multiplies every update by {numbers.brief(recipe.scale)}{formula}."
    )


def breadth(recipe: Recipe) -> str:
    """A high rank, feed-forward targets, or both."""
    rank = recipe.rank or 0
    attention = f"the attention projections alone ({short(recipe.attention or ('q_proj', 'v_proj'))})"
    if rank >= HIGH_RANK and recipe.wide:
        return (
            f"Try rank 8 to 16, or train {attention}: rank {numbers.brief(rank)} on {short(recipe.targets)} can "
            "overwrite much of the base."
        )
    if rank >= HIGH_RANK:
        return f"Try rank 8 to 16, which leaves fewer ways to overwrite the base: it was {numbers.brief(rank)}."
    if recipe.wide:
        return f"Train {attention}: the adapter also changes the feed-forward layers, where much knowledge sits."
    return ""


def full_weights(recipe: Recipe) -> str:
    """Full fine-tuning where an adapter might do."""
    if recipe.kind != "full":
        return ""
    return (
        "Train a LoRA adapter of rank 8 to 16, which moves far less: the candidate has full weights, which forget most "
        "(unless an adapter was merged into them)."
    )


def softer(recipe: Recipe) -> str:
    """Ways to train a less confident model that were not used yet."""
    smoothing, epochs = recipe.training.get("label_smoothing"), recipe.epochs
    ways = []
    if smoothing is None or smoothing < SMOOTHING:
        now = "" if smoothing is None else f" instead of {numbers.brief(smoothing)}{recipe.source('label_smoothing')}"
        ways.append(f"with label smoothing of {SMOOTHING:g}{now}")
    if epochs is None:
        ways.append("for fewer epochs")
    elif 1 < epochs <= MANY_EPOCHS and not recipe.overfit:
        ways.append(f"for fewer epochs than {numbers.brief(epochs)}{recipe.source('epochs')}")
    return f"Train {' or '.join(ways)} to fix the model itself." if ways else ""


def divergence(recipe: Recipe) -> str:
    """Training that diverged before its end."""
    if not recipe.diverged:
        return ""
    lowest, last = (numbers.significant(recipe.training[f"loss_{when}"]) for when in ("lowest", "last"))
    rate, (_, low) = recipe.learning_rate, _rates(recipe)
    lower = "Lower the learning rate, clip"
    if rate is not None:
        slower = _rounded(max(low, rate / 3))
        lower = (
            f"Lower the learning rate from {numbers.learning_rate(rate)} to {slower}, clip" if rate > low else "Clip"
        )
    return (
        f"{lower} gradients harder, or look for broken rows: training diverged, its loss ended at {last}, well above "
        f"the lowest, {lowest}{recipe.source('loss_last')}."
    )


def too_gentle(recipe: Recipe) -> str:
    """A low learning rate, or less than one epoch."""
    high, low = _rates(recipe)
    rate, epochs = recipe.learning_rate, recipe.epochs
    steps = []
    if rate is not None and rate <= low:
        steps.append(
            f"Train again at a learning rate of {numbers.learning_rate(high / 2)} to {numbers.learning_rate(high)}: "
            f"{numbers.learning_rate(rate)}{recipe.source('learning_rate')} is low for {_kind(recipe)}."
        )
    if epochs is not None and epochs < 1:
        trained = f"{numbers.brief(epochs)} of an epoch was trained{recipe.source('epochs')}"
        steps.append(f"Go through all of the data: only {trained}.")
    return " ".join(steps)


def too_small(recipe: Recipe) -> str:
    """An adapter with a low rank or a small alpha / rank."""
    if not recipe.adapter or recipe.rank is None:
        return ""
    if recipe.scale is not None and recipe.scale < LOW_SCALE:
        return (
            f"Make alpha once or twice the rank: alpha {numbers.brief(recipe.alpha or 0)} at rank "
            f"{numbers.brief(recipe.rank)} scales every update by {numbers.brief(recipe.scale)}."
        )
    if recipe.rank < LOW_RANK and recipe.targets and not recipe.wide:
        return (
            f"Try rank 16, or all linear layers: rank {numbers.brief(recipe.rank)} on {short(recipe.targets)} has "
            "little capacity."
        )
    return ""


def learnt(recipe: Recipe) -> str:
    """Whether training loss fell; empty if training diverged, which :func:`divergence` reports."""
    first, last = recipe.training.get("loss_first"), recipe.training.get("loss_last")
    if first is None or last is None or recipe.diverged:
        return ""
    change = f"from {numbers.significant(first)} to {numbers.significant(last)}{recipe.source('loss_last')}"
    if last < FELL * first:
        return f" Training loss fell {change}, so it did learn what it was given."
    return f" Training loss hardly moved, {change}."


def _rates(recipe: Recipe) -> tuple[float, float]:
    """The high and the low learning rate for what was trained."""
    share = 1.0 if recipe.adapter else FULL_SHARE
    return share * HIGH_RATE, share * LOW_RATE


def _kind(recipe: Recipe) -> str:
    return "a LoRA adapter" if recipe.adapter else "full weights"


def _trained(recipe: Recipe) -> str:
    """What was trained, with its rank and modules."""
    if recipe.rank is None:
        return _kind(recipe)
    on = f" on {short(recipe.targets)}" if recipe.targets else ""
    return f"rank {numbers.brief(recipe.rank)}{on}"


def _rounded(rate: float) -> str:
    """A learning rate to try: one digit is enough."""
    return numbers.learning_rate(float(f"{rate:.0e}"))
