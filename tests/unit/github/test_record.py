"""A chain of records: whatever is altered, removed, moved or repeated is named."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ftgate.cli.main import cli
from ftgate.cli.schema import schema_of
from ftgate.errors import ConfigurationError
from ftgate.github.audit.record import (
    Ledger,
    ModelEntry,
    Record,
    next_line,
    no_ledger,
    parse_ledger,
    record_in_status,
    status_suffix,
)

TEXT = st.text(max_size=40)


def entry(name: str = "bot") -> ModelEntry:
    return ModelEntry(name=name, base="sha256:a", candidate="sha256:b", verdict="allow")


def record(n: int, name: str = "bot") -> Record:
    models = (entry(name),)
    return Record(time=f"2025-03-0{n + 1}", repository="acme/models", head=f"{n:040x}", verdict="allow", models=models)


def chain(n: int, name: str = "bot") -> list[str]:
    found = Ledger()
    for i in range(n):
        found = found.appended_if_new(record(i, name))
    return [line.text for line in found.lines]


def test_a_chain_that_nobody_touched_is_whole():
    found = parse_ledger(chain(4))
    assert found.problems == ()
    assert [line.n for line in found.lines] == [1, 2, 3, 4]


def test_each_line_names_the_sha_256_of_the_line_before():
    lines = chain(3)
    assert json.loads(lines[0])["previous"] == ""
    for before, line in itertools.pairwise(lines):
        assert json.loads(line)["previous"] == hashlib.sha256(before.encode()).hexdigest()


@given(TEXT)
def test_no_text_can_act_or_break_its_line(text):
    line = next_line(record(0, text), None).text
    assert line.isascii()
    assert not set("<>&`@\n\r") & set(line)
    assert parse_ledger([line]).records == (record(0, text),)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_removed_line_is_named(n):
    lines = chain(4)
    del lines[n - 1]
    assert any("removed" in p for p in parse_ledger(lines).problems)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_an_altered_line_is_named_by_its_number(n):
    lines = chain(4)
    lines[n - 1] = lines[n - 1].replace("allow", "block")
    found = parse_ledger(lines).problems
    assert len(found) == 1
    assert found[0].startswith(f"record {n} ")
    assert "altered" in found[0]


@given(st.data())
def test_any_other_line_in_place_of_one_is_named(data):
    lines = chain(4)
    n = data.draw(st.integers(0, 2))
    lines[n] = data.draw(st.text(min_size=1).filter(str.strip))
    assert parse_ledger(lines).problems


@given(st.permutations(range(4)).filter(lambda order: list(order) != [0, 1, 2, 3]))
def test_lines_in_another_order_are_named(order):
    lines = chain(4)
    assert parse_ledger([lines[i] for i in order]).problems


def test_a_repeated_line_is_named():
    lines = chain(3)
    assert any("repeated" in p for p in parse_ledger([*lines, lines[1]]).problems)


def test_only_the_canonical_form_is_a_record():
    line = chain(1)[0]
    assert parse_ledger([line.replace('","', '" ,"')]).problems
    assert parse_ledger([line.replace('"n":1', '"n":true')]).problems
    assert parse_ledger(["[" * 100_000]).problems


def test_the_same_decision_is_not_written_twice_though_the_time_differs():
    found = Ledger().appended_if_new(record(0))
    again = record(0).model_copy(update={"time": "later"})
    assert found.appended_if_new(again) is found
    assert found.appended_if_new(record(1)) is not found


def test_of_a_run_that_is_repeated_the_last_word_counts():
    allow = record(0)
    block, again = (allow.model_copy(update={"verdict": v, "time": t}) for v, t in (("block", "2"), ("allow", "3")))
    found = Ledger().appended_if_new(allow).appended_if_new(block)
    assert found.find(again) is None
    found = found.appended_if_new(again)
    assert [r.verdict for r in found.records] == ["allow", "block", "allow"]
    assert found.appended_if_new(again) is found
    assert found.find(block) is None
    assert found.find(block, since=0) == found.lines[1]
    assert found.find(block, since=2) is None


def test_other_heads_and_a_waiver_do_not_come_between_a_run_and_its_repetition():
    waiver = record(0).model_copy(update={"kind": "waiver", "verdict": "waived"})
    found = Ledger().appended_if_new(record(0)).appended_if_new(record(1)).appended_if_new(waiver)
    assert found.appended_if_new(record(0)) is found
    other = waiver.model_copy(update={"by": "boss"})
    assert found.appended_if_new(other).appended_if_new(waiver).records == (*found.records, other)


def test_a_status_ends_with_the_digest_of_its_record():
    assert record_in_status("allow: bot is fine" + status_suffix(record(0))) == record(0).identity[:12]
    assert record_in_status("allow: [record 123456789abc] bot") == ""
    assert record_in_status("") == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty: it holds no record"),
        ("\n \n", "empty: it holds no record"),
        ("\n# Notes\n", "not a ledger: line 2 is not JSON"),
        ('{"verdict": "allow"}', "not a ledger: line 1 is not an object with n, previous and record"),
        ("[1]", "not a ledger: line 1 is not an object with n, previous and record"),
        ("\n".join(chain(2)).replace("acme", "other", 1), ""),
        (f"{chain(1)[0]}\nnothing", ""),
    ],
)
def test_what_is_no_ledger_is_not_called_an_altered_one(tmp_path: Path, text: str, problem: str) -> None:
    assert no_ledger(text.splitlines()) == problem
    file = tmp_path / "ledger.jsonl"
    file.write_text(text, encoding="utf-8")
    done = CliRunner().invoke(cli, ["compare", "--ledger", str(file)])
    if problem:
        assert isinstance(done.exception, ConfigurationError)
        assert done.exception.message == f"--ledger {file}: {problem}"
    else:
        assert done.exit_code == 1
        assert "problem: " in done.output
    folder = CliRunner().invoke(cli, ["compare", "--ledger", str(tmp_path)]).exception
    assert isinstance(folder, ConfigurationError)
    assert folder.message == f"--ledger {tmp_path}: a folder"


def test_every_line_is_as_its_schema_says() -> None:
    schema = json.loads(schema_of("ledger"))
    jsonschema.Draft202012Validator.check_schema(schema)
    late = next_line(record(2), None, "2025-03-09").text
    for line in (*chain(3), late):
        jsonschema.validate(json.loads(line), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(late), "n": "1"}, schema)


@pytest.mark.parametrize(
    ("foreign", "problem"),
    [
        ('{"name": "theirs"}', "it is not an object with n, previous and record, and was skipped"),
        ("[]", "it is not an object with n, previous and record, and was skipped"),
        ("nothing", "it is not JSON, and was skipped"),
        (
            '{"n": 3, "previous": "", "record": {"verdict": "allow", "time": "", "head": ""}}',
            "record.repository: Field required; it was altered or is of another program, and was skipped",
        ),
    ],
)
def test_a_line_that_is_no_record_is_named_by_its_number_in_the_file_and_skipped(
    tmp_path: Path, foreign: str, problem: str
) -> None:
    lines = chain(3)
    text = "\n".join([lines[0], "", lines[1], foreign, lines[2]])
    ledger = parse_ledger(text.splitlines())
    assert ledger.problems == (f"line 4 is not a valid record: {problem}",)
    assert len(ledger.records) == 3
    file = tmp_path / "ledger.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    done = CliRunner().invoke(cli, ["compare", "--ledger", str(file)])
    assert f"problem: line 4 is not a valid record: {problem}" in done.output
    assert done.output.endswith("3 records, 1 problems\n")
    assert done.exit_code == 1
