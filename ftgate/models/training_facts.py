"""How a candidate was trained, from text files that trainers write beside the weights.

These are unverified claims, used only to word advice: whatever is missing, odd or implausible is left out, and nothing
here raises. ``training_args.bin`` is a pickle and is never opened.
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
"""Log of transformers' Trainer; the most reliable source."""
RESULTS = ("train_results.json", "all_results.json")
"""Written by the Trainer's ``save_metrics``."""
SETTINGS = (
    "training_args.json",
    "args.json",  # ms-swift
    "training_args.yaml",  # LLaMA-Factory, and llamaboard_config.yaml from its web page
    "training_args.yml",
    "axolotl_config.yaml",
    "axolotl_config.yml",
    "llamaboard_config.yaml",
)
"""Training settings."""
CARD = "README.md"
"""The model card, with the settings that Trainer lists there and the configuration that axolotl does."""
MAX_BYTES = 20_000_000
"""Larger files are ignored."""

_SETTING_FACTS = {
    "learning_rate": "learning_rate",
    "num_train_epochs": "epochs_planned",
    "num_epochs": "epochs_planned",
    "max_steps": "steps_planned",
    "training_steps": "steps_planned",
    "label_smoothing_factor": "label_smoothing",
    "load_best_model_at_end": "best_kept",
}
_LOSSES = ("loss_first", "loss_lowest", "loss_last", "eval_loss_lowest", "eval_loss_last")
_UPPER_BOUNDS: Mapping[str, float] = {
    "learning_rate": 10,
    "epochs": 1e5,
    "epochs_planned": 1e5,
    "steps": 1e12,
    "steps_planned": 1e12,
    "label_smoothing": 1,
    "eval_loss_lowest_epoch": 1e5,
    **dict.fromkeys(_LOSSES, 1e6),
}
"""Upper bound of a plausible value by fact; the lower bound is 0, exclusive unless in ``_MAY_BE_ZERO``."""
_MAY_BE_ZERO = ("label_smoothing", "eval_loss_lowest_epoch", *_LOSSES)
# Trainers write YAML in block style, one setting per line. A line pattern also works on model cards, and is safe from
# nested references, which can keep a YAML parser busy for hours.
_LINE = re.compile(
    rf"^(?:- )?(?:train\.)?(?P<name>{'|'.join(_SETTING_FACTS)}): *['\"]?(?P<value>[^\s'\"#]{{1,32}})", re.M
)
_CHECKPOINT = re.compile(rf"checkpoint-(?P<step>\d{{1,12}})/{re.escape(STATE)}")
_SEGMENTS = 10


def training_facts(snapshot: Snapshot) -> dict[str, Any]:
    """Facts about the training from the snapshot's files; ``files`` maps each file to the facts taken from it.

    ``learning_rate`` is the peak; ``epochs`` and ``steps`` are done, ``…_planned`` requested. Losses are means over
    tenths of the training, ``eval_loss_…`` single evaluations. ``best_kept``: the best checkpoint was restored at the
    end. Unknown facts are left out; the dictionary is empty if nothing is known.
    """
    facts: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name in (STATE, *_newest_checkpoint(snapshot), *RESULTS, *SETTINGS, CARD):
        for fact, value in _facts_in_file(snapshot, name).items():
            # The log is sparse, so its maximum may miss the peak: a higher planned rate wins.
            higher = fact == "learning_rate" and _is_state(origin.get(fact)) and value > facts[fact]
            if fact not in facts or higher:
                facts[fact], origin[fact] = value, name
    if not facts:
        return {}
    files = {name: [fact for fact in facts if origin[fact] == name] for name in origin.values()}
    return {**facts, "files": files}


def _newest_checkpoint(snapshot: Snapshot) -> tuple[str, ...]:
    """The state in the folder of the last checkpoint: a trainer's own output folder has it nowhere else."""
    steps = {int(match["step"]): name for name in snapshot.files if (match := _CHECKPOINT.fullmatch(name))}
    return (steps[max(steps)],) if steps else ()


def _is_state(name: str | None) -> bool:
    """Whether the file of this name is the trainer's log of what it did."""
    return name is not None and name.rpartition("/")[2] == STATE


def _facts_in_file(snapshot: Snapshot, name: str) -> dict[str, Any]:
    """The plausible facts of one file."""
    text = _text(snapshot, name)
    if not text:
        return {}
    if not name.endswith(".json"):
        return _planned((match["name"], match["value"]) for match in _LINE.finditer(text))
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    if _is_state(name):
        return _trainer_state(content)
    return _plausible({"epochs": content.get("epoch")}) if name in RESULTS else _planned(content.items())


def _text(snapshot: Snapshot, name: str) -> str:
    if name not in snapshot.files or snapshot.files[name].size > MAX_BYTES:
        return ""
    try:
        with (snapshot.path / name).open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _planned(settings: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Facts from settings, by the names that trainers use. A setting with two different values is ignored."""
    values_of: dict[str, list[Any]] = {}
    for name, value in settings:
        for fact, plausible in _plausible({_SETTING_FACTS.get(name, ""): value}).items():
            values_of.setdefault(fact, []).append(plausible)
    facts = {fact: values[0] for fact, values in values_of.items() if len(set(values)) == 1}
    if "steps_planned" in facts:
        facts.pop("epochs_planned", None)  # max_steps takes precedence
    return facts


def _trainer_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """What trainer_state.json reports as done."""
    history = state.get("log_history")
    log = [entry for entry in history if isinstance(entry, Mapping)] if isinstance(history, list) else []
    rates = [rate for entry in log if (rate := _finite_number(entry.get("learning_rate"))) is not None]
    return _plausible(
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
    """First, lowest and last training loss, over tenths of the log, since single steps are noisy."""
    losses = [loss for entry in log if (loss := _finite_number(entry.get("loss"))) is not None]
    if len(losses) < 2 or any("reward" in entry for entry in log):  # in reinforcement learning the loss need not fall
        return {}
    n = min(_SEGMENTS, len(losses))
    cuts = [len(losses) * i // n for i in range(n + 1)]
    means = [sum(losses[a:b]) / (b - a) for a, b in pairwise(cuts)]
    return {"loss_first": means[0], "loss_lowest": min(means), "loss_last": means[-1]}


def _evaluations(log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The lowest evaluation loss, its epoch, and the last evaluation loss."""
    evaluations = [(_finite_number(entry.get("eval_loss")), _finite_number(entry.get("epoch"))) for entry in log]
    complete = [(loss, epoch) for loss, epoch in evaluations if loss is not None and epoch is not None]
    if len(complete) < 2:
        return {}
    lowest, epoch = min(complete)
    return {"eval_loss_lowest": lowest, "eval_loss_lowest_epoch": epoch, "eval_loss_last": complete[-1][0]}


def _plausible(claims: Mapping[str, Any]) -> dict[str, Any]:
    """The plausible ones of ``claims``: numbers within bounds, and whether the best checkpoint was kept."""
    facts: dict[str, Any] = {}
    for fact, claim in claims.items():
        if fact == "best_kept":
            facts |= {fact: True} if claim is True or claim == "true" else {}
            continue
        value = _finite_number(claim)
        if value is not None and 0 <= value <= _UPPER_BOUNDS.get(fact, -1) and (value > 0 or fact in _MAY_BE_ZERO):
            facts[fact] = value
    return facts


def _finite_number(value: Any) -> float | None:
    """A finite number, also from text (YAML reads ``2e-4`` as text)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or (isinstance(value, str) and value[32:]):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
