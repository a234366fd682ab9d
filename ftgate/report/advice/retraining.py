"""One sentence for each setting of a training that explains what was lost or not learnt; "" where nothing is wrong.

The ranges are those of practice: a LoRA adapter learns at about ten times the rate of full weights, alpha is once or
twice the rank, and one to three passes over the data do for instructions. No sentence contradicts a fact.
"""

from __future__ import annotations

import math

from ftgate.report import numbers
from ftgate.report.advice.recipe import Recipe, short
from ftgate.report.schema import MeasurementReport

HIGH_RATE, LOW_RATE = 1e-4, 1e-5
"""Learning rates of a LoRA adapter above which forgetting is no surprise, and up to which it has another cause."""
FULL_SHARE = 0.1
"""The same for full weights, as a share of the adapter's."""
MANY_EPOCHS = 3.0
HIGH_RANK, LOW_RANK = 32, 8
HIGH_SCALE, LOW_SCALE = 2.0, 0.5
START = 0.1
"""The epoch before which an evaluation is one of the base."""
FELL = 0.95
"""Training loss fell if it ended below this share of where it began."""
SMOOTHING = 0.1


def learning_rate(m: MeasurementReport, made: Recipe) -> str:
    """The first remedy against forgetting: a lower learning rate, where it can be lower."""
    lead, rate = f"Forgetting is estimated at {numbers.amount(m.change, m.unit)}", made.learning_rate
    if rate is None:
        shorter = "" if made.epochs is not None else "; if that is not enough, train for fewer steps"
        return f"{lead}: lower the learning rate (try a third of it) and train again{shorter}."
    named = f"{lead}. Learning rate {numbers.learning_rate(rate)}{made.source('learning_rate')}"
    high, low = _rates(made)
    if rate <= low:
        return f"{named} is already low: look instead at how long, and on what, the candidate was trained."
    if rate <= high:
        return f"{named} leaves room: train again at {_rounded(max(low, rate / 3))}."
    merged = "" if made.adapter else f", or at {numbers.learning_rate(HIGH_RATE)} if an adapter was merged into them"
    lower = _rounded(min(high, rate / 2))
    return f"{named} is high for {_what(made)}: train again at {lower} or lower{merged}."


def overtraining(made: Recipe, *, only_harm: bool = True) -> str:
    """More passes over the data than did good. ``only_harm``: unless evaluation loss was still falling at the end."""
    if made.overfit:
        lowest, epoch = made.training["eval_loss_lowest"], made.training.get("eval_loss_lowest_epoch", 0)
        what = "stop there" if epoch >= START else "check that it was trained on what it is evaluated on"
        return (
            f"Evaluation loss was lowest at epoch {numbers.brief(epoch)} ({numbers.significant(lowest)}) and rose to "
            f"{numbers.significant(made.training['eval_loss_last'])} by the "
            f"end{made.source('eval_loss_lowest')}: {what}."
        )
    learning = only_harm and "eval_loss_last" in made.training
    if made.epochs is None or made.epochs <= MANY_EPOCHS or made.best_kept or learning:
        return ""
    return (
        f"The data was seen {numbers.brief(made.epochs)} times{made.source('epochs')}: 1 to 3 epochs are mostly enough."
    )


def strength(made: Recipe) -> str:
    """An adapter whose scale multiplies what the learning rate does."""
    if made.rank is None or made.alpha is None or made.scale is None or made.scale <= HIGH_SCALE:
        return ""
    law = " (rsLoRA: alpha / √rank)" if made.rslora else ""
    most = HIGH_SCALE * (math.sqrt(made.rank) if made.rslora else made.rank)
    return (
        f"alpha {numbers.brief(made.alpha)} at rank {numbers.brief(made.rank)} multiplies every update by "
        f"{numbers.brief(made.scale)}{law}: with alpha {numbers.brief(math.floor(most))} or less the same learning "
        "rate does less harm."
    )


def breadth(made: Recipe) -> str:
    """Too many ways to change the base: rank, targets, or both."""
    rank, few = made.rank or 0, "learn less and forget less"
    attention = f"the attention projections alone ({short(made.attention or ('q_proj', 'v_proj'))})"
    if rank >= HIGH_RANK and made.wide:
        return (
            f"Rank {numbers.brief(rank)} on {short(made.targets)} can overwrite much of the base: try rank 8 to 16, or "
            f"{attention}, which {few}."
        )
    if rank >= HIGH_RANK:
        return f"The adapter's rank is {numbers.brief(rank)}: rank 8 to 16 leaves fewer ways to overwrite the base."
    if made.wide:
        return f"The adapter also changes the feed-forward layers, where much knowledge sits: {attention} {few}."
    return ""


