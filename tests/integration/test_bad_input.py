"""Bad input: one clear message, exit code 2, and no engine started."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.players import CAREFUL, script
from support.world import World, write_adapter, write_full, write_rows

from ftgate.cli.main import main
from ftgate.engines.scripted import ScriptedEngine
from ftgate.errors import ArtifactError
from ftgate.gate.evaluate import evaluate
from ftgate.jobs.prepare import load_job
from ftgate.progress import SilentProgress


def policy(*where: str, to: object) -> Callable[[World], None]:
    def change(world: World) -> None:
        section = world.policy
        for key in where[:-1]:
            section = section.setdefault(key, {})
        section[where[-1]] = to

    return change


def suite(text: str) -> Callable[[World], None]:
    return lambda world: (world.root / "evals" / "target.jsonl").write_text(text, encoding="utf-8") and None


def row(**fields: object) -> str:
    return json.dumps({"id": "a", "prompt": "p", "choices": ["x", "y"], "answer": "x", **fields}) + "\n"


def candidate(build: Callable[[Path], object]) -> Callable[[World], None]:
    def change(world: World) -> None:
        build(world.root / "models" / "other")
        world.manifest["candidate"]["source"] = "models/other"

    return change


def full_with(name: str, content: bytes) -> Callable[[World], None]:
    return candidate(lambda folder: (write_full(folder, 5) / name).write_bytes(content))


def remote_code(folder: Path) -> None:
    path = write_full(folder, 5) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoModel": "x.Y"}}))


def zeroed(folder: Path) -> None:
    path = write_adapter(folder) / "adapter_model.safetensors"
    save_file({k: v * ("lora_A" in k) for k, v in load_file(path).items()}, path)


def nested(depth: int) -> list[object]:
    """Lists of twice the same list: a few lines of YAML, and two to the power of ``depth`` names when written out."""
    value: list[object] = ["x"]
    for _ in range(depth):
        value = [value, value]
    return value


def disguised(root: Path) -> None:
    secret, data = root / "secret", root / "evals" / "train.jsonl"
    secret.write_text("password\n")
    data.unlink()
    data.symlink_to(secret)


def copied_base(world: World) -> None:
    write_full(world.root / "models" / "copy", seed=0)
    world.manifest["candidate"]["source"] = "models/copy"


CASES = {
    "unknown policy field": (policy("judgee", to=1), ["judgee", "unknown field"]),
    "limit outside its range": (policy("measurements", "tail", "block_drop", to=1.5), ["block_drop", "1.5"]),
    "missing suite": (policy("measurements", "target", "dataset", to="evals/none.jsonl"), ["none.jsonl"]),
    "unreadable suite": (
        lambda w: (w.root / "evals" / "target.jsonl").write_bytes(b"\xff\xfe\x00") and None,
        ["target.jsonl"],
    ),
    "bad row": (suite(row() + "{broken\n"), ["target.jsonl:2"]),
    "duplicate ids": (suite(row() + row()), ["target.jsonl:2", "'a'"]),
    "choices without the answer": (suite(row(answer="z")), ["target.jsonl:1", "answer"]),
    "no choices": (suite(json.dumps({"id": "a", "prompt": "p", "answer": "x"})), ["target.jsonl:1", "choices"]),
    "empty suite": (suite(""), ["target.jsonl", "empty"]),
    "adapter for another base": (candidate(lambda f: write_adapter(f, hidden=16)), ["q_proj", "16"]),
    "pickle weights": (full_with("pytorch_model.bin", b"\x80\x04"), ["pytorch_model.bin"]),
    "python in the snapshot": (full_with("modeling_x.py", b"x"), ["modeling_x.py"]),
    "remote code": (candidate(remote_code), ["auto_map"]),
    "an adapter that can be neither run nor merged": (
        candidate(lambda f: write_adapter(f, init_lora_weights="corda")),
        ["corda", "path_initial_model_for_weight_conversion"],
    ),
    "adapter that is all zeros": (candidate(zeroed), ["changes nothing"]),
    "candidate is the base": (copied_base, ["changed nothing"]),
    "not allowed": (policy("artifacts", "allow", to=["elsewhere/*"]), ["models/base", "allow"]),
    "wrong digest": (
        lambda w: w.manifest["candidate"].update(digest="sha256:" + "0" * 64),
        ["sha256:" + "0" * 12],
    ),
    "judge is the base": (policy("judge", "source", to="models/base"), ["judge.source"]),
    "digest of the judge": (policy("judge", "digest", to="abc"), ["judge.digest", "abc"]),
    "aliases that stand for more text than there is memory": (
        lambda w: w.manifest.update(name=nested(40)) and None,
        ["name", "string"],
    ),
    "a manifest longer than people write": (lambda w: w.manifest.update(name="x" * 1_000_001), ["1,000,000"]),
    "commands to a CI runner": (
        lambda w: w.manifest["candidate"].update(source="x\n::error::\x1b[31mno such"),
        [": :error: :no such"],
    ),
    "training data that is a link to something else": (
        lambda w: disguised(w.root) and None,
        ["training_data.source", "link"],
    ),
    "no judge": (lambda w: w.policy.pop("judge") and None, ["judge"]),
    "unknown manifest field": (lambda w: w.manifest.update(candiate={}), ["candiate", "candidate"]),
    "wrong digest of the training data": (
        lambda w: w.manifest["training_data"].update(digest="sha256:" + "0" * 64),
        ["training_data.digest", "sha256:" + "0" * 12],
    ),
    "no training data where the policy requires it": (
        lambda w: w.manifest.pop("training_data") and w.policy["artifacts"].update(require_training_data=True),
        ["manifest", "bot.yaml", "training_data is missing", "artifacts.require_training_data"],
    ),
    "training data missing": (
        lambda w: w.manifest["training_data"].update(source="evals/none.jsonl"),
        ["none.jsonl"],
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("command", ["check", "run"])
def test_bad_input(world: World, capsys: pytest.CaptureFixture[str], command: str, case: str) -> None:
    change, named = CASES[case]
    change(world)
    world.save()
    out = world.root / "out"
    arguments = [command, "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)]
    with pytest.raises(SystemExit) as left:
        main([*arguments, *(["--out", str(out)] if command == "run" else [])])
    said = capsys.readouterr().err
    assert left.value.code == 2, said
    assert said.count("ftgate: error:") == 1
    assert "what to do:" in said
    assert "Traceback" not in said
    for part in named:
        assert part.lower() in said.lower(), said
    assert not (out / "answers.jsonl").exists(), "nothing may start before everything was read"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_numbers_stop_the_gate_and_are_named(
    world: World, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    path = world.root / "models" / "bot" / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(k for k in tensors if "lora_B" in k)
    tensors[name][0, 0] = value
    save_file(tensors, path)
    with pytest.raises(SystemExit) as left:
        main(["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)])
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert "lora_B" in said
    engine = ScriptedEngine(script(CAREFUL))
    with pytest.raises(ArtifactError, match="lora_B"):  # a run scans, too, what a check was spared for its size
        evaluate(load_job(world.policy_path, world.manifest_path), world.root / "out", SilentProgress(), engine=engine)
    assert not engine.asked


def test_check_says_what_a_run_would_use(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)])
    shown = capsys.readouterr().out
    assert left.value.code == 0
    for part in ("models/base", "adapter, rank 2", "target", "calibration", "ready to run"):
        assert part in shown


def test_check_imports_neither_torch_nor_vllm(world: World) -> None:
    script = (
        "import sys\nfrom ftgate.cli.main import main\n"
        f"files = ['--policy', {str(world.policy_path)!r}, '--manifest', {str(world.manifest_path)!r}]\n"
        "try:\n    main(['check', *files])\n"
        "except SystemExit as left:\n    assert left.code == 0, left.code\n"
        "heavy = {'torch', 'vllm', 'transformers', 'peft', 'openai'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_row_of_ten_thousand_is_found(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": f"r{i}", "prompt": "p", "choices": ["x", "y"], "answer": "x"} for i in range(10_000)]
    rows[7_654]["answer"] = "neither"
    write_rows(world.root / "evals" / "target.jsonl", rows)
    with pytest.raises(SystemExit) as left:
        main(["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)])
    assert left.value.code == 2
    assert "target.jsonl:7655" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_made_is_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    out = world.root / "taken"
    out.write_text("a file")
    with pytest.raises(SystemExit) as left:
        main(["run", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path), "--out", str(out)])
    assert left.value.code == 2
    assert "taken" in capsys.readouterr().err


def test_a_field_that_stands_twice_is_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    with world.policy_path.open("a") as file:
        file.write("artifacts: {allow: ['**']}\n")
    with pytest.raises(SystemExit) as left:
        main(["check", "--policy", str(world.policy_path), "--manifest", str(world.manifest_path)])
    assert left.value.code == 2
    assert "'artifacts' is given twice" in capsys.readouterr().err


def test_a_run_to_reuse_that_is_not_there_is_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--policy", str(world.policy_path), "--manifest", str(world.manifest_path)]
    with pytest.raises(SystemExit) as left:
        main(["run", *files, "--out", str(world.root / "out"), "--reuse", str(world.root / "nowhere")])
    assert left.value.code == 2
    assert "nowhere" in capsys.readouterr().err
