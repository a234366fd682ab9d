"""Renders the rows of a run with every model's chat template, and says what is wrong with a template, once."""

from __future__ import annotations

from collections.abc import Iterable

from ftgate.config.generation import GenerationSettings
from ftgate.engines.thoughts import switches
from ftgate.models.rendering import conversations
from ftgate.preflight.fit import CheckState
from ftgate.preflight.kinds import Unrendered, unrendered, unrendered_grading
from ftgate.preflight.rendering import depends_on_clock

FEW = 0.01
"""The share of a suite's rows that may not be asked; with more, every measurement on it would be invalid."""


def check_templates(state: CheckState, generation: GenerationSettings | None) -> None:
    """Render the rows with every model, and the judge's prompt with the judge. What is wrong is added to ``state``."""
    measurements, suites = state.draft.measurements, state.draft.suites
    judge, of_base = state.draft.policy.judge, list[Unrendered]()
    for role, facts in state.asked.items():
        asked_alike = role in ("candidate", "incumbent") and facts == state.asked.get("base")
        if not facts.template or asked_alike:
            continue
        model = conversations(facts, switches("off" if role == "judge" else state.settings.thinking))
        faults = list(
            unrendered_grading(model, measurements, suites, item_first=judge is not None and judge.item_first)
            if role == "judge"
            else unrendered(model, measurements, suites, generation)
        )
        if role == "base":
            of_base = faults
        for alike in _grouped(faults):
            _report(state, role, alike, of_base)
        reference = state.facts[role].reference
        if model.folds_system:
            state.notes.append(
                f"{reference}: its chat template takes no system turns; they are put in front of the user's"
            )
        if depends_on_clock(facts):
            state.notes.append(
                f"{reference}: its chat template writes the date or time, so that prompts depend on "
                "the clock and a later run may give other answers: write a fixed date into the template"
            )
        if model.answer_start:
            state.warnings.append(
                f"{reference}: its chat template ignores add_generation_prompt; {model.answer_start!a:.60}, which "
                "it puts before every answer, is added to prompts here, and a server does not do that: add "
                "`{% if add_generation_prompt %}` to the template"
            )


def _grouped(faults: Iterable[Unrendered]) -> list[list[Unrendered]]:
    """The faults of one template by what is wrong: what it adds to a row, or why it fails."""
    groups: dict[str, list[Unrendered]] = {}
    for fault in faults:
        groups.setdefault("" if fault.depends else fault.reason, []).append(fault)
    return list(groups.values())


def _report(state: CheckState, role: str, alike: list[Unrendered], of_base: list[Unrendered]) -> None:
    """Report one fault of a template, with everything that it concerns."""
    first, *others = alike
    message = (
        f"measurements.{first.measurement}: {state.facts[role].reference} cannot be asked {_rows(first, role)}: its "
        f"chat template {first.reason}"
    )
    if others:
        message += f"; likewise {'; '.join(f'measurements.{each.measurement}, {_rows(each, role)}' for each in others)}"
    if first.depends:
        message += ". What a template adds must not depend on what is asked: it could be the answer"
    # What the base's template does as well is no trick of the candidate's.
    decisive = [
        each for each in alike if not each.depends or (role in ("candidate", "incumbent") and each not in of_base)
    ]
    if not any(role == "judge" or each.rows > FEW * each.of for each in decisive):
        state.notes.append(message)
        return
    hint = "correct the template, use a model whose template takes such rows, or remove them"
    own = role in ("candidate", "incumbent") and state.asked[role] != state.asked.get("base")
    state.refuse(message, f"{hint}; `template: base` in the manifest asks both in the base's" if own else hint)


def _rows(fault: Unrendered, role: str) -> str:
    asked = "the judge's prompt about it" if role == "judge" else f"{fault.rows:,} of {fault.of:,} rows"
    return f"row {fault.item.id} (line {fault.item.line}; turns: {fault.kind}; {asked})"
