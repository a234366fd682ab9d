"""A script that compares strings earns no vote: right answers come in other words, wrong ones are nearly the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from support.players import COMPARING_JUDGES, LIKENESS, Script, honest_judge, luck, word_f1

from ftgate.datasets.builtin import builtin_suites
from ftgate.domain import Answer, Item, Message, Model, Question
from ftgate.judge.grading import Judge
from ftgate.judge.known_answers import RIGHT, WRONG, known_answers, known_probes
from ftgate.measurements.base import JudgeValidation
from ftgate.measurements.judge_limits import MIN_AUROC, MIN_KNOWN_AUROC
from ftgate.scoring.text import same_text
from ftgate.stats.calibration import auroc_interval

MODEL = Model("judge", Path(), "sha256:0")
ITEMS = tuple(
    Item(f"i{i}", (Message("user", f"spell {i}"),), answer=f"the word {i} of {i % 7} in list {i * 3}")
    for i in range(90)
)
DATASETS = ("evals/own.jsonl", *builtin_suites())
FIRST_CAPABILITIES = 15
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "judge.md"


def validate(script: Script, dataset: str, seed: int = 0) -> JudgeValidation:
    def ask(questions: Sequence[Question]) -> list[Answer]:
        return [script(MODEL, question) for question in questions]

    return Judge(ask).validate(ITEMS, np.random.default_rng(seed), known_answers(dataset))


@pytest.mark.parametrize("dataset", ["evals/own.jsonl", "builtin:general-800"])
@pytest.mark.parametrize("name", COMPARING_JUDGES)
def test_a_script_that_compares_strings_is_unfit_whatever_the_suite(name: str, dataset: str) -> None:
    validation = validate(COMPARING_JUDGES[name], dataset)
    assert not validation.fit
    assert validation.auroc_low > MIN_AUROC, "it tells references from nonsense"
    assert validation.known_auroc is not None
    assert validation.known_auroc < MIN_KNOWN_AUROC
    assert "right answers in other words against subtly wrong ones" in validation.reason
    assert "it may only compare words" in validation.reason


@pytest.mark.parametrize("dataset", DATASETS)
def test_likeness_to_the_reference_is_below_the_bar_on_every_draw(dataset: str) -> None:
    known = known_answers(dataset)
    for seed in range(10):
        probes = known_probes(known, 60, np.random.default_rng(seed))
        right = [float(probe.kind == RIGHT) for probe in probes]
        for name, likeness in LIKENESS.items():
            values = [likeness(probe.text, probe.item.answer or "") for probe in probes]
            assert auroc_interval(values, right).low < MIN_KNOWN_AUROC - 0.1, (name, seed)


def test_the_documentation_says_how_well_comparing_does() -> None:
    known = known_answers("builtin:general-200")
    labels = [kind for entry in known for kind, texts in ((1.0, entry.right), (0.0, entry.wrong)) for _ in texts]

    def area(name: str) -> str:
        likeness = LIKENESS[name]
        values = [likeness(t, e.item.answer or "") for e in known for texts in (e.right, e.wrong) for t in texts]
        return f"{auroc_interval(values, labels).value:.2f}"

    expected = (
        f"equality {area('equal')}, equality after normalisation {area('equal after normalisation')}, "
        f"words in common (F1) {area('word F1')}, ROUGE-L {area('ROUGE-L')}."
    )
    assert expected in " ".join(DOCUMENT.read_text(encoding="utf-8").split())


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_judge_that_knows_the_truth_is_fit(dataset: str) -> None:
    validation = validate(honest_judge, dataset)
    assert validation.fit, validation.reason
    assert validation.known_answers == 80, "such a judge is clearly fit by the first ones"
    assert validation.known_auroc == 1
    assert validation.kinds[RIGHT] > 0.9
    assert validation.kinds[WRONG] < 0.1


@pytest.mark.parametrize(("errors", "fit"), [(0.1, True), (0.3, False)])
def test_a_judge_may_err_on_some_known_answers_and_not_on_many(errors: float, fit: bool) -> None:
    def careless(model: Model, question: Question) -> Answer:
        said = honest_judge(model, question)
        known = question.item_id.startswith("known answers to")
        mistaken = known and luck(question.item_id, question.messages[-1].content) < errors
        return Answer(option_logprobs=said.option_logprobs[::-1]) if mistaken else said

    assert [validate(careless, "evals/own.jsonl", seed).fit for seed in range(5)] == [fit] * 5


def test_the_floor_and_the_gap_are_those_of_the_suite_itself() -> None:
    alone = Judge(lambda questions: [honest_judge(MODEL, q) for q in questions]).validate(
        ITEMS, np.random.default_rng(0)
    )
    both = validate(honest_judge, "evals/own.jsonl")
    assert (both.floor, both.gap, both.auroc) == (alone.floor, alone.gap, alone.auroc)
    assert (alone.known_answers, alone.known_auroc, alone.known_auroc_low) == (0, None, None)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_capability_has_several_known_answers_of_each_kind(dataset: str) -> None:
    known = known_answers(dataset)
    rows = Counter(entry.item.tags[0] for entry in known)
    assert len(rows) >= FIRST_CAPABILITIES
    assert min(rows.values()) >= 10
    probes = known_probes(known, 60, np.random.default_rng(0))
    drawn = Counter((probe.item.tags[0], probe.kind) for probe in probes)
    assert sum(drawn.values()) == 120
    assert min(drawn.values()) >= 3
    assert set(drawn) == {(capability, kind) for capability in rows for kind in (RIGHT, WRONG)}
    assert len({probe.item.id for probe in probes}) == 60


def test_right_answers_are_never_the_reference_and_wrong_ones_are_often_close_to_it() -> None:
    known = known_answers("builtin:general-800")
    assert not [e.item.id for e in known for text in e.right if same_text(e.item.answer or "", text)]
    near: Callable[[str, Item], bool] = lambda text, item: word_f1(text, item.answer or "") > 0.5  # noqa: E731
    assert np.mean([near(text, e.item) for e in known for text in e.wrong]) > 0.4
    assert len({e.item.id for e in known}) == len(known)
    assert all(e.item.id.startswith("known answers to ") for e in known), "no suite has such ids"


def test_a_suite_of_ones_own_is_tested_on_the_built_in_answers() -> None:
    assert known_answers("evals/own.jsonl") == known_answers("builtin:general-200")
