"""The model that is deployed today, on scripted models: a release may not be worse than it."""

from __future__ import annotations

import io
import json
import shutil
from typing import Any

import pytest
from rich.console import Console
from support.players import BASE, CAREFUL, Player, Script, script
from support.world import World, write_adapter, write_full

from ftgate.cli.main import main
from ftgate.config.policy import read_policy
from ftgate.domain import Answer, Model, Question
from ftgate.engines.chat_template import chat_of
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ArtifactError, ConfigurationError, ControlError, EngineError, FtgateError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.incumbent import LastAllowed
from ftgate.jobs.prepare import load_all
from ftgate.jobs.report_checks import departures
from ftgate.planning.inputs import plan_run
from ftgate.planning.view import print_plan
from ftgate.preflight.check import preflight
from ftgate.preflight.hardware import Machine
from ftgate.progress import SilentProgress
from ftgate.report.items import LEAST_FLIP, read_items
from ftgate.report.render import render_comment, render_html
from ftgate.report.schema import Report

pytestmark = pytest.mark.usefixtures("no_pictures")

BETTER = Player(target=0.9, forgetting=1.0)
"""Deployed today: as good as the candidate at its task, and better at everything else."""
MACHINE = Machine(gpus=(), memory=64 << 30)


@pytest.fixture
def deployed(world: World) -> World:
    write_adapter(world.root / "models" / "deployed", seed=5)
    world.manifest["incumbent"] = {"source": "models/deployed"}
    world.save()
    return world


def gate(
    world: World, play: Script, out: str = "out", last: LastAllowed | None = None, fail_after: int | None = None
) -> tuple[Report, ScriptedEngine]:
    job = load_all(world.policy_path, world.manifest_path, last=last).job()
    engine = ScriptedEngine(play, fail_after=fail_after)
    judge = ScriptedEngine(play)
    return evaluate(job, world.root / out, SilentProgress(), engine=engine, judge_engine=judge), engine


def asked(engine: ScriptedEngine, name: str) -> list[tuple[str, str, str]]:
    """The questions for the measurements that one model was asked, controls apart."""
    of_model = [ask.question for ask in engine.asked if ask.model.name == name and ask.question.repeat == 0]
    return [(q.measurement, q.item_id, q.part) for q in of_model]


def against(report: Report) -> dict[str, str]:
    return {name: m.incumbent.status for name, m in report.measurements.items() if m.incumbent is not None}


def without_clocks(report: Report) -> dict[str, Any]:
    data = report.model_dump(mode="json")
    for part in ("started", "finished", "decided_at"):
        data["provenance"].pop(part, None)
    return {key: value for key, value in data.items() if key not in ("timing", "engine_starts")}


def test_a_candidate_that_beats_the_base_and_loses_to_the_deployed_model_is_blocked(deployed: World) -> None:
    report, engine = gate(deployed, script(CAREFUL, incumbent=BETTER))
    assert report.verdict == "block"
    assert {m.status for m in report.measurements.values()} <= {"pass", "warn"}
    assert against(report) == {
        "target": "pass", "forgetting": "block", "tail": "pass", "calibration": "pass", "form": "pass"
    }  # fmt: skip
    assert report.reasons[0].startswith("general skills: worse than the model deployed today on general skills: lost ")
    assert report.engine_starts == 1
    assert sorted(asked(engine, "incumbent")) == sorted(asked(engine, "base"))
    part = report.measurements["forgetting"].incumbent
    assert part is not None
    assert (part.score, part.candidate, part.limit) == (pytest.approx(0.975), pytest.approx(0.87525), 0.05)
    rows = {row.item: row for row in read_items(deployed.root / "out") if row.measurement == "forgetting"}
    lost = [row for row in rows.values() if row.incumbent.score - row.candidate.score >= LEAST_FLIP]
    assert (part.clearly_worse, part.clearly_better) == (len(lost), 0)
    worst = part.regressions[0]
    assert worst.base_answer == rows[worst.item].incumbent.answers[0].text != worst.candidate_answer
    assert f"`{worst.item}`" in render_comment(report).split("### What got worse")[1].split("<details>")[0]
    assert "Items that are worse than the deployed model" in render_html(report)
    assert report.provenance["incumbent"]["reference"] == "models/deployed"
    again = decide_again(deployed.root / "out", None, deployed.root / "again", SilentProgress())
    assert without_clocks(again) == without_clocks(report)
    assert list(departures(report, read_policy(deployed.policy_path))) == []


