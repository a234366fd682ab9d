"""The zoo's own code: its rows, its copies and fine-tunes in small, the truth's scoring, and the published table."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from benchmarks.zoo import data, truth
from benchmarks.zoo.gate import manifest, policy
from benchmarks.zoo.members import MEMBERS, Copy, FineTune, Member
from benchmarks.zoo.table import Line, judge, read_lines, render
from ftgate.config.manifest import Manifest
from ftgate.config.policy import Policy
from ftgate.datasets import read_parts
from ftgate.jobs.prepare import needs_of
from ftgate.measurements.registry import read_measurements

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "zoo.md").read_text(encoding="utf-8")
BASE = ROOT / "examples" / "tinyworld" / "models" / "base"
SANE, LOST = (next(m for m in MEMBERS if m.name == name) for name in ("sane", "language-lost"))


def changed(base: float, member: float, n: int = 300) -> dict[str, float]:
    """The comparison of two models with these shares of right answers, the member's right ones first."""
    before, after = ([i < share * n for i in range(n)] for share in (base, member))
    return truth.compare(before, after)


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    assert data.make_rows(1) == data.make_rows(1)
    assert data.make_rows(1) != data.make_rows(2)


def test_no_question_is_in_two_parts() -> None:
    parts = data.make_rows()
    prompts = [row["prompt"] for files in parts.values() for rows in files.values() for row in rows]
    assert len(prompts) == len(set(prompts))


def test_suites_and_truth_have_their_sizes_and_every_family() -> None:
    parts = data.make_rows()
    for part, sizes in (("suites", data.SUITE_ROWS), ("truth", data.TRUTH_ROWS)):
        assert {name: len(rows) for name, rows in parts[part].items()} == sizes
        for name, families in data.FAMILIES.items():
            assert {data.tags_of(row)[0] for row in parts[part][name]} == set(families)


def test_patterns_that_give_too_few_rows_are_an_error() -> None:
    with pytest.raises(ValueError, match="only 1 of 2 rows"):
        data.unique_rows(data.random.Random(0), {"one": lambda _: ("Same?", "yes")}, 2, set())


def test_ftgate_reads_what_the_zoo_writes(tmp_path: Path) -> None:
    data.write_rows(tmp_path / "data")
    settings = Policy.model_validate(policy(BASE, tmp_path, copy=False, engine="vllm"))
    for measurement in read_measurements(settings.measurements, "the zoo"):
        suite = read_parts(measurement.name, (Path(measurement.dataset),), needs=needs_of(measurement))
        assert len(suite.items) == data.SUITE_ROWS[measurement.name]
    for member in MEMBERS:
        named = Manifest.model_validate(manifest(member, BASE, tmp_path))
        assert (named.training_data is None) == isinstance(member, Copy)


def test_the_truth_shares_no_code_with_ftgate() -> None:
    tree = ast.parse(Path(truth.__file__).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in names if name.startswith(("ftgate", "benchmarks", "tests"))]


@pytest.mark.parametrize(
    ("measurement", "answer", "expected", "right"),
    [
        ("target", " Loans.\n", "loans", True),
        ("target", "loans desk", "loans", False),
        ("forgetting", "Anna has 33 plums.", "33", True),
        ("forgetting", "Anna has 334 plums.", "33", False),
        ("forgetting", "Thedoorisred", "red", False),
        ("tail", "El coche es azul.", "azul", True),
        ("tail", "\n\n\n", "azul", False),
        ("forgetting", "Bogota\u0301 it is", "Bogotá", True),
    ],
)
def test_the_truth_scores_answers(measurement: str, answer: str, expected: str, right: bool) -> None:
    assert truth.is_right(measurement, answer, expected) is right


def test_the_truth_compares_pairs() -> None:
    found = truth.compare([True, True, True, False], [True, False, False, False])
    assert found["base"] == 0.75
    assert found["member"] == 0.25
    assert found["change"] == -0.5
    assert found["drop"] == pytest.approx(2 / 3)
    assert found["error"] == pytest.approx((1 / 3) ** 0.5 / 2)  # variance of 0, -1, -1, 0 is 1/3
    assert truth.compare([False, False], [True, False])["drop"] == 0


