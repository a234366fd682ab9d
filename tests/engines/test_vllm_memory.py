"""How engines share a GPU, whose memory is made up, and how many start; vLLM itself runs, on the CPU."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.world import World, write_rows

from engines.tiny import TinyModels, make_adapter, make_llama, make_tokenizer
from ftgate.config.engine import EngineSettings
from ftgate.domain import Model
from ftgate.errors import ControlError
from ftgate.gate.evaluate import evaluate
from ftgate.gate.together import Candidate, Outcome, evaluate_together
from ftgate.jobs.prepare import Job, load_job
from ftgate.progress import SilentProgress

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("no_pictures")]
GIB = 1 << 30


class Held:
    """Stands for the engine of the models or of the judge."""

    def __init__(self, share: float = 0.0) -> None:
        self.memory_share = share

    def unload(self) -> None:
        self.memory_share = 0.0


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Makes up a GPU with so many GiB, which nothing runs on yet."""
    pytest.importorskip("vllm")
    from ftgate.engines.vllm import memory

    monkeypatch.setattr(memory, "_holders", [])
    monkeypatch.setattr(memory, "_reservations", [])

    def make(size: float) -> None:
        monkeypatch.setattr(memory, "device_memory", lambda: int(size * GIB))

    return make


def weights(name: str, size: float) -> Model:
    return Model(name, Path(name), name, facts={"weight_bytes": int(size * GIB)})


BASE, CANDIDATE, JUDGE = weights("base", 14), weights("candidate", 14), weights("judge", 28)


def shares(*reserved: tuple[Held, list[Model]], settings: EngineSettings | None = None) -> list[float]:
    from ftgate.engines.vllm import memory

    settings = settings or EngineSettings()
    for holder, models in reserved:
        memory.reserve(holder, models, settings)
    return [memory.share_of(holder, model, settings) for holder, models in reserved for model in models]


def test_models_and_judge_that_fit_share_a_gpu_by_weight(gpu: Callable[[float], None]) -> None:
    from ftgate.engines.vllm import memory

    gpu(80)
    models, judge = Held(), Held()
    base, of_judge = shares((models, [BASE]), (judge, [JUDGE]))
    assert memory.all_fit(EngineSettings())
    assert base + of_judge == pytest.approx(0.9)
    assert of_judge / base == pytest.approx((1.25 * 28 + 1) / (1.25 * 14 + 1))
    memory.make_room(models, base)
    models.memory_share = base
    memory.make_room(judge, of_judge)
    assert models.memory_share == base, "nobody has to leave"


def test_a_judge_that_does_not_fit_beside_the_models_takes_all_and_they_share_by_weight(
    gpu: Callable[[float], None],
) -> None:
    from ftgate.engines.vllm import memory

    gpu(60)
    models, judge = Held(), Held()
    assert shares((models, [BASE, CANDIDATE]), (judge, [JUDGE])) == pytest.approx([0.45, 0.45, 0.9])
    assert not memory.all_fit(EngineSettings())
    assert memory.own_fit(models, (), EngineSettings())
    memory.make_room(models, 0.9)
    models.memory_share = 0.9
    memory.make_room(judge, 0.9)
    assert models.memory_share == 0


@pytest.mark.parametrize(("size", "devices", "fits"), [(40, 1, False), (40, 2, True), (200, 1, True)])
def test_weights_split_across_gpus_need_a_part_on_each(
    gpu: Callable[[float], None], size: float, devices: int, fits: bool
) -> None:
    from ftgate.engines.vllm import memory

    gpu(size)
    settings = EngineSettings(tensor_parallel_size=devices)
    assert memory.own_fit(Held(), [BASE, CANDIDATE], settings) is fits


