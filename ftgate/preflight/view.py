"""Prints the result of ``ftgate check`` as tables or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ftgate.domain import Verdict
from ftgate.preflight.findings import Disk, EnginePlan, Memory, ModelFacts, Preflight
from ftgate.report import numbers
from ftgate.report.escape import plain_line, terminal
from ftgate.report.schema import plain

SCHEMA_VERSION = "1.0"
_STYLE: dict[str, Any] = {"title_justify": "left", "box": None, "pad_edge": False, "header_style": "dim"}


def preflight_json(result: Preflight) -> str:
    """The whole result as JSON. Keys are stable; more may be added."""
    memory = {**asdict(result.memory), "needed": result.memory.needed} if result.memory else None
    document = {"schema_version": SCHEMA_VERSION, "ok": not result.problems, **asdict(result), "memory": memory}
    return json.dumps(plain(document), indent=2, ensure_ascii=True)


def print_preflight(result: Preflight, console: Console) -> None:
    """Print tables of models, data and needs, the plan, notes and warnings. Whoever raises problems prints them."""
    tables = [_models(result.models)] if result.models else []
    tables += [_data(result)] if result.data else []
    tables += [_needs(result.memory, result.disk)] if result.memory else []
    for table in tables:
        console.print(table)
        console.print()
    if result.plan:
        _say(console, "plan", [result.plan.words, *(f"because {reason}" for reason in result.plan.reasons)])
        _say(console, "starts", [_starts(result.plan)] if result.plan.starts else [])
    _say(console, "note", result.notes)
    _say(console, "warning", result.warnings)
    for name, reason in result.reasons_not_measured.items():
        console.print(plain_line(f"not measured: {name}: {reason}", 800), highlight=False, markup=False)
    console.print(f"{terminal(result.name, 100)}: {_end(result)}", highlight=False)


def _end(result: Preflight) -> str:
    """Whether the run would start, what it can end in, and of what an allow would say nothing."""
    if problems := len(result.problems):
        return f"{problems} problem{'s' * (problems > 1)}, would not run"
    if result.best_verdict.verdict is not Verdict.ALLOW:
        return f"would run, and cannot allow: {result.best_verdict}"
    warned = len(result.warnings)
    ready = f"ready to run, with {warned} warning{'s' * (warned > 1)}" if warned else "ready to run"
    few = f"would run, and hardly allow: too few rows to pass: {', '.join(result.hardly)}"
    nothing = f"an allow would say nothing of {', '.join(result.not_measured)}"
    return "; ".join([few if result.hardly else ready, *([nothing] if result.not_measured else [])])


def _starts(plan: EnginePlan) -> str:
    engines = "1 engine" if plan.starts == 1 else f"{plan.starts} engines, each once"
    seconds = numbers.duration(plan.start_seconds)
    return f"{engines}: about {seconds} until the first answers of each, less where compiled code is cached"


def _models(models: Mapping[str, ModelFacts]) -> Table:
    kinds = Column("kind", no_wrap=True)
    table = Table("role", "reference", kinds, "parameters", "stored", "context", "digest", title="models", **_STYLE)
    for role, m in models.items():
        kind = {"adapter": f"adapter, rank {m.rank}", "full": "full weights"}.get(m.kind, m.kind)
        kind += f", {terminal(m.quantisation, 20)}" if m.quantisation else ""
        has_weights = m.kind != "endpoint"
        size = (numbers.count(m.parameters), size_of(m.weight_bytes)) if has_weights else ("", "")
        context = numbers.count(m.context) if m.context else ""
        digest = m.digest[:19] or ("not computed" if has_weights else "unknown")
        table.add_row(role, terminal(m.reference, 60), kind, *size, context, digest)
    return table


def _data(result: Preflight) -> Table:
    table = Table("data", "file", "rows", "longest prompt in tokens", "sha256", title="data", **_STYLE)
    lengths = {p.suite: p for p in reversed(result.prompts)}
    for d in result.data:
        length = lengths.get(d.name)
        longest = f"about {numbers.count(length.longest)} of {numbers.count(length.limit)}" if length else ""
        name = numbers.kind_and_tier(d.name, d.kind, d.tier) or d.name
        table.add_row(name, terminal(d.source, 60), numbers.count(d.rows), longest, d.sha256[:12])
    return table


def _needs(memory: Memory, disk: Disk | None) -> Table:
    table = Table("need", "about", title="memory and disk", **_STYLE)
    rows = [("weights", memory.weights), ("adapter", memory.adapter), ("KV cache of one full prompt", memory.cache)]
    for name, size in (*rows, ("workspace", memory.workspace), ("total", memory.needed)):
        if size:
            table.add_row(name, size_of(size))
    has = size_of(memory.available) if memory.available is not None else "none found"
    table.add_row(terminal(memory.device, 60), f"has {has}")
    sizes = [f"{tp or 'none'} on {size} GB" for size, tp in memory.tensor_parallel_size.items()]
    if sizes:
        table.add_row("tensor_parallel_size that fits", ", ".join(sizes))
    if disk is not None:
        table.add_row("disk for the merged weights", f"{size_of(disk.needed)} of {size_of(disk.free)} free")
        table.add_row("memory while merging", size_of(disk.memory))
    return table


def size_of(size: int) -> str:
    """Bytes in the largest decimal unit that leaves at least one, such as ``1.5 GB``."""
    unit = next((u for u in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")) if size >= u[0]), (10**3, "kB"))
    return f"{numbers.decimal(size / unit[0], 1)} {unit[1]}"


def _say(console: Console, what: str, sentences: Iterable[str]) -> None:
    grid = Table.grid(padding=0)
    grid.add_column(width=9, no_wrap=True)
    grid.add_column(overflow="fold")
    for number, sentence in enumerate(sentences):
        head = f"{what}:" if what in ("note", "warning") or not number else ""
        text = plain_line(sentence, 800)
        grid.add_row(head, Text(numbers.ascii_only(text) if console.options.ascii_only else text))
    console.print(grid)
