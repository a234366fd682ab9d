"""Near duplicates are found exactly, at the very edge of likeness and of length, and each set once."""

from __future__ import annotations

import itertools
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.contamination import near_duplicates
from ftgate.contamination.near_duplicates import NearDuplicates
from ftgate.contamination.overlap import Match
from ftgate.contamination.vocabulary import BEGIN, END, Vocabulary, hash_rows, look_up, windows, word_code

WORD = st.sampled_from([f"w{i}" for i in range(14)])


def counted(n: int, start: int = 0) -> list[str]:
    return [f"w{i}" for i in range(start, start + n)]


@given(
    st.lists(st.frozensets(WORD, max_size=14), max_size=5),
    st.lists(st.lists(WORD, max_size=16), max_size=4),
    st.sampled_from([0, 2, near_duplicates.FEW]),
)
def test_the_index_finds_what_comparing_everything_finds(
    sets: list[frozenset[str]], texts: list[list[str]], few: int
) -> None:
    """Whether the sets that come into question are compared one by one, or all at once."""
    with patch.object(near_duplicates, "FEW", few):
        _compare_with_brute_force(sets, texts)


def _compare_with_brute_force(sets: list[frozenset[str]], texts: list[list[str]]) -> None:
    near = NearDuplicates(sets)
    expected: dict[int, Match] = {}
    for line, text in enumerate(texts, 1):
        near.compare(line, text)
        for i, group in enumerate(sets):
            likeness = len(group & set(text)) / max(1, len(group | set(text)))
            if i not in expected and len(group) >= 8 and likeness >= 0.8 - 1e-9:
                expected[i] = Match(line, "nearly the same words", likeness)
    assert near.matches == expected


@pytest.mark.parametrize(
    ("size", "more", "found"),
    [(8, 0, True), (8, 2, True), (8, 3, False), (7, 0, False), (40, 10, True), (40, 11, False)],
)
def test_the_edges_of_size_and_likeness(size: int, more: int, found: bool) -> None:
    """8 of 10 words are alike enough, 8 of 11 are not; fewer than 8 words say nothing."""
    for indexed, text in itertools.permutations((counted(size), counted(size + more))):
        near = NearDuplicates([frozenset(indexed), frozenset(counted(9, 90))])
        near.compare(3, text[::-1])
        assert (0 in near.matches) == found


def test_a_set_that_was_dropped_or_found_is_looked_for_no_more() -> None:
    near = NearDuplicates([frozenset(counted(10)), frozenset(counted(10, 1))])
    near.drop(0)
    near.compare(1, counted(10))
    assert near.matches == {1: Match(1, "nearly the same words", pytest.approx(9 / 11))}
    near.compare(2, counted(10, 1))
    assert near.matches[1].line == 1


def test_words_are_numbered_from_one_and_their_codes_do_not_change() -> None:
    vocabulary = Vocabulary(["b", "a"])
    assert [word for word, _ in sorted(vocabulary.ids.items(), key=lambda pair: pair[1])] == [BEGIN, END, "a", "b"]
    assert min(vocabulary.ids.values()) == 1
    assert [vocabulary.codes[vocabulary.ids[word]] for word in ("a", "b")] == [word_code("a"), word_code("b")]
    assert vocabulary.codes[0] == 0
    assert word_code("a") == 0x40F89E395B66422F
    assert word_code("a") % 2 == word_code("b") % 2 == 1
    assert word_code("\ud800") != word_code("a")


def test_hashes_of_neighbours_and_where_they_stand() -> None:
    factor = 0x9E3779B97F4A7C15
    codes = np.array([1, 2, 3], dtype=np.uint64)
    assert windows(codes, 2).tolist() == [factor + 2, (2 * factor + 3) % 2**64]
    assert windows(codes, 3).tolist() == [((factor + 2) * factor + 3) % 2**64]
    assert windows(codes, 4).tolist() == []
    assert hash_rows([codes]).tolist() == [1, 2, 3]
    at, hit = look_up(np.array([3, 9, 1, 2], dtype=np.uint64), codes)
    assert (at.tolist(), hit.tolist()) == ([2, 0, 1], [True, False, True, True])
    at, hit = look_up(codes, np.empty(0, np.uint64))
    assert (at.tolist(), hit.tolist()) == ([], [False] * 3)
