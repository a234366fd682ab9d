"""Whole jobs whose models and data lie elsewhere: same verdict from everywhere, recorded, and checked beforehand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.forge import Forge, Registry, taped
from support.hub import COMMIT, TOKEN, HuggingFaceSource
from support.players import CAREFUL, script
from support.remote import digest, folder_site, serving, tree
from support.world import World

from ftgate.artifacts import cache, cache_files
from ftgate.artifacts.snapshot import FileEntry, tree_digest
from ftgate.cli.main import main
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ArtifactError, ConfigurationError, DatasetError
from ftgate.gate.evaluate import decide_again, evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress
from ftgate.report.schema import Report

from .conftest import log_in

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A complete set of files whose policy lets in this machine's servers."""
    found = World(tmp_path / "world")
    found.policy["evidence"]["draws"] = 200
    found.policy["artifacts"] = {
        "allow": [
            "models/*",
            "hf://acme/*",
            "s3://models/*",
            "github://acme/*",
            "oci://127.0.0.1:*/*",
            "http://127.*/*",
        ],
        "redirect_hosts": ["127.0.0.1:*"],
    }
    found.save()
    return found


@pytest.fixture
def files(world: World) -> dict[str, bytes]:
    """The world's own candidate is what every source serves here."""
    return tree(world.root / "models" / "bot")


def judged(world: World, out: str, **candidate: Any) -> Report:
    world.manifest["candidate"] = candidate
    world.save()
    engine = ScriptedEngine(script(CAREFUL))
    job = load_job(world.policy_path, world.manifest_path)
    return evaluate(job, world.root / out, SilentProgress(), engine=engine, judge_engine=engine)


def test_the_same_candidate_from_each_source_gets_the_same_verdict(
    world: World,
    hub: HuggingFaceSource,
    forge: Forge,
    registry: Registry,
    bucket: Any,
    files: dict[str, bytes],
    tmp_path: Path,
) -> None:
    forge.assets = {"bot.tgz": taped(files)}
    log_in(tmp_path, registry)
    with serving(folder_site(files)) as site:
        sources = [
            {"source": "models/bot"},
            {"source": "hf://acme/bot", "revision": COMMIT},
            {"source": "s3://models/bot/v1/"},
            {"source": f"{site.url}/m/"},
            {"source": f"oci://{registry.api.host}/acme/bot:v1"},
            {"source": "github://acme/bot/releases/v1/bot.tgz"},
            {"source": "github://acme/bot/actions/artifacts/7"},
        ]
        reports = [judged(world, f"out{i}", **source) for i, source in enumerate(sources)]
    candidates = [report.provenance["candidate"] for report in reports]
    assert {report.verdict for report in reports} == {"allow"}
    assert len({candidate["digest"] for candidate in candidates}) == 1
    assert [candidate["reference"] for candidate in candidates] == [source["source"] for source in sources]
    expected = {name: {"size": len(content), "sha256": digest(content)} for name, content in files.items()}
    assert all(candidate["files"] == expected for candidate in candidates)
    assert len({json.dumps(report.model_dump()["measurements"]) for report in reports}) == 1
    written = b"".join(p.read_bytes() for p in world.root.rglob("out*/*") if p.is_file())
    assert b"averysecret" not in written
    assert b"SIGNED" not in written
    again = decide_again(world.root / "out1", None, world.root / "again", SilentProgress())
    assert again.provenance["candidate"]["files"] == expected


def test_the_page_counts_the_files_of_a_model_and_does_not_list_them(world: World, files: dict[str, bytes]) -> None:
    judged(world, "out", source="models/bot")
    page, comment = ((world.root / "out" / name).read_text() for name in ("report.html", "comment.md"))
    assert "candidate.files" in page
    assert "adapter_model" not in page
    assert "adapter_model" not in comment


@pytest.fixture
def shelf(world: World) -> Iterator[Any]:
    """A web server with the world's data files."""
    data = {p.name: p.read_bytes() for p in (world.root / "evals").iterdir()}
    with serving(folder_site(data)) as site:
        yield site


