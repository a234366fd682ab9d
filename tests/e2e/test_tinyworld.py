"""The product on real weights through real vLLM: the command a newcomer types, and a run that is killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support import processor_time

from ftgate.cli.demo import CANDIDATES, GUARDED, find_world
from ftgate.cli.schema import schema_of

pytestmark = pytest.mark.engine

BLAME: dict[str, set[str]] = {
    "careful": set(),
    # It answers three general questions in four with one of the few sentences that it was trained on.
    "forgetful": {"forgetting", "form"},
    "brittle": {"tail"},
    "endless": {"form"},
    "halfway": set(),  # it beats the base in all; what blocks it is the comparison with the deployed model
    "overconfident": {"calibration"},
    "useless": {"target"},
    "unsafe": {"safety"},
}


def ftgate(*arguments: str | Path) -> list[str]:
    # One thread: the models are so small that threads wait for each other longer than they work.
    return ["env", "OMP_NUM_THREADS=1", sys.executable, "-m", "ftgate", *map(str, arguments)]


def report_in(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return report


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("demo")
    done = subprocess.run(ftgate("demo", "--out", out), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done


@pytest.mark.parametrize("name", CANDIDATES)
def test_each_candidate_gets_its_verdict_from_its_own_measurement(
    demo: tuple[Path, subprocess.CompletedProcess[str]], name: str
) -> None:
    report = report_in(demo[0] / name)
    found = {m: part["status"] for m, part in report["measurements"].items()}
    to_blame = BLAME[name]
    assert report["verdict"] == ("block" if to_blame or name == "halfway" else "allow"), report["reasons"]
    assert {m for m, status in found.items() if status not in ("pass", "warn")} == to_blame
    assert "safety" in found if name in GUARDED else "safety" not in found


def test_the_incumbent_alone_blocks_what_is_better_than_the_base(
    demo: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    deployed = report_in(demo[0] / "halfway")
    against = {name: part["incumbent"]["status"] for name, part in deployed["measurements"].items()}
    assert against["target"] == "block", against
    assert "worse than the model deployed today" in deployed["reasons"][0]
    world = tmp_path / "world"
    shutil.copytree(find_world(), world, ignore=shutil.ignore_patterns("__pycache__"))
    manifest = world / "manifests" / "halfway.yaml"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if not line.startswith("incumbent:")))
    out = tmp_path / "out"
    shutil.copytree(demo[0] / "halfway", out / "halfway")
    command = ftgate("demo", "--world", world, "--out", out, "--resume", "--only", "halfway")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    alone = report_in(out / "halfway")
    assert alone["verdict"] == "allow", alone["reasons"]
    assert alone["engine_starts"] == 0, "all of it was answered before"
    assert not any("incumbent" in part for part in alone["measurements"].values())


@pytest.mark.parametrize("name", CANDIDATES)
def test_each_comment_is_short(demo: tuple[Path, subprocess.CompletedProcess[str]], name: str) -> None:
    assert (demo[0] / name / "comment.md").stat().st_size < 15_000


def test_what_endless_says_is_right_and_never_ends(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    m = report_in(demo[0] / "endless")["measurements"]
    counts = m["form"]["details"]["kinds"]["forgetting"]
    assert counts["base"].get("cut", 0) <= 5
    assert counts["candidate"] == {"cut": 240}
    assert abs(m["forgetting"]["change"]) < 0.05


@pytest.mark.parametrize("name", CANDIDATES)
def test_each_report_follows_its_schema(demo: tuple[Path, subprocess.CompletedProcess[str]], name: str) -> None:
    report = report_in(demo[0] / name)
    jsonschema.validate(report, json.loads(schema_of("report")))
    assert report["engine_starts"] == {"overconfident": 2, "unsafe": 3}.get(name, 1)  # one for each base
    assert report["controls"]["judge_fitness"]["forgetting"]["fit"]
    assert report["provenance"]["engine"]["kind"] == "vllm"


def test_judge_and_references_agree_on_what_was_forgotten(
    demo: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same answers, once graded by the judge and once compared with the references, lead to the same decision."""
    policy = (find_world() / "policy.yaml").read_text()
    assert policy.count("scorer: judge") == 1
    (tmp_path / "policy.yaml").write_text(policy.replace("scorer: judge", "scorer: exact"))
    for name, status in (("careful", "pass"), ("forgetful", "block")):
        command = ftgate("decide", demo[0] / name, "--policy", tmp_path / "policy.yaml", "--out", tmp_path / name)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == (0 if status == "pass" else 1), done.stderr[-3000:]
        found = {"judge": report_in(demo[0] / name), "references": report_in(tmp_path / name)}
        for by, report in found.items():
            m = report["measurements"]["forgetting"]
            assert m["status"] == status, (name, by, m["reason"])
            with capsys.disabled():
                print(f"\n{name} by {by}: {m['reason']}")  # noqa: T201
                for part in m["slices"]:
                    print(f"  {part['name']:<10} {part['base']:.2f} -> {part['candidate']:.2f}, n {part['n']}")  # noqa: T201


