"""The order and the size of portions."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from engines.tiny import question
from ftgate.domain import Model
from ftgate.engines.base import Ask
from ftgate.engines.batching import FIRST_BATCH, Slot, make_batches

MODELS = [Model(name, Path(name), name) for name in "abcd"]
PLACES = dict(zip("abcd", [Slot(0, 0), Slot(0, 1), Slot(0, 2), Slot(1, 0)], strict=True))


def place(model: Model) -> Slot:
    return PLACES[model.name]


asks_lists = st.lists(
    st.builds(
        Ask,
        st.sampled_from(MODELS),
        st.builds(question, st.text("xyz", max_size=3), st.sampled_from([(), ("A", "B")]), st.integers(1, 600)),
    ),
    max_size=200,
)


@given(asks_lists, st.integers(1, 80))
def test_every_ask_is_in_one_portion_and_no_portion_mixes_engines_or_families(asks: list[Ask], largest: int) -> None:
    cut = list(make_batches(asks, place, largest))
    assert sorted(index for portion in cut for index in portion) == list(range(len(asks)))
    for portion in cut:
        assert len({(place(asks[i].model).engine, bool(asks[i].question.options)) for i in portion}) == 1
        assert 1 <= len(portion) <= largest
    assert cut == list(make_batches(asks, place, largest))


def test_portions_grow_from_small_to_the_largest() -> None:
    asks = [Ask(MODELS[0], question(str(i), ("A", "B"))) for i in range(1000)]
    sizes = [len(portion) for portion in make_batches(asks, place, 200)]
    assert sizes == [FIRST_BATCH, 64, 128, 200, 200, 200, 176]


def test_the_base_comes_first_and_neighbours_share_prefixes() -> None:
    asks = [Ask(model, question(text, ("A", "B"))) for text in ("b", "a") for model in reversed(MODELS)]
    (first, second) = make_batches(asks, place, 100)
    named = [(asks[i].model.name, asks[i].question.messages[0].content) for i in (*first, *second)]
    assert named == [(model, text) for model in "abcd" for text in "ab"]


def test_long_answers_fill_a_portion_sooner() -> None:
    asks = [Ask(MODELS[0], question(str(i), max_tokens=256)) for i in range(20)]
    assert [len(portion) for portion in make_batches(asks, place, 25)] == [5, 5, 5, 5]
