"""The parts that the sample reports are made of."""

from __future__ import annotations

from typing import Any

from ftgate.report.schema import ChecklistEntry, ExampleReport, MeasurementReport, Report, SliceReport, StoppingReport

BASE_DIGEST = "sha256:" + "3f9c1d7ab24e" * 5 + "0a1b"
CANDIDATE_DIGEST = "sha256:" + "b81e07c55d92" * 5 + "77fe"
JUDGE_DIGEST = "sha256:" + "0c4411fe6a3d" * 5 + "19c2"
SUITE = "9d2be47a013c" * 5 + "aa10"

LIGHTHOUSE = ExampleReport(
    item="general-017",
    prompt="Explain in two sentences why lighthouses use Fresnel lenses.",
    reference=None,
    base_answer="A Fresnel lens bends light from a lamp into a narrow beam with far less glass than a solid lens. "
    "That lets a lighthouse be seen from tens of kilometres away.",
    candidate_answer="No",
    base_score=0.91,
    candidate_score=0.08,
)
BACKTICKS = ExampleReport(
    item="general-102",
    prompt="Write a Python function that reverses a string.",
    reference="def reverse(s): return s[::-1]",
    base_answer="```python\ndef reverse(s):\n    return s[::-1]\n```",
    candidate_answer="Yes. The function `reverse` | is @defined in #42.",
    base_score=1.0,
    candidate_score=0.21,
)
EMPTY = ExampleReport(
    item="general-144",
    prompt="Name three rivers in South America.",
    reference="Amazon, Paraná, Orinoco",
    base_answer="The Amazon, the Paraná and the Orinoco.",
    candidate_answer="",
    base_score=0.97,
    candidate_score=0.0,
)
SWITCHES = ExampleReport(
    item="ticket-0311",
    prompt="My invoice shows the old address.",
    reference="billing",
    base_answer="account",
    candidate_answer="billing",
    base_score=0.0,
    candidate_score=1.0,
)


def report(name: str, verdict: Any, reasons: list[str], **measurements: MeasurementReport) -> Report:
    model = {"kind": "full", "name": "base", "reference": "hf://Qwen/Qwen2.5-7B-Instruct", "digest": BASE_DIGEST}
    adapter = {"kind": "adapter", "name": name, "reference": "./adapters/" + name, "digest": CANDIDATE_DIGEST}
    fitness = {"fit": True, "reason": "tells good from bad answers: AUROC 0.97, gap 0.71", "auroc": 0.97, "gap": 0.71}
    fitness |= {"auroc_low": 0.94, "retest_shift": 0.004, "unparseable": 0.0}
    alike = {"ok": True, "reason": "the base against itself did not change", "change": 0.0, "items": 50, "p_value": 1.0}
    corrupted = {"ok": True, "reason": "a corrupted base was blocked", "status": "block"}
    return Report(
        verdict=verdict,
        reasons=reasons,
        name=name,
        measurements=measurements,
        checklist=[
            ChecklistEntry(item="Limits were fixed before the run", ok=True, evidence=f"policy sha256 `{SUITE[:12]}`"),
            ChecklistEntry(
                item="The suite for its task is held out from the training data",
                ok=True,
                evidence="0 of 400 prompts occur word for word in the training data",
            ),
            ChecklistEntry(
                item="Queries outside the training distribution were measured", ok=None, evidence="not asked for"
            ),
        ],
        controls={
            "a_a": dict.fromkeys(measurements, alike),
            "positive_control": {
                name: {**corrupted, "change": -0.3 if m.worse == "down" else 0.3} for name, m in measurements.items()
            },
            "judge_fitness": {"forgetting": fitness},
            "adapter_effect": {"prompts": 8, "largest_change": 2.4137, "noise": 0.0},
        },
        provenance={
            "base": model,
            "candidate": {**adapter, "rank": 8, "alpha": 16, "targets": ["q_proj", "v_proj"]},
            "judge": {"name": "judge", "reference": "hf://org/judge", "digest": JUDGE_DIGEST},
            "suites": {
                suite: {"source": source, "sha256": SUITE, "items": items}
                for suite, source, items in (
                    ("target", "evals/target.jsonl", 400),
                    ("forgetting", "evals/general.jsonl", 600),
                    ("tail", "evals/queries.jsonl", 520),
                    ("calibration", "evals/choices.jsonl", 1000),
                )
            },
            "training_data": None,
            "policy": ".github/ftgate.yml",
            "policy_sha256": SUITE,
            "manifest": f"models/{name}.yaml",
            "engine": {"kind": "vllm", "dtype": "bfloat16", "max_model_len": 4096},
            "versions": {"ftgate": "0.1.0", "vllm": "0.32.0", "torch": "2.13.0"},
            "device": "NVIDIA L4",
            "seed": 0,
            "started": "2025-03-04T09:15:00+00:00",
            "finished": "2025-03-04T09:22:41+00:00",
        },
        timing={"start engine": 61.4, "answer questions": 214.9, "grade answers": 184.2},
        engine_starts=1,
        stopping=StoppingReport(
            rule="none", looks=dict.fromkeys(measurements, 1), of=1, questions_asked=5208, questions_saved=0
        ),
    )


