"""Several engines on one machine or many, as actors of Ray: each answers a part of the questions.

Every actor (a *replica*) holds its own :class:`~ftgate.engines.vllm.engine.VllmEngine` with all models of a run.
Questions go out in portions, in order, to whichever replica has room, so that fast ones take over from slow ones;
answers come back one by one. A replica that dies, alone or with its machine, is replaced, and what it had not answered
is asked again: nothing is lost, and nothing is answered twice. The journal stays with the process that drives the run.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ftgate.config.engine import EngineSettings
from ftgate.domain import Answer, EngineInfo, Message, Model
from ftgate.engines.base import Ask
from ftgate.engines.engine_log import redirected
from ftgate.engines.isolation import take_secrets
from ftgate.errors import ArtifactError, ConfigurationError, EngineError, FtgateError

SMALLEST, LARGEST = 16, 2048
"""Questions in a portion: many at first, so that an engine is full, and few at the end, so that all end together."""
AHEAD = 2
"""Portions that a replica has at most: one that it answers, and the next."""
MOST_DEATHS = 3
"""Deaths in a row, without an answer between them, after which the run ends: replacing does not help."""
START_SECONDS = 1800
"""How long the run waits for a replica while no other answers."""
ONE_ENGINE: Mapping[str, Any] = {"devices": None, "replicas": 1, "address": None, "resources": None}
"""The settings of a replica, which is an engine like any other."""


class ReplicaEngine:
    """What runs in an actor: one engine, whose errors come back as values, since theirs cannot be rebuilt elsewhere."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        from ftgate.engines.vllm.engine import VllmEngine

        self._engine = VllmEngine(EngineSettings.model_validate(settings))

    def info(self) -> EngineInfo:
        """As :meth:`VllmEngine.info`."""
        return self._engine.info()

    def needs_swap(self, models: Sequence[Model]) -> bool:
        """As :meth:`VllmEngine.needs_swap`."""
        return self._engine.needs_swap(models)

    def require(self, models: Sequence[Model], groups: Sequence[Sequence[Model]]) -> int | FtgateError:
        """Load ``models``, with room for ``groups``; how many engines were started so far, or why none can."""
        try:
            for group in groups:
                self._engine.reserve(group)
            self._engine.require(models)
        except FtgateError as error:
            return _portable(error)
        return self._engine.starts

    def release(self, models: Sequence[Model]) -> None:
        """As :meth:`VllmEngine.release`."""
        self._engine.release(models)

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer] | FtgateError]:
        """As :meth:`VllmEngine.ask`; an error ends the answers."""
        try:
            for answered in self._engine.ask(asks):  # noqa: UP028 - Ray sends values, which `yield from` hands on
                yield answered
        except FtgateError as error:
            yield _portable(error)

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int) -> Any:
        """As :meth:`VllmEngine.probe`."""
        try:
            return self._engine.probe(model, prompts, top)
        except FtgateError as error:
            return _portable(error)


def _portable(error: FtgateError) -> FtgateError:
    """An error of the same kind that can be sent: message and hint."""
    kind = ArtifactError if isinstance(error, ArtifactError) else EngineError
    return kind(error.message, hint=error.hint)


@dataclass(slots=True)
class Portion:
    """Questions, by index, that one replica was handed; those in ``left`` are not answered."""

    sent: Sequence[int]
    left: set[int]

    def take(self, position: int) -> int:
        """The index of the question at ``position``, which is answered now."""
        index = self.sent[position]
        self.left.remove(index)
        return index


@dataclass(eq=False, slots=True)
class Replica:
    """An actor; ``starting`` is what it answers once its models are loaded, ``portions`` what it was handed."""

    actor: Any
    starting: Any = None
    starts: int = 0
    portions: dict[Any, Portion] = field(default_factory=dict)