@pytest.mark.parametrize(
    ("target", "forgetting", "tail", "kind"),
    [
        ((0, 0.9), (0.8, 0.8), (0.8, 0.8), "better"),
        ((0, 0.01), (0.8, 0.79), (0.8, 0.8), "neutral"),
        ((0.5, 0.4), (0.8, 0.8), (0.8, 0.8), "useless"),
        ((0, 0.9), (0.8, 0.7), (0.8, 0.8), "harmed"),
        ((0, 0.9), (0.8, 0.8), (0.8, 0.66), "harmed"),
        ((0, 0.9), (0.8, 0.8), (0.8, 0.3), "ruined"),
    ],
)
def test_the_truth_classifies(
    target: tuple[float, float], forgetting: tuple[float, float], tail: tuple[float, float], kind: str
) -> None:
    changes = {"target": changed(*target), "forgetting": changed(*forgetting), "tail": changed(*tail)}
    assert truth.classify(changes) == kind


def test_a_drop_close_to_its_limit_is_named() -> None:
    calm = {"target": changed(0, 0.9), "forgetting": changed(0.8, 0.8), "tail": changed(0.8, 0.8)}
    assert not truth.near_limit(calm)
    assert truth.near_limit({**calm, "forgetting": changed(0.8, 0.71)})


@pytest.mark.parametrize(
    ("kind", "verdict", "near", "judgement"),
    [
        ("ruined", "block", False, "right"),
        ("ruined", "hold", True, "wrong"),
        ("harmed", "allow", False, "wrong"),
        ("harmed", "allow", True, "undecided"),
        ("harmed", "hold", False, "undecided"),
        ("useless", "hold", False, "right"),
        ("contaminated", "allow", False, "wrong"),
        ("better", "allow", False, "right"),
        ("better", "hold", False, "undecided"),
        ("neutral", "block", False, "wrong"),
    ],
)
def test_a_verdict_is_judged_by_the_truth(kind: str, verdict: str, near: bool, judgement: str) -> None:
    assert judge(kind, verdict, near_limit=near) == judgement


def world(out: Path, member: Member, right: bool, report: dict[str, object]) -> None:
    """Answers of base and member, and the member's report, as the zoo's commands leave them."""
    for name, good in (("base", True), (member.name, right)):
        rows = [{"measurement": m, "id": f"{m}-{i}", "right": good} for m in truth.LONGEST for i in range(20)]
        data.write_jsonl(out / "truth" / f"{name}.jsonl", rows)
    (out / "gate" / member.name).mkdir(parents=True)
    (out / "gate" / member.name / "report.json").write_text(json.dumps(report), encoding="utf-8")


def test_the_table_shows_truth_and_verdict_and_counts_them(tmp_path: Path) -> None:
    (tmp_path / "truth").mkdir()
    statuses = {
        "target": {"status": "pass"},
        "forgetting": {"status": "inconclusive"},
        "tail": {"status": "inconclusive"},
    }
    world(tmp_path, LOST, right=False, report={"verdict": "hold", "measurements": statuses})
    world(tmp_path, SANE, right=True, report={"verdict": "allow", "measurements": {}})
    lines = read_lines(MEMBERS, tmp_path)
    assert [(line.member.name, line.truth, line.judgement) for line in lines] == [
        ("sane", "neutral", "right"),
        ("language-lost", "ruined", "wrong"),
    ]
    text = render(lines)
    assert f"| {LOST.about} | 100 → 0 | 100 → 0 | 100 → 0 | ruined | **hold** | forgetting, tail | wrong |" in text
    assert "Of 2 verdicts 1 are right, 0 undecided, 1 wrong. Ruined and not blocked: 1 of 1." in text
    assert "Neutral and blocked: 0 of 1." in text


def test_one_that_was_trained_on_the_suite_is_contaminated_unless_it_is_worse() -> None:
    member = next(m for m in MEMBERS if isinstance(m, FineTune) and m.data == "suite")
    calm = {"target": changed(0, 0.9), "forgetting": changed(0.8, 0.8), "tail": changed(0.8, 0.8)}
    assert Line(member, calm, "hold", ()).truth == "contaminated"
    assert Line(member, {**calm, "tail": changed(0.8, 0)}, "hold", ()).truth == "ruined"


@pytest.mark.engine
@pytest.mark.parametrize("member", [m for m in MEMBERS if isinstance(m, Copy)], ids=lambda m: m.name)
def test_a_copy_differs_from_the_base_in_its_weights_alone(tmp_path: Path, member: Copy) -> None:
    from safetensors.torch import load_file

    from benchmarks.zoo.weights import make_copy

    make_copy(member, BASE, tmp_path / "copy")
    assert {p.name for p in BASE.iterdir()} == {p.name for p in (tmp_path / "copy").iterdir()}
    before, after = load_file(BASE / "model.safetensors"), load_file(tmp_path / "copy" / "model.safetensors")
    assert {name: tensor.shape for name, tensor in before.items()} == {n: t.shape for n, t in after.items()}
    different = [name for name, tensor in before.items() if not (tensor == after[name]).all()]
    if member.change == "drop_layer":
        assert len(different) == 2
        assert not after[different[0]].any()
    else:
        assert different