def test_a_judge_on_a_gpu_of_its_own_takes_nobodys_place(gpu: Callable[[float], None]) -> None:
    from ftgate.engines.vllm import memory

    gpu(40)
    models, judge, apart = Held(), Held(), EngineSettings(devices=(1,))
    memory.reserve(models, [BASE], EngineSettings())
    memory.reserve(judge, [JUDGE], apart)
    assert memory.all_fit(EngineSettings())
    assert memory.all_fit(apart)
    assert memory.share_of(judge, JUDGE, apart) == 0.9
    models.memory_share = 0.9
    memory.make_room(models, 0)
    memory.make_room(judge, 0.9)
    assert models.memory_share == 0.9


def test_weights_of_unknown_size_fit_beside_nothing(gpu: Callable[[float], None]) -> None:
    gpu(1000)
    unknown = replace(CANDIDATE, facts={})
    assert shares((Held(), [BASE]), (Held(), [unknown])) == [0.9, 0.9]


def test_whoever_used_the_gpu_longest_ago_makes_room(gpu: Callable[[float], None]) -> None:
    from ftgate.engines.vllm import memory

    gpu(80)
    first, second, third = Held(), Held(), Held()
    for holder, share in ((first, 0.4), (second, 0.4), (third, 0.5)):
        memory.make_room(holder, share)
        holder.memory_share = share
    assert (first.memory_share, second.memory_share, third.memory_share) == (0.0, 0.4, 0.5)
    memory.make_room(first, 0.9)
    assert (second.memory_share, third.memory_share) == (0.0, 0.0)


def small_job(folder: Path, tiny: TinyModels, candidate: Model) -> Job:
    """Two small suites, one of them judged, with a prompt that is too long."""
    world = World(folder)
    shutil.rmtree(world.root / "models")
    for name, source in (("base", tiny.base), ("bot", candidate)):
        shutil.copytree(source.path, world.root / "models" / name)
    make_llama(world.root / "models" / "judge", 9, make_tokenizer(world.root / "models" / "judge"))
    colours = ["red", "green", "blue", "grey"]
    chosen = [{"id": f"c{i}", "prompt": f"which {i}", "choices": colours, "answer": colours[i % 4]} for i in range(40)]
    write_rows(world.root / "evals" / "target.jsonl", chosen)
    # As many different answers as the judge's test takes: with fewer no judge is asked.
    rows = [{"id": f"g{i}", "prompt": f"the {i} river", "answer": f"a red forest {i}"} for i in range(60)]
    write_rows(world.root / "evals" / "general.jsonl", [*rows, {**rows[0], "id": "long", "prompt": "river " * 400}])
    world.policy["measurements"] = {
        "target": {"dataset": "evals/target.jsonl", "scorer": "choice", "min_gain": 0},
        "forgetting": {"dataset": "evals/general.jsonl", "scorer": "judge", "max_tokens": 4},
    }
    world.policy |= {"engine": {"kind": "vllm", "max_model_len": 256}, "evidence": {}}
    world.save()
    return load_job(world.policy_path, world.manifest_path)


@pytest.mark.parametrize(
    ("gigabytes", "candidate", "starts"),
    [(1, "real", 2), (1, "full", 3), (80, "real", 2), (80, "full", 3)],
    ids=["adapter in turns", "weights in turns", "adapter beside", "weights beside"],
)
def test_each_set_of_weights_starts_once_in_a_whole_run(
    gpu: Callable[[float], None], tiny: TinyModels, tmp_path: Path, gigabytes: float, candidate: str, starts: int
) -> None:
    """Looks, all controls, a prompt that never fits and a local judge: no run needs fewer than one for each."""
    from ftgate.engines.vllm.engine import VllmEngine

    gpu(gigabytes)
    job = small_job(tmp_path, tiny, getattr(tiny, candidate))
    judge = VllmEngine(job.policy.engine, log_path=tmp_path / "judge.log")
    try:
        report = evaluate(job, tmp_path / "out", SilentProgress(), judge_engine=judge)
    finally:
        judge.close()
    assert report.stopping is not None
    assert report.stopping.looks["target"] > 1
    assert judge.starts == 1
    assert report.engine_starts + judge.starts == starts


