"""The lines of a journal: how one is written, checked and read.

A line is one JSON object whose last field, ``sha256``, is a digest of the bytes before it, so that a flipped bit is
noticed wherever it falls. The first line names the version of the format.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, InstanceOf, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from ftgate.domain import Answer, ToolCall
from ftgate.errors import StoreError

VERSION = 2
DIGITS = 32
"""Hexadecimal digits of a line's checksum: enough against damage; it proves nothing about who wrote the line."""
MOST_NAMED = 20
"""Damaged lines that an error lists."""


Text = InstanceOf[str]
"""Any text, lone surrogates included, which pydantic's own type refuses."""
Logprob = Annotated[float, Field(le=0)]
"""At most 0; minus infinity is one, NaN is none."""
Score = Annotated[float, Field(ge=0, le=1)]
_KEPT = ConfigDict(extra="allow", strict=True)


@with_config(_KEPT)
class HeaderLine(TypedDict):
    """The first line."""

    type: Literal["journal"]
    version: int


@with_config(_KEPT)
class StoredAnswer(TypedDict):
    """What an answer line holds besides its question."""

    text: Text
    option_logprobs: list[Logprob]
    finish: Literal["stop", "length"]
    tokens: Annotated[int, Field(ge=0)]


@with_config(_KEPT)
class AnswerLine(TypedDict):
    """A question and its answer."""

    type: Literal["answer"]
    key: str
    measurement: str
    item: Text
    options: list[Text]
    answer: StoredAnswer


@with_config(_KEPT)
class FailureLine(TypedDict):
    """A question and why it has no answer."""

    type: Literal["failure"]
    key: str
    error: Text


@with_config(_KEPT)
class FactLine(TypedDict):
    """Another result that is expensive to compute."""

    type: Literal["fact"]
    key: str
    value: Any


@with_config(_KEPT)
class ScoreLine(TypedDict):
    """Both models' scores for an item."""

    type: Literal["score"]
    measurement: str
    item: Text
    base: Score
    candidate: Score


_LINE: TypeAdapter[Any] = TypeAdapter(
    Annotated[HeaderLine | AnswerLine | FailureLine | FactLine | ScoreLine, Field(discriminator="type")]
)
STORED_ANSWER: TypeAdapter[Any] = TypeAdapter(StoredAnswer)
HEADER: Mapping[str, Any] = {"type": "journal", "version": VERSION}


def answer_fields(answer: Answer) -> dict[str, Any]:
    """``answer``, which is no failure, as an answer line has it."""
    calls = None if answer.tool_calls is None else [[call.name, call.arguments, call.id] for call in answer.tool_calls]
    return {
        "text": answer.text,
        "option_logprobs": list(answer.option_logprobs),
        "finish": answer.finish,
        "tokens": answer.tokens,
        **({"served": answer.served} if answer.served else {}),
        **({"tool_calls": calls} if calls is not None else {}),
    }


def answer_of(fields: Mapping[str, Any], *, continued: bool = False) -> Answer:
    """The answer in the fields of an answer line; ``continued`` says whether its question was."""
    calls = fields.get("tool_calls")
    return Answer(
        text=fields["text"],
        option_logprobs=tuple(fields["option_logprobs"]),
        finish=fields["finish"],
        tokens=fields["tokens"],
        served=fields.get("served", ""),
        tool_calls=tuple(ToolCall(*call) for call in calls) if calls is not None else None,
        continued=continued,
    )


def encode(record: Mapping[str, Any]) -> bytes:
    """``record`` as a line with its checksum."""
    body = json.dumps(record, ensure_ascii=True).encode()[:-1]
    return b'%s, "sha256": "%s"}\n' % (body, _checksum(body))


def read_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records of a journal without its header, and the length in bytes of the lines that are whole.

    A last line without a line break was cut short by a kill: it is left out. Raises StoreError, with all damaged lines
    and what to do, if a line does not match its checksum or is not a record, if two answers or facts contradict each
    other, if the file was written by another version, or if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path)
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror}", hint="check the file and its permissions") from None


