"""Form: the rise of malformed answers by suite and family, what decides, and what it reads of other measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from support.answers import PROSE

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Answer, Estimate, Item, Message, Pair, Status
from ftgate.measurements.base import Evidence
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.derived import asked_by, read_pairs
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.form import LINE_BREAKS, Form, kinds_of, parts_of
from ftgate.measurements.target import Target
from ftgate.stats.normal import critical
from ftgate.stats.ratio import PairedCounts, difference_interval
from ftgate.verdict import assess

FORM = Form()
FINE, LOOP = Answer(text=PROSE["en"], tokens=40), Answer(text="no " * 40, tokens=40)
CUT = Answer(text=PROSE["en"], tokens=64, finish="length")
FAILED = Answer(finish="error", error="engine died")
FORGETTING = Forgetting(dataset="x", scorer="exact")


def read(suite: str, number: int, base: Answer, candidate: Answer, cluster: str | None = None) -> Pair:
    prompt = (Message("user", f"{suite}: what does lens {number} do with the light of the lamp?"),)
    item = Item(
        f"{suite}/i{number}", prompt, answer=f"It bends it, like lens {number}.", tags=(suite,), cluster=cluster
    )
    return Pair(item, (_to(item, base),), (_to(item, candidate),))


def _to(item: Item, answer: Answer) -> Answer:
    """The answer with the item's name in it: the same to everything would be malformed."""
    return replace(answer, text=f"{answer.text} That is {item.id}.") if answer.text == PROSE["en"] else answer


def suite_of(name: str, n: int, malformed: int, base_malformed: int = 0, bad: Answer = LOOP) -> list[Pair]:
    """The first answers are malformed, the base's as well as the candidate's."""
    return [read(name, i, bad if i < base_malformed else FINE, bad if i < malformed else FINE) for i in range(n)]


def evidence(pairs: Sequence[Pair], alpha: float = 0.05) -> Evidence:
    return Evidence(tuple(pairs), FORM.score(pairs), alpha, 500)


def compare(pairs: Sequence[Pair], alpha: float = 0.05) -> Estimate:
    return FORM.compare(evidence(pairs, alpha), np.random.default_rng(0))


def status(pairs: Sequence[Pair]) -> Status:
    return assess(compare(pairs), EvidenceSettings()).status


def test_the_rise_and_its_bounds_are_those_of_the_score_test() -> None:
    estimate = compare(suite_of("forgetting", 200, 40, 6))
    assert (estimate.base, estimate.candidate, estimate.n) == (0.03, 0.2, 200)
    assert estimate.change == pytest.approx(0.17)
    counts = PairedCounts(both=6, candidate_only=34, base_only=0, neither=160)
    assert estimate.interval[1] == difference_interval(counts, 0.05).high
    # Two comparisons, malformed and cut: the lower bound may not err more often for that.
    assert estimate.interval[0] == difference_interval(counts, 0.025).low
    assert estimate.unit == "rise in malformed answers"


def test_what_blocks_passes_and_is_held() -> None:
    assert status(suite_of("forgetting", 200, 0)) is Status.PASS
    assert status(suite_of("forgetting", 200, 8)) is Status.PASS
    assert status(suite_of("forgetting", 200, 20)) is Status.INCONCLUSIVE
    assert status(suite_of("forgetting", 200, 50)) is Status.BLOCK
    assert status(suite_of("forgetting", 200, 50, 50)) is Status.PASS, "the base does the same"
    assert status(suite_of("forgetting", 200, 0, 50)) is Status.PASS, "fewer are no harm"


def test_the_worst_suite_decides_and_no_other_makes_up_for_it() -> None:
    better = suite_of("target", 400, 0, base_malformed=400)
    estimate = compare([*better, *suite_of("forgetting", 100, 60)])
    assert (estimate.change, estimate.n) == (0.6, 100)
    assert estimate.about == {f"forgetting/i{i}" for i in range(100)}
    assert status([*better, *suite_of("forgetting", 100, 60)]) is Status.BLOCK
    assert status([*better, *suite_of("forgetting", 100, 0)]) is Status.PASS


def test_fewer_cut_answers_do_not_make_up_for_malformed_ones() -> None:
    pairs = [read("forgetting", i, CUT, LOOP) for i in range(100)]
    estimate = compare(pairs)
    assert (estimate.change, estimate.unit) == (1.0, "rise in malformed answers")
    only_cut = [read("forgetting", i, FINE, CUT) for i in range(100)]
    assert (compare(only_cut).change, compare(only_cut).unit) == (1.0, "rise in cut answers")