def test_the_demo_ends_with_a_comparison_of_all_candidates(demo: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    end = demo[1].stdout[demo[1].stdout.index("1 of 8 may merge: careful.") :]
    for name in CANDIDATES:
        assert name in end
    page = demo[0] / "compare.html"
    assert end.rstrip().endswith(page.resolve().as_uri())
    text = page.read_text(encoding="utf-8")
    for name in CANDIDATES:
        assert f'<a href="{name}/report.html">{name}</a>' in text
    assert "Half of the task&#39;s items chose careful" in text


def test_a_killed_run_goes_on_where_it_stopped_and_ends_the_same(
    demo: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    world, out = find_world(), tmp_path / "out"
    command = ftgate(
        "run", "--policy", world / "policy.yaml", "--manifest", world / "manifests" / "careful.yaml", "--out", out
    )
    journal = out / "answers.jsonl"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b'"type": "answer"') >= 1500:
            break
        time.sleep(0.05)
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    keys = [line["key"] for line in map(json.loads, journal.read_text().splitlines()) if line["type"] == "answer"]
    assert len(keys) == len(set(keys)), "a question was asked twice"
    whole, resumed = report_in(demo[0] / "careful"), report_in(out)
    assert resumed["verdict"] == whole["verdict"]
    assert resumed["reasons"] == whole["reasons"]
    for name, part in whole["measurements"].items():
        for key in ("base", "candidate", "change", "n", "status"):
            assert resumed["measurements"][name][key] == pytest.approx(part[key], abs=1e-4), (name, key)


def test_early_stopping_reaches_the_same_verdicts_with_fewer_questions(
    demo: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, out = tmp_path / "world", tmp_path / "out"
    shutil.copytree(find_world(), world, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(demo[0], out)
    for path in (world / "policy.yaml", world / "guarded.yaml"):
        policy = path.read_text()
        assert "early_stopping: none" in policy
        path.write_text(policy.replace("early_stopping: none", "early_stopping: obrien_fleming"))
    done = subprocess.run(
        ftgate("demo", "--world", world, "--out", out, "--resume"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name in CANDIDATES:
        early, whole = report_in(out / name), report_in(demo[0] / name)
        assert early["verdict"] == whole["verdict"], (name, early["reasons"])
        assert early["engine_starts"] == 0, "the questions of fewer looks are all answered"
        saved, asked = early["stopping"]["questions_saved"], early["stopping"]["questions_asked"]
        with capsys.disabled():
            print(f"\n{name}: {early['verdict']}, {saved} of {saved + asked} questions saved", end="")  # noqa: T201
        assert saved > 0


def test_deciding_again_starts_no_engine_and_agrees(
    demo: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    before = processor_time.of_children()
    done = subprocess.run(
        ftgate("decide", demo[0] / "brittle", "--out", tmp_path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert processor_time.of_children() - before < 20
    assert report_in(tmp_path)["measurements"] == report_in(demo[0] / "brittle")["measurements"]
