"""The command line as a person meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from support import processor_time
from support.players import CAREFUL, Player, script
from support.world import World

from ftgate import __version__
from ftgate.cli.main import main
from ftgate.engines import registry
from ftgate.engines.scripted import ScriptedEngine
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress

ROOT = Path(__file__).parents[2]


def leave(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def finished(world: World, player: Player) -> str:
    engine = ScriptedEngine(script(player))
    job = load_job(world.policy_path, world.manifest_path)
    evaluate(job, world.root / "out", SilentProgress(), engine=engine, judge_engine=engine)
    return str(world.root / "out")


def test_help_is_quick_and_names_every_command() -> None:
    best = 99.0
    for _ in range(5):
        before = processor_time.of_children()
        done = subprocess.run([sys.executable, "-m", "ftgate", "--help"], capture_output=True, text=True, check=True)
        best = min(best, processor_time.of_children() - before)
    for command in ("demo", "run", "decide", "check", "report", "schema"):
        assert command in done.stdout
    assert best < 0.5


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom ftgate.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print({'torch', 'vllm', 'transformers', 'peft', 'github', 'pydantic', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("set()")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("--version") == 0
    assert __version__ in capsys.readouterr().out


def test_python_m_ftgate_is_the_command(tmp_path: Path) -> None:
    def program(*arguments: str) -> subprocess.CompletedProcess[str]:
        command, env = [sys.executable, "-m", "ftgate", *arguments], {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    done = program("--version")
    assert (done.returncode, done.stdout) == (0, f"ftgate, version {__version__}\n"), done.stderr
    done = program("report", "nowhere")
    assert done.returncode == 2
    assert "nowhere/report.json" in done.stderr


@pytest.mark.parametrize(
    ("player", "code"),
    [(CAREFUL, 0), (Player(target=0.9, tail=0.3), 1), (Player(target=0.6), 4)],
    ids=["allow", "block", "hold"],
)
def test_run_and_decide_leave_with_the_verdicts_code(
    world: World, player: Player, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted = {kind: lambda settings, log: ScriptedEngine(script(player)) for kind in ("vllm", "scripted")}
    monkeypatch.setattr(registry, "_ENGINES", scripted)
    out = world.root / "out"
    files = ["--policy", str(world.policy_path), "--manifest", str(world.manifest_path), "--out", str(out)]
    assert leave("run", *files) == code
    printed = capsys.readouterr().out
    for name in ("report.json", "comment.md", "report.html"):
        assert str(out / name) in "".join(printed.split("\n"))
    assert leave("decide", str(out)) == code


def test_report_renders_again_from_report_json_alone(world: World) -> None:
    out = world.root / finished(world, CAREFUL)
    before = (out / "comment.md").read_text()
    for name in ("comment.md", "report.html", "answers.jsonl", "job.json"):
        (out / name).unlink()
    assert leave("report", str(out)) == 0
    assert (out / "comment.md").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["report", "nowhere"], "nowhere/report.json"),
        (["decide", "nowhere"], "nowhere"),
        (["run"], "--manifest"),
        (["frobnicate"], "frobnicate"),
        (["schema", "nothing"], "nothing"),
        (["demo", "--only", "nobody"], "nobody"),
    ],
)
def test_wrong_usage_is_exit_2_and_says_what(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave(*arguments) == 2
    assert named in capsys.readouterr().err


def test_a_damaged_report_is_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (world.root / "report.json").write_text('{"verdict": "maybe"}')
    assert leave("report", str(world.root)) == 2
    assert "report.json" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["policy", "manifest", "report"])
def test_schemas_are_valid_and_accept_what_the_gate_accepts(
    world: World, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leave("schema", kind) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    if kind == "report":
        finished(world, CAREFUL)
        value = json.loads((world.root / "out" / "report.json").read_text())
    else:
        value = yaml.safe_load((world.policy_path if kind == "policy" else world.manifest_path).read_text())
    jsonschema.validate(value, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**value, "measurements" if kind != "manifest" else "nmae": 3}, schema)


def test_a_defect_is_one_line_and_the_traceback_is_kept(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("surprise")

    monkeypatch.setattr("ftgate.jobs.prepare.load_configured", broken)
    assert leave("check", "--manifest", str(world.manifest_path)) == 3
    said = capsys.readouterr().err
    assert "surprise" in said
    assert "Traceback" not in said
    assert "ftgate-traceback-" in said


def test_main_leaves_a_process_that_loaded_an_engine_alive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the program itself may end at once; whoever calls main from Python gets SystemExit, as from any function."""
    monkeypatch.setitem(sys.modules, "vllm", sys)
    assert leave("report", "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err