def full_weights(made: Recipe) -> str:
    """Full weights where an adapter might do."""
    if made.kind != "full":
        return ""
    return (
        "The candidate has full weights, which forget most: unless an adapter was merged into them, train a LoRA "
        "adapter of rank 8 to 16 instead, which moves far less."
    )


def softer(made: Recipe) -> str:
    """Training that leaves a model less sure of itself, as far as it was not already so."""
    smoothing, epochs = made.training.get("label_smoothing"), made.epochs
    ways = []
    if smoothing is None or smoothing < SMOOTHING:
        now = f" instead of {numbers.brief(smoothing)}{made.source('label_smoothing')}" if smoothing is not None else ""
        ways.append(f"with label smoothing of {SMOOTHING:g}{now}")
    if epochs is None:
        ways.append("for fewer epochs")
    elif 1 < epochs <= MANY_EPOCHS and not made.overfit:
        ways.append(f"for fewer epochs than {numbers.brief(epochs)}{made.source('epochs')}")
    return f"Calibration: if the model must be right by itself, train {' or '.join(ways)}." if ways else ""


def divergence(made: Recipe) -> str:
    """A training that came apart before its end."""
    if not made.diverged:
        return ""
    lowest, last = (numbers.significant(made.training[f"loss_{when}"]) for when in ("lowest", "last"))
    rate, (_, low) = made.learning_rate, _rates(made)
    lower = "lower the learning rate, "
    if rate is not None:
        slower = _rounded(max(low, rate / 3))
        lower = f"lower the learning rate from {numbers.learning_rate(rate)} to {slower}, " if rate > low else ""
    return (
        f"Target: training loss ended at {last}, well above its lowest {lowest}{made.source('loss_last')}: training "
        f"came apart; {lower}clip gradients harder, or look for broken rows."
    )


def too_gentle(made: Recipe) -> str:
    """Too small or too few steps to learn anything."""
    high, low = _rates(made)
    rate, epochs = made.learning_rate, made.epochs
    found = []
    if rate is not None and rate <= low:
        found.append(
            f"learning rate {numbers.learning_rate(rate)}{made.source('learning_rate')} is low for {_kind(made)}: try "
            f"{numbers.learning_rate(high / 2)} to {numbers.learning_rate(high)}"
        )
    if epochs is not None and epochs < 1:
        found.append(
            f"only {numbers.brief(epochs)} of an epoch was trained{made.source('epochs')}: go through all of the data"
        )
    return f"Target: {'; '.join(found)}." if found else ""


def too_small(made: Recipe) -> str:
    """An adapter with too little room, or too little say."""
    if not made.adapter or made.rank is None:
        return ""
    if made.scale is not None and made.scale < LOW_SCALE:
        return (
            f"Target: alpha {numbers.brief(made.alpha or 0)} at rank {numbers.brief(made.rank)} scales every update by "
            f"{numbers.brief(made.scale)}: make alpha once or twice the rank."
        )
    if made.rank < LOW_RANK and made.targets and not made.wide:
        return (
            f"Target: rank {numbers.brief(made.rank)} on {short(made.targets)} is little room: try rank 16, or all "
            "linear layers."
        )
    return ""


def learnt(made: Recipe) -> str:
    """A sentence on whether training loss fell, unless it came apart, which is a point of its own."""
    first, last = made.training.get("loss_first"), made.training.get("loss_last")
    if first is None or last is None or made.diverged:
        return ""
    change = f"from {numbers.significant(first)} to {numbers.significant(last)}{made.source('loss_last')}"
    if last < FELL * first:
        return f" Training loss fell {change}, so it did learn what it was given."
    return f" Training loss hardly moved, {change}."


def _rates(made: Recipe) -> tuple[float, float]:
    """The high and the low learning rate for what was trained."""
    share = 1.0 if made.adapter else FULL_SHARE
    return share * HIGH_RATE, share * LOW_RATE


def _kind(made: Recipe) -> str:
    return "a LoRA adapter" if made.adapter else "full weights"


def _what(made: Recipe) -> str:
    """What was trained, with its rank and modules."""
    if made.rank is None:
        return _kind(made)
    on = f" on {short(made.targets)}" if made.targets else ""
    return f"rank {numbers.brief(made.rank)}{on}"


def _rounded(rate: float) -> str:
    """A learning rate to try: one digit is enough."""
    return numbers.learning_rate(float(f"{rate:.0e}"))
