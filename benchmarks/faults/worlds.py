"""What the campaign runs on: small worlds with scripted models, and the tiny world with real ones.

The scripted worlds fetch base, candidate and training data from a server on loopback into a cache. In one of them the
judge is behind an endpoint, which counts what it is asked as a paid one would. Both servers are processes of their own.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import yaml
from support.chat_server import Body, ChatServer, Reply, listed
from support.players import CAREFUL, honest_judge, script
from support.remote import Asked, Server, folder_site, tree
from support.remote import Reply as Page
from support.world import World, write_adapter, write_full, write_rows

from ftgate.cli.demo import find_world
from ftgate.domain import Answer, Message, Model, Question
from ftgate.engines.base import Ask
from ftgate.engines.scripted import ScriptedEngine

JUDGE = Model("judge", Path(), "", kind="endpoint")
LARGE = 120_000
"""Bytes of a file beside the weights, so that a download takes long enough to be killed in its middle."""
CONCURRENCY = 4


@dataclass(frozen=True)
class Case:
    """Files to run on. ``given`` is where every answer is logged before it is handed over; None with real engines.

    At most ``on_their_way`` answers may be handed over and not yet in the journal when a kill comes. Numbers of two
    reports may differ by ``tolerance``: real engines compute in batches, which a resumption changes (docs/resuming.md).
    """

    name: str
    policy: Path
    manifest: Path
    given: Path | None = None
    on_their_way: int = 1
    tolerance: float = 0.0

    def arguments(self, out: Path, *more: str) -> list[str]:
        """What follows ``ftgate`` on the command line."""
        return ["run", "--policy", str(self.policy), "--manifest", str(self.manifest), "--out", str(out), *more]


class LoggingEngine(ScriptedEngine):
    """Appends the key of each answer to a file before it hands the answer over."""

    def __init__(self, log: Path) -> None:
        super().__init__(script(CAREFUL))
        self._log = log

    def ask(self, asks: Sequence[Ask]) -> Iterator[tuple[int, Answer]]:
        """The scripted answers."""
        descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for index, answer in super().ask(asks):
                messages = [[m.role, m.content] for m in asks[index].question.messages]
                os.write(descriptor, f"{key_of(asks[index].model.name, messages)}\n".encode())
                yield index, answer
        finally:
            os.close(descriptor)


def key_of(model: str, messages: Sequence[Sequence[str]]) -> str:
    """What tells questions apart, in a log of answers as in a journal."""
    return sha256(json.dumps([model, messages]).encode()).hexdigest()[:16]


def local_case(folder: Path, site: str) -> Case:
    """All measurements, with a local judge."""
    world = _world(folder, site, {"target": 60, "general": 40, "queries": 120, "choices": 80})
    world.policy["judge"]["known_answers"] = False
    world.save()
    return Case("local", world.policy_path, world.manifest_path, folder / "given.log")


def endpoint_case(folder: Path, site: str, endpoint: str, log: Path) -> Case:
    """Forgetting alone, judged behind an endpoint."""
    world = _world(folder, site, {"general": 45})
    world.policy["measurements"] = {"forgetting": world.policy["measurements"]["forgetting"]}
    world.policy["judge"] = {
        "endpoint": endpoint,
        "model": "marker",
        "known_answers": False,
        "concurrency": CONCURRENCY,
    }
    world.save()
    return Case("endpoint", world.policy_path, world.manifest_path, log, CONCURRENCY + 1)


def tiny_case(folder: Path, engine: str, rows: int | None) -> Case:
    """The demo's candidate ``careful`` with real weights, and the first ``rows`` rows of each suite, or all."""
    world = folder / "tinyworld"
    shutil.copytree(find_world(), world, ignore=shutil.ignore_patterns("__pycache__"))
    policy = yaml.safe_load((world / "policy.yaml").read_text())
    policy["engine"]["kind"] = engine
    if engine == "transformers":
        policy["engine"] = {"kind": engine, "dtype": "float32"}
    for path in (world / "evals").glob("*.jsonl") if rows is not None else ():
        path.write_text("\n".join([*path.read_text().splitlines()[:rows], ""]))
    (world / "policy.yaml").write_text(yaml.safe_dump(policy))
    return Case(engine, world / "policy.yaml", world / "manifests" / "careful.yaml", tolerance=1e-6)


def _world(folder: Path, site: str, rows: dict[str, int]) -> World:
    world = World(folder)
    for name, count in rows.items():
        path = folder / "evals" / f"{name}.jsonl"
        write_rows(path, [json.loads(line) for line in path.read_text().splitlines()[:count]])
    world.policy["evidence"] = {"draws": 200}
    world.policy["artifacts"] = {"allow": ["models/*", f"{site}/**"]}
    world.manifest["base"] = {"source": f"{site}/base/"}
    world.manifest["candidate"] = {"source": f"{site}/bot/"}
    world.manifest["training_data"] = {"source": f"{site}/data/train.jsonl"}
    return world


@contextmanager
def served_files(folder: Path) -> Iterator[str]:
    """The address of a server with a base, an adapter and training data."""
    write_full(folder / "base")
    (folder / "base" / "notes.md").write_text("how it was made\n" * (LARGE // 16))
    write_adapter(folder / "bot")
    rows = [{"id": f"t{i}", "prompt": f"ticket {i} {i % 9}"} for i in range(60)]
    write_rows(folder / "data" / "train.jsonl", [*rows, {"id": "long", "prompt": "word " * (LARGE // 20)}])

    def serve(tell: Callable[[str], object]) -> None:
        sites = {name: folder_site(tree(folder / name)) for name in ("base", "bot", "data")}

        def reply(asked: Asked) -> Page:
            name, _, rest = asked.path.removeprefix("/").partition("/")
            return sites[name](replace(asked, path=f"/m/{rest}")) if name in sites else Page(status=404)

        tell(Server(reply, slow=0.005).url)

    with _process(serve) as url:
        yield url


@contextmanager
def paid_endpoint(log: Path) -> Iterator[str]:
    """The address of a judge that appends the key of each question to ``log`` before it answers."""

    def serve(tell: Callable[[str], object]) -> None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def talk(body: Body) -> Reply:
            messages = [(m["role"], m["content"]) for m in body["messages"]]
            if len(messages) == 1:  # what finds out what the server can do: it is a fact in the journal, not an answer
                return listed({"5": 0.96, **{str(k): 0.01 for k in range(1, 5)}})
            os.write(descriptor, f"{key_of('judge', messages)}\n".encode())
            question = Question("m", "i", tuple(Message(*message) for message in messages))
            digits = honest_judge(JUDGE, question).option_logprobs
            return listed({str(k): math.exp(v) for k, v in enumerate(digits, start=1)})

        tell(ChatServer(talk).__enter__().url)

    with _process(serve) as url:
        yield url


@contextmanager
def _process(serve: Callable[[Callable[[str], object]], None]) -> Iterator[str]:
    """Run ``serve``, which tells its address once, in a process of its own."""
    read_end, write_end = os.pipe()
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        os.close(read_end)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # it would report every client that was killed
        serve(lambda url: os.write(write_end, f"{url}\n".encode()))
        while os.getppid() == parent:  # ends with whoever started it
            time.sleep(1)
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as told:
        url = told.readline().strip()
    try:
        yield url
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