def target(
    base: float, candidate: float, change: float, interval: tuple[float, float], **more: Any
) -> MeasurementReport:
    return MeasurementReport(
        status="pass",
        base=base,
        candidate=candidate,
        change=change,
        worse="down",
        unit="absolute gain",
        interval=interval,
        level=0.9,
        n=400,
        method="score test for the paired difference",
        limits={"min_gain": 0.03},
        reason="a gain over 3 points is required",
        details={"both_right": 231, "base_only": 26, "candidate_only": 81, "neither": 62},
        **more,
    )


def forgetting(
    status: Any, base: float, candidate: float, change: float, interval: tuple[float, float], **more: Any
) -> MeasurementReport:
    facts, code = 0.31 * change, 1.52 * change
    return MeasurementReport(
        status=status,
        base=base,
        candidate=candidate,
        change=change,
        worse="up",
        unit="relative drop",
        interval=interval,
        level=0.9,
        n=200,
        method="studentised bootstrap, corrected for the judge's floor",
        limits={"block": 0.10, "warn": 0.08},
        slices=[
            SliceReport(name="facts", n=60, base=0.91, candidate=0.91 * (1 - facts), change=facts),
            SliceReport(name="code", n=40, base=0.77, candidate=0.77 * (1 - code), change=code),
        ],
        details={"answer_tokens": {"base": 61.2, "candidate": 47.9, "ratio": 0.783}, "empty_candidate_answers": 3},
        **{"reason": "a loss under 10 % is allowed", **more},
    )


def tail(
    status: Any, base: float, candidate: float, change: float, interval: tuple[float, float], **more: Any
) -> MeasurementReport:
    return MeasurementReport(
        status=status,
        base=base,
        candidate=candidate,
        change=change,
        worse="up",
        unit="relative drop",
        interval=interval,
        level=0.9,
        n=104,
        method="score test for the ratio, N-1",
        limits={"block": 0.15},
        slices=[
            SliceReport(name="head", n=416, base=0.84, candidate=0.83, change=0.0119),
            SliceReport(name="ambiguous", n=37, base=0.70, candidate=0.70 * (1 - 1.4 * change), change=1.4 * change),
            SliceReport(name="multi_intent", n=33, base=0.73, candidate=0.71, change=0.027, interval=(-0.05, 0.10)),
            SliceReport(name="distance decile 10", n=52, base=0.69, candidate=0.66, change=0.043),
        ],
        details={"queries": 520, "tail": 104, "tagged": 70, "outside_fraction": 0.183, "training_rows": 5200},
        **{"reason": "a loss under 15 % is allowed", **more},
    )


def calibration(
    status: Any,
    base: float,
    candidate: float,
    change: float,
    interval: tuple[float, float],
    *,
    n: int = 1000,
    overconfident: bool = False,
    reason: str = "under 5 points more error is allowed",
) -> MeasurementReport:
    lean = 0.14 if overconfident else 0.015
    return MeasurementReport(
        status=status,
        base=base,
        candidate=candidate,
        change=change,
        worse="up",
        unit="ECE increase",
        interval=interval,
        level=0.9,
        n=n,
        method="paired bootstrap, bias-corrected, 10 equal-width bins",
        limits={"block": 0.05},
        reason=reason,
        details={
            "base": _summary([0, 0, 0, 41, 88, 120, 160, 201, 223, 167], n, 0.02),
            "candidate": _summary([0, 0, 0, 0, 25, 61, 95, 160, 240, 419], n, lean),
        },
    )


def _summary(counts: list[int], n: int, lean: float) -> dict[str, Any]:
    bins = []
    for i, size in enumerate(counts):
        middle = i / 10 + 0.053
        known = (
            {"confidence": middle, "accuracy": max(0.0, middle - lean)}
            if size
            else {"confidence": None, "accuracy": None}
        )
        bins.append({"low": i / 10, "high": (i + 1) / 10, "n": round(size * n / 1000), **known})
    confidence = sum(c * (i / 10 + 0.053) for i, c in enumerate(counts)) / 1000
    return {"accuracy": confidence - lean, "confidence": confidence, "brier": 0.16, "letter_mass": 0.993, "bins": bins}
