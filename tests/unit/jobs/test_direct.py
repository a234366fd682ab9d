"""Runs without files: names, scorers, and what may be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftgate.artifacts.allow import require_allowed, require_allowed_remote
from ftgate.artifacts.reference import parse
from ftgate.domain import Item, Message
from ftgate.errors import ArtifactError, ConfigurationError
from ftgate.jobs.direct import (
    DirectRun,
    configured,
    draft_run,
    folder_name,
    name_of,
    require_models,
    scorer_for,
    written,
)
from ftgate.jobs.prepare import local_resolver


def item(answer: str | None = None, choices: tuple[str, ...] = ()) -> Item:
    return Item("a", (Message("user", "ask"),), choices=choices, answer=answer)


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("models/support-bot", "support-bot"),
        ("models/support-bot/", "support-bot"),
        ("runs/7/checkpoint-300", "7-checkpoint-300"),
        ("runs/bot/final", "bot-final"),
        ("hf://acme/bot@0123456789012345678901234567890123456789", "bot"),
        ("s3://acme/bot/v7/", "v7"),
    ],
)
def test_a_candidate_is_called_after_its_folder(reference: str, name: str) -> None:
    assert name_of(reference) == name


@given(st.text(min_size=1, max_size=100))
def test_the_folder_of_a_name_is_one_plain_name(name: str) -> None:
    folder = folder_name(name)
    assert Path(folder).parts == (folder,)
    assert folder not in (".", "..")
    assert len(folder) <= 80
    assert folder_name(folder) == folder


@pytest.mark.parametrize(
    ("items", "judge", "scorer"),
    [
        ((item("red", ("red", "blue")),), False, "choice"),
        ((item("12"), item("-1,300.5")), False, "numeric"),
        ((item("Paris"), item("12")), False, "exact"),
        ((item("a long sentence of many words"),), False, "rouge"),
        ((item("Paris"),), True, "auto"),
        ((item(),), True, "auto"),
        ((item(), item("Paris")), False, ""),
    ],
)
def test_answers_are_scored_by_what_the_rows_have(items: tuple[Item, ...], judge: bool, scorer: str) -> None:
    assert scorer_for(items, judge=judge) == scorer


@pytest.mark.parametrize(
    ("reference", "others"),
    [
        ("hf://acme/bot@0123456789012345678901234567890123456789", ("hf://acme/bots", "hf://acme/other")),
        ("s3://bucket/a[1]/b", ("s3://bucket/a1/b", "s3://bucket/a[1]/c")),
        ("oci://host/acme/bot:v1", ("oci://host/acme/bots:v1",)),
    ],
)
def test_only_what_is_named_may_be_loaded(reference: str, others: tuple[str, ...]) -> None:
    draft = draft_run(DirectRun(base=reference, candidate="bot"), local_resolver)
    allow = draft.policy["artifacts"]["allow"]
    for text, allowed in ((reference, True), *((other, False) for other in others)):
        parsed = parse(text)
        assert parsed is not None
        if allowed:
            require_allowed_remote(parsed, allow)
        else:
            with pytest.raises(ArtifactError):
                require_allowed_remote(parsed, allow)


def test_of_local_models_the_real_folder_is_allowed_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "weights [1]").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "weights [1]")
    draft = draft_run(DirectRun(str(tmp_path / "link"), "bot"), local_resolver, tmp_path / "gate")
    allow = draft.policy["artifacts"]["allow"]
    assert draft.manifest["base"] == {"source": "../link"}
    require_allowed("link", tmp_path / "link", tmp_path / "gate", allow)
    with pytest.raises(ArtifactError):
        require_allowed("other", tmp_path / "other", tmp_path / "gate", allow)


def test_a_draft_is_valid_as_it_is_and_as_files(tmp_path: Path) -> None:
    run = DirectRun("base", "bot", judge="judge", limit=20)
    draft = draft_run(run, local_resolver, tmp_path)
    assert set(draft.not_measured) == {"target", "tail", "calibration"}
    direct, saved = configured(draft), written(draft, tmp_path)
    assert direct.policy == saved.policy
    assert direct.manifest == saved.manifest
    assert saved.policy.as_smoke_test(20).sha256() == saved.policy.sha256()
    assert [m.n for m in saved.measurements] == [20] * 3
    with pytest.raises(ConfigurationError, match=r"ftgate\.yml exists"):
        written(draft, tmp_path)
    draft.leave_out(dict.fromkeys(("forgetting", "safety", "tools"), "too long"))
    with pytest.raises(ConfigurationError, match=r"nothing can be measured: target: .*tools: too long"):
        configured(draft)


def test_a_file_is_no_model_and_is_not_looked_for_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bot").write_text("{}")
    run = DirectRun(base=str(tmp_path / "models"), candidate="models/bot")
    with pytest.raises(ConfigurationError, match="candidate 'models/bot': a file, not a folder") as found:
        require_models(run)
    assert found.value.hint == "name the folder of the candidate"
