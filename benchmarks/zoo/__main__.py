"""Build the zoo, measure the truth, run the gate on it, and print the table (docs/zoo.md).

    python -m benchmarks.zoo build --base DIR --out zoo     data, fine-tunes and copies
    python -m benchmarks.zoo truth --base DIR --out zoo     what each member really gained and lost
    python -m benchmarks.zoo gate  --base DIR --out zoo     ftgate's verdict on each
    python -m benchmarks.zoo table --out zoo                both, side by side

DIR is a local folder with SmolLM2-135M-Instruct. Finished members are kept, so every command can be repeated.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before PyTorch loads: threads that wait for each other cost more

from benchmarks.zoo.gate import run_gate
from benchmarks.zoo.members import MEMBERS, Copy, Member
from benchmarks.zoo.table import read_lines, render


def build(members: Sequence[Member], base: Path, out: Path) -> None:
    """Write the data, and make every member that is not there yet."""
    from benchmarks.zoo.data import write_rows
    from benchmarks.zoo.train import train
    from benchmarks.zoo.weights import make_copy

    write_rows(out / "data")
    (out / "models").mkdir(exist_ok=True)
    for member in members:
        folder = out / "models" / member.name
        if (folder / "config.json").exists() or (folder / "adapter_config.json").exists():
            continue
        if isinstance(member, Copy):
            make_copy(member, base, folder)
        else:
            train(member, base, out / "data", folder)


def measure_truth(members: Sequence[Member], base: Path, out: Path, share: float) -> None:
    """Run the truth script, in a process of its own, as it shares no code with the gate."""
    script = Path(__file__).with_name("truth.py")
    command = [sys.executable, str(script), "--base", str(base), "--models", str(out / "models")]
    command += ["--data", str(out / "data" / "truth"), "--out", str(out / "truth"), "--share", str(share)]
    sys.exit(subprocess.run([*command, *(member.name for member in members)], check=False).returncode)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one of the four commands."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=("build", "truth", "gate", "table"))
    parser.add_argument("--base", type=Path, help="folder with SmolLM2-135M-Instruct")
    parser.add_argument("--out", type=Path, required=True, help="folder for models, answers and reports")
    parser.add_argument(
        "--engine", choices=("vllm", "transformers"), default="vllm", help="what the gate runs models with"
    )
    parser.add_argument("--share", type=float, default=1.0, help="ask only this share of the questions")
    parser.add_argument("--only", action="append", help="only this member (can be repeated)")
    options = parser.parse_args(arguments)
    members = [member for member in MEMBERS if options.only is None or member.name in options.only]
    if options.command != "table" and options.base is None:
        parser.error("--base is missing: a local folder with SmolLM2-135M-Instruct")
    options.out.mkdir(parents=True, exist_ok=True)
    out = options.out.resolve()
    if options.command == "table":
        print(render(read_lines(members, out)))
    elif options.command == "build":
        build(members, options.base.resolve(), out)
    elif options.command == "gate":
        run_gate(members, options.base.resolve(), out, options.engine, options.share)
    else:
        measure_truth(members, options.base.resolve(), out, options.share)


if __name__ == "__main__":
    main()
