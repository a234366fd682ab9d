"""What is filled into the starter files is read back as it was meant, and comments stay."""

from __future__ import annotations

import re

import yaml
from hypothesis import given
from hypothesis import strategies as st

from ftgate.cli.init import starters
from ftgate.setup.starter_text import flow, manifest_text, policy_text, siblings

POLICY, MANIFEST = starters()
NAMES = ("target", "forgetting", "tail", "calibration", "safety", "tools")
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40)


@given(st.dictionaries(st.sampled_from(NAMES), TEXTS), st.sets(st.sampled_from(NAMES)), TEXTS)
def test_every_section_says_what_it_was_given_and_what_is_missing_is_commented_out(
    datasets: dict[str, str], missing: set[str], judge: str
) -> None:
    sections = {name: {"dataset": text, "scorer": "choice"} for name, text in datasets.items()}
    reasons = {name: f"no {name}" for name in missing - datasets.keys()}
    text = policy_text(POLICY, sections, reasons, {"judge": {"source": judge}})
    policy, before = yaml.safe_load(text), yaml.safe_load(POLICY)
    measurements = policy["measurements"] or {}
    for name, dataset in datasets.items():
        assert measurements[name]["dataset"] == dataset
    assert not measurements.keys() & reasons.keys()
    assert measurements.keys() - datasets.keys() == before["measurements"].keys() - datasets.keys() - reasons.keys()
    assert policy["judge"] == {"source": judge}
    assert policy["evidence"] == before["evidence"]
    assert text.count("  # Not yet: ") == len(reasons)


def test_nothing_to_fill_in_leaves_the_starters_as_they_are() -> None:
    assert policy_text(POLICY, {}, {}, {}) == POLICY
    assert manifest_text(MANIFEST, "", {}) == MANIFEST


def test_limits_are_the_starters_and_what_is_said_of_other_data_goes() -> None:
    text = policy_text(POLICY, {"calibration": {"dataset": "mine.csv"}}, {}, {"judge": None})
    assert yaml.safe_load(text)["measurements"]["calibration"] == {"dataset": "mine.csv", "max_ece_increase": 0.05}
    assert "  # Does its confidence still match its accuracy?\n" in text
    assert re.search(r"^# judge: ", text, re.MULTILINE)
    assert "What did it forget? General prompts, which come with ftgate" in text


@given(TEXTS, TEXTS)
def test_a_manifest_keeps_any_name_and_path(name: str, path: str) -> None:
    text = manifest_text(MANIFEST, name, {"base": {"source": path}, "training_data": None})
    manifest = yaml.safe_load(text)
    assert (manifest["name"], manifest["base"]) == (name, {"source": path})
    assert "training_data" not in manifest
    assert "\n# training_data: " in text


def test_what_lies_beside_the_models_is_allowed_too() -> None:
    assert siblings(["../models/base", "../models/bot", "hf://acme/base"]) == ["../models/*", "hf://acme/*"]
    assert flow({"dataset": "../evals/a b.csv", "n": 2}) == "{dataset: ../evals/a b.csv, n: 2}"
