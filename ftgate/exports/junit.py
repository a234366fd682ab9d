"""JUnit XML, which nearly every CI shows as a table of tests: one case a measurement, and one for the verdict."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from ftgate.exports.results import Results
from ftgate.files import write_whole
from ftgate.report.escape import clean
from ftgate.report.schema import MeasurementReport

_TAGS = {"block": "failure", "inconclusive": "failure", "error": "error", "not_applicable": "skipped"}


def write_junit(results: Results, path: Path) -> str:
    """Write one test suite to ``path``. A case fails where its measurement blocks or cannot tell.

    What cannot change the verdict (tier advisory) never fails, and says its result as the case's output. The last case
    is the verdict, and fails unless it is allow, so that the suite is as red as the gate.
    """
    report = results.report
    cases = [_measurement(name, part) for name, part in report.measurements.items()]
    cases += [
        _case(f"{name} against the incumbent", part.incumbent.status, part.incumbent.reason, gates=part.gates)
        for name, part in report.measurements.items()
        if part.incumbent is not None
    ]
    status = {"allow": "pass", "hold": "inconclusive"}.get(report.verdict, report.verdict)
    cases.append(_case("verdict", status, f"{report.verdict}: {'; '.join(report.reasons)}", gates=True))
    counts = {tag: sum(case.find(tag) is not None for case in cases) for tag in ("failure", "error", "skipped")}
    suite = ET.Element(
        "testsuite",
        {
            "name": f"ftgate: {clean(report.name)}",
            "tests": str(len(cases)),
            "failures": str(counts["failure"]),
            "errors": str(counts["error"]),
            "skipped": str(counts["skipped"]),
            "time": f"{sum(report.timing.values()):.3f}",
            "timestamp": clean(str(results.facts.get("started", "")))[:19],
        },
    )
    suite.extend(cases)
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    write_whole(path, ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n")
    return str(path)


def _measurement(name: str, part: MeasurementReport) -> ET.Element:
    return _case(name, part.status, part.reason, gates=part.gates)


def _case(name: str, status: str, reason: str, *, gates: bool) -> ET.Element:
    case = ET.Element("testcase", {"classname": "ftgate", "name": clean(name), "time": "0"})
    tag = _TAGS.get(status) if gates or status == "not_applicable" else None
    if tag is not None:
        part = ET.SubElement(case, tag, {"message": clean(reason), "type": status})
        part.text = clean(reason)
    else:
        ET.SubElement(case, "system-out").text = clean(f"{status}: {reason}")
    return case
