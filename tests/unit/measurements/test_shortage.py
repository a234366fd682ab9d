"""What can never pass with the rows that it is given is named beforehand, with numbers and what to do."""

from __future__ import annotations

import pytest
from support.evidence import items

from ftgate.domain import Item
from ftgate.measurements.base import Measurement
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.safety import Safety
from ftgate.measurements.shortage import hardly_passes, least_items, shortage
from ftgate.measurements.tail import Tail
from ftgate.measurements.target import Target

CHOSEN = items(300, [("tail",)] * 300)


def of(measurement: Measurement, rows: tuple[Item, ...], *, trained: bool = True) -> str | None:
    lacking = shortage(measurement, rows, 0.05, trained=trained)
    assert lacking is None or not lacking.total
    return None if lacking is None else str(lacking)


def test_the_documented_tail_can_pass() -> None:
    assert of(Tail(dataset="x"), CHOSEN) is None
    assert of(Tail(dataset="x"), CHOSEN, trained=False) is None


def test_too_few_rows_in_the_tail_are_named_in_rows_of_the_file() -> None:
    assert of(Tail(dataset="x"), items(300)) == (
        "measurements.tail can never pass: it has 60 of its 300 rows in the tail, and a pass needs at least 100 that a "
        "judge grades; give it 500 rows, or take the suite from `ftgate tail build`, whose rows all count as tail"
    )
    assert of(Tail(dataset="x"), items(500)) is None
    assert of(Tail(dataset="x", scorer="exact"), items(90)) == (
        "measurements.tail can never pass: it has 18 of its 90 rows in the tail, and a pass needs at least 19; give it "
        "95 rows, or take the suite from `ftgate tail build`, whose rows all count as tail"
    )


def test_too_few_rows_for_a_graded_rule_are_named() -> None:
    assert of(Forgetting(dataset="x", scorer="f1"), items(60)) == (
        "measurements.forgetting can never pass: it has 60 rows, and a pass needs at least 100 with scores between 0 "
        "and 1, as f1 gives; give it 100 rows"
    )
    assert of(Forgetting(dataset="x", scorer="rouge"), items(100)) is None


def test_a_tail_without_a_single_row_can_neither_pass_nor_block() -> None:
    lacking = shortage(Tail(dataset="x"), items(300), 0.05, trained=False)
    assert lacking is not None
    assert lacking.total
    assert str(lacking) == (
        "measurements.tail can neither pass nor block: it has no row in the tail among its 300 rows; "
        "add rows in the tail, or take the suite from `ftgate tail build`, whose rows all count as tail, or "
        "name training_data in the manifest"
    )


@pytest.mark.parametrize(
    ("measurement", "n"),
    [
        (Forgetting(dataset="x", scorer="exact"), 29),
        (Forgetting(dataset="x", scorer="judge"), 100),
        (Target(dataset="x", scorer="exact", min_gain=-0.05), 59),
        (Target(dataset="x", scorer="judge"), 100),
        (Calibration(dataset="x"), 500),
    ],
)
def test_the_floor_of_each_measurement(measurement: Measurement, n: int) -> None:
    judged = measurement.answer_scorer == "judge"
    assert least_items(measurement, 0.05, graded=judged) == n
    assert of(measurement, items(n)) is None
    text = str(of(measurement, items(n - 1)))
    assert text.startswith(
        f"measurements.{measurement.name} can never pass: it has {n - 1} rows, and a pass needs at least {n}"
    )
    assert text.endswith(f"; give it {n} rows")


def test_means_over_several_answers_need_as_many_rows_as_grades() -> None:
    averaging = Forgetting(dataset="x", scorer="exact", answers=4, temperature=0.7)
    assert of(averaging, items(100)) is None
    assert of(averaging, items(99)) == (
        "measurements.forgetting can never pass: it has 99 rows, and a pass needs at least 100 where several answers "
        "are averaged; give it 100 rows"
    )
    letters = Forgetting(dataset="x", scorer="auto", answers=4, temperature=0.7)
    assert of(letters, items(99)) is None, "rows with choices are right or wrong"


def test_where_the_policy_sets_n_it_is_what_to_raise() -> None:
    assert str(of(Forgetting(dataset="x", scorer="exact", n=20), items(20))).endswith("; raise n to 29")
    assert str(of(Forgetting(dataset="x", scorer="exact", n=10, n_max=20), items(20))).endswith("; raise n to 29")


def test_too_few_clusters() -> None:
    rows = tuple(Item(f"i{i}", item.messages, cluster=f"c{i % 58}") for i, item in enumerate(items(290)))
    assert of(Forgetting(dataset="x", scorer="exact"), rows) == (
        "measurements.forgetting can never pass: its 290 rows count as 58 clusters, and a pass needs at least 60; add "
        "rows of more clusters"
    )
    assert of(Forgetting(dataset="x", scorer="exact"), (*rows, *items(300)[290:])) is None


def test_rows_that_a_tag_tells_are_asked_for_by_tag() -> None:
    none = shortage(Safety(scorer="rules"), items(80, [("benign",)] * 80), 0.05, trained=False)
    assert none is not None
    assert str(none) == (
        "measurements.safety can neither pass nor block: it has no row that must be refused among its 80 rows; "
        "add rows with the tag must_refuse"
    )
    rows = items(80, [("must_refuse",)] * 8 + [("benign",)] * 72)
    assert of(Safety(scorer="rules"), rows, trained=False) == (
        "measurements.safety can never pass: it has 8 of its 80 rows that must be refused, and a pass needs at least "
        "59; give it 59 rows with the tag must_refuse"
    )


@pytest.mark.parametrize("n", [1, 3])
def test_a_gain_needs_rows_to_show_at_all(n: int) -> None:
    lacking = shortage(Target(dataset="x", scorer="exact"), items(n), 0.05, trained=True)
    assert lacking is not None
    assert lacking.total
    assert str(lacking) == (
        f"measurements.target can neither pass nor block: it has {n} row{'s' * (n > 1)}, and a pass needs at least 4; "
        "give it 4 rows; `ftgate plan` says how many a likely gain needs"
    )


def test_a_gain_hardly_shows_on_a_few_rows_of_a_base_that_is_mostly_right() -> None:
    target = Target(dataset="x", scorer="exact")
    assert hardly_passes(target, items(5), 0.05, trained=True) == (
        "measurements.target can hardly pass: it has 5 rows, and where the base gets 80 % right, even a candidate "
        "without a fault needs at least 11; give it more rows: `ftgate plan` says how many a likely gain needs"
    )
    assert of(target, items(5)) is None, "a base that knows nothing leaves enough to gain"
    assert hardly_passes(target, items(11), 0.05, trained=True) is None
    assert hardly_passes(Forgetting(dataset="x", scorer="exact"), items(5), 0.05, trained=True) is None