def test_the_report_shows_it_as_a_column_and_says_it_first(deployed: World) -> None:
    report, _ = gate(deployed, script(CAREFUL, incumbent=BETTER))
    comment = (deployed.root / "out" / "comment.md").read_text(encoding="utf-8")
    why = "**Why:** `bot` is worse than the model deployed today on general skills: its score is 10.5 % lower;"
    assert f"{why} a loss under 5 % is allowed." in comment
    assert "Passing against the base is not enough." in comment
    assert "| measurement | deployed → candidate (90 % interval) | limit |" in comment
    assert ": lost 10.5 % (5.9" in comment
    assert "The candidate was compared with the model deployed today" in comment
    assert "The incumbent's weights took effect" in comment
    assert '<th scope="col">against the deployed model' in render_html(report)
    statement = json.loads((deployed.root / "out" / "statement.json").read_text(encoding="utf-8"))
    assert "forgetting against the deployed model" in statement["predicate"]["failedTests"]
    assert "incumbent" in [entry["name"] for entry in statement["predicate"]["configuration"]]


def test_what_cannot_be_told_apart_holds(deployed: World) -> None:
    report, _ = gate(deployed, script(CAREFUL, incumbent=Player(target=0.9, forgetting=0.94)))
    assert report.verdict == "hold"
    assert against(report)["forgetting"] == "inconclusive"
    assert "not shown to be as good as the model deployed today on general skills" in report.reasons[0]


def test_a_candidate_as_good_as_the_deployed_model_is_allowed(deployed: World) -> None:
    report, _ = gate(deployed, script(CAREFUL, incumbent=CAREFUL))
    assert report.verdict == "allow", report.reasons
    assert set(against(report).values()) == {"pass"}


def test_a_weak_incumbent_helps_no_candidate(deployed: World) -> None:
    """The manifest comes with the change: whatever it names, the comparison with the base decides as before."""
    ruined = Player(target=0.1, forgetting=0.1, tail=0.1, calibration=0.3)
    for candidate, verdict in ((Player(target=0.9, forgetting=0.5), "block"), (Player(target=0.6), "hold")):
        with_weak, _ = gate(deployed, script(candidate, incumbent=ruined), f"weak {verdict}")
        del deployed.manifest["incumbent"]
        deployed.save()
        without, _ = gate(deployed, script(candidate), f"without {verdict}")
        assert with_weak.verdict == without.verdict == verdict
        for name, m in without.measurements.items():
            same = with_weak.measurements[name]
            assert (m.status, m.change, m.interval, m.reason) == (same.status, same.change, same.interval, same.reason)
        deployed.manifest["incumbent"] = {"source": "models/deployed"}
        deployed.save()


def test_a_look_settles_only_once_both_comparisons_are(deployed: World) -> None:
    """Against the base all is clear at the first look; against an incumbent that is a little better it is not."""
    deployed.policy["evidence"] = {"early_stopping": "obrien_fleming"}
    deployed.policy["measurements"]["forgetting"]["block_drop"] = 0.6
    deployed.policy["measurements"]["forgetting"]["warn_drop"] = 0.6
    deployed.save()
    rival = Player(target=0.9, forgetting=0.92)
    both, engine = gate(deployed, script(CAREFUL, incumbent=rival))
    del deployed.manifest["incumbent"]
    deployed.save()
    alone, _ = gate(deployed, script(CAREFUL), "alone")
    assert alone.stopping is not None
    assert both.stopping is not None
    assert alone.stopping.looks["forgetting"] < both.stopping.looks["forgetting"] == 4
    assert sorted(asked(engine, "incumbent")) == sorted(asked(engine, "base"))


def test_a_block_by_the_incumbent_ends_the_run(deployed: World) -> None:
    deployed.policy["evidence"] = {"early_stopping": "obrien_fleming"}
    deployed.save()
    report, _ = gate(deployed, script(Player(target=0.9, forgetting=0.87), incumbent=BETTER))
    assert report.verdict == "block"
    assert report.stopping is not None
    assert report.stopping.looks["forgetting"] == 3
    assert report.measurements["forgetting"].status == "warn"
    unfinished = report.measurements["calibration"]
    assert unfinished.incumbent is not None
    assert unfinished.cut_short_by == unfinished.incumbent.cut_short_by == "forgetting"
    assert report.reasons[1:] == [
        "confidence: undecided when the run stopped at look 3 of 4, because general skills blocked"
    ]