def test_suites_and_training_data_may_lie_elsewhere(world: World, shelf: Any, monkeypatch: Any) -> None:
    local = load_job(world.policy_path, world.manifest_path)
    data = {p.name: p.read_bytes() for p in (world.root / "evals").iterdir()}
    hub = HuggingFaceSource({"suites/general.jsonl": data["general.jsonl"]}, "datasets")
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    reference = f"hf://datasets/acme/bot@{COMMIT}/suites/general.jsonl"
    world.policy["measurements"]["forgetting"]["dataset"] = reference
    world.policy["measurements"]["calibration"]["dataset"] = f"{shelf.url}/m/choices.jsonl"
    pinned = "sha256:" + digest(data["train.jsonl"])
    world.manifest["training_data"] = {"source": f"{shelf.url}/m/train.jsonl", "digest": pinned}
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    assert {n: s.sha256 for n, s in job.suites.items()} == {n: s.sha256 for n, s in local.suites.items()}
    assert job.suites["forgetting"].source == reference
    assert job.training is not None
    assert local.training is not None
    assert job.training.sha256 == local.training.sha256
    assert job.training.source == f"{shelf.url}/m/train.jsonl"
    assert "/m/target.jsonl" not in shelf.sent
    hub.close()


def test_a_suite_may_be_a_split_of_a_data_set(world: World, monkeypatch: Any) -> None:
    local = load_job(world.policy_path, world.manifest_path)
    lines = (world.root / "evals" / "general.jsonl").read_bytes().splitlines(keepends=True)
    files = {
        "main/test-00000-of-00002.jsonl": b"".join(lines[:50]),
        "main/test-00001-of-00002.jsonl": b"".join(lines[50:]),
        "main/train-00000-of-00001.jsonl": b"{}",
        "README.md": b"x",
    }
    hub = HuggingFaceSource(files, "datasets")
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    world.policy["measurements"]["forgetting"]["dataset"] = f"hf://datasets/acme/bot@{COMMIT}/main/test"
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    assert job.suites["forgetting"].items == tuple(
        replace(item, line=item.line - 50 * (item.line > 50)) for item in local.suites["forgetting"].items
    )
    for path, problem in (("main/validation", "not found"), ("main", "3 files, but one data file is expected")):
        world.policy["measurements"]["forgetting"]["dataset"] = f"hf://datasets/acme/bot@{COMMIT}/{path}"
        world.save()
        with pytest.raises(ArtifactError, match=problem) as refused:
            load_job(world.policy_path, world.manifest_path)
        if path == "main/validation":
            assert refused.value.hint == "the data set has main/test, main/train: name one of them"
    hub.close()


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        ("main/train-0000{}-of-00002.jsonl", "main/train"),
        ("data/train-0000{}-of-00002-a3ecf92756993583.jsonl", "train"),
        ("data/train-0000{}-of-00002.jsonl", "default/train"),
        ("data/all/train-0000{}-of-00002.jsonl", "all/train"),
        ("default/train/000{}.jsonl", "default/train"),
    ],
)
def test_training_data_and_query_log_may_be_splits_of_a_data_set(
    world: World, monkeypatch: Any, stored: str, named: str
) -> None:
    local = load_job(world.policy_path, world.manifest_path)
    lines = (world.root / "evals" / "train.jsonl").read_bytes().splitlines(keepends=True)
    files = {stored.format(number): b"".join(part) for number, part in enumerate((lines[:7], lines[7:]))}
    hub = HuggingFaceSource({**files, "README.md": b"x", "main/test.jsonl": b"{}"}, "datasets")
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    reference = f"hf://datasets/acme/bot@{COMMIT}/{named}"
    names = [Path(name).name for name in files]
    pinned = tree_digest(
        {name: FileEntry(len(part), digest(part)) for name, part in zip(names, files.values(), strict=True)}
    )
    world.manifest["training_data"] = {"source": reference, "digest": pinned}
    world.policy["artifacts"]["allow"].append("hf://datasets/acme/bot/*")
    world.policy["measurements"]["tail"] |= {"query_log": reference}
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    for data in (job.training, job.query_log):
        assert data is not None
        assert local.training is not None
        assert (data.source, data.rows, f"sha256:{data.sha256}") == (reference, local.training.rows, pinned)
        assert list(data.passages()) == list(local.training.passages()), "lines count on from file to file"
        assert list(data.conversations()) == list(local.training.conversations())
    hub.close()


