"""The distribution that a question's settings leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.libraries import needs

from engines.tiny import question
from ftgate.domain import Question

if TYPE_CHECKING:
    from torch import Tensor

pytestmark = [pytest.mark.engine, needs("torch")]

LOGITS = [2.0, 1.0, 0.0, -1.0]


def row_of(logits: Sequence[float]) -> Tensor:
    import torch

    return torch.tensor(logits)


def shaped(row: Tensor, asked: Question, prompt: Sequence[int], answer: Sequence[int]) -> Tensor:
    from ftgate.engines import sampling

    return sampling.shaped(row, asked, prompt, answer)


def shares(**settings: float) -> list[float]:
    asked = replace(question("x"), **settings)
    values: list[float] = shaped(row_of(LOGITS), asked, [0], [3]).softmax(dim=-1).tolist()
    return values


def test_temperature_top_k_and_top_p() -> None:
    plain = row_of(LOGITS).softmax(dim=-1).tolist()
    assert shares() == pytest.approx(plain)
    assert shares(temperature=2.0) == pytest.approx(row_of(LOGITS).div(2).softmax(dim=-1).tolist())
    assert shares(temperature=1.0, top_k=2) == pytest.approx(
        [plain[0] / sum(plain[:2]), plain[1] / sum(plain[:2]), 0, 0]
    )
    assert shares(temperature=1.0, top_p=0.6) == [1, 0, 0, 0]
    assert shares(temperature=1.0, top_p=0.7)[2:] == [0, 0]
    assert shares(top_k=1, top_p=0.1, min_p=0.5) == pytest.approx(plain), "greedily they change nothing"


def test_min_p_keeps_what_is_likely_beside_the_likeliest() -> None:
    """The second is e times less likely than the first, the third e times less again; hotter, half of that."""
    assert [share > 0 for share in shares(temperature=1.0, min_p=0.36)] == [True, True, False, False]
    assert [share > 0 for share in shares(temperature=1.0, min_p=0.38)] == [True, False, False, False]
    assert [share > 0 for share in shares(temperature=2.0, min_p=0.38)] == [True, True, False, False]
    assert shares(temperature=1.0, min_p=1.0) == [1, 0, 0, 0]


def test_tokens_that_were_there_become_less_likely() -> None:
    asked = replace(question("x"), repetition_penalty=2.0)
    assert shaped(row_of(LOGITS), asked, [0], [3, 0]).tolist() == [1.0, 1.0, 0.0, -2.0]


def test_penalties_of_the_answer_leave_the_prompt_alone() -> None:
    asked = replace(question("x"), presence_penalty=0.5, frequency_penalty=1.0)
    assert shaped(row_of(LOGITS), asked, [0, 1], [2, 2, 3]).tolist() == [2.0, 1.0, -2.5, -2.5]
    assert shaped(row_of(LOGITS), asked, [0, 1], []).tolist() == LOGITS
    likelier = replace(question("x"), presence_penalty=-1.0)
    assert shaped(row_of(LOGITS), likelier, [0], [1, 1]).tolist() == [2.0, 2.0, 0.0, -1.0]


@given(
    st.lists(st.floats(-20, 20), min_size=2, max_size=12),
    st.floats(0.1, 2),
    st.integers(0, 15),
    st.floats(0.01, 1),
)
def test_the_likeliest_token_stays_and_the_rest_keeps_its_proportions(
    logits: list[float], temperature: float, top_k: int, top_p: float
) -> None:
    asked = replace(question("x"), temperature=temperature, top_k=top_k, top_p=top_p)
    row = row_of(logits)
    left = shaped(row, asked, [], [])
    kept = left.isfinite()
    assert bool(kept[row.argmax()])
    assert bool((row[kept].min() >= row[~kept].max()) if (~kept).any() else True)
    assert left[kept].allclose(row[kept] / temperature)
    if top_k:
        least = row.sort(descending=True).values[min(top_k, len(row)) - 1]
        assert bool((row[kept] >= least - 1e-5).all())
