"""Logs of other evaluation programs: which sample got which score. Read as data, without those programs.

inspect_ai's ``.eval`` (a zip of JSON files, deflated or, in later versions, Zstandard), the ``samples_*.jsonl`` of the
lm-evaluation-harness, and the instance rows of Every Eval Ever.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ftgate.datasets.problems import kind_of
from ftgate.errors import ConfigurationError

_ZSTANDARD = 93
"""The compression method of a zip entry that Python's own reader does not know before 3.14."""
_LOCAL_HEADER = 30
_ENCRYPTED = 1
_LOWER_IS_BETTER = re.compile(
    r"(word_|byte_)?perplexity|ppl|bits_per_byte|[wct]er|.*brier.*|.*error(_rate)?|.*loss|m[as]e|rmse|ece|.*distance|"
    r"pct_stereotype|likelihood_diff|.*toxicity.*|.*hallucination.*"
)
"""Names of metrics of which lower is better: a log of samples does not say so itself."""
MOST_BYTES = 200_000_000
"""Unpacked bytes of one entry of a log: a small file of zeros could fill the memory."""
_LETTERS: Mapping[str, float] = {"C": 1.0, "I": 0.0, "P": 0.5, "N": 0.0}
"""inspect_ai's values for correct, incorrect, partly correct and no answer."""


class Sample(NamedTuple):
    """One sample of a log. ``score`` is None where it failed or has no score from 0 to 1."""

    id: str
    score: float | None
    prompt: str
    answer: str
    target: str = ""
    tags: tuple[str, ...] = ()
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class EvalLog:
    """A log: what wrote it, of which task and model, by which metric, and its samples; several of one id are epochs.

    ``filter`` is that of lm-eval whose answers count, and ``other_filters`` are those that do not.
    """

    kind: str
    task: str
    model: str
    metric: str
    sha256: str
    samples: tuple[Sample, ...]
    filter: str = ""
    other_filters: tuple[str, ...] = ()

    def scored_by(self) -> str:
        """The metric and, if there are several filters, which one counts."""
        if not self.other_filters:
            return f"metric {self.metric}"
        return f"metric {self.metric} of filter {self.filter} (not {', '.join(self.other_filters)})"


def read_log(path: Path, metric: str | None = None) -> EvalLog:
    """The log in ``path``, scored by ``metric``, by default its first. Raises ConfigurationError for no usable log."""
    try:
        if zipfile.is_zipfile(path):
            return _inspect(path, metric)
        rows = _json_lines(path)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot read it: {error.strerror or error}", hint="check the path") from None
    first = next(iter(rows), None)
    if isinstance(first, dict) and {"doc_id", "doc", "resps"} <= first.keys():
        return _harness(path, rows, metric)
    if isinstance(first, dict) and {"sample_id", "evaluation", "model_id"} <= first.keys():
        return _every_eval_ever(path, rows)
    raise ConfigurationError(
        f"{path}: no log that ftgate knows",
        hint="use an .eval file of inspect_ai, samples_*.jsonl of lm-eval (--log_samples), or Every Eval Ever rows",
    )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _json_lines(path: Path) -> list[Any]:
    rows = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                rows.append(_parsed(line, f"{path}:{number}"))
    return rows


