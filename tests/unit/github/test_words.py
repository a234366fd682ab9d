"""Statuses, outputs, notes and statements: short enough, and one line or one value each, whatever is in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import reports
from unit.report import samples
from unit.report.test_escape import HOSTILE

from ftgate.github.actions_runner import ActionsFiles, Annotation, output_lines
from ftgate.github.audit.record import Record, record_in_status
from ftgate.github.comment import CommentSection
from ftgate.github.commit_status import description
from ftgate.github.event import STATES
from ftgate.report.statement import PREDICATE, statement
from ftgate.verdict import SMOKE_TEST

RECORD = Record(time="now", repository="acme/models", head="a" * 40, verdict="block")


@given(HOSTILE, st.sampled_from(sorted(STATES)), st.booleans())
def test_a_status_is_one_line_of_140_characters_that_ends_with_its_record(text, outcome, newer):
    sections = [CommentSection(text, "block", samples.hostile(text)), CommentSection(text, "error", None, (text,))]
    for found in (sections, sections[:1], sections[1:], []):
        said = description(outcome, found, [text], RECORD, "b" * 40 if newer else "")
        assert len(said) <= 140
        assert "\n" not in said
        assert record_in_status(said) == RECORD.identity[:12]
        assert "::" not in said


def test_a_status_that_just_fits_is_whole():
    words = "the gate could not judge: "
    reason = "x" * (140 - len(words))
    assert description("error", (), [reason]) == words + reason
    assert description("error", (), [reason + "x"]) == words + reason[:-1] + "…"


def test_a_status_says_what_was_judged_and_what_came_of_it():
    blocked, fine, waits = (CommentSection(t, v) for t, v in (("bot", "block"), ("mail", "allow"), ("chat", "hold")))
    for outcome, sections, said in (
        ("no model change", (), "no model change"),
        ("pending", (fine,), "judging 1 model"),
        ("pending", (fine, waits), "judging 2 models"),
        ("error", (), "the gate could not judge: see the log"),
        (
            "error",
            (CommentSection("bot", "error", None, ("no answers",)),),
            "the gate could not judge: bot: no answers",
        ),
        ("block", (blocked, fine, waits), "block: bot (of 3 models)"),
        ("allow", (fine, fine), "allow: mail, mail (of 2 models)"),
        ("waived", (blocked, fine, waits), "waived: bot, chat"),
    ):
        assert description(outcome, sections, ()) == said
    assert (
        description("allow", (fine, fine), (), newer="b" * 40)
        == "superseded by bbbbbbb: allow: mail, mail (of 2 models)"
    )
    removed = description("no model change", (), (), removed=["a.yaml", "b.yaml"])
    assert removed == "no model change (removed: a.yaml, b.yaml)"
    assert description("block", (blocked,), (), RECORD).endswith(f"[record {RECORD.identity[:12]}]")


def test_a_status_says_that_the_run_was_a_smoke_test():
    report = reports.report(POLICY, "inconclusive")
    for notes, words in (([], "hold: "), ([SMOKE_TEST.format(20)], "hold (smoke test): ")):
        section = CommentSection("bot", "hold", report.model_copy(update={"notes": notes}))
        assert description("hold", (section,), ()).startswith(words + "Undecided on general skills of bot: ")


@given(st.dictionaries(st.sampled_from(["verdict", "report", "comment-url"]), st.text()))
def test_an_output_never_ends_itself(values):
    lines = output_lines(values).split("\n")
    found = {}
    while lines != [""]:
        name, _, delimiter = lines.pop(0).partition("<<")
        end = lines.index(delimiter)
        found[name] = "\n".join(lines[:end])
        del lines[: end + 1]
    assert found == values


def test_delimiters_are_drawn_anew():
    assert output_lines({"a": "b"}) != output_lines({"a": "b"})


@given(HOSTILE, HOSTILE)
def test_a_note_in_the_log_is_one_command(path, text):
    line = Annotation(path, 3, text, text, failure=True).as_workflow_command()
    assert line.startswith("::error file=")
    assert "\n" not in line
    assert "\r" not in line
    assert line.count("::") == 2 + line.split("::", 2)[2].count("::")
    assert "::" not in line.split("::", 2)[2]


def test_files_that_the_runner_does_not_name_are_not_written():
    ActionsFiles.from_environment({}).set_outputs({"a": "b"})
    ActionsFiles.from_environment({}).write_summary("x")


def test_a_summary_that_the_runner_would_drop_says_so(tmp_path: Path):
    runner = ActionsFiles.from_environment({"GITHUB_STEP_SUMMARY": str(tmp_path / "summary")})
    runner.write_summary("ü" * 600_000)
    assert "too long" in (tmp_path / "summary").read_text(encoding="utf-8")


_, POLICY = reports.policy()


@pytest.mark.parametrize(
    ("forgetting", "result", "group"),
    [
        ("pass", "PASSED", "passedTests"),
        ("warn", "WARNED", "warnedTests"),
        ("block", "FAILED", "failedTests"),
        ("inconclusive", "FAILED", "failedTests"),
    ],
)
def test_a_statement_says_the_verdict_about_the_candidates_digest(forgetting, result, group):
    found = statement(reports.report(POLICY, forgetting))
    assert found["subject"] == [{"name": "bot", "digest": {"sha256": reports.digest("bot v1")[7:]}}]
    assert found["predicateType"] == PREDICATE
    assert found["predicate"]["result"] == result
    assert "forgetting" in found["predicate"][group]


def test_a_statement_names_no_measurement_that_was_not_applicable():
    found = reports.report(POLICY, "pass")
    found.measurements["forgetting"].status = "not_applicable"
    predicate = statement(found)["predicate"]
    assert predicate["result"] == "PASSED"
    assert not [group for group in ("passedTests", "warnedTests", "failedTests") if "forgetting" in predicate[group]]


@pytest.mark.parametrize("forgetting", ["pass", "warn", "block", "inconclusive"])
def test_a_statement_is_one_by_the_attestation_librarys_own_check(forgetting):
    pytest.importorskip("in_toto_attestation", reason="in-toto-attestation is not installed")
    from google.protobuf.json_format import Parse, ParseDict
    from in_toto_attestation.predicates.test_result.v0.test_result_pb2 import TestResult
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Message

    found = statement(reports.report(POLICY, forgetting))
    read = Parse(json.dumps(found).replace('"_type"', '"type"', 1), Message())
    Statement.copy_from_pb(read).validate()
    ParseDict(found["predicate"], TestResult())