def test_only_an_engine_in_processes_of_its_own_runs_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vllm")
    from ftgate.engines.vllm import startup
    from ftgate.engines.vllm.engine import VllmEngine

    engine = VllmEngine(EngineSettings())
    monkeypatch.delenv("VLLM_ENABLE_V1_MULTIPROCESSING", raising=False)
    assert engine.runs_ahead is not startup.on_cpu()
    monkeypatch.setattr(startup, "on_cpu", lambda: False)
    assert engine.runs_ahead
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    assert not engine.runs_ahead
    engine.close()


def test_a_run_that_asks_ahead_decides_as_one_that_does_not(
    gpu: Callable[[float], None], tiny: TinyModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU: the judge answers while questions of later looks are in flight in the models' engine."""
    from ftgate.engines.vllm.engine import VllmEngine

    gpu(80)
    job = small_job(tmp_path, tiny, tiny.real)
    plain = evaluate(job, tmp_path / "plain", SilentProgress())
    monkeypatch.setattr(VllmEngine, "runs_ahead", True)
    ahead = evaluate(job, tmp_path / "ahead", SilentProgress())
    assert ahead.engine_starts == 1
    assert ahead.verdict == plain.verdict
    assert ahead.measurements == plain.measurements


def several_jobs(folder: Path, tiny: TinyModels, names: tuple[str, ...]) -> list[Job]:
    """The job of :func:`small_job` for each of the models of ``names``."""
    small_job(folder, tiny, tiny.real)
    jobs = []
    for name in names:
        if name == "more":
            make_llama(folder / "models" / name, 11, make_tokenizer(folder / "models" / name))
        elif name == "faint":
            make_adapter(
                folder / "models" / name, tiny.base.path, 5, scale=1e-8
            )  # more than nothing, and less than shows
        else:
            shutil.copytree(getattr(tiny, name).path, folder / "models" / name)
        manifest = folder / f"{name}.yaml"
        manifest.write_text(f"name: {name}\nbase: {{source: models/base}}\ncandidate: {{source: models/{name}}}\n")
        jobs.append(load_job(folder / "ftgate.yml", manifest))
    return jobs


@pytest.mark.parametrize(
    ("gigabytes", "names", "starts"),
    [(80, ("real", "faint", "other"), 2), (1, ("full", "real", "more"), 4)],
    ids=["adapters beside the judge", "weights, adapter and judge in turns"],
)
def test_several_candidates_start_what_one_starts_and_each_is_judged_as_if_alone(
    gpu: Callable[[float], None],
    tiny: TinyModels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gigabytes: float,
    names: tuple[str, ...],
    starts: int,
) -> None:
    """One start for the base with all adapters, one for the judge, one for each other set of weights.

    The adapter that does nothing is refused, as it would be alone.
    """
    from ftgate.engines.vllm import startup

    gpu(gigabytes)
    jobs = several_jobs(tmp_path, tiny, names)
    started: list[dict[str, object]] = []
    start = startup.start

    def counted(arguments: dict[str, object], devices: object) -> object:
        started.append(arguments)
        return start(arguments, devices)  # type: ignore[arg-type]

    monkeypatch.setattr(startup, "start", counted)

    def judged(jobs: list[Job], out: Path) -> list[Outcome]:
        return list(evaluate_together([Candidate(job, out / job.name) for job in jobs], SilentProgress()))

    together = judged(jobs, tmp_path / "together")
    assert len(started) == starts
    slots = {arguments["max_loras"] for arguments in started if "max_loras" in arguments}
    assert slots == {startup.lora_slots(2, cpu=startup.on_cpu())}, "a candidate and its zeros, however many there are"
    alone = {outcome.name: outcome for job in jobs for outcome in judged([job], tmp_path / "alone")}
    assert {outcome.name for outcome in together} == set(names)
    for one in together:
        other = alone[one.name]
        if one.name == "faint":
            assert isinstance(one.error, ControlError)
            assert str(one.error) == str(other.error)
            continue
        assert one.report is not None, one.error
        assert other.report is not None, other.error
        assert one.report.verdict == other.report.verdict
        assert one.report.measurements == other.report.measurements
        assert one.report.controls == other.report.controls
