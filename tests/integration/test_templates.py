"""Whose chat template a model is asked in, and templates that lack something: in `ftgate check` and in whole runs."""

from __future__ import annotations

import io
import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.players import CAREFUL, script
from support.world import TEMPLATE, World, write_full, write_rows
from tokenizers import Tokenizer
from tokenizers.models import BPE

from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ArtifactError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_all, load_job
from ftgate.preflight.check import preflight
from ftgate.preflight.findings import Preflight
from ftgate.preflight.hardware import Machine
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report
from ftgate.report.terminal import print_report

pytestmark = pytest.mark.usefixtures("no_pictures")

OTHER = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant] "
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
NO_PROMPT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
WITH_TAG = (
    "{%- for m in messages %}<{{ m.role }}>{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
NESTED = "it nests too deep: blocks, brackets, calls of macros, or a long chain of elif"
MEMORY = "it needs too much memory"

LIMITS_BEFORE = resource.getrlimit(resource.RLIMIT_AS)


def set_template(folder: Path, template: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))


def checked(world: World) -> Preflight:
    world.save()
    return preflight(load_all(world.policy_path, world.manifest_path), Machine((), 8 << 30))


def run(world: World) -> tuple[Report, ScriptedEngine]:
    world.save()
    engine = ScriptedEngine(script(CAREFUL))
    job = load_job(world.policy_path, world.manifest_path)
    return evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=engine), engine


def models(world: World) -> Path:
    return world.root / "models"


@pytest.fixture
def own(world: World) -> World:
    """An adapter with a template of its own."""
    (models(world) / "bot" / "chat_template.jinja").write_text(OTHER)
    return world


def test_an_adapter_is_asked_in_its_own_template_and_the_report_says_so_at_the_verdict(
    own: World,
) -> None:
    report, engine = run(own)
    asked = {ask.model.name: ask.model.chat for ask in engine.asked}
    assert asked["base"] is None
    assert asked["bot"] is not None
    assert asked["bot"][1] == OTHER
    (note,) = report.notes
    assert note.startswith("the candidate was asked in its own chat template (sha256 ")
    out = own.root / "out"
    lines = (out / "comment.md").read_text().splitlines()
    table = lines.index("|---|---|---|")
    assert any("asked in its own chat template" in line for line in lines[:table]), "before the table"
    html = (out / "report.html").read_text()
    assert html.index("asked in its own chat template") < html.index("<h2>Measurements")
    assert report.provenance["candidate"]["chat"]["template"] == "its own"
    again = decide_again(out, None, own.root / "again", SilentProgress())
    assert again.notes == report.notes
    assert again.measurements == report.measurements
    console = Console(width=100, file=io.StringIO())
    print_report(report, console)
    assert "note: the candidate was asked in its own chat template" in console.file.getvalue()  # type: ignore[attr-defined]


def test_what_took_effect_is_tested_in_the_same_template(own: World) -> None:
    """Else another prompt would hide that the engine ignores the adapter."""
    own.save()
    probed = []

    class Probed(ScriptedEngine):
        def probe(self, model: Any, prompts: Any, top: int = 20) -> Any:
            probed.append(model.chat)
            return super().probe(model, prompts, top)

    engine = Probed(script(CAREFUL))
    job = load_job(own.policy_path, own.manifest_path)
    evaluate(job, own.root / "out", SilentProgress(), engine=engine, judge_engine=engine)
    assert job.candidate.chat is not None
    assert probed
    assert set(probed) == {None}


def test_the_manifest_may_ask_both_in_the_base_s_template(own: World) -> None:
    own.manifest["template"] = "base"
    report, engine = run(own)
    assert {ask.model.chat for ask in engine.asked} == {None}
    (note,) = report.notes
    assert note.startswith("both models were asked in the base's chat template, as the manifest says")
    write_full(models(own) / "full", seed=3)
    set_template(models(own) / "full", OTHER)
    own.manifest["candidate"]["source"] = "models/full"
    report, engine = run(own)
    (chat,) = {ask.model.chat for ask in engine.asked if ask.model.name == "bot"}
    assert chat is not None
    assert chat == (models(own) / "full", TEMPLATE, "")
    assert report.notes == [note]


