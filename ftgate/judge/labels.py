"""People's grades of answers (labels), by which a judge is checked: one row an answer, in JSON lines or CSV.

A label belongs to a question, reference and answer, named by their digest. The row holds the texts as well, so that the
judge can grade the same answer long after the run that it is from. In a CSV file a cell that a spreadsheet would take
for a formula begins with an apostrophe; the digest shows whether a text came back as it was written.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ftgate.config.policy import Policy
from ftgate.domain import Item, Message, Role, digest_of
from ftgate.errors import DatasetError
from ftgate.judge.rubric import RUBRIC

LEAST_LABELS = 50
"""With fewer labels the agreement of judge and people is hardly known."""
LARGEST_FILE = 100_000_000
GRADES = ("1", "2", "3", "4", "5")
COLUMNS = ("key", "rubric", "prompt", "reference", "answer", "grade", "note")
"""The columns of a CSV file; in JSON lines ``prompt`` is ``messages``, a list of role and content."""
_FORMULA = re.compile(r"[=+\-@\t\r\n'＝＋－＠]")
_WHOLE = re.compile(r"([1-5])(?:[.,]0+)?")
_ROLES = frozenset(get_args(Role))


@dataclass(frozen=True, slots=True)
class Label:
    """An answer and a person's grade of it in [0, 1]; None where there is none yet.

    ``item`` holds the conversation and, as its answer, the reference.
    """

    item: Item
    text: str
    grade: float | None
    note: str = ""

    @property
    def key(self) -> str:
        """The digest of question, reference and answer."""
        return label_key(self.item, self.text)


@dataclass(frozen=True, slots=True)
class Labels:
    """The graded rows of a file. ``sha256`` is of their content, the same for CSV and JSON lines in any order."""

    source: str
    labels: tuple[Label, ...]
    blank: int = 0
    """Rows without a grade."""

    @property
    def sha256(self) -> str:
        """SHA-256, in hex, of all keys and grades."""
        return digest_of(sorted([label.key, label.grade] for label in self.labels))

    @property
    def grades(self) -> dict[str, float]:
        """The grade in [0, 1] by key."""
        return {label.key: label.grade for label in self.labels if label.grade is not None}


def label_key(item: Item, text: str) -> str:
    """What a label of the answer ``text`` to ``item`` is found by: a digest of all that the judge is shown."""
    return digest_of([*_question(item), _lines(text)])[:32]


def question_key(item: Item) -> str:
    """What the labels of all answers to ``item`` have in common: a digest of question and reference."""
    return digest_of(_question(item))[:32]


def _question(item: Item) -> list[object]:
    return [[[m.role, _lines(m.text)] for m in item.messages], _lines(item.answer or "")]


def labels_of(policy: Policy, policy_path: Path) -> Labels | None:
    """The labels in the file that the policy names, if it names one. Raises as :func:`read_labels`."""
    if policy.judge is None or policy.judge.labels is None:
        return None
    return read_labels(policy_path.parent / policy.judge.labels, policy.judge.labels)


def read_labels(path: Path, source: str) -> Labels:
    """The labels in ``path`` (.jsonl or .csv), which the policy calls ``source``.

    Raises DatasetError with every problem, by line: a missing file, too few grades, grades that are none, another
    rubric, changed texts, and answers that are there twice.
    """
    where = f"judge.labels {source}"
    content = _content(path, where)
    rows = list(_csv_rows(content, where) if path.suffix.lower() == ".csv" else _json_rows(content, where))
    problems, labels, lines = list[str](), list[Label](), dict[str, int]()
    for line, row in rows:
        label = _label(row, line)
        if isinstance(label, str):
            problems.append(label)
        elif label.key in lines:
            first = next(other for other in labels if other.key == label.key)
            differ = "with another grade" if first.grade != label.grade else "twice"
            problems.append(f"line {line}: the answer of line {lines[label.key]} is here {differ}")
        else:
            lines[label.key] = line
            labels.append(label)
    if problems:
        listed = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise DatasetError(f"{where}: {listed}", hint="mend these lines; see docs/judge-labels.md")
    graded = tuple(label for label in labels if label.grade is not None)
    if len(graded) < LEAST_LABELS:
        raise DatasetError(
            f"{where}: {len(graded)} of {len(labels)} rows have a grade, and at least {LEAST_LABELS} are needed",
            hint="write 1 to 5 into the column grade; `ftgate judge sample` writes more rows",
        )
    return Labels(source, graded, len(labels) - len(graded))


def write_labels(labels: Sequence[Label], path: Path) -> None:
    """Write ``labels`` into ``path``: CSV for spreadsheets, or else JSON lines, with nothing but the texts."""
    if path.suffix.lower() == ".csv":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in _csv_row(label).items()} for label in labels)
        path.write_text(text.getvalue(), encoding="utf-8-sig", newline="")
        return
    lines = (json.dumps(_json_row(label)) + "\n" for label in labels)
    path.write_text("".join(lines), encoding="utf-8")


def _content(path: Path, where: str) -> str:
    if path.suffix.lower() not in (".csv", ".jsonl"):
        raise DatasetError(f"{where}: not a .csv or .jsonl file", hint="name a file that `ftgate judge sample` wrote")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DatasetError(f"{where}: longer than {LARGEST_FILE:,} bytes", hint="check the path")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DatasetError(f"{where}: no such file: {path}", hint="`ftgate judge sample` writes one to label") from None
    except UnicodeDecodeError:
        raise DatasetError(f"{where}: not UTF-8", hint='save it as "CSV UTF-8"') from None
    except OSError as error:
        raise DatasetError(f"{where}: cannot read {path}: {error.strerror}", hint="check the path") from None


def _json_rows(content: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(content.split("\n"), 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{where}: line {line}: not valid JSON: {error}", hint="one object a line") from None
        if not isinstance(row, dict):
            raise DatasetError(f"{where}: line {line}: {type(row).__name__}, not an object", hint="one object a line")
        yield line, row


def _csv_rows(content: str, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows, whatever the spreadsheet separates columns by, with the texts as they were before :func:`_cell`."""
    old_limit = csv.field_size_limit(LARGEST_FILE)
    try:
        header = content.split("\n", 1)[0]
        delimiter = max(",;\t", key=header.count)
        reader = csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
        missing = [name for name in COLUMNS[:-1] if name not in (reader.fieldnames or ())]
        if missing:
            raise DatasetError(
                f"{where}: no column {', '.join(missing)}", hint="keep the header that `ftgate judge sample` wrote"
            )
        for row in reader:
            if any((row.get(name) or "").strip() for name in COLUMNS):
                yield reader.line_num, _restored(row)
    except csv.Error as error:
        raise DatasetError(f"{where}: not valid CSV: {error}", hint='save it as "CSV UTF-8"') from None
    finally:
        csv.field_size_limit(old_limit)