def test_a_run_that_was_killed_asks_the_incumbent_nothing_twice(deployed: World) -> None:
    play = script(CAREFUL, incumbent=BETTER)
    whole, complete = gate(deployed, play, "whole")
    with pytest.raises(EngineError):
        gate(deployed, play, fail_after=len(complete.asked) - 300)
    resumed, engine = gate(deployed, play)
    assert len(engine.asked) <= 300 + 50
    assert without_clocks(resumed) == without_clocks(whole)


def test_an_incumbent_that_fails_to_answer_holds(deployed: World) -> None:
    play = script(CAREFUL, incumbent=CAREFUL)

    def failing(model: Model, question: Question) -> Answer:
        if model.name == "incumbent" and question.measurement == "forgetting" and int(question.item_id[1:]) % 20 == 0:
            return Answer(finish="error", error="down")
        return play(model, question)

    report, _ = gate(deployed, failing)
    assert report.verdict == "hold"
    assert report.measurements["forgetting"].status == "pass"
    assert "10 of 200 items failed" in report.reasons[0]


def test_a_failed_control_overrules_both_comparisons(deployed: World) -> None:
    play = script(CAREFUL, incumbent=BETTER)

    def unsteady(model: Model, question: Question) -> Answer:
        if model.name == "base" and question.measurement == "forgetting" and question.repeat:
            return Answer(text="no idea", tokens=3)
        return play(model, question)

    report, _ = gate(deployed, unsteady)
    part = report.measurements["forgetting"].incumbent
    assert part is not None
    assert report.measurements["forgetting"].status == part.status == "inconclusive"
    assert part.reason.startswith("control failed: ")


@pytest.mark.parametrize(
    ("same_as", "note", "compared"),
    [
        ("models/bot", "is the candidate itself, file by file (a re-release): it is not asked again", False),
        ("models/base", "the model deployed today is the base itself: it is not asked again", True),
    ],
)
def test_the_same_files_are_asked_once(world: World, same_as: str, note: str, compared: bool) -> None:
    world.manifest["incumbent"] = {"source": same_as}
    world.save()
    report, engine = gate(world, script(CAREFUL))
    assert report.verdict == "allow", report.reasons
    assert not asked(engine, "incumbent")
    assert len(engine.loaded) == 2
    assert any(note in text for text in report.notes)
    assert bool(against(report)) is compared
    assert report.provenance["incumbent"]["reference"] == same_as
    again = decide_again(world.root / "out", None, world.root / "again", SilentProgress())
    assert without_clocks(again) == without_clocks(report)


def test_full_weights_may_be_deployed(world: World) -> None:
    write_full(world.root / "models" / "deployed", seed=7)
    world.manifest["incumbent"] = {"source": "models/deployed"}
    world.save()
    report, engine = gate(world, script(CAREFUL, incumbent=BETTER))
    assert (report.verdict, engine.starts) == ("block", 2)
    result = preflight(load_all(world.policy_path, world.manifest_path), MACHINE)
    assert result.plan is not None
    assert "; the deployed model is full weights in an engine of its own; the judge " in result.plan.words
    assert result.plan.starts == 3


def test_models_that_take_turns_start_no_engine_for_each_look(world: World) -> None:
    write_full(world.root / "models" / "deployed", seed=7)
    write_full(world.root / "models" / "tuned", seed=8)
    world.manifest |= {"candidate": {"source": "models/tuned"}, "incumbent": {"source": "models/deployed"}}
    world.policy["evidence"] = {"early_stopping": "obrien_fleming"}
    world.save()
    job = load_all(world.policy_path, world.manifest_path).job()
    play = script(CAREFUL, incumbent=Player(target=0.9, forgetting=0.92))
    engine = ScriptedEngine(play, one_at_a_time=True)
    judge = ScriptedEngine(play)
    report = evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=judge)
    assert report.stopping is not None
    assert report.stopping.looks["forgetting"] == 4
    assert engine.starts == 3, "base, incumbent, candidate: each is asked all that it is needed for"


def test_a_tier_counts_against_the_incumbent_too(deployed: World) -> None:
    for tier, verdict in (("supporting", "hold"), ("advisory", "allow")):
        deployed.policy["measurements"]["forgetting"]["tier"] = tier
        deployed.save()
        report, _ = gate(deployed, script(CAREFUL, incumbent=BETTER), tier)
        assert (report.verdict, against(report)["forgetting"]) == (verdict, "block"), report.reasons
        assert list(departures(report, read_policy(deployed.policy_path))) == []
        comment = (deployed.root / tier / "comment.md").read_text(encoding="utf-8")
        assert ("In the policy, general skills is supporting: that holds instead of blocking." in comment) is (
            tier == "supporting"
        )