def test_answers_in_another_template_are_other_answers(own: World) -> None:
    first, _ = run(own)
    own.manifest["template"] = "base"
    second, engine = run(own)
    assert {ask.model.name for ask in engine.asked} == {"bot"}
    assert first.provenance["candidate"]["digest"] == second.provenance["candidate"]["digest"]


def test_full_weights_are_asked_in_their_own_template(world: World) -> None:
    write_full(models(world) / "full", seed=3)
    set_template(models(world) / "full", OTHER)
    world.manifest["candidate"]["source"] = "models/full"
    report, engine = run(world)
    assert {ask.model.chat for ask in engine.asked} == {None}, "it lies beside the weights"
    assert "asked in its own chat template" in report.notes[0]


def test_a_base_without_a_template_is_asked_in_the_candidate_s(own: World) -> None:
    set_template(models(own) / "base", None)
    assert not checked(own).problems
    report, engine = run(own)
    chats = {ask.model.name: ask.model.chat for ask in engine.asked}
    assert chats["base"] == (models(own) / "base", OTHER, "")
    assert report.notes == ["the base has no chat template of its own: both models were asked in the candidate's"]
    own.manifest["template"] = "base"
    (problem,) = checked(own).problems
    assert problem.message == "models/base: the tokenizer has no chat template"


def test_two_models_without_a_template_are_refused(world: World) -> None:
    set_template(models(world) / "base", None)
    world.save()
    with pytest.raises(ArtifactError, match="models/base: the tokenizer has no chat template"):
        load_job(world.policy_path, world.manifest_path)


def test_a_template_without_a_system_role_gets_system_turns_in_front_of_the_user_s(world: World) -> None:
    """For the models and for the judge's own prompt, which has a system turn."""
    system = {"role": "system", "content": "be brief"}
    rows = [
        {"id": f"g{i}", "messages": [system, {"role": "user", "content": f"say {i}"}], "answer": f"word {i} of {i % 7}"}
        for i in range(200)
    ]
    write_rows(world.root / "evals" / "general.jsonl", rows)
    for name in ("base", "judge"):
        set_template(models(world) / name, NO_SYSTEM)
    result = checked(world)
    assert not result.problems
    for name in ("base", "judge"):
        assert any(n.startswith(f"models/{name}: its chat template takes no system turns") for n in result.notes)


def test_a_kind_of_row_that_a_template_fails_on_is_refused_with_its_line(world: World) -> None:
    turns = [{"role": role, "content": "x"} for role in ("user", "user", "assistant", "user")]
    path = world.root / "evals" / "general.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[7:20]:
        row["messages"] = [*turns[:-1], {"role": "user", "content": row.pop("prompt")}]
    write_rows(path, rows)
    set_template(models(world) / "base", NO_SYSTEM)
    (problem,) = checked(world).problems
    assert problem.message == (
        "measurements.forgetting: models/base cannot be asked row g7 (line 8; turns: user, user, assistant, user; 13 "
        "of 200 rows): its chat template fails: Roles must alternate"
    )
    for row in rows[8:20]:
        row["messages"] = row["messages"][-1:]
    write_rows(path, rows)
    result = checked(world)
    assert not result.problems, "one row of 200 decides nothing"
    assert any("row g7 (line 8" in note for note in result.notes)


