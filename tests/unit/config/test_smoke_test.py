"""A policy of a smoke test: every suite is cut, and no verdict is allow."""

from __future__ import annotations

from typing import Any

import pytest

from ftgate.config.policy import EvidenceSettings, Policy
from ftgate.config.profiles import ASKS_NOTHING
from ftgate.domain import Verdict
from ftgate.measurements.registry import DERIVED, read_measurements
from ftgate.verdict import capped


def policy(**measurements: dict[str, Any]) -> Policy:
    return Policy.model_validate({"version": 1, "measurements": measurements})


def test_every_suite_is_cut_to_the_items_of_the_smoke_test() -> None:
    whole = policy(target={"dataset": "a", "n": 50, "n_max": 60}, safety={}, tools={"n": 5}, form={"enabled": True})
    cut = whole.as_smoke_test(20)
    assert {m.name: (m.n, m.n_max) for m in read_measurements(cut.measurements, "policy")} == {
        "target": (20, None),
        "safety": (20, None),
        "tools": (5, None),
    }
    assert cut.measurements["form"] == {"enabled": True}
    assert cut.as_smoke_test(20).sha256() == cut.sha256() != whole.sha256()


def test_a_policy_without_one_has_the_fingerprint_that_it_had() -> None:
    assert "smoke_test" not in policy(safety={}).model_dump(mode="json")["evidence"]


def test_the_measurements_without_a_suite_are_those_that_ask_nothing() -> None:
    assert {measurement.kind for measurement in DERIVED} == ASKS_NOTHING


@pytest.mark.parametrize("unproven", [True, False])
@pytest.mark.parametrize("verdict", list(Verdict))
def test_no_smoke_test_is_an_allow_whatever_else_the_policy_accepts(verdict: Verdict, unproven: bool) -> None:
    evidence = EvidenceSettings(smoke_test=1000, allow_unproven_weights=True)
    outcome, reasons = capped(verdict, ("because",), "no weights" if unproven else "", evidence)
    assert outcome is (Verdict.HOLD if verdict is Verdict.ALLOW else verdict)
    assert ("smoke test" in reasons[0]) == (verdict is Verdict.ALLOW)
