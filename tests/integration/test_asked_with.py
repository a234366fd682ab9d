"""Which answers are found again after what a model is asked with has changed, and which are those of older versions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.world import TEMPLATE, World, write_full

from ftgate.domain import EngineInfo, Message, Model, Question, canonical
from ftgate.gate.journal import answer_key, engine_identity
from ftgate.jobs.prepare import load_job
from ftgate.models.rendering import APPENDS, FOLDS, MAY_THINK

ENGINE = EngineInfo("vllm", {"vllm": "1"}, "cpu", "float32")
ASKED = Question("target", "i", (Message("user", "x"),))
OTHER = "{% for m in messages %}{{ m.content }};{% endfor %}"
THIRD = OTHER.replace(";", ",")


def before(model: Model) -> str:
    """The key of the version before models were asked in their own templates."""
    weights = [model.digest, model.base.digest if model.base is not None else None]
    return hashlib.sha256(canonical([[*weights], engine_identity(ENGINE)])[:-1] + b"," + asked_content()).hexdigest()


def asked_content() -> bytes:
    return canonical(ASKED.content()) + b"]"


def set_template(folder: Path, template: Any) -> None:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(settings | {"chat_template": template}))


class Keys:
    """The keys of base and candidate in the world as it is."""

    def __init__(self, world: World) -> None:
        world.save()
        job = load_job(world.policy_path, world.manifest_path)
        self.models, self.judge = (job.base, job.candidate), job.judge
        self.base, self.candidate = (answer_key(model, ASKED, ENGINE) for model in self.models)
        self.before = tuple(map(before, self.models))


@pytest.fixture
def full(world: World) -> World:
    """Full weights with the base's template."""
    write_full(world.root / "models" / "full", seed=3)
    world.manifest["candidate"]["source"] = "models/full"
    return world


def test_models_that_are_asked_alike_keep_their_answers(world: World, full: World) -> None:
    assert (Keys(full).base, Keys(full).candidate) == Keys(full).before
    full.manifest["candidate"]["source"] = "models/bot"
    assert (Keys(world).base, Keys(world).candidate) == Keys(world).before


def test_full_weights_in_their_own_template_keep_theirs_whatever_the_base_s_says(full: World) -> None:
    set_template(full.root / "models" / "full", OTHER)
    keys = Keys(full)
    assert keys.candidate == keys.before[1]
    assert keys.models[1].facts["chat"]["template"] == "its own"
    set_template(full.root / "models" / "base", THIRD)
    assert Keys(full).candidate == keys.candidate


@pytest.mark.parametrize("own", [None, OTHER])
def test_full_weights_in_the_base_s_template_have_other_answers_for_each(full: World, own: str | None) -> None:
    set_template(full.root / "models" / "full", own)
    full.manifest["template"] = "base"
    keys = Keys(full)
    assert keys.candidate != keys.before[1]
    set_template(full.root / "models" / "base", THIRD)
    assert Keys(full).candidate not in (keys.candidate, keys.before[1])


def test_an_adapter_in_the_base_s_template_keeps_its_answers_and_has_others_in_its_own(world: World) -> None:
    set_template(world.root / "models" / "bot", OTHER)
    own = Keys(world)
    assert own.candidate != own.before[1]
    world.manifest["template"] = "base"
    keys = Keys(world)
    assert keys.candidate == keys.before[1]
    assert keys.models[1].facts["chat"]["template"] == "base's"


def test_a_base_without_a_template_has_other_answers_for_each_template_of_a_candidate(full: World) -> None:
    set_template(full.root / "models" / "base", None)
    keys = Keys(full)
    set_template(full.root / "models" / "full", OTHER)
    assert len({keys.base, *keys.before, Keys(full).base}) == 4


REFUSED = "{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
SYSTEM_REFUSED = TEMPLATE.replace("{{", REFUSED + "{{")
RENDERED = {
    "refuses system turns": (SYSTEM_REFUSED, [FOLDS]),
    "drops system turns": (SYSTEM_REFUSED.replace("{{ raise_exception('no') }}", "{% continue %}"), [FOLDS]),
    "ignores add_generation_prompt": ("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}", [APPENDS]),
    "opens a trace": (TEMPLATE + "<think>", [MAY_THINK]),
    "opens a working-out": (TEMPLATE + "<start_working_out>", [MAY_THINK]),
    "opens MedGemma's trace": (TEMPLATE + "<unused94>", [MAY_THINK]),
    "opens a trace in pieces": (TEMPLATE + "{{ '<start_' ~ 'working_out>' }}", [MAY_THINK]),
    "has a switch": (TEMPLATE + "{% if enable_thinking %}{% endif %}", [MAY_THINK]),
    "thinks with tools alone": (
        [{"name": "default", "template": TEMPLATE}, {"name": "tool_use", "template": TEMPLATE + "<unused94>"}],
        [MAY_THINK],
    ),
}


@pytest.mark.parametrize("case", RENDERED)
def test_prompts_that_are_rendered_otherwise_than_in_older_versions_have_other_answers(case: str, full: World) -> None:
    """For base, candidate and judge alike."""
    template, facts = RENDERED[case]
    for name in ("base", "full", "judge"):
        set_template(full.root / "models" / name, template)
    keys = Keys(full)
    assert keys.judge is not None
    for model in (*keys.models, keys.judge):
        assert model.facts["rendering"] == facts
        assert answer_key(model, ASKED, ENGINE) != before(model)
    full.manifest["candidate"]["source"] = "models/bot"
    keys = Keys(full)
    assert keys.candidate != keys.before[1]
    thinks_as_said = replace(ENGINE, settings={"thinking": "on"})
    plain = replace(keys.models[0], facts={})
    keys_on = {answer_key(model, ASKED, thinks_as_said) for model in (plain, keys.models[0])}
    assert len(keys_on) == (1 if facts == [MAY_THINK] else 2)