def test_with_both_it_is_the_malformed_answers_that_are_named() -> None:
    endless = replace(LOOP, finish="length")
    pairs = [read("forgetting", i, FINE, endless) for i in range(100)]
    assert compare(pairs).unit == "rise in malformed answers"


def test_a_suite_with_too_few_answers_can_only_block() -> None:
    few = suite_of("target", 20, 0)
    assert status(few) is Status.NOT_APPLICABLE
    assert "20 items are too few" in (compare(few).not_applicable or "")
    assert status([*few, *suite_of("forgetting", 100, 0)]) is Status.PASS
    assert status([*suite_of("target", 20, 5), *suite_of("forgetting", 100, 0)]) is Status.PASS, "too few to tell"
    assert status([*suite_of("target", 20, 20), *suite_of("forgetting", 100, 0)]) is Status.BLOCK
    assert status(suite_of("target", 28, 0)) is Status.NOT_APPLICABLE
    assert status(suite_of("target", 29, 0)) is Status.PASS


def test_without_any_answer_there_is_no_estimate() -> None:
    estimate = compare([])
    assert np.isnan(estimate.change)
    assert status([]) is Status.NOT_APPLICABLE
    assert FORM.with_details(estimate, evidence([]), np.random.default_rng(0)).details["answers"] == 0
    assert FORM.in_words(estimate, []) == ""


def test_clusters_are_resampled_whole() -> None:
    def clustered(clusters: int) -> list[Pair]:
        return [
            replace(p, item=replace(p.item, cluster=f"c{i % clusters}"))
            for i, p in enumerate(suite_of("forgetting", 120, 0))
        ]

    assert "resamples of clusters" in compare(clustered(60)).method
    assert status(clustered(60)) is Status.PASS
    assert status(clustered(8)) is Status.NOT_APPLICABLE


def test_failed_answers_are_neither_well_formed_nor_malformed() -> None:
    pairs = suite_of("forgetting", 200, 0)
    one = [replace(pairs[0], candidate=(FAILED,)), *pairs[1:]]
    assert status(one) is Status.PASS
    assert kinds_of(one)[0] == (frozenset(), frozenset())
    assert compare(one).interval[1] > compare(pairs).interval[1], "it may have been malformed"
    several = [replace(pair, candidate=(FAILED,)) for pair in pairs[:5]]
    estimate = compare([*several, *pairs[5:]])
    assert "5 of 200 items failed" in (estimate.invalid_reason or "")


def test_scores_are_those_of_well_formed_answers() -> None:
    pairs = [read("a", 0, FINE, LOOP), read("a", 1, CUT, FINE), read("a", 2, FINE, FAILED)]
    scored = FORM.score(pairs)
    assert scored.base.tolist() == [1, 0, 1]
    assert scored.candidate.tolist() == [0, 1, 0.5]
    assert (scored.candidate_low[2], scored.candidate_high[2]) == (0, 1)
    assert not scored.graded.any()


def test_labels_are_told_by_suite() -> None:
    label = Answer(text="card_arrival")
    general = [read("forgetting", i, FINE, label) for i in range(60)]
    asked = [read("target", i, FINE, label) for i in range(60)]
    asked = [replace(p, item=replace(p.item, answer="card_arrival")) for p in asked]
    kinds = kinds_of([*general, *asked])
    assert [of_candidate for _, of_candidate in kinds] == [{"stock"}] * 60 + [frozenset()] * 60


def test_the_reason_says_of_what_and_shows_one() -> None:
    pairs = suite_of("forgetting", 200, 161, 2)
    text = FORM.in_words(compare(pairs), pairs)
    assert text.startswith("of its 200 answers for `forgetting`, 161 are one text over and over (the base's: 2); ")
    assert text.endswith(f"the first is that to `forgetting/i0`: {LOOP.text[:40]!r}…")
    blank = [read("forgetting", i, FINE, Answer(text="\n" * 64)) for i in range(50)]
    text = FORM.in_words(compare(blank), blank)
    assert text.endswith(
        "50 are nothing but line breaks or spaces (the base's: 0); the first is that to `forgetting/i0`"
    )
    assert FORM.in_words(compare(suite_of("forgetting", 50, 0)), suite_of("forgetting", 50, 0)) == ""