def _read(lines: Iterable[bytes], path: Path) -> tuple[list[dict[str, Any]], int]:
    records: list[dict[str, Any]] = []
    lines_of: dict[tuple[str, str], tuple[int, Any]] = {}
    damaged: dict[int, str] = {}
    length = 0
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break
        length += len(line)
        if number == 1:
            _require_version(line, path)
            continue
        try:
            record = _decode(line)
            _require_no_contradiction(record, number, lines_of)
        except ValueError as problem:
            damaged[number] = str(problem)
        else:
            records.append(record)
    if damaged:
        raise _damage(path, damaged)
    return records, length


def _decode(line: bytes) -> dict[str, Any]:
    """The record in ``line``. Raises ValueError, with the reason, if it is not one."""
    body, _, end = line.rpartition(b', "sha256": "')
    if end != b'%s"}\n' % _checksum(body):
        raise ValueError("its checksum does not match")
    try:
        record: dict[str, Any] = _LINE.validate_json(line)
    except ValidationError:
        record = _decode_slowly(line)
    if record["type"] == "answer":
        scores, options = len(record["answer"]["option_logprobs"]), len(record["options"])
        if scores != options:
            raise ValueError(f"{scores} log-probabilities for {options} options")
    return record


def _decode_slowly(line: bytes) -> dict[str, Any]:
    """The record in ``line``, which may hold lone surrogates, at which pydantic's own parser stops."""
    record: dict[str, Any] = json.loads(line)
    try:
        _LINE.validate_python(record)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    return record


def _require_no_contradiction(
    record: Mapping[str, Any], number: int, lines_of: dict[tuple[str, str], tuple[int, Any]]
) -> None:
    """Raise ValueError if an earlier line holds another answer or fact under the same key."""
    kind = str(record["type"])
    if kind not in ("answer", "fact"):
        return
    value = record["answer"] if kind == "answer" else record["value"]
    earlier, other = lines_of.setdefault((kind, str(record["key"])), (number, value))
    if other != value:
        raise ValueError(f"it contradicts line {earlier}, which has the same key")


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:DIGITS].encode()


def _require_version(line: bytes, path: Path) -> None:
    try:
        record = json.loads(line)
        version = int(record["version"]) if record["type"] == "journal" else 1
    except (ValueError, KeyError, TypeError):
        version = 0
    if line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n") == encode(HEADER).rstrip(b"\n") and line != encode(HEADER):
        raise StoreError(
            f"{path}:1: an editor or a transfer has changed the ends of its lines, or put a mark in front",
            hint=f"undo it with `sed -i '1s/^\\xEF\\xBB\\xBF//; s/\\r$//' {path}` and run again: no answer is lost",
        )
    if version != VERSION or line != encode(HEADER):
        what = "damaged" if version in (0, VERSION) else f"of version {version}, and this ftgate reads {VERSION}"
        raise StoreError(
            f"{path}:1: the journal is {what}: {line[:60]!r}",
            hint="give another --out (everything is asked again), or use the ftgate that wrote it"
            if version not in (0, VERSION)
            else f"replace line 1 by {encode(HEADER).decode().strip()} and run again, or give another --out",
        )


def _damage(path: Path, damaged: Mapping[int, str]) -> StoreError:
    first, reason = next(iter(damaged.items()))
    more = f", and {len(damaged) - 1} more lines" if len(damaged) > 1 else ""
    numbers = list(damaged)[:MOST_NAMED]
    command = "; ".join(f"{number}d" for number in numbers)
    lines = f"line {first}" if len(damaged) == 1 else f"lines {', '.join(map(str, numbers))}"
    more_after = " (and again for the rest)" if len(damaged) > MOST_NAMED else ""
    return StoreError(
        f"{path}:{first}: the line is damaged: {reason}{more}",
        hint=f"remove {lines}{more_after} with `sed -i '{command}' {path}` and run again: what they held, and "
        "nothing else, is asked or computed again",
    )