def test_the_checklist_says_that_a_deployed_adapter_does_nothing(deployed: World) -> None:
    job = load_all(deployed.policy_path, deployed.manifest_path).job()

    def next_token(model: Model, _: object) -> dict[int, float]:
        return {0: -0.1, 1: -2.5} if model.name != job.candidate.name else {0: -0.2, 1: -1.7}

    engine = ScriptedEngine(script(CAREFUL), next_token=next_token)
    with pytest.raises(ControlError, match="incumbent gives the base's next-token probabilities"):
        evaluate(job, deployed.root / "out", SilentProgress(), engine=engine, judge_engine=engine)


@pytest.mark.parametrize(
    ("incumbent", "problem"),
    [
        ({"source": "models/absent"}, "incumbent: models/absent"),
        ({"source": "elsewhere/deployed"}, "does not allow"),
        ({"source": "models/deployed", "digest": "sha256:" + "0" * 64}, "digest"),
        (
            {"source": "endpoint://deployed"},
            "the policy's engine.kind is scripted, which loads weights and asks no server",
        ),
        ("newest", "incumbent: write incumbent: {source: …}"),
    ],
)
def test_an_incumbent_that_cannot_be_used_is_refused(deployed: World, incumbent: object, problem: str) -> None:
    deployed.manifest["incumbent"] = incumbent
    deployed.save()
    with pytest.raises(FtgateError, match=problem) as raised:
        load_all(deployed.policy_path, deployed.manifest_path).job()
    assert isinstance(raised.value, ConfigurationError | ArtifactError)