def test_details_show_every_kind_for_both_models_and_the_lengths() -> None:
    pairs = [*suite_of("forgetting", 100, 40, 2), *suite_of("target", 100, 10, 4, bad=CUT)]
    estimate = FORM.with_details(compare(pairs), evidence(pairs), np.random.default_rng(0))
    assert estimate.details["answers"] == 200
    assert estimate.details["kinds"] == {
        "forgetting": {"base": {"repetition": 2}, "candidate": {"repetition": 40}},
        "target": {"base": {"cut": 4}, "candidate": {"cut": 10}},
    }
    lengths = estimate.details["answer_tokens"]["target"]
    assert lengths == {"base": 40.96, "candidate": 42.4, "ratio": 42.4 / 40.96}
    shown = {part.name: (part.n, part.base, part.candidate) for part in estimate.slices}
    assert shown == {
        "forgetting: malformed": (100, 0.02, 0.4),
        "forgetting: cut": (100, 0.0, 0.0),
        "target: malformed": (100, 0.0, 0.0),
        "target: cut": (100, 0.04, 0.1),
        "all: cut": (200, 0.02, 0.05),
    }
    line = FORM.checklist(estimate)
    assert (line.ok, line.evidence) == (True, "200 answers")


def test_the_line_of_the_checklist_says_what_was_not_seen() -> None:
    assert FORM.checklist(None).ok is False
    assert FORM.checklist(compare([])).ok is None


def test_swapping_the_models_mirrors_every_part() -> None:
    pairs = [*suite_of("forgetting", 60, 20, 5), *suite_of("target", 50, 3, 9, bad=CUT)]
    back = [Pair(p.item, p.candidate, p.base) for p in pairs]
    for part, other in zip(parts_of(pairs), parts_of(back), strict=True):
        assert part.kinds == tuple(kinds[::-1] for kinds in other.kinds)


def test_line_breaks_are_what_the_positive_control_gives() -> None:
    pair = suite_of("forgetting", 1, 0)[0]
    (bad,) = FORM.corrupt(pair, pair)
    assert bad.text == LINE_BREAKS
    assert kinds_of([replace(pair, candidate=(bad,))])[0][1] == {"blank"}


@pytest.mark.parametrize("comparisons", [1, 2, 3])
def test_the_lower_bound_is_corrected_for_the_number_of_rises(comparisons: int) -> None:
    pairs = [pair for i in range(comparisons) for pair in suite_of(f"s{i}", 100, 30)]
    counts = PairedCounts(0, 30, 0, 70)
    rises = 2 * comparisons + (comparisons > 1)
    assert compare(pairs).interval[0] == difference_interval(counts, 0.05 / rises).low
    assert critical(0.05 / rises) > critical(0.05)


def cut_by_chance(name: str, n: int, more: int, fewer: int) -> list[Pair]:
    """The first ``more`` answers are cut by the candidate alone, the last ``fewer`` by the base alone."""
    sides = [(CUT if i >= n - fewer else FINE, CUT if i < more else FINE) for i in range(n)]
    return [read(name, i, *side) for i, side in enumerate(sides)]


def test_cut_answers_of_several_suites_pass_together_where_a_small_suite_could_not() -> None:
    small = cut_by_chance("tail", 100, 14, 8)
    assert status(small) is Status.INCONCLUSIVE
    both = [*cut_by_chance("forgetting", 200, 20, 20), *small]
    assert status(both) is Status.PASS
    assert {part.name for part in FORM.with_details(compare(both), evidence(both), np.random.default_rng(0)).slices} > {
        "tail: cut",
        "all: cut",
    }


def test_a_suite_in_which_fewer_answers_are_cut_makes_no_room_for_the_others() -> None:
    tuned = cut_by_chance("target", 200, 0, 200)
    worse = cut_by_chance("tail", 100, 18, 6)
    assert status([*tuned, *worse]) is Status.INCONCLUSIVE
    assert status([*tuned, *cut_by_chance("forgetting", 200, 60, 0)]) is Status.BLOCK
    assert status([*tuned, *cut_by_chance("forgetting", 200, 5, 5)]) is Status.PASS