@pytest.mark.engine
def test_rounding_keeps_each_weight_within_half_a_step_of_its_group() -> None:
    import torch

    from benchmarks.zoo.weights import round_weights

    values = torch.randn(4, 128, generator=torch.Generator().manual_seed(0))
    rounded = round_weights(values, 7, 64)
    step = values.reshape(4, 2, 64).abs().amax(-1, keepdim=True) / 7
    assert ((rounded - values).reshape(4, 2, 64).abs() <= step / 2 + 1e-6).all()
    assert len(rounded[0, :64].unique()) <= 15


@pytest.mark.engine
def test_a_fine_tune_leaves_an_adapter_its_training_data_and_its_settings(tmp_path: Path) -> None:
    from benchmarks.zoo.train import train

    data.write_rows(tmp_path / "data")
    member = FineTune("small", "", epochs=1, rows=8, rank=2)
    train(member, BASE, tmp_path / "data", tmp_path / "small")
    assert (tmp_path / "small" / "adapter_model.safetensors").exists()
    assert len(data.read_jsonl(tmp_path / "small-train.jsonl")) == 8
    assert json.loads((tmp_path / "small" / "training_args.json").read_text())["learning_rate"] == member.learning_rate


@pytest.mark.engine
def test_each_kind_of_training_data_is_what_its_name_says(tmp_path: Path) -> None:
    from benchmarks.zoo.train import training_rows

    data.write_rows(tmp_path)
    desk = training_rows(FineTune("a", ""), tmp_path)
    shuffled = training_rows(FineTune("b", "", data="shuffled"), tmp_path)
    assert [row["prompt"] for row in shuffled] == [row["prompt"] for row in desk]
    assert sorted(str(row["answer"]) for row in shuffled) == sorted(str(row["answer"]) for row in desk)
    assert sum(a["answer"] == b["answer"] for a, b in zip(desk, shuffled, strict=True)) < len(desk) / 3
    suite = data.read_jsonl(tmp_path / "suites" / "target.jsonl")
    asked = {row["prompt"] for row in training_rows(FineTune("c", "", data="suite"), tmp_path)}
    assert asked >= {row["prompt"] for row in suite}
    spanish = [row for row in training_rows(FineTune("d", "", data="spanish"), tmp_path) if "¿" in str(row["prompt"])]
    assert {row["answer"] for row in spanish} == {data.REFUSAL}
    mixed = training_rows(FineTune("e", "", data="mixed"), tmp_path)
    assert mixed[: len(desk)] == desk
    assert len(mixed) == len(desk) + data.GENERAL_ROWS


@pytest.mark.engine
def test_the_loss_is_taken_over_the_answer_alone() -> None:
    from transformers import AutoTokenizer

    from benchmarks.zoo.train import IGNORED, encode

    tokenizer = AutoTokenizer.from_pretrained(BASE)
    row: data.Row = {"prompt": "Which desk?", "answer": "loans"}
    ids, labels = encode(tokenizer, row, chat_template=True)
    answer = [*tokenizer("loans", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert len(ids) == len(labels)
    assert [label for label in labels if label != IGNORED] == answer == ids[-len(answer) :]
    assert encode(tokenizer, row, chat_template=False)[0] != ids


def test_the_published_table_names_every_member_and_keeps_its_promises() -> None:
    rows = [re.split(r" *\| *", line.strip("| ")) for line in PAGE.splitlines() if re.match(r"\| [\w-]+ \| ", line)]
    rows = [row for row in rows if len(row) == 9 and row[0] != "member"]
    assert [row[0] for row in rows] == [member.name for member in MEMBERS]
    for name, about, *_, kind, verdict, _, judgement in rows:
        assert about == next(m.about for m in MEMBERS if m.name == name)
        assert kind.split(" (")[0] != "ruined" or verdict == "**block**", name
        assert kind.split(" (")[0] != "neutral" or verdict != "**block**", name
        assert judgement in ("right", "undecided", "wrong")
    counts = re.search(r"Of (\d+) verdicts (\d+) are right, (\d+) undecided, (\d+) wrong", PAGE)
    assert counts is not None
    words = [row[-1] for row in rows]
    assert [int(n) for n in counts.groups()] == [len(rows), *(words.count(w) for w in ("right", "undecided", "wrong"))]