class RayEngine:
    """The engines of a Ray cluster, or of this machine, as one engine."""

    def __init__(self, settings: EngineSettings, *, log_path: Path | None = None) -> None:
        self._settings = settings
        self._log = log_path or Path("ray.log")
        self._ray: Any = None
        self._replicas: list[Replica] = []
        self._models: list[Model] = []
        self._groups: list[list[Model]] = []
        self._ended_starts = 0
        self._deaths = 0
        self._info: EngineInfo | None = None

    @property
    def starts(self) -> int:
        """Engines started by all replicas, those that died included."""
        return self._ended_starts + sum(replica.starts for replica in self._replicas)

    @property
    def yields_device(self) -> bool:
        """Never: each replica has GPUs of its own."""
        return False

    @property
    def runs_ahead(self) -> bool:
        """Always: the replicas are other processes."""
        return True

    def reserve(self, models: Sequence[Model]) -> None:
        """Note the group for the engines of all replicas, each of which has GPUs of its own."""
        if list(models) not in self._groups:
            self._groups.append(list(models))

    def release(self, models: Sequence[Model]) -> None:
        """Take the adapters out of every replica; one that is loading does so afterwards."""
        self._models = [model for model in self._models if model not in models or model.kind != "adapter"]
        for replica in self._replicas:
            replica.actor.release.remote(models)

    def needs_swap(self, models: Sequence[Model]) -> bool:
        """Whether a replica has no room for all ``models`` at once."""
        self._connect()
        return bool(self._call(self._replicas[:1], "needs_swap", models)[0])

    def info(self) -> EngineInfo:
        """What every replica runs on. Raises EngineError, naming what differs, if they are not alike."""
        if self._info is None:
            self._connect()
            infos = self._call(self._replicas, "info")
            for other in infos[1:]:
                if other != infos[0]:
                    raise EngineError(
                        f"the replicas are not alike: {_difference(infos[0], other)}",
                        hint="give engine.resources a resource that only machines of one kind have",
                    )
            self._info = infos[0]
        return self._info

    def require(self, models: Sequence[Model]) -> None:
        """Load ``models`` in every replica, all at the same time."""
        self._connect()
        self._models += [model for model in models if model not in self._models]
        for replica in self._replicas:
            replica.starting = replica.actor.require.remote(self._models, self._groups)
        deadline = time.monotonic() + START_SECONDS
        while waiting := {replica.starting: replica for replica in self._replicas if replica.starting is not None}:
            done, _ = self._ray.wait(list(waiting), num_returns=1, timeout=max(0.0, deadline - time.monotonic()))
            if not done:
                raise self._no_room()
            self._started(waiting[done[0]])

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """Answer every ask, each as soon as a replica has it. What was handed out when this is closed is dropped."""
        unsent = deque(range(len(asks)))
        try:
            while unsent or any(replica.portions for replica in self._replicas):
                self._hand_out(asks, unsent)
                yield from self._arrived(unsent)
        finally:
            for replica in self._replicas:
                for answers in replica.portions:
                    self._ray.cancel(answers)  # ends the running portion at its next answer, the waiting one within 2 s
                replica.portions.clear()

    def probe(self, model: Model, prompts: Sequence[Sequence[Message]], top: int = 20) -> list[Mapping[int, float]]:
        """By the first replica that is loaded."""
        (result,) = self._call(self._replicas[:1], "probe", model, prompts, top)
        if isinstance(result, FtgateError):
            raise result
        tables: list[Mapping[int, float]] = result
        return tables

    def close(self) -> None:
        """End the replicas, and the cluster if it was started here."""
        if self._ray is None:
            return
        for replica in self._replicas:
            self._ray.kill(replica.actor)
        self._ended_starts, self._replicas = self.starts, []
        if self._settings.address is None:
            self._ray.shutdown()
        self._ray = None

    def _connect(self) -> None:
        """Join the cluster, or start one on this machine, and create the replicas."""
        if self._ray is not None:
            return
        try:
            import ray
        except ImportError:
            raise ConfigurationError(
                "engine.replicas and engine.address need Ray, which is not installed",
                hint='pip install "finetune-gate[ray]"',
            ) from None
        take_secrets()  # the processes of a local cluster inherit the environment
        address = self._settings.address
        where: dict[str, Any] = {"include_dashboard": False} if address is None else {"address": address}
        try:
            if address not in (None, "auto"):  # Ray itself would try for many minutes
                host, _, port = str(address).rpartition(":")
                socket.create_connection((host, int(port)), timeout=30).close()
            with redirected(self._log), _own_end():
                ray.init(log_to_driver=False, configure_logging=False, ignore_reinit_error=True, **where)
        except (OSError, RuntimeError, ValueError) as error:
            raise EngineError(
                f"engine.address {self._settings.address}: no Ray cluster to join: {str(error).splitlines()[0]}",
                hint="start one (`ray start --head`), or leave address out to use this machine's GPUs alone",
            ) from None
        self._ray = ray
        count = self._count()
        self._require_room(count)
        self._replicas = [self._replica() for _ in range(count)]

    def _count(self) -> int:
        """The number of replicas: as set, or one for each group of GPUs that is free; without GPUs one a machine."""
        if self._settings.replicas != "auto":
            return self._settings.replicas
        free = self._ray.available_resources()
        machines = sum(node["Alive"] and node["Resources"].get("CPU", 0) >= 1 for node in self._ray.nodes())
        return max(1, int(free["GPU"]) // self._settings.gpus if "GPU" in free else machines)

    def _require_room(self, count: int) -> None:
        """Raise EngineError if this machine has no room for ``count`` replicas: other than a cluster it never grows."""
        kind = "GPU" if self._ray.cluster_resources().get("GPU") else "CPU"
        needed, free = count * (self._settings.gpus if kind == "GPU" else 1), self._ray.available_resources()
        if self._settings.address is None and needed > free.get(kind, 0):
            what = "GPUs" if kind == "GPU" else "processors"
            raise EngineError(
                f"engine.replicas: {count} need {needed} {what}, and {int(free.get(kind, 0))} are free",
                hint="lower engine.replicas, and give the judge its own: judge: {engine: {replicas: 1}}",
            )

    def _replica(self) -> Replica:
        gpus = self._settings.gpus if self._ray.cluster_resources().get("GPU") else 0
        options = {"num_gpus": gpus, "num_cpus": 1, "resources": dict(self._settings.resources or {})}
        settings = self._settings.model_copy(update=ONE_ENGINE)
        actor = self._ray.remote(ReplicaEngine).options(scheduling_strategy="SPREAD", **options)
        return Replica(actor.remote(settings.model_dump(mode="json")))

    def _call(self, replicas: Sequence[Replica], method: str, *arguments: Any) -> list[Any]:
        """What each of ``replicas`` answers; one that died is replaced, and its substitute asked.

        Raises EngineError if there is no room for one.
        """
        results: list[Any] = []
        calls = [getattr(replica.actor, method).remote(*arguments) for replica in replicas]
        for replica, call in zip(list(replicas), calls, strict=True):
            try:
                results.append(self._ray.get(call, timeout=START_SECONDS))
            except self._ray.exceptions.GetTimeoutError:
                raise self._no_room() from None
            except self._ray.exceptions.RayActorError as error:
                results += self._call([self._replace(replica, error)], method, *arguments)
        return results

    def _started(self, replica: Replica) -> None:
        """Note that a replica has loaded its models; one that died is replaced. Raises what it could not do."""
        try:
            result = self._ray.get(replica.starting)
        except self._ray.exceptions.RayActorError as error:
            self._replace(replica, error)
            return
        replica.starting = None
        if isinstance(result, FtgateError):
            raise result
        replica.starts = result

    def _hand_out(self, asks: Sequence[Ask], unsent: deque[int]) -> None:
        """Give each replica that is loaded what it has room for, in order."""
        for _ in range(AHEAD):
            for replica in self._replicas:
                if not unsent or replica.starting is not None or len(replica.portions) == AHEAD:
                    continue
                size = min(max(len(unsent) // (2 * len(self._replicas)), SMALLEST), LARGEST, len(unsent))
                sent = [unsent.popleft() for _ in range(size)]
                # `streaming`: each answer is sent when it is done, not with the last of its portion.
                method = replica.actor.ask.options(num_returns="streaming")
                replica.portions[method.remote([asks[index] for index in sent])] = Portion(sent, set(sent))

    def _arrived(self, unsent: deque[int]) -> Iterator[tuple[int, Answer]]:
        """The answers that are there, after waiting for one; replicas that died leave theirs in ``unsent``."""
        owners: dict[Any, Replica] = {answers: replica for replica in self._replicas for answers in replica.portions}
        owners |= {replica.starting: replica for replica in self._replicas if replica.starting is not None}
        done, _ = self._ray.wait(list(owners), num_returns=1, timeout=START_SECONDS)
        if not done:
            raise self._no_room()
        for source in done:
            replica = owners[source]
            if source == replica.starting:
                self._started(replica)
            elif replica in self._replicas:
                yield from self._next(replica, source, unsent)

    def _next(self, replica: Replica, answers: Any, unsent: deque[int]) -> Iterator[tuple[int, Answer]]:
        """The next answer of a portion. If the replica died, what it had is handed out again, in its place."""
        try:
            arrived = self._ray.get(next(answers))
        except StopIteration:
            left = replica.portions.pop(answers).left
            if left:
                raise EngineError(
                    f"a replica gave no answer to {len(left)} questions", hint=f"see Ray's logs and {self._log}"
                ) from None
            return
        except self._ray.exceptions.RayActorError as error:
            lost = {index for portion in replica.portions.values() for index in portion.left}
            unsent.extendleft(sorted(lost, reverse=True))
            self._replace(replica, error)
            return
        if isinstance(arrived, FtgateError):
            raise arrived
        position, answer = arrived
        self._deaths = 0
        yield replica.portions[answers].take(position), answer

    def _replace(self, replica: Replica, error: Exception) -> Replica:
        """A new replica in place of one that died. Raises EngineError once that does not help."""
        self._deaths += 1
        if self._deaths > MOST_DEATHS:
            raise EngineError(
                f"{self._deaths} replicas died one after another: {str(error).splitlines()[0]}",
                hint="see the logs of Ray (/tmp/ray/session_latest/logs); a model may need more memory than there is",
            )
        self._ended_starts += replica.starts
        new = self._replica()
        if self._models:
            new.starting = new.actor.require.remote(self._models, self._groups)
        self._replicas[self._replicas.index(replica)] = new
        return new

    def _no_room(self) -> EngineError:
        needs = f"{self._settings.gpus} GPUs" if self._ray.cluster_resources().get("GPU") else "a processor"
        return EngineError(
            f"no replica was ready after {START_SECONDS} s: each needs {needs}"
            + (f" and {dict(self._settings.resources)}" if self._settings.resources else ""),
            hint="lower engine.replicas, so that the judge has room too, or add machines (`ray status` shows both)",
        )


@contextmanager
def _own_end() -> Iterator[None]:
    """Keep what this process does on SIGTERM: Ray would print its stack and leave with a code of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)


def _difference(one: EngineInfo, other: EngineInfo) -> str:
    """The first field in which two descriptions differ."""
    for name in ("device", "dtype", "versions", "settings"):
        if getattr(one, name) != getattr(other, name):
            return f"{name} {getattr(one, name)} and {getattr(other, name)}"
    return "kind"
