"""What the page needs to let its reader browse every answer: packed data, code, and the hashes that allow it.

The data are JSON, compressed, in base64: no text from a model can end the element that holds them. The page's code
shows texts as text, never as markup (``templates/answers.js``).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from ftgate.report import deployed, numbers
from ftgate.report.escape import visible
from ftgate.report.items import LEAST_FLIP, OUTCOMES, AnswerSide, ItemRow
from ftgate.report.schema import Report
from ftgate.report.tables import SCORED

MOST_DATA = 60_000_000
"""Characters of JSON in a page. With more, a browser takes seconds to open it."""
MOST_PACKED = 16_000_000
"""Bytes after compression: the page is a third larger."""
LONGEST_TEXT = 50_000
"""Characters of one prompt or answer that are shown."""
_ORDER = {"failed": 1, "left out": 2}


@dataclass(frozen=True, slots=True)
class PackedItems:
    """The packed items of a page: those that changed most, if not all of them fit."""

    data: str
    """Base64."""
    shown: int
    of: int


def pack(report: Report, rows: Sequence[ItemRow], *, most: int = MOST_DATA, packed: int = MOST_PACKED) -> PackedItems:
    """Pack as many of ``rows`` as fit: largest change first, then those that failed, then those left out."""
    order = sorted(range(len(rows)), key=lambda i: (_ORDER.get(rows[i].outcome, 0), -abs(rows[i].change)))
    names = list(dict.fromkeys(row.measurement for row in rows))
    chosen, size = [], 0
    for place in order:
        size += _size(rows[place])
        if size > most:
            break
        chosen.append(place)
    while True:
        kept = [rows[i] for i in sorted(chosen)]
        text = json.dumps(_content(report, kept, names), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        compressed = gzip.compress(text.encode(), compresslevel=6, mtime=0)
        if len(compressed) <= packed or not chosen:
            return PackedItems(base64.b64encode(compressed).decode(), len(kept), len(rows))
        chosen = chosen[: int(0.9 * len(chosen) * packed / len(compressed))]


@cache
def source(name: str) -> str:
    """A file of the page's code."""
    return resources.files("ftgate.report").joinpath("templates", name).read_text(encoding="utf-8")


def script() -> str:
    """The page's whole code."""
    return source("word_diff.js") + "\n" + source("answers.js")


def content_policy(style: str, code: str = "") -> str:
    """The page's Content-Security-Policy: this style sheet and this script, if any, and nothing else from anywhere."""
    style_hash, code_hash = (base64.b64encode(hashlib.sha256(x.encode()).digest()).decode() for x in (style, code))
    scripts = f"script-src 'sha256-{code_hash}'; " if code else ""
    return f"default-src 'none'; style-src 'sha256-{style_hash}'; {scripts}base-uri 'none'; form-action 'none'"


def _size(row: ItemRow) -> int:
    sides = [side for side in (row.base, row.candidate, row.incumbent) if side is not None]
    texts = [text for _, text in row.messages] + [answer.text for side in sides for answer in side.answers]
    return 400 + sum(min(len(text), LONGEST_TEXT) for text in [*texts, row.reference or "", *row.choices])


class _Texts:
    """Each text once: the same prompt is asked of all models, and often answered alike."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        return self._places.setdefault(visible(text, LONGEST_TEXT), len(self._places))

    def all(self) -> list[str]:
        return list(self._places)


def _content(report: Report, rows: Iterable[ItemRow], names: Sequence[str]) -> dict[str, Any]:
    """The JSON of the page: ``answers.js`` reads it."""
    texts = _Texts()
    items = [_item(row, names, texts) for row in rows]
    rivals = deployed.failing(report)
    about = next((i for i, name in enumerate(names) if _fails(report, name)), None)
    by_deployed = about is None and bool(rivals)
    if by_deployed:
        about = next((i for i, name in enumerate(names) if name == rivals[0][0]), None)
    return {
        "about": about,
        "flip": LEAST_FLIP,
        "byDeployed": by_deployed,
        "measurements": [
            {
                "name": visible(n, 200),
                "title": visible(numbers.title(n), 60),
                "words": _words(report, n),
                "confidence": (m := report.measurements.get(n)) is not None and numbers.kind(m.unit) == "ece",
            }
            for n in names
        ],
        "items": items,
        "texts": texts.all(),
    }


def _fails(report: Report, name: str) -> bool:
    """Whether the verdict is about a measurement: whether it blocks or, where none does, is undecided."""
    m = report.measurements.get(name)
    return m is not None and (m.blocks or (report.verdict != "block" and m.gates and m.status not in ("pass", "warn")))


def _words(report: Report, name: str) -> Mapping[str, str]:
    """What the scores of a measurement are called, where they are not shares; of confidence only a right answer is."""
    m = report.measurements.get(name)
    unit = m.unit if m else ""
    return {
        f"{s:g}": word for s, word in ({1: "right"} if numbers.kind(unit) == "ece" else SCORED.get(unit, {})).items()
    }


def _item(row: ItemRow, names: Sequence[str], texts: _Texts) -> dict[str, Any]:
    fields = {
        "id": visible(row.item, 300),
        "in": names.index(row.measurement),
        "outcome": OUTCOMES.index(row.outcome),
        "why": visible(row.why, 2000),
        "prompt": [[visible(role, 40), texts.place(text)] for role, text in row.messages],
        "reference": None if row.reference is None else texts.place(row.reference),
        "choices": [texts.place(choice) for choice in row.choices],
        "tags": [visible(tag, 100) for tag in (*row.tags, *row.slices)],
        "line": row.line,
        "distance": _number(row.distance),
        "base": _side(row.base, texts),
        "candidate": _side(row.candidate, texts),
        "incumbent": None if row.incumbent is None else _side(row.incumbent, texts),
    }
    return {name: value for name, value in fields.items() if value not in (None, "", [])}


def _side(side: AnswerSide, texts: _Texts) -> dict[str, Any]:
    fields = {
        "score": _number(side.score if side.worth is None else side.worth),
        "answers": [[texts.place(answer.text), visible(answer.note, 500)] for answer in side.answers],
        "options": [_number(value) for value in side.options],
        "likelihoods": side.likelihoods or None,
        "grades": {visible(name, 60): _number(value) for name, value in side.grades.items()} or None,
    }
    return {name: value for name, value in fields.items() if value not in (None, [])}


def _number(value: float | None) -> float | None:
    return None if value is None or not abs(value) < 1e15 else round(value, 6)
