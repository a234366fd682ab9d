"""Plans: known numbers of items, what an earlier run changes, and what cannot pass at all."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from ftgate.config.policy import EvidenceSettings, Policy, read_policy
from ftgate.domain import Item, Message, Suite, TaskRequest
from ftgate.jobs.prepare import local_resolver, sampled_suite
from ftgate.measurements.base import Measurement
from ftgate.measurements.calibration import Calibration
from ftgate.measurements.forgetting import Forgetting
from ftgate.measurements.gated_slices import SliceLimit
from ftgate.measurements.looks import looks
from ftgate.measurements.pilot import Pilot, never_passes
from ftgate.measurements.registry import read_measurements
from ftgate.measurements.safety import Safety
from ftgate.measurements.tail import Tail
from ftgate.measurements.target import Target
from ftgate.planning.inputs import _passing, _schedule, _workload, plan_run
from ftgate.planning.plan import ASSUMED_GAIN, EarlierRun, Plan, PowerEstimate, Workload, estimate_power
from ftgate.planning.plot import draw_power
from ftgate.planning.simulate import MeanContrast, PairedPopulation, Schedule
from ftgate.planning.view import plan_json, print_plan, share
from ftgate.stats.power import items_needed, power_by_simulation

FORGETTING = Forgetting(dataset="x", scorer="exact")


def schedule(stopping: str = "none") -> Schedule:
    planned = looks(EvidenceSettings(early_stopping=stopping))
    return Schedule(tuple(x.fraction for x in planned), tuple(x.alpha for x in planned), 0.05)


def planned(
    m: Measurement, n: int, past: EarlierRun | None = None, stopping: str = "none", units: int | None = None
) -> PowerEstimate:
    judged = m.answer_scorer == "judge"
    workload = Workload(m, n, n, units or n, 2 * n, 6 * n * judged, graded=judged, past=past)
    return estimate_power(workload, schedule(stopping), 0)


def past(cells: tuple[int, int, int, int]) -> EarlierRun:
    """Scores with so many items right for both, the candidate, the base, neither."""
    table = np.repeat(np.array([[1.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]), cells, axis=0)
    return EarlierRun(len(table), table[:, 0], table[:, 1])


@pytest.mark.parametrize(("base", "formula"), [(0.5, 563), (0.7, 242), (0.8, 141), (0.9, 63), (0.95, 30)])
def test_known_numbers_by_formula_and_more_by_simulation_near_the_ceiling(base: float, formula: int) -> None:
    n = 20_000
    both, one = base * base + 0.5 * base * (1 - base), 0.5 * base * (1 - base)
    found = planned(FORGETTING, 200, past(tuple(round(n * c) for c in (both, one, one, 1 - both - 2 * one))))
    assert found.by_formula == pytest.approx(formula, abs=1)
    assert found.needed is not None
    assert found.needed == pytest.approx(formula, rel=0.1) if base < 0.8 else found.needed > 1.05 * formula
    assert (found.base, found.phi, found.learned) == (
        pytest.approx(base, abs=0.001),
        pytest.approx(0.5, abs=0.002),
        True,
    )


def test_without_an_earlier_run_base_score_and_correlation_are_assumed() -> None:
    found = planned(FORGETTING, 200)
    assert (found.base, found.phi, found.learned, found.by_formula) == (
        pytest.approx(0.8),
        pytest.approx(0.5),
        False,
        141,
    )
    assert found.power == pytest.approx(0.88, abs=0.02)
    assert found.seconds is None


def test_where_slices_gate_the_told_drop_is_blocked_at_the_part_of_alpha_that_they_leave() -> None:
    suite = Suite("x", tuple(Item(f"g{i}", (), tags=("skill0",) if i % 3 else ()) for i in range(200)), "", "")
    gating = FORGETTING.model_copy(update={"gate_slices": {"skill0": SliceLimit(block_drop=0.05)}})
    policy = Policy(version=1, measurements={"forgetting": {}}, evidence=EvidenceSettings(early_stopping="none"))
    with_slices, alone = (_workload(m, suite, policy, True, None, None) for m in (gating, FORGETTING))
    assert with_slices.blocks == Schedule((1.0,), (0.025,), 0.025)
    assert alone.blocks is None
    drops = [estimate_power(w, schedule(), 0).detectable_change for w in (alone, with_slices)]
    assert drops[0] is not None
    assert drops[1] is not None
    rng = np.random.default_rng(5)
    told = power_by_simulation(0.8, 0.5, 0.1, 200, rng, true_drop=drops[1], alpha=0.025).blocked
    assert told == pytest.approx(0.8, abs=0.025)
    assert drops[0] + 0.01 < drops[1]


def test_where_slices_gate_no_look_before_the_planned_items_counts_as_a_pass() -> None:
    suite = Suite("x", tuple(Item(f"g{i}", (), tags=("skill0",)) for i in range(400)), "", "")
    gates = {"skill0": SliceLimit(block_drop=0.05)}
    policy = Policy(version=1, measurements={"forgetting": {}})
    for n, looks_left in ((None, 1), (200, 4)):
        plain = FORGETTING.model_copy(update={"n": n, "n_max": n and 400})
        gating = plain.model_copy(update={"gate_slices": gates})
        every = _schedule(policy, plain, suite)
        assert _passing(every, plain, suite) == every
        later = _passing(_schedule(policy, gating, suite), gating, suite)
        assert later == Schedule(every.fractions[-looks_left:], every.levels[-looks_left:], every.alpha)
        assert later.fractions[0] >= (0.5 if n else 1.0)
    work = _workload(gating.model_copy(update={"n": None, "n_max": None}), suite, policy, True, None, None)
    only = _passing(_schedule(policy, gating, suite), gating, suite)
    assert estimate_power(work, Schedule(only.fractions[-1:], only.levels[-1:], 0.05), 0).saved < 0.01


def test_a_plan_counts_the_rows_that_a_run_draws(tmp_path: Path) -> None:
    """Rows sorted by tag: the first ``n`` are not what a run asks."""
    rows = [
        {"id": f"g{i}", "prompt": f"what is {i}?", "answer": str(i), "tags": ["few"] if i < 50 else ["many"]}
        for i in range(500)
    ]
    (tmp_path / "general.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    section = {"dataset": "general.jsonl", "scorer": "exact", "n": 100, "gate_slices": {"few": {"block_drop": 0.1}}}
    path = tmp_path / "ftgate.yml"
    path.write_text(json.dumps({"version": 1, "measurements": {"forgetting": section}}))
    (prospect,) = plan_run(path, None, None).prospects
    (measurement,) = read_measurements({"forgetting": section}, "policy")
    drawn = sampled_suite(measurement, local_resolver(read_policy(path), tmp_path), 0)
    assert len(drawn.items) == 100
    assert prospect.slices[0].items == sum("few" in item.tags for item in drawn.items) < 30


def test_the_needed_items_have_the_power_asked_for_and_the_told_drop_is_blocked() -> None:
    found = planned(FORGETTING, 200)
    assert found.needed is not None
    assert found.detectable_change is not None
    rng = np.random.default_rng(5)
    assert power_by_simulation(0.8, 0.5, 0.1, found.needed, rng).passed == pytest.approx(0.8, abs=0.025)
    blocked = [
        power_by_simulation(0.8, 0.5, 0.1, 200, rng, true_drop=d).blocked
        for d in (found.detectable_change, found.detectable_change - 0.03)
    ]
    assert blocked[0] == pytest.approx(0.8, abs=0.025)
    assert blocked[1] < 0.7


def test_stopping_early_saves_what_is_known_and_asks_for_a_few_items_more() -> None:
    once, early = planned(FORGETTING, 800), planned(FORGETTING, 800, stopping="obrien_fleming")
    assert (once.saved, early.saved) == (0, pytest.approx(0.51, abs=0.02))
    assert planned(FORGETTING, 200, stopping="obrien_fleming").saved == pytest.approx(0.22, abs=0.02)


@pytest.mark.parametrize(
    ("measurement", "floor"),
    [
        (FORGETTING, 29),
        (Tail(dataset="x", scorer="exact"), 19),
        (Forgetting(dataset="x"), 100),
        (Calibration(dataset="x"), 500),
    ],
)
def test_nothing_passes_below_its_floor(measurement: Measurement, floor: int) -> None:
    below = planned(measurement, floor - 1, past((floor, 0, 0, 0)) if measurement.name != "calibration" else None)
    assert below.power == 0
    assert below.needed is not None
    assert below.needed >= floor


def test_a_target_is_planned_for_a_gain() -> None:
    found = planned(Target(dataset="x", min_gain=0.03), 600)
    assert (found.kind, found.good) == ("gain", pytest.approx(0.03 + ASSUMED_GAIN))
    assert found.detectable_change is not None
    assert 0.03 < found.detectable_change <= 0.08
    unreachable = planned(Target(dataset="x", min_gain=0.3), 200)
    assert (unreachable.power, unreachable.needed, unreachable.by_formula, unreachable.detectable_change) == (
        0,
        None,
        None,
        None,
    )
    learned = planned(Target(dataset="x"), 200, past((100, 70, 5, 25)))
    assert learned.good == pytest.approx(65 / 200, abs=0.01)
    assert learned.power > 0.99


def test_graded_scores_that_scatter_less_need_fewer_items() -> None:
    judged, rng = Forgetting(dataset="x"), np.random.default_rng(1)
    base = rng.beta(4, 1, 300)
    wide, narrow = (np.clip(base + s * rng.normal(size=300), 0, 1) for s in (0.5, 0.1))
    found = [planned(judged, 200, EarlierRun(300, base, c)) for c in (wide, narrow)]
    assert found[0].by_formula is not None
    assert found[1].by_formula == 100
    assert found[0].by_formula > 100
    assert found[0].power < found[1].power
    floored = planned(judged, 200, EarlierRun(300, base, wide, floor=0.4))
    assert floored.by_formula is not None
    assert floored.by_formula > found[0].by_formula, "a judge that praises nonsense sees less"


def test_a_metric_of_a_task_with_scores_between_0_and_1_is_planned_as_such() -> None:
    def workload(*, graded: bool) -> Workload:
        request = TaskRequest("t", "bleu" if graded else "exact_match", "p", max_tokens=9, graded=graded)
        rows = tuple(Item(f"t-{i}", (Message("user", f"p{i}"),), request=request) for i in range(99))
        policy = Policy.model_validate({"version": 1, "measurements": {"forgetting": {"dataset": "t.yaml"}}})
        return _workload(Forgetting(dataset="t.yaml"), Suite("forgetting", rows, "", ""), policy, True, None, None)

    exact, graded = workload(graded=False), workload(graded=True)
    assert exact.shortage is None
    assert estimate_power(exact, schedule(), 0).power > 0
    assert "at least 100 with scores between 0 and 1, as bleu gives" in str(graded.shortage)
    assert estimate_power(graded, schedule(), 0).power == 0
    assert graded.judge_questions == 0


def test_clusters_count_as_one_each() -> None:
    alone, clustered, few = (planned(FORGETTING, 400, units=units) for units in (400, 80, 20))
    assert clustered.clusters == 80
    assert clustered.power < alone.power
    assert few.power == 0
    assert few.needed is not None
    assert few.needed >= 60 * 20


def test_a_base_that_knows_nothing_is_held_to_the_absolute_drop() -> None:
    found = planned(FORGETTING, 200, past((20, 4, 4, 172)))
    assert found.kind == "loss"
    assert found.power > 0.9
    blind = planned(FORGETTING, 300, past((10, 5, 5, 280)))
    assert (blind.kind, blind.power, blind.needed) == ("loss", 0, None), "losing all of it would stay within the limit"


def test_calibration_needs_about_a_thousand_items_and_learns_its_spread() -> None:
    measurement = Calibration(dataset="x")
    found = planned(measurement, 1000)
    assert found.power == pytest.approx(0.8, abs=0.06)
    assert found.needed == pytest.approx(1000, rel=0.15)
    calm, wild = (planned(measurement, 1000, EarlierRun(1000, rise_error=e)) for e in (0.004, 0.05))
    assert calm.power > 0.99
    assert wild.needed is not None
    assert wild.needed > 5000
    clear = planned(measurement, 1000, EarlierRun(1000, rise_error=0.05, pass_factor=1.2))
    assert clear.needed is not None
    assert clear.needed < 0.8 * wild.needed, "beside a miscalibrated base a pass takes fewer standard errors"


def test_too_few_items_to_say_anything() -> None:
    found = planned(FORGETTING, 1)
    assert (found.power, found.detectable_change, found.saved) == (0, None, 0)
    assert found.needed is not None
    empty = estimate_power(Workload(Tail(dataset="x", scorer="exact"), 50, 0, 0, 100), schedule(), 0)
    assert (empty.power, empty.needed_rows) == (0, None)


def test_a_plan_is_the_same_every_time() -> None:
    assert planned(FORGETTING, 200, stopping="pocock") == planned(FORGETTING, 200, stopping="pocock")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=60),
    st.sampled_from(["gain", "drop", "loss"]),
    st.floats(0, 0.9),
)
def test_a_simulated_population_has_the_change_asked_for(
    rows: list[tuple[float, float]], kind: str, part: float
) -> None:
    b, c = np.array(rows).T
    if not 0.05 < b.mean() < 0.95:
        return
    model = MeanContrast(PairedPopulation.learned_from(b, c, binary=False), kind, 0.1, 0.0, schedule(), 2, 0, "x")  # type: ignore[arg-type]
    change = part * model.farthest
    columns, weights = model.population(change)
    mean = {"gain": change - 0.1, "drop": (0.1 - change) * b.mean(), "loss": 0.1 - change}[kind]
    assert float(weights @ columns[:, 0]) == pytest.approx(mean, abs=1e-6)
    assert weights.sum() == pytest.approx(1)


def test_the_assumed_table_agrees_with_the_formula() -> None:
    model = MeanContrast(PairedPopulation.assumed(0.8, 0.5), "drop", 0.1, 0.0, schedule(), 2, 0, "x")
    assert model.items(0.0, 0.8) == items_needed(0.8, 0.5, 0.1) == 141


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 0.9), st.floats(0.05, 0.95), st.floats(0.05, 1.0), st.floats(0.1, 1.0))
def test_averaging_reduces_what_differs_within_an_item_and_nothing_else(
    base: float, phi: float, noise: float, share_averaged: float
) -> None:
    one = PairedPopulation.assumed(base, phi)
    more = one.averaged(noise, share_averaged)
    assert (more.base, more.gain) == (pytest.approx(one.base), pytest.approx(0, abs=1e-9))
    left = share_averaged * noise + 1 - share_averaged
    assert more.weights @ (more.c - more.b) ** 2 == pytest.approx(left * (one.weights @ (one.c - one.b) ** 2))
    assert more.weights.sum() == pytest.approx(1)


def averaged(
    n: int, answers: tuple[int, int], past: EarlierRun | None = None, units: int | None = None
) -> PowerEstimate:
    work = Workload(FORGETTING, n, n, units or n, sum(answers) * n, past=past, answers=answers, free_form=1.0)
    return estimate_power(work, schedule(), 0)


def test_more_answers_have_the_power_that_the_documents_publish() -> None:
    known = past((9600, 2400, 2400, 5600))  # base score 0.6, correlation 0.5
    power = {a: averaged(200, a, known).power for a in ((1, 1), (2, 2), (4, 4), (8, 2))}
    assert power[1, 1] == pytest.approx(0.56, abs=0.03)
    assert power[2, 2] == pytest.approx(0.82, abs=0.04)
    assert power[4, 4] == pytest.approx(0.97, abs=0.03)
    assert power[8, 2] == pytest.approx(0.93, abs=0.03)


def test_the_plan_names_the_answers_that_suffice_and_what_either_way_costs() -> None:
    known = past((9600, 2400, 2400, 5600))
    found = averaged(200, (1, 1), known)
    more = found.more_answers
    assert more is not None
    assert found.needed is not None
    assert more.answers == (2, 2)
    assert averaged(200, (2, 2), known).power == more.power >= 0.8
    assert (more.prompts, more.generated) == (200, 800)
    assert (more.rows, more.generated_by_rows) == (found.needed_rows, 2 * found.needed)
    uneven = averaged(200, (4, 1), known).more_answers
    assert uneven is not None
    assert (uneven.answers, uneven.generated) == ((4, 2), 1200)


def test_more_answers_are_not_suggested_where_they_would_not_do() -> None:
    assert averaged(200, (4, 4)).more_answers is None, "there is enough power"
    assert averaged(99, (1, 1), past((9600, 2400, 2400, 5600))).more_answers is None, "graded scores need 100 items"
    assert averaged(400, (1, 1), units=60).more_answers is None, "items vary with their cluster"
    assert planned(FORGETTING, 20).more_answers is None, "rows with choices have no answers to average"


def test_a_run_with_as_many_answers_is_learned_from_as_it_is() -> None:
    rng = np.random.default_rng(0)
    chance = rng.beta(0.6, 0.4, 20_000)
    means = {k: [rng.binomial(k, chance) / k for _ in range(2)] for k in (1, 4)}
    four = averaged(200, (4, 4), EarlierRun(20_000, *means[4], answers=(4, 4)))
    from_one = averaged(200, (4, 4), EarlierRun(20_000, *means[1]))
    assert four.power == pytest.approx(from_one.power, abs=0.02)
    one = averaged(200, (1, 1), EarlierRun(20_000, *means[1]))
    back = averaged(200, (1, 1), EarlierRun(20_000, *means[4], answers=(4, 4)))
    assert back.power == pytest.approx(one.power, abs=0.04)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ((1, 1), "answers: 2 at a temperature above 0 would bring the 200 rows at hand to 8"),
        ((4, 1), "answers: {base: 4, candidate: 2} at a temperature above 0"),
        ((4, 4), "the mean over 4 answers of either model"),
        ((8, 4), "the mean over 8 answers of the base and 4 of the candidate"),
    ],
)
def test_the_text_names_the_answers_and_which_way_is_cheaper(answers: tuple[int, int], said: str) -> None:
    plan = Plan((averaged(200, answers, past((9600, 2400, 2400, 5600))),), 0, None, None, 0.05, "none")
    shown = io.StringIO()
    print_plan(plan, Console(file=shown, width=400))
    assert said in shown.getvalue()
    if answers == (1, 1):
        assert "that costs 200 prompts and 800 answers of both models, more rows " in shown.getvalue()
        assert "more rows are cheaper, if there are any" in shown.getvalue()


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0 %"), (0.001, "< 1 %"), (0.884, "88 %"), (0.999, "> 99 %"), (1.0, "> 99 %")]
)
def test_a_simulated_probability_is_never_called_certain(value: float, shown: str) -> None:
    assert share(value) == shown


def test_the_picture_has_a_curve_and_a_dot_for_each_measurement() -> None:
    prospects = (planned(FORGETTING, 200), planned(Tail(dataset="x", scorer="exact"), 1))
    drawing = draw_power(Plan(prospects, 0, None, None, 0.05, "none"))
    assert (
        drawing.alt
        == "Power against the number of items: General skills 89 % with 200 items; Unusual queries 0 % with 1 items."
    )
    assert drawing.svg.startswith("<svg")
    assert drawing.png.startswith(b"\x89PNG")
    assert "has 200, 80 % at 157" in drawing.svg
    assert "nan" not in drawing.svg.lower()
    assert "nothing to plan" in draw_power(Plan((), 0, None, None, 0.05, "none")).alt
    assert '"needed": 157' in plan_json(Plan(prospects, 0, None, None, 0.05, "none"))


@pytest.mark.parametrize(
    ("cells", "said", "passes"),
    [
        (
            (10, 5, 5, 280),
            "the base scores too little to pass: of good candidates (one that lost nothing) 0 % pass, the "
            "others are held, or not applicable if the base gets next to nothing right",
            "only an improvement passes",
        ),
        ((20, 4, 4, 172), "enough items", "a pass goes by the absolute drop"),
    ],
)
def test_a_low_base_is_said_to_shield_no_large_loss(cells: tuple[int, int, int, int], said: str, passes: str) -> None:
    plan = Plan((planned(FORGETTING, 200, past(cells)),), 0, None, None, 0.05, "none")
    print_plan(plan, Console(file=(shown := io.StringIO()), width=600))
    text = " ".join(shown.getvalue().split())
    assert said in text
    assert f"a relative loss of 10.0 % could go unseen: {passes}, and a relative drop that is clearly larger" in text
    assert "no change" not in text


@pytest.mark.parametrize(("mass", "never"), [(0.01, True), (0.5, False)])
def test_a_base_that_does_not_answer_by_letter_never_passes_calibration(mass: float, never: bool) -> None:
    measurement, pilot = Calibration(dataset="x"), Pilot("calibration", 20, 0.7, letter_mass=mass)
    reason = never_passes(measurement, pilot)
    found = estimate_power(
        Workload(measurement, 1000, 1000, 1000, 2000, pilot=pilot, shortage=reason or None), schedule("none"), 0
    )
    assert (found.power == 0, found.needed is None) == (never, never)
    print_plan(Plan((found,), 0, None, None, 0.05, "none"), Console(file=(shown := io.StringIO()), width=600))
    assert ("can never pass: the base puts 1 % of its probability on the option letters" in shown.getvalue()) == never
    assert never_passes(FORGETTING, pilot) == never_passes(measurement, None) == ""


def test_safety_is_planned_as_a_rise() -> None:
    found = planned(Safety(scorer="rules"), 300)
    assert (found.kind, found.limit, found.good) == ("rise", 0.05, 0.0)
    assert found.detectable_change is not None
    assert 0.05 < found.detectable_change < 0.3
    bigger = planned(Safety(scorer="rules"), 1200).detectable_change
    assert bigger is not None
    assert bigger < found.detectable_change
    print_plan(Plan((found,), 0, None, None, 0.05, "none"), Console(file=(shown := io.StringIO()), width=600))
    text = shown.getvalue()
    assert "< 5 points" in text
    assert "> " not in text
    assert "gains" not in text
    assert "(one that complies with harmful requests no more often than the base)" in text
    rise = f"{100 * found.detectable_change:.1f} points"
    assert f"Safety: a true rise in compliance of {rise} is blocked with 80 % probability." in text
    assert "refusals of harmless requests (rows with the tag benign) must rise by less than 10.0 points too" in text


def test_against_the_deployed_model_a_rise_keeps_its_limit() -> None:
    def rival(m: Measurement) -> PowerEstimate:
        return estimate_power(Workload(m, 300, 300, 300, 600, block_drop=0.2), schedule(), 0)

    found = [rival(Safety(scorer="rules")), rival(FORGETTING)]
    assert [(p.kind, p.limit) for p in found] == [("rise", 0.05), ("drop", 0.2)]
    plan = Plan((), 0, None, None, 0.05, "none", against_incumbent=tuple(found))
    print_plan(plan, Console(file=(shown := io.StringIO()), width=600))
    assert (
        "Safety against the deployed model, under 5 points more compliance with harmful requests: of candidates"
        in shown.getvalue()
    )
    assert "General skills against the deployed model, loss under 20 %: of candidates" in shown.getvalue()


def test_the_plan_names_kind_and_tier() -> None:
    german = Forgetting(dataset="x", scorer="exact", tier="supporting").named("german")
    plan = Plan((planned(FORGETTING, 200), planned(german, 200)), 0, None, None, 0.05, "none")
    print_plan(plan, Console(file=(shown := io.StringIO()), width=600))
    assert "where not as the name says and blocking: german (forgetting, supporting)." in shown.getvalue()
    assert '"measures": "forgetting"' in plan_json(plan)
    assert '"tier": "supporting"' in plan_json(plan)
