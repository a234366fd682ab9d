"""The three-way decision and the verdict of a run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.config.policy import EvidenceSettings
from ftgate.domain import Estimate, Finding, Leaning, Status, Tier, Verdict
from ftgate.verdict import TOO_CLOSE, assess, decide

INTERVAL = EvidenceSettings()
POINT = EvidenceSettings(rule="point")


def drop(change: float, low: float, high: float, **more: object) -> Estimate:
    fields = {
        "measurement": "forgetting",
        "base": 0.8,
        "candidate": 0.8 * (1 - change),
        "unit": "relative drop",
        "level": 0.9,
        "n": 200,
        "method": "test",
        "worse": "up",
        "limit": 0.10,
        "warn_limit": 0.08,
        **more,
    }
    return Estimate(change=change, interval=(low, high), **fields)  # type: ignore[arg-type]


def gain(change: float, low: float, high: float, limit: float = 0.0) -> Estimate:
    more = {"measurement": "target", "unit": "absolute gain"}
    return drop(change, low, high, worse="down", limit=limit, warn_limit=None, **more)


@pytest.mark.parametrize(
    ("claim", "leaning"),
    [
        (drop(0.12, 0.02, 0.22), Leaning.LIKELY_TO_FAIL),
        (drop(0.10, 0.01, 0.20), Leaning.LIKELY_TO_FAIL),
        (drop(0.06, 0.01, 0.11), Leaning.SUSPECT),
        (drop(0.06, -0.01, 0.13), Leaning.UNDERPOWERED),
        (drop(0.00, 0.00, 0.12), Leaning.UNDERPOWERED),
        (drop(0.02, 0.01, 0.03, cannot_pass=("too few items",)), Leaning.SUSPECT),
        (gain(-0.01, -0.05, 0.03), Leaning.LIKELY_TO_FAIL),
        (gain(0.02, -0.01, 0.05), Leaning.UNDERPOWERED),
        (gain(-0.02, -0.04, -0.01, limit=-0.03), Leaning.SUSPECT),
        (drop(0.15, 0.11, 0.19), None),
        (drop(0.15, 0.11, 0.19, invalid_reason="judge unfit"), None),
    ],
)
def test_a_hold_says_where_it_leans(claim: Estimate, leaning: Leaning | None) -> None:
    finding = assess(claim, INTERVAL)
    assert finding.leaning is leaning
    if leaning is not None and not claim.cannot_pass:
        assert leaning.value in finding.reason


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        (drop(0.00, -0.04, 0.04), Status.PASS),
        (drop(0.085, 0.072, 0.099), Status.WARN),
        (drop(0.08, 0.07, 0.09), Status.WARN),
        (drop(0.02, -0.05, 0.08), Status.WARN),
        (drop(0.02, -0.05, 0.0799), Status.PASS),
        (drop(0.15, 0.11, 0.19), Status.BLOCK),
        (drop(0.15, 0.10, 0.19), Status.INCONCLUSIVE),
        (drop(0.05, 0.00, 0.10), Status.INCONCLUSIVE),
        (drop(0.00, -0.04, 0.04, cannot_pass=("too few items",)), Status.INCONCLUSIVE),
        (drop(0.15, 0.11, 0.19, cannot_pass=("too few items",)), Status.BLOCK),
        (drop(0.15, 0.11, 0.19, invalid_reason="judge unfit"), Status.INCONCLUSIVE),
        (drop(float("nan"), float("nan"), float("nan")), Status.INCONCLUSIVE),
        (gain(0.10, 0.05, 0.15), Status.PASS),
        (gain(0.02, -0.01, 0.05), Status.INCONCLUSIVE),
        (gain(0.0, 0.0, 0.0), Status.INCONCLUSIVE),
        (gain(-0.10, -0.15, -0.05), Status.BLOCK),
        (gain(0.01, 0.00, 0.02, limit=0.03), Status.BLOCK),
    ],
)
def test_interval_rule(claim: Estimate, status: Status) -> None:
    assert assess(claim, INTERVAL).status is status


@pytest.mark.parametrize(
    ("claim", "status"),
    [
        (drop(0.101, 0.0, 0.3), Status.BLOCK),
        (drop(0.10, 0.0, 0.3), Status.WARN),
        (drop(0.079, 0.0, 0.3), Status.PASS),
        (drop(0.079, 0.0, 0.3, cannot_pass=("too few items",)), Status.INCONCLUSIVE),
        (drop(0.2, 0.0, 0.3, cannot_pass=("too few items",)), Status.BLOCK),
        (drop(0.2, 0.0, 0.3, invalid_reason="judge unfit"), Status.INCONCLUSIVE),
        (drop(float("nan"), 0.0, 0.3), Status.INCONCLUSIVE),
        (gain(0.0, -0.1, 0.1), Status.BLOCK),
        (gain(0.001, -0.1, 0.1), Status.PASS),
    ],
)
def test_point_rule_is_the_bare_comparison_of_enough_items(claim: Estimate, status: Status) -> None:
    assert assess(claim, POINT).status is status


def test_a_straddling_result_says_how_many_items_would_settle_it() -> None:
    reason = assess(drop(0.05, 0.0, 0.12, needed_n=480), INTERVAL).reason
    assert "480 items" in reason
    assert "a loss under 10 % is allowed" in reason


def test_a_warning_names_what_reached_the_warning_limit_and_a_hold_names_the_limit() -> None:
    warned = assess(drop(0.02, -0.05, 0.09), INTERVAL)
    assert warned.reason.endswith("; a loss under 10 % is allowed, but the interval reaches the warning limit of 8 %")
    assert "but the estimate reaches the warning limit" in assess(drop(0.09, 0.0, 0.3), POINT).reason
    assert (
        "contains the limit, as a loss under 10 % is allowed (a warning starts at 8 %)"
        in assess(drop(0.02, -0.05, 0.12), INTERVAL).reason
    )
    assert "warning" not in assess(drop(0.02, -0.05, 0.12, warn_limit=None), INTERVAL).reason


@pytest.mark.parametrize(
    ("claim", "too_close"),
    [
        (drop(0.08, 0.02, 0.14), False),
        (drop(0.09, 0.06, 0.12), False),
        (drop(0.095, 0.07, 0.12), True),
        (drop(0.10, 0.07, 0.13), True),
        (drop(0.105, 0.08, 0.13), True),
        (drop(0.095, -float("inf"), 0.12), False),
        (drop(0.095, 0.07, 0.12, n=20, least_n=29), False),
    ],
)
def test_what_takes_ten_times_the_items_is_too_close_to_settle(claim: Estimate, too_close: bool) -> None:
    finding = assess(claim, INTERVAL)
    assert (TOO_CLOSE in finding.reason) == too_close
    assert not (too_close and finding.estimate.needed_n)


def test_a_hold_names_what_else_forbids_a_pass() -> None:
    reason = assess(drop(0.05, 0.0, 0.12, cannot_pass=("3 clusters are too few",)), INTERVAL).reason
    assert reason.endswith("; 3 clusters are too few")


def test_a_gain_that_only_reaches_its_limit_is_not_beyond_it() -> None:
    assert "likely to fail: the estimate is not within the limit" in assess(gain(0.0, -0.02, 0.02), INTERVAL).reason


def test_from_one_cluster_no_number_of_items_is_promised() -> None:
    few = "1 cluster is too few to resample: at least 60 are needed"
    found = assess(drop(0.02, -0.05, 0.12, cannot_pass=(few,), least_n=480), INTERVAL)
    assert "settle" not in found.reason
    assert "items" not in found.reason
    assert f"there are too few clusters to rule one out); {few}" in found.reason
    inside = assess(drop(0.02, -0.05, 0.08, cannot_pass=(few,), least_n=480), INTERVAL)
    assert found.estimate.needed_n is None
    assert inside.estimate.needed_n is None


def finding(status: Status, name: str = "tail") -> Finding:
    return Finding(drop(0.1, 0.0, 0.2, measurement=name), status, "because")


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ([Status.PASS, Status.WARN], Verdict.ALLOW),
        ([Status.PASS, Status.INCONCLUSIVE], Verdict.HOLD),
        ([Status.PASS, Status.ERROR], Verdict.HOLD),
        ([Status.INCONCLUSIVE, Status.BLOCK], Verdict.BLOCK),
        ([], Verdict.HOLD),
    ],
)
def test_verdict(statuses: list[Status], verdict: Verdict) -> None:
    assert decide([finding(s) for s in statuses], INTERVAL)[0] is verdict


def test_inconclusive_can_be_made_to_block() -> None:
    strict = EvidenceSettings(on_inconclusive="block")
    assert decide([finding(Status.INCONCLUSIVE)], strict)[0] is Verdict.BLOCK


def test_every_blocking_measurement_is_named() -> None:
    _, reasons = decide([finding(Status.BLOCK, "tail"), finding(Status.BLOCK, "forgetting")], INTERVAL)
    assert [r.split(":")[0] for r in reasons] == ["tail", "forgetting"]


@given(st.lists(st.sampled_from(list(Status)), min_size=1, max_size=6))
def test_nothing_but_passes_and_warnings_is_ever_allowed(statuses: list[Status]) -> None:
    verdict, _ = decide([finding(s) for s in statuses], INTERVAL)
    applicable = [s for s in statuses if s is not Status.NOT_APPLICABLE]
    assert (verdict is Verdict.ALLOW) == (bool(applicable) and all(s in (Status.PASS, Status.WARN) for s in applicable))


@given(
    change=st.floats(-1, 1),
    below=st.floats(0, 0.5),
    above=st.floats(0, 0.5),
    cannot_pass=st.sampled_from([(), ("doubt",)]),
    worse=st.sampled_from(["up", "down"]),
)
def test_a_pass_needs_the_whole_interval_on_the_good_side(
    change: float, below: float, above: float, cannot_pass: tuple[str, ...], worse: str
) -> None:
    claim = drop(change, change - below, change + above, cannot_pass=cannot_pass, worse=worse, warn_limit=None)
    status = assess(claim, INTERVAL).status
    low, high = claim.interval
    good = high < claim.limit if worse == "up" else low > claim.limit
    assert (status is Status.PASS) == (good and not cannot_pass)


@pytest.mark.parametrize("rules", [INTERVAL, POINT])
def test_what_is_not_applicable_may_still_block(rules: EvidenceSettings) -> None:
    assert assess(drop(0.15, 0.11, 0.19, not_applicable="nothing to lose"), rules).status is Status.BLOCK
    for change, low, high in ((0.02, 0.01, 0.03), (0.085, 0.07, 0.09), (float("nan"), float("nan"), float("nan"))):
        finding = assess(drop(change, low, high, not_applicable="nothing to lose"), rules)
        assert (finding.status, finding.reason) == (Status.NOT_APPLICABLE, "nothing to lose")
        assert finding.settled
    assert assess(drop(0.02, 0.01, 0.03, not_applicable="x", invalid_reason="y"), rules).status is Status.INCONCLUSIVE


def test_what_is_not_applicable_neither_allows_nor_holds() -> None:
    passed, blocked, held, open_ = (
        assess(drop(*numbers, **more), INTERVAL)  # type: ignore[arg-type]
        for numbers, more in (
            ((0.02, 0.01, 0.03), {}),
            ((0.15, 0.11, 0.19), {}),
            ((0.06, 0.01, 0.11), {}),
            ((0.02, 0.01, 0.03), {"not_applicable": "x"}),
        )
    )
    assert decide([passed, open_], INTERVAL)[0] is Verdict.ALLOW
    assert decide([blocked, open_], INTERVAL)[0] is Verdict.BLOCK
    assert decide([held, open_], INTERVAL)[0] is Verdict.HOLD
    assert decide([open_], INTERVAL) == (Verdict.HOLD, ("nothing was measured", "not measured: `forgetting`: x"))


def test_what_asks_nothing_carries_no_allow_alone() -> None:
    form, tail = finding(Status.PASS, "form"), finding(Status.NOT_APPLICABLE, "tail")
    verdict, reasons = decide([tail, form], INTERVAL, ["form"])
    assert verdict is Verdict.HOLD
    assert reasons == (
        "nothing was measured but `form`, which asks no questions of its own",
        "not measured: `tail`: because",
    )
    assert decide([tail, form], EvidenceSettings(), [])[0] is Verdict.ALLOW
    assert decide([form], INTERVAL, ["form"])[0] is Verdict.HOLD
    assert decide([tail, finding(Status.BLOCK, "form")], INTERVAL, ["form"])[0] is Verdict.BLOCK
    assert decide([finding(Status.WARN, "target"), form], INTERVAL, ["form"])[0] is Verdict.ALLOW


def test_an_allow_names_what_was_not_measured() -> None:
    passed, warned = finding(Status.PASS, "target"), finding(Status.WARN, "forgetting")
    open_ = finding(Status.NOT_APPLICABLE, "tail")
    _, reasons = decide([passed, open_], INTERVAL)
    assert reasons == ("every other measurement stayed within its limit", "not measured: `tail`: because")
    _, reasons = decide([passed, warned, open_], INTERVAL)
    assert reasons == ("forgetting: because", "not measured: `tail`: because")


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (
            drop(0.02, -0.05, 0.07),
            "lost 2.0 % of what the base had (gained 5.0 to lost 7.0); a loss under 10 % is allowed",
        ),
        (drop(0.15, 0.11, 0.19), "lost 15.0 % of what the base had (11.0 to 19.0); a loss under 10 % is allowed"),
        (
            gain(0.1, 0.05, 0.15),
            "gained 10.0 points (5.0 to 15.0); a gain is required",
        ),
        (
            gain(-0.1, -0.15, -0.05),
            "lost 10.0 points (5.0 to 15.0); a gain is required",
        ),
        (
            drop(0.02, -0.01, 0.03, unit="ECE increase", limit=0.05, warn_limit=0.04),
            "2.0 points more error (1.0 less to 3.0 more); under 5 points more error is allowed",
        ),
        (
            drop(0.02, -0.01, 0.03, unit="rise in malformed answers"),
            "2.0 points more malformed answers (1.0 fewer to 3.0 more); under 10 points more is allowed",
        ),
        (drop(-0.0001, -0.003, 0.002), "no change (gained 0.3 to lost 0.2); a loss under 10 % is allowed"),
        (
            drop(0.05, -0.1, float("inf"), warn_limit=0.1),
            "lost 5.0 % of what the base had (gained 10.0 to unbounded): the interval contains the limit, as a loss "
            "under 10 % is allowed"
            " (underpowered: no loss is shown, but there are too few items to rule one out)",
        ),
    ],
)
def test_a_reason_gives_the_numbers_in_their_unit(claim: Estimate, reason: str) -> None:
    assert assess(claim, INTERVAL).reason == reason


def test_a_reason_by_the_point_rule_has_no_interval() -> None:
    assert (
        assess(drop(0.02, -0.05, 0.07), POINT).reason == "lost 2.0 % of what the base had; a loss under 10 % is allowed"
    )
    assert assess(gain(0.0, -0.1, 0.1), POINT).reason == "no change; a gain is required"


@pytest.mark.parametrize(("rows", "most"), [(None, 2000), (300, 3000)])
def test_ten_times_the_items_or_rows_is_where_it_becomes_too_close(rows: int | None, most: int) -> None:
    settled, too_close = (assess(drop(0.05, 0.0, 0.12, rows=rows, needed_n=most + more), INTERVAL) for more in (0, 1))
    assert settled.estimate.needed_n == most
    counted = f"rows would settle it (this run had {rows}, and 200 of them count)"
    counted = "items would settle it (this run had 200)" if rows is None else counted
    assert f"; about {most} {counted} (" in settled.reason
    assert too_close.estimate.needed_n is None
    assert TOO_CLOSE in too_close.reason
    assert "would settle it" not in too_close.reason


def test_how_many_items_it_takes_is_worked_out_where_a_run_did_not_and_only_upwards() -> None:
    """The half-width is 6 points and has to come down to 4, so 2.25 times as many items are needed."""
    items = assess(drop(0.06, 0.0, 0.12), INTERVAL).estimate.needed_n
    assert items is not None
    assert 400 < items < 500
    assert assess(drop(0.06, 0.0, 0.12, rows=401), INTERVAL).estimate.needed_n == -(-items * 401 // 200)
    doubted = assess(drop(0.0, -0.05, 0.05, cannot_pass=("doubt",), least_n=300), INTERVAL)
    assert (doubted.estimate.needed_n, doubted.reason) == (300, "doubt")
    enough = assess(drop(0.0, -0.05, 0.05, cannot_pass=("doubt",), least_n=200), INTERVAL)
    assert enough.estimate.needed_n is None
    assert assess(drop(0.06, 0.0, 0.12, n=0), INTERVAL).estimate.needed_n is None


def test_at_the_least_number_of_items_it_may_be_too_close() -> None:
    assert TOO_CLOSE in assess(drop(0.095, 0.07, 0.12, n=29, least_n=29), INTERVAL).reason


def test_reasons_name_the_measurement_and_blocks_come_first() -> None:
    held, blocked = finding(Status.INCONCLUSIVE, "tail"), finding(Status.BLOCK, "target")
    assert decide([held, blocked], INTERVAL) == (Verdict.BLOCK, ("target: because", "tail: because"))
    assert decide([finding(Status.PASS, "target")], INTERVAL)[1] == ("every measurement stayed within its limit",)


def tiered(status: Status, tier: Tier, name: str = "forgetting") -> Finding:
    return Finding(drop(0.2, 0.1, 0.3, measurement=name), status, "because", tier=tier)


PASSED = tiered(Status.PASS, "blocking", "target")


@pytest.mark.parametrize(
    ("status", "tier", "on_inconclusive", "verdict"),
    [
        (Status.BLOCK, "blocking", "hold", Verdict.BLOCK),
        (Status.BLOCK, "supporting", "hold", Verdict.HOLD),
        (Status.BLOCK, "supporting", "block", Verdict.HOLD),
        (Status.BLOCK, "advisory", "block", Verdict.ALLOW),
        (Status.INCONCLUSIVE, "blocking", "block", Verdict.BLOCK),
        (Status.INCONCLUSIVE, "supporting", "block", Verdict.HOLD),
        (Status.ERROR, "supporting", "hold", Verdict.HOLD),
        (Status.ERROR, "advisory", "hold", Verdict.ALLOW),
        (Status.WARN, "supporting", "hold", Verdict.ALLOW),
    ],
)
def test_a_tier_says_what_a_loss_does(status: Status, tier: Tier, on_inconclusive: str, verdict: Verdict) -> None:
    evidence = EvidenceSettings(on_inconclusive=on_inconclusive)  # type: ignore[arg-type]
    outcome, reasons = decide([PASSED, tiered(status, tier)], evidence)
    assert outcome is verdict
    named = any("because" in reason for reason in reasons)
    assert named == (tier != "advisory"), "an advisory one is no reason for anything"


def test_advisory_measurements_alone_allow_nothing() -> None:
    verdict, reasons = decide([tiered(Status.PASS, "advisory")], INTERVAL)
    assert (verdict, reasons) == (Verdict.HOLD, ("nothing was measured",))


def test_reasons_call_a_measurement_by_its_title_where_it_has_one() -> None:
    blocked = replace(finding(Status.BLOCK, "forgetting"), title="general skills")
    open_ = replace(finding(Status.NOT_APPLICABLE, "tail"), title="unusual queries")
    assert decide([blocked], INTERVAL)[1] == ("general skills: because",)
    _, reasons = decide([finding(Status.PASS, "target"), open_], INTERVAL)
    assert reasons[1] == "not measured: unusual queries: because"