def test_cut_answers_in_one_suite_of_several_block() -> None:
    pairs = [*cut_by_chance("forgetting", 200, 0, 0), *cut_by_chance("tail", 100, 40, 0)]
    estimate = compare(pairs)
    assert status(pairs) is Status.BLOCK
    assert (estimate.change, estimate.unit, estimate.n) == (0.4, "rise in cut answers", 100)
    assert "of its 100 answers for `tail`, 40 are cut" in FORM.in_words(estimate, pairs)
    spread = [p for name in "abc" for p in cut_by_chance(name, 60, 14, 0)]
    assert "of its 180 answers, 42 are cut" in FORM.in_words(compare(spread), spread), "all taken together"
    few = [*cut_by_chance("a", 28, 0, 0), *cut_by_chance("b", 28, 0, 0)]
    assert status(few) is Status.NOT_APPLICABLE, "suites that are too small are not put together"


def asked_item(name: str, prompt: str, **more: object) -> Item:
    return Item(name, (Message("user", prompt),), answer="red", choices=("red", "blue"), **more)  # type: ignore[arg-type]


def test_only_answers_in_free_form_are_read_and_each_conversation_once() -> None:
    target = Target(dataset="x", scorer="choice")
    sampled = Calibration(dataset="x", form="sampled")
    letters = Answer(option_logprobs=(-0.1, -3.0))
    items = [asked_item("c1", "one", cluster="k"), asked_item("c2", "two"), asked_item("c3", "one")]
    assert not target.asks_text(items[0])
    assert FORGETTING.asks_text(items[0])
    assert sampled.asks_text(items[0])
    assert not Calibration(dataset="x").asks_text(items[0])
    drawn = (FINE, *[LOOP] * 20)
    pairs = read_pairs(
        [
            (target, [Pair(item, (letters,), (letters,)) for item in items]),
            (FORGETTING, [Pair(item, (FINE,), (LOOP,)) for item in items]),
            (sampled, [Pair(asked_item("c1", "three"), drawn, drawn), Pair(items[1], drawn, drawn)]),
        ]
    )
    assert [pair.item.id for pair in pairs] == ["forgetting/c1", "forgetting/c2", "calibration/c1"]
    assert [asked_by(pair.item) for pair in pairs] == ["forgetting", "forgetting", "calibration"]
    assert [pair.item.cluster for pair in pairs] == ["forgetting/k", None, None]
    assert pairs[2].base == (FINE,), "the greedy answer, not the samples"


def test_before_a_run_it_is_told_what_cannot_be_seen() -> None:
    assert "option letters" in FORM.unseen({"target": 0}, 0.05)
    assert "more than 28 free-form answers, and 29 are needed" in FORM.unseen({"target": 28, "tail": 20}, 0.05)
    assert FORM.unseen({"target": 29, "tail": 0}, 0.05) == ""
    assert Form(max_increase=0.05).unseen({"target": 58}, 0.05) != ""


@pytest.mark.parametrize(
    ("n", "changed", "rise", "passed", "blocked"),
    [
        (100, 0.1, 0.0, 90, 0),
        (100, 0.2, 0.0, 69, 0),
        (200, 0.1, 0.0, 99, 0),
        (200, 0.2, 0.0, 93, 0),
        (400, 0.2, 0.0, 100, 0),
        (200, 0.2, 0.05, 46, 0),
        (100, 0.3, 0.3, 0, 100),
        (200, 0.2, 0.2, 0, 97),
    ],
)
def test_candidates_pass_and_are_blocked_as_often_as_documented(
    n: int, changed: float, rise: float, passed: float, blocked: float
) -> None:
    """One suite, of whose answers the share ``changed`` is malformed for one model alone; four rises are compared."""
    worse = (changed + rise) / 2
    draws = np.random.default_rng(1).multinomial(n, [worse, changed - worse, 1 - changed], size=1000)
    counts = [PairedCounts(0, int(lost), int(gained), n - int(lost) - int(gained)) for gained, lost, _ in draws]
    # As a drop of "malformed": a rise is its negative.
    intervals = {c: (difference_interval(c, 0.05), difference_interval(c, 0.05 / 4)) for c in set(counts)}
    low = np.array([-intervals[c][1].high for c in counts])
    high = np.array([-intervals[c][0].low for c in counts])
    assert 100 * np.mean(high < 0.1) == pytest.approx(passed, abs=2)
    assert 100 * np.mean(low > 0.1) == pytest.approx(blocked, abs=2)
