"""What a reader must know before trusting a verdict, said right below it. Not escaped yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ftgate.report import numbers
from ftgate.report.schema import Report, mapping

CHANCE_KAPPA = 0.2
"""Agreement up to this is slight (Landis & Koch 1977): hardly better than chance."""
DECISIONS: Mapping[str, str] = {"pass": "passes", "warn": "passes with a warning", "block": "blocks"}


def cautions(report: Report) -> list[str]:
    """That the judge hardly agrees with people, and what their grades alone turned round."""
    agreed = mapping(report.controls.get("judge_labels"))
    kappa, answers = numbers.finite(agreed.get("kappa")), numbers.finite(agreed.get("answers"))
    if kappa is None or kappa > CHANCE_KAPPA:
        return []
    graded = f" on {numbers.count(int(answers))} answers" if answers else ""
    text = f"The judge agrees with people hardly better than chance (kappa {numbers.decimal(kappa, 2)}{graded})."
    turned = list(_turned_round(report))
    rest = " ".join(turned) or "Do not rely on what it graded: use a stronger judge, or have people grade more answers."
    return [f"{text} {rest}"]


def unmet_checks(report: Report) -> list[str]:
    """The checks on the test itself that are not met: what is so, then what was expected."""
    unmet = [entry for entry in report.checklist if entry.ok is False]
    return [f"{entry.evidence.rstrip('.')} (expected: {_inside(entry.item.rstrip('.'))})." for entry in unmet]


def _inside(text: str) -> str:
    return text[:1].lower() + text[1:]


def _turned_round(report: Report) -> Iterator[str]:
    """The measurements that people's grades decided otherwise than the judge alone would have."""
    for name, m in report.measurements.items():
        people: Mapping[str, Any] = mapping(m.details.get("people"))
        alone, items = people.get("status_by_the_judge_alone"), numbers.finite(people.get("items"))
        if not isinstance(alone, str) or alone == m.status or items is None:
            continue
        title = numbers.in_sentence(name)
        now, else_ = DECISIONS.get(m.status, "is undecided"), DECISIONS.get(alone, "is undecided")
        only = f"only by people's grades of {numbers.count(int(items))} answers (`judge.labels`)"
        yield f"The verdict on {title} {now} {only}: by the judge alone it {else_}."