def test_training_data_that_is_not_allowed_is_not_asked_for(world: World, shelf: Any) -> None:
    world.policy["artifacts"]["allow"] = ["models/*"]
    world.manifest["training_data"] = {"source": f"{shelf.url}/m/train.jsonl"}
    world.save()
    with pytest.raises(ArtifactError, match="the policy does not allow"):
        load_job(world.policy_path, world.manifest_path)
    assert not shelf.asked


def test_training_data_must_have_its_digest(world: World, shelf: Any) -> None:
    world.manifest["training_data"] = {"source": f"{shelf.url}/m/train.jsonl", "digest": "sha256:" + "0" * 64}
    world.save()
    with pytest.raises(ConfigurationError, match="expected sha256:0000"):
        load_job(world.policy_path, world.manifest_path)


def test_a_folder_is_no_data_file(world: World, shelf: Any) -> None:
    world.manifest["training_data"] = {"source": f"{shelf.url}/m/"}
    world.save()
    with pytest.raises(ArtifactError, match="one data file is expected"):
        load_job(world.policy_path, world.manifest_path)


def test_a_bad_row_in_a_remote_suite_is_named(world: World) -> None:
    with serving(folder_site({"t.jsonl": b'{"id": "a"}\n'})) as site:
        world.policy["measurements"]["target"]["dataset"] = f"{site.url}/m/t.jsonl"
        world.save()
        with pytest.raises(DatasetError, match=r"t\.jsonl:1"):
            load_job(world.policy_path, world.manifest_path)


def test_nothing_is_fetched_while_anything_is_not_allowed(world: World, hub: HuggingFaceSource) -> None:
    world.manifest["base"] = {"source": "hf://acme/bot", "revision": COMMIT}
    world.manifest["candidate"] = {"source": "hf://evil/bot", "revision": COMMIT}
    world.save()
    with pytest.raises(ArtifactError, match="hf://evil/bot: the policy does not allow"):
        load_job(world.policy_path, world.manifest_path)
    assert not hub.api.asked