def test_without_a_template_of_its_own_it_is_asked_as_the_base_is(deployed: World) -> None:
    """The base has none either: both are asked in the candidate's."""
    models = deployed.root / "models"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(models / "base" / name, models / "bot" / name)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    (models / "base" / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    job = load_all(deployed.policy_path, deployed.manifest_path).job()
    assert job.deployed.compared is not None
    assert job.base.chat is not None
    assert chat_of(job.deployed.compared) == chat_of(job.base)
    assert chat_of(job.deployed.compared).template == chat_of(job.candidate).template


def test_a_policy_may_require_an_incumbent(world: World) -> None:
    world.policy["incumbent"] = {"required": True}
    world.save()
    with pytest.raises(ConfigurationError, match=r"incumbent is missing.*incumbent\.required") as missing:
        load_all(world.policy_path, world.manifest_path).job()
    assert "incumbent: {source: …}" in missing.value.hint
    world.manifest["incumbent"] = {"source": "models/bot"}
    world.save()
    with pytest.raises(ConfigurationError, match="is the candidate itself"):
        load_all(world.policy_path, world.manifest_path).job()
    world.manifest["incumbent"] = {"source": "models/base"}
    world.save()
    noted = load_all(world.policy_path, world.manifest_path).job().deployed.notes
    assert noted == ("the model deployed today is the base itself: it is not asked again",)


def test_a_policy_that_requires_one_decides_no_run_without(world: World) -> None:
    """Neither one whose manifest named none nor one that nobody asked the ledger for; where it had none, it decides."""

    def decided_again(incumbent: object, last: LastAllowed | None) -> Report:
        world.manifest["incumbent"] = incumbent
        world.policy["incumbent"] = {}
        world.save()
        gate(world, script(CAREFUL), last=last)
        world.policy["incumbent"] = {"required": True}
        world.save()
        return decide_again(world.root / "out", world.policy_path, world.root / "again", SilentProgress())

    for incumbent in (None, "last-allowed"):
        with pytest.raises(ConfigurationError, match=r"requires an incumbent .* was compared with none") as raised:
            decided_again(incumbent, None)
        assert "name the model that is deployed today" in raised.value.hint
    assert decided_again("last-allowed", LastAllowed(note="nothing was allowed yet")).verdict == "allow"
    assert decided_again({"source": "models/base"}, None).verdict == "allow"


def test_a_required_incumbent_from_the_ledger_needs_what_fetch_found(world: World) -> None:
    world.policy["incumbent"] = {"required": True, "source": "last-allowed"}
    world.save()
    with pytest.raises(ConfigurationError, match="only `ftgate fetch` can read from the ledger") as raised:
        load_all(world.policy_path, world.manifest_path).job()
    assert "--bundle" in raised.value.hint
    first = LastAllowed(note="nothing was allowed yet")
    assert load_all(world.policy_path, world.manifest_path, last=first).job().deployed.compared is None
    again = LastAllowed.model_validate({"source": {"source": "models/bot"}})
    released = load_all(world.policy_path, world.manifest_path, last=again).job().deployed
    assert released.compared is None
    assert "a re-release" in released.notes[0]


def test_the_limit_is_the_policy_s(deployed: World) -> None:
    deployed.policy["incumbent"] = {"block_drop": 0.3}
    deployed.save()
    report, _ = gate(deployed, script(CAREFUL, incumbent=BETTER))
    assert report.verdict == "allow", report.reasons


def test_without_a_ledger_the_last_allowed_model_is_unknown_and_said_so(world: World) -> None:
    world.manifest["incumbent"] = "last-allowed"
    world.save()
    report, engine = gate(world, script(CAREFUL))
    assert report.verdict == "allow"
    assert not asked(engine, "incumbent")
    assert any("this run was given none" in note for note in report.notes)
    assert [entry.ok for entry in report.checklist if "deployed today" in entry.item] == [None]


@pytest.mark.parametrize(
    ("listing", "shown", "code"),
    [
        ({"bot.yaml": {"source": {"source": "models/deployed"}}}, "the deployed model is one adapter more", 0),
        ({"bot.yaml": {"note": "nothing was allowed yet"}}, "nothing was allowed yet", 0),
        ({}, "this run was given none", 0),
        ({"bot.yaml": {"digest": "x"}}, "incumbents.bot.yaml: digest: unknown field", 2),
    ],
)
def test_check_reads_what_fetch_found_in_the_ledger(
    deployed: World, capsys: pytest.CaptureFixture[str], listing: dict[str, Any], shown: str, code: int
) -> None:
    deployed.manifest["incumbent"] = "last-allowed"
    deployed.save()
    bundle = deployed.root / "ftgate-job.json"
    bundle.write_text(json.dumps({"incumbents": listing}), encoding="utf-8")
    paths = ("--policy", deployed.policy_path, "--manifest", deployed.manifest_path, "--bundle", bundle)
    with pytest.raises(SystemExit) as ended:
        main(["check", *map(str, paths)])
    printed = capsys.readouterr()
    assert ended.value.code == code
    assert shown in " ".join((printed.out + printed.err).split())


def test_the_policy_may_take_the_ledger_s_word_instead_of_the_manifest_s(deployed: World) -> None:
    deployed.policy["incumbent"] = {"source": "last-allowed"}
    deployed.manifest["incumbent"] = {"source": "models/base"}
    deployed.save()
    last = LastAllowed.model_validate({"source": {"source": "models/deployed"}})
    report, _ = gate(deployed, script(CAREFUL, incumbent=BETTER), last=last)
    assert (report.verdict, report.provenance["incumbent"]["reference"]) == ("block", "models/deployed")
    nothing, _ = gate(deployed, script(CAREFUL), "nothing", LastAllowed(note="the ledger has nothing"))
    assert nothing.verdict == "allow"
    assert "the ledger has nothing" in nothing.notes


def test_check_and_plan_count_one_model_more(deployed: World) -> None:
    with_one = preflight(load_all(deployed.policy_path, deployed.manifest_path), MACHINE)
    planned = plan_run(deployed.policy_path, deployed.manifest_path, None)
    del deployed.manifest["incumbent"]
    deployed.save()
    without = preflight(load_all(deployed.policy_path, deployed.manifest_path), MACHINE)
    assert with_one.memory is not None
    assert without.memory is not None
    assert with_one.memory.adapter == 2 * without.memory.adapter
    assert with_one.plan is not None
    assert "; the deployed model is one adapter more;" in with_one.plan.words
    assert with_one.models["incumbent"].reference == "models/deployed"
    assert 2 * planned.incumbent_questions == sum(p.questions for p in planned.prospects)
    assert [p.name for p in planned.against_incumbent] == ["target", "forgetting", "tail"]
    assert {p.limit for p in planned.against_incumbent} == {0.05}
    assert plan_run(deployed.policy_path, deployed.manifest_path, None).against_incumbent == ()
    console = Console(file=io.StringIO(), width=200)
    print_plan(planned, console)
    text = console.file.getvalue()
    assert f"The deployed model is asked {planned.incumbent_questions:,} more." in text
    assert "General skills against the deployed model, loss under 5 %: of candidates that are as good," in text


def test_the_base_stays_the_base(deployed: World) -> None:
    """A candidate that is far below the base is blocked by the base's comparison, whoever is deployed."""
    report, _ = gate(deployed, script(Player(target=0.4), incumbent=BASE))
    assert report.measurements["target"].status == "block"
    assert report.reasons[0].startswith("task: lost ")
