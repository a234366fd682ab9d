"""Which report belongs to which manifest, what is compared with what, and what is told of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import reports

from ftgate.artifacts.snapshot import FileEntry, tree_digest
from ftgate.config.manifest import Manifest
from ftgate.errors import ConfigurationError, PublishError
from ftgate.github import match_reports as matching
from ftgate.github.changed_manifests import ChangedManifest
from ftgate.github.client import File, Pull
from ftgate.github.event import RunTarget
from ftgate.github.failure_file import FAILURE
from ftgate.github.match_reports import JudgedModel, annotations_for, worst_verdict
from ftgate.github.suite_check import suite_mismatches
from ftgate.github.verify_report import Expected, UntrustedReport, manifest_mismatches
from ftgate.jobs.report_checks import model_digest

_, POLICY = reports.policy()
EXPECTED = Expected(POLICY)


def changed(name: str = "bot", version: str = "v1", path: str = "", **more: Any) -> ChangedManifest:
    text = reports.manifest(name, version, **more)
    manifest = Manifest.model_validate(yaml.safe_load(text))
    return ChangedManifest(path or f"models/{name}.yaml", text, manifest, "", hashlib.sha256(text.encode()).hexdigest())


def judged(
    tmp_path: Path, entries: list[ChangedManifest], *found: Any, expected: Expected = EXPECTED
) -> list[JudgedModel]:
    folders = [reports.delivered(tmp_path / f"out-{i}", each) for i, each in enumerate(found)]
    return matching.match_reports(folders, expected, entries)


def test_a_report_that_is_its_manifests_is_believed(tmp_path: Path) -> None:
    (model,) = judged(tmp_path, [changed()], reports.report(POLICY, "pass"))
    assert (model.title, model.verdict, model.problems) == ("bot", "allow", ())
    entry = model.entry()
    assert (entry.name, entry.manifest, entry.verdict) == ("bot", "models/bot.yaml", "allow")
    assert (entry.base, entry.candidate) == (reports.digest("base"), reports.digest("bot v1"))
    assert entry.numbers["target"].change == 0.12
    assert (entry.numbers["target"].unit, entry.numbers["target"].status) == ("absolute gain", "pass")
    assert entry.report == hashlib.sha256((tmp_path / "out-0" / "report.json").read_bytes()).hexdigest()


def test_of_a_report_that_is_not_believed_no_number_is_recorded(tmp_path: Path) -> None:
    found = reports.report(POLICY, "block").model_copy(update={"verdict": "allow"})
    (model,) = judged(tmp_path, [changed()], found)
    assert model.verdict == "error"
    assert model.entry().numbers == {}
    assert model.entry().candidate == reports.digest("bot v1")


def test_nothing_that_arrived_is_an_error_with_an_empty_entry(tmp_path: Path) -> None:
    (model,) = judged(tmp_path, [changed()])
    assert (model.verdict, model.report) == ("error", None)
    assert model.problems == ("models/bot.yaml: the evaluation left no report for it",)
    entry = model.entry()
    assert (entry.base, entry.candidate, entry.report, entry.numbers) == ("", "", "", {})


def test_two_manifests_that_differ_only_in_the_base_each_get_their_own(tmp_path: Path) -> None:
    one, other = changed(path="models/a.yaml"), changed(path="models/b.yaml", base={"source": "hf://acme/other"})
    second = reports.report(POLICY, "block", text=other.text)
    second.provenance["base"]["reference"] = "hf://acme/other"
    for found in ((reports.report(POLICY, "pass"), second), (second, reports.report(POLICY, "pass"))):
        assert [(m.verdict, m.changed.path) for m in judged(tmp_path, [one, other], *found) if m.changed] == [
            ("allow", "models/a.yaml"),
            ("block", "models/b.yaml"),
        ]


def test_a_report_for_another_version_of_the_manifest_is_matched_and_refused(tmp_path: Path) -> None:
    found = reports.report(POLICY, "pass", text="another")
    (model,) = judged(tmp_path, [changed()], found)
    assert model.verdict == "error"
    assert model.problems[0].startswith("it is for another manifest: its SHA-256 is ")


@pytest.mark.parametrize(("name", "version"), [("bot", "v2"), ("mail", "v1")])
def test_a_report_without_a_manifest_and_a_manifest_without_a_report_are_two_errors(
    tmp_path: Path, name: str, version: str
) -> None:
    models = judged(tmp_path, [changed()], reports.report(POLICY, "pass", name=name, version=version))
    assert [(m.title, m.verdict) for m in models] == [("bot", "error"), (name, "error")]
    assert models[1].problems == ("it belongs to no manifest of this change",)
    assert models[1].changed is None


def test_one_report_serves_one_manifest(tmp_path: Path) -> None:
    entries = [changed(path="models/a.yaml"), changed(path="models/b.yaml")]
    assert [m.verdict for m in judged(tmp_path, entries, reports.report(POLICY, "pass"))] == ["allow", "error"]


def test_a_manifest_that_cannot_be_read_is_an_error_with_its_problem(tmp_path: Path) -> None:
    (model,) = judged(tmp_path, [ChangedManifest("models/x.yaml", problem="it is a link")])
    assert (model.title, model.problems) == ("models/x.yaml", ("models/x.yaml: it is a link",))


def test_a_reason_for_a_missing_report_is_told_and_a_stray_one_is_an_error(tmp_path: Path) -> None:
    def failed(name: str, manifest: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / FAILURE).write_text(json.dumps({"manifest": manifest, "reason": f"reason of {name}"}))
        return folder

    of_it, of_all, of_none = failed("a", "models/bot.yaml"), failed("b", ""), failed("c", "models/x.yaml")
    problems = [
        [m.problems[0] for m in matching.match_reports(folders, EXPECTED, [changed()])]
        for folders in ([of_it, of_all], [of_all], [of_none])
    ]
    assert problems[0] == ["the evaluation failed: reason of a"]
    assert problems[1] == ["the evaluation failed: reason of b"]
    assert problems[2][0] == "models/bot.yaml: the evaluation left no report for it"
    assert len(problems[2]) == 2


def test_what_the_repository_holds_is_compared_with_what_was_judged(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def digest(path: str, source: str) -> str:
        asked.append((path, source))
        return reports.digest("bot v1") if "bot" in source else reports.digest("another base")

    (model,) = judged(
        tmp_path, [changed()], reports.report(POLICY, "pass"), expected=replace(EXPECTED, source_digest=digest)
    )
    assert asked == [("models/bot.yaml", "hf://acme/base"), ("models/bot.yaml", "s3://acme/bot/v1")]
    wanted = f"it judged a base with digest {reports.digest('base')!r}, but here its files have "
    assert model.problems == (wanted + reports.digest("another base"),)


def test_a_manifest_that_lacks_what_the_policy_requires_is_an_error(tmp_path: Path) -> None:
    _, strict = reports.policy(artifacts={"require_training_data": True})
    (model,) = judged(tmp_path, [changed()], reports.report(strict, "pass"), expected=Expected(strict))
    assert model.verdict == "error"
    assert model.problems[0].startswith("models/bot.yaml: training_data is missing")


def test_the_worst_verdict_is_the_runs(tmp_path: Path) -> None:
    models = {
        word: judged(tmp_path / status, [changed()], reports.report(POLICY, status))[0]
        for word, status in (("allow", "pass"), ("hold", "inconclusive"), ("block", "block"))
    }
    models["error"] = JudgedModel("x", None, None)
    for i, word in enumerate(matching.SEVERITY):
        assert models[word].verdict == word
        assert worst_verdict([models[w] for w in reversed(matching.SEVERITY[i:])]) == word


def test_a_report_with_a_problem_of_either_kind_is_an_error() -> None:
    sound = UntrustedReport(Path("x"), reports.report(POLICY, "pass"), "0")
    assert JudgedModel("x", sound, changed()).verdict == "allow"
    assert JudgedModel("x", sound, changed(), ("odd",)).verdict == "error"
    assert JudgedModel("x", sound.with_problems("odd"), changed()).verdict == "error"
    assert sound.with_problems("a").with_problems("b", "c").problems == ("a", "b", "c")
    assert UntrustedReport(Path("x"), None, "0").verdict == "error"


def test_annotations_stand_on_the_candidates_line_of_what_was_not_allowed(tmp_path: Path) -> None:
    (allowed,) = judged(tmp_path / "a", [changed()], reports.report(POLICY, "pass"))
    assert annotations_for([allowed]) == []
    (blocked,) = judged(tmp_path / "b", [changed()], reports.report(POLICY, "block"))
    entry = changed()
    line = entry.text.splitlines().index("candidate:") + 1
    found = annotations_for([allowed, blocked, JudgedModel("x", None, None, ("stray",))])
    assert [(a.path, a.line, a.title, a.failure) for a in found] == [
        ("models/bot.yaml", line, "ftgate: block", True),
        ("models/bot.yaml", line, "General skills: block", True),
    ]
    assert found[1].message == "forgetting is block"
    (held,) = judged(tmp_path / "c", [changed()], reports.report(POLICY, "inconclusive"))
    assert [a.failure for a in annotations_for([held])] == [True, False]
    assert [a.title for a in annotations_for([held])][1:] == ["General skills: inconclusive"]
    (missing,) = judged(tmp_path / "d", [changed()])
    (only,) = annotations_for([missing])
    assert (only.title, only.line, only.message) == ("ftgate could not judge", line, missing.problems[0])
    doubted = replace(blocked, problems=("one", "two"))
    assert [a.message for a in annotations_for([doubted])] == ["one", "two"]


@dataclass
class Repo:
    """A repository with these answers; what it was asked is in ``asked``."""

    pulls: list[Pull] = field(default_factory=list)
    texts: dict[tuple[str, str], str] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)

    def pull(self, number: int) -> Pull:
        return next(p for p in self.pulls if p.number == number)

    def pulls_of(self, owner: str, branch: str) -> list[Pull]:
        self.asked.append((owner, branch))
        return self.pulls

    def required_checks(self, branch: str) -> list[tuple[str, int | None]]:
        return [("ftgate/verdict", None)] if branch == "other" else []

    def tip(self, branch: str) -> str | None:
        return "tip" if branch == "main" else None

    def text_at(self, path: str, commit: str) -> str | None:
        return self.texts.get((path, commit))

    def prefetch(self, _hashes: list[str]) -> None:
        """Nothing to gain: the content is here."""

    def blob(self, sha: str) -> bytes:
        return self.blobs[sha]

    def tree(self, sha: str) -> dict[str, File]:
        self.asked.append((sha,))
        return self.files

    def changed_between(self, before: str, after: str) -> list[str]:
        self.asked.append((before, after))
        return ["changed"]


PULL = Pull(7, "head", "main", "base-commit")
TARGET = RunTarget("pull_request", "acme/models", "sha", "main", pull_request=7)


def resolved(target: RunTarget, *pulls: Pull) -> tuple[RunTarget, Pull | None]:
    return matching.resolve_target(Repo(list(pulls)), target)  # type: ignore[arg-type]


def test_a_pull_request_is_judged_under_the_branch_that_the_run_began_for() -> None:
    target, pull = resolved(TARGET, PULL)
    assert pull == PULL
    assert (target.pull_request, target.base_ref, target.base_sha) == (7, "main", "base-commit")
    assert resolved(replace(TARGET, base_sha="earlier"), PULL)[0].base_sha == "earlier"
    for event in ("pull_request", "pull_request_target"):
        with pytest.raises(PublishError, match="#7 changed its base branch to weak after this run for main began"):
            resolved(replace(TARGET, event=event), replace(PULL, base_ref="weak"))
    moved, _ = resolved(replace(TARGET, event="workflow_dispatch"), replace(PULL, base_ref="other"))
    assert moved.base_ref == "other"
    with pytest.raises(PublishError, match="#7 goes into mine, where no ruleset requires a status"):
        resolved(replace(TARGET, event="workflow_dispatch"), replace(PULL, base_ref="mine"))
    none = replace(TARGET, pull_request=None)
    assert resolved(none) == (none, None)


def test_a_branch_stands_for_its_only_open_pull_request() -> None:
    target = replace(TARGET, pull_request=None, branch=("acme", "topic"), event="workflow_run", base_ref="")
    found, pull = resolved(target, PULL)
    assert (found.pull_request, found.branch, found.base_ref, pull) == (7, None, "main", PULL)
    with pytest.raises(PublishError, match="no open pull request from acme:topic"):
        resolved(target)
    with pytest.raises(PublishError, match=r"2 pull requests are open from acme:topic.*#7 into main, #8 into old"):
        resolved(target, PULL, replace(PULL, number=8, base_ref="old"))


def test_the_policy_is_the_base_branchs() -> None:
    text, policy = reports.policy()
    repo: Any = Repo(texts={("gate/ftgate.yml", "tip"): text, ("broken.yml", "tip"): "version: 3"})
    found = matching.read_base_policy(repo, TARGET, "gate/ftgate.yml")
    assert (found.text, found.policy, found.path, found.commit) == (text, policy, "gate/ftgate.yml", "tip")
    for target, path in ((TARGET, "ftgate.yml"), (replace(TARGET, base_ref="gone"), "gate/ftgate.yml")):
        with pytest.raises(ConfigurationError, match=f"there is no policy {path} on {target.base_ref}"):
            matching.read_base_policy(repo, target, path)
    with pytest.raises(ConfigurationError, match=r"broken\.yml on main") as caught:
        matching.read_base_policy(repo, TARGET, "broken.yml")
    assert caught.value.hint
    assert "/tmp" not in caught.value.message


def test_what_changed_is_asked_against_the_branch_whose_policy_applies() -> None:
    repo: Any = Repo()
    target = replace(TARGET, base_sha="before")
    assert matching.changed_paths(repo, target, PULL) == ["changed"]
    assert matching.changed_paths(repo, target, replace(PULL, merged=True)) == ["changed"]
    assert matching.changed_paths(repo, target, None) == ["changed"]
    assert repo.asked == [("main", "sha"), ("before", "sha"), ("before", "sha")]
    assert matching.changed_paths(repo, TARGET, None) is None


def test_without_a_base_to_compare_with_every_manifest_is_judged() -> None:
    text = reports.manifest()
    repo: Any = Repo(blobs={"1": text.encode()}, files={"models/bot.yaml": File("100644", "1")})
    policy = matching.BasePolicy("", POLICY, "ftgate.yml", "tip")
    assert matching.manifests_to_judge(repo, TARGET, policy, []) == []
    assert repo.asked == []
    assert [m.path for m in matching.manifests_to_judge(repo, TARGET, policy, None)] == ["models/bot.yaml"]
    assert [m.path for m in matching.manifests_to_judge(repo, TARGET, policy, ["models/bot.yaml"])] == [
        "models/bot.yaml"
    ]
    assert matching.manifests_to_judge(repo, TARGET, policy, ["README.md"]) == []


def test_the_digest_of_a_folder_in_the_commit_is_that_of_its_files_with_pointers_resolved() -> None:
    real = b"weights"
    sha = hashlib.sha256(real).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha}\nsize {len(real)}\n".encode()
    repo: Any = Repo(blobs={"1": b"{}", "2": pointer, "3": b"state", "4": pointer + b"more"})
    tree = {
        "models/bot/config.json": File("100644", "1"),
        "models/bot/model.safetensors": File("100644", "2"),
        "models/bot/optimizer.pt": File("100644", "3"),
        "models/bot/notes.txt": File("100644", "3"),
        "models/bottle/x": File("100644", "1"),
    }
    files = {
        "config.json": FileEntry(2, hashlib.sha256(b"{}").hexdigest()),
        "model.safetensors": FileEntry(len(real), sha),
    }
    assert matching.digest_in_commit(repo, tree, ["notes.txt"], "models/bot.yaml", "bot") == tree_digest(files)
    assert matching.digest_in_commit(repo, tree, [], "models/bot.yaml", "none") == ""
    tree["models/bot/model.safetensors"] = File("100644", "4")
    longer = FileEntry(len(pointer) + 4, hashlib.sha256(pointer + b"more").hexdigest())
    expected = tree_digest({**files, "model.safetensors": longer})
    assert matching.digest_in_commit(repo, tree, ["notes.txt"], "models/bot.yaml", "bot") == expected


def test_a_model_from_elsewhere_than_the_manifest_says_is_a_problem_and_so_is_an_unpinned_one() -> None:
    entry, other, pinned = changed(), reports.digest("other"), reports.digest("bot v1")
    found = reports.report(POLICY, "pass")
    assert list(manifest_mismatches(found, entry.manifest, entry.sha256)) == []
    assert model_digest(found, "base") == reports.digest("base")
    assert model_digest(found, "judge") == ""
    found.provenance["base"]["reference"] = "hf://acme/other"
    found.provenance["candidate"]["digest"] = reports.digest("other")
    problems = list(manifest_mismatches(found, entry.manifest, entry.sha256))
    assert problems == [
        "it judged the base 'hf://acme/other', but the manifest names 'hf://acme/base'",
        f"it judged a candidate with digest {other!r}, but the manifest pins {pinned}",
    ]
    assert next(manifest_mismatches(found, entry.manifest, "1" * 64)) == (
        f"it is for another manifest: its SHA-256 is {entry.sha256[:12]}, not 111111111111"
    )
    del found.provenance["manifest_sha256"]
    assert "its SHA-256 is unknown, not" in next(manifest_mismatches(found, entry.manifest, entry.sha256))
    here = {"base": reports.digest("base"), "candidate": other}
    found = reports.report(POLICY, "pass")
    problems = list(manifest_mismatches(found, entry.manifest, entry.sha256, here))
    assert problems == [f"it judged a candidate with digest {pinned!r}, but here its files have {other}"]


@pytest.mark.parametrize("suites", [None, [], {}, {"target": None}, {"target": {}}, {"target": {"sha256": "2"}}])
def test_a_suite_that_is_not_the_base_branchs_is_a_problem(suites: Any) -> None:
    found = reports.report(POLICY, "pass")
    found.provenance["suites"] = suites
    assert list(suite_mismatches(found, {"target": "1"})) == ["target: the suite is not the base branch's"]
    assert list(suite_mismatches(found, {})) == []
    found.provenance["suites"] = {"target": {"sha256": "1"}, "tail": {"sha256": "3"}}
    assert list(suite_mismatches(found, {"target": "1"})) == []