def _parsed(text: str | bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{where}: not JSON: {error}", hint="name a log as its program wrote it") from None


def _read_all(path: Path, rows: Iterable[Any], read: Callable[[dict[str, Any]], Sample]) -> tuple[Sample, ...]:
    """The sample in each of ``rows``. Raises ConfigurationError naming the first row that is none."""
    samples = []
    for number, row in enumerate(rows, 1):
        try:
            samples.append(read(row))
        except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as error:
            text = f"{path}: row {number} is not as the first one: {type(error).__name__}: {error}"
            raise ConfigurationError(text, hint="name a log as its program wrote it") from None
    if not samples:
        raise ConfigurationError(f"{path}: no samples in it", hint="log the samples, and name that file")
    return tuple(samples)


def _harness(path: Path, rows: list[Any], metric: str | None) -> EvalLog:
    """The samples of lm-eval: each once for every filter, of which the first counts."""
    first_filter = rows[0].get("filter")
    named = rows[0].get("metrics")
    offered = [name for name in named if isinstance(name, str) and name in rows[0]] if isinstance(named, list) else []
    chosen = metric or next(iter(offered), "")
    _require_metric(path, chosen, offered)

    def sample(row: dict[str, Any]) -> Sample:
        document = row["doc"]
        replies = row.get("filtered_resps") or row["resps"]
        answer = replies[0] if len(replies) == 1 else replies
        return Sample(
            str(row["doc_id"]),
            _score(row.get(chosen)),
            _first_text(row.get("arguments")),
            answer if isinstance(answer, str) else json.dumps(answer),
            str(row.get("target", "")),
            _tags(document),
            _text(document.get("cluster")),
        )

    kept = [row for row in rows if not isinstance(row, dict) or row.get("filter") == first_filter]
    filters = dict.fromkeys(str(row.get("filter")) for row in rows if isinstance(row, dict))
    name, used = path.stem.removeprefix("samples_"), str(first_filter)
    samples = _read_all(path, kept, sample)
    others = tuple(name for name in filters if name != used)
    return EvalLog("lm-eval", name, "", chosen, _sha256(path), samples, used, others)


def _first_text(value: Any) -> str:
    """The first text in what lm-eval calls the arguments: lists, or objects in its files."""
    while isinstance(value, list | Mapping) and value:
        value = next(iter(value.values())) if isinstance(value, Mapping) else value[0]
    return value if isinstance(value, str) else ""


def _every_eval_ever(path: Path, rows: list[Any]) -> EvalLog:
    def sample(row: dict[str, Any]) -> Sample:
        outcome, asked = row["evaluation"], row.get("input") or {}
        score = _score(outcome.get("score"))
        return Sample(
            str(row["sample_id"]),
            None if row.get("error") else _score(outcome.get("is_correct")) if score is None else score,
            str(asked.get("raw") or ""),
            " / ".join(map(str, (row.get("output") or {}).get("raw") or [])),
            " / ".join(map(str, asked.get("reference") or [])),
            _tags(row.get("metadata") or {}),
            _text((row.get("metadata") or {}).get("cluster")),
        )

    samples = _read_all(path, rows, sample)
    names = {str(row.get("evaluation_name")) for row in rows}
    for name in sorted(names):
        _require_metric(path, name, [name])
    if len(names) > 1:
        text = f"{path}: rows of {len(names)} evaluations: {', '.join(sorted(names)[:5])}"
        raise ConfigurationError(text, hint="put each into a file of its own")
    return EvalLog("Every Eval Ever", names.pop(), str(rows[0]["model_id"]), "score", _sha256(path), samples)


def _inspect(path: Path, metric: str | None) -> EvalLog:
    """The samples of inspect_ai. Raises ConfigurationError for a log that is not whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if "header.json" not in entries:
                raise ConfigurationError(f"{path}: no header.json in it", hint="name an .eval file that is whole")
            header = _object(path, archive, entries["header.json"])
            wanted = [e for name, e in entries.items() if name.startswith("samples/") and name.endswith(".json")]
            rows = [_object(path, archive, entry) for entry in wanted]
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, OSError, NotImplementedError) as error:
        raise ConfigurationError(f"{path}: damaged: {error}", hint="name an .eval file that is whole") from None
    if header.get("status") != "success":
        text = f"{path}: the evaluation ended with status {header.get('status')!r}"
        raise ConfigurationError(text, hint="finish it (inspect eval-retry), and name that log")
    names = next((list(row["scores"]) for row in rows if isinstance(row.get("scores"), dict) and row["scores"]), [])
    chosen = metric or next(iter(names), "")
    _require_metric(path, chosen, names)

    def sample(row: dict[str, Any]) -> Sample:
        given = (row.get("scores") or {}).get(chosen) or {}
        value, about = given.get("value"), row.get("metadata") or {}
        target, choices = row.get("target"), (row.get("output") or {}).get("choices") or [{}]
        text = (row.get("output") or {}).get("completion") or (choices[0].get("message") or {}).get("content")
        return Sample(
            str(row["id"]),
            None if row.get("error") else _LETTERS.get(value) if isinstance(value, str) else _score(value),
            row["input"] if isinstance(row["input"], str) else json.dumps(row["input"]),
            text if isinstance(text, str) else json.dumps(text),
            target if isinstance(target, str) else json.dumps(target),
            _tags(about),
            _text(about.get("cluster")),
        )

    evaluation = header["eval"] if isinstance(header.get("eval"), dict) else {}
    samples = _read_all(path, rows, sample)
    return EvalLog(
        "inspect_ai", str(evaluation.get("task")), str(evaluation.get("model")), chosen, _sha256(path), samples
    )


def _object(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> dict[str, Any]:
    """The JSON object in an entry. Raises ConfigurationError if it holds anything else."""
    value = _parsed(_entry(path, archive, entry), f"{path}: {entry.filename}")
    if not isinstance(value, dict):
        text = f"{path}: {entry.filename}: not an object, but {kind_of(value)}"
        raise ConfigurationError(text, hint="name a log as its program wrote it")
    return value


def _entry(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.file_size > MOST_BYTES:
        text = f"{path}: {entry.filename} has {entry.file_size:,} bytes"
        raise ConfigurationError(text, hint=f"at most {MOST_BYTES:,} are read")
    if entry.flag_bits & _ENCRYPTED:
        raise ConfigurationError(f"{path}: {entry.filename} is encrypted", hint="unpack the log, and pack it as it was")
    if entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return archive.read(entry)
    if entry.compress_type != _ZSTANDARD:
        kind = f"{path}: {entry.filename} is compressed by method {entry.compress_type}"
        raise ConfigurationError(
            kind, hint="name an .eval file as inspect_ai wrote it: by Zstandard, deflated or stored"
        )
    import pyarrow as pa

    with path.open("rb") as file:
        file.seek(entry.header_offset)
        name, extra = struct.unpack("<HH", file.read(_LOCAL_HEADER)[26:])
        file.seek(name + extra, io.SEEK_CUR)
        packed = file.read(entry.compress_size)
    content: bytes = pa.CompressedInputStream(io.BytesIO(packed), "zstd").read(entry.file_size)
    return content


def _require_metric(path: Path, metric: str, offered: list[str]) -> None:
    if metric not in offered:
        text = f"{path}: no score by {metric!r}" if metric else f"{path}: no scores in it"
        raise ConfigurationError(text, hint=f"it has {', '.join(offered) or 'none'} (--metric)")
    if _LOWER_IS_BETTER.fullmatch(metric.lower()):
        usable = [name for name in offered if not _LOWER_IS_BETTER.fullmatch(name.lower())]
        text = f"{path}: of its metric {metric} lower is better, and a rise would count as a gain"
        raise ConfigurationError(text, hint=f"use another (--metric): it has {', '.join(usable) or 'none'}")


def _score(value: Any) -> float | None:
    if isinstance(value, bool | int | float) and math.isfinite(value) and 0 <= value <= 1:
        return float(value)
    return None


def _tags(about: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(text for key in ("subject", "category") if (text := _text(about.get(key))))


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and str(value).strip() else None