def test_the_judge_may_lie_elsewhere_too(world: World, monkeypatch: Any) -> None:
    hub = HuggingFaceSource(tree(world.root / "models" / "judge"))
    monkeypatch.setenv("HF_ENDPOINT", hub.api.url)
    world.policy["judge"] = {"source": "hf://acme/bot", "revision": COMMIT}
    world.save()
    job = load_job(world.policy_path, world.manifest_path)
    assert job.judge is not None
    assert job.judge.reference == "hf://acme/bot"
    hub.close()


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def test_check_fetches_shows_how_far_it_is_and_can_do_without_a_network(
    world: World, hub: HuggingFaceSource, capfd: pytest.CaptureFixture[str]
) -> None:
    world.manifest["candidate"] = {"source": "hf://acme/bot", "revision": COMMIT}
    world.save()
    command = ["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)]
    assert leave("run", *command[1:], "--out", str(world.root / "out"), "--offline") == 2
    assert "not in the cache" in capfd.readouterr().err
    assert leave(*command, "--offline") == 2
    refused = capfd.readouterr().err
    assert "not in the cache" in refused
    assert "run once without --offline" in refused
    assert not hub.api.asked
    assert leave(*command) == 0
    first = capfd.readouterr()
    assert "fetch hf://acme/bot (MB): started" in first.err
    assert "ready to run" in first.out
    hub.api.asked.clear()
    assert leave(*command, "--offline") == 0
    assert not hub.api.asked
    assert TOKEN not in refused + first.out + first.err


def test_plan_shows_how_far_it_is_and_can_do_without_a_network(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    suite = (world.root / "evals" / "target.jsonl").read_bytes()
    with serving(folder_site({"target.jsonl": suite})) as site:
        world.policy["measurements"] = {"target": {"dataset": f"{site.url}/m/target.jsonl", "scorer": "choice"}}
        world.save()
        command = ["plan", "--policy", str(world.policy_path)]
        assert leave(*command, "--offline") == 2
        assert "not in the cache" in capfd.readouterr().err
        assert not site.asked
        assert leave(*command) == 0
        assert f"fetch {site.url}/m/target.jsonl (MB): started" in capfd.readouterr().err
        site.asked.clear()
        assert leave(*command, "--offline") == 0
        assert not site.asked


def test_every_cached_file_is_read_when_the_command_says_so(
    world: World, hub: HuggingFaceSource, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FTGATE_VERIFY_DAYS", raising=False)  # what the command sets ends with the test
    monkeypatch.setattr(cache, "_IN_USE", {})
    world.manifest["candidate"] = {"source": "hf://acme/bot", "revision": COMMIT}
    world.save()
    command = ["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)]
    assert leave(*command) == 0
    read: list[Path] = []
    monkeypatch.setattr(cache, "sha256", lambda path: read.append(path) or cache_files.sha256(path))
    for more, some in (("--offline", False), ("--verify-cache", True)):
        cache._IN_USE.clear()
        assert leave(*command, more) == 0
        assert ("adapter_model.safetensors" in {path.name for path in read}) is some


def test_the_report_says_where_things_lie_in_the_words_of_policy_and_manifest_and_what_was_left_aside(
    world: World,
) -> None:
    (world.root / "models" / "bot" / "training_args.bin").write_bytes(b"\x80\x04.")
    known = judged(world, "out", source="models/bot").provenance
    assert known["candidate"]["left_aside"] == ["training_args.bin"]
    assert "training_args.bin" not in known["candidate"]["files"]
    assert {name: suite["source"] for name, suite in known["suites"].items()} == {
        name: section["dataset"] for name, section in world.policy["measurements"].items()
    }
    assert known["training_data"]["source"] == world.manifest["training_data"]["source"]
    assert str(world.root) not in json.dumps(known)


def test_check_says_what_is_left_aside(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    (world.root / "models" / "bot" / "training_args.bin").write_bytes(b"\x80\x04.")
    assert leave("check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "models/bot: ignored files, not digested and not shown to an engine: training_args.bin" in said


def test_check_imports_no_inference_library_wherever_models_lie(
    world: World, hub: HuggingFaceSource, bucket: Any
) -> None:
    bucket.put_object(Bucket="models", Key="train.jsonl", Body=(world.root / "evals" / "train.jsonl").read_bytes())
    world.manifest["candidate"] = {"source": "hf://acme/bot", "revision": COMMIT}
    world.manifest["training_data"] = {"source": "s3://models/train.jsonl"}
    world.save()
    arguments = ["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)]
    code = (
        f"import sys\nfrom ftgate.cli.main import main\ntry:\n    main({arguments})\nexcept SystemExit as left:\n"
        "    assert not left.code, left.code\n"
        "assert {'huggingface_hub', 's3fs'} <= set(sys.modules)\n"
        "heavy = {'torch', 'vllm', 'transformers', 'peft'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_offline_hub_client_is_not_made_to_fetch(
    world: World, hub: HuggingFaceSource, monkeypatch: Any, capfd: Any
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    world.manifest["candidate"] = {"source": "hf://acme/bot", "revision": COMMIT}
    world.save()
    assert leave("check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)) == 2
    assert "HF_HUB_OFFLINE is set" in capfd.readouterr().err
    assert not hub.api.asked


def test_a_network_that_fails_is_no_opinion_about_the_model(world: World, hub: HuggingFaceSource, capfd: Any) -> None:
    world.manifest["candidate"] = {"source": "hf://acme/bot", "revision": COMMIT}
    world.save()
    hub.close()
    assert leave("check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)) == 3
    assert "cannot be reached" in capfd.readouterr().err


def test_a_judge_behind_an_endpoint_that_has_the_name_of_a_pinned_candidate_is_refused(
    world: World, hub: HuggingFaceSource
) -> None:
    world.manifest["candidate"] = {"source": f"hf://acme/bot@{COMMIT}"}
    world.manifest["name"] = "support"
    world.policy["judge"] = {"endpoint": "http://127.0.0.1:9/v1", "model": "acme/bot"}
    world.save()
    with pytest.raises(ConfigurationError, match="has the name of one of the models"):
        load_job(world.policy_path, world.manifest_path)