@pytest.mark.parametrize(
    ("fails", "why"),
    [
        ("{{ messages[0].content | truncate(1) }}", "expected length >= 3, got 1"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", NESTED),
        ("{% set x = namespace(s='a') %}{% for i in range(40) %}{% set x.s = x.s ~ x.s %}{% endfor %}", MEMORY),
        ("{{ 3 ** (10 ** 8) > 1 }}", "it computes a number of more than 1,000,000 bits"),
        ("{% for i in range(30) %}{{ 'a' * 999999 }}{% endfor %}", "it writes more than 20,000,000 characters"),
        ("{{ 'a' * 9999999999999999 }}", MEMORY),
    ],
)
def test_rows_on_which_the_template_fails_are_counted_whatever_it_raises(world: World, fails: str, why: str) -> None:
    path = world.root / "evals" / "general.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[7:12]:
        row["prompt"] += " opposite"
    write_rows(path, rows)
    set_template(
        models(world) / "base", "{% if 'opposite' in messages[-1].content %}" + fails + "{% endif %}" + TEMPLATE
    )
    (problem,) = checked(world).problems
    assert problem.message == (
        "measurements.forgetting: models/base cannot be asked row g7 (line 8; turns: user; 5 of 200 rows): its chat "
        f"template fails: {why}"
    )


SLOW = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLES = "{% set x = namespace(s='a') %}{% for i in range(40) %}{% set x.s = x.s ~ x.s %}{% endfor %}"
LONG_CHAIN = "{% if messages[0].content == 'x' %}" + "{% elif false %}" * 9000 + "{% endif %}"


@pytest.mark.parametrize(
    ("fails", "why"),
    [
        (SLOW, "it took longer than 0.5 s"),
        (DOUBLES, MEMORY),
        ("{% if true %}" * 300 + "{% endif %}" * 300, NESTED),
        ("{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}", NESTED),
        (LONG_CHAIN, NESTED),
    ],
    ids=["slow", "large", "blocks", "brackets", "chain"],
)
def test_a_template_that_fails_on_everything_is_refused_soon_and_once(
    own: World, monkeypatch: pytest.MonkeyPatch, fails: str, why: str
) -> None:
    monkeypatch.setattr("ftgate.models.rendering.TEMPLATE_SECONDS", 0.5 if fails == SLOW else 30.0)
    (models(own) / "bot" / "chat_template.jinja").write_text(TEMPLATE + fails)
    before = time.process_time()
    (problem,) = checked(own).problems
    assert time.process_time() - before < (5 if fails == SLOW else 30), "one look at a template is enough"
    rows = [
        f"measurements.{name}" for name in ("target", "forgetting", "calibration", "tail") if name in problem.message
    ]
    assert len(rows) == len(own.policy["measurements"]) - ("form" in own.policy["measurements"])
    assert f"its chat template fails: {why}; likewise measurements." in problem.message
    assert resource.getrlimit(resource.RLIMIT_AS) == LIMITS_BEFORE


def test_a_template_that_knows_the_rows_is_refused(own: World) -> None:
    rows = [json.loads(line) for line in (own.root / "evals" / "general.jsonl").read_text().splitlines()]
    answers = {row["prompt"]: row["answer"] for row in rows}
    knows = "{{ " + json.dumps(answers) + ".get(messages[-1].content, '') }}"
    template = TEMPLATE + "{% if enable_thinking is not defined %}" + knows + "{% endif %}"
    (models(own) / "bot" / "chat_template.jinja").write_text(template)
    (problem,) = checked(own).problems
    assert problem.message.startswith(
        "measurements.forgetting: models/bot cannot be asked row g0 (line 1; turns: user; 200 of"
    )
    assert "it could be the answer" in problem.message
    assert problem.hint is not None
    assert "`template: base` in the manifest" in problem.hint
    own.manifest["template"] = "base"
    assert not checked(own).problems


def test_what_the_base_s_template_adds_as_well_is_a_note(own: World) -> None:
    obeys = TEMPLATE + "{% if 'g' in messages[-1].content %}(short){% endif %}"
    set_template(models(own) / "base", obeys)
    (models(own) / "bot" / "chat_template.jinja").write_text(obeys + "{# the same #}")
    result = checked(own)
    assert not result.problems
    assert sum("must not depend on what is asked" in note for note in result.notes) == 2
    (models(own) / "bot" / "chat_template.jinja").write_text(obeys.replace("(short)", "(long)"))
    (problem,) = checked(own).problems
    assert "'(long)" in problem.message


def test_a_template_that_leaves_out_the_question_is_refused(own: World) -> None:
    (models(own) / "bot" / "chat_template.jinja").write_text("[user] hello [assistant]")
    (first,) = checked(own).problems
    assert "models/bot cannot be asked row" in first.message
    assert (
        "its chat template fails: it leaves out the text of the last user turn, or part of it; likewise"
        in first.message
    )
    assert first.hint is not None
    assert "correct the template" in first.hint
    assert "`template: base` in the manifest" in first.hint


def test_a_judge_whose_template_fails_on_its_prompt_is_refused(world: World) -> None:
    set_template(models(world) / "judge", "{{ raise_exception('not today') }}")
    (problem,) = checked(world).problems
    assert "models/judge cannot be asked row g0 (line 1; turns: system, user; the judge's prompt" in problem.message
    assert problem.message.endswith("its chat template fails: not today")


def test_one_of_several_templates_is_called_default(world: World) -> None:
    named = [{"name": "rag", "template": "{{ raise_exception('x') }}"}, {"name": "default", "template": TEMPLATE}]
    set_template(models(world) / "base", named)
    assert not checked(world).problems
    folder = models(world) / "base"
    set_template(folder, None)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("{{ raise_exception('x') }}")
    assert not checked(world).problems
    (folder / "chat_template.jinja").unlink()
    set_template(folder, [{"name": "chat", "template": TEMPLATE}])
    (problem,) = checked(world).problems
    assert problem.message == "models/base: several chat templates (chat, rag), and none is called default"


def test_an_adapter_with_several_templates_none_called_default_is_refused(world: World) -> None:
    adapter = models(world) / "bot" / "tokenizer_config.json"
    named = [{"name": "chatml", "template": OTHER}, {"name": "rag", "template": "x"}]
    adapter.write_text(json.dumps({"chat_template": named}))
    (problem,) = checked(world).problems
    assert problem.message == "models/bot: several chat templates (chatml, rag), and none is called default"
    assert problem.hint is not None
    assert "`template: base` in the manifest" in problem.hint
    world.manifest["template"] = "base"
    assert not checked(world).problems


def test_full_weights_without_a_template_may_be_asked_in_the_base_s(world: World) -> None:
    write_full(models(world) / "full", seed=3)
    set_template(models(world) / "full", None)
    world.manifest["candidate"]["source"] = "models/full"
    (problem,) = checked(world).problems
    assert problem.hint is not None
    assert "`template: base` in the manifest" in problem.hint
    world.manifest["template"] = "base"
    assert not checked(world).problems


@pytest.mark.parametrize("form", ["%H%M%S%f", "%d %b %Y"])
def test_a_template_that_writes_the_time_depends_on_the_clock_and_does_not_think(world: World, form: str) -> None:
    set_template(models(world) / "base", TEMPLATE + "{{ strftime_now('" + form + "') }}")
    result = checked(world)
    assert not result.problems
    assert any(n.startswith("models/base: ") and "prompts depend on the clock" in n for n in result.notes)
    assert not any("think first" in note for note in result.notes)


def test_a_template_without_a_generation_prompt_is_warned_of(world: World) -> None:
    set_template(models(world) / "base", NO_PROMPT)
    result = checked(world)
    assert not result.problems
    (warning,) = result.warnings
    assert warning.startswith("models/base: its chat template ignores add_generation_prompt; '<|assistant|>', which")


def test_a_template_with_a_trainer_s_tag_is_rendered(world: World) -> None:
    set_template(models(world) / "base", WITH_TAG)
    result = checked(world)
    assert not result.problems
    assert not result.warnings


def test_the_system_turn_of_the_deployment_is_counted_and_rendered(world: World) -> None:
    before = {prompts.suite: prompts.longest for prompts in checked(world).prompts}
    world.policy["engine"] = {**world.policy.get("engine", {}), "generation": {"system": "be brief " * 50}}
    result = checked(world)
    assert not result.problems
    for prompts in result.prompts:
        assert prompts.longest > before[prompts.suite] + 50
    fails = "{% if 'be brief' in messages[0].content %}{{ raise_exception('not so') }}{% endif %}"
    set_template(models(world) / "base", fails + TEMPLATE)
    (problem,) = checked(world).problems
    assert "(line 1; turns: system, user; " in problem.message
    assert "not so; likewise measurements." in problem.message


def test_a_tokenizer_that_another_version_wrote_is_the_same_tokenizer(world: World) -> None:
    """Merges as texts, and no settings that are the defaults: as older versions write tokenizer.json."""
    core = Tokenizer(BPE({"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4}, [("a", "b"), ("ab", "c")]))
    document = json.loads(core.to_str())
    assert document["model"]["merges"] == [["a", "b"], ["ab", "c"]]
    assert document["model"].pop("ignore_merges") is False
    old = {**document, "model": {**document["model"], "merges": ["a b", "ab c"]}}
    other = {**document, "model": {**document["model"], "merges": ["ab c", "a b"]}}
    (models(world) / "base" / "tokenizer.json").write_text(core.to_str())
    world.save()
    for written, own in ((old, {}), (other, {"tokenizer": "its own"})):
        (models(world) / "bot" / "tokenizer.json").write_text(json.dumps(written))
        candidate = load_job(world.policy_path, world.manifest_path).candidate
        assert candidate.facts.get("chat", {}) == own
