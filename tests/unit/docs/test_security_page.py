"""docs/security.md: every attack that it calls held is held by a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
HELD = PAGE.split("## Attacks, and what holds them", 1)[1].split("\n## ", 1)[0]


def test_every_attack_names_a_test_that_exists() -> None:
    sources = (ROOT / "tests" / "integration" / "github").glob("test_*.py")
    tests = {name for path in sources for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)}
    rows = [line for line in HELD.splitlines() if line.startswith("| ") and not line.startswith("| tried")]
    assert len(rows) >= 15
    for row in rows:
        named = re.search(r"\| `(test_\w+)` \|$", row)
        assert named, row
        assert named[1] in tests, row
