"""What ``ftgate check`` prints."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from ftgate.preflight.findings import Disk, Memory, ModelFacts, Preflight
from ftgate.report import numbers
from ftgate.report.escape import plain_line, terminal
from ftgate.report.schema import plain

SCHEMA_VERSION = "1.0"
_STYLE: dict[str, Any] = {"title_justify": "left", "box": None, "pad_edge": False, "header_style": "dim"}


def preflight_json(found: Preflight) -> str:
    """The whole of it; keys are stable, more may be added."""
    memory = {**asdict(found.memory), "needed": found.memory.needed} if found.memory else None
    document = {"schema_version": SCHEMA_VERSION, "ok": not found.problems, **asdict(found), "memory": memory}
    return json.dumps(plain(document), indent=2, ensure_ascii=True)


def print_preflight(found: Preflight, console: Console) -> None:
    """Tables of models, data and needs, the plan and the notes. The problems are left to whoever raises them."""
    tables = [_models(found.models)] if found.models else []
    tables += [_data(found)] if found.data else []
    tables += [_needs(found.memory, found.disk)] if found.memory else []
    for table in tables:
        console.print(table)
        console.print()
    if found.plan:
        _say(console, "plan", [found.plan.words, *(f"because {reason}" for reason in found.plan.reasons)])
    _say(console, "note", found.notes)
    problems = len(found.problems)
    end = "ready to run" if not problems else f"{problems} problem{'s' * (problems > 1)}, would not run"
    console.print(f"{terminal(found.name, 100)}: {end}", highlight=False)


def _models(models: Mapping[str, ModelFacts]) -> Table:
    kinds = Column("kind", no_wrap=True)
    table = Table("role", "reference", kinds, "parameters", "stored", "context", "digest", title="models", **_STYLE)
    for role, m in models.items():
        kind = {"adapter": f"adapter, rank {m.rank}", "full": "full weights"}.get(m.kind, m.kind)
        kind += f", {terminal(m.quantisation, 20)}" if m.quantisation else ""
        known = m.kind != "endpoint"
        size = (numbers.count(m.parameters), size_of(m.weight_bytes)) if known else ("", "")
        context = numbers.count(m.context) if m.context else ""
        digest = m.digest[:19] or ("not read whole" if known else "unknown")
        table.add_row(role, terminal(m.reference, 60), kind, *size, context, digest)
    return table


def _data(found: Preflight) -> Table:
    table = Table("data", "file", "rows", "longest prompt in tokens", "sha256", title="data", **_STYLE)
    lengths = {p.suite: p for p in reversed(found.prompts)}
    for d in found.data:
        length = lengths.get(d.name)
        longest = f"about {numbers.count(length.longest)} of {numbers.count(length.limit)}" if length else ""
        table.add_row(d.name, terminal(d.source, 60), numbers.count(d.rows), longest, d.sha256[:12])
    return table


def _needs(memory: Memory, disk: Disk | None) -> Table:
    table = Table("need", "about", title="memory and disk", **_STYLE)
    rows = [("weights", memory.weights), ("adapter", memory.adapter), ("cache of one full prompt", memory.cache)]
    for name, size in (*rows, ("working space", memory.workspace), ("in all", memory.needed)):
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
    """Bytes as people say them."""
    unit = next((u for u in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")) if size >= u[0]), (10**3, "kB"))
    return f"{numbers.decimal(size / unit[0], 1)} {unit[1]}"


def _say(console: Console, what: str, sentences: Iterable[str]) -> None:
    grid = Table.grid(padding=0)
    grid.add_column(width=9, no_wrap=True)
    grid.add_column(overflow="fold")
    for number, sentence in enumerate(sentences):
        head = f"{what}:" if what == "note" or not number else ""
        words = plain_line(sentence, 800)
        grid.add_row(head, Text(numbers.ascii_only(words) if console.options.ascii_only else words))
    console.print(grid)
