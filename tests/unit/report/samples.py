"""Reports with realistic numbers: one that allows, one that blocks, one that holds, and one written by an attacker."""

from __future__ import annotations

from unit.report.parts import BACKTICKS, EMPTY, LIGHTHOUSE, SWITCHES, calibration, forgetting, report, tail, target

from ftgate.report.schema import ChecklistEntry, ExampleReport, Report, SliceReport, StoppingReport


def allowed() -> Report:
    return report(
        "careful",
        "allow",
        ["every measurement stayed within its limit"],
        target=target(0.642, 0.781, 0.139, (0.097, 0.181)),
        forgetting=forgetting("pass", 0.847, 0.836, 0.013, (-0.012, 0.039), regressions=[LIGHTHOUSE]),
        tail=tail("pass", 0.713, 0.694, 0.027, (-0.021, 0.077)),
        calibration=calibration("pass", 0.038, 0.051, 0.011, (-0.006, 0.028)),
    )


def blocked() -> Report:
    drop = "lost 41.2 % of what the base had (35.0 to 47.3); a loss under 10 % is allowed"
    ece = "13.1 points more error (9.8 to 16.4); under 5 points more error is allowed"
    tail_reason = (
        "lost 17.9 % of what the base had (11.2 to 24.8): the interval contains the limit, as a loss under 15 % is "
        "allowed; about 640 items would settle it"
    )
    found = report(
        "reckless",
        "block",
        [f"forgetting: {drop}", f"calibration: {ece}", f"tail: {tail_reason} (this run had 104)"],
        target=target(0.642, 0.838, 0.196, (0.155, 0.236), improvements=[SWITCHES]),
        forgetting=forgetting(
            "block", 0.847, 0.498, 0.412, (0.350, 0.473), reason=drop, regressions=[LIGHTHOUSE, BACKTICKS, EMPTY]
        ),
        tail=tail(
            "inconclusive",
            0.713,
            0.585,
            0.179,
            (0.112, 0.248),
            reason=f"{tail_reason} (this run had 104)",
            needed_n=640,
        ),
        calibration=calibration("block", 0.038, 0.169, 0.131, (0.098, 0.164), reason=ece, overconfident=True),
    )
    found.stopping = StoppingReport(
        rule="obrien_fleming",
        looks={"target": 4, "forgetting": 1, "tail": 4, "calibration": 2},
        of=4,
        questions_asked=5208,
        questions_saved=1300,
    )
    found.provenance["candidate"].update(
        rank=32,
        alpha=128,
        targets=["down_proj", "k_proj", "q_proj", "up_proj", "v_proj"],
        training={
            "learning_rate": 3e-4,
            "epochs": 5.0,
            "eval_loss_lowest": 0.8914,
            "eval_loss_lowest_epoch": 1.5,
            "eval_loss_last": 1.2036,
            "label_smoothing": 0.0,
            "files": {
                "trainer_state.json": ["epochs", "eval_loss_lowest", "eval_loss_lowest_epoch", "eval_loss_last"],
                "training_args.yaml": ["learning_rate", "label_smoothing"],
            },
        },
    )
    return found


def held() -> Report:
    drop = "lost 7.4 % of what the base had (3.1 to 11.9): the interval contains the limit, as a loss under 10 % is "
    drop += "allowed (a warning starts at 8 %)"
    drop += "; about 410 items would settle it"
    few = "240 items are too few to pass: at least 500 are needed"
    found = report(
        "support-bot",
        "hold",
        [f"forgetting: {drop} (this run had 200)", f"calibration: {few}"],
        target=target(0.642, 0.719, 0.077, (0.031, 0.122)),
        forgetting=forgetting(
            "inconclusive", 0.801, 0.742, 0.074, (0.031, 0.119), reason=f"{drop} (this run had 200)", needed_n=410
        ),
        tail=tail("pass", 0.713, 0.690, 0.032, (-0.030, 0.096)),
        calibration=calibration("inconclusive", 0.041, 0.048, 0.009, (-0.019, 0.037), n=240, reason=few),
    )
    found.measurements["calibration"].least_n = 500
    found.provenance["suites"]["calibration"]["items"] = 240
    found.measurements["calibration"].details["notes"] = [
        "the candidate puts only 86 % of its probability on the option letters"
    ]
    return found


def warned() -> Report:
    reason = (
        "lost 8.6 % of what the base had (7.4 to 9.7); a loss under 10 % is allowed, "
        "but the interval reaches the warning limit of 8 %"
    )
    found = allowed()
    found.name = "eager"
    found.reasons = [f"forgetting: {reason}"]
    found.measurements["forgetting"] = forgetting("warn", 0.847, 0.774, 0.086, (0.074, 0.097), reason=reason)
    return found


def hostile(trick: str) -> Report:
    """The blocked report with ``trick`` in every place that a name, a prompt, a model or a file can reach."""
    found = blocked()
    example = ExampleReport(
        item=trick,
        prompt=trick,
        reference=trick,
        base_answer=trick,
        candidate_answer=trick,
        base_score=1,
        candidate_score=0,
    )
    found.name = trick
    found.reasons = [trick]
    for m in found.measurements.values():
        m.reason = m.method = trick
        m.regressions, m.improvements = [example] * 12, [example] * 12
        m.slices = [SliceReport(name=trick, n=40, base=0.5, candidate=0.4, change=0.2, status=trick)]
        m.details = {"notes": [trick], trick: {trick: [trick]}, "base": m.details.get("base")}
    found.measurements[trick] = found.measurements["tail"].model_copy(update={"unit": trick})
    found.checklist = [ChecklistEntry(item=trick, ok=None, evidence=trick)]
    found.controls = {trick: {"reason": trick}, "a_a": {trick: trick}}
    found.provenance = {
        "candidate": {
            "kind": "adapter",
            "digest": trick,
            "rank": 64,
            "alpha": 1024,
            "targets": [trick, "up_proj"],
            "training": {
                "learning_rate": 0.01,
                "epochs": 9,
                trick: 3.0,
                "files": {trick: ["learning_rate", "epochs", trick]},
            },
            trick: trick,
        },
        trick: [trick],
    }
    found.timing = {trick: 3.0}
    found.stopping = StoppingReport(rule=trick, looks={trick: 1}, of=4, questions_asked=10, questions_saved=30)
    return found


def huge() -> Report:
    """A report whose comment could never fit, whatever is cut from any one part."""
    found = blocked()
    wall = "All work and no play makes a dull model. `|@team #1 <b>` " * 20_000
    example = LIGHTHOUSE.model_copy(update={"prompt": wall, "base_answer": wall, "candidate_answer": wall})
    for m in found.measurements.values():
        m.regressions, m.improvements = [example] * 50, [example] * 50
        m.slices = [SliceReport(name=f"tag {i} {wall}", n=40, base=0.5, candidate=0.4, change=0.2) for i in range(500)]
        m.details = {**m.details, **{f"detail {i}": wall for i in range(500)}}
        m.reason = wall
    found.checklist = [ChecklistEntry(item=wall, ok=True, evidence=wall)] * 300
    found.provenance["suites"] = {f"suite {i}": wall for i in range(5000)}
    found.timing = {f"phase {i}": 1.0 for i in range(5000)}
    found.reasons = [wall] * 100
    return found
