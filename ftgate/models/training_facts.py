"""How a candidate was trained, from the text files that trainers leave beside the weights.

All of it is a stranger's claim that only serves to word advice: what is missing, odd or too large is left out, and
nothing here raises. ``training_args.bin`` is a pickle and is never opened.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ftgate.artifacts.snapshot import Snapshot

STATE = "trainer_state.json"
"""What transformers' Trainer logged as it went: the surest source."""
RESULTS = ("train_results.json", "all_results.json")
"""Its ``save_metrics``."""
SETTINGS = (
    "training_args.json",
    "args.json",  # ms-swift
    "training_args.yaml",  # LLaMA-Factory, and llamaboard_config.yaml from its web page
    "training_args.yml",
    "axolotl_config.yaml",
    "axolotl_config.yml",
    "llamaboard_config.yaml",
)
"""What training was asked to do."""
CARD = "README.md"
"""The model card: the list that Trainer writes into it, and the configuration that axolotl does."""
MOST_BYTES = 20_000_000
"""A larger file is left out."""

_ASKED = {
    "learning_rate": "learning_rate",
    "num_train_epochs": "epochs_planned",
    "num_epochs": "epochs_planned",
    "max_steps": "steps_planned",
    "training_steps": "steps_planned",
    "label_smoothing_factor": "label_smoothing",
    "load_best_model_at_end": "best_kept",
}
_LOSSES = ("loss_first", "loss_lowest", "loss_last", "eval_loss_lowest", "eval_loss_last")
_MOST: Mapping[str, float] = {
    "learning_rate": 10,
    "epochs": 1e5,
    "epochs_planned": 1e5,
    "steps": 1e12,
    "steps_planned": 1e12,
    "label_smoothing": 1,
    "eval_loss_lowest_epoch": 1e5,
    **dict.fromkeys(_LOSSES, 1e6),
}
"""Every number above 0 that is believed up to its limit; others are not what they say they are."""
_MAY_BE_ZERO = ("label_smoothing", "eval_loss_lowest_epoch", *_LOSSES)
# Trainers write YAML in block style, one setting a line. Reading the lines spares us a parser that a file of nested
# references can keep busy for hours, and takes the same list from a model card.
_LINE = re.compile(rf"^(?:- )?(?:train\.)?(?P<name>{'|'.join(_ASKED)}): *['\"]?(?P<value>[^\s'\"#]{{1,32}})", re.M)
_STRETCHES = 10


def training_facts(snapshot: Snapshot) -> dict[str, Any]:
    """What the snapshot's files say about its training, and in ``files`` which facts came from which file.

    ``learning_rate`` is the peak; ``epochs`` and ``steps`` were done, ``…_planned`` asked for. Losses are means over
    tenths of the training, ``eval_loss_…`` single evaluations. ``best_kept``: the best checkpoint was restored at the
    end. Only what is known is in it; nothing known gives an empty dictionary.
    """
    facts: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name in (STATE, *RESULTS, *SETTINGS, CARD):
        for fact, value in _claims(snapshot, name).items():
            # A log has gaps, so it shows at most the peak: what was asked for counts when it is higher.
            higher = fact == "learning_rate" and origin.get(fact) == STATE and value > facts[fact]
            if fact not in facts or higher:
                facts[fact], origin[fact] = value, name
    if not facts:
        return {}
    files = {name: [fact for fact in facts if origin[fact] == name] for name in origin.values()}
    return {**facts, "files": files}


def _claims(snapshot: Snapshot, name: str) -> dict[str, Any]:
    """The believable facts of one file."""
    text = _text(snapshot, name)
    if not text:
        return {}
    if not name.endswith(".json"):
        return _asked((found["name"], found["value"]) for found in _LINE.finditer(text))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    if name == STATE:
        return _done(content)
    return _believed({"epochs": content.get("epoch")}) if name in RESULTS else _asked(content.items())


def _text(snapshot: Snapshot, name: str) -> str:
    if name not in snapshot.files or snapshot.files[name].size > MOST_BYTES:
        return ""
    try:
        with (snapshot.path / name).open("rb") as file:
            return file.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _asked(settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Settings by the names that trainers give them. One that stands there with two values says nothing."""
    claims: dict[str, list[Any]] = {}
    for name, value in settings:
        for fact, believed in _believed({_ASKED.get(name, ""): value}).items():
            claims.setdefault(fact, []).append(believed)
    facts = {fact: values[0] for fact, values in claims.items() if len(set(values)) == 1}
    if "steps_planned" in facts:
        facts.pop("epochs_planned", None)  # a number of steps overrides it
    return facts


def _done(state: Mapping[str, Any]) -> dict[str, Any]:
    """What trainer_state.json says was done."""
    history = state.get("log_history")
    log = [entry for entry in history if isinstance(entry, Mapping)] if isinstance(history, list) else []
    rates = [rate for entry in log if (rate := _number(entry.get("learning_rate"))) is not None]
    return _believed(
        {
            "learning_rate": max(rates, default=None),
            "epochs": state.get("epoch"),
            "epochs_planned": state.get("num_train_epochs"),
            "steps": state.get("global_step"),
            "steps_planned": state.get("max_steps"),
            "best_kept": isinstance(state.get("best_model_checkpoint"), str),
            **_losses(log),
            **_evaluations(log),
        }
    )


def _losses(log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Training loss at first, at its lowest and at last, over tenths of the log: single steps are noise."""
    losses = [loss for entry in log if (loss := _number(entry.get("loss"))) is not None]
    if len(losses) < 2 or any("reward" in entry for entry in log):  # reinforcement learning's loss need not fall
        return {}
    n = min(_STRETCHES, len(losses))
    cuts = [len(losses) * i // n for i in range(n + 1)]
    means = [sum(losses[a:b]) / (b - a) for a, b in pairwise(cuts)]
    return {"loss_first": means[0], "loss_lowest": min(means), "loss_last": means[-1]}


def _evaluations(log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The lowest evaluation loss, the epoch it was reached at, and the last one."""
    found = [(_number(entry.get("eval_loss")), _number(entry.get("epoch"))) for entry in log]
    known = [(loss, epoch) for loss, epoch in found if loss is not None and epoch is not None]
    if len(known) < 2:
        return {}
    lowest, epoch = min(known)
    return {"eval_loss_lowest": lowest, "eval_loss_lowest_epoch": epoch, "eval_loss_last": known[-1][0]}


def _believed(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``claims`` that can be true: numbers within their limits, and whether the best was kept."""
    facts: dict[str, Any] = {}
    for fact, claim in claims.items():
        if fact == "best_kept":
            facts |= {fact: True} if claim is True or claim == "true" else {}
            continue
        value = _number(claim)
        if value is not None and 0 <= value <= _MOST.get(fact, -1) and (value > 0 or fact in _MAY_BE_ZERO):
            facts[fact] = value
    return facts


def _number(value: Any) -> float | None:
    """A finite number, also from its text (YAML takes ``2e-4`` for text)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or (isinstance(value, str) and value[32:]):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
