"""The requests of a finished run of ftgate: how many, of how many tokens, and as a file for ``LLM.generate``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftgate.domain import NEUTRAL, Message, Model, Question
from ftgate.engines.chat_template import Renderer, TokenizedQuestion
from ftgate.engines.vllm.startup import engine_arguments
from ftgate.jobs.saved import load_saved_job
from ftgate.judge.rubric import CRITERIA, ORDERS, judge_messages


@dataclass(frozen=True, slots=True)
class Usage:
    """What was asked of an engine: requests, and tokens of prompts and answers together."""

    requests: int = 0
    tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.requests + other.requests, self.tokens + other.tokens)


def usage(out: Path, without: Path | None = None) -> tuple[Usage, Usage]:
    """What the run in ``out`` asked of the two models, and of the judge; not what the run in ``without`` gave it."""
    stored = {record["key"] for record in _records(without)} if without is not None else set()
    both, judge = Usage(), Usage()
    for engine in ready_requests(out):
        new = [request for request in engine["requests"] if request["key"] not in stored]
        part = Usage(len(new), sum(len(request["ids"]) + request["answer_tokens"] for request in new))
        both, judge = (both, judge + part) if engine["role"] == "judge" else (both + part, judge)
    return both, judge


def measured_share(out: Path) -> float:
    """The share of the judge's replies that grade what the models answered, not what was made to test judge and run."""
    job = load_saved_job(out, None).job
    graded = {name: {item.id: item for item in suite.items} for name, suite in job.suites.items()}
    asked: set[tuple[str, str]] = set()
    replies = [record for record in _records(out) if record["digest"] == (job.judge and job.judge.digest)]
    for record in _records(out):
        item = graded.get(record["measurement"], {}).get(record["item"])
        if item is not None and not record["options"] and not record["repeat"]:
            messages = judge_messages(CRITERIA[0], ORDERS[0], item.messages, record["answer"]["text"], item.answer)
            asked.add((item.id, messages[-1].content))
    measured = sum(not r["repeat"] and (r["item"], r["messages"][-1][1]) in asked for r in replies)
    return measured / len(replies) if replies else math.nan


def ready_requests(out: Path) -> list[dict[str, Any]]:
    """One entry for each engine of the run, with token ids and sampling of everything that it was asked."""
    job = load_saved_job(out, None).job
    adapters = (job.candidate,) if job.candidate.kind == "adapter" else ()
    engines = {"models": _engine(job.policy.engine, "models", job.base, adapters)}
    of_digest: dict[str, tuple[str, Model]] = {job.base.digest: ("models", job.base)}
    if adapters:
        # The adapter of zeros, a control, is another one of the same shape: it costs what the candidate's does.
        of_digest |= dict.fromkeys(
            (job.candidate.digest, f"zeros of {job.candidate.digest}"), ("models", job.candidate)
        )
    else:
        engines["candidate"] = _engine(job.policy.engine, "candidate", job.candidate, ())
        of_digest[job.candidate.digest] = ("candidate", job.candidate)
    if job.judge is not None:
        engines["judge"] = _engine(job.policy.engine, "judge", job.judge, ())
        of_digest[job.judge.digest] = ("judge", job.judge)
    renderers = {d: Renderer(model, job.policy.engine.max_model_len) for d, (_, model) in of_digest.items()}
    for record in _records(out):
        role, model = of_digest[record["digest"]]
        renderer = renderers[record["digest"]]
        prepared = renderer.prepare(_question(record))
        if isinstance(prepared, TokenizedQuestion):
            request = {
                "key": record["key"],
                "ids": prepared.ids,
                "adapted": model.kind == "adapter",
                "sampling": _sampling(record, prepared, renderer),
                "answer_tokens": max(1, record["answer"]["tokens"]),
            }
            engines[role]["requests"].append(request)
    return list(engines.values())


def _records(out: Path) -> Iterator[dict[str, Any]]:
    for line in (out / "answers.jsonl").open(encoding="utf-8"):
        record = json.loads(line)
        if record.get("type") == "answer":
            yield record


def _engine(settings: Any, role: str, base: Model, adapters: tuple[Model, ...]) -> dict[str, Any]:
    arguments = engine_arguments(settings, settings.max_model_len, base, adapters)
    return {
        "role": role,
        "arguments": arguments,
        "adapter": str(adapters[0].path) if adapters else None,
        "requests": [],
    }


def _question(record: dict[str, Any]) -> Question:
    fields = ("max_tokens", "repeat", "untrusted", *NEUTRAL)
    return Question(
        record["measurement"],
        record["item"],
        tuple(Message(role, content) for role, content in record["messages"]),
        options=tuple(record["options"]),
        **{name: record[name] for name in fields if name in record},
    )


def _sampling(record: dict[str, Any], prepared: TokenizedQuestion, renderer: Renderer) -> dict[str, Any]:
    common = {"temperature": 0, "detokenize": False}
    if prepared.options:
        tokens = [token for variants in prepared.options for token in variants]
        return {**common, "max_tokens": 1, "logprob_token_ids": tokens}
    return {**common, "max_tokens": record["max_tokens"], "stop_token_ids": sorted(renderer.stops)}
