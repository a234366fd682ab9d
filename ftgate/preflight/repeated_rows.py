"""Suites that ask what the training data, or another suite, already hold: their measurements would show nothing."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from ftgate.domain import Item, Suite
from ftgate.jobs.prepare import JobDraft
from ftgate.measurements.base import Measurement
from ftgate.measurements.shortage import shortage
from ftgate.preflight.fit import CheckState

HEAD = 20_000
"""Rows of the training data that are compared; a run compares all of them, and looks for parts and near duplicates."""
_TASK, _ELSE = "target", "forgetting"
"""Kinds of measurements that must not ask the same."""


def check_repeated_rows(checks: CheckState) -> None:
    """Refuse measurements of which every row was trained on, or forgetting measured on the task's own rows.

    Where only some were trained on, says how many, and warns if those left are too few for a pass.
    """
    draft = checks.draft
    asked = [m for m in draft.measurements if m.name in draft.suites]
    trained = _trained_on(draft)
    for m in asked:
        leaked = [item for item in draft.suites[m.name].items if _key(item) in trained]
        if leaked:
            _report_leaked(checks, m, draft.suites[m.name], leaked)
    prompts = {m.name: {_key(item) for item in draft.suites[m.name].items} for m in asked if m.kind in (_TASK, _ELSE)}
    for m in asked:
        if m.kind == _ELSE and (task := _same(prompts, m, asked)):
            checks.refuse(
                f"measurements.{m.name} asks the rows of measurements.{task}: it would measure the task a second time, "
                "and nothing of what was forgotten",
                "name general prompts that are not about the task, such as dataset: builtin:general-800",
            )


def _trained_on(draft: JobDraft) -> frozenset[str]:
    """What the first rows of the training data ask, as far as a suite asks it, too."""
    if draft.training is None or not draft.training.paths:
        return frozenset()
    wanted = {_key(item) for suite in draft.suites.values() for item in suite.items}
    return frozenset(wanted.intersection(map(_normal, islice(draft.training.texts(), HEAD))))


def _report_leaked(checks: CheckState, m: Measurement, suite: Suite, leaked: list[Item]) -> None:
    training, rows = checks.draft.training, f"{len(suite.items):,} rows"
    source = training.source if training is not None else ""
    if len(leaked) == len(suite.items) and m.tier != "advisory":
        checks.refuse(
            f"measurements.{m.name}: all of its {rows} are in the training data ({source}), so nothing is left to "
            "decide on",
            "name rows that the candidate was not trained on, or the right file as training_data",
        )
        return
    asked = {id(item) for item in leaked}
    clean = [item for item in suite.items if id(item) not in asked]
    words = f"measurements.{m.name}: {len(leaked):,} of its {rows} are in the training data and do not count"
    alpha, trained = checks.draft.policy.evidence.alpha, checks.draft.trained
    lacking = shortage(m, clean, alpha, trained=trained) if clean else None
    if lacking is not None and shortage(m, suite.items, alpha, trained=trained) is None:
        checks.warnings.append(f"{words}; without them: {lacking}")
        checks.never.append(m.name)
    else:
        checks.notes.append(words)


def _same(prompts: Mapping[str, set[str]], m: Measurement, asked: list[Measurement]) -> str:
    """The name of a measurement of the task whose rows are those of ``m``; empty if there is none."""
    tasks = [other.name for other in asked if other.kind == _TASK]
    return next((name for name in tasks if prompts[name] == prompts[m.name]), "")


def _key(item: Item) -> str:
    return _normal(item.user_text)


def _normal(text: str) -> str:
    return " ".join(text.split()).casefold()