def _restored(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its texts as they were written. Some programs remove the apostrophe that :func:`_cell` adds."""
    as_read = {name: row.get(name) or "" for name in COLUMNS}
    texts = ("prompt", "reference", "answer")
    stripped = {**as_read, **{name: as_read[name].removeprefix("'") for name in texts}}
    candidates = [{**c, "messages": _turns(c["prompt"])} for c in (stripped, as_read)]
    return next((c for c in candidates if _matches(c)), candidates[0])


def _matches(row: Mapping[str, Any]) -> bool:
    return label_key(_item(row), str(row["answer"])) == str(row["key"]).strip()


def _turns(cell: str) -> list[dict[str, str]]:
    """The conversation in a cell: one user's turn as it is, anything else as JSON (:func:`_prompt_cell`)."""
    try:
        turns = json.loads(cell)
        return [{"role": role, "content": content} for role, content in turns]
    except (ValueError, TypeError, RecursionError):
        return [{"role": "user", "content": cell}]


def _prompt_cell(messages: Sequence[Message]) -> str:
    text = messages[-1].text
    plain = len(messages) == 1 and messages[0].role == "user"
    if plain and _turns(text) == [{"role": "user", "content": text}]:
        return text
    return json.dumps([[m.role, m.text] for m in messages], ensure_ascii=False)


def _label(row: Mapping[str, Any], line: int) -> Label | str:
    """The row as a label, or what is wrong with it."""
    key, rubric, turns = str(row.get("key") or "").strip(), str(row.get("rubric") or "").strip(), row.get("messages")
    if not isinstance(turns, list) or not turns or not all(_is_turn(turn) for turn in turns):
        return f"line {line}: no conversation (messages with role and content)"
    if not isinstance(row.get("answer"), str) or not isinstance(row.get("reference") or "", str):
        return f"line {line}: answer and reference must be text"
    if rubric != RUBRIC:
        return f"line {line}: graded by the rubric {rubric[:20]!r}, and the judge's is {RUBRIC!r}"
    try:
        grade = _grade(row.get("grade"))
    except ValueError:
        return f"line {line}: grade {str(row.get('grade'))[:20]!r} is none of {', '.join(GRADES)}"
    label = Label(_item(row), str(row["answer"]), grade, str(row.get("note") or ""))
    if label.key != key:
        return f"line {line}: prompt, reference or answer is not the one that was to be graded (its key is another)"
    return label


def _item(row: Mapping[str, Any]) -> Item:
    messages = tuple(Message(turn["role"], turn["content"]) for turn in row["messages"])
    return Item(f"label {str(row.get('key'))[:12]}", messages, answer=row.get("reference") or None)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, Mapping) and turn.get("role") in _ROLES and isinstance(turn.get("content"), str)


def _grade(value: Any) -> float | None:
    """A grade from 1 to 5 in [0, 1]; None for an empty one. Raises ValueError for anything else."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    whole = None if isinstance(value, bool) else _WHOLE.fullmatch(str(value).strip())
    if whole is None:
        raise ValueError(value)
    return (int(whole[1]) - 1) / 4


def _json_row(label: Label) -> dict[str, Any]:
    return {
        "key": label.key,
        "rubric": RUBRIC,
        "messages": [{"role": m.role, "content": m.text} for m in label.item.messages],
        "reference": label.item.answer,
        "answer": label.text,
        "grade": None if label.grade is None else round(1 + 4 * label.grade),
        "note": label.note,
    }


def _csv_row(label: Label) -> dict[str, str]:
    row = _json_row(label)
    row["prompt"] = _prompt_cell(label.item.messages)
    return {name: "" if row[name] is None else str(row[name]) for name in COLUMNS}


def _cell(text: str) -> str:
    """``text`` so that no spreadsheet computes it; :func:`_restored` removes the apostrophe again."""
    return f"'{text}" if _FORMULA.match(text) else text


def _lines(text: str) -> str:
    """``text`` with one kind of line end, as spreadsheets change them."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
